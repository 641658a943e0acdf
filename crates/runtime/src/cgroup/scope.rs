//! The systemd driver: systemd makes the group, as a transient scope, and knows the limits.
//!
//! A scope must have a process from its birth, and the container's process is to be born in the scope: so a child that only
//! waits, the holder, is put there first and ended once the container's own process is there.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sys::clone::{CloneRequest, Cloned, clone_process, exit_child};
use types::oci::runtime::{CpuResources, MemoryResources, Resources};

use crate::dbus::{BusError, Property, Systemd, Value};
use crate::error::{Error, Result, step};

/// What systemd takes for "no limit".
const INFINITY: u64 = u64::MAX;

/// Where a scope stands and what it is called: `cgroupsPath` in runc's form `SLICE:PREFIX:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    slice: String,
    /// The unit's name, `PREFIX-NAME.scope`.
    pub(crate) unit: String,
}

impl Place {
    /// Reads `cgroupsPath`; an empty one is `system.slice` and the id.
    pub(crate) fn parse(cgroups_path: &str, id: &str) -> Result<Self> {
        let bad = || {
            let text =
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups";
            Error::Config(format!("{text}, got {cgroups_path:?} instead"))
        };
        let (slice, prefix, name) = if cgroups_path.is_empty() {
            ("", "runc", id)
        } else {
            let mut parts = cgroups_path.split(':');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(slice), Some(prefix), Some(name), None) => (slice, prefix, name),
                _ => return Err(bad()),
            }
        };
        let slice = if slice.is_empty() { "system.slice" } else { slice };
        if name.is_empty() || [slice, prefix, name].iter().any(|part| part.contains('/')) {
            return Err(bad());
        }
        let unit = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        Ok(Self { slice: slice.to_owned(), unit })
    }

    /// The group's path: `a-b.slice` lies in `a.slice`, systemd.slice(5).
    pub(crate) fn path(&self) -> Result<String> {
        let bad = || Error::Config(format!("invalid slice name: {}", self.slice));
        let name = self.slice.strip_suffix(".slice").ok_or_else(bad)?;
        if name == "-" {
            return Ok(format!("/{}", self.unit));
        }
        let (mut path, mut whole) = (String::new(), String::new());
        for part in name.split('-') {
            if part.is_empty() {
                return Err(bad());
            }
            whole = if whole.is_empty() { part.to_owned() } else { format!("{whole}-{part}") };
            path = format!("{path}/{whole}.slice");
        }
        Ok(format!("{path}/{}", self.unit))
    }
}

fn refused(what: &str, unit: &str) -> impl FnOnce(BusError) -> Error {
    let step_name = format!("{what} the unit `{unit}`");
    move |error| step(step_name)(std::io::Error::other(Box::new(error)))
}

/// A process that does nothing but be there. Dropped, it ends.
#[derive(Debug)]
struct Holder {
    pid: u32,
    pidfd: OwnedFd,
    /// The other end of what it reads: should the runtime be killed, the holder ends too.
    _line: UnixStream,
}

