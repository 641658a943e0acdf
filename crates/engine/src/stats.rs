//! Counters of a running container: its cgroup, its network namespace, and the host for comparison.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sys::cgroup::{Cgroups, Group, IoEntry, Place};
use sys::procfs;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::Result;
use crate::engine::Engine;
use crate::roster::Handle;
use crate::sample::{BlkioEntry, CpuSample, MemorySample, NetSample, Sample, Stats, StatsMode};
use crate::view::ContainerView;

/// The time between two samples.
const PERIOD: Duration = Duration::from_secs(1);

impl Engine {
    /// Reads a container's counters; zeros while it does not run. A stream ends when the container is removed or nobody listens.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stats(&self, name: &str, mode: StatsMode) -> Result<mpsc::Receiver<Stats>> {
        let handle = self.find(name)?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            match mode {
                StatsMode::Stream => stream(&handle, &sender).await,
                StatsMode::Once => once(&handle, &sender).await,
                StatsMode::OneShot => {
                    let _ =
                        sender.send(stats(&handle, take(&handle).await, Sample::default())).await;
                }
            }
        });
        Ok(receiver)
    }
}

fn stats(handle: &Handle, sample: Sample, previous: Sample) -> Stats {
    Stats { id: handle.id.clone(), name: handle.view().name.clone(), sample, previous }
}

async fn once(handle: &Arc<Handle>, sender: &mpsc::Sender<Stats>) {
    let previous = take(handle).await;
    let sample = match previous.read {
        None => Sample::default(),
        Some(_) => {
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = sender.closed() => return,
            }
            take(handle).await
        }
    };
    // It ended in between: nothing is known, rather than half of it.
    let previous = if sample.read.is_some() { previous } else { Sample::default() };
    let _ = sender.send(stats(handle, sample, previous)).await;
}

async fn stream(handle: &Arc<Handle>, sender: &mpsc::Sender<Stats>) {
    let mut previous = Sample::default();
    let mut clock = tokio::time::interval(PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut progress = handle.progress.subscribe();
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = sender.closed() => return,
            _ = progress.wait_for(|progress| progress.removed) => return,
        }
        let sample = take(handle).await;
        if sender.send(stats(handle, sample.clone(), previous)).await.is_err() {
            return;
        }
        previous = sample;
    }
}

/// Takes a sample; an empty one if the container does not run.
async fn take(handle: &Arc<Handle>) -> Sample {
    let Some(live) = handle.live().filter(|live| !live.has_ended()) else {
        return Sample::default();
    };
    let view = handle.view();
    let sampled = tokio::task::spawn_blocking(move || sample(&view, live.pid));
    sampled.await.ok().flatten().unwrap_or_default()
}

/// Reads all counters; none if the process ends meanwhile. Blocks.
fn sample(view: &ContainerView, pid: u32) -> Option<Sample> {
    let group = group_of(view.id.as_str(), pid)?;
    let counted = group.stats();
    let version_2 = group.is_version_2();
    let memory = counted.memory.unwrap_or_default();
    let pids = counted.pids.unwrap_or_default();
    Some(Sample {
        read: Some(Timestamp::now()),
        cpu: cpu(counted.cpu.unwrap_or_default()),
        memory: MemorySample {
            usage: memory.usage,
            max_usage: (!version_2).then_some(memory.max_usage),
            failcnt: (!version_2).then_some(memory.failures),
            limit: limit(memory.limit),
            stats: memory.stat,
        },
        pids: pids.current,
        pids_limit: pids.limit,
        blkio_bytes: blkio(&counted.io, version_2, |entry| entry.bytes),
        blkio_operations: match version_2 {
            true => Vec::new(),
            false => blkio(&counted.io, false, |entry| entry.operations),
        },
        networks: networks(view, pid),
    })
}

