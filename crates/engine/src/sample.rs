//! The numbers of `stats`, near to what the kernel says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use types::ContainerId;

/// CPU time; nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSample {
    /// Of all tasks.
    pub total_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In kernel mode.
    pub kernel_ns: u64,
    /// Per CPU (v1 only).
    pub per_cpu_ns: Option<Vec<u64>>,
    /// Of the whole host since boot.
    pub system_ns: u64,
    /// CPUs that are on.
    pub online_cpus: u32,
    /// Periods that the group wanted to run in.
    pub periods: u64,
    /// Periods in which it was stopped for the rest.
    pub throttled_periods: u64,
    /// Sum of the time that tasks were stopped.
    pub throttled_ns: u64,
}

/// Memory; bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemorySample {
    /// All that is charged.
    pub usage: u64,
    /// The most that was (v1 only).
    pub max_usage: Option<u64>,
    /// How often the limit was hit (v1 only).
    pub failcnt: Option<u64>,
    /// The limit; the host's memory if there is none.
    pub limit: u64,
    /// `memory.stat`.
    pub stats: BTreeMap<String, u64>,
}

/// One number of block I/O.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioEntry {
    /// Device.
    pub major: u64,
    /// Device.
    pub minor: u64,
    /// `read`, `write` (v2); `Read`, `Write`, `Sync`, `Async`, `Total` (v1).
    pub op: String,
    /// Bytes or operations.
    pub value: u64,
}

/// One network interface, seen from inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's counters by their names")]
pub struct NetSample {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// All numbers of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When; none for a container that does not run.
    pub read: Option<Timestamp>,
    /// CPU.
    pub cpu: CpuSample,
    /// Memory.
    pub memory: MemorySample,
    /// Tasks now.
    pub pids: u64,
    /// Tasks at most; none is no limit.
    pub pids_limit: Option<u64>,
    /// Block I/O in bytes.
    pub blkio_bytes: Vec<BlkioEntry>,
    /// Block I/O in operations (v1 only).
    pub blkio_operations: Vec<BlkioEntry>,
    /// Interfaces by name; none without a network of its own.
    pub networks: Option<BTreeMap<String, NetSample>>,
}

/// One object of the stats stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The container.
    pub id: ContainerId,
    /// Its name, without Docker's slash.
    pub name: String,
    /// Now.
    pub sample: Sample,
    /// One second before; zeros for the first.
    pub previous: Sample,
}

/// What a stats request wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatsMode {
    /// One object each second.
    #[default]
    Stream,
    /// One object with a previous sample one second before.
    Once,
    /// One object at once, without a previous sample.
    OneShot,
}
