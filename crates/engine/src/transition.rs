//! Which request is legal in which state: a pure table, so that it can be read in one place and tested against a model.
//!
//! | state      | start | signal | pause | unpause | exec | attach | remove | remove -f | update | rename |
//! |------------|-------|--------|-------|---------|------|--------|--------|-----------|--------|--------|
//! | created    | yes   | no     | no    | no      | no   | yes    | yes    | yes       | yes    | yes    |
//! | running    | 304   | yes    | yes   | no      | yes  | yes    | no     | yes       | yes    | yes    |
//! | paused     | no    | yes    | no    | yes     | no   | no     | no     | yes       | yes    | yes    |
//! | restarting | yes   | yes    | no    | no      | no   | no     | no     | yes       | yes    | yes    |
//! | exited     | yes   | no     | no    | no      | no   | yes    | yes    | yes       | yes    | yes    |
//! | removing   | no    | no     | no    | no      | no   | no     | no     | no        | no     | no     |
//! | dead       | no    | no     | no    | no      | no   | no     | yes    | yes       | no     | no     |

use types::Kind;

use crate::view::Status;
use crate::{EngineError, Result};

/// What may be asked of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Run its process.
    Start,
    /// Send a signal to its process (`kill`; `stop` is signals and waiting).
    Signal,
    /// Freeze.
    Pause,
    /// Thaw.
    Unpause,
    /// Run another process in it.
    Exec,
    /// Tie a client to its streams.
    Attach,
    /// Remove it.
    Remove {
        /// Kill it first.
        force: bool,
    },
    /// Change limits or policy.
    Update,
    /// Give it another name.
    Rename,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be carried out.
    Accept,
    /// It may not.
    Deny(Denial),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It is so already: nothing to do.
    Already,
    /// It does not run.
    NotRunning,
    /// It is frozen.
    Paused,
    /// It is not frozen.
    NotPaused,
    /// It waits to be started again.
    Restarting,
    /// It runs, and must not.
    Running,
    /// It is being removed.
    Removing,
    /// It is half removed.
    Dead,
}

/// Says whether `request` is legal in `state`.
pub(crate) fn transition(state: Status, request: Request) -> Verdict {
    use Denial::{Already, Dead, NotPaused, NotRunning, Paused, Removing, Restarting, Running};
    use Verdict::{Accept, Deny};
    match (state, request) {
        (Status::Removing, _) => Deny(Removing),
        (Status::Dead, Request::Remove { .. }) => Accept,
        (Status::Dead, _) => Deny(Dead),
        (_, Request::Update | Request::Rename | Request::Remove { force: true }) => Accept,

        (Status::Running, Request::Start) => Deny(Already),
        (Status::Paused, Request::Start) => Deny(Paused),
        (_, Request::Start) => Accept,

        (Status::Running | Status::Paused | Status::Restarting, Request::Signal) => Accept,
        (_, Request::Signal) => Deny(NotRunning),

        (Status::Running, Request::Pause) => Accept,
        (Status::Paused, Request::Pause) => Deny(Already),
        (Status::Restarting, Request::Pause | Request::Exec | Request::Attach) => Deny(Restarting),
        (_, Request::Pause) => Deny(NotRunning),

        (Status::Paused, Request::Unpause) => Accept,
        (_, Request::Unpause) => Deny(NotPaused),

        (Status::Running, Request::Exec) => Accept,
        (Status::Paused, Request::Exec | Request::Attach) => Deny(Paused),
        (_, Request::Exec) => Deny(NotRunning),
        (_, Request::Attach) => Accept,

        (Status::Running | Status::Restarting, Request::Remove { force: false }) => Deny(Running),
        (Status::Paused, Request::Remove { force: false }) => Deny(Paused),
        (_, Request::Remove { force: false }) => Accept,
    }
}

impl Denial {
    /// The refusal in Docker's words.
    pub(crate) fn error(
        self,
        state: Status,
        request: Request,
        name: &str,
        id: &str,
    ) -> EngineError {
        let (kind, text) = match (self, request) {
            (Self::Already, Request::Pause) => {
                (Kind::Conflict, format!("Container {id} is already paused"))
            }
            (Self::Already, _) => (Kind::NotModified, String::from("container already started")),
            (Self::NotRunning, Request::Signal) => (
                Kind::Conflict,
                format!("cannot kill container: {name}: container {id} is not running"),
            ),
            (Self::NotRunning, Request::Pause) => {
                (Kind::Conflict, format!("Container {id} is not running"))
            }
            (Self::NotRunning, _) => (Kind::Conflict, format!("container {id} is not running")),
            (Self::Paused, Request::Start) => (
                Kind::Conflict,
                String::from("cannot start a paused container, try unpause instead"),
            ),
            (Self::Paused, Request::Exec) => (
                Kind::Conflict,
                format!("container {name} is paused, unpause the container before exec"),
            ),
            (Self::Paused, Request::Attach) => (
                Kind::Conflict,
                format!("container {name} is paused, unpause the container before attach"),
            ),
            (Self::Paused | Self::Running, _) => (
                Kind::Conflict,
                format!(
                    "cannot remove container {name:?}: container is {}: {}",
                    state.as_str(),
                    if state == Status::Paused {
                        "unpause and then stop the container before removing or force remove"
                    } else {
                        "stop the container before removing or force remove"
                    },
                ),
            ),
            (Self::NotPaused, _) => (Kind::Conflict, format!("Container {id} is not paused")),
            (Self::Restarting, _) => (
                Kind::Conflict,
                format!("Container {name} is restarting, wait until the container is running"),
            ),
            (Self::Removing, Request::Remove { .. }) => {
                (Kind::Conflict, format!("removal of container {name} is already in progress"))
            }
            (Self::Removing, _) => (
                Kind::Conflict,
                String::from("container is marked for removal and cannot be started"),
            ),
            (Self::Dead, _) => (
                Kind::Conflict,
                String::from("container is marked for removal and cannot be started"),
            ),
        };
        EngineError::new(kind, text)
    }
}

/// Turns a verdict into a result, with Docker's words.
///
/// # Errors
/// The denial.
pub(crate) fn check(state: Status, request: Request, name: &str, id: &str) -> Result<()> {
    match transition(state, request) {
        Verdict::Accept => Ok(()),
        Verdict::Deny(denial) => Err(denial.error(state, request, name, id)),
    }
}

#[cfg(test)]
mod tests;
