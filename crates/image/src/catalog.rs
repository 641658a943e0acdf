//! The images as they are known: one record per image in the db, and beside it what its config says, in memory.
//!
//! ```text
//! db/images/<64 hex>.json: {
//!   "id": "sha256:…",                the digest of the config
//!   "manifest": "sha256:…",          the manifest it was pulled with, kept in content; absent if loaded or committed
//!   "parent": "sha256:…",            the image it was committed from
//!   "layers": [{diff_id, digest, media_type, size}],   lowest first; `digest` is the blob kept in content
//!   "tags": {"docker.io/library/ubuntu:22.04": 1764342000000000000},   when the name was put on, ns since 1970
//!   "digests": ["docker.io/library/ubuntu@sha256:…"],
//!   "last_tagged": 1764342000000000000 }
//! ```
//!
//! A name moves by writing the record that gains it, then the one that loses it. A kill between the two leaves it in both; the later
//! time wins at the next open.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use types::oci::image::ImageConfig;
use types::{ChainId, DiffId, Digest, ImageId, Reference};

use crate::Error;
use crate::document::MAX_CONFIG_BYTES;

/// One layer's blob, as kept in content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) diff_id: DiffId,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    /// Bytes, compressed as it is.
    pub(crate) size: u64,
}

/// The record, drawn above.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: ImageId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ImageId>,
    pub(crate) layers: Vec<Blob>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<Reference, u64>,
    #[serde(default)]
    pub(crate) digests: BTreeSet<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_tagged: Option<u64>,
}

impl Record {
    pub(crate) fn new(id: ImageId, layers: Vec<Blob>) -> Self {
        Self {
            id,
            manifest: None,
            parent: None,
            layers,
            tags: BTreeMap::new(),
            digests: BTreeSet::new(),
            last_tagged: None,
        }
    }

    /// Returns every name of the image: tags, then digests.
    pub(crate) fn names(&self) -> Vec<Reference> {
        self.tags.keys().chain(&self.digests).cloned().collect()
    }

    fn has(&self, name: &Reference) -> bool {
        self.tags.contains_key(name) || self.digests.contains(name)
    }

    fn drop_name(&mut self, name: &Reference) {
        self.tags.remove(name);
        self.digests.remove(name);
    }

    fn add_name(&mut self, name: &Reference, now: u64) {
        if name.digest().is_some() {
            self.digests.insert(name.clone());
        } else {
            self.tags.insert(name.clone(), now);
            self.last_tagged = Some(now);
        }
    }

    /// Returns the blobs that the image needs in content.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Digest> {
        let own = std::iter::once(&self.id.0).chain(&self.manifest);
        own.chain(self.layers.iter().map(|layer| &layer.digest))
    }
}

/// An image: its record and what follows from its config.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) config: Arc<ImageConfig>,
    /// One per layer, lowest first.
    pub(crate) chains: Vec<ChainId>,
    /// Bytes of each layer as unpacked, lowest first.
    pub(crate) sizes: Vec<u64>,
}

impl Entry {
    pub(crate) fn size(&self) -> u64 {
        self.sizes.iter().sum()
    }

    pub(crate) fn created(&self) -> i64 {
        self.config.created.as_deref().map_or(0, seconds)
    }
}

/// Reads RFC 3339 as seconds since 1970; 0 if it is none.
pub(crate) fn seconds(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) struct Catalog {
    content: content::Store,
    snapshot: snapshot::Store,
    table: db::Table<Record>,
    entries: RwLock<HashMap<ImageId, Arc<Entry>>>,
    /// Held while records change, so that a name is on one image only.
    writer: Mutex<()>,
}

impl Catalog {
    pub(crate) fn open(
        content: content::Store,
        snapshot: snapshot::Store,
        db: &db::Db,
    ) -> Result<Self, Error> {
        let (table, damaged) = db.images::<Record>().map_err(Error::db)?;
        for record in damaged {
            tracing::warn!(path = %record.path.display(), why = record.why, "image record set aside");
        }
        let entries = RwLock::default();
        let catalog = Self { content, snapshot, table, entries, writer: Mutex::new(()) };
        catalog.settle_names()?;
        for (_, record) in catalog.table.iter() {
            if let Err(error) = catalog.enter(Record::clone(&record)) {
                // The record and its blobs stay; the same image pulled again repairs it.
                let error = types::Chain(&error);
                tracing::warn!(image = %record.id, %error, "image cannot be used");
            }
        }
        Ok(catalog)
    }

