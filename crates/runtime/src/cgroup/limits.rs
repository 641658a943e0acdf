//! `linux.resources` as values of control files.

use crate::error::{Error, Result};
use types::oci::runtime::{
    BlockIoResources, CpuResources, MemoryResources, Resources, ThrottleDevice,
};

/// The kernel's own period, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

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
    /// A file and a value for kernels without `file`.
    pub or: Option<(String, String)>,
}

/// What a group has already, so far as new limits are measured by it. All unknown for a new group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    /// The limit of memory in bytes; -1 is unlimited.
    pub(super) memory: Option<i64>,
    /// The processor quota in microseconds; -1 is unlimited.
    pub(super) quota: Option<i64>,
    /// The quota's period in microseconds.
    pub(super) period: Option<u64>,
}

fn set(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Setting {
    Setting { controller, file: file.into(), value: value.to_string(), optional: false, or: None }
}

fn try_set(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Setting {
    Setting { optional: true, ..set(controller, file, value) }
}

fn bad<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Config(text.into()))
}

/// Turns the limits of a new group into values, in the order in which they must be written.
///
/// # Errors
/// [`Error::Config`] for limits that contradict each other (in runc's words) or that the version does not have.
pub fn settings(resources: &Resources, version_2: bool) -> Result<Vec<Setting>> {
    settings_over(resources, version_2, &Present::default())
}

