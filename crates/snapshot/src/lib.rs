//! Layer directories and container file systems: the sole writer of `<data-root>/overlay2`.
//!
//! ```text
//! overlay2/l/<26 letters>            link to ../<name>/diff, so that long stacks still fit one mount call
//! overlay2/<cache id>/diff           an image layer's files
//!                    /link           its name in l/
//!                    /lower          the links of the layers below, topmost first: l/A:l/B (absent in a base layer)
//!                    /committed      empty
//!                    /work           empty (absent in a base layer)
//!                    /layer.json     chain, parent, diff id, bytes: what makes the directory a layer
//! overlay2/<container id>-init/…     the container's init layer: mount points and empty files; like a layer, without layer.json
//! overlay2/<container id>/diff       what the container writes
//!                        /link /lower /work
//!                        /merged     where the whole is mounted
//! overlay2/.tmp-<letters>            half made or half removed; swept at open
//! ```
//!
//! This is the classic overlay2 layout of Docker. Everything is made under a `.tmp-` name and renamed into place when it is whole; removal
//! renames out of place first. A layer is on the disk before its name is (syncfs, rename, fsync): a power cut leaves a whole layer
//! or none. A container's file system is not synced: it must be made in well under a millisecond.
//!
//! ```text
//! layer:      begin_layer -> draft -> commit -> here -> remove_layer      (refused while a child, a draft's child or a container uses it)
//! container:  prepare -> here -> mount <-> unmount -> remove
//! ```
//!
//! Opening the store is its recovery. This room never reads a tar. Blocking calls; cheap to clone, safe to share between threads.
#![forbid(unsafe_code)]

mod container;
mod error;
mod init;
mod layer;
mod mount;
mod recovery;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sys::file;
use types::{ChainId, ContainerId};

pub use container::ContainerFs;
pub use error::Error;
pub use init::InitEntry;
pub use layer::{LayerDraft, LayerInfo, LayerMeta};
pub use recovery::Damaged;

/// The layers and container file systems of one data root.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    index: Mutex<Index>,
    damaged: Vec<Damaged>,
    init_plans: init::Plans,
}

/// What is on the disk, as of the last change.
#[derive(Debug, Default)]
struct Index {
    layers: HashMap<ChainId, layer::Layer>,
    containers: HashMap<ContainerId, container::Container>,
    /// How many drafts stand on a chain that must not go away meanwhile.
    drafts_on: HashMap<ChainId, usize>,
}

impl Index {
    /// Returns the layers of a chain, topmost first; short when one is missing.
    fn stack(&self, top: Option<&ChainId>) -> Vec<&layer::Layer> {
        let mut stack = Vec::new();
        let mut next = top;
        while let Some(layer) = next.and_then(|chain| self.layers.get(chain)) {
            stack.push(layer);
            next = layer.info.parent.as_ref();
        }
        stack
    }

    /// Returns who needs a layer.
    fn user_of(&self, chain: &ChainId) -> Option<String> {
        let child = self.layers.values().find(|layer| layer.info.parent.as_ref() == Some(chain));
        if let Some(child) = child {
            return Some(format!("layer {}", child.info.chain));
        }
        if let Some((id, _)) =
            self.containers.iter().find(|(_, container)| container.top.as_ref() == Some(chain))
        {
            return Some(format!("container {id}"));
        }
        self.drafts_on.contains_key(chain).then(|| "a layer being unpacked".to_owned())
    }
}

impl Store {
    /// Opens the store below `root` and sweeps what a crash left half made or half removed; nothing complete is ever swept.
    ///
    /// # Errors
    /// `Internal`, naming the path, when a directory cannot be created, read or swept.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        let root = root.as_ref();
        let root = std::path::absolute(root).map_err(Error::at("find", root))?;
        let links = root.join("l");
        file::create_directories(&links).map_err(Error::at("create", &links))?;
        let (index, damaged) = recovery::recover(&root)?;
        let (index, init_plans) = (Mutex::new(index), init::Plans::default());
        Ok(Self { shared: Arc::new(Shared { root, index, damaged, init_plans }) })
    }

    /// Names the directories that opening the store could not make sense of; they were left alone.
    #[must_use]
    pub fn damaged(&self) -> &[Damaged] {
        &self.shared.damaged
    }

    fn root(&self) -> &Path {
        &self.shared.root
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.shared.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an empty directory under a name that the next start sweeps.
    fn temporary(&self) -> Result<PathBuf, Error> {
        let root = self.root();
        let name = file::random_name(26).map_err(Error::at("name a directory in", root))?;
        let path = root.join(format!("{}{name}", file::TEMPORARY_PREFIX));
        file::create_directory(&path, 0o710).map_err(Error::at("create", &path))?;
        Ok(path)
    }

    /// Writes the small files and directories that every directory of the layout has, and its link in `l/`; returns the link's name.
    ///
    /// `name` is the final name of the directory that is being made at `path`, `lower` the links of what is below it.
    fn furnish(&self, path: &Path, name: &str, lower: &[String]) -> Result<String, Error> {
        let link = file::random_name(26).map_err(Error::at("name a link of", path))?;
        write(&path.join("link"), link.as_bytes())?;
        if !lower.is_empty() {
            let lower: Vec<String> = lower.iter().map(|link| format!("l/{link}")).collect();
            write(&path.join("lower"), lower.join(":").as_bytes())?;
            let work = path.join("work");
            file::create_directory(&work, 0o700).map_err(Error::at("create", &work))?;
        }
        self.link(&link, name)?;
        Ok(link)
    }

    fn link(&self, link: &str, name: &str) -> Result<(), Error> {
        let at = self.root().join("l").join(link);
        let target = Path::new("..").join(name).join("diff");
        file::symlink(&target, &at).map_err(Error::at("create", &at))
    }

    /// Takes a directory out of place in one step, then removes it with its link.
    fn discard(&self, path: &Path, link: &str) -> Result<(), Error> {
        let name = file::random_name(26).map_err(Error::at("name a directory in", self.root()))?;
        let aside = self.root().join(format!("{}{name}", file::TEMPORARY_PREFIX));
        match file::rename(path, &aside) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other.map_err(Error::at("rename", path))?,
        }
        let link = self.root().join("l").join(link);
        file::remove_file(&link).map_err(Error::at("remove", &link))?;
        file::remove_tree(&aside).map_err(Error::at("remove", &aside))
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    file::create_new(path)
        .and_then(|mut file| file::write_all(&mut file, bytes))
        .map_err(Error::at("write", path))
}