    /// Gives a name that two records claim to the one that got it last.
    fn settle_names(&self) -> Result<(), Error> {
        let mut owners: HashMap<Reference, (u64, ImageId)> = HashMap::new();
        for (_, record) in self.table.iter() {
            for (name, at) in &record.tags {
                let claim = (*at, record.id.clone());
                let owner = owners.entry(name.clone()).or_insert_with(|| claim.clone());
                if claim.0 > owner.0 {
                    *owner = claim;
                }
            }
        }
        for (key, record) in self.table.iter() {
            let mut settled = Record::clone(&record);
            settled.tags.retain(|name, _| owners.get(name).is_none_or(|(_, id)| *id == record.id));
            if settled != *record {
                self.table.put_durable(&key, &settled).map_err(Error::db)?;
            }
        }
        Ok(())
    }

    /// Returns the records that are on the disk, usable or not.
    pub(crate) fn records(&self) -> Vec<Arc<Record>> {
        self.table.iter().map(|(_, record)| record).collect()
    }

    pub(crate) fn get(&self, id: &ImageId) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn named(&self, name: &Reference) -> Option<Arc<Entry>> {
        self.all().into_iter().find(|entry| entry.record.has(name))
    }

    pub(crate) fn children(&self, id: &ImageId) -> bool {
        self.all().iter().any(|entry| entry.record.parent.as_ref() == Some(id))
    }

    /// Returns a blob that is here for the layer `diff_id`, whichever image brought it.
    pub(crate) fn blob_of(&self, diff_id: &DiffId) -> Option<Blob> {
        let all = self.all();
        let mut blobs = all.iter().flat_map(|entry| &entry.record.layers);
        blobs.find(|blob| blob.diff_id == *diff_id && self.content.has(&blob.digest)).cloned()
    }

    /// Adds an image whose blobs and layers are all here, with `names` besides those it has.
    pub(crate) fn add(&self, mut record: Record, names: &[Reference]) -> Result<(), Error> {
        let _writer = self.writing();
        if let Some(old) = self.table.get(record.id.hex()) {
            record.tags.extend(old.tags.clone());
            record.digests.extend(old.digests.clone());
            record.manifest = record.manifest.or_else(|| old.manifest.clone());
            record.parent = record.parent.or_else(|| old.parent.clone());
            record.last_tagged = record.last_tagged.max(old.last_tagged);
        }
        self.write_named(record, names)
    }

    /// Puts `names` on an image that is here.
    pub(crate) fn name(&self, id: &ImageId, names: &[Reference]) -> Result<(), Error> {
        let _writer = self.writing();
        let Some(entry) = self.get(id) else {
            return Err(Error::NotFound { name: id.to_string() });
        };
        self.write_named(entry.record.clone(), names)
    }

    fn write_named(&self, mut record: Record, names: &[Reference]) -> Result<(), Error> {
        let id = record.id.clone();
        let losers: Vec<_> = self.all().into_iter().filter(|entry| entry.record.id != id).collect();
        for name in names {
            record.add_name(name, now());
        }
        self.write(record)?;
        for loser in losers {
            if names.iter().any(|name| loser.record.has(name)) {
                let mut record = loser.record.clone();
                names.iter().for_each(|name| record.drop_name(name));
                self.write(record)?;
            }
        }
        Ok(())
    }

    /// Takes a name off whatever image has it.
    pub(crate) fn unname(&self, name: &Reference) -> Result<(), Error> {
        let _writer = self.writing();
        let Some(entry) = self.named(name) else { return Ok(()) };
        let mut record = entry.record.clone();
        record.drop_name(name);
        self.write(record)
    }

    /// Forgets an image; its blobs and layers are for the collector.
    pub(crate) fn delete(&self, id: &ImageId) -> Result<(), Error> {
        let _writer = self.writing();
        self.table.remove(id.hex()).map_err(Error::db)?;
        self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    fn write(&self, record: Record) -> Result<(), Error> {
        self.table.put_durable(record.id.hex(), &record).map_err(Error::db)?;
        self.enter(record)
    }

    fn enter(&self, record: Record) -> Result<(), Error> {
        let id = record.id.clone();
        let config = match self.get(&id) {
            Some(entry) => Arc::clone(&entry.config),
            None => Arc::new(self.read_config(&id)?),
        };
        let chains = ChainId::stack(&config.rootfs.diff_ids);
        let sizes = chains
            .iter()
            .map(|chain| match self.snapshot.layer(chain) {
                Some(layer) => Ok(layer.bytes),
                None => Err(Error::document("config", &id.0, format!("layer {chain} is missing"))),
            })
            .collect::<Result<_, _>>()?;
        let entry = Arc::new(Entry { record, config, chains, sizes });
        self.entries.write().unwrap_or_else(PoisonError::into_inner).insert(id, entry);
        Ok(())
    }

    fn read_config(&self, id: &ImageId) -> Result<ImageConfig, Error> {
        let bytes = self.content.read(&id.0, MAX_CONFIG_BYTES).map_err(Error::content)?;
        crate::document::config(&id.0, &bytes)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
