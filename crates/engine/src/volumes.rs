//! Volumes: directories under `R/volumes/NAME/_data`, records in the db's table `volumes`.
//!
//! Create: the directory, then the record; remove: the record, then the directory. A crash leaves a directory without a record,
//! which recovery removes only if it is empty: bytes of users are never swept.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sys::file;
use types::Kind;

use crate::engine::{Engine, Room, blocking, host_error};
use crate::events::Subject;
use crate::filters::Filters;
use crate::mountpoint::{MountKind, MountPoint};
use crate::request::VolumeRequest;
use crate::view::{Pruned, VolumeView};
use crate::{EngineError, Result};

/// The label of volumes that nobody named, as in Docker.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// One volume.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct VolumeRecord {
    /// RFC 3339.
    created: String,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
}

impl Engine {
    fn volume_dir(&self, name: &str) -> PathBuf {
        self.options.data_root.join("volumes").join(name)
    }

    fn volume_view(&self, name: &str, record: &VolumeRecord) -> VolumeView {
        VolumeView {
            name: name.to_owned(),
            driver: "local".to_owned(),
            mountpoint: self.volume_dir(name).join("_data").display().to_string(),
            created: record.created.parse().ok(),
            labels: record.labels.clone(),
            options: record.options.clone(),
            ref_count: u32::try_from(self.volume_users(name).len()).unwrap_or(u32::MAX),
        }
    }

    /// Ids of the containers that use a volume.
    fn volume_users(&self, name: &str) -> Vec<String> {
        let uses = |view: &crate::ContainerView| {
            view.mounts.iter().any(|m| m.name.as_deref() == Some(name))
        };
        let all = self.roster.all();
        all.iter()
            .map(|handle| handle.view())
            .filter(|view| uses(view))
            .map(|v| v.id.to_string())
            .collect()
    }

    /// Creates a volume, or returns the one that exists.
    ///
    /// # Errors
    /// `Invalid`; `NotFound`: unknown driver.
    pub async fn volume_create(&self, request: VolumeRequest) -> Result<VolumeView> {
        if !["", "local"].contains(&request.driver.as_str()) {
            let driver = &request.driver;
            return Err(EngineError::not_found(format!(
                "error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            )));
        }
        let (mut name, mut labels) = (request.name, request.labels);
        if name.is_empty() {
            name = random_hex()?;
            labels.entry(ANONYMOUS.to_owned()).or_default();
        }
        if !types::is_valid_name(&name) {
            return Err(EngineError::invalid(format!(
                "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
            )));
        }
        check_options(&request.options)?;
        let _turn = self.volume_turn.lock().await;
        if let Some(record) = self.volumes.get(&name) {
            return Ok(self.volume_view(&name, &record));
        }
        let record = VolumeRecord {
            created: Timestamp::now().to_string(),
            labels,
            options: request.options,
        };
        let (dir, table) = (self.volume_dir(&name), self.volumes.clone());
        let (key, kept) = (name.clone(), record.clone());
        blocking(move || {
            make_volume(&dir)?;
            table.put_durable(&key, &kept).room()
        })
        .await?;
        let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        self.events.publish(Subject::Volume, "create", name.as_str(), attributes);
        Ok(self.volume_view(&name, &record))
    }

    /// Lists volumes (filters `name`, `label`, `driver`, `dangling`).
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub fn volume_list(&self, filters: &Filters) -> Result<Vec<VolumeView>> {
        filters.allow_only(&["name", "label", "driver", "dangling"])?;
        let dangling = filters.flag("dangling")?;
        let patterns = patterns(filters.get("name"))?;
        let views = self.volumes.iter().map(|(name, record)| self.volume_view(&name, &record));
        Ok(views
            .filter(|v| patterns.is_empty() || patterns.iter().any(|p| p.is_match(&v.name)))
            .filter(|v| filters.labels("label", &v.labels))
            .filter(|v| filters.any("driver", |driver| driver == v.driver))
            .filter(|v| dangling.is_none_or(|want| want == (v.ref_count == 0)))
            .collect())
    }

    /// Shows a volume.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn volume_inspect(&self, name: &str) -> Result<VolumeView> {
        match self.volumes.get(name) {
            Some(record) => Ok(self.volume_view(name, &record)),
            None => Err(EngineError::not_found(format!("get {name}: no such volume"))),
        }
    }

    /// Removes a volume; `force` forgives its absence.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when a container uses it.
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        let _turn = self.volume_turn.lock().await;
        if !self.volumes.contains(name) {
            return if force { Ok(()) } else { self.volume_inspect(name).map(drop) };
        }
        let users = self.volume_users(name);
        if !users.is_empty() {
            return Err(EngineError::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        let (dir, table, key) = (self.volume_dir(name), self.volumes.clone(), name.to_owned());
        blocking(move || {
            let _ = rustix::mount::unmount(dir.join("_data"), rustix::mount::UnmountFlags::DETACH);
            table.remove(&key).room()?;
            file::remove_tree(&dir).map_err(|error| host_error("remove", dir.display(), error))
        })
        .await?;
        let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        self.events.publish(Subject::Volume, "destroy", name, attributes);
        Ok(())
    }

    /// Removes unused volumes: anonymous ones, or all with the filter `all=1`.
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub async fn volume_prune(&self, filters: &Filters) -> Result<Pruned> {
        filters.allow_only(&["label", "label!", "all"])?;
        let all = filters.flag("all")?.unwrap_or(false);
        let mut pruned = Pruned::default();
        for view in self.volume_list(&Filters::default())? {
            let chosen = view.ref_count == 0
                && (all || view.labels.contains_key(ANONYMOUS))
                && filters.labels("label", &view.labels)
                && !(filters.has("label!") && filters.labels("label!", &view.labels));
            if !chosen {
                continue;
            }
            let dir = PathBuf::from(&view.mountpoint);
            let bytes = blocking(move || Ok(tree_bytes(&dir))).await?;
            if self.volume_remove(&view.name, true).await.is_ok() {
                pruned.space_reclaimed = pruned.space_reclaimed.saturating_add(bytes);
                pruned.deleted.push(view.name);
            }
        }
        let attributes =
            BTreeMap::from([("reclaimed".to_owned(), pruned.space_reclaimed.to_string())]);
        self.events.publish(Subject::Volume, "prune", "", attributes);
        Ok(pruned)
    }

    /// Makes the volume of a mount point exist and fills in its name and source.
    pub(crate) async fn provide_volume(&self, mount: &mut MountPoint) -> Result<()> {
        if mount.kind != MountKind::Volume {
            return Ok(());
        }
        let request = VolumeRequest {
            name: mount.name.clone(),
            driver: String::new(),
            options: mount.options.clone(),
            labels: mount.labels.clone(),
        };
        let view = self.volume_create(request).await?;
        mount.name = view.name;
        mount.source = PathBuf::from(view.mountpoint);
        Ok(())
    }

    /// Mounts what a volume's options ask for (`type`, `o`, `device`) at its `_data`, unless it is mounted.
    pub(crate) fn mount_volume(&self, name: &str) -> Result<()> {
        let Some(record) = self.volumes.get(name) else {
            return Err(EngineError::not_found(format!("get {name}: no such volume")));
        };
        if record.options.is_empty() {
            return Ok(());
        }
        let target = self.volume_dir(name).join("_data");
        if is_mount_point(&target) {
            return Ok(());
        }
        mount_options(&record.options, &target).map_err(|error| {
            EngineError::caused(
                Kind::Internal,
                format!(
                    "error while mounting volume '{}': failed to mount local volume",
                    target.display()
                ),
                error,
            )
        })
    }
}

fn random_hex() -> Result<String> {
    let bytes = file::random::<32>().map_err(|error| host_error("read", "random bytes", error))?;
    Ok(types::ContainerId::from_bytes(&bytes).to_string())
}

fn make_volume(dir: &Path) -> Result<()> {
    file::create_directories(dir).map_err(|error| host_error("create", dir.display(), error))?;
    let data = dir.join("_data");
    match file::create_directory(&data, 0o755) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(host_error("create", data.display(), error))
        }
        _ => Ok(()),
    }
}

fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    match options.keys().find(|key| !["type", "o", "device", "size"].contains(&key.as_str())) {
        Some(key) => Err(EngineError::invalid(format!("invalid option: {key:?}"))),
        None if options.contains_key("type") != options.contains_key("device") => {
            Err(EngineError::invalid("missing required option: \"device\" or \"type\""))
        }
        None => Ok(()),
    }
}

fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    path.parent().is_some_and(|parent| device(parent) != device(path))
}

fn mount_options(options: &BTreeMap<String, String>, target: &Path) -> std::io::Result<()> {
    use rustix::mount::{MountFlags, mount, mount_bind_recursive};
    let get = |key: &str| options.get(key).map_or("", String::as_str);
    let (mut flags, mut data, mut bind) = (MountFlags::empty(), Vec::new(), false);
    for option in get("o").split(',').filter(|option| !option.is_empty()) {
        match option {
            "bind" | "rbind" => bind = true,
            "ro" => flags |= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "rw" | "defaults" => {}
            other => data.push(other),
        }
    }
    if bind {
        return Ok(mount_bind_recursive(get("device"), target)?);
    }
    let data = std::ffi::CString::new(data.join(",")).map_err(std::io::Error::other)?;
    Ok(mount(get("device"), target, get("type"), flags, Some(data.as_c_str()))?)
}

/// Compiles unanchored patterns.
pub(crate) fn patterns(texts: &[String]) -> Result<Vec<regex_lite::Regex>> {
    let compile = |text: &String| {
        regex_lite::Regex::new(text).map_err(|error| {
            EngineError::caused(Kind::Invalid, format!("invalid filter 'name={text}'"), error)
        })
    };
    texts.iter().map(compile).collect()
}

/// Bytes of the regular files of a tree.
pub(crate) fn tree_bytes(root: &Path) -> u64 {
    let mut total = 0u64;
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => todo.push(entry.path()),
                Ok(meta) if meta.is_file() => total = total.saturating_add(meta.len()),
                _ => {}
            }
        }
    }
    total
}

/// Copies the image's content at `destination` into an empty volume; what is not a directory there is left alone.
pub(crate) fn copy_up(root: &Path, destination: &str, volume: &Path) -> Result<()> {
    let mut entries =
        std::fs::read_dir(volume).map_err(|error| host_error("read", volume.display(), error))?;
    if entries.next().is_some() {
        return Ok(());
    }
    let root = sys::inroot::open_root(root)
        .map_err(|error| host_error("open", root.display(), error.into()))?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    let Ok(from) = sys::inroot::open(&root, destination, flags, rustix::fs::Mode::empty()) else {
        return Ok(());
    };
    let to =
        rustix::fs::open(volume, flags | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .map_err(|error| host_error("open", volume.display(), error.into()))?;
    crate::copy::copy_directory(from.as_fd(), to.as_fd())
        .map_err(|error| host_error("copy image content to", volume.display(), error))
}