impl Holder {
    fn make() -> Result<Self> {
        let what = "make a process that holds the scope";
        let (ours, mut theirs) = UnixStream::pair().map_err(step(what))?;
        match clone_process(&CloneRequest::default()).map_err(step(what))? {
            Cloned::Child { .. } => {
                drop(ours);
                let _ = theirs.read(&mut [0]);
                exit_child(0)
            }
            Cloned::Parent { pid, pidfd } => {
                let pid = pid.as_raw_nonzero().get().unsigned_abs();
                Ok(Self { pid, pidfd, _line: ours })
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The container's process has a copy of the line, so closing it here says nothing.
        let _ = sys::pidfd::send_signal(self.pidfd.as_fd(), rustix::process::Signal::KILL.as_raw());
        let _ = sys::pidfd::wait(self.pidfd.as_fd());
    }
}

/// A scope that was started for a container that is not there yet.
#[derive(Debug)]
pub(super) struct Scope {
    unit: String,
    systemd: Systemd,
    holder: Option<Holder>,
}

impl Scope {
    /// Starts the scope with every limit but that of processes, which must not count the holder.
    pub(super) fn start(
        place: &Place,
        id: &str,
        resources: &Resources,
        version_2: bool,
    ) -> Result<Self> {
        let holder = Holder::make()?;
        let mut properties: Vec<Property> = vec![
            ("Description", Value::Text(format!("container {id}"))),
            ("Slice", Value::Text(place.slice.clone())),
            ("Delegate", Value::Bool(true)),
            ("DefaultDependencies", Value::Bool(false)),
            ("PIDs", Value::Numbers(vec![holder.pid])),
            ("MemoryAccounting", Value::Bool(true)),
            ("CPUAccounting", Value::Bool(true)),
            ("IOAccounting", Value::Bool(version_2)),
            ("TasksAccounting", Value::Bool(true)),
            ("TasksMax", Value::Number(INFINITY)),
        ];
        properties.extend(limits(resources, version_2));
        let mut systemd = Systemd::connect().map_err(refused("start", &place.unit))?;
        systemd.start(&place.unit, &properties).map_err(refused("start", &place.unit))?;
        Ok(Self { unit: place.unit.clone(), systemd, holder: Some(holder) })
    }

    /// Ends the holder: the container's own process is there.
    pub(super) fn release(&mut self) {
        self.holder = None;
    }

    /// Sets the limit of processes.
    pub(super) fn limit_processes(&mut self, resources: &Resources) -> Result<()> {
        let Some(property) = tasks(resources) else { return Ok(()) };
        self.systemd.set(&self.unit, &[property]).map_err(refused("limit", &self.unit))
    }

    /// Stops it again.
    pub(super) fn undo(mut self) {
        self.holder = None;
        let _ = self.systemd.stop(&self.unit);
    }
}

/// Changes the limits that systemd knows.
pub(super) fn update(unit: &str, resources: &Resources, version_2: bool) -> Result<()> {
    let mut properties = limits(resources, version_2);
    properties.extend(tasks(resources));
    if properties.is_empty() {
        return Ok(());
    }
    let mut systemd = Systemd::connect().map_err(refused("change", unit))?;
    systemd.set(unit, &properties).map_err(refused("change", unit))
}

/// Takes the scope away, whatever is left of it.
pub(crate) fn stop(unit: &str) -> Result<()> {
    let mut systemd = Systemd::connect().map_err(refused("stop", unit))?;
    systemd.stop(unit).map_err(refused("stop", unit))
}

fn tasks(resources: &Resources) -> Option<Property> {
    let limit = resources.pids.as_ref()?.limit?;
    Some(("TasksMax", Value::Number(u64::try_from(limit).unwrap_or(INFINITY))))
}

/// The limits as properties, systemd.resource-control(5). What systemd has no word for is only in the files.
fn limits(resources: &Resources, version_2: bool) -> Vec<Property> {
    let mut list = Vec::new();
    if let Some(memory) = &resources.memory {
        list.extend(memory_limits(memory, version_2));
    }
    if let Some(cpu) = &resources.cpu {
        list.extend(cpu_limits(cpu, version_2));
    }
    list
}

fn memory_limits(memory: &MemoryResources, version_2: bool) -> Vec<Property> {
    let bytes = |value: i64| Value::Number(u64::try_from(value).unwrap_or(INFINITY));
    let limit = memory.limit.filter(|limit| *limit != 0);
    if !version_2 {
        return limit.map(|limit| ("MemoryLimit", bytes(limit))).into_iter().collect();
    }
    let mut list: Vec<Property> = Vec::new();
    list.extend(limit.map(|limit| ("MemoryMax", bytes(limit))));
    list.extend(memory.reservation.filter(|low| *low != 0).map(|low| ("MemoryLow", bytes(low))));
    if let Some(swap) = memory.swap.filter(|swap| *swap != 0) {
        // The document counts memory and swap together, systemd and the kernel count swap alone.
        let alone = match limit {
            Some(limit) if swap > 0 && limit > 0 => (swap - limit).max(0),
            _ => swap,
        };
        list.push(("MemorySwapMax", bytes(alone)));
    }
    list
}

fn cpu_limits(cpu: &CpuResources, version_2: bool) -> Vec<Property> {
    let mut list: Vec<Property> = Vec::new();
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        list.push(match version_2 {
            true => ("CPUWeight", Value::Number(super::limits::weight(shares))),
            false => ("CPUShares", Value::Number(shares)),
        });
    }
    let period = cpu.period.filter(|period| *period != 0);
    if let Some(period) = period {
        list.push(("CPUQuotaPeriodUSec", Value::Number(period)));
    }
    if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
        list.push((
            "CPUQuotaPerSecUSec",
            Value::Number(per_second(quota, period.unwrap_or(100_000))),
        ));
    }
    if version_2 {
        for (name, text) in [("AllowedCPUs", &cpu.cpus), ("AllowedMemoryNodes", &cpu.mems)] {
            list.extend(bits(text).map(|bits| (name, Value::Bytes(bits))));
        }
    }
    list
}

