use std::sync::Arc;

/// One line of a pull's or load's progress: Docker's `jsonmessage` (Engine API v1.51 `POST /images/create`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The layer's first 12 digits, or the tag for `Pulling from …`.
    pub id: Option<String>,
    /// `Pulling fs layer`, `Downloading`, `Pull complete`, `Digest: sha256:…`.
    pub status: String,
    /// Bytes done and bytes in all, where something is counted.
    pub counter: Option<Counter>,
}

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Bytes done.
    pub current: u64,
    /// Bytes in all; 0 if unknown.
    pub total: u64,
}

impl Progress {
    pub(crate) fn plain(status: impl Into<String>) -> Self {
        Self { id: None, status: status.into(), counter: None }
    }

    pub(crate) fn of(id: &str, status: impl Into<String>) -> Self {
        Self { id: Some(id.to_owned()), status: status.into(), counter: None }
    }

    pub(crate) fn counted(id: &str, status: &str, current: u64, total: u64) -> Self {
        let counter = Some(Counter { current, total });
        Self { id: Some(id.to_owned()), status: status.to_owned(), counter }
    }
}

/// Where progress goes; called from several threads.
pub(crate) type Sink = Arc<dyn Fn(Progress) + Send + Sync>;
