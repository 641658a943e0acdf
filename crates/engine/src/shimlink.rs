//! A running container's process and the connection to its shim.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use shim_protocol::{
    ContainerState, Decoder, Event, Failure, Message, Request, Response, SOCKET_NAME, encode,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use types::Kind;

use crate::{EngineError, Result};

/// A container's first process.
pub(crate) struct Live {
    /// Which run of the container it is.
    pub(crate) run: u64,
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    /// None once the shim is lost.
    pub(crate) shim: Option<Arc<ShimLink>>,
    /// A second descriptor of the terminal's master, never read: while it is open, the loss of the shim does not hang up the terminal, which
    /// would end the container.
    pub(crate) terminal: Option<OwnedFd>,
}

impl Live {
    /// The shim, or why there is none.
    pub(crate) fn shim(&self) -> Result<&Arc<ShimLink>> {
        self.shim.as_ref().ok_or_else(lost)
    }

    /// Whether the kernel says that the process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now))
            .is_ok_and(|ready| ready > 0)
    }

    /// Sends a signal that cannot hit another process.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        sys::pidfd::send_signal(self.pidfd.as_fd(), signal)
    }
}

fn lost() -> EngineError {
    EngineError::new(Kind::Unavailable, "the container's shim is lost")
}

/// What a connection tells beside answers.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The shim says that something happened.
    Event(Event),
    /// The connection is closed: the shim has ended.
    Gone,
}

type Pending = Mutex<Option<HashMap<u64, oneshot::Sender<Response>>>>;

/// A connection to one shim.
pub(crate) struct ShimLink {
    stream: UnixStream,
    /// The shim's process, as it said itself.
    shim: OnceLock<u32>,
    writer: tokio::sync::Mutex<()>,
    next: AtomicU64,
    /// Requests that wait for an answer; none once the connection is closed.
    pending: Pending,
}

impl ShimLink {
    /// Connects to the shim that serves the state directory `dir` and starts to read from it.
    ///
    /// # Errors
    /// `Unavailable`: nobody listens there.
    pub(crate) async fn connect(
        dir: &Path,
    ) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<Signal>)> {
        let unreachable = |error: io::Error| {
            EngineError::caused(
                Kind::Unavailable,
                format!("connect to shim `{}`", dir.display()),
                error,
            )
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty()).map_err(|e| unreachable(e.into()))?;
        let stream = sys::scm::connect_at(fd.as_fd(), SOCKET_NAME).map_err(unreachable)?;
        stream.set_nonblocking(true).map_err(unreachable)?;
        let stream = UnixStream::from_std(stream).map_err(unreachable)?;
        let link = Arc::new(Self {
            stream,
            shim: OnceLock::new(),
            writer: tokio::sync::Mutex::new(()),
            next: AtomicU64::new(1),
            pending: Mutex::new(Some(HashMap::new())),
        });
        let (events, heard) = mpsc::unbounded_channel();
        tokio::spawn(read(Arc::clone(&link), events));
        match link.request(Request::Hello, None).await? {
            Response::Hello { pid, .. } => {
                link.shim.get_or_init(|| pid);
                Ok((link, heard))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Duplicates the master of the container's terminal out of the shim: the first terminal that it has.
    pub(crate) fn terminal(&self) -> Option<OwnedFd> {
        let pid = *self.shim.get()?;
        let is_master = |number: &i32| {
            std::fs::read_link(format!("/proc/{pid}/fd/{number}"))
                .is_ok_and(|path| path.file_name().is_some_and(|name| name == "ptmx"))
        };
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let numbers = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
        let master = numbers.filter(is_master).min()?;
        let shim = sys::pidfd::open(pid).ok()?;
        pidfd_getfd(&shim, master, PidfdGetfdFlags::empty()).ok()
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// `Unavailable`: the shim has ended.
    pub(crate) async fn request(
        &self,
        request: Request,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<Response> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, wait) = oneshot::channel();
        self.pending.lock().as_mut().ok_or_else(lost)?.insert(id, answer);
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        let frame = encode(&Message::Request { id, request }, u16::from(fd.is_some()))
            .map_err(|error| EngineError::caused(Kind::Internal, "speak to shim", error))?;
        if let Err(error) = self.send(&frame, &fds).await {
            self.pending.lock().as_mut().map(|pending| pending.remove(&id));
            return Err(EngineError::caused(Kind::Unavailable, "speak to shim", error));
        }
        wait.await.map_err(|_| lost())
    }

    /// Asks for something that is answered by `Ok`.
    ///
    /// # Errors
    /// The shim's refusal.
    pub(crate) async fn demand(&self, request: Request, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        match self.request(request, fd).await? {
            Response::Ok | Response::Started => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// What the shim knows.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn state(&self) -> Result<ContainerState> {
        match self.request(Request::State, None).await? {
            Response::State(state) => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    async fn send(&self, frame: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let _turn = self.writer.lock().await;
        let mut sent = 0;
        while sent < frame.len() {
            let fds = if sent == 0 { fds } else { &[] };
            let write = || sys::scm::send(self.stream.as_fd(), &frame[sent..], fds);
            match self.stream.try_io(Interest::WRITABLE, write) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads until the end: answers go to those who asked, events to the owner.
async fn read(link: Arc<ShimLink>, events: mpsc::UnboundedSender<Signal>) {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0u8; 4096];
    'connection: loop {
        match link.stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => decoder.push(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if link.stream.readable().await.is_err() {
                    break;
                }
                continue;
            }
            Err(_) => break,
        }
        loop {
            match decoder.next_message() {
                Ok(None) => break,
                Ok(Some((Message::Response { id, response }, _))) => {
                    let asked =
                        link.pending.lock().as_mut().and_then(|pending| pending.remove(&id));
                    if let Some(asked) = asked {
                        let _ = asked.send(response);
                    }
                }
                Ok(Some((Message::Event { event }, _))) => {
                    let _ = events.send(Signal::Event(event));
                }
                Ok(Some((Message::Request { .. }, _))) => {}
                Err(error) => {
                    tracing::warn!(%error, fd = link.stream.as_raw_fd(), "a shim speaks another language");
                    break 'connection;
                }
            }
        }
    }
    link.pending.lock().take();
    let _ = events.send(Signal::Gone);
}

/// An answer that does not fit the question: a refusal, mostly.
pub(crate) fn unexpected(response: &Response) -> EngineError {
    match response {
        Response::Failed(failure) => EngineError::internal(describe(failure)),
        other => EngineError::internal(format!("the shim answered {other:?}")),
    }
}

/// A shim's failure in one line.
pub(crate) fn describe(failure: &Failure) -> String {
    let mut text = failure.chain.join(": ");
    if text.is_empty() {
        text = format!("{} `{}`", failure.step, failure.object);
    }
    text
}
