//! Makes the objects of a tar beneath one directory.
//!
//! The tree may be somebody else's at the same time (`docker cp` into a running container), so a name is used once, to open or make
//! the object without following links, and everything after goes by descriptor. Per object the order is: owner (which clears
//! setuid bits and capabilities), mode, xattrs (capabilities among them), times last. Directories get their times at the very end.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::Error;
use crate::error::printable;
use crate::path::EntryPath;
use crate::reader::{Entry, Reader, Trouble, Type};
use crate::tree::Tree;
use crate::whiteout;

/// What to do with an object that is where an entry wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overwrite {
    /// Directories are merged, everything else is replaced.
    Replace,
    /// As `Replace`, but no directory by something else and nothing else by a directory.
    KeepDirectories,
}

/// Unpacks entries into one tree.
pub(crate) struct Extractor {
    tree: Tree,
    /// What errors call the layer.
    layer: String,
    overwrite: Overwrite,
    owner: Option<(u32, u32)>,
    times: Vec<(EntryPath, (i64, u32))>,
    last: Vec<u8>,
}

type Made<T> = Result<T, Failure>;

/// Why an object was not made.
pub(crate) enum Failure {
    /// The entry is to blame.
    Refused(&'static str),
    /// The disk is.
    Disk(&'static str, io::Error),
    /// The stream is.
    Trouble(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Sorts an errno into the entry's fault or the disk's.
pub(crate) fn failed(verb: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| match errno {
        Errno::XDEV | Errno::LOOP => Failure::Refused("a path through a link that leads outside"),
        Errno::NOTDIR => Failure::Refused("a path through something that is no directory"),
        Errno::NAMETOOLONG => Failure::Refused("a name that is too long"),
        errno => Failure::Disk(verb, errno.into()),
    }
}

impl Extractor {
    pub(crate) fn new(tree: Tree, layer: &str, overwrite: Overwrite) -> Self {
        let (layer, times, last) = (layer.to_owned(), Vec::new(), Vec::new());
        Self { tree, layer, overwrite, owner: None, times, last }
    }

    /// Gives everything to this user and group instead of the entries' own.
    pub(crate) fn owned_by(mut self, owner: Option<(u32, u32)>) -> Self {
        self.owner = owner;
        self
    }

    /// Reads the next entry.
    pub(crate) fn next<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<Option<Entry>, Error> {
        let entry = reader.next().map_err(|trouble| self.trouble(trouble))?;
        if let Some(entry) = &entry {
            self.last.clone_from(&entry.name);
        }
        Ok(entry)
    }

    /// Makes the object `entry` at `path`.
    pub(crate) fn extract<R: Read>(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), Error> {
        self.make(path, entry, reader).map_err(|failure| self.error(entry, failure))
    }

    fn make<R: Read>(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Made<()> {
        match entry.kind {
            Type::Directory => self.directory(path, entry),
            _ if path.is_root() => Err(Failure::Refused("the root is a directory")),
            Type::File => self.file(path, entry, reader),
            Type::HardLink => self.hard_link(path, entry),
            Type::Symlink => self.symlink(path, entry),
            Type::Character | Type::Block | Type::Fifo => self.node(path, entry),
        }
    }

    fn directory(&mut self, path: &EntryPath, entry: &Entry) -> Made<()> {
        if !path.is_root() {
            let (parent, name) = self.tree.parent(path)?;
            match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
                Err(Errno::EXIST) => self.make_room(path, entry.kind)?,
                other => other.map_err(failed("create"))?,
            }
        }
        let fd = self.open_directory(path)?;
        self.metadata(fd.as_fd(), entry)?;
        self.times.push((path.clone(), entry.mtime));
        Ok(())
    }

    fn open_directory(&mut self, path: &EntryPath) -> Made<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (parent, name) = self.tree.parent(path)?;
        let name = if path.is_root() { OsStr::new(".") } else { name };
        rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(failed("open"))
    }

    fn file<R: Read>(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Made<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let (parent, name) = self.tree.parent(path)?;
        let fd = match rustix::fs::openat(parent, name, flags, mode) {
            Err(Errno::EXIST) => {
                self.make_room(path, entry.kind)?;
                let (parent, name) = self.tree.parent(path)?;
                rustix::fs::openat(parent, name, flags, mode)
            }
            other => other,
        };
        let file = File::from(fd.map_err(failed("create"))?);
        match &entry.runs {
            None => {
                copy(&file, 0, entry.size, reader)?;
            }
            Some(runs) => {
                for (offset, length) in runs {
                    copy(&file, *offset, *length, reader)?;
                }
                file.set_len(entry.size).map_err(|error| Failure::Disk("extend", error))?;
            }
        }
        self.metadata(file.as_fd(), entry)?;
        rustix::fs::futimens(&file, &timestamps(entry.mtime)).map_err(failed("set the time of"))
    }

    fn hard_link(&mut self, path: &EntryPath, entry: &Entry) -> Made<()> {
        let target = self.tree.clean(&entry.link).map_err(|reason| match reason {
            "an absolute path" => Failure::Refused("a hard link to an absolute path"),
            "a path with `..`" => Failure::Refused("a hard link to a path with `..`"),
            _ => Failure::Refused("a hard link to a bad path"),
        })?;
        if target == *path || target.is_root() {
            return Err(Failure::Refused("a hard link to itself"));
        }
        let (from, from_name) = self.tree.lookup(&target)?;
        let link = |tree: &mut Tree| -> Made<rustix::io::Result<()>> {
            let (parent, name) = tree.parent(path)?;
            Ok(rustix::fs::linkat(&from, from_name, parent, name, AtFlags::empty()))
        };
        let linked = match link(&mut self.tree)? {
            Err(Errno::EXIST) => {
                self.make_room(path, entry.kind)?;
                link(&mut self.tree)?
            }
            other => other,
        };
        linked.map_err(|errno| match errno {
            Errno::NOENT => Failure::Refused("a hard link to something that is not in the layer"),
            Errno::PERM => Failure::Refused("a hard link to a directory"),
            errno => failed("link")(errno),
        })
    }

    fn symlink(&mut self, path: &EntryPath, entry: &Entry) -> Made<()> {
        if entry.link.is_empty() || entry.link.contains(&0) || entry.link.len() > 4095 {
            return Err(Failure::Refused("a symbolic link to a bad path"));
        }
        let target = OsStr::from_bytes(&entry.link);
        self.place(path, entry, |parent, name| rustix::fs::symlinkat(target, parent, name))
    }

    fn node(&mut self, path: &EntryPath, entry: &Entry) -> Made<()> {
        let kind = match entry.kind {
            Type::Character => FileType::CharacterDevice,
            Type::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        self.place(path, entry, |parent, name| {
            rustix::fs::mknodat(parent, name, kind, Mode::empty(), device)
        })
    }

    /// Makes something that must not be opened, and describes it through an `O_PATH` descriptor.
    fn place(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        make: impl Fn(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<()>,
    ) -> Made<()> {
        let (parent, name) = self.tree.parent(path)?;
        match make(parent, name) {
            Err(Errno::EXIST) => {
                self.make_room(path, entry.kind)?;
                let (parent, name) = self.tree.parent(path)?;
                make(parent, name)
            }
            other => other,
        }
        .map_err(failed("create"))?;
        let (parent, name) = self.tree.parent(path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(failed("open"))?;
        self.metadata_of_path(&fd, entry)
    }

    /// Clears the way for an entry that found something at its path; a directory for a directory may stay.
    fn make_room(&mut self, path: &EntryPath, kind: Type) -> Made<()> {
        let (parent, name) = self.tree.parent(path)?;
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(failed("stat"))?,
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let wants_directory = kind == Type::Directory;
        if is_directory && wants_directory {
            return Ok(());
        }
        if self.overwrite == Overwrite::KeepDirectories && is_directory != wants_directory {
            return Err(Failure::Refused(if is_directory {
                "cannot overwrite directory with non-directory"
            } else {
                "cannot overwrite non-directory with directory"
            }));
        }
        // A directory in the place of a whiteout must not be merged with what the whiteout hid.
        let hides = wants_directory && is_whiteout(&stat);
        self.tree.remove(path)?;
        if wants_directory {
            let (parent, name) = self.tree.parent(path)?;
            rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(failed("create"))?;
            if hides {
                self.opaque(path)?;
            }
        }
        Ok(())
    }

    /// Makes `path` hide what the layers below have there.
    pub(crate) fn hide(&mut self, path: &EntryPath, entry: &Entry) -> Result<(), Error> {
        self.whiteout(path).map_err(|failure| self.error(entry, failure))
    }

    fn whiteout(&mut self, path: &EntryPath) -> Made<()> {
        let (parent, name) = self.tree.parent(path)?;
        let made = rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0);
        match made {
            Err(Errno::EXIST) => {
                // A whiteout speaks of the layers below only: what this layer has here stays, but must not be merged with theirs.
                let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(failed("stat"))?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => self.opaque(path),
                    _ => Ok(()),
                }
            }
            other => other.map_err(failed("create")),
        }
    }

    /// Makes the directory that `mark` would be in hide everything the layers below have in it.
    pub(crate) fn hide_siblings(&mut self, mark: &EntryPath, entry: &Entry) -> Result<(), Error> {
        // The directory may not have come yet; asking for the mark's parent makes it.
        let made = self.tree.parent(mark).map(drop);
        made.and_then(|()| self.opaque(&mark.parent()))
            .map_err(|failure| self.error(entry, failure))
    }

    fn opaque(&mut self, path: &EntryPath) -> Made<()> {
        let fd = self.open_directory(path)?;
        rustix::fs::fsetxattr(fd, whiteout::OPAQUE_XATTR, b"y", XattrFlags::empty())
            .map_err(failed("set the opaque mark of"))
    }

    /// Sets owner, mode and xattrs of an open file or directory.
    fn metadata(&self, fd: BorrowedFd<'_>, entry: &Entry) -> Made<()> {
        let (uid, gid) = self.owner.unwrap_or((entry.uid, entry.gid));
        rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(failed("change the owner of"))?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))
            .map_err(failed("change the mode of"))?;
        for (name, value) in wanted(entry) {
            let set = rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty());
            set.or_else(unsupported).map_err(failed("set an xattr of"))?;
        }
        Ok(())
    }

    /// Sets owner, mode, xattrs and times through an `O_PATH` descriptor.
    fn metadata_of_path(&self, fd: &OwnedFd, entry: &Entry) -> Made<()> {
        let (uid, gid) = self.owner.unwrap_or((entry.uid, entry.gid));
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH)
            .map_err(failed("change the owner of"))?;
        // The magic link leads to the object itself, never through it.
        let itself = itself(fd.as_fd());
        if entry.kind != Type::Symlink {
            rustix::fs::chmod(&itself, Mode::from_raw_mode(entry.mode))
                .map_err(failed("change the mode of"))?;
        }
        for (name, value) in wanted(entry) {
            let set = rustix::fs::setxattr(&itself, name, value, XattrFlags::empty());
            set.or_else(unsupported).map_err(failed("set an xattr of"))?;
        }
        let times = timestamps(entry.mtime);
        match rustix::fs::utimensat(fd, "", &times, AtFlags::EMPTY_PATH) {
            // Before Linux 5.8; the link itself cannot be named then.
            Err(Errno::INVAL) if entry.kind == Type::Symlink => Ok(()),
            Err(Errno::INVAL) => {
                rustix::fs::utimensat(rustix::fs::CWD, &itself, &times, AtFlags::empty())
                    .map_err(failed("set the time of"))
            }
            other => other.map_err(failed("set the time of")),
        }
    }

