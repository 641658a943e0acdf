//! `pause` and `resume`.

use types::oci::runtime::Status;

use super::{Globals, id};
use crate::args::Parsed;
use crate::error::{Error, Result, cgroup_step};

/// Stops every process of a container.
pub(super) fn pause(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(id(parsed)?)?;
    let record = dir.record()?;
    record.check_group()?;
    match dir.status(&record) {
        Status::Running | Status::Created => {
            let group = record.group();
            if !group.exists() {
                return Err(without_group());
            }
            group.freeze().map_err(cgroup_step("freeze the container"))?;
            Ok(0)
        }
        _ => Err(Error::NotRunning),
    }
}

/// runc's words, of a container of a user without rights to cgroups.
fn without_group() -> Error {
    Error::State("cannot toggle freezer: cgroups not configured for container".into())
}

/// Lets them run again.
pub(super) fn resume(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(id(parsed)?)?;
    let record = dir.record()?;
    record.check_group()?;
    if dir.status(&record) != Status::Paused {
        return Err(Error::State("container not paused".into()));
    }
    record.group().thaw().map_err(cgroup_step("thaw the container"))?;
    Ok(0)
}
