//! The group of a container that must or shall perhaps do without one: a user without privileges has cgroups only where someone has given him some.
//!
//! As with runc, a missing right is an error only if the configuration names the group or sets limits.

use std::path::PathBuf;

use sys::cgroup::{CgroupError, Cgroups, Group, Made, Mode, Permitted};
use types::oci::runtime::Resources;

use super::{Draft, Setting, devices, path_for, refuse_used, settings, write_all};
use crate::error::{Error, Result, cgroup_step, step};
use crate::log;

impl Draft {
    /// Makes the group as far as that is permitted.
    ///
    /// # Errors
    /// As [`Draft::make`]; in runc's words if the right is missing and needed.
    pub(crate) fn make_permitted(
        cgroups: &Cgroups,
        cgroups_path: &str,
        id: &str,
        resources: &Resources,
    ) -> Result<Self> {
        let own = cgroups.group_of("self").map_err(step("find the own cgroup"))?;
        let mut last = Permitted { group: Group::default(), made: Made::default(), refused: None };
        for group in candidates(cgroups, &own, cgroups_path, id)? {
            refuse_used(&group)?;
            last = group.create_permitted(&own).map_err(cgroup_step("create the cgroup"))?;
            if last.refused.is_none() {
                break;
            }
        }
        let unified = cgroups.mode() == Mode::Unified;
        let limits = settings(resources, unified)?;
        let draft = Self { group: last.group, made: Some(last.made), scope: None, limits };
        if let Some(refusal) = last.refused {
            draft.bear(refusal, !cgroups_path.is_empty(), unified)?;
        }
        draft.refuse_place()?;
        let early = draft.limits.iter().filter(|setting| setting.controller != "pids");
        write_all(&draft.group, &early.collect::<Vec<_>>())?;
        if let Err(error) = devices::apply(&draft.group, resources) {
            without_devices(&error);
        }
        Ok(draft)
    }

    /// Makes none: the container stays in the groups of the caller.
    ///
    /// # Errors
    /// [`Error::State`] if there are limits to be set.
    pub(crate) fn without_group(cgroups: &Cgroups, resources: &Resources) -> Result<Self> {
        let limits = settings(resources, cgroups.mode() == Mode::Unified)?;
        match limits.iter().find(|setting| !setting.optional) {
            Some(setting) => Err(without_group(setting)),
            None => {
                Ok(Self { group: Group::default(), made: None, scope: None, limits: Vec::new() })
            }
        }
    }

    fn bear(&self, refusal: CgroupError, named: bool, unified: bool) -> Result<()> {
        if named {
            return Err(cgroup_step("unable to apply cgroup configuration")(refusal));
        }
        let mut limits = self.limits.iter();
        let lacking = limits.find(|setting| !setting.optional && !self.has(setting.controller));
        match lacking {
            Some(_) if unified => Err(cgroup_step(
                "rootless needs no limits + no cgrouppath when no permission is granted for cgroups",
            )(refusal)),
            Some(setting) => Err(without_group(setting)),
            None => Ok(()),
        }
    }

    fn has(&self, controller: &str) -> bool {
        self.group.is_version_2() || self.group.places().iter().any(|place| place.has(controller))
    }
}

/// Nodes cannot be made in a user namespace, and the nodes that are there are the user's to open anyway.
pub(super) fn without_devices(error: &Error) {
    log::debug(&format!("device rules are left out: {}", types::Chain(error)));
}

/// runc's words.
pub(super) fn without_group(setting: &Setting) -> Error {
    let controller = setting.controller;
    Error::State(format!(
        "cannot set {controller} limit: container could not join or create cgroup"
    ))
}

/// Where the group may be: as configured; else beside the caller's own on version 2, where a group with processes has none with limits beneath it,
/// then beneath it.
fn candidates(cgroups: &Cgroups, own: &Group, cgroups_path: &str, id: &str) -> Result<Vec<Group>> {
    if !cgroups_path.is_empty() {
        return Ok(vec![cgroups.group(&path_for(cgroups_path, id)?)]);
    }
    let beneath = moved(own, |directory, _| directory.join(id));
    let beside = moved(own, |directory, mount| match directory.parent() {
        Some(above) if directory != mount => above.join(id),
        _ => directory.join(id),
    });
    Ok(if cgroups.mode() == Mode::Unified { vec![beside, beneath] } else { vec![beneath] })
}

fn moved(own: &Group, to: impl Fn(&PathBuf, &PathBuf) -> PathBuf) -> Group {
    let mut places = own.places().to_vec();
    for place in &mut places {
        place.directory = to(&place.directory, &place.mount);
    }
    Group::from_places(places)
}
