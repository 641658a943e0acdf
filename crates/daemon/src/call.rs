//! One request on its way to a handler.

use std::sync::Arc;

use api::query::Query;
use api::version::ApiVersion;
use bytes::Bytes;
use engine::{Engine, Filters, Timestamp};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use types::Kind;

use crate::body::Body;
use crate::failure::{Answer, Failure};
use crate::hijack::Hijack;
use crate::server::App;

/// The largest JSON body.
const MAX_JSON: usize = 16 << 20;
/// Pieces of an uploaded archive that wait between the socket and its reader.
const UPLOAD_DEPTH: usize = 8;

/// A request, and what a handler needs to answer it.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) version: ApiVersion,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
    pub(crate) hijack: Option<Hijack>,
}

impl Call {
    /// The engine.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.app.engine
    }

    /// Reads the body as JSON. An absent body is an error, as in Docker.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        match self.optional_json().await? {
            Some(value) => Ok(value),
            None => Err(Failure::invalid("invalid JSON: got EOF while reading request body")),
        }
    }

    /// Reads the body as JSON, if there is one.
    pub(crate) async fn optional_json<T: DeserializeOwned>(self) -> Result<Option<T>, Failure> {
        let kind = self.headers.get(header::CONTENT_TYPE).map(|v| v.as_bytes().to_vec());
        let bytes = read(self.body).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        check_json_type(kind.as_deref())?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Failure::invalid(format!("invalid JSON: {error}")))
    }

    /// Reads the `filters` parameter.
    pub(crate) fn filters(&self) -> Result<Filters, Failure> {
        Ok(Filters::parse(self.query.text("filters"))?)
    }

    /// Reads a number of the query; a text that is none is an error.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.query.number(name).map_err(Failure::invalid)
    }

    /// Reads a time of the query; absent, empty and `0` are none.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        let text = self.query.text(name);
        if matches!(text, "" | "0") {
            return Ok(None);
        }
        let now = api::time::nanos(std::time::SystemTime::now());
        let time = api::time::parse(text, now).and_then(|n| Timestamp::from_nanosecond(n).ok());
        let wrong = || Failure::invalid(format!("invalid value for \"{name}\": {text}"));
        time.map(Some).ok_or_else(wrong)
    }

    /// Passes the body on piece by piece.
    pub(crate) fn upload(self) -> mpsc::Receiver<std::io::Result<Bytes>> {
        let (pieces, receiver) = mpsc::channel(UPLOAD_DEPTH);
        tokio::spawn(pump(self.body, pieces));
        receiver
    }
}

async fn pump(mut body: Incoming, pieces: mpsc::Sender<std::io::Result<Bytes>>) {
    while let Some(frame) = body.frame().await {
        let piece = match frame {
            Ok(frame) => match frame.into_data() {
                Ok(bytes) => Ok(bytes),
                Err(_) => continue,
            },
            Err(error) => Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, error)),
        };
        if pieces.send(piece).await.is_err() {
            return;
        }
    }
}

async fn read(body: Incoming) -> Result<Bytes, Failure> {
    match Limited::new(body, MAX_JSON).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Failure::invalid(format!("the request body is larger than {MAX_JSON} bytes")))
        }
        Err(error) => Err(Failure::invalid(format!("read the request body: {error}"))),
    }
}

fn check_json_type(kind: Option<&[u8]>) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(kind.unwrap_or_default());
    match text.split(';').next().unwrap_or_default().trim() {
        "application/json" => Ok(()),
        _ if kind.is_none() => {
            Err(Failure::invalid("unsupported Content-Type header: must be 'application/json'"))
        }
        _ => Err(Failure::invalid(format!(
            "unsupported Content-Type header ({text}): must be 'application/json'"
        ))),
    }
}

/// Answers with JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let mut bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::new(Kind::Internal, format!("render the answer: {error}")))?;
    bytes.push(b'\n');
    Ok(typed(status, "application/json", Body::Whole(bytes.into())))
}

/// Answers `200` with JSON.
pub(crate) fn ok<T: Serialize>(value: &T) -> Answer {
    json(StatusCode::OK, value)
}

/// Answers without a body.
pub(crate) fn bare(status: StatusCode) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Ok(response)
}

/// Answers `204`.
pub(crate) fn done() -> Answer {
    bare(StatusCode::NO_CONTENT)
}

/// Answers with a body of a content type.
pub(crate) fn typed(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
