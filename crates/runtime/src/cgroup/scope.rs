//! The systemd driver: systemd makes the group, as a transient scope, and knows the limits.
//!
//! A scope must have a process from its birth, and the container's process is to be born in the scope: so a child that only
//! waits, the holder, is put there first and ended once the container's own process is there.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sys::clone::{CloneRequest, Cloned, clone_process, exit_child};
use types::oci::runtime::Resources;

use super::limits::Present;
use super::properties::{self, INFINITY};
use crate::dbus::{self, BusError, Property, Systemd, Value, property};
use crate::error::{Error, Result, step};

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
        let default = if dbus::is_users() { "user.slice" } else { "system.slice" };
        let slice = if slice.is_empty() { default } else { slice };
        if name.is_empty() || [slice, prefix, name].iter().any(|part| part.contains('/')) {
            return Err(bad());
        }
        let unit = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        Ok(Self { slice: slice.to_owned(), unit })
    }

    /// The group's path; the slices of a user's own systemd lie beneath its group.
    pub(crate) fn group(&self) -> Result<String> {
        let path = self.path()?;
        if !dbus::is_users() {
            return Ok(path);
        }
        let above = Systemd::connect().and_then(|mut systemd| systemd.group());
        Ok(format!("{}{path}", above.map_err(refused("find the group of", &self.unit))?))
    }

    /// The path beneath systemd's group: `a-b.slice` lies in `a.slice`, systemd.slice(5).
    fn path(&self) -> Result<String> {
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

/// What a scope is asked for beside its limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Where and how it is called.
    pub(crate) place: &'a Place,
    /// The container.
    pub(crate) id: &'a str,
    /// The container's annotations, some of which are properties of the unit.
    pub(crate) annotations: &'a BTreeMap<String, String>,
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
        request: &Request<'_>,
        resources: &Resources,
        version_2: bool,
    ) -> Result<Self> {
        let (place, unit) = (request.place, &request.place.unit);
        let asked = properties::annotated(request.annotations)?;
        let holder = Holder::make()?;
        let mut properties: Vec<Property> = vec![
            property("Description", Value::Text(format!("container {}", request.id))),
            property("Slice", Value::Text(place.slice.clone())),
            property("Delegate", Value::Bool(true)),
            property("DefaultDependencies", Value::Bool(false)),
            property("PIDs", Value::Numbers(vec![holder.pid])),
            property("MemoryAccounting", Value::Bool(true)),
            property("CPUAccounting", Value::Bool(true)),
            property(
                if version_2 { "IOAccounting" } else { "BlockIOAccounting" },
                Value::Bool(true),
            ),
            property("TasksAccounting", Value::Bool(true)),
            property("TasksMax", Value::Number(INFINITY)),
        ];
        let mut systemd = Systemd::connect().map_err(refused("start", unit))?;
        properties.extend(properties::device_limits(resources));
        let knows_idle = || systemd.knows_idle();
        properties.extend(properties::limits(
            resources,
            version_2,
            &Present::default(),
            knows_idle,
        )?);
        properties.extend(asked);
        systemd.start(unit, &properties).map_err(refused("start", unit))?;
        Ok(Self { unit: unit.clone(), systemd, holder: Some(holder) })
    }

    /// Ends the holder: the container's own process is there.
    pub(super) fn release(&mut self) {
        self.holder = None;
    }

    /// Sets the limit of processes.
    pub(super) fn limit_processes(&mut self, resources: &Resources) -> Result<()> {
        let Some(property) = properties::tasks(resources) else { return Ok(()) };
        self.systemd.set(&self.unit, &[property]).map_err(refused("limit", &self.unit))
    }

    /// Stops it again.
    pub(super) fn undo(mut self) {
        self.holder = None;
        let _ = self.systemd.stop(&self.unit);
    }
}

/// Changes the limits that systemd knows.
pub(super) fn update(
    unit: &str,
    resources: &Resources,
    version_2: bool,
    present: &Present,
) -> Result<()> {
    let mut systemd = Systemd::connect().map_err(refused("change", unit))?;
    let mut properties =
        properties::limits(resources, version_2, present, || systemd.knows_idle())?;
    properties.extend(properties::tasks(resources));
    if !resources.devices.is_empty() {
        properties.extend(properties::device_limits(resources));
    }
    if properties.is_empty() {
        return Ok(());
    }
    systemd.set(unit, &properties).map_err(refused("change", unit))
}

/// Has systemd move a process into the scope.
pub(crate) fn attach(unit: &str, pid: u32) -> Result<()> {
    let mut systemd = Systemd::connect().map_err(refused("move a process into", unit))?;
    systemd.attach(unit, pid).map_err(refused("move a process into", unit))
}

/// Takes the scope away, whatever is left of it.
pub(crate) fn stop(unit: &str) -> Result<()> {
    let mut systemd = Systemd::connect().map_err(refused("stop", unit))?;
    systemd.stop(unit).map_err(refused("stop", unit))
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
}
