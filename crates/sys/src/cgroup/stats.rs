//! What the kernel has counted for a group, in the same units on both versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Group;
use super::pressure::{self, Pressure};

/// The counters of a group; a part is `None` where its controller is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Processor time.
    pub cpu: Option<CpuStats>,
    /// Memory.
    pub memory: Option<MemoryStats>,
    /// Processes and threads.
    pub pids: Option<PidsStats>,
    /// Bytes and operations on block devices.
    pub io: Vec<IoEntry>,
    /// Processes killed for memory.
    pub oom: OomCounts,
    /// Huge pages by their size, such as `2MB`.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
    /// Handles and objects of RDMA devices in use.
    pub rdma: Vec<RdmaEntry>,
    /// Numbered resources of the `misc` controller in use, by their name; version 2 only.
    pub misc: BTreeMap<String, u64>,
    /// How much tasks wait for a processor.
    pub cpu_pressure: Option<Pressure>,
    /// How much tasks wait for memory.
    pub memory_pressure: Option<Pressure>,
    /// How much tasks wait for block devices.
    pub io_pressure: Option<Pressure>,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugetlbStats {
    /// In use now.
    pub usage: u64,
    /// The highest use ever; 0 where the kernel does not keep it.
    pub max_usage: u64,
    /// How often the limit was hit.
    pub failures: u64,
}

/// What is in use of one RDMA device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdmaEntry {
    /// The device.
    pub device: String,
    /// Handles.
    pub handles: u64,
    /// Objects.
    pub objects: u64,
}

/// Processor time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All of it.
    pub usage: Duration,
    /// In user mode.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
    /// For each processor; empty on version 2.
    pub per_cpu: Vec<Duration>,
    /// Periods in which the group could run and had a quota.
    pub periods: u64,
    /// Periods in which it ran out of it.
    pub throttled_periods: u64,
    /// How long its tasks waited for the next period, added up.
    pub throttled: Duration,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// In use now, page cache included.
    pub usage: u64,
    /// The highest use ever; 0 where the kernel does not keep it.
    pub max_usage: u64,
    /// The limit; `None` is unlimited.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub failures: u64,
    /// Swap in use.
    pub swap: u64,
    /// The limit of swap; `None` is unlimited or unknown.
    pub swap_limit: Option<u64>,
    /// Every line of `memory.stat`.
    pub stat: BTreeMap<String, u64>,
}

impl MemoryStats {
    /// Use without the page cache that is reclaimed first, as `docker stats` shows it.
    #[must_use]
    pub fn usage_without_cache(&self) -> u64 {
        let inactive = self.stat.get("total_inactive_file").or(self.stat.get("inactive_file"));
        inactive.map_or(self.usage, |bytes| self.usage.checked_sub(*bytes).unwrap_or(self.usage))
    }
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// At most; `None` is unlimited.
    pub limit: Option<u64>,
}

/// One number about one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoEntry {
    /// The device.
    pub major: u32,
    /// The device.
    pub minor: u32,
    /// `read`, `write`, `sync`, `async`, `discard` or `total`.
    pub operation: String,
    /// Bytes.
    pub bytes: u64,
    /// Operations.
    pub operations: u64,
}

/// Processes killed for memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomCounts {
    /// How often the group's own limit could not be kept; version 2 only.
    pub oom: u64,
    /// How many processes of the group any OOM killer has killed.
    pub oom_kill: u64,
    /// Whether tasks wait for memory because the killer is off; version 1 only.
    pub under_oom: bool,
}

/// The value after `key` in lines of `key value`.
pub(super) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

fn text(directory: &Path, name: &str) -> Option<String> {
    fs::read_to_string(directory.join(name)).ok()
}

fn number(directory: &Path, name: &str) -> Option<u64> {
    text(directory, name)?.trim().parse().ok()
}

/// A limit: `max` and version 1's "almost 2^63" are none.
fn limit(directory: &Path, name: &str) -> Option<u64> {
    number(directory, name).filter(|value| *value < 1 << 62)
}

pub(super) fn read(group: &Group) -> Stats {
    if group.is_version_2() {
        group.unified().map(read_version_2).unwrap_or_default()
    } else {
        read_version_1(group)
    }
}

