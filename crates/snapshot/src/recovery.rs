//! Opening the store: reading what is there, sweeping what a crash left half made, naming what makes no sense.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use sys::file;
use types::{ChainId, ContainerId};

use crate::container::Container;
use crate::layer::{Layer, LayerInfo, Record};
use crate::{Error, Index};

/// A directory that makes no sense and was left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged directory `{}`: {}", self.path.display(), self.why)
    }
}

struct Recovery<'a> {
    root: &'a Path,
    index: Index,
    damaged: Vec<Damaged>,
    /// Which directory a name in `l/` belongs to.
    links: HashMap<String, String>,
}

/// Reads the directory `root` into an index.
pub(crate) fn recover(root: &Path) -> Result<(Index, Vec<Damaged>), Error> {
    let (index, damaged, links) = (Index::default(), Vec::new(), HashMap::new());
    let mut recovery = Recovery { root, index, damaged, links };
    let names = file::names(root).map_err(Error::at("list", root))?;
    let names: Vec<String> =
        names.iter().filter_map(|name| name.to_str().map(str::to_owned)).collect();
    recovery.sweep(&names)?;
    let directories: Vec<&String> = names.iter().filter(|name| name.len() == 64).collect();
    for name in &directories {
        if root.join(name).join("layer.json").exists() {
            recovery.layer(name)?;
        }
    }
    recovery.drop_orphans();
    for name in &directories {
        if !root.join(name).join("layer.json").exists() {
            recovery.container(name)?;
        }
    }
    recovery.sweep_links()?;
    Ok((recovery.index, recovery.damaged))
}

impl Recovery<'_> {
    /// Removes drafts, halves of removed things, and init layers whose container is not there.
    fn sweep(&mut self, names: &[String]) -> Result<(), Error> {
        for name in names {
            let half_made = name.starts_with(file::TEMPORARY_PREFIX);
            let orphan = name
                .strip_suffix("-init")
                .is_some_and(|id| id.len() == 64 && !self.root.join(id).exists());
            if half_made || orphan {
                let path = self.root.join(name);
                file::remove_tree(&path).map_err(Error::at("remove", &path))?;
            }
        }
        Ok(())
    }

    fn damaged(&mut self, name: &str, why: impl Into<String>) {
        self.damaged.push(Damaged { path: self.root.join(name), why: why.into() });
    }

    fn layer(&mut self, name: &str) -> Result<(), Error> {
        let path = self.root.join(name).join("layer.json");
        let bytes = fs::read(&path).map_err(Error::at("read", &path))?;
        let record: Record = match serde_json::from_slice(&bytes) {
            Ok(record) => record,
            Err(error) => {
                self.damaged(name, format!("layer.json: {error}"));
                return Ok(());
            }
        };
        let Some(link) = self.link(name)? else {
            self.damaged(name, "its link file is torn");
            return Ok(());
        };
        let info = LayerInfo {
            chain: record.chain.clone(),
            cache_id: name.to_owned(),
            parent: record.parent,
            diff_id: record.diff_id,
            bytes: record.bytes,
            diff: self.root.join(name).join("diff"),
        };
        self.index.layers.insert(record.chain, Layer { info, link });
        Ok(())
    }

    /// Reads a directory's name in `l/` and makes the link again when a power cut took it.
    fn link(&mut self, name: &str) -> Result<Option<String>, Error> {
        let path = self.root.join(name).join("link");
        let link = match fs::read_to_string(&path) {
            Ok(link) => link.trim().to_owned(),
            Err(_) => return Ok(None),
        };
        if link.len() != 26 || !link.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(None);
        }
        let target = Path::new("..").join(name).join("diff");
        let at = self.root.join("l").join(&link);
        if fs::read_link(&at).ok().as_deref() != Some(&target) {
            file::remove_file(&at).map_err(Error::at("remove", &at))?;
            file::symlink(&target, &at).map_err(Error::at("create", &at))?;
        }
        self.links.insert(link.clone(), name.to_owned());
        Ok(Some(link))
    }

    /// Takes layers out of the index that stand on one that is missing.
    fn drop_orphans(&mut self) {
        let whole = |index: &Index, chain: &ChainId| {
            index.stack(Some(chain)).last().is_some_and(|base| base.info.parent.is_none())
        };
        let broken: Vec<ChainId> =
            self.index.layers.keys().filter(|chain| !whole(&self.index, chain)).cloned().collect();
        for chain in broken {
            if let Some(layer) = self.index.layers.remove(&chain) {
                self.damaged(&layer.info.cache_id, "a layer below it is missing");
            }
        }
    }

    fn container(&mut self, name: &str) -> Result<(), Error> {
        let Ok(id) = name.parse::<ContainerId>() else { return Ok(()) };
        let init = format!("{name}-init");
        let (Some(link), Some(init_link)) = (self.link(name)?, self.link(&init)?) else {
            self.damaged(name, "its link file or its init layer is torn or missing");
            return Ok(());
        };
        match self.top(name, &init_link) {
            Ok(top) => {
                let container = Container { top, link, init_link, ready: true };
                self.index.containers.insert(id, container);
            }
            Err(why) => self.damaged(name, why),
        }
        Ok(())
    }

    /// Reads from the file `lower` which layer a container stands on.
    fn top(&self, name: &str, init_link: &str) -> Result<Option<ChainId>, String> {
        let lower = fs::read_to_string(self.root.join(name).join("lower"))
            .map_err(|error| format!("lower: {error}"))?;
        let mut links = lower.trim().split(':').map(|part| part.strip_prefix("l/").unwrap_or(part));
        if links.next() != Some(init_link) {
            return Err("its lower file is torn".to_owned());
        }
        let Some(top) = links.next() else { return Ok(None) };
        let cache_id = self.links.get(top).ok_or("the layer below it is missing")?;
        let layer = self.index.layers.values().find(|layer| layer.info.cache_id == *cache_id);
        let layer = layer.ok_or("the layer below it is missing")?;
        if links.count() + 1 != self.index.stack(Some(&layer.info.chain)).len() {
            return Err("its lower file does not match its layers".to_owned());
        }
        Ok(Some(layer.info.chain.clone()))
    }

    /// Removes names in `l/` that lead nowhere.
    fn sweep_links(&mut self) -> Result<(), Error> {
        let links = self.root.join("l");
        let known: HashSet<&str> = self.links.keys().map(String::as_str).collect();
        for name in file::names(&links).map_err(Error::at("list", &links))? {
            let path = links.join(&name);
            let used = name.to_str().is_some_and(|name| known.contains(name));
            if !used && !path.exists() {
                file::remove_file(&path).map_err(Error::at("remove", &path))?;
            }
        }
        Ok(())
    }
}