/// Microseconds in each second, in steps of 10 ms (1%) as systemd itself counts, rounded up: the container gets what it was promised.
fn per_second(quota: i64, period: u64) -> u64 {
    let Ok(quota) = u64::try_from(quota) else { return INFINITY };
    let exact = quota.saturating_mul(1_000_000) / period;
    exact.next_multiple_of(10_000)
}

/// A list such as `0-2,5` as a mask, the lowest number in the lowest bit of the first byte.
fn bits(list: &str) -> Option<Vec<u8>> {
    /// More than any kernel has.
    const MOST: usize = 1 << 16;
    let mut mask = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|number| mask[number / 8] |= 1 << (number % 8));
    }
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slices_name_is_its_path() {
        let path = |text: &str| Place::parse(text, "id").and_then(|place| place.path());
        assert_eq!(path("system.slice:belljar:x").unwrap(), "/system.slice/belljar-x.scope");
        assert_eq!(path("a-b-c.slice:p:x").unwrap(), "/a.slice/a-b.slice/a-b-c.slice/p-x.scope");
        assert_eq!(path("").unwrap(), "/system.slice/runc-id.scope");
        assert_eq!(path(":p:x").unwrap(), "/system.slice/p-x.scope");
        assert_eq!(path("-.slice::x").unwrap(), "/x.scope");
        for bad in
            ["/belljar/x", "a:b", "a:b:c:d", "a--b.slice:p:x", "system:p:x", "a.slice:p:../x"]
        {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_have_systemds_names() {
        let resources = Resources {
            memory: Some(MemoryResources {
                limit: Some(64),
                swap: Some(96),
                ..MemoryResources::default()
            }),
            cpu: Some(CpuResources {
                quota: Some(25_000),
                period: Some(50_000),
                cpus: "0,8-9".into(),
                ..CpuResources::default()
            }),
            ..Resources::default()
        };
        let want = vec![
            ("MemoryMax", Value::Number(64)),
            ("MemorySwapMax", Value::Number(32)),
            ("CPUQuotaPeriodUSec", Value::Number(50_000)),
            ("CPUQuotaPerSecUSec", Value::Number(500_000)),
            ("AllowedCPUs", Value::Bytes(vec![1, 3])),
        ];
        assert_eq!(limits(&resources, true), want);
        assert_eq!(limits(&resources, false)[0], ("MemoryLimit", Value::Number(64)));
    }

    #[test]
    fn quotas_are_rounded_up() {
        assert_eq!(per_second(12_345, 100_000), 130_000);
        assert_eq!(per_second(-1, 100_000), INFINITY);
    }

    #[test]
    fn lists_are_masks_or_nothing() {
        assert_eq!(bits("0-3"), Some(vec![0x0f]));
        assert_eq!(bits("x"), None);
        assert_eq!(bits("3-1"), None);
        assert_eq!(bits("0-99999999"), None);
        assert_eq!(bits(""), None);
    }
}
