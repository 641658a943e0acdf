//! Failed requests: the one table from [`Kind`] to an HTTP status.

use api::filters::BadFilter;
use engine::EngineError;
use hyper::{Response, StatusCode, header};
use types::Kind;

use crate::body::Body;

/// Why a request is answered with an error.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

/// The result of a handler.
pub(crate) type Answer = Result<Response<Body>, Failure>;

impl Failure {
    /// A failure of a kind, in words for the client.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { status: status(kind), message: message.into() }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// No route fits.
    pub(crate) fn no_page() -> Self {
        Self::new(Kind::NotFound, "page not found")
    }

    /// The request is known and not served.
    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(Kind::NotImplemented, format!("{what} is not supported by Belljar"))
    }

    /// Anything that this machine or daemon did wrong.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// What the client is told.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Whether it is a fault of ours, which belongs in the log.
    pub(crate) fn is_ours(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR
    }

    /// The answer: Docker's error body, or nothing for `304`.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        if self.status != StatusCode::NOT_MODIFIED {
            *response.body_mut() = Body::Whole(api::ErrorBody::render(&self.message).into());
            let json = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        response
    }
}

/// The table.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::NotModified => StatusCode::NOT_MODIFIED,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::new(error.kind(), error.chain())
    }
}

impl From<engine::image::Error> for Failure {
    fn from(error: engine::image::Error) -> Self {
        Self::new(error.kind(), types::Chain(&error).to_string())
    }
}

impl From<BadFilter> for Failure {
    fn from(error: BadFilter) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<types::reference::ReferenceError> for Failure {
    fn from(error: types::reference::ReferenceError) -> Self {
        Self::invalid(types::Chain(&error).to_string())
    }
}