    /// Sets the times of the directories, which making their contents has changed; call it once, at the end.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        for (path, mtime) in std::mem::take(&mut self.times) {
            let Ok(fd) = self.open_directory(&path) else { continue };
            rustix::fs::futimens(&fd, &timestamps(mtime))
                .map_err(Error::disk("set the time of", path.as_path()))?;
        }
        Ok(())
    }

    /// Turns trouble of the reader into an error that names the layer and the last entry.
    pub(crate) fn trouble(&self, trouble: Trouble) -> Error {
        let (layer, after) = (self.layer.clone(), printable(&self.last));
        match trouble {
            Trouble::Stream(source) => Error::Input { layer, after, source },
            Trouble::Tar(reason) => Error::Malformed { layer, after, reason },
            Trouble::Entry(name, reason) => {
                Error::Refused { layer, entry: printable(&name), reason }
            }
        }
    }

    pub(crate) fn refuse(&self, entry: &Entry, reason: &'static str) -> Error {
        self.error(entry, Failure::Refused(reason))
    }

    fn error(&self, entry: &Entry, failure: Failure) -> Error {
        let layer = self.layer.clone();
        match failure {
            Failure::Refused(reason) => {
                Error::Refused { layer, entry: printable(&entry.name), reason }
            }
            Failure::Disk(verb, source) => {
                let path = self.tree.display(&entry.name);
                Error::Disk { verb, path, source }
            }
            Failure::Trouble(trouble) => self.trouble(trouble),
        }
    }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Returns the name in procfs that leads to the object `fd` stands for.
