//! The init layer: what Docker puts between image and container, so that mount points and the files mounted over `/etc` exist
//! whatever the image holds. What the image has already as a directory stays the image's; the directories above the
//! entries keep the image's owner, mode, times and xattrs.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use sys::file;
use types::ChainId;

use crate::Error;

/// One thing of a container's init layer, by its path inside the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitEntry {
    /// A directory and its parents, mode 0755.
    Directory(PathBuf),
    /// An empty file to mount upon, mode 0755.
    File(PathBuf),
    /// A symbolic link.
    Symlink {
        /// The link's own path.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
}

impl InitEntry {
    /// Returns the entries of Docker's init layer.
    #[must_use]
    pub fn docker() -> Vec<Self> {
        let mut entries: Vec<Self> = ["dev/pts", "dev/shm", "proc", "sys"]
            .into_iter()
            .map(|path| Self::Directory(path.into()))
            .collect();
        let files = ["etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console", ".dockerenv"];
        entries.extend(files.into_iter().map(|path| Self::File(path.into())));
        entries.push(Self::Symlink { path: "etc/mtab".into(), target: "/proc/mounts".into() });
        entries
    }

    fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::File(path) | Self::Symlink { path, .. } => path,
        }
    }
}

/// One step of making an init layer.
#[derive(Debug)]
pub(crate) enum Step {
    Directory { path: PathBuf, like: Option<Like> },
    File(PathBuf),
    Symlink { path: PathBuf, target: PathBuf },
}

/// What a directory of the image looks like.
#[derive(Debug)]
pub(crate) struct Like {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

type Known = (Vec<InitEntry>, Arc<Vec<Step>>);

/// The plans made so far: for one image and one list of entries always the same.
#[derive(Debug, Default)]
pub(crate) struct Plans(Mutex<HashMap<Option<ChainId>, Known>>);

impl Plans {
    /// Returns the steps that make the init layer on top of the layers `diffs` of the chain `top`.
    pub(crate) fn plan(
        &self,
        top: Option<&ChainId>,
        entries: &[InitEntry],
        diffs: &[PathBuf],
    ) -> Result<Arc<Vec<Step>>, Error> {
        let key = top.cloned();
        if let Some((known, steps)) = self.lock().get(&key)
            && known == entries
        {
            return Ok(Arc::clone(steps));
        }
        let steps = Arc::new(plan(entries, diffs)?);
        self.lock().insert(key, (entries.to_vec(), Arc::clone(&steps)));
        Ok(steps)
    }

    pub(crate) fn forget(&self, chain: &ChainId) {
        self.lock().remove(&Some(chain.clone()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Option<ChainId>, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn plan(entries: &[InitEntry], diffs: &[PathBuf]) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    let mut made = Vec::new();
    for entry in entries {
        let parts: Vec<&OsStr> = entry
            .path()
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name),
                _ => None,
            })
            .collect();
        let Some((_, parents)) = parts.split_last() else { continue };
        let mut image = Union { layers: diffs.to_vec(), directory: None };
        let mut path = PathBuf::new();
        let mut missing = Vec::new();
        for part in parents {
            path.push(part);
            image = image.enter(part)?;
            missing.push((path.clone(), image.directory.take()));
        }
        let path: PathBuf = parts.iter().collect();
        let there = image.enter(parts[parts.len() - 1])?;
        // A directory of the image serves as mount point as it is.
        if there.directory.is_some() {
            continue;
        }
        for (path, like) in missing {
            if !made.contains(&path) {
                made.push(path.clone());
                steps.push(Step::Directory { path, like });
            }
        }
        if made.contains(&path) {
            continue;
        }
        steps.push(match entry {
            InitEntry::Directory(_) => {
                made.push(path.clone());
                Step::Directory { path, like: None }
            }
            InitEntry::File(_) => Step::File(path),
            InitEntry::Symlink { target, .. } => Step::Symlink { path, target: target.clone() },
        });
    }
    Ok(steps)
}

/// A directory of the image: the directories of the layers that are merged into it, topmost first.
struct Union {
    layers: Vec<PathBuf>,
    /// What it looks like; nothing when the image has no directory there.
    directory: Option<Like>,
}

impl Union {
    /// Looks `name` up, without following links.
    fn enter(&self, name: &OsStr) -> Result<Self, Error> {
        let mut below = Self { layers: Vec::new(), directory: None };
        for layer in &self.layers {
            let path = layer.join(name);
            let meta = match std::fs::symlink_metadata(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(Error::at("stat", &path))?,
            };
            // A whiteout, a file or a link ends what is merged.
            if !meta.is_dir() || meta.file_type().is_char_device() {
                break;
            }
            if below.directory.is_none() {
                below.directory = Some(like(&path, &meta));
            }
            let opaque = xattr(&path, b"trusted.overlay.opaque").is_some_and(|value| value == b"y");
            below.layers.push(path);
            if opaque {
                break;
            }
        }
        Ok(below)
    }
}

fn like(path: &Path, meta: &Metadata) -> Like {
    let mut names = [0_u8; 16 * 1024];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let xattrs = names[..length]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty() && !name.starts_with(b"trusted.overlay."))
        .filter_map(|name| Some((name.to_vec(), xattr(path, name)?)))
        .collect();
    Like {
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        xattrs,
    }
}

fn xattr(path: &Path, name: &[u8]) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// Takes the steps in the fresh directory `diff`.
pub(crate) fn apply(steps: &[Step], diff: &Path) -> Result<(), Error> {
    for step in steps {
        match step {
            Step::Directory { path, like } => {
                let path = diff.join(path);
                let mode = like.as_ref().map_or(0o755, |like| like.mode);
                file::create_directory(&path, mode).map_err(Error::at("create", &path))?;
                if let Some(like) = like {
                    resemble(&path, like).map_err(Error::at("describe", &path))?;
                }
            }
            Step::File(path) => {
                let path = diff.join(path);
                file::create_new(&path).map_err(Error::at("create", &path))?;
                rustix::fs::chmod(&path, Mode::from_raw_mode(0o755))
                    .map_err(Error::at("change the mode of", &path))?;
            }
            Step::Symlink { path, target } => {
                let path = diff.join(path);
                file::symlink(target, &path).map_err(Error::at("create", &path))?;
            }
        }
    }
    // Making what is in a directory has changed its time.
    for step in steps {
        if let Step::Directory { path, like: Some(like) } = step {
            let path = diff.join(path);
            let (tv_sec, tv_nsec) = like.mtime;
            let time = Timespec { tv_sec, tv_nsec };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::at("set the time of", &path))?;
        }
    }
    Ok(())
}

fn resemble(path: &Path, like: &Like) -> rustix::io::Result<()> {
    let (uid, gid) = like.owner;
    if like.owner != (0, 0) {
        rustix::fs::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::chmod(path, Mode::from_raw_mode(like.mode))?;
    }
    for (name, value) in &like.xattrs {
        let _ = rustix::fs::setxattr(path, OsStr::from_bytes(name), value, XattrFlags::empty());
    }
    Ok(())
}
