//! `delete`.

use types::oci::runtime::Status;

use super::create::state_text;
use super::{Globals, id};
use crate::args::{Opt, Parsed, switch};
use crate::cgroup::scope;
use crate::error::{Error, Result, cgroup_step};
use crate::state::{Dir, Record};
use crate::{hooks, log};

/// The options.
pub(super) const OPTIONS: &[Opt] =
    &[switch("force", 'f', "end a container that still runs, and be content when there is none")];

/// Removes a stopped or a created container, and with `--force` a running one.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let id = id(parsed)?;
    let force = parsed.is_on("force");
    let dir = match globals.find(id) {
        Err(Error::NoContainer(_)) if force => return Ok(0),
        other => other?,
    };
    let Some(record) = dir.load()? else {
        // A creation that was cut off, or one that is going on.
        if force {
            match dir.load_draft() {
                Some(draft) => teardown(&dir, &draft)?,
                None => dir.remove()?,
            }
            return Ok(0);
        }
        return Err(Error::NoContainer(id.to_owned()));
    };
    match dir.status(&record) {
        Status::Stopped | Status::Created => {}
        _ if force => {}
        status => {
            let text =
                format!("cannot delete container {id} that is not stopped: {}", status.as_str());
            return Err(Error::State(text));
        }
    }
    teardown(&dir, &record)?;
    Ok(0)
}

/// Ends every process, removes the group and the directory, and runs the `poststop` hooks.
pub(super) fn teardown(dir: &Dir, record: &Record) -> Result<()> {
    record.check_group()?;
    let group = record.group();
    kill_first(record);
    // A creation that was killed may have made it in some hierarchies only.
    if group.exists() || group.places().iter().any(|place| place.directory.exists()) {
        group.kill().map_err(cgroup_step("kill the container's processes"))?;
        match group.remove() {
            // The group was made by someone else, for this user.
            Err(error) if error.is_refusal() && !rustix::process::geteuid().is_root() => {
                log::warn(&format!("leaving the cgroup: {error}: {}", error.source));
            }
            other => other.map_err(cgroup_step("remove the cgroup"))?,
        }
    }
    crate::rdt::remove(&record.rdt)?;
    if !record.unit.is_empty() {
        scope::stop(&record.unit)?;
    }
    crate::root_mount::remove(&record.rootfs, record.root_mount)?;
    let mut state = dir.state(record);
    state.status = Status::Stopped;
    state.pid = 0;
    dir.remove()?;
    for failure in hooks::run_each("poststop", &record.hooks.poststop, &state_text(&state)) {
        log::warn(&failure);
    }
    Ok(())
}

/// With a pid namespace of its own the end of the first process ends all others; waiting for it is one poll(2).
pub(super) fn kill_first(record: &Record) {
    let Ok(pid) = u32::try_from(record.pid) else { return };
    if pid == 0 {
        return;
    }
    let Ok(pidfd) = sys::pidfd::open(pid) else { return };
    if !record.is_alive() {
        return;
    }
    let _ = sys::pidfd::send_signal(rustix::fd::AsFd::as_fd(&pidfd), 9);
    let group = record.group();
    if group.is_frozen() {
        let _ = group.thaw();
    }
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let _ = sys::event::poll(&mut fds, Some(std::time::Duration::from_secs(10)));
}
