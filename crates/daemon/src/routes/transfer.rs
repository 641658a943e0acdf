//! `/images/{create,load,get}`: images on their way in and out.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::auth::{self, AuthConfig};
use api::progress::JsonMessage;
use bytes::Bytes;
use engine::image::{Auth, ImportRequest, Progress};
use hyper::StatusCode;
use tokio::sync::{mpsc, oneshot};
use types::oci::image::Platform;
use types::{Kind, Reference};

use super::images::target;
use crate::body::Body;
use crate::call::{Call, typed};
use crate::failure::{Answer, Failure};
use crate::show::image::progress;

/// Lines of progress that wait for a slow client; more are left out.
const LINES: usize = 1024;
/// Pieces of an archive that wait between its writer and the socket.
const DEPTH: usize = 8;
const PIECE: usize = 64 << 10;

pub(super) async fn create(call: Call) -> Answer {
    match (call.query.text("fromImage"), call.query.text("fromSrc")) {
        ("", "-") => import(call).await,
        ("", "") => Err(Failure::invalid("one of fromImage and fromSrc is required")),
        ("", _) => Err(Failure::not_implemented("importing from a URL")),
        _ => pull(&call).await,
    }
}

/// Answers when the registry has: until the first line of progress, a failure is an ordinary error.
async fn pull(call: &Call) -> Answer {
    let reference = pulled(call.query.text("fromImage"), call.query.text("tag"))?;
    let platform = platform(call)?;
    let auth = credentials(call);
    let (lines, mut receiver) = mpsc::channel(LINES);
    let engine = call.engine().clone();
    let (failed, failure) = oneshot::channel();
    tokio::spawn(async move {
        let begun = Arc::new(AtomicBool::new(false));
        let sink = progress_sink(lines.clone(), Arc::clone(&begun));
        let end = tokio::select! {
            end = engine.pull(&reference, platform, Some(&auth), sink) => end,
            () = lines.closed() => return,
        };
        let Err(error) = end.map_err(Failure::from) else { return };
        if begun.load(Ordering::Acquire) {
            let _ = lines.send(JsonMessage::failure(error.message()).render().into()).await;
        } else {
            let _ = failed.send(error);
        }
    });
    let first = receiver.recv().await;
    if first.is_none()
        && let Ok(error) = failure.await
    {
        return Err(error);
    }
    Ok(typed(StatusCode::OK, "application/json", stream(first, receiver)))
}

/// Puts a line that was taken for a look back in front.
fn stream(first: Option<Bytes>, mut rest: mpsc::Receiver<Bytes>) -> Body {
    let (lines, receiver) = mpsc::channel(DEPTH);
    tokio::spawn(async move {
        let mut next = first;
        while let Some(line) = next {
            if lines.send(line).await.is_err() {
                return;
            }
            next = tokio::select! {
                next = rest.recv() => next,
                () = lines.closed() => return,
            };
        }
    });
    Body::Pieces(receiver)
}

/// Sends lines and notes that there was one.
fn progress_sink(
    lines: mpsc::Sender<Bytes>,
    begun: Arc<AtomicBool>,
) -> impl Fn(Progress) + Send + Sync + 'static {
    move |line| {
        begun.store(true, Ordering::Release);
        let _ = lines.try_send(progress(&line).render().into());
    }
}

/// The name that `fromImage` and `tag` make together; the tag may be a digest.
fn pulled(name: &str, tag: &str) -> Result<Reference, Failure> {
    let reference: Reference = name.parse()?;
    if tag.contains(':') {
        return Ok(format!("{}@{tag}", reference.name()).parse()?);
    }
    if tag.is_empty() {
        return Ok(reference.with_default_tag());
    }
    Ok(reference.with_tag(tag)?)
}

fn platform(call: &Call) -> Result<Option<Platform>, Failure> {
    match call.query.text("platform") {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|e: types::oci::image::PlatformError| Failure::invalid(e.to_string())),
    }
}

fn credentials(call: &Call) -> Auth {
    let value = call.headers.get(auth::HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
    // As in Docker, a header that cannot be read is none: the registry will say what it thinks of that.
    let auth = AuthConfig::decode(value).unwrap_or_default();
    Auth {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identitytoken,
        registry_token: auth.registrytoken,
    }
}

async fn import(call: Call) -> Answer {
    let name = call.query.text("repo");
    let reference = match name {
        "" => None,
        name => Some(target(name, call.query.text("tag"))?),
    };
    let message = Some(call.query.text("message")).filter(|m| !m.is_empty());
    let request = ImportRequest {
        reference,
        message: message.unwrap_or("Imported from -").to_owned(),
        changes: call.query.all("changes").map(str::to_owned).collect(),
        platform: platform(&call)?,
    };
    let engine = call.engine().clone();
    let id = engine.import(Upload::of(call), request).await?;
    let line = JsonMessage::status(id.to_string()).render();
    Ok(typed(StatusCode::OK, "application/json", Body::Whole(line.into())))
}

pub(super) async fn load(call: Call) -> Answer {
    let quiet = call.query.get("quiet").is_none_or(api::query::is_true);
    let engine = call.engine().clone();
    let upload = Upload::of(call);
    let (lines, receiver) = mpsc::channel::<Bytes>(LINES);
    tokio::spawn(async move {
        let forward = (!quiet).then(|| progress_sink(lines.clone(), Arc::default()));
        let sink = move |line: Progress| {
            if let Some(forward) = &forward {
                forward(line);
            }
        };
        let last = match engine.load(upload, sink).await {
            Ok(loaded) => loaded
                .iter()
                .flat_map(|one| JsonMessage::stream(format!("{}\n", one.line())).render())
                .collect(),
            Err(error) => JsonMessage::failure(Failure::from(error).message()).render(),
        };
        let _ = lines.send(last.into()).await;
    });
    Ok(typed(StatusCode::OK, "application/json", Body::Pieces(receiver)))
}

pub(super) fn save(call: &Call, names: &[String]) -> Answer {
    if names.is_empty() {
        return Err(Failure::new(Kind::Invalid, "no image names were given"));
    }
    let images = call.app.images().clone();
    for name in names {
        images.resolve(name)?;
    }
    let (pieces, receiver) = mpsc::channel(DEPTH);
    let (names, out) = (names.to_vec(), Download { pieces: pieces.clone() });
    tokio::spawn(async move {
        let out = io::BufWriter::with_capacity(PIECE, out);
        if let Err(error) = images.save(&names, out).await {
            let error = io::Error::other(Failure::from(error).message().to_owned());
            let _ = pieces.send(Err(error)).await;
        }
    });
    Ok(typed(StatusCode::OK, "application/x-tar", Body::Archive(receiver)))
}

/// A request's body for a reader that blocks.
struct Upload {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Upload {
    fn of(call: Call) -> Self {
        Self { pieces: call.upload(), rest: Bytes::new() }
    }
}

impl Read for Upload {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let n = buf.len().min(self.rest.len());
        buf[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}

/// A client that is still sending when the work has failed would see its connection break instead of the answer: the rest is taken and forgotten.
impl Drop for Upload {
    fn drop(&mut self) {
        let (_, closed) = mpsc::channel(1);
        let mut pieces = std::mem::replace(&mut self.pieces, closed);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { while pieces.recv().await.is_some() {} });
        }
    }
}

/// An answer's body for a writer that blocks.
struct Download {
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Download {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(Ok(Bytes::copy_from_slice(buf))).map_err(gone)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
