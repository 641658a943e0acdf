//! The Engine API over one socket.
//!
//! No ping: requests carry [`API_VERSION`] in their path, and only an engine that answers "client version … is too new" costs a
//! second round trip, after which its version is used. A connection that has been read to its end is used again.

mod endpoint;
mod hijack;
pub(crate) mod upload;
mod wire;

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, Response, StatusCode, header};
use serde::Serialize;

pub(crate) use endpoint::Endpoint;
pub(crate) use hijack::{Hijacked, Socket};
pub(crate) use wire::{Lines, Query, next_chunk, segment};

use crate::document::Document;
use crate::error::CommandError;

/// The Engine API version that this client speaks.
pub(crate) const API_VERSION: &str = "1.50";

/// What a request carries.
pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// One engine.
pub(crate) struct Client {
    endpoint: Endpoint,
    version: RefCell<String>,
    settled: Cell<bool>,
    idle: RefCell<Option<SendRequest<Body>>>,
}

/// One request before it is sent.
pub(crate) struct Call<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    content_type: Option<&'static str>,
}

impl<'a> Call<'a> {
    /// A request without a body.
    pub(crate) fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, headers: Vec::new(), body: Bytes::new(), content_type: None }
    }

    /// Adds a JSON body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).unwrap_or_default().into();
        self.content_type = Some("application/json");
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn full(bytes: Bytes) -> Body {
    if bytes.is_empty() {
        empty()
    } else {
        Full::new(bytes).map_err(|never| match never {}).boxed()
    }
}

impl Client {
    /// A client of the engine at `endpoint`; nothing is opened yet.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            version: RefCell::new(API_VERSION.to_owned()),
            settled: Cell::new(false),
            idle: RefCell::new(None),
        }
    }

    /// A client of the same engine that does not start it.
    pub(crate) fn as_it_is(&self) -> Self {
        Self::new(self.endpoint.as_it_is())
    }

    /// The version that requests carry now.
    pub(crate) fn version(&self) -> String {
        self.version.borrow().clone()
    }

    async fn connection(&self) -> Result<SendRequest<Body>, CommandError> {
        let idle = self.idle.borrow_mut().take();
        match idle {
            Some(sender) if sender.is_ready() => Ok(sender),
            _ => self.endpoint.handshake().await,
        }
    }

    fn request(&self, call: &Call<'_>, body: Body) -> Result<Request<Body>, CommandError> {
        let uri = format!("/v{}{}", self.version.borrow(), call.path);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(uri)
            .header(header::HOST, "api.moby.localhost")
            .header(
                header::USER_AGENT,
                concat!("Belljar-Client/", env!("CARGO_PKG_VERSION"), " (linux)"),
            );
        if let Some(kind) = call.content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        request.body(body).map_err(|error| CommandError::Transport(error.to_string()))
    }

    /// Sends `call` and returns the answer's head with the connection it came on; the body is not read yet.
    async fn exchange(
        &self,
        call: &Call<'_>,
    ) -> Result<(Response<Incoming>, SendRequest<Body>), CommandError> {
        loop {
            let mut sender = self.connection().await?;
            let request = self.request(call, full(call.body.clone()))?;
            let response = sender.send_request(request).await.map_err(wire::transport)?;
            if response.status() == StatusCode::BAD_REQUEST && !self.settled.get() {
                let error = wire::error_of(response).await;
                if self.adopt_version(&error) {
                    continue;
                }
                return Err(error);
            }
            self.settled.set(true);
            if response.status().is_client_error() || response.status().is_server_error() {
                let error = wire::error_of(response).await;
                self.idle.replace(Some(sender));
                return Err(error);
            }
            return Ok((response, sender));
        }
    }

    /// Takes the version that the engine's refusal names; returns whether there was one.
    fn adopt_version(&self, error: &CommandError) -> bool {
        let CommandError::Api { message, .. } = error else {
            return false;
        };
        if !message.contains("is too new") && !message.contains("is too old") {
            return false;
        }
        let Some((_, rest)) = message.split_once("supported API version is ") else {
            return false;
        };
        let version: String =
            rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        self.settled.set(true);
        self.version.replace(version.trim_end_matches('.').to_owned());
        true
    }

    /// Asks the engine which version it speaks, once; needed before a body that cannot be sent twice.
    async fn settle(&self) -> Result<(), CommandError> {
        if self.settled.get() {
            return Ok(());
        }
        let result = self.send(Call::new(Method::HEAD, "/_ping")).await;
        result.map(drop)
    }

    /// Sends `call` and reads the answer to its end.
    ///
    /// # Errors
    /// The engine's own message for every status of 400 and above.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Reply, CommandError> {
        let (response, sender) = self.exchange(&call).await?;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.map_err(wire::transport)?.to_bytes();
        self.idle.replace(Some(sender));
        Ok(Reply { headers: head.headers, bytes })
    }

    /// `GET path` as a document.
    pub(crate) async fn get(&self, path: &str) -> Result<Document, CommandError> {
        Ok(self.send(Call::new(Method::GET, path)).await?.document())
    }

    /// `POST path` without a body.
    pub(crate) async fn post(&self, path: &str) -> Result<Document, CommandError> {
        Ok(self.send(Call::new(Method::POST, path)).await?.document())
    }

    /// `POST path` with a JSON body.
    pub(crate) async fn post_json(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Document, CommandError> {
        Ok(self.send(Call::new(Method::POST, path).json(body)).await?.document())
    }

    /// `DELETE path`.
    pub(crate) async fn delete(&self, path: &str) -> Result<Document, CommandError> {
        Ok(self.send(Call::new(Method::DELETE, path)).await?.document())
    }

    /// Sends `call` and returns as soon as the head is there; the body follows as a stream.
    pub(crate) async fn stream(&self, call: Call<'_>) -> Result<Response<Incoming>, CommandError> {
        Ok(self.exchange(&call).await?.0)
    }

    /// Sends `method path` with a body that is produced while it is sent.
    pub(crate) async fn upload(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>, CommandError> {
        self.settle().await?;
        let call = Call { content_type: Some("application/x-tar"), ..Call::new(method, path) };
        let mut sender = self.connection().await?;
        let request = self.request(&call, body)?;
        let response = sender.send_request(request).await.map_err(wire::transport)?;
        if response.status().as_u16() >= 400 {
            return Err(wire::error_of(response).await);
        }
        Ok(response)
    }

    /// Turns the connection of `POST path` into a raw stream.
    pub(crate) async fn hijack(
        &self,
        path: &str,
        body: Option<&Document>,
    ) -> Result<Hijacked, CommandError> {
        let mut call = Call::new(Method::POST, path)
            .header("Connection", "Upgrade".into())
            .header("Upgrade", "tcp".into());
        match body {
            Some(body) => call = call.json(body),
            None => call.content_type = Some("text/plain"),
        }
        let (response, _sender) = self.exchange(&call).await?;
        hijack::upgrade(response).await
    }
}

/// An answer that was read to its end.
pub(crate) struct Reply {
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Reply {
    /// The body as a document.
    pub(crate) fn document(&self) -> Document {
        Document::parse(&self.bytes)
    }
}
