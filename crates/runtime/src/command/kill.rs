//! `kill`.

use rustix::process::{Pid, Signal};
use types::oci::runtime::Status;

use super::Globals;
use crate::args::{Opt, Parsed, switch};
use crate::error::{Error, Result, step};
use crate::log;

/// The options; `--all` is what the default does where it makes sense.
pub(super) const OPTIONS: &[Opt] = &[switch("all", 'a', "")];

const NAMES: [(&str, i32); 32] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// Reads a signal: a number, or a name with or without `SIG`, in any case; `RTMIN+n` and `RTMAX-n` too.
fn signal(text: &str) -> Result<i32> {
    let unknown = || Error::Usage(format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let real_time = |prefix: &str, base: i32| {
        let offset = name.strip_prefix(prefix)?;
        let offset = if offset.is_empty() { 0 } else { offset.parse::<i32>().ok()? };
        Some(base + offset).filter(|number| (34..=64).contains(number))
    };
    real_time("RTMIN", 34).or_else(|| real_time("RTMAX", 64)).ok_or_else(unknown)
}

/// Sends a signal to the container's first process; without a pid namespace of its own SIGKILL goes to every process of its cgroup,
/// since nothing else would end them. Where there is no cgroup it goes to the first process alone, with a warning.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(super::id(parsed)?)?;
    let number = signal(parsed.words.get(1).map_or("SIGTERM", String::as_str))?;
    let record = dir.record()?;
    record.check_group()?;
    let group = record.group();
    let everybody = parsed.is_on("all") || (!record.own_pid_namespace && number == 9);
    if dir.status(&record) == Status::Stopped {
        if everybody && group.is_populated() {
            group.kill().map_err(crate::error::cgroup_step("kill the processes"))?;
            return Ok(0);
        }
        return if parsed.is_on("all") { Ok(0) } else { Err(Error::NotRunning) };
    }
    let reached = everybody && group.exists();
    if everybody && !reached && !record.own_pid_namespace {
        // runc's words. What else the container has started lives on.
        log::warn(
            "failed to kill all processes, possibly due to lack of cgroup (Hint: enable cgroup v2 delegation)",
        );
    }
    if reached {
        match Signal::from_named_raw(number) {
            Some(Signal::KILL) => {
                group.kill().map_err(crate::error::cgroup_step("kill the processes"))?;
            }
            Some(signal) => group.signal(signal),
            None => {}
        }
        return Ok(0);
    }
    let pidfd = open(record.pid)?;
    // The pid may have been used again between the look at it and the opening.
    if !record.is_alive() {
        return Err(Error::NotRunning);
    }
    // kill(2): 0 only asks whether there is a process.
    if number == 0 {
        return Ok(0);
    }
    match sys::pidfd::send_signal(rustix::fd::AsFd::as_fd(&pidfd), number) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            return Err(Error::NotRunning);
        }
        other => other.map_err(step("unable to signal init"))?,
    }
    if number == 9 && group.is_frozen() {
        // A frozen process on version 1 dies only when it is thawed.
        group.thaw().map_err(crate::error::cgroup_step("thaw the container"))?;
    }
    Ok(0)
}

fn open(pid: i32) -> Result<std::os::fd::OwnedFd> {
    let pid = Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw).ok_or(Error::NotRunning)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|_| Error::NotRunning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_names() {
        for (text, number) in
            [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", 37), ("RTMAX", 64), ("0", 0)]
        {
            assert_eq!(signal(text).unwrap(), number, "{text}");
        }
        for bad in ["", "SIG", "NOPE", "65", "-1", "RTMIN+99"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }
}
