//! `linux.resources` as values of control files.

use types::oci::runtime::{
    BlockIoResources, CpuResources, MemoryResources, Resources, ThrottleDevice,
};

/// One value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The controller, such as `memory`.
    pub controller: &'static str,
    /// The file, such as `memory.max`.
    pub file: String,
    /// The value.
    pub value: String,
    /// Whether a kernel without the file is good enough.
    pub optional: bool,
}

fn set(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Setting {
    Setting { controller, file: file.into(), value: value.to_string(), optional: false }
}

fn try_set(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Setting {
    Setting { optional: true, ..set(controller, file, value) }
}

/// Turns limits into values, in the order in which they must be written.
#[must_use]
pub fn settings(resources: &Resources, version_2: bool) -> Vec<Setting> {
    let mut list = Vec::new();
    if let Some(cpu) = &resources.cpu {
        list.extend(cpuset(cpu));
        list.extend(if version_2 { cpu_2(cpu) } else { cpu_1(cpu) });
    }
    if let Some(memory) = &resources.memory {
        list.extend(if version_2 { memory_2(memory) } else { memory_1(memory) });
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        // Since runtime-spec 1.3 zero is a limit; every negative number is none.
        list.push(set(
            "pids",
            "pids.max",
            if limit < 0 { "max".into() } else { limit.to_string() },
        ));
    }
    if let Some(io) = &resources.block_io {
        list.extend(if version_2 { io_2(io) } else { io_1(io) });
    }
    for huge in &resources.hugepage_limits {
        let unit = if version_2 { "max" } else { "limit_in_bytes" };
        list.push(set("hugetlb", format!("hugetlb.{}.{unit}", huge.page_size), huge.limit));
        list.push(try_set(
            "hugetlb",
            format!("hugetlb.{}.rsvd.{unit}", huge.page_size),
            huge.limit,
        ));
    }
    if let Some(network) = &resources.network
        && !version_2
    {
        list.extend(network.class_id.map(|id| set("net_cls", "net_cls.classid", id)));
        for one in &network.priorities {
            let value = format!("{} {}", one.name, one.priority);
            list.push(set("net_prio", "net_prio.ifpriomap", value));
        }
    }
    list.extend(rdma(resources));
    if version_2 {
        list.extend(unified(resources));
    }
    list
}

fn cpuset(cpu: &CpuResources) -> Vec<Setting> {
    [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(file, value)| set("cpuset", file, value))
        .collect()
}

fn cpu_1(cpu: &CpuResources) -> Vec<Setting> {
    let mut list = Vec::new();
    list.extend(cpu.idle.map(|idle| set("cpu", "cpu.idle", idle)));
    if cpu.idle != Some(1) {
        list.extend(nonzero(cpu.shares).map(|shares| set("cpu", "cpu.shares", shares)));
    }
    list.extend(nonzero(cpu.period).map(|period| set("cpu", "cpu.cfs_period_us", period)));
    list.extend(cpu.quota.filter(|q| *q != 0).map(|quota| set("cpu", "cpu.cfs_quota_us", quota)));
    list.extend(cpu.burst.map(|burst| set("cpu", "cpu.cfs_burst_us", burst)));
    list.extend(nonzero(cpu.realtime_period).map(|p| set("cpu", "cpu.rt_period_us", p)));
    let runtime = cpu.realtime_runtime.filter(|runtime| *runtime != 0);
    list.extend(runtime.map(|runtime| set("cpu", "cpu.rt_runtime_us", runtime)));
    list
}

fn cpu_2(cpu: &CpuResources) -> Vec<Setting> {
    let mut list = Vec::new();
    list.extend(cpu.idle.map(|idle| set("cpu", "cpu.idle", idle)));
    if cpu.idle != Some(1) {
        list.extend(nonzero(cpu.shares).map(|shares| set("cpu", "cpu.weight", weight(shares))));
    }
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = nonzero(cpu.period);
    if quota.is_some() || period.is_some() {
        let quota =
            quota.filter(|quota| *quota > 0).map_or("max".into(), |quota| quota.to_string());
        let value = match (quota.as_str(), period) {
            (_, Some(period)) => format!("{quota} {period}"),
            (_, None) => quota.clone(),
        };
        list.push(set("cpu", "cpu.max", value));
    }
    list.extend(cpu.burst.map(|burst| set("cpu", "cpu.max.burst", burst)));
    list
}

/// Shares of 2 to 262144 as a weight of 1 to 10000, so that the default of 1024 becomes the default of 100: runc since 1.4, crun since 1.23.
pub(super) fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    if shares == 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}

fn nonzero(value: Option<u64>) -> Option<u64> {
    value.filter(|value| *value != 0)
}

fn memory_1(memory: &MemoryResources) -> Vec<Setting> {
    let mut list = Vec::new();
    let limit = memory.limit.filter(|limit| *limit != 0);
    list.extend(limit.map(|limit| set("memory", "memory.limit_in_bytes", limit)));
    // Unlimited memory means unlimited swap, which the kernel would otherwise keep below the old limit.
    let swap = memory.swap.filter(|swap| *swap != 0).or(limit.filter(|limit| *limit == -1));
    list.extend(swap.map(|swap| Setting {
        // Without swap accounting there is no such file, and a limit equal to that of memory changes nothing.
        optional: swap == -1 || Some(swap) == limit || limit.is_some_and(|limit| swap >= limit),
        ..set("memory", "memory.memsw.limit_in_bytes", swap)
    }));
    if limit == Some(-1) {
        // From unlimited downwards the combined limit goes first.
        list.reverse();
    }
    let reservation = memory.reservation.filter(|bytes| *bytes != 0);
    list.extend(reservation.map(|bytes| set("memory", "memory.soft_limit_in_bytes", bytes)));
    let kernel_tcp = memory.kernel_tcp.filter(|bytes| *bytes != 0);
    list.extend(kernel_tcp.map(|bytes| try_set("memory", "memory.kmem.tcp.limit_in_bytes", bytes)));
    if memory.disable_oom_killer == Some(true) {
        list.push(set("memory", "memory.oom_control", 1));
    }
    let swappiness = memory.swappiness.filter(|value| *value <= 100);
    list.extend(swappiness.map(|value| try_set("memory", "memory.swappiness", value)));
    list
}

fn memory_2(memory: &MemoryResources) -> Vec<Setting> {
    let text = |bytes: i64| if bytes < 0 { "max".to_owned() } else { bytes.to_string() };
    let mut list = Vec::new();
    let limit = memory.limit.filter(|limit| *limit != 0);
    if let Some(swap) = memory.swap.filter(|swap| *swap != 0) {
        // The document counts memory and swap together, the kernel counts swap alone.
        let alone = match limit {
            _ if swap < 0 => -1,
            Some(limit) if limit > 0 => (swap - limit).max(0),
            _ => swap,
        };
        list.push(Setting { optional: alone < 0, ..set("memory", "memory.swap.max", text(alone)) });
    } else if limit == Some(-1) {
        list.push(try_set("memory", "memory.swap.max", "max"));
    }
    list.extend(limit.map(|limit| set("memory", "memory.max", text(limit))));
    let reservation = memory.reservation.filter(|bytes| *bytes != 0);
    list.extend(reservation.map(|bytes| set("memory", "memory.low", text(bytes))));
    list
}

fn io_1(io: &BlockIoResources) -> Vec<Setting> {
    let mut list = Vec::new();
    if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
        list.push(weight_file_1(&weight.to_string(), "blkio.weight"));
    }
    for device in &io.weight_device {
        if let Some(weight) = device.weight {
            let value = format!("{}:{} {weight}", device.major, device.minor);
            list.push(weight_file_1(&value, "blkio.weight_device"));
        }
    }
    let tables = [
        ("blkio.throttle.read_bps_device", &io.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", &io.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", &io.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", &io.throttle_write_iops_device),
    ];
    for (file, devices) in tables {
        list.extend(devices.iter().map(|d| set("blkio", file, throttle(d))));
    }
    list
}

/// Weights exist only with some schedulers (BFQ, formerly CFQ).
fn weight_file_1(value: &str, file: &str) -> Setting {
    try_set("blkio", file, value)
}

fn throttle(device: &ThrottleDevice) -> String {
    format!("{}:{} {}", device.major, device.minor, device.rate)
}

fn io_2(io: &BlockIoResources) -> Vec<Setting> {
    let mut list = Vec::new();
    if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
        // 10..1000 onto 1..10000.
        let converted = 1 + (u64::from(weight).max(10) - 10) * 9999 / 990;
        list.push(try_set("io", "io.bfq.weight", weight));
        list.push(try_set("io", "io.weight", format!("default {converted}")));
    }
    let tables = [
        ("rbps", &io.throttle_read_bps_device),
        ("wbps", &io.throttle_write_bps_device),
        ("riops", &io.throttle_read_iops_device),
        ("wiops", &io.throttle_write_iops_device),
    ];
    for (key, devices) in tables {
        for device in devices {
            let rate = if device.rate == 0 { "max".into() } else { device.rate.to_string() };
            let value = format!("{}:{} {key}={rate}", device.major, device.minor);
            list.push(set("io", "io.max", value));
        }
    }
    list
}

fn rdma(resources: &Resources) -> Vec<Setting> {
    let text = |value: Option<u32>| value.map_or("max".to_owned(), |value| value.to_string());
    resources
        .rdma
        .iter()
        .map(|(device, limit)| {
            let handles = text(limit.hca_handles);
            let objects = text(limit.hca_objects);
            set("rdma", "rdma.max", format!("{device} hca_handle={handles} hca_object={objects}"))
        })
        .collect()
}

/// `resources.unified`: files of version 2 by name. Names with a slash would leave the group's directory.
fn unified(resources: &Resources) -> Vec<Setting> {
    resources
        .unified
        .iter()
        .filter(|(file, _)| !file.contains('/'))
        .flat_map(|(file, values)| values.lines().map(move |value| set("", file.clone(), value)))
        .collect()
}
