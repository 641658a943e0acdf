//! A terminal or a pair of pipes on one side, a container's raw stream on the other.
//!
//! Two blocking threads move the bytes; the runtime only waits for the first of: the stream ended, the user typed the detach keys,
//! our own reader went away.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::client::{Client, Hijacked, Query, Socket, segment};
use crate::error::CommandError;
use crate::escape::{Typed, Watch};
use crate::stdcopy::{Splitter, Stream};
use crate::terminal::{self, Raw};

/// Large enough that a read takes what the kernel has.
const BUFFER_BYTES: usize = 512 * 1024;

/// How an attached stream came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// The engine closed it.
    Closed,
    /// The user typed the detach keys.
    Detached,
    /// Nobody reads our output any more.
    ClosedPipe,
    /// It broke.
    Broken(io::Error),
}

/// What is connected.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Whether the stream is a terminal's: unframed.
    pub(crate) tty: bool,
    /// Whether our standard input goes to the container.
    pub(crate) stdin: bool,
    /// The keys that detach; only a terminal is watched for them.
    pub(crate) detach_keys: Vec<u8>,
}

/// A stream at work.
#[derive(Debug)]
pub(crate) struct Session {
    ends: UnboundedReceiver<End>,
    _raw: Option<Raw>,
}

/// Writes all of `bytes` to `fd`, whatever its mode.
fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(&fd)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait_writable(fd: impl AsFd) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Moves the container's output to ours.
fn copy_out(socket: &mut Socket, first: &[u8], framed: bool) -> io::Result<()> {
    let mut splitter = Splitter::default();
    let mut put = |bytes: &[u8]| {
        if !framed {
            return write_all(io::stdout(), bytes);
        }
        splitter.feed(bytes, |stream, payload| match stream {
            Stream::Out => write_all(io::stdout(), payload),
            Stream::Err => write_all(io::stderr(), payload),
        })
    };
    put(first)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => put(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Moves our input to the container, then says that there is no more; returns whether the detach keys were typed.
fn copy_in(socket: &mut Socket, mut watch: Option<Watch>) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            Err(_) => break,
        };
        let typed = watch.as_mut().map_or_else(
            || Typed::Pass(buffer[..read].to_vec()),
            |watch| watch.feed(&buffer[..read]),
        );
        let (Typed::Pass(bytes) | Typed::Detach(bytes)) = &typed;
        if socket.write_all(bytes).is_err() {
            return false;
        }
        if matches!(typed, Typed::Detach(_)) {
            return true;
        }
    }
    socket.close_write();
    false
}

fn end_of_output(result: io::Result<()>) -> End {
    match result {
        Ok(()) => End::Closed,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => End::ClosedPipe,
        Err(error) => End::Broken(error),
    }
}

fn spawn_output(mut socket: Socket, first: bytes::Bytes, framed: bool, ends: UnboundedSender<End>) {
    thread::spawn(move || {
        let end = end_of_output(copy_out(&mut socket, &first, framed));
        let _ = ends.send(end);
    });
}

fn spawn_input(mut socket: Socket, watch: Option<Watch>, ends: UnboundedSender<End>) {
    thread::spawn(move || {
        if copy_in(&mut socket, watch) {
            let _ = ends.send(End::Detached);
        }
    });
}

impl Session {
    /// Connects `stream` as `plan` says; the terminal is raw from here until the session is dropped.
    pub(crate) fn begin(
        stream: Hijacked,
        plan: Plan,
        stdin_is_terminal: bool,
    ) -> Result<Self, CommandError> {
        let (sender, ends) = unbounded_channel();
        let framed = stream.multiplexed.unwrap_or(!plan.tty);
        let raw = (plan.tty && plan.stdin && stdin_is_terminal).then(Raw::enter);
        if plan.stdin {
            let watch = plan.tty.then(|| Watch::new(plan.detach_keys));
            spawn_input(stream.socket.try_clone()?, watch, sender.clone());
        }
        spawn_output(stream.socket, stream.first, framed, sender);
        Ok(Self { ends, _raw: raw })
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> End {
        self.ends.recv().await.unwrap_or(End::Closed)
    }
}

/// What a window belongs to.
#[derive(Clone, Debug)]
pub(crate) enum Window {
    Container(String),
    Exec(String),
}

impl Window {
    fn path(&self, (rows, columns): (u16, u16)) -> String {
        let base = match self {
            Self::Container(id) => format!("/containers/{}/resize", segment(id)),
            Self::Exec(id) => format!("/exec/{}/resize", segment(id)),
        };
        Query::new().with("h", &rows.to_string()).with("w", &columns.to_string()).on(&base)
    }

