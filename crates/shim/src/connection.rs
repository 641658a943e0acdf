//! Connections of the daemon.

use rustix::net::SendFlags;
use shim_protocol::{Decoder, Message, Request};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A daemon that lets more than this pile up is not listening.
const MAX_QUEUE: usize = 16 << 20;
/// How long a daemon may take nothing once the shim wants to end.
const STALL: Duration = Duration::from_secs(10);

/// A request with the descriptors that came along.
pub(crate) type Asked = (u64, Request, Vec<OwnedFd>);

/// One connection of the daemon.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u32,
    stream: UnixStream,
    decoder: Decoder,
    received: Vec<OwnedFd>,
    asked: VecDeque<Asked>,
    queue: Vec<u8>,
    progress: Instant,
    pub(crate) subscribed: bool,
}

impl Connection {
    pub(crate) fn new(id: u32, stream: UnixStream) -> Connection {
        Connection {
            id,
            stream,
            decoder: Decoder::default(),
            received: Vec::new(),
            asked: VecDeque::new(),
            queue: Vec::new(),
            progress: Instant::now(),
            subscribed: false,
        }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a daemon that does not listen was waited for long enough.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        !self.is_flushed() && now >= self.progress + STALL
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        (!self.is_flushed()).then_some(self.progress + STALL)
    }

    /// Reads what has arrived. `false`: the connection is over.
    pub(crate) fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match sys::scm::receive(self.stream.as_fd(), &mut buffer, &mut self.received) {
            Ok(0) => false,
            Ok(len) => {
                self.decoder.push(&buffer[..len]);
                self.take_requests()
            }
            Err(err) => err.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn take_requests(&mut self) -> bool {
        loop {
            match self.decoder.next_message() {
                Ok(None) => return true,
                Ok(Some((Message::Request { id, request }, descriptors))) => {
                    let count = usize::from(descriptors);
                    if count > self.received.len() {
                        return false;
                    }
                    let fds = self.received.drain(..count).collect();
                    self.asked.push_back((id, request, fds));
                }
                Ok(Some(_)) | Err(_) => return false,
            }
        }
    }

    /// Takes the next request that was read.
    pub(crate) fn next_request(&mut self) -> Option<Asked> {
        self.asked.pop_front()
    }

    /// Sends a message, or queues it. `false`: the connection is over.
    pub(crate) fn say(&mut self, message: &Message) -> bool {
        let Ok(frame) = shim_protocol::encode(message, 0) else { return false };
        if self.queue.is_empty() {
            self.progress = Instant::now();
        }
        self.queue.extend_from_slice(&frame);
        self.flush() && self.queue.len() <= MAX_QUEUE
    }

    /// Sends on what is queued. `false`: the connection is over.
    pub(crate) fn flush(&mut self) -> bool {
        let mut sent = 0;
        while sent < self.queue.len() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let result = rustix::io::retry_on_intr(|| {
                rustix::net::send(&self.stream, &self.queue[sent..], flags)
            });
            match result {
                Ok(len) => sent += len,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(_) => return false,
            }
        }
        if sent > 0 {
            self.progress = Instant::now();
        }
        if sent == self.queue.len() {
            self.queue = Vec::new();
        } else {
            self.queue.drain(..sent);
        }
        true
    }
}
