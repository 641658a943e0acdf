//! Attached clients: each holds the user's own socket, so that it survives the daemon.

use crate::detach::{DetachKeys, Typed};
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use shim_protocol::stdcopy::{self, Stream};
use shim_protocol::{Attach, Target};
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a client may take nothing after its process has ended.
const STALL: Duration = Duration::from_secs(10);
/// How long a client's socket is kept after its end was announced, for input that is still under way: closing a socket
/// with unread input would reset the connection and destroy output that the client has not read yet.
const LINGER: Duration = Duration::from_secs(2);
/// More queued bytes than this end a client: what a process leaves behind in its pipes is far less.
const MAX_QUEUE: usize = 4 << 20;

/// What became of a client's input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing to do now.
    Nothing,
    /// Bytes for the process are in the buffer.
    Bytes,
    /// The client will send nothing more.
    End,
    /// The client left by its detach keys; bytes before them are in the buffer.
    Detached,
    /// The connection is gone.
    Gone,
}

/// One attached client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u32,
    pub(crate) target: Target,
    fd: OwnedFd,
    framed: bool,
    stdout: bool,
    stderr: bool,
    pub(crate) stdin: bool,
    keys: DetachKeys,
    /// What the daemon had read of the client's input.
    pub(crate) initial: Vec<u8>,
    input_open: bool,
    queue: Vec<u8>,
    sent: usize,
    /// When the socket last took bytes.
    progress: Instant,
    /// Set when everything is said: the time at which waiting for the client's own end is over.
    closing: Option<Instant>,
    /// The client receives nothing any more; what it had sent is still read.
    hung_up: bool,
}

impl Client {
    pub(crate) fn new(id: u32, attach: Attach, fd: OwnedFd, tty: bool) -> Client {
        let keys = if tty { attach.detach_keys } else { Vec::new() };
        Client {
            id,
            target: attach.target,
            fd,
            framed: !tty,
            stdout: attach.stdout,
            stderr: attach.stderr,
            stdin: attach.stdin,
            keys: DetachKeys::new(keys),
            initial: attach.initial,
            input_open: true,
            queue: attach.preface,
            sent: 0,
            progress: Instant::now(),
            closing: None,
            hung_up: false,
        }
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Whether this client receives a stream. With a terminal there is one stream, and either wish means it.
    pub(crate) fn takes(&self, stream: Stream) -> bool {
        let wanted = match stream {
            _ if !self.framed => self.stdout || self.stderr,
            Stream::Stderr => self.stderr,
            _ => self.stdout,
        };
        wanted && self.closing.is_none() && !self.hung_up
    }

    /// Whether the socket has taken everything so far.
    pub(crate) fn is_flushed(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// Whether the client may still send.
    pub(crate) fn is_heard(&self) -> bool {
        self.input_open
    }

    /// Notes that the client can receive nothing any more.
    pub(crate) fn hang_up(&mut self) {
        self.hung_up = true;
        self.queue = Vec::new();
        self.sent = 0;
    }

    /// Whether the client can receive nothing any more.
    pub(crate) fn is_hung_up(&self) -> bool {
        self.hung_up
    }

    /// Whether everything is said and only the client's own end is awaited.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Sends one piece of output: one frame. `false`: the connection is gone.
    pub(crate) fn say(&mut self, stream: Stream, bytes: &[u8]) -> bool {
        let header = stdcopy::header(stream, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let header: &[u8] = if self.framed { &header } else { &[] };
        let mut taken = 0;
        if self.queue.is_empty() {
            taken = match self.send(&[IoSlice::new(header), IoSlice::new(bytes)]) {
                Ok(taken) => taken,
                Err(rustix::io::Errno::AGAIN) => 0,
                Err(_) => return false,
            };
        }
        if taken == header.len() + bytes.len() {
            return true;
        }
        if self.queue.is_empty() {
            self.progress = Instant::now();
        }
        if taken < header.len() {
            self.queue.extend_from_slice(&header[taken..]);
        }
        self.queue.extend_from_slice(&bytes[taken.saturating_sub(header.len())..]);
        self.queue.len() - self.sent <= MAX_QUEUE
    }

    /// Sends on what is queued. `false`: the connection is gone.
    pub(crate) fn flush(&mut self) -> bool {
        while self.sent < self.queue.len() {
            match self.send(&[IoSlice::new(&self.queue[self.sent..])]) {
                Ok(taken) => self.sent += taken,
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(_) => return false,
            }
            self.progress = Instant::now();
        }
        self.queue = Vec::new();
        self.sent = 0;
        true
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let mut nothing = rustix::net::SendAncillaryBuffer::default();
        rustix::io::retry_on_intr(|| rustix::net::sendmsg(&self.fd, parts, &mut nothing, flags))
    }

    /// Reads what the client typed; `out` receives what the process may read of it.
    pub(crate) fn hear(&mut self, buffer: &mut [u8], out: &mut Vec<u8>) -> Heard {
        let result = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::DONTWAIT)
        });
        match result {
            Ok((0, _)) => {
                self.input_open = false;
                Heard::End
            }
            Ok((len, _)) if self.stdin && self.closing.is_none() => {
                self.filter(&buffer[..len], out)
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Heard::Nothing,
            Err(_) => Heard::Gone,
        }
    }

    /// The same for the bytes that the daemon had read.
    pub(crate) fn hear_initial(&mut self, out: &mut Vec<u8>) -> Heard {
        let initial = std::mem::take(&mut self.initial);
        if self.stdin { self.filter(&initial, out) } else { Heard::Nothing }
    }

    fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> Heard {
        match self.keys.filter(typed, out) {
            Typed::Detach => Heard::Detached,
            Typed::Pass if out.is_empty() => Heard::Nothing,
            Typed::Pass => Heard::Bytes,
        }
    }

    /// Tells the client that nothing more will come. Its own end is awaited for a moment.
    pub(crate) fn finish(&mut self) {
        if self.closing.is_none() {
            // A socket that is not connected any more is dropped at its next event.
            let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
            self.closing = Some(Instant::now() + LINGER);
        }
    }

    /// When this client has to be looked at again; `ended` says that its process has ended.
    pub(crate) fn deadline(&self, ended: bool) -> Option<Instant> {
        self.closing.or_else(|| (ended && !self.is_flushed()).then_some(self.progress + STALL))
    }

    /// Whether waiting for this client is over.
    pub(crate) fn is_overdue(&self, ended: bool, now: Instant) -> bool {
        match self.closing {
            Some(until) => now >= until || !self.input_open,
            None if self.hung_up && !self.input_open => true,
            None => self.deadline(ended).is_some_and(|until| now >= until),
        }
    }

    /// Starts the stall clock anew: the process has just ended.
    pub(crate) fn restart_clock(&mut self) {
        self.progress = Instant::now();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Another process may hold a copy of this socket: the client must see the end nevertheless.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
    }
}
