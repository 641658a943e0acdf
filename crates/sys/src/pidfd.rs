//! Processes by descriptor: signals and exit statuses that cannot hit a reused process id.

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Ended {
    /// Reads the number that `wait(2)` stores: signal in the low seven bits, else code in the second byte.
    #[must_use]
    pub fn from_wait_status(status: i32) -> Ended {
        match status & 0x7f {
            0 => Ended::Code((status >> 8) & 0xff),
            signal => Ended::Signal(signal),
        }
    }

    /// What a shell reports: the code, or 128 + the signal.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Ended::Code(code) => code,
            Ended::Signal(signal) => 128 + signal,
        }
    }

    /// The signal that ended it, if one did.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        match self {
            Ended::Code(_) => None,
            Ended::Signal(signal) => Some(signal),
        }
    }
}

fn pid(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// `pidfd_open(pid, 0)`: a descriptor for a process; it becomes readable when the process ends. Linux 5.3.
///
/// # Errors
/// `ESRCH`: no such process.
pub fn open(process: u32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid(process)?, PidfdFlags::empty())?)
}

/// `pidfd_send_signal(pidfd, signal, NULL, 0)`. Linux 5.1.
///
/// # Errors
/// `ESRCH`: the process has ended. `EINVAL`: no such signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    Ok(rustix::process::pidfd_send_signal(pidfd, named(signal)?)?)
}

/// `kill(pid, signal)`. Only for a child that was not reaped yet: its id cannot have been reused.
///
/// # Errors
/// `ESRCH`: no such process. `EINVAL`: no such signal.
pub fn kill_child(process: u32, signal: i32) -> io::Result<()> {
    Ok(rustix::process::kill_process(pid(process)?, named(signal)?)?)
}

fn named(signal: i32) -> io::Result<Signal> {
    if let Some(signal) = Signal::from_named_raw(signal) {
        return Ok(signal);
    }
    let (low, high) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    if !(low..=high).contains(&signal) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: `from_raw_unchecked` wants a nonzero number of a signal that the C library does not keep for itself; the range
    // was checked against its own SIGRTMIN and SIGRTMAX.
    // JUSTIFICATION: rustix has no safe way to name a realtime signal, and `docker kill -s RTMIN+3` is ordinary.
    Ok(unsafe { Signal::from_raw_unchecked(signal) })
}

/// `waitid(P_PIDFD, pidfd, WEXITED)`: reaps a child, waiting for its end. Linux 5.4.
///
/// # Errors
/// `ECHILD`: not a child of this process, or already reaped.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Ended> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
            Ok(None) => {}
            Ok(Some(status)) => {
                return Ok(match status.exit_status() {
                    Some(code) => Ended::Code(code),
                    None => Ended::Signal(status.terminating_signal().unwrap_or(libc::SIGKILL)),
                });
            }
        }
    }
}

/// `waitpid(-1, WNOHANG)`: reaps one ended child, whoever it is.
///
/// # Errors
/// Any but `ECHILD`, which is `None`.
pub fn reap_any() -> io::Result<Option<(u32, Ended)>> {
    loop {
        return match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(rustix::io::Errno::CHILD) | Ok(None) => Ok(None),
            Err(err) => Err(err.into()),
            Ok(Some((child, status))) => Ok(Some((
                child.as_raw_nonzero().get().unsigned_abs(),
                Ended::from_wait_status(status.as_raw()),
            ))),
        };
    }
}

/// Makes this process adopt the orphans among its descendants: `prctl(PR_SET_CHILD_SUBREAPER, 1)`.
///
/// # Errors
/// None that a living kernel returns.
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// `struct pidfd_info` of `<linux/pidfd.h>`, its first published size (64 bytes); the kernel accepts any known size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

