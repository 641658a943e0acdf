//! Effective limits: each group's own on the way up, and the one that binds.

use std::path::PathBuf;

use super::Groups;
use crate::host::Host;
use crate::report::Evidence;

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of memory: anonymous, page cache, shared memory, of the kernel.
    Memory,
    /// Bytes of swap (version 2), of memory and swap together (version 1).
    Swap,
    /// Processor time in a period.
    Cpu,
    /// Processes and threads.
    Pids,
}

impl Resource {
    /// All of them.
    pub const ALL: [Resource; 4] =
        [Resource::Memory, Resource::Swap, Resource::Cpu, Resource::Pids];

    /// Returns the controller's name.
    #[must_use]
    pub fn controller(self) -> &'static str {
        match self {
            Resource::Memory | Resource::Swap => "memory",
            Resource::Cpu => "cpu",
            Resource::Pids => "pids",
        }
    }

    fn files(self, version_2: bool) -> &'static [&'static str] {
        match (self, version_2) {
            (Resource::Memory, true) => &["memory.max"],
            (Resource::Memory, false) => &["memory.limit_in_bytes"],
            (Resource::Swap, true) => &["memory.swap.max"],
            (Resource::Swap, false) => &["memory.memsw.limit_in_bytes"],
            (Resource::Cpu, true) => &["cpu.max"],
            (Resource::Cpu, false) => &["cpu.cfs_quota_us", "cpu.cfs_period_us"],
            (Resource::Pids, _) => &["pids.max"],
        }
    }
}

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Without limit here.
    Unlimited,
    /// Bytes, or a number of tasks.
    Count(u64),
    /// Processors: 0.5 is 50 ms of time, of all threads together, in each 100 ms.
    Cpus {
        /// Microseconds of time per period.
        quota: u64,
        /// Microseconds.
        period: u64,
    },
}

impl Amount {
    /// Returns the number by which limits are compared; the smallest binds.
    fn weight(self) -> f64 {
        match self {
            Amount::Unlimited => f64::INFINITY,
            Amount::Count(count) => count as f64,
            Amount::Cpus { quota, period } => quota as f64 / period.max(1) as f64,
        }
    }
}

/// One group on the way up.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its directory.
    pub directory: PathBuf,
    /// What it allows; `None` where the file is not there (a hierarchy's root has none) or cannot be read.
    pub amount: Option<Amount>,
    /// What was read.
    pub evidence: Vec<Evidence>,
}

/// A limit with everything on the way to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// The process's own group first, the root last.
    pub steps: Vec<Step>,
}

impl Limit {
    /// Returns the step that binds: the one with the smallest amount, the lowest of equals. `None`: nothing limits.
    #[must_use]
    pub fn binding(&self) -> Option<&Step> {
        let mut best: Option<(&Step, f64)> = None;
        for step in &self.steps {
            let weight = step.amount.map_or(f64::INFINITY, Amount::weight);
            if weight.is_finite() && best.is_none_or(|(_, least)| weight < least) {
                best = Some((step, weight));
            }
        }
        best.map(|(step, _)| step)
    }

    /// Tells whether the own group's file could be read at all.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.steps.first().is_some_and(|step| step.amount.is_some())
    }
}

/// Reads a limit on the whole way up.
#[must_use]
pub fn limit(host: &Host, groups: &Groups, resource: Resource) -> Limit {
    let files = resource.files(groups.version_2);
    let steps =
        groups.way_up(resource.controller()).into_iter().enumerate().map(|(at, directory)| {
            let of = if at == 0 { "own group" } else { "group above" };
            let evidence: Vec<Evidence> =
                files.iter().map(|file| host.observe(of, directory.join(file))).collect();
            let values: Option<Vec<&str>> = evidence.iter().map(|e| e.reading.value()).collect();
            let amount = values.and_then(|values| amount(resource, groups.version_2, &values));
            Step { directory, amount, evidence }
        });
    Limit { resource, steps: steps.collect() }
}

/// Reads what a file, or two, of a group say.
fn amount(resource: Resource, version_2: bool, values: &[&str]) -> Option<Amount> {
    /// Version 1 says "no limit" with the largest multiple of a page.
    const NONE_IN_VERSION_1: u64 = 0x7fff_ffff_ffff_f000;
    match (resource, version_2, values) {
        (Resource::Cpu, true, [value]) => {
            let (quota, period) = value.split_once(' ')?;
            cpus(quota, period)
        }
        (Resource::Cpu, false, [quota, period]) => cpus(quota, period),
        (_, _, [value]) => match value.trim() {
            "max" => Some(Amount::Unlimited),
            text => {
                let count: u64 = text.parse().ok()?;
                // Pages of 64 KiB give a smaller one.
                let none = !version_2 && count >= NONE_IN_VERSION_1 - 0xf000;
                Some(if none { Amount::Unlimited } else { Amount::Count(count) })
            }
        },
        _ => None,
    }
}

fn cpus(quota: &str, period: &str) -> Option<Amount> {
    let period = period.trim().parse().ok()?;
    match quota.trim() {
        "max" | "-1" => Some(Amount::Unlimited),
        text => Some(Amount::Cpus { quota: text.parse().ok()?, period }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_smallest_on_the_way_up_binds() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "proc/9/cgroup", "0::/pod/web\n");
        write(root, "sys/fs/cgroup/cgroup.controllers", "memory\n");
        write(root, "sys/fs/cgroup/pod/memory.max", "268435456\n");
        write(root, "sys/fs/cgroup/pod/web/memory.max", "536870912\n");
        write(root, "sys/fs/cgroup/pod/cpu.max", "max 100000\n");
        write(root, "sys/fs/cgroup/pod/web/cpu.max", "50000 100000\n");
        let host = Host::beneath(root);
        let groups = Groups::of(&host, 9).unwrap();
        let memory = limit(&host, &groups, Resource::Memory);
        assert_eq!(memory.steps.len(), 3);
        let binding = memory.binding().unwrap();
        assert!(binding.directory.ends_with("pod"), "{binding:?}");
        assert_eq!(binding.amount, Some(Amount::Count(268_435_456)));
        let cpu = limit(&host, &groups, Resource::Cpu);
        assert!(cpu.binding().unwrap().directory.ends_with("web"));
        let pids = limit(&host, &groups, Resource::Pids);
        assert!(pids.binding().is_none() && !pids.is_known());
    }

    #[test]
    fn version_1_says_no_limit_with_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "proc/9/cgroup", "4:memory:/c\n1:cpu,cpuacct:/c\n0::/\n");
        write(root, "sys/fs/cgroup/memory/c/memory.limit_in_bytes", "9223372036854771712\n");
        write(root, "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1\n");
        write(root, "sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
        let host = Host::beneath(root);
        let groups = Groups::of(&host, 9).unwrap();
        for resource in [Resource::Memory, Resource::Cpu] {
            let limit = limit(&host, &groups, resource);
            assert_eq!(limit.steps[0].amount, Some(Amount::Unlimited), "{resource:?}");
            assert!(limit.binding().is_none());
        }
    }

    #[test]
    fn a_group_outside_the_readers_view_is_not_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "proc/9/cgroup", "0::/../../other\n");
        write(dir.path(), "sys/fs/cgroup/cgroup.controllers", "\n");
        let host = Host::beneath(dir.path());
        let groups = Groups::of(&host, 9).unwrap();
        assert!(limit(&host, &groups, Resource::Memory).steps.is_empty());
    }
}
