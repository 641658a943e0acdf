//! The foreground of `run` and `exec`: signals are passed on, a terminal is relayed, the end is waited for.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use sys::event::SignalFd;
use sys::pidfd::Ended;

use crate::console::{RawTerminal, Relay};
use crate::error::{Error, Result, step};
use crate::launch::Launched;
use crate::log;

const SIGWINCH: i32 = 28;

/// Every signal that can be passed on. Not: KILL and STOP, which cannot be caught; the faults of this process; CHLD, about its own
/// children; URG, as with runc; TTIN and TTOU, about its own terminal.
const FORWARDED: [i32; 19] =
    [1, 2, 3, 6, 10, 12, 13, 14, 15, 16, 18, 20, 24, 25, 26, 27, 29, 30, SIGWINCH];

/// Those for real-time programs; the two before are the C library's.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// What must be ready before the process is made.
#[derive(Debug)]
pub(super) struct Foreground {
    signals: SignalFd,
    console: Option<(OwnedFd, std::cell::RefCell<Option<OwnedFd>>)>,
    relay: Option<Relay>,
}

impl Foreground {
    /// Takes the signals, and with a terminal makes the line on which it will come.
    /// `adopt`: orphans of the container, when it has no pid namespace of its own, become this program's children.
    pub(super) fn prepare(terminal: bool, adopt: bool) -> Result<Self> {
        let wanted: Vec<i32> = FORWARDED.into_iter().chain(REAL_TIME).collect();
        let signals = SignalFd::new(&wanted).map_err(step("take the signals"))?;
        if adopt {
            sys::cred::become_subreaper().map_err(step("become a subreaper"))?;
        }
        let console = terminal.then(console_pair).transpose()?;
        Ok(Self { signals, console, relay: None })
    }

    /// Uses a terminal that is there already.
    pub(super) fn with_master(mut self, master: Option<OwnedFd>) -> Result<Self> {
        self.relay = master.map(Relay::new).transpose()?;
        Ok(self)
    }

    /// Takes the terminal that the process has sent, and sets its modes before the program can write into it.
    pub(super) fn receive_terminal(&mut self) -> Result<()> {
        let Some((ours, _)) = &self.console else { return Ok(()) };
        let mut fds = Vec::new();
        sys::scm::receive(ours.as_fd(), &mut [0; 256], &mut fds)
            .map_err(step("receive the terminal"))?;
        self.relay = fds.pop().map(Relay::new).transpose()?;
        Ok(())
    }

    /// Returns the end of the line that the process gets, once.
    pub(super) fn console_socket(&self) -> Option<Result<OwnedFd>> {
        let (_, theirs) = self.console.as_ref()?;
        let taken = theirs.borrow_mut().take();
        Some(taken.ok_or_else(|| Error::State("the console is taken already".into())))
    }

    /// Waits for the end and returns what a shell would: the code, or 128 and the signal.
    pub(super) fn wait(mut self, launched: &Launched) -> Result<u8> {
        let raw = self.relay.as_ref().map(|_| RawTerminal::enter());
        let mut relay = self.relay.take();
        if let (Some(raw), Some(relay)) = (&raw, &relay) {
            raw.give_size(relay);
        }
        let ended = self.watch(launched, raw.as_ref(), relay.as_mut())?;
        if let Some(relay) = &mut relay {
            relay.drain();
        }
        drop(raw);
        Ok(u8::try_from(ended.shell_code()).unwrap_or(255))
    }

    fn watch(
        &self,
        launched: &Launched,
        own: Option<&RawTerminal>,
        mut relay: Option<&mut Relay>,
    ) -> Result<Ended> {
        loop {
            let mut fds = vec![
                PollFd::new(&launched.pidfd, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            if let Some(relay) = &relay {
                relay.add_to(&mut fds);
            }
            sys::event::poll(&mut fds, None).map_err(step("wait for the process"))?;
            let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
            drop(fds);
            if let Some(relay) = &mut relay {
                relay.pump(&events[2..]);
            }
            while let Some(signal) = self.signals.take().map_err(step("read a signal"))? {
                match (signal, own, relay.as_deref()) {
                    (SIGWINCH, Some(own), Some(relay)) => own.give_size(relay),
                    _ => pass_on(signal, launched),
                }
            }
            if !events[0].is_empty() {
                return sys::pidfd::wait(launched.pidfd.as_fd())
                    .map_err(step("wait for the process"));
            }
        }
    }
}

fn pass_on(signal: i32, launched: &Launched) {
    log::debug(&format!("forwarding signal {signal} to {}", launched.pid.as_raw_nonzero()));
    let _ = sys::pidfd::send_signal(launched.pidfd.as_fd(), signal);
}

fn console_pair() -> Result<(OwnedFd, std::cell::RefCell<Option<OwnedFd>>)> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(step("make a socket pair"))?;
    Ok((ours, std::cell::RefCell::new(Some(theirs))))
}
