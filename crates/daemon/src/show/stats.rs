//! Counters.

use api::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    Throttling,
};
use engine::{CpuSample, MemorySample, NetSample, Sample};

use super::time;

/// One object of `GET /containers/{id}/stats`.
pub(crate) fn stats(stats: &engine::Stats) -> Stats {
    let Sample { read, cpu, memory, pids, pids_limit, .. } = &stats.sample;
    let sample = &stats.sample;
    let networks = sample.networks.as_ref();
    // Docker shows no limit as the largest number on cgroup v2, not at all on v1, which is known by its counters per CPU.
    let no_limit = if read.is_some() && cpu.per_cpu_ns.is_none() { u64::MAX } else { 0 };
    Stats {
        name: format!("/{}", stats.name),
        id: stats.id.to_string(),
        read: time(*read),
        preread: time(stats.previous.read),
        pids_stats: PidsStats { current: *pids, limit: pids_limit.unwrap_or(no_limit) },
        blkio_stats: blkio(sample),
        cpu_stats: self::cpu(cpu),
        precpu_stats: self::cpu(&stats.previous.cpu),
        memory_stats: self::memory(memory),
        networks: networks.map(|all| all.iter().map(|(k, v)| (k.clone(), network(v))).collect()),
        ..Stats::default()
    }
}

fn cpu(sample: &CpuSample) -> CpuStats {
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: sample.total_ns,
            percpu_usage: sample.per_cpu_ns.clone(),
            usage_in_kernelmode: sample.kernel_ns,
            usage_in_usermode: sample.user_ns,
        },
        system_cpu_usage: sample.system_ns,
        online_cpus: sample.online_cpus,
        throttling_data: Throttling {
            periods: sample.periods,
            throttled_periods: sample.throttled_periods,
            throttled_time: sample.throttled_ns,
        },
    }
}

fn memory(sample: &MemorySample) -> MemoryStats {
    MemoryStats {
        usage: sample.usage,
        max_usage: sample.max_usage.unwrap_or(0),
        stats: (!sample.stats.is_empty()).then(|| sample.stats.clone()),
        failcnt: sample.failcnt.unwrap_or(0),
        limit: sample.limit,
    }
}

fn blkio(sample: &Sample) -> BlkioStats {
    let entries = |list: &[engine::BlkioEntry]| {
        let entry = |e: &engine::BlkioEntry| BlkioEntry {
            major: e.major,
            minor: e.minor,
            op: e.op.clone(),
            value: e.value,
        };
        sample.read.map(|_| list.iter().map(entry).collect::<Vec<_>>())
    };
    BlkioStats {
        io_service_bytes_recursive: entries(&sample.blkio_bytes),
        io_serviced_recursive: entries(&sample.blkio_operations),
        ..BlkioStats::default()
    }
}

fn network(sample: &NetSample) -> NetworkStats {
    NetworkStats {
        rx_bytes: sample.rx_bytes,
        rx_packets: sample.rx_packets,
        rx_errors: sample.rx_errors,
        rx_dropped: sample.rx_dropped,
        tx_bytes: sample.tx_bytes,
        tx_packets: sample.tx_packets,
        tx_errors: sample.tx_errors,
        tx_dropped: sample.tx_dropped,
    }
}
