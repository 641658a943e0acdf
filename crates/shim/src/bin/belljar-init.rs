//! `belljar-init`: the first process of a container that was run with `--init`.
//!
//! Called as `docker-init -- COMMAND [ARG...]`: starts the command in a process group of its own (in the foreground when there is a terminal), passes
//! on the signals that it gets, reaps every orphan, and ends with the command's exit code (128 + n when signal n ended it).
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use sys::event::{SignalFd, poll};

/// The signals that are passed on: all that can be caught, but for those that tell of a fault of this process itself.
const PASSED: &[Signal] = &[
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::PIPE,
    Signal::ALARM,
    Signal::TERM,
    Signal::CONT,
    Signal::TSTP,
    Signal::URG,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::WINCH,
    Signal::IO,
    Signal::POWER,
];

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.peek().is_some_and(|word| word == "--") {
        words.next();
    }
    let Some(program) = words.next() else {
        return complain("usage: docker-init -- COMMAND [ARG...]", 1);
    };
    let mut command = Command::new(&program);
    command.args(words).process_group(0);
    match supervise(&mut command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = match error.kind() {
                io::ErrorKind::NotFound => 127,
                io::ErrorKind::PermissionDenied => 126,
                _ => 1,
            };
            complain(&format!("docker-init: start `{}`: {error}", program.display()), code)
        }
    }
}

fn complain(words: &str, code: u8) -> ExitCode {
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "{words}");
    ExitCode::from(code)
}

/// Runs `command` to its end. The signals are blocked first, so that none is lost before the command is there; the standard library unblocks them
/// in the command.
fn supervise(command: &mut Command) -> io::Result<u8> {
    let numbers: Vec<i32> =
        PASSED.iter().chain([&Signal::CHILD]).map(|signal| signal.as_raw()).collect();
    let signals = SignalFd::new(&numbers)?;
    let child = Pid::from_child(&command.spawn()?);
    // Without a terminal there is no foreground to give away.
    let _ = rustix::termios::tcsetpgrp(io::stdin(), child);
    loop {
        poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], None)?;
        while let Some(number) = signals.take()? {
            if number != Signal::CHILD.as_raw() {
                pass_on(child, number);
            }
        }
        if let Some(code) = reap(child) {
            return Ok(code);
        }
    }
}

fn pass_on(child: Pid, number: i32) {
    if let Some(signal) = PASSED.iter().find(|signal| signal.as_raw() == number) {
        // The command may have ended meanwhile.
        let _ = rustix::process::kill_process(child, *signal);
    }
}

/// Reaps what has ended; returns the exit code once the command itself is among it.
fn reap(child: Pid) -> Option<u8> {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            return Some(exit_code(status));
        }
    }
    None
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|n| 128 + n));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
