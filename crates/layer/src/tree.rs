//! The directories on the way to an entry, opened beneath a root and never through a link that leaves it.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::extract::{BENEATH, DIRECTORY, Failure, failed};
use crate::path::{Absolute, EntryPath};

/// Where entries are unpacked, and by which rules their paths are opened.
pub(crate) struct Tree {
    /// The directory unpacked into.
    base: OwnedFd,
    /// How people call it.
    name: PathBuf,
    /// A container's root and the path of `base` in it: links may lead anywhere in that root.
    scope: Option<(OwnedFd, PathBuf)>,
    most_components: usize,
    /// The parent opened last: tars list the files of a directory one after the other.
    cached: Option<(Vec<u8>, OwnedFd)>,
}

impl Tree {
    /// A layer's tree: links must not lead out of `base`.
    pub(crate) fn layer(base: OwnedFd, name: &Path, most_components: usize) -> Self {
        Self { base, name: name.to_owned(), scope: None, most_components, cached: None }
    }

    /// The directory `base`, which is `path` inside the container root `root`: links are followed as inside the container.
    pub(crate) fn scoped(base: OwnedFd, root: OwnedFd, path: &Path) -> Self {
        let scope = Some((root, path.to_owned()));
        Self { base, name: path.to_owned(), scope, most_components: 2000, cached: None }
    }

    /// Cleans the name of an entry.
    pub(crate) fn clean(&self, name: &[u8]) -> Result<EntryPath, &'static str> {
        let absolute = if self.scope.is_some() { Absolute::Beneath } else { Absolute::Refused };
        EntryPath::clean(name, absolute, self.most_components)
    }

    /// Returns how a person would write the place of an entry.
    pub(crate) fn display(&self, name: &[u8]) -> PathBuf {
        let relative = name.iter().position(|b| *b != b'/').map_or(&[][..], |at| &name[at..]);
        self.name.join(OsStr::from_bytes(relative))
    }

    /// Opens the directory that holds `path`, making it when it is missing; returns it and the last component.
    pub(crate) fn parent<'a>(
        &'a mut self,
        path: &'a EntryPath,
    ) -> Result<(BorrowedFd<'a>, &'a OsStr), Failure> {
        let (parent, name) = path.split();
        if !parent.is_empty() && self.cached.as_ref().is_none_or(|(path, _)| path != parent) {
            let fd = match self.open(parent) {
                Err(Errno::NOENT) => self.make(path)?,
                other => other.map_err(failed("open the parent of"))?,
            };
            self.cached = Some((parent.to_vec(), fd));
        }
        let fd = match &self.cached {
            Some((_, fd)) if !parent.is_empty() => fd.as_fd(),
            _ => self.base.as_fd(),
        };
        Ok((fd, OsStr::from_bytes(name)))
    }

    /// Opens the directory that holds `path`, which must exist; returns it and the last component.
    pub(crate) fn lookup<'a>(&self, path: &'a EntryPath) -> Result<(OwnedFd, &'a OsStr), Failure> {
        let (parent, name) = path.split();
        let parent = if parent.is_empty() { b"." } else { parent };
        let fd = self.open(parent).map_err(|errno| match errno {
            Errno::NOENT => Failure::Refused("a hard link to something that is not in the layer"),
            errno => failed("open the target of")(errno),
        })?;
        Ok((fd, OsStr::from_bytes(name)))
    }

    fn open(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let path = Path::new(OsStr::from_bytes(path));
        let opened = resolve(self.base.as_fd(), path, BENEATH);
        match (&self.scope, opened) {
            (Some((root, base)), Err(Errno::XDEV)) => {
                let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                resolve(root.as_fd(), &base.join(path), flags)
            }
            (_, opened) => opened,
        }
    }

    /// Makes the missing directories on the way to `path`, each opened without following links.
    fn make(&self, path: &EntryPath) -> Result<OwnedFd, Failure> {
        let (parent, _) = path.split();
        let mut fd = self.open(b".").map_err(failed("open"))?;
        let mut walked = Vec::new();
        for component in path.components().take(parent.split(|b| *b == b'/').count()) {
            if !walked.is_empty() {
                walked.push(b'/');
            }
            walked.extend_from_slice(component);
            fd = match self.open(&walked) {
                Err(Errno::NOENT) => make_directory(fd.as_fd(), OsStr::from_bytes(component)),
                other => other,
            }
            .map_err(failed("create the parent of"))?;
        }
        Ok(fd)
    }

    /// Removes whatever is at `path`, without following links.
    pub(crate) fn remove(&mut self, path: &EntryPath) -> Result<(), Failure> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {
                sys::file::remove_tree_at(parent, Path::new(name))
                    .map_err(|error| Failure::Disk("remove", error))?;
                // The directory opened last may have been in it.
                self.cached = None;
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            other => other.map_err(failed("remove")),
        }
    }
}

fn make_directory(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        // A dangling link looks missing and exists; opening it below says that it is no directory.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755))?;
    Ok(fd)
}

/// openat2(2), repeated while a rename elsewhere makes the kernel unsure of the path (EAGAIN).
pub(crate) fn resolve(
    base: BorrowedFd<'_>,
    path: &Path,
    flags: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    for _ in 0..64 {
        match rustix::fs::openat2(base, path, DIRECTORY, Mode::empty(), flags) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}
