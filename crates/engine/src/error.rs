//! What can go wrong, in the words that Docker's clients know.

use std::error::Error;
use std::fmt;

use types::Kind;

type Source = Box<dyn Error + Send + Sync>;

/// A failed request. Its text is what a client is shown.
///
/// One struct and not an enum: callers act on the [`Kind`] only, and the words are Docker's, which clients parse.
#[derive(Debug)]
pub struct EngineError {
    kind: Kind,
    message: String,
    source: Option<Source>,
    exit_code: Option<u8>,
}

impl EngineError {
    /// An error of a kind, with its whole text.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, exit_code: None }
    }

    /// The named object does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// The object's state forbids the request.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// A fault of the engine or of the machine.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Wraps the failure of another room: its text becomes the source.
    pub fn caused(
        kind: Kind,
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(source.into()), exit_code: None }
    }

    /// Hands on the failure of another room as it is: its words, its sources.
    pub fn room(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, message: String::new(), source: Some(source.into()), exit_code: None }
    }

    /// `No such container: NAME`.
    #[must_use]
    pub fn no_such_container(name: &str) -> Self {
        Self::not_found(format!("No such container: {name}"))
    }

    /// Adds the exit code that the container gets from this failure (126, 127 or 128).
    #[must_use]
    pub fn with_exit_code(mut self, code: u8) -> Self {
        self.exit_code = Some(code);
        self
    }

    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The exit code that a container or exec gets when it could not be started.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        self.exit_code
    }

    /// The whole text with every cause, for clients and logs.
    #[must_use]
    pub fn chain(&self) -> String {
        types::Chain(self).to_string()
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) if self.message.is_empty() => source.fmt(f),
            _ => f.write_str(&self.message),
        }
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.source.as_deref() {
            Some(source) if self.message.is_empty() => source.source(),
            other => other.map(|source| source as &(dyn Error + 'static)),
        }
    }
}

/// The result of an engine operation.
pub type Result<T> = std::result::Result<T, EngineError>;
