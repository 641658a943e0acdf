//! `start`.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use types::oci::runtime::Status;

use super::create::state_text;
use super::{Globals, delete, id};
use crate::args::Parsed;
use crate::error::{Error, Result};
use crate::hooks;
use crate::state::Record;

/// Who is told "started" may count on the program: waits until the process has let go of the fifo, which is when it is executed.
/// A process that is long in its `startContainer` hooks is not waited for, except by `poststart` hooks, which come after the program.
fn wait_for_program(fifo: &OwnedFd, record: &Record) {
    let limit = if record.hooks.poststart.is_empty() { 100 } else { 10_000 };
    let mut fds = [PollFd::new(fifo, PollFlags::empty())];
    let _ = sys::event::poll(&mut fds, Some(Duration::from_millis(limit)));
}

/// With `startContainer` hooks: waits until the process has become the program or is gone, and hands on which hook has failed. The hooks'
/// own timeouts are the limit.
fn listen(mut report: File) -> Result<()> {
    let mut fds = [PollFd::new(&report, PollFlags::IN)];
    while matches!(sys::event::poll(&mut fds, None), Ok(0)) {}
    let mut text = String::new();
    // Not blocking: what was written before the end is there.
    let _ = report.read_to_string(&mut text);
    if text.is_empty() { Ok(()) } else { Err(Error::State(text)) }
}

/// Releases the created process, and runs the `poststart` hooks; if one of them fails, so does the container (runtime-spec 1.3).
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(id(parsed)?)?;
    let record = dir.record()?;
    match dir.status(&record) {
        Status::Created => {
            let report = dir.open_report()?;
            let fifo = dir.release()?;
            if let Some(report) = report {
                // "Stop the container": whoever hears of the failure may delete it at once.
                listen(report).inspect_err(|_| delete::kill_first(&record))?;
            }
            wait_for_program(&fifo, &record);
        }
        Status::Stopped => {
            return Err(Error::State("cannot start a container that has stopped".into()));
        }
        Status::Running => {
            return Err(Error::State("cannot start an already running container".into()));
        }
        other => {
            let text = format!("cannot start a container in the {} state", other.as_str());
            return Err(Error::State(text));
        }
    }
    if record.hooks.poststart.is_empty() {
        return Ok(0);
    }
    let mut state = dir.state(&record);
    state.status = Status::Running;
    if let Err(why) = hooks::run_all("poststart", &record.hooks.poststart, &state_text(&state)) {
        delete::teardown(&dir, &record)?;
        return Err(Error::State(why));
    }
    Ok(0)
}
