//! `docker diff`: what an overlay upper directory changes of the layers below it.
//!
//! The list is what Docker's comparison of the two mounted trees gives: a changed or copied-up object counts when its mode, owner,
//! device or capability differs, or, unless it is a directory, its size or time; the directories above a change are themselves
//! changed, but for the root; of a deleted directory only the directory is listed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Error;
use crate::extract::itself;
use crate::walk::{names, open_beneath, xattr};
use crate::whiteout::OPAQUE_XATTR;

/// How a path of a container differs from its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// `C`, 0 in the Engine API.
    Modified,
    /// `A`, 1 in the Engine API.
    Added,
    /// `D`, 2 in the Engine API.
    Deleted,
}

/// One line of `docker diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The absolute path inside the container.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// Lists what the overlay upper directory `upper` changes of `lowers` (topmost first), sorted by path.
///
/// # Errors
/// `Internal` when a directory cannot be read.
pub fn changes(upper: &Path, lowers: &[PathBuf]) -> Result<Vec<Change>, Error> {
    let lowers: Vec<OwnedFd> = lowers.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
    let all = (0..lowers.len()).collect();
    let mut comparison = Comparison { upper: open(upper)?, lowers, changes: Vec::new() };
    comparison.directory(Path::new(""), all, false)?;
    comparison.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(comparison.changes)
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::disk("open", path))
}

struct Comparison {
    upper: OwnedFd,
    lowers: Vec<OwnedFd>,
    changes: Vec<Change>,
}

/// What the layers below have at a path.
struct Below {
    stat: Stat,
    capability: Option<Vec<u8>>,
    /// The layers whose directories are merged there, topmost first.
    merged: Vec<usize>,
}

impl Comparison {
    /// Compares what is in a directory of the upper one with the layers merged into it.
    fn directory(&mut self, path: &Path, merged: Vec<usize>, added: bool) -> Result<(), Error> {
        let fd = match open_beneath(self.upper.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(Error::disk("open", path))?,
        };
        let before = self.changes.len();
        let own = names(fd.as_fd()).map_err(Error::disk("list", path))?;
        for name in &own {
            self.entry(fd.as_fd(), name, &path.join(name), &merged)?;
        }
        if xattr(&itself(fd.as_fd()).join("."), OsStr::new(OPAQUE_XATTR)).is_some() {
            for name in self.names_below(path, &merged)? {
                if !own.iter().any(|own| *own == name) {
                    self.push(&path.join(name), ChangeKind::Deleted);
                }
            }
        }
        let changed = self.changes.len() > before;
        let listed = added || before > 0 && self.changes[before - 1].path == absolute(path);
        if changed && !listed && !path.as_os_str().is_empty() {
            self.push(path, ChangeKind::Modified);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        merged: &[usize],
    ) -> Result<(), Error> {
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(Error::disk("stat", path))?,
        };
        let below = self.below(path, merged)?;
        if is_whiteout(&stat) {
            if below.is_some() {
                self.push(path, ChangeKind::Deleted);
            }
            return Ok(());
        }
        let added = below.is_none();
        let merged = match below {
            None => {
                self.push(path, ChangeKind::Added);
                Vec::new()
            }
            Some(below) => {
                let capability = capability(&itself(directory).join(name));
                if differs(&stat, &below.stat) || capability != below.capability {
                    self.push(path, ChangeKind::Modified);
                }
                below.merged
            }
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(path, merged, added),
            _ => Ok(()),
        }
    }

    fn push(&mut self, path: &Path, kind: ChangeKind) {
        self.changes.push(Change { path: absolute(path), kind });
    }

    /// Looks a path up in the union of `merged`, the layers that have its parent directory.
    fn below(&self, path: &Path, merged: &[usize]) -> Result<Option<Below>, Error> {
        let mut below: Option<Below> = None;
        for layer in merged {
            let fd = match open_beneath(self.lowers[*layer].as_fd(), path, OFlags::PATH) {
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                other => other.map_err(Error::disk("open", path))?,
            };
            let stat = rustix::fs::fstat(&fd).map_err(Error::disk("stat", path))?;
            if is_whiteout(&stat) {
                break;
            }
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let itself = itself(fd.as_fd());
            match &mut below {
                None => {
                    let capability = rustix_capability(&itself);
                    let merged = if is_directory { vec![*layer] } else { Vec::new() };
                    below = Some(Below { stat, capability, merged });
                }
                Some(below) if is_directory => below.merged.push(*layer),
                Some(_) => break,
            }
            if !is_directory || xattr(&itself.join("."), OsStr::new(OPAQUE_XATTR)).is_some() {
                break;
            }
        }
        Ok(below)
    }

    /// Lists what the union of `merged` has in a directory.
    fn names_below(&self, path: &Path, merged: &[usize]) -> Result<BTreeSet<PathBuf>, Error> {
        let mut all = BTreeSet::new();
        for layer in merged {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let fd = open_beneath(self.lowers[*layer].as_fd(), path, flags)
                .map_err(Error::disk("open", path))?;
            all.extend(
                names(fd.as_fd())
                    .map_err(Error::disk("list", path))?
                    .into_iter()
                    .map(PathBuf::from),
            );
        }
        let mut kept = BTreeSet::new();
        for name in all {
            if self.below(&path.join(&name), merged)?.is_some() {
                kept.insert(name);
            }
        }
        Ok(kept)
    }
}

fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn differs(new: &Stat, old: &Stat) -> bool {
    let is_directory = FileType::from_raw_mode(new.st_mode) == FileType::Directory;
    new.st_mode != old.st_mode
        || (new.st_uid, new.st_gid, new.st_rdev) != (old.st_uid, old.st_gid, old.st_rdev)
        || !is_directory
            && (new.st_size, new.st_mtime, new.st_mtime_nsec)
                != (old.st_size, old.st_mtime, old.st_mtime_nsec)
}

fn capability(path: &Path) -> Option<Vec<u8>> {
    xattr(path, OsStr::new("security.capability"))
}

/// As [`capability`], of the object that a descriptor's name in procfs leads to.
fn rustix_capability(itself: &Path) -> Option<Vec<u8>> {
    let mut value = [0; 64];
    let size = rustix::fs::getxattr(itself, "security.capability", &mut value[..]).ok()?;
    Some(value[..size].to_vec())
}
