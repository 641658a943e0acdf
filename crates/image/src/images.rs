use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use registry::Auth;
use tokio::sync::Semaphore;
use types::oci::image::{ImageConfig, Platform};
use types::{ChainId, ImageId, Reference};

use crate::catalog::Catalog;
use crate::flight::{Cancelled, Flights, Pins};
use crate::progress::Sink;
use crate::pull::Pull;
use crate::spool::Spool;
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
    /// How many layers are fetched at a time; 0 is Docker's default, 3.
    pub max_concurrent_downloads: usize,
}

/// The images of this engine; cheap to clone.
///
/// What only reads is synchronous and answers from memory; what changes something is async, and is given up when its future is dropped.
#[derive(Clone)]
pub struct Images {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) content: content::Store,
    pub(crate) snapshot: snapshot::Store,
    pub(crate) registry: registry::Client,
    pub(crate) catalog: Catalog,
    pub(crate) spool: Spool,
    pub(crate) max_concurrent_downloads: usize,
    pub(crate) slots: Semaphore,
    pub(crate) downloads: Flights,
    pub(crate) unpacking: Flights,
    pub(crate) pins: Arc<Pins>,
}

/// Runs `work` where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Abandoned))
}

impl Images {
    /// Opens the images, and sweeps what a killed process left behind. Blocks.
    ///
    /// # Errors
    /// Internal, if a store cannot be read.
    pub fn open(options: ImagesOptions) -> Result<Self, Error> {
        let ImagesOptions { content, snapshot, db, registry, spool, .. } = options;
        let most = match options.max_concurrent_downloads {
            0 => 3,
            given => given,
        };
        let inner = Inner {
            catalog: Catalog::open(content.clone(), snapshot.clone(), &db)?,
            spool: Spool::open(spool)?,
            content,
            snapshot,
            registry,
            max_concurrent_downloads: most,
            slots: Semaphore::new(most),
            downloads: Flights::default(),
            unpacking: Flights::default(),
            pins: Arc::default(),
        };
        let swept = inner.collect()?;
        if !swept.layers.is_empty() || swept.blobs > 0 {
            let layers = swept.layers.len();
            tracing::info!(layers, blobs = swept.blobs, bytes = swept.bytes, "leftovers swept");
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Fetches what `reference` names, and unpacks it. The first progress comes once the registry has answered for the reference.
    ///
    /// # Errors
    /// NotFound, Denied, Unauthorized, Unavailable by the registry; Invalid for what it serves; Internal for our disk.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: Option<Platform>,
        auth: Option<&Auth>,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Pulled, Error> {
        let cancelled = Cancelled::default();
        let _given_up = cancelled.on_drop();
        let pull = Pull {
            inner: Arc::clone(&self.inner),
            reference: pulled_name(reference),
            platform: platform.map(|platform| platform.normalised()),
            auth: auth.filter(|auth| !auth.is_anonymous()).cloned(),
            sink: Arc::new(progress),
            cancelled,
        };
        Arc::new(pull).run().await
    }

    /// Reads images from a docker-archive or an OCI layout in a tar, compressed or not.
    ///
    /// # Errors
    /// Invalid for a bad archive; Internal for our disk.
    pub async fn load(
        &self,
        archive: impl Read + Send + 'static,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Vec<Loaded>, Error> {
        let cancelled = Cancelled::default();
        let _given_up = cancelled.on_drop();
        let sink: Sink = Arc::new(progress);
        crate::load::load(&self.inner, archive, sink, cancelled).await
    }

    /// Makes an image of one layer from a tar of a root file system.
    ///
    /// # Errors
    /// Invalid for a bad tar or change; Internal for our disk.
    pub async fn import(
        &self,
        tar: impl Read + Send + 'static,
        request: ImportRequest,
    ) -> Result<ImageId, Error> {
        crate::make::import(&self.inner, tar, request).await
    }

    /// Writes images as docker-archive and OCI layout in one tar. A name without a tag stands for all tags of its repository.
    ///
    /// # Errors
    /// NotFound for a name; Internal for our disk or the writer.
    pub async fn save(
        &self,
        names: &[String],
        out: impl Write + Send + 'static,
    ) -> Result<(), Error> {
        let (inner, names) = (Arc::clone(&self.inner), names.to_vec());
        blocking(move || crate::save::save(&inner, &names, out)).await
    }

    /// Makes an image of a container's changes.
    ///
    /// # Errors
    /// NotFound for the container or image; Invalid for a change; Internal for our disk.
    pub async fn commit(&self, request: CommitRequest) -> Result<ImageId, Error> {
        crate::make::commit(&self.inner, request).await
    }

    /// Puts a name on an image.
    ///
    /// # Errors
    /// NotFound for the image; Internal for our disk.
    pub async fn tag(&self, image: &str, reference: &Reference) -> Result<ImageId, Error> {
        let id = self.resolve(image)?;
        if reference.digest().is_some() {
            let reason = "refusing to create a tag with a digest reference".to_owned();
            return Err(Error::Change { reason });
        }
        let names = [reference.clone().with_default_tag()];
        let (inner, tagged) = (Arc::clone(&self.inner), id.clone());
        blocking(move || inner.catalog.name(&tagged, &names)).await?;
        Ok(id)
    }

    /// Takes a name off an image, and deletes the image with its last name, by Docker's rules.
    ///
    /// # Errors
    /// NotFound for the image; Conflict if it is in use; Internal for our disk.
    pub async fn remove(
        &self,
        name: &str,
        force: bool,
        prune_parents: bool,
        in_use: &[ImageUse],
    ) -> Result<Vec<Removed>, Error> {
        let (inner, name, in_use) = (Arc::clone(&self.inner), name.to_owned(), in_use.to_vec());
        blocking(move || inner.remove(&name, force, prune_parents, &in_use)).await
    }

    /// Deletes unused images that `filter` lets through: those without a name, or all that no container uses.
    ///
    /// # Errors
    /// Internal for our disk.
    pub async fn prune(
        &self,
        dangling_only: bool,
        filter: impl Fn(&ImageSummary) -> bool + Send + Sync + 'static,
        in_use: &[ImageUse],
    ) -> Result<Pruned, Error> {
        let (inner, in_use) = (Arc::clone(&self.inner), in_use.to_vec());
        blocking(move || inner.prune(dangling_only, &filter, &in_use)).await
    }

    /// Deletes blobs and layers that no image and no container needs: those of a forcibly deleted image, once its last container is gone.
    ///
    /// # Errors
    /// Internal for our disk.
    pub async fn sweep(&self) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.collect().map(drop)).await
    }

