//! The container's init process and its execs, as the shim sees them.

use crate::client::Client;
use crate::log::Log;
use crate::stdio::Streams;
use shim_protocol::stdcopy::Stream;
use shim_protocol::{Exit, Target};
use std::time::{Duration, Instant};

/// How long output is read on after a process has ended while another process holds its pipe. What the process itself wrote is in
/// the pipe by then; the grace is for what its children still have to say.
const GRACE: Duration = Duration::from_millis(300);
/// How long a client's end waits for the daemon to take in an exec's exit.
const SEEN: Duration = Duration::from_millis(200);
/// The largest pipe that an ordinary process can make for itself, in bytes.
const REST: usize = 1 << 20;
/// Reads from one stream before others get their turn.
const READS_PER_TURN: usize = 8;

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The runtime is at it; its streams are not read yet.
    Starting,
    /// It exists.
    Alive,
    /// It has ended; its output may still be in the pipe.
    Ended { exit: Exit, at: Instant },
}

/// One process with its streams.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) serial: u32,
    pub(crate) target: Target,
    pub(crate) pid: Option<u32>,
    pub(crate) tty: bool,
    /// Its standard input closes when a client closes its side.
    pub(crate) closes_stdin: bool,
    pub(crate) wants_stdin: bool,
    pub(crate) streams: Streams,
    pub(crate) size: Option<[u16; 2]>,
    pub(crate) life: Life,
    /// Its end was told.
    pub(crate) announced: bool,
    /// When its clients may be let go, once its end was told.
    release: Option<Instant>,
}

impl Process {
    pub(crate) fn new(serial: u32, target: Target, tty: bool) -> Process {
        Process {
            serial,
            target,
            pid: None,
            tty,
            closes_stdin: false,
            wants_stdin: false,
            streams: Streams::default(),
            size: None,
            life: Life::Starting,
            announced: false,
            release: None,
        }
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        match self.life {
            Life::Ended { exit, .. } => Some(exit),
            _ => None,
        }
    }

    pub(crate) fn is_init(&self) -> bool {
        self.target == Target::Init
    }

    pub(crate) fn exec_id(&self) -> &str {
        match &self.target {
            Target::Init => "",
            Target::Exec(id) => id,
        }
    }

    /// Notes the end of the process.
    pub(crate) fn end(&mut self, exit: Exit, clients: &mut [Client]) {
        self.life = Life::Ended { exit, at: Instant::now() };
        self.streams.input = None;
        self.streams.console = None;
        for client in clients.iter_mut().filter(|client| client.target == self.target) {
            client.restart_clock();
        }
    }

    /// Whether a stream may be read: every client that takes it has taken what came before. After the end of the process
    /// the rest of its pipe, which is bounded, is taken in whether clients keep up or not.
    pub(crate) fn may_read(&self, stream: Stream, clients: &[Client]) -> bool {
        match self.life {
            Life::Starting => false,
            Life::Ended { .. } => self.all_owe_at_most(REST, stream, clients),
            Life::Alive => self.all_owe_at_most(0, stream, clients),
        }
    }

    fn all_owe_at_most(&self, bytes: usize, stream: Stream, clients: &[Client]) -> bool {
        clients
            .iter()
            .filter(|client| client.target == self.target && client.takes(stream))
            .all(|client| client.queued() <= bytes)
    }

