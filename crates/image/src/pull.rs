//! `docker pull`: reference -> index -> manifest -> config and layers -> record.

use std::sync::Arc;
use std::time::Instant;

use registry::{Auth, Resolved};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use types::oci::image::{Descriptor, Manifest, Platform};
use types::{ChainId, Digest, ImageId, Reference};

use crate::catalog::{Blob, Record};
use crate::document::{self, Document};
use crate::flight::{Cancelled, Pinned, Turn};
use crate::images::{Inner, blocking};
use crate::progress::Sink;
use crate::unpack::{Step, TICK};
use crate::{Counter, Error, Progress, PullStatus, Pulled};

/// Chunks in flight between the network and the disk.
const CHUNKS: usize = 32;

/// One pull.
pub(crate) struct Pull {
    pub(crate) inner: Arc<Inner>,
    pub(crate) reference: Reference,
    pub(crate) platform: Option<Platform>,
    pub(crate) auth: Option<Auth>,
    pub(crate) sink: Sink,
    pub(crate) cancelled: Cancelled,
}

/// What is to be fetched.
struct Plan {
    /// What the reference names: the index or the manifest.
    named: Digest,
    manifest: Box<Manifest>,
    manifest_digest: Digest,
    manifest_bytes: Vec<u8>,
}

impl Pull {
    pub(crate) async fn run(self: Arc<Self>) -> Result<Pulled, Error> {
        let resolved = self.resolve().await?;
        let named = resolved.digest.clone();
        let plan = self.choose(resolved).await?;
        self.tell(Progress::of(
            self.reference.tag_or_digest(),
            format!("Pulling from {}", self.reference.path()),
        ));
        let id = ImageId(plan.manifest.config.digest.clone());
        let before = self.inner.catalog.named(&self.reference).map(|e| e.record.id.clone());
        if !self.adopt(&id, &plan).await? {
            self.fetch(&id, &plan).await?;
        }
        let is_new = before.as_ref() != Some(&id);
        let status = if is_new { PullStatus::New } else { PullStatus::UpToDate };
        self.tell(Progress::plain(format!("Digest: {named}")));
        let familiar = self.reference.familiar();
        self.tell(Progress::plain(match status {
            PullStatus::New => format!("Status: Downloaded newer image for {familiar}"),
            PullStatus::UpToDate => format!("Status: Image is up to date for {familiar}"),
        }));
        Ok(Pulled { id, digest: named, status })
    }

    fn tell(&self, progress: Progress) {
        (self.sink)(progress);
    }

    async fn resolve(&self) -> Result<Resolved, Error> {
        let registry = &self.inner.registry;
        registry.resolve(&self.reference, self.auth.as_ref()).await.map_err(Error::registry)
    }

    /// Follows an index to the manifest for the platform.
    async fn choose(&self, resolved: Resolved) -> Result<Plan, Error> {
        let named = resolved.digest.clone();
        let document = document::parse(&named, &resolved.media_type, &resolved.bytes)?;
        let index = match document {
            Document::Manifest(manifest) => {
                return Ok(Plan {
                    named: named.clone(),
                    manifest,
                    manifest_digest: named,
                    manifest_bytes: resolved.bytes.into(),
                });
            }
            Document::Index(index) => index,
        };
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let chosen = document::choose(&index, &platform)?;
        let resolved = self
            .inner
            .registry
            .manifest(&self.reference, &chosen.digest, self.auth.as_ref())
            .await
            .map_err(Error::registry)?;
        match document::parse(&resolved.digest, &resolved.media_type, &resolved.bytes)? {
            Document::Manifest(manifest) => Ok(Plan {
                named,
                manifest,
                manifest_digest: resolved.digest,
                manifest_bytes: resolved.bytes.into(),
            }),
            Document::Index(_) => {
                Err(Error::document("index", &named, "an index inside an index is not supported"))
            }
        }
    }

