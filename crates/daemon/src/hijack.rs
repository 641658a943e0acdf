//! Turning a request into a raw stream: the client's own socket leaves HTTP.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use crate::body::Body;
use crate::server::COMMON_HEADERS;
use crate::socket::{Control, Socket, Stream};

/// A request whose connection can become a raw stream.
pub(crate) struct Hijack {
    upgrade: OnUpgrade,
    control: Arc<Control>,
}

impl Hijack {
    /// Takes it out of a request; none when the client did not ask for anything of the kind.
    pub(crate) fn of<B>(request: &mut Request<B>, control: Arc<Control>) -> Option<Self> {
        let upgrade = request.extensions_mut().remove::<OnUpgrade>()?;
        Some(Self { upgrade, control })
    }

    /// Tells whether the client asked without `Upgrade`, and so gets no `101`.
    pub(crate) fn is_legacy(&self) -> bool {
        self.control.is_legacy()
    }

    /// Answers: the head goes to the client, then the socket and what was read of it go to `then`.
    ///
    /// Whatever `then` owns is registered before the client sees the head, so it misses nothing.
    pub(crate) fn switch<F, T>(self, content_type: &str, then: F) -> Response<Body>
    where
        F: FnOnce(OwnedFd, Vec<u8>) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let head = head(self.is_legacy(), content_type);
        self.control.swallow_switch();
        tokio::spawn(async move {
            match leave_http(self.upgrade, &head).await {
                Ok((socket, early)) => then(socket, early).await,
                Err(error) => tracing::debug!(%error, "the client left before its stream began"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
        response
    }
}

/// Docker's head: `101 UPGRADED`, or `200 OK` without a length for those who did not ask for an upgrade.
fn head(legacy: bool, content_type: &str) -> String {
    let mut head = if legacy {
        format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n", api::RAW_STREAM)
    } else {
        format!(
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        )
    };
    for (name, value) in COMMON_HEADERS {
        write!(head, "{name}: {value}\r\n").expect("a String takes every write");
    }
    head.push_str("\r\n");
    head
}

async fn leave_http(upgrade: OnUpgrade, head: &str) -> io::Result<(OwnedFd, Vec<u8>)> {
    let upgraded: Upgraded = upgrade.await.map_err(io::Error::other)?;
    let parts = upgraded
        .downcast::<TokioIo<Socket>>()
        .map_err(|_| io::Error::other("the connection is not one of this server"))?;
    let (stream, rest) = parts.io.into_inner().into_parts();
    let mut early = parts.read_buf.to_vec();
    early.extend(rest);
    let socket = match stream {
        Stream::Unix(mut stream) => {
            stream.write_all(head.as_bytes()).await?;
            stream.into_std()?.into()
        }
        Stream::Tcp(mut stream) => {
            stream.write_all(head.as_bytes()).await?;
            stream.into_std()?.into()
        }
    };
    Ok((socket, early))
}

#[cfg(test)]
mod tests;
