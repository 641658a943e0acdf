use std::collections::BTreeMap;
use std::path::PathBuf;

use types::container::ContainerConfig;
use types::oci::image::ImageConfig;
use types::{ChainId, ContainerId, DiffId, Digest, ImageId, Reference};

/// What a pull came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub id: ImageId,
    /// The digest of what the reference names at the registry: an index or a manifest.
    pub digest: Digest,
    /// Whether anything changed here.
    pub status: PullStatus,
}

/// Whether a pull changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// The reference names another image than before, or did not exist.
    New,
    /// The reference named this image already.
    UpToDate,
}

/// One image out of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub id: ImageId,
    /// Its name; none if the archive gives it none.
    pub reference: Option<Reference>,
}

impl Loaded {
    /// Returns the line that `docker load` prints: `Loaded image: busybox:latest`.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.reference {
            Some(reference) => format!("Loaded image: {}", reference.familiar()),
            None => format!("Loaded image ID: {}", self.id),
        }
    }
}

/// One step of a removal, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken off an image.
    Untagged {
        /// The name as users write it.
        reference: String,
        /// The image that had it.
        id: ImageId,
    },
    /// An image was deleted.
    Image(ImageId),
    /// A layer was deleted.
    Layer(ChainId),
}

impl Removed {
    /// Returns the digest that `Deleted:` shows, or the name that `Untagged:` shows.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Untagged { reference, .. } => reference.clone(),
            Self::Image(id) => id.to_string(),
            Self::Layer(chain) => chain.to_string(),
        }
    }
}

/// A container that uses an image; the engine knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUse {
    /// The container.
    pub container: ContainerId,
    /// Its image.
    pub image: ImageId,
    /// Whether it runs now.
    pub running: bool,
}

/// One line of `docker images`.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSummary {
    /// The image.
    pub id: ImageId,
    /// The image it was committed from, if that is here.
    pub parent: Option<ImageId>,
    /// `ubuntu:22.04`, sorted.
    pub repo_tags: Vec<String>,
    /// `ubuntu@sha256:…`, sorted.
    pub repo_digests: Vec<String>,
    /// Seconds since 1970.
    pub created: i64,
    /// Bytes of all its layers as unpacked.
    pub size: u64,
    /// The labels of its config.
    pub labels: Option<BTreeMap<String, String>>,
    /// How many containers use it.
    pub containers: usize,
    /// Whether another image was made from it: without a name it is then an intermediate one, which `docker images` hides.
    pub has_children: bool,
}

/// Where an image's layers are; `GraphDriver` of `docker inspect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphDriver {
    /// The layers below the top one, upper first.
    pub lower: Vec<PathBuf>,
    /// The top layer's files.
    pub upper: PathBuf,
    /// Where the top layer would be mounted.
    pub merged: PathBuf,
    /// The top layer's work directory.
    pub work: PathBuf,
}

/// All about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageDetail {
    /// The image.
    pub id: ImageId,
    /// The image it was committed from, if that is here.
    pub parent: Option<ImageId>,
    /// `ubuntu:22.04`, sorted.
    pub repo_tags: Vec<String>,
    /// `ubuntu@sha256:…`, sorted.
    pub repo_digests: Vec<String>,
    /// Its config document.
    pub config: ImageConfig,
    /// Bytes of all its layers as unpacked.
    pub size: u64,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
    /// Where the top layer is; none for an image without layers.
    pub graph_driver: Option<GraphDriver>,
    /// When a name was last put on it, RFC 3339; none if never.
    pub last_tagged: Option<String>,
}

/// One line of `docker history`, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's id for the newest step, `<missing>` for the others.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The step.
    pub created_by: String,
    /// The image's tags for the newest step.
    pub tags: Vec<String>,
    /// Bytes of the step's layer as unpacked.
    pub size: u64,
    /// What its author said.
    pub comment: String,
}

/// What `docker import` asks for beside the tar.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// The name of the new image.
    pub reference: Option<Reference>,
    /// The comment of its history entry; Docker's default is `Imported from -`.
    pub message: String,
    /// Dockerfile instructions that change the config: `CMD ["sh"]`.
    pub changes: Vec<String>,
    /// What the image runs on; none is this machine.
    pub platform: Option<types::oci::image::Platform>,
}

/// What `docker commit` asks for.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// The container whose changes become a layer; it is quiet (stopped or paused).
    pub container: ContainerId,
    /// The image that the container was made from.
    pub parent: Option<ImageId>,
    /// The name of the new image.
    pub reference: Option<Reference>,
    /// The author.
    pub author: String,
    /// The comment.
    pub comment: String,
    /// The config of the container, or the one given in the request.
    pub config: ContainerConfig,
    /// Dockerfile instructions that change the config.
    pub changes: Vec<String>,
}

/// What a prune came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What was removed.
    pub removed: Vec<Removed>,
    /// Bytes of disk that were freed.
    pub reclaimed: u64,
}
