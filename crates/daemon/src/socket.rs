//! A client's connection below HTTP: recognises the requests that become raw streams.
//!
//! `attach` and `exec start` end with the bare socket in the shim's hands. Two things stand in the way of that in an HTTP library:
//! old clients ask without `Upgrade` headers, which it would answer as ordinary HTTP; and what such a client sends right behind its request
//! is the stream's, yet would be read as the next request, and a half-closed connection would be taken for a client that left. So
//! this layer reads hijackable heads itself:
//!
//! ```text
//! Fresh --"POST .../attach"--> Head --complete--> Feed (head, with Upgrade added if missing)
//!   ^  \--anything else--> Plain                    |
//!   |                        |                      v
//!   +---- a byte written ----+                    Body (as many bytes as the head announced)
//!   |                                               v
//!   +------------- an answer other than 101 ----- Held: nothing more is read; it is the stream's
//! ```
//! The library's own `101` head is swallowed: [`crate::hijack`] writes Docker's.

use std::future::Future;
use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

/// The longest head that is looked at; hyper's own limit is larger.
const MAX_HEAD: usize = 64 << 10;
const PIECE: usize = 4096;
/// How often a client that sends nothing more is looked after.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long such a client on TCP, where its leaving cannot be seen, gets its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// From a unix listener.
    Unix(UnixStream),
    /// From a TCP listener.
    Tcp(TcpStream),
}

/// What a connection's two sides tell each other.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The request under way came without `Upgrade` and got it added.
    legacy: AtomicBool,
    /// The answer under way is a `101` that must not reach the client.
    swallow: AtomicBool,
    /// A request is being answered.
    busy: AtomicBool,
    /// Who waits for the end of that.
    idle: Mutex<Option<Waker>>,
}

/// Lasts from a request to the last byte of its answer.
pub(crate) struct Busy(Arc<Control>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        if let Some(waker) = self.0.idle.lock().take() {
            waker.wake();
        }
    }
}

impl Control {
    /// Tells whether the client asked without `Upgrade`.
    pub(crate) fn is_legacy(&self) -> bool {
        self.legacy.load(Ordering::Acquire)
    }

    /// Begins to answer a request.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.store(true, Ordering::Release);
        Busy(Arc::clone(self))
    }

    /// Drops the next `101` head instead of writing it.
    pub(crate) fn swallow_switch(&self) {
        self.swallow.store(true, Ordering::Release);
    }
}

enum Reading {
    Fresh,
    Plain,
    Head(Vec<u8>),
    Feed { bytes: Vec<u8>, at: usize, body: Option<u64> },
    Body(u64),
    Held,
}

/// The layer between a stream and the HTTP library.
pub(crate) struct Socket {
    stream: Stream,
    control: Arc<Control>,
    reading: Reading,
    /// The stream's bytes that were read together with the head.
    early: Vec<u8>,
    /// An answer other than 101 has begun since the hijackable head.
    answered: bool,
    held: Option<Waker>,
    /// The client sends nothing more: since when, and when to look again whether it still listens.
    ended: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Socket {
    /// Wraps a stream at the beginning of its first request.
    pub(crate) fn new(stream: Stream) -> (Self, Arc<Control>) {
        let control = Arc::new(Control::default());
        let socket = Self {
            stream,
            control: Arc::clone(&control),
            reading: Reading::Fresh,
            early: Vec::new(),
            answered: false,
            held: None,
            ended: None,
        };
        (socket, control)
    }

    /// Gives back the stream and what was read of it but not given out.
    pub(crate) fn into_parts(self) -> (Stream, Vec<u8>) {
        let mut rest = match self.reading {
            Reading::Head(bytes) => bytes,
            Reading::Feed { bytes, at, .. } => bytes[at..].to_vec(),
            _ => Vec::new(),
        };
        rest.extend(self.early);
        (self.stream, rest)
    }

    /// Reads a piece that may begin a head. The bytes go to `buf` unless the head may be hijackable.
    fn poll_fresh(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.stream.poll_read(cx, buf))?;
        let piece = &buf.filled()[before..];
        if piece.is_empty() {
            return self.poll_end(cx);
        }
        if may_be_hijackable(piece) {
            self.reading = Reading::Head(piece.to_vec());
            buf.set_filled(before);
        } else {
            self.reading = Reading::Plain;
        }
        Poll::Ready(Ok(()))
    }

