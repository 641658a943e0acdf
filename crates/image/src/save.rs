//! `docker save`: docker-archive and OCI layout in one tar, as Docker 25 and newer write it.
//!
//! ```text
//! blobs/sha256/<hex>   configs, manifests and layers, each once; layers compressed as they were fetched
//! index.json           OCI: one manifest per name, annotated with it
//! manifest.json        Docker: config, names and layers of each image
//! oci-layout           {"imageLayoutVersion":"1.0.0"}
//! repositories         what Docker before 1.10 looks for
//! ```

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;

use serde_json::json;
use tokio::runtime::Handle;
use types::oci::image::{Descriptor, Index, Manifest, media_type};
use types::{Digest, Reference};

use crate::Error;
use crate::catalog::Entry;
use crate::document::{self, Document};
use crate::images::Inner;

const MAX_MANIFEST_BYTES: u64 = 4 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// An image, and the names that it is saved under.
type Chosen = (Arc<Entry>, Vec<Reference>);

pub(crate) fn save(inner: &Inner, names: &[String], out: impl Write) -> Result<(), Error> {
    let mut images: Vec<Chosen> = Vec::new();
    for name in names {
        for (entry, tags) in chosen(inner, name)? {
            match images.iter_mut().find(|(known, _)| known.record.id == entry.record.id) {
                Some((_, known)) => known.extend(tags),
                None => images.push((entry, tags)),
            }
        }
    }
    // Nothing of these may be collected while they are written.
    let needed = images.iter().flat_map(|(entry, _)| entry.record.blobs().cloned()).collect();
    let _pinned = Handle::current().block_on(inner.pins.hold(needed));
    let tar = tar::Builder::new(BufWriter::with_capacity(BUFFER_BYTES, out));
    let mut archive = Archive { inner, tar, written: HashSet::new() };
    archive.write_all(&images)
}

/// An image by id is saved without names, by `name:tag` with that one, by `name` with all tags of the repository.
fn chosen(inner: &Inner, text: &str) -> Result<Vec<Chosen>, Error> {
    let entry = inner.find(text);
    let Ok(reference) = text.parse::<Reference>() else { return Ok(vec![(entry?, Vec::new())]) };
    if reference.tag().is_none() && reference.digest().is_none() {
        let mut found = Vec::new();
        for entry in inner.catalog.all() {
            let of_it = entry.record.tags.keys().filter(|tag| tag.repository() == reference);
            let tags: Vec<_> = of_it.cloned().collect();
            if !tags.is_empty() {
                found.push((entry, tags));
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let entry = entry?;
    let tags =
        if entry.record.tags.contains_key(&reference) { vec![reference] } else { Vec::new() };
    Ok(vec![(entry, tags)])
}

struct Archive<'a, W: Write> {
    inner: &'a Inner,
    tar: tar::Builder<W>,
    written: HashSet<Digest>,
}

impl<W: Write> Archive<'_, W> {
    fn write_all(&mut self, images: &[Chosen]) -> Result<(), Error> {
        let mut index = Index {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.to_owned(),
            manifests: Vec::new(),
            annotations: None,
        };
        let mut items = Vec::new();
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (entry, tags) in images {
            let descriptor = self.image(entry)?;
            if tags.is_empty() {
                index.manifests.push(descriptor.clone());
            }
            for tag in tags {
                let mut named = descriptor.clone();
                named.annotations = Some(annotations(tag));
                index.manifests.push(named);
                let of_name = repositories.entry(tag.familiar_name()).or_default();
                let id = entry.record.id.hex().to_owned();
                of_name.insert(tag.tag().unwrap_or_default().to_owned(), id);
            }
            items.push(json!({
                "Config": blob_path(&entry.record.id.0),
                "RepoTags": tags.iter().map(Reference::familiar).collect::<Vec<_>>(),
                "Layers": entry.record.layers.iter().map(|l| blob_path(&l.digest)).collect::<Vec<_>>(),
            }));
        }
        self.json("index.json", &index)?;
        self.json("manifest.json", &items)?;
        self.json("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
        if !repositories.is_empty() {
            self.json("repositories", &repositories)?;
        }
        self.tar.finish().map_err(failed)?;
        self.tar.get_mut().flush().map_err(failed)
    }

    /// Writes the blobs of one image; returns its manifest's descriptor.
    fn image(&mut self, entry: &Entry) -> Result<Descriptor, Error> {
        for layer in &entry.record.layers {
            self.blob(&layer.digest)?;
        }
        self.blob(&entry.record.id.0)?;
        if let Some(descriptor) = self.own_manifest(entry)? {
            self.blob(&descriptor.digest)?;
            return Ok(descriptor);
        }
        let config_size = self.inner.content.size(&entry.record.id.0).unwrap_or(0);
        let config = entry.record.id.0.clone();
        let layers = entry.record.layers.iter();
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            config: Descriptor::new(media_type::OCI_CONFIG, config, config_size),
            layers: layers
                .map(|l| Descriptor::new(&l.media_type, l.digest.clone(), l.size))
                .collect(),
            annotations: None,
        };
        let bytes = encode(&manifest)?;
        let digest = Digest::of(&bytes);
        if self.written.insert(digest.clone()) {
            self.append(&blob_path(&digest), bytes.len() as u64, &bytes[..])?;
        }
        Ok(Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64))
    }

    /// The manifest that the image came with, if the blobs that are here are the ones it names.
    fn own_manifest(&self, entry: &Entry) -> Result<Option<Descriptor>, Error> {
        let Some(digest) = &entry.record.manifest else { return Ok(None) };
        let Ok(bytes) = self.inner.content.read(digest, MAX_MANIFEST_BYTES) else {
            return Ok(None);
        };
        let Document::Manifest(manifest) = document::parse(digest, "", &bytes)? else {
            return Ok(None);
        };
        let named = manifest.layers.iter().map(|layer| &layer.digest);
        if !named.eq(entry.record.layers.iter().map(|layer| &layer.digest)) {
            return Ok(None);
        }
        let kind = match manifest.media_type.as_str() {
            "" => media_type::OCI_MANIFEST,
            own => own,
        };
        Ok(Some(Descriptor::new(kind, digest.clone(), bytes.len() as u64)))
    }

    fn blob(&mut self, digest: &Digest) -> Result<(), Error> {
        if !self.written.insert(digest.clone()) {
            return Ok(());
        }
        let file = self.inner.content.open_blob(digest).map_err(Error::content)?;
        let size = self.inner.content.size(digest).unwrap_or(0);
        self.append(&blob_path(digest), size, file)
    }

    fn json(&mut self, path: &str, value: &impl serde::Serialize) -> Result<(), Error> {
        let bytes = encode(value)?;
        self.append(path, bytes.len() as u64, &bytes[..])
    }

    fn append(&mut self, path: &str, size: u64, data: impl Read) -> Result<(), Error> {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.tar.append_data(&mut header, path, data).map_err(failed)
    }
}

fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| failed(io::Error::other(error)))
}

fn failed(source: io::Error) -> Error {
    Error::WriteArchive { source }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn annotations(tag: &Reference) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("io.containerd.image.name".to_owned(), tag.to_string()),
        ("org.opencontainers.image.ref.name".to_owned(), tag.tag().unwrap_or_default().to_owned()),
    ])
}
