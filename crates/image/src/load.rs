//! `docker load`: docker-archive (`manifest.json`) and OCI layout (`index.json`) in one tar, compressed or not.
//!
//! The tar is read once, front to back, with bounded memory. A file at `blobs/sha256/<hex>` goes straight into content, which verifies
//! it; every other file is spooled until `manifest.json` or `index.json` has said what it is. No name in the archive ever becomes a
//! path on the disk.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use serde::Deserialize;
use tokio::runtime::Handle;
use types::oci::image::{Descriptor, Index, Manifest, Platform, media_type};
use types::{ChainId, Digest, ImageId, Reference};

use crate::catalog::{Blob, Record};
use crate::document::{self, Document, MAX_CONFIG_BYTES};
use crate::flight::{Cancelled, Pinned};
use crate::images::{Inner, blocking};
use crate::progress::Sink;
use crate::spool::Spooled;
use crate::unpack::Step;
use crate::{Error, Loaded, Progress};

const MAX_ENTRIES: usize = 100_000;
const MAX_JSON_BYTES: u64 = 8 << 20;
const BUFFER_BYTES: usize = 256 << 10;
const BLOBS: &str = "blobs/sha256/";

/// An image of a docker-archive (moby `image/tarexport`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// A file of the archive.
enum Stored {
    /// In content, under this digest.
    Blob(Digest),
    Spooled(Spooled),
    /// A link to another path of the archive.
    Link(String),
}

pub(crate) async fn load(
    inner: &Arc<Inner>,
    archive: impl Read + Send + 'static,
    sink: Sink,
    cancelled: Cancelled,
) -> Result<Vec<Loaded>, Error> {
    let inner = Arc::clone(inner);
    let runtime = Handle::current();
    blocking(move || {
        let mut load = Load {
            inner: Arc::clone(&inner),
            runtime,
            sink,
            cancelled,
            files: HashMap::new(),
            pinned: Vec::new(),
        };
        let result = load.run(archive);
        drop(load);
        // Blobs that no image of the archive turned out to need.
        inner.collect()?;
        result
    })
    .await
}

struct Load {
    inner: Arc<Inner>,
    /// For waiting, on this blocking thread, for others at work on the same blob or layer.
    runtime: Handle,
    sink: Sink,
    cancelled: Cancelled,
    files: HashMap<String, Stored>,
    pinned: Vec<Pinned>,
}

impl Load {
    fn run(&mut self, archive: impl Read) -> Result<Vec<Loaded>, Error> {
        let plain = layer::decompress(archive).map_err(Error::layer)?;
        let mut tar = tar::Archive::new(plain);
        let entries = tar.entries().map_err(|source| Error::ReadArchive { source })?;
        for (count, entry) in entries.enumerate() {
            if self.cancelled.is_set() {
                return Err(Error::Abandoned);
            }
            if count >= MAX_ENTRIES {
                return Err(Error::archive(format!("more than {MAX_ENTRIES} entries")));
            }
            self.keep(entry.map_err(|source| Error::ReadArchive { source })?)?;
        }
        if self.files.contains_key("manifest.json") {
            self.docker_archive()
        } else if self.files.contains_key("index.json") {
            self.oci_layout()
        } else {
            Err(Error::archive("neither manifest.json nor index.json in it: not an image archive"))
        }
    }