fn read_version_2(at: &Path) -> Stats {
    let memory_events = text(at, "memory.events").unwrap_or_default();
    let memory = number(at, "memory.current").map(|usage| MemoryStats {
        usage,
        max_usage: number(at, "memory.peak").unwrap_or(0),
        limit: limit(at, "memory.max"),
        failures: field(&memory_events, "max").unwrap_or(0),
        swap: number(at, "memory.swap.current").unwrap_or(0),
        swap_limit: limit(at, "memory.swap.max"),
        stat: table(&text(at, "memory.stat").unwrap_or_default()),
    });
    let cpu = text(at, "cpu.stat").map(|stat| {
        let micros = |key| Duration::from_micros(field(&stat, key).unwrap_or(0));
        CpuStats {
            usage: micros("usage_usec"),
            user: micros("user_usec"),
            system: micros("system_usec"),
            per_cpu: Vec::new(),
            periods: field(&stat, "nr_periods").unwrap_or(0),
            throttled_periods: field(&stat, "nr_throttled").unwrap_or(0),
            throttled: micros("throttled_usec"),
        }
    });
    Stats {
        cpu,
        memory,
        pids: pids(at),
        io: parse_io_stat(&text(at, "io.stat").unwrap_or_default()),
        oom: OomCounts {
            oom: field(&memory_events, "oom").unwrap_or(0),
            oom_kill: field(&memory_events, "oom_kill").unwrap_or(0),
            under_oom: false,
        },
        hugetlb: huge_pages(at, "current", "max_usage"),
        rdma: parse_rdma(&text(at, "rdma.current").unwrap_or_default()),
        misc: table(&text(at, "misc.current").unwrap_or_default()),
        cpu_pressure: pressure::read(&at.join("cpu.pressure")),
        memory_pressure: pressure::read(&at.join("memory.pressure")),
        io_pressure: pressure::read(&at.join("io.pressure")),
    }
}

/// The sizes are in the names: `hugetlb.2MB.current`, `hugetlb.2MB.rsvd.current`. What is reserved is what counts, since Linux 5.7.
fn huge_pages(at: &Path, usage: &str, max: &str) -> BTreeMap<String, HugetlbStats> {
    let Ok(listing) = fs::read_dir("/sys/kernel/mm/hugepages") else { return BTreeMap::new() };
    let kib = |name: &str| -> Option<u64> {
        name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
    };
    let names = listing.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let sizes = names.filter_map(|name| kib(&name)).map(page_size);
    sizes.filter_map(|size| Some((size.clone(), huge_page(at, &size, usage, max)?))).collect()
}

fn huge_page(at: &Path, size: &str, usage: &str, max: &str) -> Option<HugetlbStats> {
    let file = |kind: &str, name: &str| format!("hugetlb.{size}{kind}.{name}");
    let kind = if at.join(file(".rsvd", usage)).exists() { ".rsvd" } else { "" };
    let events = text(at, &file("", "events")).unwrap_or_default();
    Some(HugetlbStats {
        usage: number(at, &file(kind, usage))?,
        max_usage: number(at, &file(kind, max)).unwrap_or(0),
        failures: number(at, &file(kind, "failcnt")).or(field(&events, "max")).unwrap_or(0),
    })
}

/// The kernel's name for a size in KiB.
pub(super) fn page_size(kib: u64) -> String {
    match kib {
        0..1024 => format!("{kib}KB"),
        1024..1_048_576 => format!("{}MB", kib >> 10),
        _ => format!("{}GB", kib >> 20),
    }
}

/// `mlx4_0 hca_handle=2 hca_object=2000`.
pub(super) fn parse_rdma(text: &str) -> Vec<RdmaEntry> {
    let one = |line: &str| -> Option<RdmaEntry> {
        let mut words = line.split_whitespace();
        let mut entry = RdmaEntry { device: words.next()?.to_owned(), ..RdmaEntry::default() };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match key {
                "hca_handle" => entry.handles = value,
                "hca_object" => entry.objects = value,
                _ => {}
            }
        }
        Some(entry)
    };
    text.lines().filter_map(one).collect()
}

