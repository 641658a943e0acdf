use std::io;
use std::path::PathBuf;

use types::reference::ReferenceError;
use types::{ContainerId, DiffId, Digest, ImageId, Kind};

/// Why an image operation failed; the words are Docker's where its clients read them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is known by that name or id.
    #[error("No such image: {name}")]
    NotFound {
        /// What was asked for, with its tag.
        name: String,
    },
    /// The name is no image name.
    #[error(transparent)]
    Name {
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// The start of an id fits several images.
    #[error("ambiguous image id prefix `{prefix}`")]
    Ambiguous {
        /// The prefix.
        prefix: String,
    },
    /// A name cannot be taken off an image whose container would lose its last name.
    #[error(
        "conflict: unable to remove repository reference {name:?} (must force) - container {} is using its referenced image {}",
        container.short(), id.0.short()
    )]
    NameInUse {
        /// The name as asked.
        name: String,
        /// Who uses it.
        container: ContainerId,
        /// The image.
        id: ImageId,
    },
    /// An image cannot be deleted.
    #[error(
        "conflict: unable to delete {} ({}) - {reason}",
        id.0.short(), if *hard { "cannot be forced" } else { "must be forced" }
    )]
    InUse {
        /// The image.
        id: ImageId,
        /// Whether even force does not help.
        hard: bool,
        /// Why.
        reason: String,
    },
    /// The index has no image for the platform.
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoPlatform {
        /// What was looked for.
        platform: String,
    },
    /// The image is for another platform than the one asked for.
    #[error(
        "image with reference {reference} was found but does not provide the specified platform ({wanted}): it is for {actual}"
    )]
    WrongPlatform {
        /// The reference as users write it.
        reference: String,
        /// The platform asked for.
        wanted: String,
        /// The image's platform.
        actual: String,
    },
    /// A manifest, index or config breaks the rules.
    #[error("{document} `{digest}`: {reason}")]
    Document {
        /// `manifest`, `index` or `config`.
        document: &'static str,
        /// Which.
        digest: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A blob does not have the digest that its manifest promises.
    #[error("filesystem layer verification failed for digest {digest}")]
    Verification {
        /// The blob.
        digest: Digest,
        /// What came instead.
        source: content::Error,
    },
    /// A layer unpacks to other bytes than the config promises.
    #[error("layer `{layer}` unpacks to {actual}, its config promises {expected}")]
    WrongDiffId {
        /// The compressed blob.
        layer: Digest,
        /// What the config says.
        expected: DiffId,
        /// What came out.
        actual: DiffId,
    },
    /// An archive breaks the rules.
    #[error("archive: {reason}")]
    Archive {
        /// What is wrong, with the entry named.
        reason: String,
    },
    /// An archive cannot be read to its end.
    #[error("read archive")]
    ReadArchive {
        /// Why not.
        source: io::Error,
    },
    /// An archive cannot be written.
    #[error("write archive")]
    WriteArchive {
        /// Why not.
        source: io::Error,
    },
    /// A change instruction is none.
    #[error("{reason}")]
    Change {
        /// What is wrong with it.
        reason: String,
    },
    /// The container has no file system here.
    #[error("No such container: {container}")]
    NoContainer {
        /// Which.
        container: ContainerId,
    },
    /// The spool directory refused.
    #[error("{verb} `{path}`")]
    Spool {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The registry refused or could not be asked.
    #[error(transparent)]
    Registry {
        /// Its words.
        source: registry::Error,
    },
    /// The blob store refused.
    #[error(transparent)]
    Content {
        /// Why.
        source: content::Error,
    },
    /// The layer store refused.
    #[error(transparent)]
    Snapshot {
        /// Why.
        source: snapshot::Error,
    },
    /// A layer could not be unpacked or packed.
    #[error(transparent)]
    Layer {
        /// Why, with layer and entry named.
        source: layer::Error,
    },
    /// The record could not be written.
    #[error(transparent)]
    Db {
        /// Why.
        source: db::Error,
    },
    /// The work was given up: its thread ended or its client went away.
    #[error("image work was given up")]
    Abandoned,
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } | Self::NoPlatform { .. } | Self::NoContainer { .. } => {
                Kind::NotFound
            }
            Self::WrongPlatform { .. } => Kind::NotFound,
            Self::NameInUse { .. } | Self::InUse { .. } => Kind::Conflict,
            Self::Name { .. }
            | Self::Ambiguous { .. }
            | Self::Document { .. }
            | Self::Verification { .. }
            | Self::WrongDiffId { .. }
            | Self::Archive { .. }
            | Self::ReadArchive { .. }
            | Self::Change { .. } => Kind::Invalid,
            Self::Registry { source } => source.kind(),
            Self::Content { source } => source.kind(),
            Self::Snapshot { source } => source.kind(),
            Self::Layer { source } => source.kind(),
            Self::Db { source } => source.kind(),
            Self::Spool { .. } | Self::WriteArchive { .. } | Self::Abandoned => Kind::Internal,
        }
    }

    pub(crate) fn registry(source: registry::Error) -> Self {
        Self::Registry { source }
    }

    pub(crate) fn content(source: content::Error) -> Self {
        Self::Content { source }
    }

    pub(crate) fn snapshot(source: snapshot::Error) -> Self {
        Self::Snapshot { source }
    }

    pub(crate) fn layer(source: layer::Error) -> Self {
        Self::Layer { source }
    }

    pub(crate) fn db(source: db::Error) -> Self {
        Self::Db { source }
    }

    pub(crate) fn archive(reason: impl Into<String>) -> Self {
        Self::Archive { reason: reason.into() }
    }

    pub(crate) fn document(document: &'static str, digest: &Digest, reason: impl ToString) -> Self {
        Self::Document { document, digest: digest.clone(), reason: reason.to_string() }
    }
}