    fn keep(&mut self, mut entry: tar::Entry<'_, impl Read>) -> Result<(), Error> {
        let path = entry_path(&entry.path_bytes())?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            return Ok(());
        }
        let stored = if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let base = if kind.is_symlink() { path.as_str() } else { "" };
            Stored::Link(link_path(base, &target)?)
        } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            match blob_digest(&path) {
                Some(digest) => {
                    let size = entry.size();
                    self.ingest(&digest, size, &path, &mut entry)?;
                    Stored::Blob(digest)
                }
                None => Stored::Spooled(self.spool(&mut entry)?),
            }
        } else {
            return Err(Error::archive(format!(
                "entry `{path}` is neither file, directory nor link"
            )));
        };
        self.files.insert(path, stored);
        Ok(())
    }

    fn pin(&mut self, digests: Vec<Digest>) {
        let pinned = self.runtime.block_on(self.inner.pins.hold(digests));
        self.pinned.push(pinned);
    }

    /// Takes a blob whose path names its digest into content.
    fn ingest(
        &mut self,
        digest: &Digest,
        size: u64,
        path: &str,
        source: &mut impl Read,
    ) -> Result<(), Error> {
        self.pin(vec![digest.clone()]);
        let _turn = self.runtime.block_on(self.inner.downloads.turn(digest, |_| {}));
        if self.inner.content.has(digest) {
            return Ok(());
        }
        let mut ingest = self.inner.content.ingest(digest, Some(size)).map_err(Error::content)?;
        // Half of it may be here from an interrupted pull; the archive has all of it anyway.
        ingest.restart().map_err(Error::content)?;
        if let Err(error) = copy(source, |bytes| ingest.write(bytes).map_err(Error::content)) {
            // Nobody resumes an archive: what came of it gives its space back, above all when there is none left.
            let _ = ingest.restart();
            return Err(error);
        }
        ingest.commit().map_err(|error| match error {
            content::Error::WrongDigest { actual, .. } => {
                Error::archive(format!("entry `{path}` has the digest {actual}"))
            }
            error => Error::content(error),
        })
    }

    fn spool(&self, source: &mut impl Read) -> Result<Spooled, Error> {
        let mut spooled = self.inner.spool.begin()?;
        copy(source, |bytes| {
            io::Write::write_all(&mut spooled, bytes).map_err(spooled.failed("write"))
        })?;
        Ok(spooled)
    }

    /// Follows the archive's own links to a file.
    fn file(&mut self, path: &str) -> Result<&mut Stored, Error> {
        let mut path = entry_path(path.as_bytes())?;
        for _ in 0..16 {
            match self.files.get(&path) {
                Some(Stored::Link(target)) => path = target.clone(),
                Some(_) => return self.files.get_mut(&path).ok_or(Error::Abandoned),
                None => return Err(Error::archive(format!("no `{path}` in it"))),
            }
        }
        Err(Error::archive(format!("links in a circle at `{path}`")))
    }

    fn read(&mut self, path: &str, max_bytes: u64) -> Result<Vec<u8>, Error> {
        let content = self.inner.content.clone();
        match self.file(path)? {
            Stored::Blob(digest) => content.read(digest, max_bytes).map_err(Error::content),
            Stored::Spooled(spooled) if spooled.length() > max_bytes => {
                Err(Error::archive(format!("`{path}` is longer than {max_bytes} bytes")))
            }
            Stored::Spooled(spooled) => {
                let mut bytes = Vec::new();
                let read = spooled.reader()?.read_to_end(&mut bytes);
                read.map_err(spooled.failed("read"))?;
                Ok(bytes)
            }
            Stored::Link(_) => Err(Error::archive(format!("no `{path}` in it"))),
        }
    }

    /// Returns the blob at `path`, taking it into content if it is only spooled.
    fn blob(&mut self, path: &str) -> Result<Digest, Error> {
        let (digest, mut spooled) = match self.file(path)? {
            Stored::Blob(digest) => return Ok(digest.clone()),
            Stored::Link(_) => return Err(Error::archive(format!("no `{path}` in it"))),
            stored @ Stored::Spooled(_) => {
                let Stored::Spooled(spooled) =
                    std::mem::replace(stored, Stored::Link(String::new()))
                else {
                    return Err(Error::Abandoned);
                };
                let digest = spooled.digest();
                *stored = Stored::Blob(digest.clone());
                (digest, spooled)
            }
        };
        let length = spooled.length();
        self.ingest(&digest, length, path, spooled.reader()?)?;
        Ok(digest)
    }

    fn docker_archive(&mut self) -> Result<Vec<Loaded>, Error> {
        let bytes = self.read("manifest.json", MAX_JSON_BYTES)?;
        let items: Vec<Item> = serde_json::from_slice(&bytes)
            .map_err(|error| Error::archive(format!("manifest.json: {error}")))?;
        let mut loaded = Vec::new();
        for item in items {
            let config = self.read(&item.config, MAX_CONFIG_BYTES)?;
            let mut blobs = Vec::new();
            for path in item.layers.iter().flatten() {
                blobs.push(self.blob(path)?);
            }
            let mut names = Vec::new();
            for tag in item.repo_tags.iter().flatten() {
                let name: Reference = tag
                    .parse()
                    .map_err(|error| Error::archive(format!("manifest.json: {tag:?}: {error}")))?;
                names.push(name.with_default_tag());
            }
            loaded.extend(self.install(&config, blobs, &names, None)?);
        }
        Ok(loaded)
    }

    fn oci_layout(&mut self) -> Result<Vec<Loaded>, Error> {
        let bytes = self.read("index.json", MAX_JSON_BYTES)?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| Error::archive(format!("index.json: {error}")))?;
        let mut loaded = Vec::new();
        for descriptor in &index.manifests {
            let names = Vec::from_iter(layout_name(descriptor)?);
            let Some((digest, manifest)) = self.manifest(descriptor)? else { continue };
            let config = self.read(&blob_path(&manifest.config.digest), MAX_CONFIG_BYTES)?;
            let mut blobs = Vec::new();
            for layer in &manifest.layers {
                blobs.push(self.blob(&blob_path(&layer.digest))?);
            }
            loaded.extend(self.install(&config, blobs, &names, Some(digest))?);
        }
        Ok(loaded)
    }

    /// Reads the manifest of a descriptor; of an index, the one for this machine, or the only one that the archive has.
    fn manifest(
        &mut self,
        descriptor: &Descriptor,
    ) -> Result<Option<(Digest, Box<Manifest>)>, Error> {
        let index = match self.document(descriptor)? {
            Document::Manifest(manifest) => return Ok(Some((descriptor.digest.clone(), manifest))),
            Document::Index(index) => index,
        };
        let here: Vec<_> = index
            .manifests
            .iter()
            .filter(|entry| self.files.contains_key(&blob_path(&entry.digest)))
            .cloned()
            .collect();
        let present = Index { manifests: here, ..index };
        let chosen = match document::choose(&present, &Platform::host()) {
            Ok(chosen) => chosen.clone(),
            Err(_) if present.manifests.len() == 1 => present.manifests[0].clone(),
            Err(error) => return Err(error),
        };
        match self.document(&chosen)? {
            Document::Manifest(manifest) => Ok(Some((chosen.digest, manifest))),
            Document::Index(_) => Err(Error::archive("an index inside an index is not supported")),
        }
    }

    fn document(&mut self, descriptor: &Descriptor) -> Result<Document, Error> {
        let bytes = self.read(&blob_path(&descriptor.digest), MAX_JSON_BYTES)?;
        document::parse(&descriptor.digest, &descriptor.media_type, &bytes)
    }

    /// Unpacks and records one image, under each of its names.
    fn install(
        &mut self,
        config_bytes: &[u8],
        digests: Vec<Digest>,
        names: &[Reference],
        manifest: Option<Digest>,
    ) -> Result<Vec<Loaded>, Error> {
        let id = ImageId(Digest::of(config_bytes));
        let config = document::config(&id.0, config_bytes)?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != digests.len() {
            let (layers, wanted) = (digests.len(), diff_ids.len());
            let reason = format!("image {id} has {layers} layers where its config names {wanted}");
            return Err(Error::archive(reason));
        }
        let chains = ChainId::stack(diff_ids);
        let mut pins: Vec<_> = chains.iter().map(|chain| chain.0.clone()).collect();
        pins.push(id.0.clone());
        self.pin(pins);
        let mut blobs = Vec::new();
        for (digest, diff_id) in digests.iter().zip(diff_ids) {
            let size = self.inner.content.size(digest).unwrap_or(0);
            let media_type = self.sniff(digest)?.to_owned();
            let (digest, diff_id) = (digest.clone(), diff_id.clone());
            blobs.push(Blob { diff_id, digest, media_type, size });
        }
        for step in Step::all(&blobs, &chains) {
            self.unpack(&step)?;
        }
        self.inner.content.put(config_bytes).map_err(Error::content)?;
        let record = Record { manifest, ..Record::new(id.clone(), blobs) };
        self.inner.catalog.add(record, names)?;
        if names.is_empty() {
            return Ok(vec![Loaded { id, reference: None }]);
        }
        let named = |name: &Reference| Loaded { id: id.clone(), reference: Some(name.clone()) };
        Ok(names.iter().map(named).collect())
    }

    fn unpack(&self, step: &Step) -> Result<(), Error> {
        if self.inner.snapshot.has(&step.chain) {
            return Ok(());
        }
        let id = step.blob.diff_id.0.short();
        let total = step.blob.size;
        let tell = |current| {
            (self.sink)(Progress::counted(id, "Loading layer", current, total));
        };
        tell(0);
        let turn = self.runtime.block_on(self.inner.unpacking.turn(&step.chain.0, |_| {}));
        self.inner.unpack(step, turn, &self.cancelled, |counter| tell(counter.current))?;
        tell(total);
        Ok(())
    }

    /// Tells a layer's media type by its first bytes.
    fn sniff(&self, digest: &Digest) -> Result<&'static str, Error> {
        let blob = self.inner.content.open_blob(digest).map_err(Error::content)?;
        let mut first = Vec::new();
        blob.take(4).read_to_end(&mut first).map_err(|source| Error::ReadArchive { source })?;
        Ok(match first[..] {
            [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
            [0x28, 0xb5, 0x2f, 0xfd] => media_type::OCI_LAYER_ZSTD,
            _ => media_type::OCI_LAYER,
        })
    }
}