    /// Reads one output for a turn and hands the bytes to the clients and the log. Clients whose connection is gone are
    /// collected in `gone`.
    pub(crate) fn pump(
        &mut self,
        index: usize,
        clients: &mut [Client],
        mut log: Option<&mut Log>,
        buffer: &mut [u8],
        gone: &mut Vec<u32>,
    ) {
        for _ in 0..READS_PER_TURN {
            let Some(output) = &mut self.streams.outputs[index] else { return };
            let stream = output.stream;
            let result = rustix::io::retry_on_intr(|| rustix::io::read(&output.fd, &mut *buffer));
            let bytes = match result {
                Ok(len @ 1..) => &buffer[..len],
                Err(rustix::io::Errno::AGAIN) => return,
                // A terminal whose last user is gone answers EIO instead of the end of file.
                Ok(0) | Err(_) => return self.close_output(index, log),
            };
            for client in clients.iter_mut() {
                if client.target == self.target
                    && client.takes(stream)
                    && !client.say(stream, bytes)
                {
                    gone.push(client.id);
                }
            }
            if let Some(log) = log.as_deref_mut() {
                output.cutter.feed(bytes, |piece| log.line(stream, piece));
                log.flush();
            }
            let full = bytes.len() == buffer.len();
            if !full || !self.may_read(stream, clients) {
                return;
            }
        }
    }

    /// Gives one output up: its last, incomplete line goes to the log.
    pub(crate) fn close_output(&mut self, index: usize, log: Option<&mut Log>) {
        if let Some(mut output) = self.streams.outputs[index].take()
            && let Some(log) = log
        {
            let stream = output.stream;
            output.cutter.finish(|piece| log.line(stream, piece));
            log.flush();
        }
    }

    /// Whether the process has ended and nothing more is to be read of it.
    pub(crate) fn is_drained(&self) -> bool {
        self.exit().is_some() && self.streams.outputs.iter().all(Option::is_none)
    }

    /// Whether output that others keep open was waited for long enough.
    pub(crate) fn is_grace_over(&self, now: Instant) -> bool {
        match self.life {
            Life::Ended { at, .. } => !self.is_drained() && now >= at + GRACE,
            _ => false,
        }
    }

    /// Notes that the end was told; clients are kept until the listeners have taken it in.
    pub(crate) fn announce(&mut self, listeners: bool) {
        self.announced = true;
        let wait = if listeners && !self.is_init() { SEEN } else { Duration::ZERO };
        self.release = Some(Instant::now() + wait);
    }

    /// Notes that the daemon has taken the end in.
    pub(crate) fn seen(&mut self) {
        if let Some(release) = &mut self.release {
            *release = Instant::now();
        }
    }

    /// Whether clients may be let go.
    pub(crate) fn is_released(&self, now: Instant) -> bool {
        self.release.is_some_and(|release| now >= release)
    }

    /// When this process has to be looked at again.
    pub(crate) fn deadline(&self, has_clients: bool) -> Option<Instant> {
        match self.life {
            Life::Ended { at, .. } if !self.is_drained() => Some(at + GRACE),
            _ => self.release.filter(|_| has_clients),
        }
    }

    /// Sets the terminal's size, now or when it arrives.
    pub(crate) fn resize(&mut self, size: [u16; 2]) {
        if !self.tty {
            return;
        }
        self.size = Some(size);
        if let Some(master) = &self.streams.outputs[0] {
            let [rows, columns] = size;
            let size = rustix::termios::Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            // A terminal that was just hung up has no size to set.
            let _ = rustix::termios::tcsetwinsize(&master.fd, size);
        }
    }

    /// Closes the standard input after what is queued. A terminal has no end to close.
    pub(crate) fn close_stdin(&mut self) {
        if self.tty {
            return;
        }
        self.wants_stdin = false;
        if let Some(input) = &mut self.streams.input
            && !input.close()
        {
            self.streams.input = None;
        }
    }

    /// Whether a client's bytes can go somewhere now: to the process, or nowhere at all.
    pub(crate) fn takes_input(&self) -> bool {
        match (&self.life, &self.streams.input) {
            (Life::Starting, _) => false,
            (_, Some(input)) => input.is_ready(),
            (_, None) => true,
        }
    }

    /// Gives a client's bytes to the process.
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        if let Some(input) = &mut self.streams.input
            && !input.give(bytes)
        {
            self.streams.input = None;
        }
    }
}
