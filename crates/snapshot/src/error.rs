use std::io;
use std::path::{Path, PathBuf};

use types::{ChainId, ContainerId, Kind};

/// Why a layer or a container's file system could not be made, mounted or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The layer is not here.
    #[error("find layer `{chain}`")]
    NoLayer {
        /// The layer asked for.
        chain: ChainId,
    },
    /// The container has no file system here.
    #[error("find the file system of container `{id}`")]
    NoContainer {
        /// The container asked for.
        id: ContainerId,
    },
    /// The container has a file system already.
    #[error("prepare the file system of container `{id}`: it exists")]
    Exists {
        /// The container in question.
        id: ContainerId,
    },
    /// The layer is needed.
    #[error("remove layer `{chain}`: {user} uses it")]
    InUse {
        /// The layer in question.
        chain: ChainId,
        /// Who needs it.
        user: String,
    },
    /// The kernel would not mount the overlay.
    #[error("mount overlay at `{path}`{said}")]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// What the kernel said beyond the error number; empty or `: …`.
        said: String,
        /// Why not.
        source: io::Error,
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
            Self::NoLayer { .. } | Self::NoContainer { .. } => Kind::NotFound,
            Self::Exists { .. } | Self::InUse { .. } => Kind::Conflict,
            Self::Mount { .. } | Self::Disk { .. } => Kind::Internal,
        }
    }

    pub(crate) fn at<E: Into<io::Error>>(
        verb: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { verb, path, source: source.into() }
    }
}
