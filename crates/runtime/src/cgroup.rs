//! The container's control group: its path, and `linux.resources` turned into values of control files, for both versions.
//!
//! OCI runtime-spec config-linux.md#control-groups. The conversion is pure (a list of [`Setting`]s), the writing is a loop.

mod devices;
mod limits;
mod permitted;
mod properties;
pub(crate) mod scope;
#[cfg(test)]
mod tests;
mod variant;

use rustix::io::Errno;
use sys::cgroup::{CgroupError, Group, Made};
use types::oci::runtime::{MemoryResources, NamespaceKind, Resources, Spec};

use crate::error::{Error, Result, cgroup_step, step};
use crate::{config, log};

use limits::{Present, settings_over};
pub use limits::{Setting, settings};

/// Returns the group's path for a configuration without the systemd driver: `cgroupsPath`, or the id.
///
/// # Errors
/// [`Error::Config`] for a path with `..`.
pub fn path_for(cgroups_path: &str, id: &str) -> Result<String> {
    if cgroups_path.split('/').any(|part| part == "..") {
        return Err(Error::Config(format!("cgroupsPath {cgroups_path:?} contains `..`")));
    }
    let trimmed = cgroups_path.trim_matches('/');
    Ok(if trimmed.is_empty() { format!("/{id}") } else { format!("/{trimmed}") })
}

/// The user, as the host numbers it, to whom the container's version 2 group is given: that of its process, if it sees the group as
/// the root of a cgroup file system that it may write to (OCI runtime-spec config-linux.md#cgroup-ownership).
pub(crate) fn owner(spec: &Spec) -> Option<u32> {
    let linux = spec.linux.as_ref()?;
    let writable = spec.mounts.iter().any(|mount| {
        matches!(mount.kind.as_str(), "cgroup" | "cgroup2")
            && !mount.options.iter().any(|option| option == "ro")
    });
    if !writable || !config::has_new_namespace(linux, NamespaceKind::Cgroup) {
        return None;
    }
    let inside = spec.process.as_ref().map_or(0, |process| process.user.uid);
    if !linux.namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::User) {
        return Some(inside).filter(|uid| *uid != 0);
    }
    linux.uid_mappings.iter().find_map(|map| {
        let offset = inside.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
        map.host_id.checked_add(offset)
    })
}

/// A group that was made for a container that is not there yet; dropped, it is taken back.
#[derive(Debug)]
pub struct Draft {
    group: Group,
    made: Option<Made>,
    scope: Option<scope::Scope>,
    limits: Vec<Setting>,
}

impl Draft {
    /// Makes the group and writes its limits, except that of processes: the caller enters the group before it makes the
    /// container's process, and a limit of one must not count the caller.
    ///
    /// # Errors
    /// [`Error::State`] if the group is frozen or holds processes: limits of two containers would mix, and in a frozen group a
    /// new process never runs. [`Error::Config`] for limits that cannot be.
    pub fn make(group: Group, resources: &Resources) -> Result<Self> {
        refuse_used(&group)?;
        let limits = settings(resources, group.is_version_2())?;
        let made = group.create().map_err(cgroup_step("create the cgroup"))?;
        Self { group, made: Some(made), scope: None, limits }.prepared(resources)
    }

    /// The same by the systemd driver: systemd makes the group with the limits that it knows, the others are written then.
    ///
    /// # Errors
    /// As [`Draft::make`]; [`Error::Step`] if systemd refuses.
    pub(crate) fn make_scope(
        group: Group,
        unit: &scope::Request<'_>,
        resources: &Resources,
    ) -> Result<Self> {
        refuse_used(&group)?;
        let resources = &properties::rounded(resources, &Present::default());
        let version_2 = group.is_version_2();
        let limits = settings(resources, version_2)?;
        let scope = scope::Scope::start(unit, resources, version_2)?;
        let mut draft = Self { group, made: None, scope: Some(scope), limits };
        // On version 1 systemd makes some of the groups.
        draft.made = Some(draft.group.create().map_err(cgroup_step("create the cgroup"))?);
        draft.prepared(resources)
    }