    /// Names an image that is here already; tells whether it was.
    async fn adopt(&self, id: &ImageId, plan: &Plan) -> Result<bool, Error> {
        let Some(entry) = self.inner.catalog.get(id) else { return Ok(false) };
        self.check_platform(&entry.config.platform())?;
        let (inner, id, names) = (Arc::clone(&self.inner), id.clone(), self.names(plan));
        match blocking(move || inner.catalog.name(&id, &names)).await {
            // Removed this very moment.
            Err(Error::NotFound { .. }) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// The names that the image gets: its tag, if asked for by tag, and its digest at the registry.
    fn names(&self, plan: &Plan) -> Vec<Reference> {
        let mut names = vec![self.reference.with_digest(plan.named.clone())];
        if self.reference.digest().is_none() {
            names.push(self.reference.clone());
        }
        names
    }

    /// An image of the wrong platform is an answer to `--platform` only as an error.
    fn check_platform(&self, actual: &Platform) -> Result<(), Error> {
        match &self.platform {
            Some(wanted) if !actual.architecture.is_empty() && !wanted.accepts(actual) => {
                Err(Error::WrongPlatform {
                    reference: self.reference.familiar(),
                    wanted: wanted.to_string(),
                    actual: actual.to_string(),
                })
            }
            _ => Ok(()),
        }
    }

    async fn fetch(self: &Arc<Self>, id: &ImageId, plan: &Plan) -> Result<(), Error> {
        let manifest = &plan.manifest;
        let mut needed: Vec<Digest> = vec![id.0.clone(), plan.manifest_digest.clone()];
        needed.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
        let mut pinned = vec![self.inner.pins.hold(needed).await];
        self.tell_layers(manifest, "Pulling fs layer");
        let config_bytes = self.config(&manifest.config).await?;
        let config = document::config(&id.0, &config_bytes)?;
        self.check_platform(&config.platform())?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let reason = format!(
                "layers from manifest don't match image configuration: {} and {}",
                manifest.layers.len(),
                diff_ids.len()
            );
            return Err(Error::document("manifest", &plan.manifest_digest, reason));
        }
        let chains = ChainId::stack(diff_ids);
        let blobs: Vec<Blob> = manifest
            .layers
            .iter()
            .zip(diff_ids)
            .map(|(layer, diff_id)| Blob {
                diff_id: diff_id.clone(),
                digest: layer.digest.clone(),
                media_type: layer.media_type.clone(),
                size: layer.size,
            })
            .collect();
        let needed = chains.iter().map(|chain| chain.0.clone()).collect();
        pinned.push(self.inner.pins.hold(needed).await);
        let blobs = self.layers(blobs, &chains, &mut pinned).await?;
        self.record(id, plan, config_bytes, blobs).await?;
        // Only now a record reaches what was pinned.
        drop(pinned);
        Ok(())
    }

    fn tell_layers(&self, manifest: &Manifest, status: &str) {
        for layer in &manifest.layers {
            self.tell(Progress::of(layer.digest.short(), status));
        }
    }

    /// Fetches the config into memory: it is small and everything depends on it.
    async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        if self.inner.content.has(digest) {
            let (content, digest) = (self.inner.content.clone(), digest.clone());
            return blocking(move || {
                content.read(&digest, document::MAX_CONFIG_BYTES).map_err(Error::content)
            })
            .await;
        }
        let auth = self.auth.as_ref();
        let registry = &self.inner.registry;
        let mut stream =
            registry.blob(&self.reference, digest, size, 0, auth).await.map_err(Error::registry)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await.map_err(Error::registry)? {
            bytes.extend_from_slice(&chunk);
        }
        let actual = Digest::of(&bytes);
        if actual != *digest {
            let source = content::Error::WrongDigest { expected: digest.clone(), actual };
            return Err(Error::Verification { digest: digest.clone(), source });
        }
        Ok(bytes)
    }