/// The same for a group that has limits.
pub(super) fn settings_over(
    resources: &Resources,
    version_2: bool,
    present: &Present,
) -> Result<Vec<Setting>> {
    check_version(resources, version_2)?;
    let mut list = Vec::new();
    if let Some(cpu) = &resources.cpu {
        list.extend(cpuset(cpu));
        list.extend(if version_2 { cpu_2(cpu, present) } else { cpu_1(cpu) });
    }
    if let Some(memory) = &resources.memory {
        list.extend(if version_2 {
            memory_2(memory, present)?
        } else {
            memory_1(memory, present)?
        });
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
    list.extend(hugetlb(resources, version_2)?);
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
    list.extend(unified(resources)?);
    Ok(list)
}

/// Refuses what only the other version has: a limit that is asked for must hold.
fn check_version(resources: &Resources, version_2: bool) -> Result<()> {
    if !version_2 {
        return match resources.unified.is_empty() {
            true => Ok(()),
            false => bad("invalid configuration: cannot use unified on cgroup v1"),
        };
    }
    let memory = resources.memory.as_ref();
    let cpu = resources.cpu.as_ref();
    let network = resources.network.as_ref();
    let nonzero = |value: Option<u64>| value.is_some_and(|value| value != 0);
    let absent = [
        ("memory.swappiness", memory.is_some_and(|memory| memory.swappiness.is_some())),
        (
            "memory.disableOOMKiller",
            memory.is_some_and(|memory| memory.disable_oom_killer == Some(true)),
        ),
        ("cpu.realtimePeriod", cpu.is_some_and(|cpu| nonzero(cpu.realtime_period))),
        (
            "cpu.realtimeRuntime",
            cpu.is_some_and(|cpu| cpu.realtime_runtime.is_some_and(|runtime| runtime != 0)),
        ),
        (
            "network.classID",
            network.is_some_and(|network| network.class_id.is_some_and(|id| id != 0)),
        ),
        ("network.priorities", network.is_some_and(|network| !network.priorities.is_empty())),
    ];
    match absent.iter().find(|(_, asked)| *asked) {
        Some((name, _)) => bad(format!("linux.resources.{name} does not exist on cgroup v2")),
        None => Ok(()),
    }
}

/// `resources.hugepageLimits`: the size is a part of a file's name, which with a slash would leave the group's directory.
fn hugetlb(resources: &Resources, version_2: bool) -> Result<Vec<Setting>> {
    let mut sizes = resources.hugepage_limits.iter().map(|huge| &huge.page_size);
    if let Some(size) = sizes.find(|size| size.contains('/')) {
        return bad(format!("linux.resources.hugepageLimits: invalid page size {size:?}"));
    }
    let unit = if version_2 { "max" } else { "limit_in_bytes" };
    let both = resources.hugepage_limits.iter().map(|huge| {
        let name = |kind: &str| format!("hugetlb.{}.{kind}{unit}", huge.page_size);
        // What a process has reserved is counted since Linux 5.7.
        [set("hugetlb", name(""), huge.limit), try_set("hugetlb", name("rsvd."), huge.limit)]
    });
    Ok(both.flatten().collect())
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
    // Since Linux 5.14.
    list.extend(cpu.burst.map(|burst| try_set("cpu", "cpu.cfs_burst_us", burst)));
    list.extend(cpu.quota.filter(|q| *q != 0).map(|quota| set("cpu", "cpu.cfs_quota_us", quota)));
    list.extend(nonzero(cpu.realtime_period).map(|p| set("cpu", "cpu.rt_period_us", p)));
    let runtime = cpu.realtime_runtime.filter(|runtime| *runtime != 0);
    list.extend(runtime.map(|runtime| set("cpu", "cpu.rt_runtime_us", runtime)));
    list
}

fn cpu_2(cpu: &CpuResources, present: &Present) -> Vec<Setting> {
    let mut list = Vec::new();
    list.extend(cpu.idle.map(|idle| set("cpu", "cpu.idle", idle)));
    if cpu.idle != Some(1) {
        list.extend(nonzero(cpu.shares).map(|shares| set("cpu", "cpu.weight", weight(shares))));
    }
    list.extend(cpu.burst.map(|burst| set("cpu", "cpu.max.burst", burst)));
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = nonzero(cpu.period);
    if quota.is_some() || period.is_some() {
        // Both stand in one file: of two that are changed one at a time, the other stays.
        let quota = quota.or(present.quota).filter(|quota| *quota > 0);
        let quota = quota.map_or("max".into(), |quota| quota.to_string());
        let period = period.or(present.period).unwrap_or(DEFAULT_PERIOD);
        list.push(set("cpu", "cpu.max", format!("{quota} {period}")));
    }
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

/// Refuses a limit of memory and swap together that is smaller than that of memory. runc's words.
fn check_swap(limit: Option<i64>, swap: Option<i64>) -> Result<()> {
    match (limit, swap) {
        (Some(limit), Some(swap)) if swap > 0 && limit > 0 && swap < limit => {
            bad("memory+swap limit should be >= memory limit")
        }
        _ => Ok(()),
    }
}

fn memory_1(memory: &MemoryResources, present: &Present) -> Result<Vec<Setting>> {
    let limit = memory.limit.filter(|limit| *limit != 0);
    // Unlimited memory means unlimited swap, which the kernel would otherwise keep below the old limit.
    let swap = memory.swap.filter(|swap| *swap != 0);
    check_swap(limit, swap)?;
    let mut list = Vec::new();
    list.extend(limit.map(|limit| set("memory", "memory.limit_in_bytes", limit)));
    let swap = swap.or(limit.filter(|limit| *limit == -1));
    list.extend(swap.map(|swap| Setting {
        // Without swap accounting there is no such file, and a limit equal to that of memory changes nothing.
        optional: swap == -1 || Some(swap) == limit || limit.is_some_and(|limit| swap >= limit),
        ..set("memory", "memory.memsw.limit_in_bytes", swap)
    }));
    if let (Some(_), Some(swap), Some(now)) = (limit, swap, present.memory)
        && (swap == -1 || (now != -1 && now < swap))
    {
        // The kernel wants both together at least as large as memory at every moment: growing, they go first.
        list.reverse();
    }
    let reservation = memory.reservation.filter(|bytes| *bytes != 0);
    list.extend(reservation.map(|bytes| set("memory", "memory.soft_limit_in_bytes", bytes)));
    if memory.disable_oom_killer == Some(true) {
        list.push(set("memory", "memory.oom_control", 1));
    }
    match memory.swappiness {
        // -1, as an unsigned number: the default.
        None | Some(u64::MAX) => {}
        Some(value @ 0..=100) => list.push(set("memory", "memory.swappiness", value)),
        Some(value) => {
            return bad(format!("invalid memory swappiness value: {value} (valid range is 0-100)"));
        }
    }
    Ok(list)
}

/// The limit of swap alone, as version 2 and systemd have it, of that of memory and swap together, as the document has it: -1 is
/// unlimited, `None` leaves it as it is. runc's rules and words.
///
/// # Errors
/// [`Error::Config`] if it is smaller than that of memory, or that is not known.
pub(super) fn swap_alone(memory: &MemoryResources, present: &Present) -> Result<Option<i64>> {
    let limit = memory.limit.filter(|limit| *limit != 0);
    match (limit, memory.swap.filter(|swap| *swap != 0)) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (Some(-1), Some(swap)) => Ok(Some(swap)),
        (limit, Some(swap)) => {
            check_swap(limit.or(present.memory), Some(swap))?;
            match limit.or(present.memory) {
                Some(-1) | None => bad("unable to set swap limit without memory limit"),
                Some(limit) if limit < 0 => bad(format!("invalid memory value: {limit}")),
                Some(limit) => Ok(Some(swap - limit)),
            }
        }
    }
}

fn memory_2(memory: &MemoryResources, present: &Present) -> Result<Vec<Setting>> {
    let text = |bytes: i64| if bytes < 0 { "max".to_owned() } else { bytes.to_string() };
    let mut list = Vec::new();
    if let Some(alone) = swap_alone(memory, present)? {
        // Without swap there is no such file, and then neither of these is a wish unfulfilled.
        let optional = alone <= 0;
        list.push(Setting { optional, ..set("memory", "memory.swap.max", text(alone)) });
    }
    let limit = memory.limit.filter(|limit| *limit != 0);
    list.extend(limit.map(|limit| set("memory", "memory.max", text(limit))));
    let reservation = memory.reservation.filter(|bytes| *bytes != 0);
    list.extend(reservation.map(|bytes| set("memory", "memory.low", text(bytes))));
    Ok(list)
}

/// Weights exist only with some schedulers: the file of CFQ, else that of BFQ.
fn weight_1(kind: &str, value: &str) -> Setting {
    let or = Some((format!("blkio.bfq.weight{kind}"), value.to_owned()));
    Setting { or, ..set("blkio", format!("blkio.weight{kind}"), value) }
}

fn io_1(io: &BlockIoResources) -> Vec<Setting> {
    let nonzero = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    let mut list = Vec::new();
    list.extend(nonzero(io.weight).map(|weight| weight_1("", &weight.to_string())));
    list.extend(nonzero(io.leaf_weight).map(|weight| set("blkio", "blkio.leaf_weight", weight)));
    for device in &io.weight_device {
        let line = |weight: u16| format!("{}:{} {weight}", device.major, device.minor);
        list.extend(nonzero(device.weight).map(|weight| weight_1("_device", &line(weight))));
        let leaf = nonzero(device.leaf_weight).map(line);
        list.extend(leaf.map(|line| set("blkio", "blkio.leaf_weight_device", line)));
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

fn throttle(device: &ThrottleDevice) -> String {
    format!("{}:{} {}", device.major, device.minor, device.rate)
}

/// A weight of 10 to 1000 as one of 1 to 10000.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).max(10) - 10) * 9999 / 990
}

fn io_2(io: &BlockIoResources) -> Vec<Setting> {
    let mut list = Vec::new();
    if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
        // Each file belongs to a scheduler; with both, both know it.
        let converted = format!("default {}", io_weight(weight));
        let or = Some(("io.weight".to_owned(), converted.clone()));
        list.push(Setting { or, ..set("io", "io.bfq.weight", weight) });
        list.push(try_set("io", "io.weight", converted));
    }
    for device in &io.weight_device {
        let Some(weight) = device.weight.filter(|weight| *weight != 0) else { continue };
        let line = |weight: u64| format!("{}:{} {weight}", device.major, device.minor);
        let or = Some(("io.weight".to_owned(), line(io_weight(weight))));
        list.push(Setting { or, ..set("io", "io.bfq.weight", line(weight.into())) });
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

/// Files that are no limits: a process that is named in them moves or dies, whoever it is, and one that is made in a frozen group
/// never says that it is ready.
const NO_LIMITS: [&str; 5] =
    ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.type", "cgroup.freeze"];

/// `resources.unified`: files of version 2 by name. Names with a slash would leave the group's directory.
fn unified(resources: &Resources) -> Result<Vec<Setting>> {
    let mut list = Vec::new();
    for (file, values) in &resources.unified {
        if file.contains('/') {
            return bad(format!("unified resource {file:?} must be a file name (no slashes)"));
        }
        if file.find('.').is_none_or(|at| at == 0) {
            return bad(format!(
                "unified resource {file:?} must be in the form CONTROLLER.PARAMETER"
            ));
        }
        if NO_LIMITS.contains(&file.as_str()) {
            return bad(format!("unified resource {file:?} is not a limit"));
        }
        list.extend(values.lines().map(|value| set("", file.clone(), value)));
    }
    Ok(list)
}
