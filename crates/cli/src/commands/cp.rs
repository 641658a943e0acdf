//! `cp`.
//!
//! ```text
//! out: HEAD archive (follow a link, with -L) -> GET archive -> copy::unpack beneath the destination
//! in:  HEAD archive (what is the destination?) -> copy::pack the source -> PUT archive into a directory
//! ```

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::{Method, Response, body::Incoming};

use crate::client::{Call, Client, Query, next_chunk, segment, upload};
use crate::copy::{self, LocalTarget, Stat};
use crate::error::CommandError;
use crate::format::units;
use crate::ui::Ui;

/// Copy files/folders between a container and the local filesystem
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    quiet: bool,
    #[arg(hide = true)]
    paths: Vec<String>,
}

/// `CONTAINER:PATH`, or a path of the host: one that begins with `/` or `.` is the host's.
fn split(text: &str) -> (Option<&str>, &str) {
    if text.starts_with(['/', '.']) {
        return (None, text);
    }
    match text.split_once(':') {
        Some((container, path)) if !container.is_empty() && !container.contains('/') => {
            (Some(container), path)
        }
        _ => (None, text),
    }
}

/// Copies one way or the other.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let (source, target) = (split(&args.paths[0]), split(&args.paths[1]));
    match (source, target) {
        ((Some(container), path), (None, local)) => {
            copy_out(ui, client, &args, container, path, local).await
        }
        ((None, local), (Some(container), path)) => {
            copy_in(ui, client, &args, local, container, path).await
        }
        ((Some(_), _), (Some(_), _)) => {
            Err(CommandError::plain("copying between containers is not supported"))
        }
        _ => Err(CommandError::plain("must specify at least one container source")),
    }
}

fn archive_path(container: &str, query: Query) -> String {
    query.on(&format!("/containers/{}/archive", segment(container)))
}

async fn stat(client: &Client, container: &str, path: &str) -> Result<Stat, CommandError> {
    let path = archive_path(container, Query::new().with("path", path));
    let reply = client.send(Call::new(Method::HEAD, &path)).await?;
    Stat::from_header(&reply.headers)
        .ok_or_else(|| CommandError::plain("the daemon's answer has no path stat"))
}

fn announce(ui: &mut Ui, args: &Args, bytes: u64, target: &str) {
    if !args.quiet && ui.out_is_terminal {
        ui.complain(format_args!(
            "Successfully copied {} to {target}",
            units::human_size_3(i64::try_from(bytes).unwrap_or(0))
        ));
    }
}

async fn copy_out(
    ui: &mut Ui,
    client: &Client,
    args: &Args,
    container: &str,
    path: &str,
    local: &str,
) -> Result<u8, CommandError> {
    let mut source = copy::absolute_in_container(path);
    if args.follow_link {
        let found = stat(client, container, &source).await?;
        source = found.follow(&source);
    }
    let request = archive_path(container, Query::new().with("path", &source));
    let response = client
        .stream(Call::new(Method::GET, &request))
        .await
        .map_err(|error| missing(error, container, path))?;
    if local == "-" {
        return stream_out(ui, response).await;
    }
    let stat = Stat::from_header(response.headers())
        .ok_or_else(|| CommandError::plain("the daemon's answer has no path stat"))?;
    let target = LocalTarget::resolve(local, &source, &stat)?;
    let bytes = unpack(response, target, args.archive).await?;
    announce(ui, args, bytes, local);
    Ok(0)
}

/// The engine's refusal of a path that is not there, in the words of Docker's client.
fn missing(error: CommandError, container: &str, path: &str) -> CommandError {
    match error {
        CommandError::Api { status: 404, message } if !message.contains("No such container") => {
            CommandError::plain(format!(
                "Error response from daemon: Could not find the file {path} in container {container}"
            ))
        }
        error => error,
    }
}

async fn stream_out(ui: &mut Ui, mut response: Response<Incoming>) -> Result<u8, CommandError> {
    if ui.out_is_terminal {
        return Err(CommandError::plain(
            "cowardly refusing to copy to a terminal. Redirect the output",
        ));
    }
    while let Some(chunk) = next_chunk(response.body_mut()).await? {
        ui.bytes(&chunk)?;
    }
    Ok(0)
}

/// A reader that a thread reads while the runtime fills it.
struct Chunks {
    receiver: std::sync::mpsc::Receiver<bytes::Bytes>,
    current: bytes::Bytes,
    total: u64,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.recv() {
                Ok(chunk) => self.current = chunk,
                Err(_) => return Ok(0),
            }
        }
        let take = buffer.len().min(self.current.len());
        buffer[..take].copy_from_slice(&self.current.split_to(take));
        self.total += take as u64;
        Ok(take)
    }
}

async fn unpack(
    mut response: Response<Incoming>,
    target: LocalTarget,
    owners: bool,
) -> Result<u64, CommandError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(64);
    let worker = std::thread::spawn(move || {
        let mut chunks = Chunks { receiver, current: bytes::Bytes::new(), total: 0 };
        let result = copy::unpack(&mut chunks, &target, owners);
        // What follows the archive's end mark belongs to it.
        let _ = io::copy(&mut chunks, &mut io::sink());
        result.map(|()| chunks.total)
    });
    while let Some(chunk) = next_chunk(response.body_mut()).await? {
        if sender.send(chunk).is_err() {
            break;
        }
    }
    drop(sender);
    worker.join().map_err(|_| CommandError::plain("the unpacking thread ended"))?
}

/// A writer that counts what goes through it.
struct Counted<W> {
    inner: W,
    count: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

async fn copy_in(
    ui: &mut Ui,
    client: &Client,
    args: &Args,
    local: &str,
    container: &str,
    path: &str,
) -> Result<u8, CommandError> {
    let mut target = copy::absolute_in_container(path);
    let mut found = match stat(client, container, &target).await {
        Ok(stat) => Some(stat),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    if let Some(stat) = &found
        && stat.is_symlink()
    {
        let trailing = if path.ends_with('/') { "/" } else { "" };
        target = stat.follow(&target) + trailing;
        found = self::stat(client, container, &target).await.ok();
    }
    let put = |directory: &str| {
        let query = Query::new()
            .with_flag("copyUIDGID", args.archive)
            .with("noOverwriteDirNonDir", "true")
            .with("path", directory);
        archive_path(container, query)
    };
    if local == "-" {
        if found.is_none_or(|stat| !stat.is_dir()) {
            return Err(CommandError::plain(format!(
                "destination \"{container}:{path}\" must be a directory"
            )));
        }
        client.upload(Method::PUT, &put(&target), upload::read_from(io::stdin())).await?;
        return Ok(0);
    }
    let source = copy::LocalSource::open(local, args.follow_link)?;
    let plan = source.place(&target, found.as_ref())?;
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let body = upload::written_by(move |pieces| {
        let pieces = Counted { inner: pieces, count };
        source.pack(&plan.name, io::BufWriter::with_capacity(128 * 1024, pieces))
    });
    client.upload(Method::PUT, &put(&plan.directory), body).await?;
    announce(ui, args, sent.load(Ordering::Relaxed), &format!("{container}:{path}"));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_told_apart() {
        assert_eq!(split("web:/etc"), (Some("web"), "/etc"));
        assert_eq!(split("./a:b"), (None, "./a:b"));
        assert_eq!(split("/a:b"), (None, "/a:b"));
        assert_eq!(split("file"), (None, "file"));
        assert_eq!(split("-"), (None, "-"));
    }
}