    /// Downloads what is missing, some at a time, and unpacks each layer as soon as it and the one below are ready.
    ///
    /// Returns the blobs that the image will be recorded with: one that is here under another compression is not fetched again.
    async fn layers(
        self: &Arc<Self>,
        mut blobs: Vec<Blob>,
        chains: &[ChainId],
        pinned: &mut Vec<Pinned>,
    ) -> Result<Vec<Blob>, Error> {
        let mut downloads = JoinSet::new();
        let mut arrivals = Vec::new();
        for (at, (blob, chain)) in blobs.iter_mut().zip(chains).enumerate() {
            let id = blob.digest.short().to_owned();
            if self.inner.snapshot.has(chain) {
                if let Some(here) = self.inner.catalog.blob_of(&blob.diff_id) {
                    pinned.push(self.inner.pins.hold(vec![here.digest.clone()]).await);
                    if self.inner.content.has(&here.digest) {
                        *blob = here;
                    }
                }
                if self.inner.content.has(&blob.digest) {
                    self.tell(Progress::of(&id, "Already exists"));
                    arrivals.push(None);
                    continue;
                }
            }
            if at >= self.inner.max_concurrent_downloads {
                self.tell(Progress::of(&id, "Waiting"));
            }
            let (done, arrival) = oneshot::channel();
            let (pull, blob) = (Arc::clone(self), blob.clone());
            downloads.spawn(async move {
                pull.download(&blob).await?;
                // The receiver goes away only with the whole pull.
                let _ = done.send(());
                Ok(())
            });
            arrivals.push(Some(arrival));
        }
        let steps = Step::all(&blobs, chains);
        for (step, arrival) in steps.into_iter().zip(arrivals) {
            let Some(arrival) = arrival else { continue };
            self.arrived(arrival, &mut downloads).await?;
            self.unpack(step).await?;
        }
        Ok(blobs)
    }

    /// Waits for one layer; the failure of any other ends the pull at once.
    async fn arrived(
        &self,
        mut arrival: oneshot::Receiver<()>,
        downloads: &mut JoinSet<Result<(), Error>>,
    ) -> Result<(), Error> {
        loop {
            tokio::select! {
                biased;
                Some(ended) = downloads.join_next() => ended.unwrap_or(Err(Error::Abandoned))?,
                here = &mut arrival => return here.map_err(|_| Error::Abandoned),
            }
        }
    }

    async fn download(&self, blob: &Blob) -> Result<(), Error> {
        let inner = &self.inner;
        let id = blob.digest.short();
        let watched = |counter: Counter| {
            self.tell(Progress::counted(id, "Downloading", counter.current, counter.total));
        };
        let mut turn = inner.downloads.turn(&blob.digest, watched).await;
        let is_here = inner.content.has(&blob.digest);
        if !is_here {
            let _slot = inner.slots.acquire().await.map_err(|_| Error::Abandoned)?;
            // A blob that was resumed may have gone wrong before: once more from its beginning.
            turn = match self.receive(blob, turn).await {
                Err((Error::Verification { .. }, true, turn)) => {
                    self.receive(blob, turn).await.map_err(|(error, ..)| error)?
                }
                Err((error, ..)) => return Err(error),
                Ok(turn) => turn,
            };
        }
        drop(turn);
        self.tell(Progress::of(id, "Download complete"));
        Ok(())
    }

    /// Streams one blob into content, from where an earlier attempt stopped. An error tells whether there was one.
    async fn receive(&self, blob: &Blob, turn: Turn) -> Result<Turn, (Error, bool, Turn)> {
        let (content, digest, size) = (self.inner.content.clone(), blob.digest.clone(), blob.size);
        let begun = blocking(move || content.ingest(&digest, Some(size)).map_err(Error::content));
        let ingest = match begun.await {
            Ok(ingest) => ingest,
            Err(error) => return Err((error, false, turn)),
        };
        let offset = ingest.offset();
        let (chunks, incoming) = mpsc::channel(CHUNKS);
        // The turn travels with the ingest: nobody else may begin one before this one is let go.
        let writing = tokio::task::spawn_blocking(move || (write(ingest, incoming), turn));
        let sent = self.stream(blob, offset, &chunks).await;
        drop(chunks);
        let Ok((written, turn)) = writing.await else {
            let error = Error::Abandoned;
            let turn = self.inner.downloads.turn(&blob.digest, |_| {}).await;
            return Err((error, false, turn));
        };
        match (sent, written) {
            (_, Err(source)) if source.kind() == types::Kind::Invalid => {
                let error = Error::Verification { digest: blob.digest.clone(), source };
                Err((error, offset > 0, turn))
            }
            (_, Err(source)) => Err((Error::content(source), false, turn)),
            (Err(error), Ok(())) => Err((error, false, turn)),
            (Ok(()), Ok(())) => Ok(turn),
        }
    }