/// The container's group. Its first process may have moved into a group beneath, as an init system does: what has the container's
/// id in its name is the container's own.
pub(crate) fn group_of(id: &str, pid: u32) -> Option<Group> {
    let group = Cgroups::detect().ok()?.group_of(&pid.to_string()).ok()?;
    let own = |place: &Place| {
        let named =
            |path: &&Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(id));
        let directory = place.directory.ancestors().filter(named).last();
        let directory = directory.unwrap_or(&place.directory).to_owned();
        Place { directory, ..place.clone() }
    };
    let group = Group::from_places(group.places().iter().map(own).collect());
    group.exists().then_some(group)
}

fn cpu(counted: sys::cgroup::CpuStats) -> CpuSample {
    let host = procfs::host_cpu().unwrap_or_default();
    CpuSample {
        total_ns: nanos(counted.usage),
        user_ns: nanos(counted.user),
        kernel_ns: nanos(counted.system),
        per_cpu_ns: (!counted.per_cpu.is_empty())
            .then(|| counted.per_cpu.iter().copied().map(nanos).collect()),
        system_ns: nanos(host.total),
        online_cpus: host.online,
        periods: counted.periods,
        throttled_periods: counted.throttled_periods,
        throttled_ns: nanos(counted.throttled),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The limit, or the host's memory if that is less.
fn limit(own: Option<u64>) -> u64 {
    match (own, procfs::memory_total_bytes().ok()) {
        (Some(own), Some(host)) => own.min(host),
        (own, host) => own.or(host).unwrap_or(0),
    }
}

/// Docker's words: of version 2 only `read` and `write`, of version 1 all with a capital.
fn blkio(entries: &[IoEntry], version_2: bool, value: impl Fn(&IoEntry) -> u64) -> Vec<BlkioEntry> {
    let word = |operation: &str| match version_2 {
        true => matches!(operation, "read" | "write").then(|| operation.to_owned()),
        false => {
            let (first, rest) = operation.split_at_checked(1)?;
            Some(first.to_ascii_uppercase() + rest)
        }
    };
    let show = |entry: &IoEntry| {
        Some(BlkioEntry {
            major: entry.major.into(),
            minor: entry.minor.into(),
            op: word(&entry.operation)?,
            value: value(entry),
        })
    };
    entries.iter().filter_map(show).collect()
}

/// Interfaces but the loopback; none in the host's network, whose numbers are not the container's.
fn networks(view: &ContainerView, pid: u32) -> Option<BTreeMap<String, NetSample>> {
    if view.host_config.network_mode == "host" {
        return None;
    }
    let found: BTreeMap<_, _> = procfs::interfaces(pid)
        .ok()?
        .into_iter()
        .filter(|interface| interface.name != "lo")
        .map(|interface| {
            let sample = NetSample {
                rx_bytes: interface.rx_bytes,
                rx_packets: interface.rx_packets,
                rx_errors: interface.rx_errors,
                rx_dropped: interface.rx_dropped,
                tx_bytes: interface.tx_bytes,
                tx_packets: interface.tx_packets,
                tx_errors: interface.tx_errors,
                tx_dropped: interface.tx_dropped,
            };
            (interface.name, sample)
        })
        .collect();
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_io_has_dockers_words() {
        let entry = |operation: &str, bytes| IoEntry {
            major: 8,
            minor: 1,
            operation: operation.to_owned(),
            bytes,
            operations: 3,
        };
        let all = [entry("read", 1), entry("write", 2), entry("discard", 4)];
        let words = |version_2| -> Vec<(String, u64)> {
            blkio(&all, version_2, |e| e.bytes).into_iter().map(|e| (e.op, e.value)).collect()
        };
        assert_eq!(words(true), [("read".to_owned(), 1), ("write".to_owned(), 2)]);
        let capital: Vec<_> = words(false).into_iter().map(|(op, _)| op).collect();
        assert_eq!(capital, ["Read", "Write", "Discard"]);
    }

    #[test]
    fn no_limit_is_the_hosts_memory() {
        let host = procfs::memory_total_bytes().unwrap();
        assert_eq!(limit(None), host);
        assert_eq!(limit(Some(u64::MAX)), host);
        assert_eq!(limit(Some(4096)), 4096);
    }
}
