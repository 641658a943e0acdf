use std::io;
use std::path::{Path, PathBuf};

use types::Kind;

/// Why a layer or an archive could not be unpacked or packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An entry asks for what no layer may have.
    #[error("unpack `{layer}`: refuse entry `{entry}`: {reason}")]
    Refused {
        /// What the caller calls the layer or archive.
        layer: String,
        /// The entry's name, shortened when long.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The stream is no tar, or it breaks off.
    #[error("unpack `{layer}`: bad tar after entry `{after}`: {reason}")]
    Malformed {
        /// What the caller calls the layer or archive.
        layer: String,
        /// The last entry that could be read; empty at the start.
        after: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The stream could not be read or decompressed to its end.
    #[error("unpack `{layer}`: read the stream after entry `{after}`")]
    Input {
        /// What the caller calls the layer or archive.
        layer: String,
        /// The last entry that could be read; empty at the start.
        after: String,
        /// Why not.
        source: io::Error,
    },
    /// The stream is compressed in a way that is not supported.
    #[error("unpack `{layer}`: {format} compression is not supported")]
    Compression {
        /// What the caller calls the layer or archive.
        layer: String,
        /// `bzip2` or `xz`.
        format: &'static str,
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
    /// The path of a `docker cp` does not exist.
    #[error("find `{path}`")]
    Missing {
        /// The path inside the container.
        path: PathBuf,
    },
    /// The target of a `docker cp` is no directory.
    #[error("unpack into `{path}`: extraction point is not a directory")]
    NotDirectory {
        /// The path inside the container.
        path: PathBuf,
    },
    /// A file of an upper directory has a name that would turn into a whiteout.
    #[error("pack `{path}`: its name is reserved for whiteouts")]
    Reserved {
        /// The file.
        path: PathBuf,
    },
    /// The receiver of the tar failed.
    #[error("write the tar")]
    Output {
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { .. }
            | Self::Malformed { .. }
            | Self::Input { .. }
            | Self::Compression { .. }
            | Self::NotDirectory { .. }
            | Self::Reserved { .. } => Kind::Invalid,
            Self::Missing { .. } => Kind::NotFound,
            Self::Disk { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Kind::Denied
            }
            Self::Disk { .. } | Self::Output { .. } => Kind::Internal,
        }
    }

    pub(crate) fn disk<E: Into<io::Error>>(
        verb: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Disk { verb, path, source: source.into() }
    }

    pub(crate) fn output(source: io::Error) -> Self {
        Self::Output { source }
    }
}

/// Prints a name from a tar for a person: escaped, and at most some 200 characters.
pub(crate) fn printable(name: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(&name[..name.len().min(4 * MOST)]);
    let mut shown: String = text.escape_debug().take(MOST).collect();
    if text.chars().count() > MOST || name.len() > 4 * MOST {
        shown.push('…');
    }
    shown
}
