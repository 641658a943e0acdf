use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use types::Kind;

/// Why a record could not be written, removed or listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// The value has no JSON form.
    #[error("encode record `{key}`")]
    Encode {
        /// The record's key.
        key: String,
        /// Why not.
        source: serde_json::Error,
    },
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::Internal
    }

    pub(crate) fn at(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { verb, path, source }
    }
}

/// A record that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Where the record is now: `<file>.damaged`, or its old place when it could not be renamed.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged record `{}`: {}", self.path.display(), self.why)
    }
}