fn read_version_1(group: &Group) -> Stats {
    let at = |controller: &str| {
        group.places().iter().find(|place| place.has(controller)).map(|p| p.directory.as_path())
    };
    let oom = at("memory").and_then(|d| text(d, "memory.oom_control")).unwrap_or_default();
    Stats {
        cpu: cpu_version_1(at("cpuacct"), at("cpu")),
        memory: at("memory").and_then(memory_version_1),
        pids: at("pids").and_then(pids),
        io: at("blkio").map(io_version_1).unwrap_or_default(),
        oom: OomCounts {
            oom: 0,
            oom_kill: field(&oom, "oom_kill").unwrap_or(0),
            under_oom: field(&oom, "under_oom") == Some(1),
        },
        hugetlb: at("hugetlb")
            .map(|at| huge_pages(at, "usage_in_bytes", "max_usage_in_bytes"))
            .unwrap_or_default(),
        rdma: at("rdma")
            .map(|at| parse_rdma(&text(at, "rdma.current").unwrap_or_default()))
            .unwrap_or_default(),
        ..Stats::default()
    }
}

fn cpu_version_1(accounting: Option<&Path>, quota: Option<&Path>) -> Option<CpuStats> {
    let accounting = accounting?;
    let usage = Duration::from_nanos(number(accounting, "cpuacct.usage")?);
    let nanos = |name| Duration::from_nanos(number(accounting, name).unwrap_or(0));
    let per_cpu = text(accounting, "cpuacct.usage_percpu").unwrap_or_default();
    let stat = quota.and_then(|d| text(d, "cpu.stat")).unwrap_or_default();
    Some(CpuStats {
        usage,
        user: nanos("cpuacct.usage_user"),
        system: nanos("cpuacct.usage_sys"),
        per_cpu: per_cpu
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .map(Duration::from_nanos)
            .collect(),
        periods: field(&stat, "nr_periods").unwrap_or(0),
        throttled_periods: field(&stat, "nr_throttled").unwrap_or(0),
        throttled: Duration::from_nanos(field(&stat, "throttled_time").unwrap_or(0)),
    })
}

fn memory_version_1(at: &Path) -> Option<MemoryStats> {
    let usage = number(at, "memory.usage_in_bytes")?;
    let both = number(at, "memory.memsw.usage_in_bytes");
    Some(MemoryStats {
        usage,
        max_usage: number(at, "memory.max_usage_in_bytes").unwrap_or(0),
        limit: limit(at, "memory.limit_in_bytes"),
        failures: number(at, "memory.failcnt").unwrap_or(0),
        swap: both.map_or(0, |both| both.saturating_sub(usage)),
        swap_limit: limit(at, "memory.memsw.limit_in_bytes"),
        stat: table(&text(at, "memory.stat").unwrap_or_default()),
    })
}

fn pids(at: &Path) -> Option<PidsStats> {
    let current = number(at, "pids.current")?;
    Some(PidsStats { current, limit: limit(at, "pids.max") })
}

fn table(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// Version 2's `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`.
pub(super) fn parse_io_stat(text: &str) -> Vec<IoEntry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        let values: BTreeMap<&str, u64> = words
            .filter_map(|word| word.split_once('='))
            .filter_map(|(key, value)| Some((key, value.parse().ok()?)))
            .collect();
        let value = |key| values.get(key).copied().unwrap_or(0);
        for (operation, bytes, operations) in
            [("read", "rbytes", "rios"), ("write", "wbytes", "wios"), ("discard", "dbytes", "dios")]
        {
            entries.push(IoEntry {
                major,
                minor,
                operation: operation.into(),
                bytes: value(bytes),
                operations: value(operations),
            });
        }
    }
    entries
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn io_version_1(at: &Path) -> Vec<IoEntry> {
    let bytes = text(at, "blkio.throttle.io_service_bytes_recursive")
        .or_else(|| text(at, "blkio.throttle.io_service_bytes"))
        .unwrap_or_default();
    let operations = text(at, "blkio.throttle.io_serviced_recursive")
        .or_else(|| text(at, "blkio.throttle.io_serviced"))
        .unwrap_or_default();
    let operations = parse_blkio(&operations);
    let mut entries = parse_blkio(&bytes);
    for entry in &mut entries {
        let same = operations.iter().find(|other| {
            (other.major, other.minor, &other.operation)
                == (entry.major, entry.minor, &entry.operation)
        });
        entry.operations = same.map_or(0, |other| other.bytes);
    }
    entries
}

/// Version 1's tables: `8:0 Read 4096`, and a last line `Total 4096` that is left out.
pub(super) fn parse_blkio(text: &str) -> Vec<IoEntry> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (major, minor) = words.next().and_then(device)?;
            let operation = words.next()?.to_ascii_lowercase();
            let bytes = words.next()?.parse().ok()?;
            Some(IoEntry { major, minor, operation, bytes, operations: 0 })
        })
        .collect()
}
