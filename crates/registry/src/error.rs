use std::fmt;

use types::{Digest, Kind};

/// What a registry said when it refused (distribution-spec `#error-codes`): `manifest unknown: manifest unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error code, `MANIFEST_UNKNOWN`; empty if the body gave none.
    pub code: String,
    /// The registry's words.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            return write!(f, "registry answered with status {}", self.status);
        }
        let code = self.code.to_lowercase().replace('_', " ");
        write!(f, "{code}: {}", self.message)
    }
}

impl std::error::Error for Refusal {}

/// Why something could not be had from a registry; the words are Docker's where its clients read them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client cannot be set up.
    #[error("set up the registry client: {reason}")]
    Setup {
        /// What is wrong with the options or the machine.
        reason: String,
    },
    /// No connection, or a broken one, after several attempts.
    #[error("{verb} `{url}`")]
    Unreachable {
        /// What was tried.
        verb: &'static str,
        /// The address without its query.
        url: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The repository is not there, or not for this user.
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login'"
    )]
    Denied {
        /// The repository as users write it.
        name: String,
        /// The registry's words.
        source: Refusal,
    },
    /// The repository has no such tag or manifest.
    #[error("manifest for {reference} not found")]
    ManifestUnknown {
        /// The reference as users write it.
        reference: String,
        /// The registry's words.
        source: Refusal,
    },
    /// The registry does not have a blob that its manifest names.
    #[error("fetch blob `{digest}`")]
    BlobUnknown {
        /// The blob.
        digest: Digest,
        /// The registry's words.
        source: Refusal,
    },
    /// The credentials are wrong.
    #[error("unauthorized: incorrect username or password for `{registry}`")]
    Unauthorized {
        /// The registry's host.
        registry: String,
        /// The registry's words.
        source: Refusal,
    },
    /// The registry wants basic authentication and there are no credentials.
    #[error("get `{url}`: no basic auth credentials")]
    NoCredentials {
        /// The address.
        url: String,
    },
    /// Too many requests, for longer than is worth waiting.
    #[error("too many requests to `{registry}`")]
    TooManyRequests {
        /// The registry's host.
        registry: String,
        /// The registry's words.
        source: Refusal,
    },
    /// Any other status.
    #[error("{verb} `{url}`")]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// The address without its query.
        url: String,
        /// The registry's words.
        source: Refusal,
    },
    /// The answer breaks the protocol or leads somewhere it must not.
    #[error("answer of `{url}`: {reason}")]
    Protocol {
        /// The address without its query.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A document is longer than allowed.
    #[error("answer of `{url}` is longer than {max_bytes} bytes")]
    TooLarge {
        /// The address without its query.
        url: String,
        /// The bound.
        max_bytes: usize,
    },
    /// A manifest does not have the digest that was asked for.
    #[error("manifest verification failed for digest {expected}: got {actual}")]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A blob ended early or went on too long.
    #[error("blob `{digest}`: {actual} bytes where {expected} were promised")]
    WrongLength {
        /// The blob.
        digest: Digest,
        /// Bytes promised by its descriptor.
        expected: u64,
        /// Bytes that came.
        actual: u64,
    },
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Denied { .. } | Self::ManifestUnknown { .. } | Self::BlobUnknown { .. } => {
                Kind::NotFound
            }
            Self::Unauthorized { .. } | Self::NoCredentials { .. } => Kind::Unauthorized,
            Self::Unreachable { .. } | Self::TooManyRequests { .. } => Kind::Unavailable,
            Self::Refused { source, .. } if source.status >= 500 => Kind::Unavailable,
            Self::Refused { .. }
            | Self::Protocol { .. }
            | Self::TooLarge { .. }
            | Self::WrongDigest { .. }
            | Self::WrongLength { .. } => Kind::Invalid,
            Self::Setup { .. } => Kind::Internal,
        }
    }
}