    fn prepared(self, resources: &Resources) -> Result<Self> {
        warn_ignored(resources);
        self.refuse_place()?;
        let limits = self.limits.iter().filter(|setting| setting.controller != "pids");
        write_all(&self.group, &limits.collect::<Vec<_>>())?;
        match devices::apply(&self.group, resources) {
            Err(error) if crate::dbus::is_users() => permitted::without_devices(&error),
            other => other?,
        }
        Ok(self)
    }

    /// Looks at what only shows once the group is there: whether one above it is frozen or cannot hand controllers on.
    fn refuse_place(&self) -> Result<()> {
        if self.group.is_stopped_from_above() {
            return Err(Error::State("container's cgroup unexpectedly frozen".into()));
        }
        if !self.made.as_ref().is_some_and(Made::is_lacking) {
            return Ok(());
        }
        let kind = self.group.kind();
        let domain = self.limits.iter().find_map(needs_a_domain);
        let words = match kind.as_str() {
            "domain invalid" if domain.is_some() => "it is in an invalid state".to_owned(),
            "threaded" | "domain threaded" if domain.is_some() => format!("it is in {kind} mode"),
            // Without such limits a process may live there, as one of several threads of a domain above.
            "domain invalid" => {
                let threaded = self.group.write("", "cgroup.type", "threaded");
                return threaded.map_err(cgroup_step("make the cgroup threaded"));
            }
            _ => return Ok(()),
        };
        let path = self.group.unified().unwrap_or(std::path::Path::new(""));
        let why = domain.and_then(|name| self.group.why_missing(name)).unwrap_or_default();
        let text =
            format!("cannot enter cgroupv2 {path:?} with domain controllers -- {words}: {why}");
        Err(Error::State(text))
    }

    /// Gives the version 2 group to a user, who may then make groups beneath it: the directory and the files that the kernel names
    /// in /sys/kernel/cgroup/delegate (OCI runtime-spec config-linux.md#cgroup-ownership).
    ///
    /// # Errors
    /// [`Error::Step`].
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let Some(directory) = self.group.unified().filter(|_| self.group.is_version_2()) else {
            return Ok(());
        };
        let files = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
        let files =
            files.as_deref().unwrap_or("cgroup.procs\ncgroup.subtree_control\ncgroup.threads");
        let own = std::iter::once(directory.to_owned());
        for path in own.chain(files.lines().map(|name| directory.join(name))) {
            match std::os::unix::fs::chown(&path, Some(uid), None) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(step(format!("give `{}` to user {uid}", path.display())))?,
            }
        }
        Ok(())
    }

    /// Says that the container's process is in the group.
    pub fn settled(&mut self) {
        if let Some(scope) = &mut self.scope {
            scope.release();
        }
    }

    /// Writes the limit of processes.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn limit_processes(&mut self, resources: &Resources) -> Result<()> {
        if let Some(scope) = &mut self.scope {
            scope.limit_processes(resources)?;
        }
        let limits = self.limits.iter().filter(|setting| setting.controller == "pids");
        write_all(&self.group, &limits.collect::<Vec<_>>())
    }

    /// Returns the group.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Keeps the group: the container is complete.
    pub fn keep(mut self) {
        self.made = None;
        self.scope = None;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(made) = self.made.take() {
            let _ = self.group.kill();
            let _ = self.group.remove();
            made.undo();
        }
        if let Some(scope) = self.scope.take() {
            scope.undo();
        }
    }
}

/// Refuses a group that is frozen or holds processes.
pub(crate) fn refuse_used(group: &Group) -> Result<()> {
    if !group.exists() {
        return Ok(());
    }
    if group.is_frozen() {
        return Err(Error::State("container's cgroup unexpectedly frozen".into()));
    }
    let count = group.processes().len();
    if count > 0 {
        return Err(Error::State(format!(
            "container's cgroup is not empty: {count} process(es) found"
        )));
    }
    Ok(())
}

