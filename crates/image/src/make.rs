//! Images made here: `docker import` and `docker commit`.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::runtime::Handle;
use types::container::ContainerConfig;
use types::oci::image::{History, ImageConfig, Platform, media_type};
use types::{ChainId, DiffId, Digest, ImageId, Reference};

use crate::catalog::{Blob, Record};
use crate::flight::{Cancelled, Pinned};
use crate::images::{Inner, blocking};
use crate::spool::Hashed;
use crate::unpack::Step;
use crate::{CommitRequest, Error, ImportRequest, change};

/// Fast, and about half the size: the blob is kept only for save and push.
const LEVEL: Compression = Compression::new(3);
/// The tar of nothing: two blocks of zeros.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

pub(crate) async fn import(
    inner: &Arc<Inner>,
    tar: impl Read + Send + 'static,
    request: ImportRequest,
) -> Result<ImageId, Error> {
    let (inner, runtime, cancelled) = (Arc::clone(inner), Handle::current(), Cancelled::default());
    let _given_up = cancelled.on_drop();
    blocking(move || {
        let mut config = ContainerConfig::default();
        change::apply_all(&mut config, &request.changes)?;
        let maker = Maker { inner, runtime, cancelled };
        let (blob, _pinned) = maker.pack(|out| {
            let mut plain = layer::decompress(tar).map_err(Error::layer)?;
            io::copy(&mut plain, out).map_err(|source| Error::ReadArchive { source })?;
            Ok(())
        })?;
        let message = match request.message {
            empty if empty.is_empty() => "Imported from -".to_owned(),
            given => given,
        };
        let platform = request.platform.unwrap_or_else(Platform::host);
        let base = ImageConfig {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            ..ImageConfig::default()
        };
        let step = History { comment: message.clone(), ..History::default() };
        let config = ImageConfig { config: Some(config), comment: message, ..base };
        maker.install(config, step, Vec::new(), Some(blob), None, request.reference)
    })
    .await
}

pub(crate) async fn commit(inner: &Arc<Inner>, request: CommitRequest) -> Result<ImageId, Error> {
    let (inner, runtime, cancelled) = (Arc::clone(inner), Handle::current(), Cancelled::default());
    let _given_up = cancelled.on_drop();
    blocking(move || Maker { inner, runtime, cancelled }.commit(request)).await
}

struct Maker {
    inner: Arc<Inner>,
    runtime: Handle,
    cancelled: Cancelled,
}

impl Maker {
    fn commit(&self, request: CommitRequest) -> Result<ImageId, Error> {
        let CommitRequest { container, parent, reference, author, comment, .. } = request;
        let files = self
            .inner
            .snapshot
            .container(&container)
            .ok_or_else(|| Error::NoContainer { container: container.clone() })?;
        let container_config = request.config.clone();
        let mut config = request.config;
        // These belong to the container, not to what is made from its image.
        config.hostname.clear();
        config.domainname.clear();
        change::apply_all(&mut config, &request.changes)?;
        let (mut base, below) = self.base(parent.as_ref())?;
        let (blob, _pinned) = self.pack(|out| {
            layer::pack(&files.upper, out).map_err(Error::layer)?;
            Ok(())
        })?;
        let is_empty = blob.diff_id.0 == Digest::of(&EMPTY_TAR);
        let step = History {
            created_by: container_config.cmd.clone().unwrap_or_default().join(" "),
            author: author.clone(),
            comment: comment.clone(),
            empty_layer: is_empty,
            ..History::default()
        };
        base.config = Some(config);
        base.container = container.as_str().to_owned();
        base.container_config = Some(container_config);
        base.author = author;
        base.comment = comment;
        self.install(base, step, below, (!is_empty).then_some(blob), parent, reference)
    }

    /// The config and the layers that a committed image continues.
    fn base(&self, parent: Option<&ImageId>) -> Result<(ImageConfig, Vec<Blob>), Error> {
        if let Some(parent) = parent {
            let entry = self.inner.entry(parent)?;
            return Ok(((*entry.config).clone(), entry.record.layers.clone()));
        }
        let Platform { os, architecture, variant, .. } = Platform::host();
        Ok((ImageConfig { os, architecture, variant, ..ImageConfig::default() }, Vec::new()))
    }

    /// Compresses a layer into content.
    fn pack(
        &self,
        produce: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<(Blob, Pinned), Error> {
        let spooled = self.inner.spool.begin()?;
        let mut out = Hashed::new(GzEncoder::new(spooled, LEVEL));
        produce(&mut out)?;
        let (encoder, diff) = out.finish();
        let mut spooled = encoder.finish().map_err(|source| Error::WriteArchive { source })?;
        let (digest, size) = (spooled.digest(), spooled.length());
        let pinned = self.runtime.block_on(self.inner.pins.hold(vec![digest.clone()]));
        let _turn = self.runtime.block_on(self.inner.downloads.turn(&digest, |_| {}));
        if !self.inner.content.has(&digest) {
            let mut ingest =
                self.inner.content.ingest(&digest, Some(size)).map_err(Error::content)?;
            ingest.restart().map_err(Error::content)?;
            let mut reader = BufReader::with_capacity(256 << 10, spooled.reader()?);
            io::copy(&mut reader, &mut ingest).map_err(|source| Error::WriteArchive { source })?;
            ingest.commit().map_err(Error::content)?;
        }
        let media_type = media_type::OCI_LAYER_GZIP.to_owned();
        Ok((Blob { diff_id: DiffId(diff), digest, media_type, size }, pinned))
    }

    /// Unpacks the new layer on top of `below`, and records the image.
    fn install(
        &self,
        mut config: ImageConfig,
        mut step: History,
        mut layers: Vec<Blob>,
        top: Option<Blob>,
        parent: Option<ImageId>,
        reference: Option<Reference>,
    ) -> Result<ImageId, Error> {
        let now = jiff::Timestamp::now().to_string();
        step.created = Some(now.clone());
        config.created = Some(now);
        config.history.push(step);
        layers.extend(top);
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let bytes = serde_json::to_vec(&config)
            .map_err(|error| Error::Change { reason: format!("encode config: {error}") })?;
        let id = ImageId(Digest::of(&bytes));
        let chains = ChainId::stack(&config.rootfs.diff_ids);
        let mut needed: Vec<_> = layers.iter().map(|layer| layer.digest.clone()).collect();
        needed.extend(chains.iter().map(|chain| chain.0.clone()));
        needed.push(id.0.clone());
        let _pinned = self.runtime.block_on(self.inner.pins.hold(needed));
        for step in Step::all(&layers, &chains) {
            let turn = self.runtime.block_on(self.inner.unpacking.turn(&step.chain.0, |_| {}));
            self.inner.unpack(&step, turn, &self.cancelled, |_| {})?;
        }
        self.inner.content.put(&bytes).map_err(Error::content)?;
        let names = Vec::from_iter(reference.map(Reference::with_default_tag));
        let record = Record { parent, ..Record::new(id.clone(), layers) };
        self.inner.catalog.add(record, &names)?;
        Ok(id)
    }
}
