//! Walks a tree that may be alive and hostile, by descriptor and without following links.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::Error;
use crate::extract::itself;

/// Something found in a tree.
pub(crate) struct Found<'a> {
    /// Its path below the root of the walk.
    pub(crate) path: &'a Path,
    /// The directory it is in.
    pub(crate) directory: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a OsStr,
    /// What it was when it was found.
    pub(crate) stat: Stat,
}

impl Found<'_> {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a regular file for reading; nothing when it is gone or has become something else meanwhile.
    pub(crate) fn open_file(&self) -> Result<Option<(File, Stat)>, Error> {
        // A file swapped for a FIFO must not block the walk.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(self.directory, self.name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            other => other.map_err(Error::disk("open", self.path))?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(Error::disk("stat", self.path))?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(regular.then(|| (File::from(fd), stat)))
    }

    pub(crate) fn read_link(&self) -> Result<Option<Vec<u8>>, Error> {
        match rustix::fs::readlinkat(self.directory, self.name, Vec::new()) {
            Ok(target) => Ok(Some(target.into_bytes())),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(Error::disk("read link", self.path)(errno)),
        }
    }

    /// Returns the value of one xattr.
    pub(crate) fn xattr(&self, name: &str) -> Option<Vec<u8>> {
        xattr(&self.itself(), OsStr::new(name))
    }

    /// Returns every xattr, sorted by name.
    pub(crate) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let path = self.itself();
        let list = |buffer: &mut [u8]| rustix::fs::llistxattr(&path, buffer);
        let Some(buffer) = grow(list, || rustix::fs::llistxattr_query(&path)) else {
            return Vec::new();
        };
        let names = buffer.split(|b| *b == 0).filter(|name| !name.is_empty());
        let mut xattrs: Vec<_> = names
            .filter_map(|name| Some((name.to_vec(), xattr(&path, OsStr::from_bytes(name))?)))
            .collect();
        xattrs.sort();
        xattrs
    }

    /// The path that names it through its directory's descriptor.
    fn itself(&self) -> PathBuf {
        itself(self.directory).join(self.name)
    }
}

/// Reads one xattr of the object at `path`, not following a link there.
pub(crate) fn xattr(path: &Path, name: &OsStr) -> Option<Vec<u8>> {
    grow(
        |buffer| rustix::fs::lgetxattr(path, name, buffer),
        || rustix::fs::lgetxattr_query(path, name),
    )
}

/// Reads what rarely needs more than a small buffer, and asks for the size when it does.
fn grow(
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    size: impl Fn() -> rustix::io::Result<usize>,
) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 512];
    for _ in 0..8 {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Some(buffer);
            }
            Err(Errno::RANGE) => buffer.resize(size().ok()?.max(1), 0),
            Err(_) => return None,
        }
    }
    None
}

/// Opens a directory beneath `root` without following any link.
pub(crate) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    for _ in 0..64 {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Lists the names in an open directory, sorted.
pub(crate) fn names(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort();
    Ok(names)
}

/// How many directories are held open on the way down; those above are opened again on the way back.
const MOST_OPEN: usize = 32;

/// A directory being walked.
struct Level {
    path: PathBuf,
    fd: Option<OwnedFd>,
    names: std::vec::IntoIter<OsString>,
}

/// Visits everything below `root` in depth-first order, each directory before what is in it; `visit` says whether to go into a directory.
///
/// tar(1) restores a directory's times when it has seen the last of it, so what is in it must follow at once. What vanishes meanwhile
/// is not visited.
pub(crate) fn walk(
    root: BorrowedFd<'_>,
    mut visit: impl FnMut(&Found<'_>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut levels: Vec<Level> = Vec::new();
    levels.extend(enter(root, PathBuf::new())?);
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.next() else {
            levels.pop();
            continue;
        };
        let path = level.path.join(&name);
        let fd = match level.fd.take() {
            Some(fd) => fd,
            None => match open_directory(root, &level.path)? {
                Some(fd) => fd,
                None => continue,
            },
        };
        let stat = match rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            other => other.map_err(Error::disk("stat", &path))?,
        };
        let found = Found { path: &path, directory: fd.as_fd(), name: &name, stat };
        let goes_in = visit(&found)? && found.kind() == FileType::Directory;
        level.fd = Some(fd);
        if goes_in {
            let depth = levels.len();
            if depth >= MOST_OPEN {
                levels[depth - MOST_OPEN].fd = None;
            }
            levels.extend(enter(root, path)?);
        }
    }
    Ok(())
}

fn enter(root: BorrowedFd<'_>, path: PathBuf) -> Result<Option<Level>, Error> {
    let Some(fd) = open_directory(root, &path)? else { return Ok(None) };
    let names = names(fd.as_fd()).map_err(Error::disk("list", &path))?.into_iter();
    Ok(Some(Level { path, fd: Some(fd), names }))
}

fn open_directory(root: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>, Error> {
    match open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        other => other.map(Some).map_err(Error::disk("open", path)),
    }
}