/// The controller of a limit, if it is one that threaded groups do not have.
fn needs_a_domain(setting: &Setting) -> Option<&str> {
    let controller = match setting.controller {
        "" => setting.file.split('.').next().unwrap_or_default(),
        controller => controller,
    };
    matches!(controller, "memory" | "io" | "hugetlb" | "rdma" | "misc").then_some(controller)
}

/// runc's words.
fn warn_ignored(resources: &Resources) {
    let memory = resources.memory.as_ref();
    if memory.is_some_and(|memory| memory.kernel.is_some() || memory.kernel_tcp.is_some()) {
        log::warn("Kernel memory settings are ignored and will be removed");
    }
}

/// Values that the kernel judges by another one that is perhaps only written after them.
const JUDGED_BY: [(&str, &str); 4] = [
    ("cpu.cfs_period_us", "cpu.cfs_quota_us"),
    ("cpu.cfs_burst_us", "cpu.cfs_quota_us"),
    ("cpu.max.burst", "cpu.max"),
    ("cpu.rt_period_us", "cpu.rt_runtime_us"),
];

/// Writes the values in their order; one that is refused for another that comes later is written again after that.
fn write_all(group: &Group, list: &[&Setting]) -> Result<()> {
    let mut again: Vec<&Setting> = Vec::new();
    for (at, setting) in list.iter().enumerate() {
        let judged = |other: &&Setting| JUDGED_BY.contains(&(&setting.file, &other.file));
        match write(group, setting) {
            Err(error) if error.errno() == Some(Errno::INVAL) && list[at..].iter().any(judged) => {
                again.push(setting);
            }
            other => other.map_err(|error| refused(group, setting, error))?,
        }
        check(group, setting)?;
    }
    again.into_iter().try_for_each(|setting| {
        write(group, setting).map_err(|error| refused(group, setting, error))
    })
}

fn has(group: &Group, setting: &Setting, file: &str) -> bool {
    group.directory(setting.controller).is_some_and(|directory| directory.join(file).exists())
}

/// Writes one value; what the kernel lacks and the configuration can do without is logged and left out.
fn write(group: &Group, setting: &Setting) -> std::result::Result<(), CgroupError> {
    let (file, value) = match &setting.or {
        Some((file, value)) if !has(group, setting, &setting.file) => (file, value),
        _ => (&setting.file, &setting.value),
    };
    if setting.optional && !has(group, setting, file) {
        log::debug(&format!("`{file}` is not available and left out"));
        return Ok(());
    }
    match group.write(setting.controller, file, value) {
        Err(error) if setting.optional => {
            log::warn(&format!("{error}: {}", error.source));
            Ok(())
        }
        other => other,
    }
}

/// Says what was refused, in runc's words where it has some.
fn refused(group: &Group, setting: &Setting, error: CgroupError) -> Error {
    match (setting.controller, setting.file.as_str(), error.errno()) {
        ("memory", "memory.limit_in_bytes", Some(Errno::BUSY)) => {
            let bytes = |file| group.read("memory", file).unwrap_or_default();
            Error::State(format!(
                "unable to set memory limit to {} (current usage: {}, peak usage: {})",
                setting.value,
                bytes("memory.usage_in_bytes"),
                bytes("memory.max_usage_in_bytes"),
            ))
        }
        ("", file, _) => step(format!("unified resource {file:?} can't be set"))(error.source),
        _ => cgroup_step("set a limit")(error),
    }
}

