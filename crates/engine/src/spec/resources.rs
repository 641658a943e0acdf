//! The limits of a container, from Docker's fields to the OCI document's.

use std::collections::BTreeMap;

use types::container::{HostConfig, ThrottleDevice};
use types::oci::runtime::{
    BlockIoResources, CpuResources, MemoryResources, PidsResources, Resources,
    ThrottleDevice as OciThrottle, WeightDevice,
};

/// Docker's period when only `--cpus` is given; microseconds.
const CPU_PERIOD: u64 = 100_000;

/// Everything but the device rules; `devices` gives the numbers of the block devices that limits name.
pub(crate) fn resources(host: &HostConfig, devices: &BTreeMap<String, (i64, i64)>) -> Resources {
    Resources {
        memory: filled(memory(host)),
        cpu: filled(cpu(host)),
        pids: host
            .pids_limit
            .filter(|limit| *limit != 0)
            .map(|limit| PidsResources { limit: Some(limit) }),
        block_io: filled(block_io(host, devices)),
        ..Resources::default()
    }
}

fn filled<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn some(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

fn unsigned(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}

fn memory(host: &HostConfig) -> MemoryResources {
    MemoryResources {
        limit: some(host.memory),
        reservation: some(host.memory_reservation),
        swap: some(host.memory_swap),
        swappiness: host.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: host.oom_kill_disable.filter(|on| *on),
        ..MemoryResources::default()
    }
}

fn cpu(host: &HostConfig) -> CpuResources {
    let mut cpu = CpuResources {
        shares: unsigned(host.cpu_shares),
        quota: some(host.cpu_quota),
        period: unsigned(host.cpu_period),
        realtime_runtime: some(host.cpu_realtime_runtime),
        realtime_period: unsigned(host.cpu_realtime_period),
        cpus: host.cpuset_cpus.clone(),
        mems: host.cpuset_mems.clone(),
        ..CpuResources::default()
    };
    if host.nano_cpus > 0 {
        cpu.period = Some(CPU_PERIOD);
        // Billionths of a CPU times microseconds of a period.
        cpu.quota =
            i64::try_from(i128::from(host.nano_cpus) * i128::from(CPU_PERIOD) / 1_000_000_000).ok();
    }
    cpu
}

fn block_io(host: &HostConfig, devices: &BTreeMap<String, (i64, i64)>) -> BlockIoResources {
    let throttle = |list: &Option<Vec<ThrottleDevice>>| {
        list.iter()
            .flatten()
            .filter_map(|entry| {
                let (major, minor) = *devices.get(&entry.path)?;
                Some(OciThrottle { major, minor, rate: entry.rate })
            })
            .collect()
    };
    BlockIoResources {
        weight: (host.blkio_weight > 0).then_some(host.blkio_weight),
        weight_device: host
            .blkio_weight_device
            .iter()
            .flatten()
            .filter_map(|entry| {
                let (major, minor) = *devices.get(&entry.path)?;
                Some(WeightDevice { major, minor, weight: Some(entry.weight), leaf_weight: None })
            })
            .collect(),
        throttle_read_bps_device: throttle(&host.blkio_device_read_bps),
        throttle_write_bps_device: throttle(&host.blkio_device_write_bps),
        throttle_read_iops_device: throttle(&host.blkio_device_read_iops),
        throttle_write_iops_device: throttle(&host.blkio_device_write_iops),
        ..BlockIoResources::default()
    }
}

/// The paths of all block devices that a host config's limits name.
pub(crate) fn block_devices(host: &HostConfig) -> Vec<String> {
    let throttles = [
        &host.blkio_device_read_bps,
        &host.blkio_device_write_bps,
        &host.blkio_device_read_iops,
        &host.blkio_device_write_iops,
    ];
    let weights = host.blkio_weight_device.iter().flatten().map(|entry| entry.path.clone());
    let throttles = throttles.into_iter().flatten().flatten().map(|entry| entry.path.clone());
    weights.chain(throttles).collect()
}