    async fn stream(
        &self,
        blob: &Blob,
        offset: u64,
        chunks: &mpsc::Sender<Chunk>,
    ) -> Result<(), Error> {
        let id = blob.digest.short();
        let mut stream = self
            .inner
            .registry
            .blob(&self.reference, &blob.digest, blob.size, offset, self.auth.as_ref())
            .await
            .map_err(Error::registry)?;
        let mut counter = Counter { current: offset, total: blob.size };
        let mut told: Option<Instant> = None;
        while let Some(bytes) = stream.next().await.map_err(Error::registry)? {
            counter.current += bytes.len() as u64;
            if chunks.send(Chunk::Bytes(bytes)).await.is_err() {
                // The writer ended: it has the reason.
                return Ok(());
            }
            if told.is_none_or(|told| told.elapsed() >= TICK) {
                told = Some(Instant::now());
                self.tell(Progress::counted(id, "Downloading", counter.current, counter.total));
                self.inner.downloads.report(&blob.digest, counter);
            }
        }
        self.tell(Progress::of(id, "Verifying Checksum"));
        let _ = chunks.send(Chunk::End).await;
        Ok(())
    }

    async fn unpack(self: &Arc<Self>, step: Step) -> Result<(), Error> {
        let id = step.blob.digest.short().to_owned();
        let extracting = |counter: Counter| {
            self.tell(Progress::counted(&id, "Extracting", counter.current, counter.total));
        };
        let turn = self.inner.unpacking.turn(&step.chain.0, extracting).await;
        extracting(Counter { current: 0, total: step.blob.size });
        let pull = Arc::clone(self);
        let total = step.blob.size;
        blocking(move || {
            let id = step.blob.digest.short();
            pull.inner.unpack(&step, turn, &pull.cancelled, |counter| {
                pull.inner.unpacking.report(&step.chain.0, counter);
                pull.tell(Progress::counted(id, "Extracting", counter.current, counter.total));
            })
        })
        .await?;
        extracting(Counter { current: total, total });
        self.tell(Progress::of(&id, "Pull complete"));
        Ok(())
    }

    async fn record(
        &self,
        id: &ImageId,
        plan: &Plan,
        config: Vec<u8>,
        layers: Vec<Blob>,
    ) -> Result<(), Error> {
        let record = Record {
            manifest: Some(plan.manifest_digest.clone()),
            ..Record::new(id.clone(), layers)
        };
        let (inner, names) = (Arc::clone(&self.inner), self.names(plan));
        let manifest = plan.manifest_bytes.clone();
        blocking(move || {
            inner.content.put(&manifest).map_err(Error::content)?;
            inner.content.put(&config).map_err(Error::content)?;
            inner.catalog.add(record, &names)
        })
        .await
    }
}

enum Chunk {
    Bytes(bytes::Bytes),
    /// Everything came; without it the ingest stays for a later resume.
    End,
}

fn write(
    mut ingest: content::Ingest,
    mut incoming: mpsc::Receiver<Chunk>,
) -> Result<(), content::Error> {
    loop {
        match incoming.blocking_recv() {
            Some(Chunk::Bytes(bytes)) => ingest.write(&bytes)?,
            Some(Chunk::End) => return ingest.commit(),
            None => return Ok(()),
        }
    }
}
