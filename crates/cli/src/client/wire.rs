//! Pieces of requests and answers.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::document::Document;
use crate::error::CommandError;

/// What Go's `url.QueryEscape` leaves alone.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What may stand in a path as it is.
const PATH: &AsciiSet = &QUERY.remove(b'/').remove(b':').remove(b'@');

/// A name as part of a path; slashes and colons of image names stay.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, PATH).to_string()
}

/// The query of a request, built in order.
#[derive(Default)]
pub(crate) struct Query(String);

impl Query {
    /// An empty query.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds `key=value`.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(key);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, QUERY));
        self
    }

    /// Adds `key=value` unless the value is empty.
    pub(crate) fn with_some(self, key: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(key, value) }
    }

    /// Adds `key=1` if `on`.
    pub(crate) fn with_flag(self, key: &str, on: bool) -> Self {
        if on { self.with(key, "1") } else { self }
    }

    /// The path `base` with this query.
    pub(crate) fn on(self, base: &str) -> String {
        format!("{base}{}", self.0)
    }
}

/// The failure of a connection, in the client's words.
pub(super) fn transport(error: hyper::Error) -> CommandError {
    if error.is_canceled() || error.is_incomplete_message() {
        return CommandError::Transport("the daemon closed the connection".into());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    CommandError::Transport(text)
}

/// Reads the engine's message from an answer of status 400 or above.
pub(super) async fn error_of(response: Response<Incoming>) -> CommandError {
    let status = response.status();
    let bytes = match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return transport(error),
    };
    let message = match Document::parse(&bytes).text("message") {
        "" => match std::str::from_utf8(&bytes).map(str::trim) {
            Ok("") | Err(_) => status.canonical_reason().unwrap_or("unknown error").to_owned(),
            Ok(text) => text.to_owned(),
        },
        message => message.to_owned(),
    };
    CommandError::Api { status: status.as_u16(), message }
}

/// The JSON documents of a stream, one by one.
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
}

impl Lines {
    /// The documents of `response`.
    pub(crate) fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), buffer: BytesMut::new() }
    }

    /// The next document; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Document>, CommandError> {
        loop {
            if let Some(document) = self.buffered()? {
                return Ok(Some(document));
            }
            match next_chunk(&mut self.body).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }

    /// Takes one document off the buffer, if a whole one is there.
    fn buffered(&mut self) -> Result<Option<Document>, CommandError> {
        let mut documents =
            serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Document>();
        match documents.next() {
            None => Ok(None),
            Some(Ok(document)) => {
                let used = documents.byte_offset();
                self.buffer.advance(used);
                Ok(Some(document))
            }
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(error)) => {
                Err(CommandError::Transport(format!("parse the daemon's stream: {error}")))
            }
        }
    }
}

/// The next piece of a body; none at its end.
pub(crate) async fn next_chunk(body: &mut Incoming) -> Result<Option<Bytes>, CommandError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(transport)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped_as_go_escapes_them() {
        let query = Query::new()
            .with("filters", r#"{"label":{"x":true}}"#)
            .with_flag("all", true)
            .with_some("x", "");
        assert_eq!(
            query.on("/containers/json"),
            "/containers/json?filters=%7B%22label%22%3A%7B%22x%22%3Atrue%7D%7D&all=1"
        );
        assert_eq!(segment("localhost:5000/a/b:tag"), "localhost:5000/a/b:tag");
        assert_eq!(segment("a b?c#"), "a%20b%3Fc%23");
    }
}