fn copy(
    source: &mut impl Read,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => write(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::ReadArchive { source }),
        }
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}

fn blob_digest(path: &str) -> Option<Digest> {
    format!("sha256:{}", path.strip_prefix(BLOBS)?).parse().ok()
}

/// Reads the name of an entry as a plain relative path; refuses what climbs out or is absolute.
fn entry_path(bytes: &[u8]) -> Result<String, Error> {
    let refuse = |why: &str| {
        Error::archive(format!("entry `{}` {why}", String::from_utf8_lossy(bytes).escape_debug()))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| refuse("has no UTF-8 name"))?;
    if text.starts_with('/') {
        return Err(refuse("has an absolute name"));
    }
    let parts: Vec<_> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(refuse("leads out of the archive"));
    }
    Ok(parts.join("/"))
}

/// Resolves a link of the entry `base` within the archive.
fn link_path(base: &str, target: &[u8]) -> Result<String, Error> {
    let refuse = || {
        let target = String::from_utf8_lossy(target);
        Error::archive(format!(
            "entry `{base}` links out of the archive: `{}`",
            target.escape_debug()
        ))
    };
    let target = std::str::from_utf8(target).map_err(|_| refuse())?;
    if target.starts_with('/') {
        return Err(refuse());
    }
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(refuse)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// The name that a layout gives an image: containerd's annotation, or the OCI one where it is more than a tag.
fn layout_name(descriptor: &Descriptor) -> Result<Option<Reference>, Error> {
    let whole = descriptor.annotation("io.containerd.image.name");
    let name = descriptor.annotation("org.opencontainers.image.ref.name");
    let Some(text) = whole.or(name.filter(|name| name.contains([':', '/']))) else {
        return Ok(None);
    };
    let name: Reference =
        text.parse().map_err(|error| Error::archive(format!("index.json: {text:?}: {error}")))?;
    Ok((name.digest().is_none()).then(|| name.with_default_tag()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_names_stay_in_the_archive() {
        assert_eq!(entry_path(b"./a//b/").unwrap(), "a/b");
        for bad in [&b"/etc/passwd"[..], b"a/../../b", b"..", b"\xff"] {
            let error = entry_path(bad).unwrap_err().to_string();
            assert!(error.starts_with("archive: entry `"), "{error}");
        }
    }

    #[test]
    fn links_are_followed_within_the_archive() {
        assert_eq!(link_path("abc/layer.tar", b"../def/layer.tar").unwrap(), "def/layer.tar");
        assert_eq!(link_path("layer.tar", b"x").unwrap(), "x");
        for bad in [&b"../../x"[..], b"/x", b"../../../etc/shadow"] {
            assert!(link_path("abc/layer.tar", bad).is_err());
        }
    }
}
