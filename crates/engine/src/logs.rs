//! A container's log, as clients read it.
//!
//! The shim writes Docker's `json-file` format: `ID-json.log` is the newest file, `.1` the one before, and so on.
//!
//! ```text
//! {"log":"one line\n","stream":"stdout","time":"2026-11-28T15:11:37.123456789Z"}
//! ```
//!
//! A line longer than 16 KiB is several entries of which only the last one's text ends in a line feed. A crash of the machine may tear
//! the last entry; what is no whole entry is passed over. While a log is followed, files are renamed and, with one file only, cut.
//!
//! [`reader`](reader::Reader) makes chunks on a blocking thread, one at a time: a client that does not read holds no thread.

mod attributes;
mod entry;
mod files;
mod output;
mod reader;
mod tail;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::inotify::{CreateFlags, WatchFlags};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use types::Kind;

use crate::engine::{Engine, blocking, host_error};
use crate::request::LogsRequest;
use crate::roster::{Handle, Progress};
use crate::{EngineError, LogStream, Result};

use output::Output;
use reader::{Reader, Step};

/// How many chunks may wait for the client.
const AHEAD: usize = 4;
/// How often a followed log is looked at when the kernel cannot tell of changes: it has no more watches to give.
const WITHOUT_WATCH: Duration = Duration::from_millis(250);

impl Engine {
    /// Reads a container's log.
    ///
    /// # Errors
    /// `Invalid`: no stream chosen; `NotImplemented`: the log driver cannot be read.
    pub async fn container_logs(&self, name: &str, request: LogsRequest) -> Result<LogStream> {
        let handle = self.find(name)?;
        if !request.stdout && !request.stderr {
            return Err(EngineError::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        // Before the first look at the file, so that neither an end nor a change in between is missed.
        let end = request.follow.then(|| End::of(&handle)).flatten();
        let view = handle.view();
        let tty = view.config.tty;
        let path = view.log_path.clone().ok_or_else(|| {
            EngineError::new(
                Kind::NotImplemented,
                "configured logging driver does not support reading",
            )
        })?;
        let follow = end.map(|end| Follow {
            watch: path.parent().and_then(|dir| Watch::new(dir).ok()),
            until: request.until,
            end,
        });
        let details = request.details.then(|| attributes::of(&view));
        let output = Output::new(&request, tty, details);
        let reader = blocking(move || {
            let object = path.display().to_string();
            Reader::open(path, output, &request).map_err(|e| host_error("read", object, e))
        });
        let reader = reader.await?;
        let (sender, chunks) = mpsc::channel(AHEAD);
        let id = handle.id.clone();
        tokio::spawn(async move {
            if let Err(error) = pump(reader, follow, &sender).await {
                tracing::warn!(error = %types::Chain(&error), container = %id, "log not read to its end");
            }
        });
        Ok(LogStream { tty, chunks })
    }
}

/// Hands on chunk after chunk until the end or until nobody listens.
async fn pump(
    mut reader: Reader,
    mut follow: Option<Follow>,
    sender: &mpsc::Sender<Bytes>,
) -> Result<()> {
    loop {
        let (back, step) = blocking(move || {
            let step = reader.step();
            Ok((reader, step))
        })
        .await?;
        reader = back;
        let Step { chunk, more } =
            step.map_err(|error| host_error("read", reader.path().display(), error))?;
        if !chunk.is_empty() && sender.send(chunk).await.is_err() {
            return Ok(());
        }
        if reader.is_done() {
            return Ok(());
        }
        if more {
            continue;
        }
        let Some(following) = &mut follow else { return Ok(()) };
        match following.next(sender).await {
            Next::Changed => {}
            // The shim has written everything before it told the end: one more round, and no other.
            Next::Ended => follow = None,
            Next::Gone => return Ok(()),
        }
    }
}

/// The end of the run that is followed.
struct End {
    progress: watch::Receiver<Progress>,
    exits: u64,
}

impl End {
    /// None if the container does not run: a log that nobody writes is not followed.
    fn of(handle: &Arc<Handle>) -> Option<Self> {
        let progress = handle.progress.subscribe();
        let exits = progress.borrow().exits;
        handle.view().state.status.is_alive().then_some(Self { progress, exits })
    }

    async fn wait(&mut self) {
        let exits = self.exits;
        let _ = self.progress.wait_for(|now| now.removed || now.exits > exits).await;
    }
}

/// What a followed log waits for.
struct Follow {
    watch: Option<Watch>,
    until: Option<Timestamp>,
    end: End,
}

enum Next {
    Changed,
    Ended,
    Gone,
}

impl Follow {
    async fn next(&mut self, sender: &mpsc::Sender<Bytes>) -> Next {
        let Self { watch, until, end } = self;
        let changed = async {
            match watch {
                Some(watch) => watch.changed().await,
                None => tokio::time::sleep(WITHOUT_WATCH).await,
            }
        };
        tokio::select! {
            () = sender.closed() => Next::Gone,
            () = end.wait() => Next::Ended,
            () = pass(*until) => Next::Ended,
            () = changed => Next::Changed,
        }
    }
}

/// Waits for a moment; for ever without one.
async fn pass(moment: Option<Timestamp>) {
    match moment {
        Some(moment) => {
            let rest = moment.duration_since(Timestamp::now());
            tokio::time::sleep(Duration::try_from(rest).unwrap_or_default()).await;
        }
        None => std::future::pending().await,
    }
}

/// inotify(7) on the log's directory: tells of writes and of renames. Its descriptor is read like a pipe's, which is the safe way to
/// wait for any descriptor.
struct Watch(pipe::Receiver);

impl Watch {
    fn new(dir: &Path) -> std::io::Result<Self> {
        let fd = rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        rustix::fs::inotify::add_watch(&fd, dir, changes | WatchFlags::ONLYDIR)?;
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(fd)?))
    }

    /// Waits for a change and takes all that are known.
    async fn changed(&self) {
        let mut events = [0u8; 4096];
        loop {
            if self.0.readable().await.is_err() {
                return tokio::time::sleep(WITHOUT_WATCH).await;
            }
            let mut taken = 0;
            while let Ok(count @ 1..) = self.0.try_read(&mut events) {
                taken += count;
            }
            if taken > 0 {
                return;
            }
        }
    }
}
