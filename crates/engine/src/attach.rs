//! Clients at a container's streams: registered first, connected when their socket is handed over.
//!
//! A client attaches before it starts the container. The ticket of such an attach lies in the container's waiting list; the start
//! waits for its socket, hands it to the shim, and only then releases the process, so that no byte is lost.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use shim_protocol::{Attach, Request as ShimRequest, Target};
use tokio::sync::oneshot;

use crate::engine::Engine;
use crate::request::AttachRequest;
use crate::roster::Handle;
use crate::shimlink::ShimLink;
use crate::transition::{Request, check};
use crate::{EngineError, Result};

/// How long a start waits for the socket of a registered client.
const PATIENCE: Duration = Duration::from_secs(5);

type Socket = (OwnedFd, Vec<u8>);

/// A client that waits for the container to start.
pub(crate) struct Waiting {
    number: u64,
    attach: Attach,
    socket: oneshot::Receiver<Socket>,
}

/// A registered attach: the container's start waits until it is connected or dropped.
///
/// Lets a server register first, answer its client with `101`, and hand over the socket afterwards, without losing output.
pub struct AttachTicket {
    /// Whether the stream is raw (terminal) and not framed.
    pub tty: bool,
    /// The log so far, framed as the stream; none unless it was asked for. It has already been put before the stream.
    handle: Arc<Handle>,
    number: u64,
    attach: Attach,
    socket: Option<oneshot::Sender<Socket>>,
    past: Option<tokio::sync::mpsc::Receiver<bytes::Bytes>>,
    stream: bool,
}

impl AttachTicket {
    /// Hands the client's socket to the container's shim; `initial` are bytes that the server already read from it.
    ///
    /// # Errors
    /// `Unavailable`: the shim cannot be reached; the socket is closed.
    pub async fn connect(mut self, client: OwnedFd, initial: Vec<u8>) -> Result<()> {
        if let Some(past) = self.past.take() {
            replay(past, &client).await?;
        }
        if !self.stream {
            return Ok(());
        }
        // Taken off the list means: a start has it and waits for the socket.
        let waits = self.handle.waiting.lock().iter().any(|waiting| waiting.number == self.number);
        match (self.socket.take(), self.handle.live()) {
            (Some(_), Some(live)) if waits => {
                self.handle.waiting.lock().retain(|waiting| waiting.number != self.number);
                connect(live.shim()?, self.attach.clone(), &client, initial).await
            }
            (Some(socket), _) => {
                let _ = socket.send((client, initial));
                Ok(())
            }
            (None, Some(live)) => {
                connect(live.shim()?, self.attach.clone(), &client, initial).await
            }
            // It has ended meanwhile: the closed socket says so.
            (None, None) => Ok(()),
        }
    }
}

async fn connect(
    link: &ShimLink,
    attach: Attach,
    client: &OwnedFd,
    initial: Vec<u8>,
) -> Result<()> {
    link.demand(ShimRequest::Attach(Attach { initial, ..attach }), Some(client.as_fd())).await
}

/// Writes the log so far to the client.
async fn replay(
    mut past: tokio::sync::mpsc::Receiver<bytes::Bytes>,
    client: &OwnedFd,
) -> Result<()> {
    while let Some(chunk) = past.recv().await {
        let socket = client
            .try_clone()
            .map_err(|error| crate::engine::host_error("clone", "client socket", error))?;
        crate::engine::blocking(move || {
            write_all(&socket, &chunk)
                .map_err(|error| crate::engine::host_error("write to", "client socket", error))
        })
        .await?;
    }
    Ok(())
}

