//! Layer directories and container file systems: the sole writer of `<data-root>/overlay2`.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use types::{ChainId, ContainerId, DiffId, Kind};

/// Why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The layer or container is not here.
    #[error("find `{object}`")]
    Missing {
        /// Which.
        object: String,
    },
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::NotFound
    }
}

/// One image layer as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// The layer and everything below it.
    pub chain: ChainId,
    /// The 64 hexadecimal digits that name its directory.
    pub cache_id: String,
    /// The layer below.
    pub parent: Option<ChainId>,
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// The bytes of its regular files.
    pub bytes: u64,
    /// Its `diff` directory.
    pub diff: PathBuf,
}

/// What is known of a layer when it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerMeta {
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// The bytes of its regular files.
    pub bytes: u64,
}

/// The directories of one container's file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFs {
    /// The init layer, then the image's layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// overlayfs' own room.
    pub work: PathBuf,
    /// Where the whole is mounted.
    pub merged: PathBuf,
}

/// One thing of a container's init layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitEntry {
    /// A directory and its parents, mode 0755.
    Directory(PathBuf),
    /// An empty file to mount upon, mode 0755.
    File(PathBuf),
    /// A symbolic link.
    Symlink {
        /// The link's own path.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
}

impl InitEntry {
    /// The entries of Docker's init layer.
    #[must_use]
    pub fn docker() -> Vec<Self> {
        Vec::new()
    }
}

/// A layer being filled; dropping it uncommitted removes it.
#[derive(Debug)]
pub struct LayerDraft {
    directory: PathBuf,
}

impl LayerDraft {
    /// Returns the directory to unpack into.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.directory
    }

    /// Makes the draft a layer, durably. When another draft of the same chain was committed meanwhile, that one is kept and returned.
    ///
    /// # Errors
    /// `Internal` when the disk refuses.
    pub fn commit(self, meta: LayerMeta) -> Result<LayerInfo, Error> {
        let _ = meta;
        Err(Error::Missing { object: String::new() })
    }
}

/// The layers and container file systems of one data root.
#[derive(Clone, Debug)]
pub struct Store {}

#[expect(clippy::unused_self, reason = "published ahead of its body")]
impl Store {
    /// Opens the store below `root` and sweeps what a crash left half made.
    ///
    /// # Errors
    /// `Internal`, naming the path.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        let _ = root;
        Ok(Self {})
    }
    /// Tells whether the layer is here.
    #[must_use]
    pub fn has(&self, chain: &ChainId) -> bool {
        let _ = chain;
        false
    }
    /// Begins a layer on top of `parent`.
    ///
    /// # Errors
    /// `NotFound` when the parent is not here; `Internal`.
    pub fn begin_layer(
        &self,
        chain: &ChainId,
        parent: Option<&ChainId>,
    ) -> Result<LayerDraft, Error> {
        let _ = parent;
        Err(Error::Missing { object: chain.to_string() })
    }
    /// Returns what is known of a layer.
    #[must_use]
    pub fn layer(&self, chain: &ChainId) -> Option<LayerInfo> {
        let _ = chain;
        None
    }
    /// Returns the layers of a chain, topmost first.
    #[must_use]
    pub fn stack(&self, chain: &ChainId) -> Vec<LayerInfo> {
        let _ = chain;
        Vec::new()
    }
    /// Lists the layers.
    #[must_use]
    pub fn layers(&self) -> Vec<LayerInfo> {
        Vec::new()
    }
    /// Lists the containers that have a file system here.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerId> {
        Vec::new()
    }
    /// Removes a layer.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while a child or a container uses it; `Internal`.
    pub fn remove_layer(&self, chain: &ChainId) -> Result<(), Error> {
        Err(Error::Missing { object: chain.to_string() })
    }
    /// Makes a container's file system on top of the layer `top`.
    ///
    /// # Errors
    /// `NotFound` when `top` is not here; `Conflict` when the container has one already; `Internal`.
    pub fn prepare(
        &self,
        id: &ContainerId,
        top: Option<&ChainId>,
        init: &[InitEntry],
    ) -> Result<ContainerFs, Error> {
        let _ = (top, init);
        Err(Error::Missing { object: id.to_string() })
    }
    /// Returns the directories of a container's file system.
    #[must_use]
    pub fn container(&self, id: &ContainerId) -> Option<ContainerFs> {
        let _ = id;
        None
    }
    /// Mounts a container's file system at its `merged` directory; one that is mounted already is fine.
    ///
    /// # Errors
    /// `NotFound`; `Internal`.
    pub fn mount(&self, id: &ContainerId) -> Result<PathBuf, Error> {
        Err(Error::Missing { object: id.to_string() })
    }
    /// Unmounts a container's file system; one that is not mounted is fine.
    ///
    /// # Errors
    /// `NotFound`; `Internal`.
    pub fn unmount(&self, id: &ContainerId) -> Result<(), Error> {
        Err(Error::Missing { object: id.to_string() })
    }
    /// Unmounts and removes a container's file system; one that is not here is fine.
    ///
    /// # Errors
    /// `Internal`.
    pub fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        Err(Error::Missing { object: id.to_string() })
    }
    /// Returns the bytes of the regular files in a container's upper directory.
    ///
    /// # Errors
    /// `NotFound`; `Internal`.
    pub fn usage(&self, id: &ContainerId) -> Result<u64, Error> {
        Err(Error::Missing { object: id.to_string() })
    }
}
