//! `docker cp`: tar archives out of and into a root file system that may be hostile and alive.
//!
//! Every path is resolved once, beneath the root's descriptor, with links inside the root followed as the container would follow
//! them (openat2(2) `RESOLVE_IN_ROOT`); everything after that goes by descriptor.

use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::{ApplyOptions, Error};

/// What `X-Docker-Container-Path-Stat` says of a path.
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
    /// Where a symbolic link leads inside the root, empty otherwise.
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

/// Describes `path` inside `root`; the last component is not followed.
///
/// # Errors
/// `NotFound`; `Invalid` for a path that is no path; `Internal`.
pub fn stat(root: BorrowedFd<'_>, path: &Path) -> Result<PathStat, Error> {
    let _ = (root, path);
    Err(Error::stub(&ApplyOptions::default()))
}

/// Writes `path` inside `root` as a tar whose first entry is named after the last component of `path`.
///
/// # Errors
/// `NotFound`; `Internal` when reading the tree or writing `out` fails.
pub fn pack_path(root: BorrowedFd<'_>, path: &Path, out: impl Write) -> Result<(), Error> {
    let _ = (root, path, out);
    Err(Error::stub(&ApplyOptions::default()))
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
    let _ = (root, path, input, options);
    Err(Error::stub(&ApplyOptions::default()))
}