    /// Tells the engine the window's size, again a few times while the process is not there yet.
    pub(crate) async fn announce(&self, client: &Client) {
        let Some(size) = terminal::size() else {
            return;
        };
        for attempt in 1..=10 {
            if client.post(&self.path(size)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10 * attempt)).await;
        }
    }

    /// Follows the window's size for ever.
    pub(crate) async fn follow(&self, client: &Client) -> std::convert::Infallible {
        let Ok(mut changes) = signal(SignalKind::window_change()) else {
            return std::future::pending().await;
        };
        loop {
            changes.recv().await;
            if let Some(size) = terminal::size() {
                let _ = client.post(&self.path(size)).await;
            }
        }
    }
}

/// The signals that are handed to the container, and their names in the API.
const PROXIED: [(i32, &str); 9] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
    (18, "CONT"),
    (20, "TSTP"),
];

/// How many SIGINT and SIGTERM a container may leave unanswered before they end the client itself, as in Docker.
const PATIENCE: usize = 3;

/// Signals that came, in order.
pub(crate) struct Signals(UnboundedReceiver<(i32, &'static str)>);

impl Signals {
    /// Catches every signal that the container shall get; from here on none of them ends us.
    pub(crate) fn catch_proxied() -> Self {
        Self::catch(&PROXIED)
    }

    /// Catches what would end us while the terminal is raw.
    pub(crate) fn catch_fatal() -> Self {
        Self::catch(&[(1, "HUP"), (2, "INT"), (3, "QUIT"), (15, "TERM")])
    }

    fn catch(wanted: &'static [(i32, &'static str)]) -> Self {
        let (sender, receiver) = unbounded_channel();
        let sender = Arc::new(sender);
        for &(number, name) in wanted {
            let Ok(mut stream) = signal(SignalKind::from_raw(number)) else {
                continue;
            };
            let sender = Arc::clone(&sender);
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    let _ = sender.send((number, name));
                }
            });
        }
        Self(receiver)
    }

    /// Hands every signal to container `id`; returns when the user has asked three times to end.
    pub(crate) async fn forward(&mut self, client: &Client, id: &str) {
        let mut asked_to_end = 0;
        while let Some((_, name)) = self.0.recv().await {
            if ["INT", "TERM"].contains(&name) {
                asked_to_end += 1;
            }
            if asked_to_end == PATIENCE {
                return;
            }
            let path =
                Query::new().with("signal", name).on(&format!("/containers/{}/kill", segment(id)));
            let _ = client.post(&path).await;
        }
        std::future::pending::<()>().await;
    }

    /// The first signal's number.
    pub(crate) async fn first(&mut self) -> i32 {
        match self.0.recv().await {
            Some((number, _)) => number,
            None => std::future::pending().await,
        }
    }
}

/// What happens beside an attached stream.
pub(crate) struct Beside<'a> {
    pub(crate) client: &'a Client,
    /// The window to keep in step, when the container has a terminal.
    pub(crate) window: Option<Window>,
    /// Who gets our signals.
    pub(crate) proxy: Option<(Signals, &'a str)>,
    /// Whether the terminal is ours to put back when a signal ends us.
    pub(crate) tty: bool,
}

/// Waits for the end of `session` while the window is followed and signals are handed on.
///
/// # Errors
/// A signal ended us (128 + n), our reader went away, or the stream broke.
pub(crate) async fn watch(
    session: &mut Session,
    beside: &mut Beside<'_>,
) -> Result<End, CommandError> {
    let client = beside.client;
    let window = beside.window.clone();
    let mut fatal = beside.tty.then(Signals::catch_fatal);
    let resized = async {
        match &window {
            Some(window) => window.follow(client).await,
            None => std::future::pending().await,
        }
    };
    let forwarded = async {
        match &mut beside.proxy {
            Some((signals, id)) => signals.forward(client, id).await,
            None => std::future::pending().await,
        }
    };
    let killed = async {
        match &mut fatal {
            Some(signals) => signals.first().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        end = session.ended() => match end {
            End::ClosedPipe => Err(CommandError::ClosedPipe),
            End::Broken(error) => Err(error.into()),
            end => Ok(end),
        },
        never = resized => match never {},
        () = forwarded => Err(CommandError::plain(format!(
            "\ngot {PATIENCE} SIGTERM/SIGINTs, forcefully exiting"
        ))),
        number = killed => Err(CommandError::Exit(u8::try_from(128 + number).unwrap_or(255))),
    }
}
