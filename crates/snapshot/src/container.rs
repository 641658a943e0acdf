use std::path::PathBuf;

use sys::file;
use types::{ChainId, ContainerId};

use crate::init::{self, InitEntry};
use crate::{Error, Store};

/// The directories of one container's file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFs {
    /// The init layer, then the image's layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// overlayfs' own room.
    pub work: PathBuf,
    /// Where the whole is mounted.
    pub merged: PathBuf,
}

/// What the index knows of a container's file system.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) top: Option<ChainId>,
    /// Its name in `l/`.
    pub(crate) link: String,
    /// Its init layer's name in `l/`.
    pub(crate) init_link: String,
    /// False until it is whole on the disk.
    pub(crate) ready: bool,
}

impl Store {
    /// Lists the containers that have a file system here, in no order.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerId> {
        let index = self.index();
        let ready = index.containers.iter().filter(|(_, container)| container.ready);
        ready.map(|(id, _)| id.clone()).collect()
    }

    /// Makes a container's file system on top of the layer `top`, or on nothing.
    ///
    /// # Errors
    /// `NotFound` when `top` is not here; `Conflict` when the container has a file system; `Internal`, naming the path, when the disk refuses.
    pub fn prepare(
        &self,
        id: &ContainerId,
        top: Option<&ChainId>,
        init: &[InitEntry],
    ) -> Result<ContainerFs, Error> {
        let (diffs, links) = self.reserve(id, top)?;
        let made = self.make(id, top, init, &diffs, links);
        let mut index = self.index();
        match made {
            Ok(container) => {
                index.containers.insert(id.clone(), container);
                drop(index);
                self.container(id).ok_or_else(|| Error::NoContainer { id: id.clone() })
            }
            Err(error) => {
                index.containers.remove(id);
                Err(error)
            }
        }
    }

    /// Enters the container, so that its layers stay, and returns their `diff` directories and links, topmost first.
    fn reserve(
        &self,
        id: &ContainerId,
        top: Option<&ChainId>,
    ) -> Result<(Vec<PathBuf>, Vec<String>), Error> {
        let mut index = self.index();
        if index.containers.contains_key(id) {
            return Err(Error::Exists { id: id.clone() });
        }
        if let Some(top) = top.filter(|top| !index.layers.contains_key(top)) {
            return Err(Error::NoLayer { chain: top.clone() });
        }
        let stack = index.stack(top);
        let found = stack.iter().map(|layer| (layer.info.diff.clone(), layer.link.clone())).unzip();
        let container = Container {
            top: top.cloned(),
            link: String::new(),
            init_link: String::new(),
            ready: false,
        };
        index.containers.insert(id.clone(), container);
        Ok(found)
    }

    /// Makes the init layer first, then the container: an init layer alone is swept, a container is never without one.
    fn make(
        &self,
        id: &ContainerId,
        top: Option<&ChainId>,
        init: &[InitEntry],
        diffs: &[PathBuf],
        mut lower: Vec<String>,
    ) -> Result<Container, Error> {
        let plan = self.shared.init_plans.plan(top, init, diffs)?;
        let init_name = format!("{id}-init");
        let init_link = self.build(&init_name, &lower, |path| {
            init::apply(&plan, &path.join("diff"))?;
            crate::write(&path.join("committed"), b"")
        })?;
        lower.insert(0, init_link.clone());
        let made = self.build(id.as_str(), &lower, |path| {
            let merged = path.join("merged");
            file::create_directory(&merged, 0o755).map_err(Error::at("create", &merged))
        });
        let link = match made {
            Ok(link) => link,
            Err(error) => {
                // What cannot be removed now is swept at the next start.
                let _ = self.discard(&self.root().join(&init_name), &init_link);
                return Err(error);
            }
        };
        Ok(Container { top: top.cloned(), link, init_link, ready: true })
    }

    /// Makes one directory of the layout under a temporary name, lets `fill` finish it, and renames it into place.
    fn build(
        &self,
        name: &str,
        lower: &[String],
        fill: impl FnOnce(&PathBuf) -> Result<(), Error>,
    ) -> Result<String, Error> {
        let path = self.temporary()?;
        let diff = path.join("diff");
        let place = self.root().join(name);
        let built = file::create_directory(&diff, 0o755)
            .map_err(Error::at("create", &diff))
            .and_then(|()| self.furnish(&path, name, lower))
            .and_then(|link| fill(&path).map(|()| link))
            .and_then(|link| {
                file::rename_new(&path, &place).map_err(Error::at("rename", &path)).map(|()| link)
            });
        if built.is_err() {
            if let Ok(link) = std::fs::read_to_string(path.join("link")) {
                let _ = file::remove_file(&self.root().join("l").join(link));
            }
            let _ = file::remove_tree(&path);
        }
        built
    }

    /// Returns the directories of a container's file system.
    #[must_use]
    pub fn container(&self, id: &ContainerId) -> Option<ContainerFs> {
        let index = self.index();
        let container = index.containers.get(id).filter(|container| container.ready)?;
        let mut lower = vec![self.root().join(format!("{id}-init")).join("diff")];
        lower.extend(index.stack(container.top.as_ref()).iter().map(|l| l.info.diff.clone()));
        let own = self.root().join(id.as_str());
        Some(ContainerFs {
            lower,
            upper: own.join("diff"),
            work: own.join("work"),
            merged: own.join("merged"),
        })
    }

    /// Returns the names in `l/` of a container's lower directories, topmost first.
    pub(crate) fn lower_links(&self, id: &ContainerId) -> Option<Vec<String>> {
        let index = self.index();
        let container = index.containers.get(id).filter(|container| container.ready)?;
        let mut links = vec![container.init_link.clone()];
        links.extend(index.stack(container.top.as_ref()).iter().map(|layer| layer.link.clone()));
        Some(links)
    }

    /// Unmounts and removes a container's file system; one that is not here is fine. The image's layers stay.
    ///
    /// # Errors
    /// `Internal`, naming the path, when the disk refuses; the next start goes on with the removal.
    pub fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let Some(container) = self.index().containers.get(id).cloned() else { return Ok(()) };
        self.unmount(id)?;
        let own = self.root().join(id.as_str());
        // The container first: an init layer without its container is swept, the other way round it would not be.
        let removed = self.discard(&own, &container.link).and_then(|()| {
            self.discard(&self.root().join(format!("{id}-init")), &container.init_link)
        });
        if !own.exists() {
            self.index().containers.remove(id);
        }
        removed
    }

    /// Returns the bytes that the container has written: its upper directory's files and links, each counted once.
    ///
    /// # Errors
    /// `NotFound`; `Internal` when a directory cannot be read.
    pub fn usage(&self, id: &ContainerId) -> Result<u64, Error> {
        let fs = self.container(id).ok_or_else(|| Error::NoContainer { id: id.clone() })?;
        file::tree_bytes(&fs.upper).map_err(Error::at("measure", &fs.upper))
    }
}