/// Writes to a socket that may not block.
pub(crate) fn write_all(socket: &OwnedFd, mut bytes: &[u8]) -> std::io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::AGAIN) => {
                let timeout = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
                if poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&timeout))? == 0 {
                    return Err(std::io::ErrorKind::TimedOut.into());
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Connects every registered client to a shim.
pub(crate) async fn connect_waiting(handle: &Handle, link: &ShimLink) {
    let list = std::mem::take(&mut *handle.waiting.lock());
    for waiting in list {
        let Ok(Ok((client, initial))) = tokio::time::timeout(PATIENCE, waiting.socket).await else {
            continue;
        };
        if let Err(error) = connect(link, waiting.attach, &client, initial).await {
            tracing::warn!(error = %types::Chain(&error), container = %handle.id, "client not attached");
        }
    }
}

impl Engine {
    /// Registers an attach; see [`AttachTicket`].
    ///
    /// # Errors
    /// `Conflict` when the container is paused; `Invalid`: bad detach keys.
    pub async fn attach(&self, name: &str, request: AttachRequest) -> Result<AttachTicket> {
        let handle = self.find(name)?;
        let view = handle.view();
        check(view.state.status, Request::Attach, &view.name, view.id.as_str())?;
        let attach = Attach {
            target: Target::Init,
            stdin: request.stdin && view.config.open_stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            detach_keys: detach_keys(request.detach_keys.as_deref())?,
            initial: Vec::new(),
            preface: Vec::new(),
        };
        let past = match request.logs {
            false => None,
            true => {
                let logs = crate::request::LogsRequest {
                    stdout: request.stdout,
                    stderr: request.stderr,
                    ..crate::request::LogsRequest::default()
                };
                Some(self.container_logs(name, logs).await?.chunks)
            }
        };
        let number = handle.ticket_number();
        let socket = match handle.live() {
            None if request.stream => Some(register(&handle, number, &attach)),
            _ => None,
        };
        self.tell_view(&view, "attach", &[]);
        let (tty, stream) = (view.config.tty, request.stream);
        Ok(AttachTicket { tty, handle, number, attach, socket, past, stream })
    }

    /// A client left by its detach keys.
    pub(crate) fn detached(&self, handle: &Handle, target: &Target) {
        match target {
            Target::Init => self.tell_view(&handle.view(), "detach", &[]),
            Target::Exec(id) => {
                self.tell_view(&handle.view(), "exec_detach", &[("execID", id.clone())]);
            }
        }
    }

    /// Sets the size of a container's terminal.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub async fn resize(&self, name: &str, height: u16, width: u16) -> Result<()> {
        let handle = self.find(name)?;
        let live = handle.live().ok_or_else(|| {
            EngineError::conflict(format!("container {} is not running", handle.id))
        })?;
        live.shim()?
            .demand(ShimRequest::Resize { target: Target::Init, height, width }, None)
            .await?;
        let size = [("height", height.to_string()), ("width", width.to_string())];
        self.tell_view(&handle.view(), "resize", &size);
        Ok(())
    }
}

fn register(handle: &Handle, number: u64, attach: &Attach) -> oneshot::Sender<Socket> {
    let (sender, socket) = oneshot::channel();
    handle.waiting.lock().push(Waiting { number, attach: attach.clone(), socket });
    sender
}

/// Reads Docker's notation of detach keys: `ctrl-p,ctrl-q`, `a`, `ctrl-[`.
///
/// # Errors
/// `Invalid`.
pub(crate) fn detach_keys(text: Option<&str>) -> Result<Vec<u8>> {
    let text = match text {
        None | Some("") => "ctrl-p,ctrl-q",
        Some(text) => text,
    };
    text.split(',')
        .map(|key| {
            key_byte(key).ok_or_else(|| {
                EngineError::invalid(format!("Invalid detach keys ({text}) provided"))
            })
        })
        .collect()
}

fn key_byte(key: &str) -> Option<u8> {
    match key.as_bytes() {
        [byte] => Some(*byte),
        _ => match key.strip_prefix("ctrl-")?.as_bytes() {
            [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
            [letter @ b'A'..=b'Z'] => Some(letter - b'A' + 1),
            b"@" => Some(0),
            b"[" => Some(27),
            b"\\" => Some(28),
            b"]" => Some(29),
            b"^" => Some(30),
            b"_" => Some(31),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        assert_eq!(detach_keys(None).unwrap(), [16, 17]);
        assert_eq!(detach_keys(Some("")).unwrap(), [16, 17]);
        assert_eq!(detach_keys(Some("ctrl-a,x,ctrl-[")).unwrap(), [1, b'x', 27]);
        for bad in ["ctrl-", "ctrl-ab", "xy", "ctrl-a,,b"] {
            assert!(detach_keys(Some(bad)).is_err(), "{bad}");
        }
    }
}
