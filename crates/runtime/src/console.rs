//! The relay between this program's terminal and the container's, for `run` and `exec` in the foreground.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

use crate::error::{Result, step};

/// This program's terminal in raw mode; dropped, it is as it was.
pub(crate) struct RawTerminal {
    terminal: Option<(OwnedFd, Termios)>,
}

impl RawTerminal {
    /// Enters raw mode, if there is a terminal: one of the standard streams, else the controlling one.
    pub(crate) fn enter() -> Self {
        let terminal = own_terminal().and_then(|fd| {
            let before = rustix::termios::tcgetattr(&fd).ok()?;
            let mut raw = before.clone();
            raw.make_raw();
            rustix::termios::tcsetattr(&fd, OptionalActions::Now, &raw).ok()?;
            Some((fd, before))
        });
        Self { terminal }
    }

    /// Gives the container's terminal the size of this one.
    pub(crate) fn give_size(&self, relay: &Relay) {
        let Some((fd, _)) = &self.terminal else { return };
        if let Ok(size) = rustix::termios::tcgetwinsize(fd) {
            let _ = sys::pty::set_size(&relay.master, size.ws_row, size.ws_col);
        }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some((fd, before)) = &self.terminal {
            let _ = rustix::termios::tcsetattr(fd, OptionalActions::Now, before);
        }
    }
}

fn own_terminal() -> Option<OwnedFd> {
    use rustix::stdio::{stderr, stdin, stdout};
    let stream = [stderr(), stdout(), stdin()].into_iter().find(|fd| rustix::termios::isatty(fd));
    match stream {
        Some(fd) => rustix::io::fcntl_dupfd_cloexec(fd, 3).ok(),
        None => {
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
            rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()
        }
    }
}

/// The container's terminal.
#[derive(Debug)]
pub(crate) struct Relay {
    master: OwnedFd,
    /// What was read and the terminal has no room for yet. While there is some no more is read: a process that does not read, but
    /// writes, must not stop the relay.
    pending: Vec<u8>,
    input_open: bool,
    output_open: bool,
}

impl Relay {
    /// Starts to relay. The line discipline of this program's own terminal, or the reader of the pipe, does without the added
    /// carriage returns, as with runc.
    pub(crate) fn new(master: OwnedFd) -> Result<Self> {
        sys::pty::clear_onlcr(&master).map_err(step("set the terminal's modes"))?;
        let flags = rustix::fs::fcntl_getfl(&master).map_err(step("get the terminal's flags"))?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK)
            .map_err(step("set the terminal's flags"))?;
        Ok(Self { master, pending: Vec::new(), input_open: true, output_open: true })
    }

    fn wants(&self) -> PollFlags {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, self.output_open);
        wanted.set(PollFlags::OUT, !self.pending.is_empty());
        wanted
    }

    fn reads_input(&self) -> bool {
        self.input_open && self.pending.is_empty()
    }

    /// Adds what is waited for: the terminal, and standard input while it is open.
    pub(crate) fn add_to<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if !self.wants().is_empty() {
            fds.push(PollFd::new(&self.master, self.wants()));
        }
        if self.reads_input() {
            fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
        }
    }

    /// Moves what is ready; `events` are those of [`Relay::add_to`].
    pub(crate) fn pump(&mut self, events: &[PollFlags]) {
        let mut events = events.iter().copied();
        let terminal = if self.wants().is_empty() { None } else { events.next() }
            .unwrap_or(PollFlags::empty());
        let input =
            self.reads_input().then(|| events.next()).flatten().unwrap_or(PollFlags::empty());
        if terminal.contains(PollFlags::OUT) {
            self.flush();
        }
        if self.output_open && !terminal.difference(PollFlags::OUT).is_empty() {
            self.output_open = self.copy_output();
            if !self.output_open {
                self.pending.clear();
            }
        }
        if !input.is_empty() {
            self.read_input();
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

    fn read_input(&mut self) {
        let mut buffer = [0; 4096];
        let count = std::io::stdin().lock().read(&mut buffer).unwrap_or(0);
        self.input_open = count > 0;
        self.pending.extend_from_slice(&buffer[..count]);
        self.flush();
    }

    fn flush(&mut self) {
        while !self.pending.is_empty() {
            match rustix::io::write(self.master.as_fd(), &self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.pending.clear();
                    self.input_open = false;
                }
            }
        }
    }
}
