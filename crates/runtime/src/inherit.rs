//! Descriptors that the caller passes on to a container: those of socket activation, then those of `--preserve-fds`.
//!
//! ```text
//! 0 1 2   standard input, output, error
//! 3 ...   $LISTEN_FDS sockets, sd_listen_fds(3)
//! then    --preserve-fds N
//! ```
//! Everything else that was inherited is closed before the program starts.

use crate::args::Parsed;
use crate::error::{Error, Result, step};

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// Those of socket activation.
    pub(crate) sockets: u32,
    /// Both together.
    pub(crate) all: u32,
}

impl Inherited {
    /// Counts them and marks all others close-on-exec. `activated` tells whether $LISTEN_FDS counts. `--preserve-fds` is a limit:
    /// numbers that are not open stay so, as with crun and youki (runc refuses); what this program has opened itself is
    /// close-on-exec, and not passed on.
    ///
    /// # Errors
    /// Those of close_range(2).
    pub(crate) fn take(parsed: &Parsed, activated: bool) -> Result<Self> {
        let preserved = parsed.number::<u32>("preserve-fds")?.unwrap_or(0);
        let sockets = if activated { listen_fds() } else { 0 };
        let all = preserved.saturating_add(sockets);
        sys::clone::close_on_exec_from(all.saturating_add(3))
            .map_err(step("close inherited descriptors"))?;
        Ok(Self { sockets, all })
    }
}

/// How many sockets were passed on by the caller, if they are meant for this process.
fn listen_fds() -> u32 {
    let variable = |name| std::env::var(name).ok();
    count(variable("LISTEN_FDS").as_deref(), variable("LISTEN_PID").as_deref(), std::process::id())
}

/// $LISTEN_PID of another process means that the variables are a leftover; without it the count is believed, as crun does.
fn count(fds: Option<&str>, pid: Option<&str>, own: u32) -> u32 {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return 0;
    }
    fds.and_then(|text| text.parse().ok()).filter(|count| *count <= 1024).unwrap_or(0)
}

/// Connects to the socket that takes a pidfd, so that a wrong path is known before anything is made.
pub(crate) fn connect_pidfd_socket(path: Option<&str>) -> Result<Option<std::os::fd::OwnedFd>> {
    let Some(path) = path else { return Ok(None) };
    sys::scm::connect(path.as_ref())
        .map(|socket| Some(socket.into()))
        .map_err(step(format!("connect to the pidfd socket `{path}`")))
}

/// Sends a pidfd; `kind` is what runc calls the process: `standard` for the first one, `setns` for others.
pub(crate) fn send_pidfd(
    socket: Option<&std::os::fd::OwnedFd>,
    kind: &str,
    pidfd: rustix::fd::BorrowedFd<'_>,
) -> Result<()> {
    let Some(socket) = socket else { return Ok(()) };
    sys::scm::send_all(rustix::fd::AsFd::as_fd(socket), kind.as_bytes(), &[pidfd])
        .map_err(step("send the pidfd"))
}

/// Refuses what `--console-socket` cannot be combined with, in runc's words.
pub(crate) fn check_terminal(parsed: &Parsed, terminal: bool, detached: bool) -> Result<()> {
    let socket = parsed.text("console-socket").is_some();
    if detached && terminal && !socket {
        let text = "cannot allocate tty if runc will detach without setting console socket";
        return Err(Error::Usage(text.into()));
    }
    if (!detached || !terminal) && socket {
        let text = "cannot use console socket if runc will not detach or allocate tty";
        return Err(Error::Usage(text.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_for_others_are_not_taken() {
        assert_eq!(count(Some("2"), Some("7"), 7), 2);
        assert_eq!(count(Some("2"), None, 7), 2);
        assert_eq!(count(Some("2"), Some("8"), 7), 0);
        assert_eq!(count(Some("2"), Some("x"), 7), 0);
        assert_eq!(count(None, Some("7"), 7), 0);
        for bad in ["", "-1", "99999", "x"] {
            assert_eq!(count(Some(bad), None, 7), 0, "{bad}");
        }
    }
}
