//! The container's control group: its path, and `linux.resources` turned into values of control files, for both versions.
//!
//! OCI runtime-spec config-linux.md#control-groups. The conversion is pure (a list of [`Setting`]s), the writing is a loop.

mod devices;
mod limits;
pub(crate) mod scope;
#[cfg(test)]
mod tests;

use sys::cgroup::{Group, Made};
use types::oci::runtime::Resources;

use crate::error::{Error, Result, cgroup_step};
use crate::log;

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

/// A group that was made for a container that is not there yet; dropped, it is taken back.
#[derive(Debug)]
pub struct Draft {
    group: Group,
    made: Option<Made>,
    scope: Option<scope::Scope>,
}

impl Draft {
    /// Makes the group and writes its limits, except that of processes: the caller enters the group before it makes the
    /// container's process, and a limit of one must not count the caller.
    ///
    /// # Errors
    /// [`Error::State`] if the group is frozen or holds processes: limits of two containers would mix, and in a frozen group a
    /// new process never runs.
    pub fn make(group: Group, resources: &Resources) -> Result<Self> {
        refuse_used(&group)?;
        let made = group.create().map_err(cgroup_step("create the cgroup"))?;
        Self { group, made: Some(made), scope: None }.prepared(resources)
    }

    /// The same by the systemd driver: systemd makes the group with the limits that it knows, the others are written then.
    ///
    /// # Errors
    /// As [`Draft::make`]; [`Error::Step`] if systemd refuses.
    pub(crate) fn make_scope(
        group: Group,
        place: &scope::Place,
        id: &str,
        resources: &Resources,
    ) -> Result<Self> {
        refuse_used(&group)?;
        let scope = scope::Scope::start(place, id, resources, group.is_version_2())?;
        let mut draft = Self { group, made: None, scope: Some(scope) };
        // On version 1 systemd makes some of the groups.
        draft.made = Some(draft.group.create().map_err(cgroup_step("create the cgroup"))?);
        draft.prepared(resources)
    }

    fn prepared(self, resources: &Resources) -> Result<Self> {
        self.apply(resources, |setting| setting.controller != "pids")?;
        devices::apply(&self.group, resources)?;
        Ok(self)
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
        self.apply(resources, |setting| setting.controller == "pids")
    }

    fn apply(&self, resources: &Resources, which: impl Fn(&Setting) -> bool) -> Result<()> {
        let list = settings(resources, self.group.is_version_2());
        list.iter().filter(|s| which(s)).try_for_each(|setting| write(&self.group, setting))
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

fn refuse_used(group: &Group) -> Result<()> {
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

/// Writes one value; what the kernel lacks and the configuration can do without is logged and left out.
fn write(group: &Group, setting: &Setting) -> Result<()> {
    if setting.optional
        && !group.directory(setting.controller).is_some_and(|d| d.join(&setting.file).exists())
    {
        log::debug(&format!("`{}` is not available and left out", setting.file));
        return Ok(());
    }
    match group.write(setting.controller, &setting.file, &setting.value) {
        Err(error) if setting.optional => {
            log::warn(&format!("{error}: {}", error.source));
            Ok(())
        }
        other => other.map_err(cgroup_step("set a limit")),
    }
}

/// Changes the limits of a running container; those of a scope in systemd first, which would put its own values back some day.
///
/// # Errors
/// [`Error::Cgroup`]; [`Error::Step`] if systemd refuses.
pub fn update(group: &Group, unit: &str, resources: &Resources) -> Result<()> {
    if !unit.is_empty() {
        scope::update(unit, resources, group.is_version_2())?;
    }
    let list = settings(resources, group.is_version_2());
    let mut list: Vec<&Setting> = list.iter().collect();
    // With both limits of memory the larger must be written first when they grow; the other order is tried when that fails.
    let memory = list.iter().filter(|s| s.file.starts_with("memory.")).count();
    if memory > 1 && !group.is_version_2() {
        let first = list.iter().try_for_each(|setting| write(group, setting));
        if first.is_ok() {
            return Ok(());
        }
        list.reverse();
    }
    list.iter().try_for_each(|setting| write(group, setting))
}