pub(crate) fn itself(fd: BorrowedFd<'_>) -> PathBuf {
    Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string())
}

/// The xattrs of an entry but for overlayfs' own, with which an image could steer the merging of other layers.
fn wanted(entry: &Entry) -> impl Iterator<Item = (&OsStr, &[u8])> {
    let own = entry.xattrs.iter().filter(|(name, _)| !whiteout::is_overlay_xattr(name));
    own.map(|(name, value)| (OsStr::from_bytes(name), value.as_slice()))
}

/// A file system without xattrs, or without this kind of them on this kind of file, is no reason to refuse a layer (as Docker).
fn unsupported(errno: Errno) -> rustix::io::Result<()> {
    match errno {
        Errno::NOTSUP | Errno::PERM => Ok(()),
        errno => Err(errno),
    }
}

fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn copy<R: Read>(file: &File, mut at: u64, mut left: u64, reader: &mut Reader<R>) -> Made<()> {
    while left > 0 {
        let chunk = reader.data(left)?;
        if chunk.is_empty() {
            return Err(Failure::Refused("fewer bytes than its size says"));
        }
        let count = chunk.len();
        file.write_all_at(chunk, at).map_err(|error| Failure::Disk("write", error))?;
        reader.consume(count);
        at += count as u64;
        left -= count as u64;
    }
    Ok(())
}

/// How directories on the way to an entry are opened.
pub(crate) const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Links on the way are followed as long as they stay beneath.
pub(crate) const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