const PIDFD_INFO_PID: u64 = 1 << 0;
const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)` with a size of 64.
const PIDFD_GET_INFO: libc::c_ulong = 3 << 30 | 64 << 16 | 0xff << 8 | 11;

/// `ioctl(pidfd, PIDFD_GET_INFO)` with `PIDFD_INFO_EXIT`: how a process ended that need not be a child of this one.
/// `None` while it runs and until its parent has reaped it. Linux 6.15.
///
/// # Errors
/// `ENOTTY`/`EINVAL`: the kernel is older. `ESRCH`: it ended before the descriptor could learn how.
pub fn exit_of(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_PID | PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: PIDFD_GET_INFO wants an open pidfd (`pidfd` is open, and another kind of file answers ENOTTY without touching memory)
    // and a pointer to as many writable bytes as the request's size field says: 64, the size of `info` (checked below).
    // JUSTIFICATION: no library wraps this request, and nothing else tells the exit status of a process that is not a child.
    let result =
        unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then(|| Ended::from_wait_status(info.exit_code)))
}

/// `/proc/PID/stat`, field 52 (`exit_code`): how a process ended that its parent has not reaped yet. `None` while it runs.
///
/// The number is safe from reuse only while it is not reaped: a caller with a pidfd asks [`exit_of`] again afterwards.
///
/// # Errors
/// `ENOENT`: it was reaped. The kernel shows 0 to whoever may not trace the process, so only root should ask.
pub fn exit_of_zombie(process: u32) -> io::Result<Option<Ended>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    Ok(zombie_exit(&text))
}

fn zombie_exit(stat: &str) -> Option<Ended> {
    // The name may hold anything, a parenthesis too: the fields start behind the last one.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let status = fields.nth(48)?.parse().ok()?;
    matches!(state, "Z" | "X").then(|| Ended::from_wait_status(status))
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_is_signalled_and_waited_for_by_descriptor() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let fd = open(child.id()).unwrap();
        assert!(matches!(exit_of(fd.as_fd()), Ok(None) | Err(_)));
        send_signal(fd.as_fd(), libc::SIGTERM).unwrap();
        assert_eq!(wait(fd.as_fd()).unwrap(), Ended::Signal(libc::SIGTERM));
        assert_eq!(wait(fd.as_fd()).unwrap_err().raw_os_error(), Some(libc::ECHILD));
        assert_eq!(send_signal(fd.as_fd(), 0xffff).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let _ = child.try_wait();
    }

    #[test]
    fn the_exit_of_a_grandchild_is_told_after_its_parent_reaped_it() {
        // The shell reaps the inner process by `wait`, prints nothing before.
        let script = "sh -c 'read x; exit 7' <&3 & echo $!; wait; read x";
        let (go_read, go_write) = rustix::pipe::pipe().unwrap();
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("exec 3<&0; {script}"))
            .stdin(go_read)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let fd = open(line.trim().parse().unwrap()).unwrap();
        rustix::io::write(&go_write, b"\n").unwrap();
        let mut seen = Ok(None);
        for _ in 0..200 {
            seen = exit_of(fd.as_fd());
            if !matches!(seen, Ok(None)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        rustix::io::write(&go_write, b"\n").unwrap();
        child.wait().unwrap();
        match seen {
            Ok(seen) => assert_eq!(seen, Some(Ended::Code(7))),
            Err(err) => assert!(
                matches!(err.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)),
                "only an old kernel may refuse: {err}"
            ),
        }
    }

    #[test]
    fn a_zombie_tells_its_exit() {
        let mut child = Command::new("sh").args(["-c", "exit 9"]).spawn().unwrap();
        let fd = open(child.id()).unwrap();
        let mut seen = None;
        for _ in 0..500 {
            seen = exit_of_zombie(child.id()).unwrap();
            if seen.is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(seen, Some(Ended::Code(9)));
        assert!(matches!(exit_of(fd.as_fd()), Ok(None) | Err(_)), "not reaped yet");
        child.wait().unwrap();
        assert!(exit_of_zombie(child.id()).is_err());
        assert_eq!(exit_of_zombie(std::process::id()).unwrap(), None);
    }

    #[test]
    fn a_wait_status_reads_as_code_or_signal() {
        assert_eq!(Ended::from_wait_status(0x0300), Ended::Code(3));
        assert_eq!(Ended::from_wait_status(9), Ended::Signal(9));
        assert_eq!(Ended::from_wait_status(0x8b), Ended::Signal(11), "with a core dump");
        assert_eq!(Ended::Signal(9).shell_code(), 137);
    }
}
