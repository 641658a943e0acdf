//! Connections: accept, speak HTTP, answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::body::{Body, Keeping};
use crate::failure::Failure;
use crate::hijack::Hijack;
use crate::host::Host;
use crate::listen::Listener;
use crate::router;
use crate::settings::Settings;
use crate::socket::{Control, Socket, Stream};

/// Headers of every answer. The API version is checked against the table by a test.
pub(crate) const COMMON_HEADERS: [(&str, &str); 4] = [
    ("Api-Version", "1.51"),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", concat!("Belljar/", env!("CARGO_PKG_VERSION"), " (linux)")),
];

/// What every handler works with.
pub struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) settings: Settings,
    pub(crate) host: Host,
}

impl App {
    /// Puts a door before an engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>, settings: Settings) -> Arc<Self> {
        Arc::new(Self { engine, settings, host: Host::read() })
    }

    /// The images of the engine.
    pub(crate) fn images(&self) -> &engine::image::Images {
        self.engine.images()
    }
}

/// Accepts clients until the task ends.
pub(crate) async fn accept(listener: Listener, app: Arc<App>) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                tokio::spawn(serve(stream, Arc::clone(&app)));
            }
            Err(error) => {
                tracing::warn!(%error, "accept a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one client until it or its stream leaves.
pub async fn serve(stream: Stream, app: Arc<App>) {
    converse(stream, move |control, request| answer(Arc::clone(&app), control, request)).await;
}

/// Speaks HTTP with one client; `answer` makes the answers.
pub(crate) async fn converse<F, A>(stream: Stream, answer: F)
where
    F: Fn(Arc<Control>, Request<Incoming>) -> A,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let (socket, control) = Socket::new(stream);
    let service = service_fn(move |request| {
        let kept = control.begin();
        let answer = answer(Arc::clone(&control), request);
        async move { Ok::<_, Infallible>(answer.await.map(|body| Keeping { body, _kept: kept })) }
    });
    let connection = http1::Builder::new()
        .title_case_headers(true)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "serve a client");
    }
}

/// Answers a request. The handler is a task of its own: it is not cut in half when its client goes, and its panic is not ours.
async fn answer(
    app: Arc<App>,
    control: Arc<Control>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let hijack = Hijack::of(&mut request, control);
    let (head, body) = request.into_parts();
    let line = (head.method.clone(), head.uri.clone());
    let handler = tokio::spawn(router::dispatch(app, head, body, hijack));
    let answer = handler.await.unwrap_or_else(|_| {
        Err(Failure::internal("a bug in belljard: the handler panicked; its log tells where"))
    });
    let mut response = answer.unwrap_or_else(|failure| {
        let (method, path) = (line.0.as_str(), line.1.path());
        if failure.is_ours() {
            tracing::error!(method, path, "{}", failure.message());
        } else {
            tracing::debug!(method, path, "{}", failure.message());
        }
        failure.into_response()
    });
    for (name, value) in COMMON_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_the_table_says() {
        assert_eq!(COMMON_HEADERS[0].1, api::version::MAX.to_string());
    }
}
