//! `docker cp`: tar archives out of and into a root file system that may be hostile and alive.
//!
//! Every path is resolved once, beneath the root's descriptor, with links inside the root followed as the container would follow
//! them (openat2(2) `RESOLVE_IN_ROOT`); everything after that goes by descriptor.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::Error;
use crate::extract::{Extractor, Overwrite, itself};
use crate::pack::{Packer, item};
use crate::path::{Absolute, EntryPath};
use crate::reader::Reader;
use crate::stream::{Source, decompress_named};
use crate::tree::{Tree, resolve};
use crate::walk::{Found, walk};

/// What errors call the stream.
const NAME: &str = "archive";
/// 16 TiB: what no file system takes in one file anyway.
const MOST_BYTES: u64 = 1 << 44;

/// What `X-Docker-Container-Path-Stat` says of a path (Engine API `HEAD /containers/{id}/archive`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// The last component of the path as asked.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The st_mode bits, type included.
    pub mode: u32,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// The absolute path inside the root that a symbolic link leads to, empty for everything else.
    pub link_target: PathBuf,
}

/// How [`unpack_into`] unpacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnpackOptions {
    /// Refuses to replace a directory by a file and the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Gives everything to this user and group instead of those in the archive.
    pub owner: Option<(u32, u32)>,
}

/// Describes `path` inside `root`; a link at its end is described, not followed, unless a slash or `/.` ends the path.
///
/// # Errors
/// `NotFound`; `Internal`.
pub fn stat(root: BorrowedFd<'_>, path: &Path) -> Result<PathStat, Error> {
    let target = Target::find(root, path)?;
    let stat = target.stat(path)?;
    let link_target = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => destination(root, path),
        _ => PathBuf::new(),
    };
    Ok(PathStat {
        name: String::from_utf8_lossy(&base_name(path)).into_owned(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode,
        mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        link_target,
    })
}

/// Writes `path` inside `root` as a tar whose first entry is named after the last component of `path`.
///
/// # Errors
/// `NotFound`; `Internal` when reading the tree or writing `out` fails.
pub fn pack_path(root: BorrowedFd<'_>, path: &Path, out: impl Write) -> Result<(), Error> {
    let target = Target::find(root, path)?;
    let stat = target.stat(path)?;
    let base = base_name(path);
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        let found = Found {
            path: Path::new(OsStr::from_bytes(&base)),
            directory: target.directory.as_fd(),
            name: &target.name,
            stat,
        };
        let mut packer = Packer::new(out, Vec::new());
        packer.entry(&found)?;
        return packer.finish().map(drop);
    }
    // `/` becomes `/`, `/bin`, …; `/a/b` becomes `b/`, `b/c`, …
    let name = if base == b"/" { Vec::new() } else { base };
    let mut packer = Packer::new(out, [&name[..], b"/"].concat());
    packer.directory(item(name, &stat))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(&target.directory, &target.name, flags, Mode::empty())
        .map_err(Error::disk("open", path))?;
    walk(top.as_fd(), |found| packer.entry(found))?;
    packer.finish().map(drop)
}

/// Unpacks a plain, gzip or zstd tar into the existing directory `path` inside `root`.
///
/// # Errors
/// `NotFound` when `path` does not exist, `Invalid` when it is no directory or the archive is hostile or torn, `Denied` on a read-only
/// file system; `Internal`.
pub fn unpack_into(
    root: BorrowedFd<'_>,
    path: &Path,
    input: impl Read,
    options: &UnpackOptions,
) -> Result<(), Error> {
    let inside = relative(path);
    let base = match in_root(root, &inside) {
        Err(Errno::NOENT) => return Err(Error::Missing { path: path.to_owned() }),
        Err(Errno::NOTDIR) => return Err(Error::NotDirectory { path: path.to_owned() }),
        other => other.map_err(Error::disk("open", path))?,
    };
    let root = root.try_clone_to_owned().map_err(Error::disk("open", path))?;
    let overwrite = match options.no_overwrite_dir_non_dir {
        true => Overwrite::KeepDirectories,
        false => Overwrite::Replace,
    };
    let tree = Tree::scoped(base, root, &inside);
    let mut extractor = Extractor::new(tree, NAME, overwrite).owned_by(options.owner);
    let mut reader = Reader::new(Source::new(decompress_named(input, NAME)?, MOST_BYTES));
    while let Some(entry) = extractor.next(&mut reader)? {
        let place = EntryPath::clean(&entry.name, Absolute::Beneath, usize::MAX)
            .map_err(|reason| extractor.refuse(&entry, reason))?;
        // The directory itself keeps what it is (as Docker).
        if !place.is_root() {
            extractor.extract(&place, &entry, &mut reader)?;
        }
    }
    extractor.finish()?;
    // A client that is still sending must not see its connection break.
    let _ = reader.into_source().finish();
    Ok(())
}

/// An object found in the root: its directory, held, and its name there.
struct Target {
    directory: OwnedFd,
    name: std::ffi::OsString,
}

impl Target {
    fn find(root: BorrowedFd<'_>, path: &Path) -> Result<Self, Error> {
        let inside = relative(path);
        // A slash or `/.` at the end asks for what a link leads to, which must be a directory.
        let follow = ends_in_directory(path) || inside.file_name().is_none();
        let (parent, name) = match inside.file_name() {
            Some(name) if !follow => (inside.parent().unwrap_or(Path::new("")), name),
            _ => (inside.as_path(), OsStr::new(".")),
        };
        let directory = in_root(root, parent).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => Error::Missing { path: path.to_owned() },
            errno => Error::disk("open", path)(errno),
        })?;
        Ok(Self { directory, name: name.to_owned() })
    }

    fn stat(&self, path: &Path) -> Result<Stat, Error> {
        match rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Err(Error::Missing { path: path.to_owned() }),
            other => other.map_err(Error::disk("stat", path)),
        }
    }
}

/// Opens a directory of the root, following links as a process inside would.
fn in_root(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    resolve(root, path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Returns where the link at `path` leads inside the root: the real path when it exists, the link's own words otherwise.
fn destination(root: BorrowedFd<'_>, path: &Path) -> PathBuf {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let name = |fd: BorrowedFd<'_>| std::fs::read_link(itself(fd)).ok();
    let inside = relative(path);
    let real = rustix::fs::openat2(root, &inside, flags, Mode::empty(), resolve)
        .ok()
        .and_then(|fd| name(fd.as_fd()))
        .zip(name(root))
        .and_then(|(real, root)| Some(real.strip_prefix(root).ok()?.to_owned()));
    let lexical = || {
        let words = rustix::fs::readlinkat(root, &inside, Vec::new()).ok()?;
        let words = Path::new(OsStr::from_bytes(words.as_bytes())).to_owned();
        Some(relative(&Path::new("/").join(path).parent()?.join(words)))
    };
    Path::new("/").join(real.or_else(lexical).unwrap_or_default())
}

/// Makes a path relative to the root and takes `.` and `..` away, `..` of the root being the root (as Docker cleans paths).
fn relative(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

fn ends_in_directory(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.ends_with(b"/") || bytes.ends_with(b"/.") || bytes == b"."
}

/// Go's `filepath.Base` of the path as asked: what Docker names the archive's first entry.
fn base_name(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.ends_with(b"/.") && bytes != b"/." || bytes == b"." {
        return b".".to_vec();
    }
    match relative(path).file_name() {
        Some(name) => name.as_bytes().to_vec(),
        None => b"/".to_vec(),
    }
}