    /// Lists the images, newest first.
    #[must_use]
    pub fn list(&self, in_use: &[ImageUse]) -> Vec<ImageSummary> {
        self.inner.list(in_use)
    }

    /// Tells all about one image.
    ///
    /// # Errors
    /// NotFound; Invalid for a bad name.
    pub fn inspect(&self, name: &str) -> Result<ImageDetail, Error> {
        Ok(self.inner.detail(&*self.inner.find(name)?))
    }

    /// Tells how an image was made, newest step first.
    ///
    /// # Errors
    /// NotFound; Invalid for a bad name.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryEntry>, Error> {
        Ok(self.inner.history(&*self.inner.find(name)?))
    }

    /// Finds an image by name, name@digest, id or the start of an id.
    ///
    /// # Errors
    /// NotFound; Invalid for a bad name or an id prefix that several images share.
    pub fn resolve(&self, name: &str) -> Result<ImageId, Error> {
        Ok(self.inner.find(name)?.record.id.clone())
    }

    /// Returns the config of an image.
    ///
    /// # Errors
    /// NotFound.
    pub fn config(&self, id: &ImageId) -> Result<Arc<ImageConfig>, Error> {
        Ok(Arc::clone(&self.inner.entry(id)?.config))
    }

    /// Returns the chain id of an image's top layer; none for an image without layers.
    ///
    /// # Errors
    /// NotFound.
    pub fn chain(&self, id: &ImageId) -> Result<Option<ChainId>, Error> {
        Ok(self.inner.entry(id)?.chains.last().cloned())
    }

    /// Returns the bytes of disk that all images take together: unpacked layers once each, and the compressed blobs that are kept.
    #[must_use]
    pub fn disk_usage(&self) -> u64 {
        let layers: u64 = self.inner.snapshot.layers().iter().map(|layer| layer.bytes).sum();
        let entries = self.inner.catalog.all();
        let blobs: HashSet<_> = entries.iter().flat_map(|entry| entry.record.blobs()).collect();
        let kept: u64 = blobs.iter().filter_map(|digest| self.inner.content.size(digest)).sum();
        layers + kept
    }
}

/// A pull by digest ignores the tag beside it, as Docker's does.
fn pulled_name(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest.clone()),
        None => reference.clone().with_default_tag(),
    }
}