/// Reads back what the kernel accepts and then does otherwise.
fn check(group: &Group, setting: &Setting) -> Result<()> {
    match setting.file.as_str() {
        // runc's words.
        "cpu.shares" => {
            let read = group.read("cpu", "cpu.shares").and_then(|text| text.parse::<u64>().ok());
            let (Some(read), Ok(asked)) = (read, setting.value.parse::<u64>()) else {
                return Ok(());
            };
            let text = match asked.cmp(&read) {
                std::cmp::Ordering::Greater => format!("the maximum allowed cpu-shares is {read}"),
                std::cmp::Ordering::Less => format!("the minimum allowed cpu-shares is {read}"),
                std::cmp::Ordering::Equal => return Ok(()),
            };
            Err(Error::Config(text))
        }
        // `root invalid (Cpu list in cpuset.cpus not exclusive)`.
        "cpuset.cpus.partition" => match group.read("cpuset", "cpuset.cpus.partition") {
            Some(text) if text.contains("invalid") => {
                let asked = &setting.value;
                Err(Error::Config(format!("the cpuset cannot be a partition `{asked}`: {text}")))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Reads what new limits are measured by.
fn present(group: &Group) -> Present {
    let number = |text: String| match text.as_str() {
        "max" => Some(-1),
        // Version 1 says "unlimited" as the last page before 2^63.
        text => text.parse().ok().map(|value: i64| if value >= 1 << 62 { -1 } else { value }),
    };
    if group.is_version_2() {
        let memory = group.read("memory", "memory.max").and_then(number);
        let max = group.read("cpu", "cpu.max").unwrap_or_default();
        let (quota, period) = max.split_once(' ').unwrap_or_default();
        return Present { memory, quota: number(quota.into()), period: period.parse().ok() };
    }
    let period = group.read("cpu", "cpu.cfs_period_us").and_then(|text| text.parse().ok());
    Present {
        memory: group.read("memory", "memory.limit_in_bytes").and_then(number),
        quota: group.read("cpu", "cpu.cfs_quota_us").and_then(number),
        period,
    }
}

/// Refuses a limit that is in use already, where the document wants that looked at: on version 2 the kernel would kill. runc's words.
fn check_usage(group: &Group, memory: &MemoryResources) -> Result<()> {
    if memory.check_before_update != Some(true) {
        return Ok(());
    }
    let file = if group.is_version_2() { "memory.current" } else { "memory.usage_in_bytes" };
    let Some(usage) = group.read("memory", file).and_then(|text| text.parse::<i64>().ok()) else {
        return Ok(());
    };
    for (name, limit) in [("memory+swap", memory.swap), ("memory", memory.limit)] {
        if let Some(limit) = limit.filter(|limit| *limit > 0 && *limit <= usage) {
            return Err(Error::State(format!("rejecting {name} limit {limit} <= usage {usage}")));
        }
    }
    Ok(())
}

/// Changes the limits of a running container, and then tells systemd of those of a scope, which would put its own values back some
/// day. If one is refused, those that were changed before it get their old values again.
///
/// # Errors
/// [`Error::Cgroup`]; [`Error::Config`] for limits that cannot be; [`Error::Step`] if systemd refuses.
pub fn update(group: &Group, unit: &str, resources: &Resources) -> Result<()> {
    let present = present(group);
    let resources = match unit {
        "" => resources,
        _ => &properties::rounded(resources, &present),
    };
    warn_ignored(resources);
    if let Some(memory) = &resources.memory {
        check_usage(group, memory)?;
    }
    let list = settings_over(resources, group.is_version_2(), &present)?;
    if let Some(setting) = list.first().filter(|_| !group.exists()) {
        return Err(permitted::without_group(setting));
    }
    let old: Vec<Setting> = list.iter().filter_map(|setting| before(group, setting)).collect();
    let changed = write_all(group, &list.iter().collect::<Vec<_>>()).and_then(|()| match unit {
        "" => Ok(()),
        unit => scope::update(unit, resources, group.is_version_2(), &present),
    });
    if let Err(error) = changed {
        for setting in old.iter().rev() {
            let _ = write(group, setting);
        }
        return Err(error);
    }
    if resources.devices.is_empty() { Ok(()) } else { devices::apply(group, resources) }
}

/// The value that a file has now, as one that can be written; `None` for what is a table.
fn before(group: &Group, setting: &Setting) -> Option<Setting> {
    let value = group.read(setting.controller, &setting.file)?;
    let single = !value.is_empty() && !value.contains('\n') && !value.contains(':');
    single.then(|| Setting { value, or: None, ..setting.clone() })
}
