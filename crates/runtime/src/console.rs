//! The relay between this program's terminal and the container's, for `run` and `exec` in the foreground.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

use crate::error::{Result, step};

/// This program's terminal in raw mode; dropped, it is as it was.
pub(crate) struct RawTerminal {
    before: Option<Termios>,
}

impl RawTerminal {
    /// Enters raw mode if standard input is a terminal.
    pub(crate) fn enter() -> Self {
        let stdin = std::io::stdin();
        let before = rustix::termios::tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _ = rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        Self { before }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// The container's terminal.
#[derive(Debug)]
pub(crate) struct Relay {
    master: OwnedFd,
    input_open: bool,
    output_open: bool,
}

impl Relay {
    /// Starts to relay. The line discipline of this program's own terminal, or the reader of the pipe, does without the added
    /// carriage returns, as with runc.
    pub(crate) fn new(master: OwnedFd) -> Result<Self> {
        sys::pty::clear_onlcr(&master).map_err(step("set the terminal's modes"))?;
        let relay = Self { master, input_open: true, output_open: true };
        relay.copy_size();
        Ok(relay)
    }

    /// Gives the container's terminal the size of this program's.
    pub(crate) fn copy_size(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdin()) {
            let _ = sys::pty::set_size(&self.master, size.ws_row, size.ws_col);
        }
    }

    /// Adds what is waited for: the terminal, and standard input while it is open.
    pub(crate) fn add_to<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if self.output_open {
            fds.push(PollFd::new(&self.master, PollFlags::IN));
        }
        if self.input_open {
            fds.push(PollFd::from_borrowed_fd(stdin_fd(), PollFlags::IN));
        }
    }

    /// Moves what is ready; `events` are those of [`Relay::add_to`].
    pub(crate) fn pump(&mut self, events: &[PollFlags]) {
        let mut events = events.iter();
        let output = self.output_open.then(|| events.next()).flatten();
        let input = self.input_open.then(|| events.next()).flatten();
        if output.is_some_and(|events| !events.is_empty()) {
            self.output_open = self.copy_output();
        }
        if input.is_some_and(|events| !events.is_empty()) {
            self.input_open = self.copy_input();
        }
    }

    /// Copies what the process has left behind in the terminal.
    pub(crate) fn drain(&mut self) {
        while self.output_open {
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let ready = sys::event::poll(&mut fds, Some(std::time::Duration::ZERO));
            if !matches!(ready, Ok(count) if count > 0) {
                return;
            }
            self.output_open = self.copy_output();
        }
    }

    fn copy_output(&self) -> bool {
        let mut buffer = [0; 8192];
        match rustix::io::read(&self.master, &mut buffer) {
            // EIO: the last user of the other end has closed it.
            Ok(0) | Err(Errno::IO) => false,
            Ok(count) => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush()).is_ok()
            }
            Err(Errno::INTR | Errno::AGAIN) => true,
            Err(_) => false,
        }
    }

    fn copy_input(&self) -> bool {
        let mut buffer = [0; 4096];
        let count = std::io::stdin().lock().read(&mut buffer).unwrap_or(0);
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            match rustix::io::write(self.master.as_fd(), rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        count > 0
    }
}

fn stdin_fd() -> rustix::fd::BorrowedFd<'static> {
    rustix::stdio::stdin()
}