    /// Decides what the end of input means. A client that has closed its sending side only still waits for the answer under way,
    /// as Go's server lets it; the HTTP library would take it for gone.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        *self.control.idle.lock() = Some(cx.waker().clone());
        let (since, look) = self
            .ended
            .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(LOOK_AGAIN))));
        loop {
            let patient = matches!(self.stream, Stream::Unix(_)) || since.elapsed() < PATIENCE;
            let busy = self.control.busy.load(Ordering::Acquire);
            if !busy || !patient || self.stream.is_hung_up() {
                return Poll::Ready(Ok(()));
            }
            ready!(look.as_mut().poll(cx));
            look.as_mut().reset(Instant::now() + LOOK_AGAIN);
        }
    }

    fn poll_plain(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.stream.poll_read(cx, buf))?;
        if buf.filled().len() == before { self.poll_end(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Reads on until the head is complete, or is known not to be hijackable.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Reading::Head(head) = &mut self.reading else { return Poll::Ready(Ok(())) };
        if let Some(end) = head_end(head) {
            let head = std::mem::take(head);
            self.begin_feed(head, end);
            return Poll::Ready(Ok(()));
        }
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(self.stream.poll_read(cx, &mut piece))?;
        head.extend_from_slice(piece.filled());
        if piece.filled().is_empty() || head.len() > MAX_HEAD || !may_be_hijackable(head) {
            let bytes = std::mem::take(head);
            self.reading = Reading::Feed { bytes, at: 0, body: None };
        }
        Poll::Ready(Ok(()))
    }

    /// Looks at a complete head that ends at `end`, and decides what of the bytes is HTTP.
    fn begin_feed(&mut self, mut bytes: Vec<u8>, end: usize) {
        let head = Head::of(&bytes[..end]);
        self.answered = false;
        self.control.legacy.store(head.hijackable && !head.upgrade, Ordering::Release);
        if !head.hijackable {
            self.reading = Reading::Feed { bytes, at: 0, body: None };
            return;
        }
        let mut body = None;
        if !head.chunked {
            let have = u64::try_from(bytes.len() - end).unwrap_or(u64::MAX);
            let ours = usize::try_from(head.length.min(have)).unwrap_or(usize::MAX);
            self.early = bytes.split_off(end + ours);
            body = Some(head.length.saturating_sub(have));
        }
        if !head.upgrade {
            let line = b"Connection: Upgrade\r\nUpgrade: tcp\r\n".iter().copied();
            bytes.splice(end - 2..end - 2, line);
        }
        self.reading = Reading::Feed { bytes, at: 0, body };
    }

    fn feed(&mut self, buf: &mut ReadBuf<'_>) {
        let Reading::Feed { bytes, at, body } = &mut self.reading else { return };
        let n = buf.remaining().min(bytes.len() - *at);
        buf.put_slice(&bytes[*at..*at + n]);
        *at += n;
        if *at == bytes.len() {
            self.reading = body.map_or(Reading::Plain, Reading::Body);
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Reading::Body(left) = self.reading else { return Poll::Ready(Ok(())) };
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE).min(buf.remaining());
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece[..limit]);
        ready!(self.stream.poll_read(cx, &mut piece))?;
        buf.put_slice(piece.filled());
        let n = u64::try_from(piece.filled().len()).unwrap_or(u64::MAX);
        self.reading = if n == 0 { Reading::Plain } else { Reading::Body(left - n) };
        Poll::Ready(Ok(()))
    }

    /// Ends the hold once an ordinary answer was begun: what comes next is HTTP again.
    fn release(&mut self) {
        match self.reading {
            Reading::Held | Reading::Body(0) => {
                let early = std::mem::take(&mut self.early);
                self.reading = if early.is_empty() { Reading::Fresh } else { Reading::Head(early) };
                self.answered = false;
                if let Some(waker) = self.held.take() {
                    waker.wake();
                }
            }
            Reading::Plain => self.reading = Reading::Fresh,
            _ => {}
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        if !bytes.starts_with(b"HTTP/1.1 100") {
            self.answered = true;
            self.release();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            match this.reading {
                Reading::Plain => return this.poll_plain(cx, buf),
                Reading::Fresh => {
                    ready!(this.poll_fresh(cx, buf))?;
                    if !matches!(this.reading, Reading::Head(_)) {
                        return Poll::Ready(Ok(()));
                    }
                }
                Reading::Head(_) => ready!(this.poll_head(cx))?,
                Reading::Feed { .. } => {
                    this.feed(buf);
                    if buf.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                }
                Reading::Body(0) if this.answered => this.release(),
                Reading::Body(0) => this.reading = Reading::Held,
                Reading::Body(_) => return this.poll_body(cx, buf),
                Reading::Held => {
                    this.held = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut buf = buf;
        if this.control.swallow.load(Ordering::Acquire) {
            match find(buf, b"HTTP/1.1 101 ") {
                Some(0) => return Poll::Ready(Ok(buf.len())),
                Some(earlier) => buf = &buf[..earlier],
                None => {}
            }
        }
        let n = ready!(this.stream.poll_write(cx, buf))?;
        this.wrote(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Unix(s) => Pin::new(s).poll_flush(cx),
            Stream::Tcp(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tcp(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

impl Stream {
    /// Tells whether the other side is closed in both directions (POLLHUP of poll(2)). On TCP that shows only once it refused a byte.
    fn is_hung_up(&self) -> bool {
        let fd = match self {
            Self::Unix(s) => s.as_fd(),
            Self::Tcp(s) => s.as_fd(),
        };
        let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = PollFlags::HUP | PollFlags::ERR;
        match rustix::event::poll(&mut polled, Some(&now)) {
            Ok(_) => polled[0].revents().intersects(gone),
            Err(_) => true,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tcp(s) => Pin::new(s).poll_write(cx, buf),
        }
    }
}

/// Tells whether `bytes` begin, or may go on to begin, a request that can be hijacked.
fn may_be_hijackable(bytes: &[u8]) -> bool {
    const METHOD: &[u8] = b"POST /";
    let n = bytes.len().min(METHOD.len());
    if bytes[..n] != METHOD[..n] {
        return false;
    }
    match find(bytes, b"\r\n") {
        Some(end) => is_hijackable(&bytes[..end]),
        None => true,
    }
}

/// Judges a request line: `POST /v1.50/containers/ID/attach?… HTTP/1.1`.
fn is_hijackable(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let Some(target) = line.split(' ').nth(1) else { return false };
    let path = target.split('?').next().unwrap_or_default();
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_some_and(|part| crate::router::is_version(part)) {
        parts.next();
    }
    let parts: Vec<&str> = parts.take(4).collect();
    matches!(parts[..], ["containers", _, "attach"] | ["exec", _, "start"])
}

/// What a hijackable head says.
struct Head {
    hijackable: bool,
    upgrade: bool,
    chunked: bool,
    length: u64,
}

impl Head {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let hijackable = is_hijackable(lines.next().unwrap_or_default().as_bytes());
        let mut head = Self { hijackable, upgrade: false, chunked: false, length: 0 };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "upgrade" => head.upgrade = true,
                "transfer-encoding" => head.chunked = true,
                "content-length" => head.length = value.trim().parse().unwrap_or(0),
                _ => {}
            }
        }
        head
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hijackable_requests_are_told_from_others() {
        for yes in [
            "POST /containers/a/attach?stream=1 HTTP/1.1",
            "POST /v1.50/containers/a/attach HTTP/1.1",
            "POST //v1.41//exec/abc/start HTTP/1.1",
        ] {
            assert!(is_hijackable(yes.as_bytes()), "{yes}");
        }
        for no in [
            "POST /containers/a/start HTTP/1.1",
            "POST /v1.50/containers/attach HTTP/1.1",
            "POST /v1.50/containers/a/b/attach HTTP/1.1",
            "POST /exec/a/start/b HTTP/1.1",
            "POST",
        ] {
            assert!(!is_hijackable(no.as_bytes()), "{no}");
        }
        assert!(may_be_hijackable(b"PO") && may_be_hijackable(b"POST /v1.4"));
        assert!(!may_be_hijackable(b"GET /") && !may_be_hijackable(b"\x16\x03\x01"));
    }
}
