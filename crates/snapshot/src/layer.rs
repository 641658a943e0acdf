use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sys::file;
use types::{ChainId, DiffId};

use crate::{Error, Store, write};

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

/// A layer and its name in `l/`.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) info: LayerInfo,
    pub(crate) link: String,
}

/// `layer.json`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) chain: ChainId,
    pub(crate) parent: Option<ChainId>,
    pub(crate) diff_id: DiffId,
    pub(crate) bytes: u64,
}

/// A layer being filled; dropping it uncommitted removes it.
#[derive(Debug)]
pub struct LayerDraft {
    store: Store,
    chain: ChainId,
    parent: Option<ChainId>,
    directory: PathBuf,
    diff: PathBuf,
    /// Its name in `l/`, once it has one.
    link: Option<String>,
    committed: bool,
}

impl LayerDraft {
    /// Returns the directory to unpack into.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.diff
    }

    /// Makes the draft a layer, durably: everything it holds is on the disk before its name is.
    ///
    /// When another draft of the same chain was committed meanwhile, that one is returned and this one removed.
    ///
    /// # Errors
    /// `NotFound` when the parent is not here; `Internal` when the disk refuses. The draft is removed then.
    pub fn commit(mut self, meta: LayerMeta) -> Result<LayerInfo, Error> {
        let store = self.store.clone();
        let lower = {
            let index = store.index();
            if let Some(layer) = index.layers.get(&self.chain) {
                return Ok(layer.info.clone());
            }
            if let Some(parent) = self.parent.as_ref().filter(|p| !index.layers.contains_key(p)) {
                return Err(Error::NoLayer { chain: parent.clone() });
            }
            index.stack(self.parent.as_ref()).iter().map(|layer| layer.link.clone()).collect()
        };
        let layer = self.furnish(meta, lower)?;
        file::sync_file_system(&self.directory).map_err(Error::at("sync", &self.directory))?;
        // From here on under the lock: of two drafts of one chain, one becomes the layer.
        let mut index = store.index();
        if let Some(layer) = index.layers.get(&self.chain) {
            return Ok(layer.info.clone());
        }
        let place = store.root().join(&layer.info.cache_id);
        file::rename_new(&self.directory, &place).map_err(Error::at("rename", &self.directory))?;
        self.committed = true;
        let info = layer.info.clone();
        index.layers.insert(self.chain.clone(), layer);
        drop(index);
        file::sync_directory(store.root()).map_err(Error::at("sync", store.root()))?;
        Ok(info)
    }

    fn furnish(&mut self, meta: LayerMeta, lower: Vec<String>) -> Result<Layer, Error> {
        let store = &self.store;
        let random = file::random().map_err(Error::at("name", &self.directory))?;
        let cache_id = types::Digest::from_sha256(&random).hex().to_owned();
        let link = store.furnish(&self.directory, &cache_id, &lower)?;
        self.link = Some(link.clone());
        write(&self.directory.join("committed"), b"")?;
        let record = Record {
            chain: self.chain.clone(),
            parent: self.parent.clone(),
            diff_id: meta.diff_id.clone(),
            bytes: meta.bytes,
        };
        let json = serde_json::to_vec(&record).expect("digests and numbers have a JSON form");
        write(&self.directory.join("layer.json"), &json)?;
        let info = LayerInfo {
            chain: record.chain,
            diff: store.root().join(&cache_id).join("diff"),
            cache_id,
            parent: record.parent,
            diff_id: meta.diff_id,
            bytes: meta.bytes,
        };
        Ok(Layer { info, link })
    }
}

impl Drop for LayerDraft {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            let mut index = self.store.index();
            if let Some(count) = index.drafts_on.get_mut(parent) {
                *count -= 1;
                if *count == 0 {
                    index.drafts_on.remove(parent);
                }
            }
        }
        if !self.committed {
            // What cannot be removed now is swept at the next start.
            let _ = file::remove_tree(&self.directory);
            if let Some(link) = &self.link {
                let _ = file::remove_file(&self.store.root().join("l").join(link));
            }
        }
    }
}

impl Store {
    /// Tells whether the layer is here.
    #[must_use]
    pub fn has(&self, chain: &ChainId) -> bool {
        self.index().layers.contains_key(chain)
    }

    /// Begins a layer on top of `parent`, which need not be here before the commit: layers may be unpacked side by side.
    ///
    /// # Errors
    /// `Internal`, naming the path, when the disk refuses.
    pub fn begin_layer(
        &self,
        chain: &ChainId,
        parent: Option<&ChainId>,
    ) -> Result<LayerDraft, Error> {
        let directory = self.temporary()?;
        let diff = directory.join("diff");
        if let Some(parent) = parent {
            *self.index().drafts_on.entry(parent.clone()).or_default() += 1;
        }
        let draft = LayerDraft {
            store: self.clone(),
            chain: chain.clone(),
            parent: parent.cloned(),
            directory,
            diff,
            link: None,
            committed: false,
        };
        file::create_directory(&draft.diff, 0o755).map_err(Error::at("create", &draft.diff))?;
        Ok(draft)
    }

    /// Returns what is known of a layer.
    #[must_use]
    pub fn layer(&self, chain: &ChainId) -> Option<LayerInfo> {
        self.index().layers.get(chain).map(|layer| layer.info.clone())
    }

    /// Returns the layers of a chain, topmost first.
    #[must_use]
    pub fn stack(&self, chain: &ChainId) -> Vec<LayerInfo> {
        self.index().stack(Some(chain)).iter().map(|layer| layer.info.clone()).collect()
    }

    /// Lists the layers, in no order.
    #[must_use]
    pub fn layers(&self) -> Vec<LayerInfo> {
        self.index().layers.values().map(|layer| layer.info.clone()).collect()
    }

    /// Removes a layer.
    ///
    /// # Errors
    /// `NotFound`; `Conflict`, naming the user, while a child or a container uses it; `Internal` when the disk refuses.
    pub fn remove_layer(&self, chain: &ChainId) -> Result<(), Error> {
        let layer = {
            let mut index = self.index();
            if !index.layers.contains_key(chain) {
                return Err(Error::NoLayer { chain: chain.clone() });
            }
            if let Some(user) = index.user_of(chain) {
                return Err(Error::InUse { chain: chain.clone(), user });
            }
            self.shared.init_plans.forget(chain);
            index.layers.remove(chain)
        };
        let Some(layer) = layer else { return Ok(()) };
        let place = self.root().join(&layer.info.cache_id);
        let removed = self.discard(&place, &layer.link);
        if removed.is_err() && place.exists() {
            self.index().layers.insert(chain.clone(), layer);
        }
        removed
    }
}
