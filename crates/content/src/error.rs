use std::io;
use std::path::{Path, PathBuf};

use types::{Digest, Kind};

/// Why the blob store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The blob is not in the store.
    #[error("find blob `{digest}`")]
    Missing {
        /// The blob asked for.
        digest: Digest,
    },
    /// Another ingest of the same blob is open.
    #[error("ingest `{digest}`: another ingest of it is open")]
    Busy {
        /// The blob in question.
        digest: Digest,
    },
    /// The blob is longer than the caller takes.
    #[error("read blob `{digest}`: longer than {max_bytes} bytes")]
    TooLong {
        /// The blob in question.
        digest: Digest,
        /// The caller's bound.
        max_bytes: u64,
    },
    /// The bytes do not hash to the digest they were promised under.
    #[error("verify blob `{expected}`: got `{actual}`")]
    WrongDigest {
        /// The digest promised.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// The blob's length is not the promised one.
    #[error("verify blob `{digest}`: {actual} bytes instead of {expected}")]
    WrongLength {
        /// The blob in question.
        digest: Digest,
        /// The length promised.
        expected: u64,
        /// The bytes that came.
        actual: u64,
    },
    /// The disk refused.
    #[error("{verb} `{path}`")]
    Disk {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::NotFound,
            Self::Busy { .. } => Kind::Conflict,
            Self::TooLong { .. } | Self::WrongDigest { .. } | Self::WrongLength { .. } => {
                Kind::Invalid
            }
            Self::Disk { .. } => Kind::Internal,
        }
    }

    pub(crate) fn at(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { verb, path, source }
    }
}
