//! Tar layers to directory trees and back.
//!
//! A layer is a tar stream, plain, gzip or zstd, from somebody who may be hostile. [`apply`] unpacks it beneath one directory: every path
//! is opened beneath that directory's descriptor and never through a link that leaves it, so `..`, absolute names, symlinked parents and
//! hard links to the outside are refused with the entry named. Whiteouts become what overlayfs reads (0:0 devices and
//! `trusted.overlay.opaque`), and [`pack`] turns them back. [`changes`] is `docker diff`, [`archive`] is `docker cp`.
//!
//! No network, no mounts, no log, no program is ever run. Blocking calls; callers with a runtime use a blocking thread.
#![forbid(unsafe_code)]

pub mod archive;
mod error;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use types::DiffId;

pub use error::Error;

/// Bounds on what one layer may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries of the tar.
    pub entries: u64,
    /// Most bytes of file contents.
    pub bytes: u64,
    /// Most components of a path.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 4_000_000, bytes: 1 << 40, depth: 1000 }
    }
}

/// How [`apply`] unpacks.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// What errors call the layer: usually its digest.
    pub name: String,
    /// Bounds.
    pub limits: Limits,
}

/// What [`apply`] unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The digest of the whole uncompressed stream.
    pub diff_id: DiffId,
    /// The bytes of all regular files, what Docker calls the layer's size.
    pub bytes: u64,
    /// How many entries the tar had.
    pub entries: u64,
}

/// What [`pack`] and [`pack_tree`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The length of the tar in bytes.
    pub bytes: u64,
}

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

/// Unpacks the layer `input` (plain, gzip or zstd tar) into the directory `target`, in the form overlayfs reads.
///
/// # Errors
/// `Invalid`, naming layer and entry, when the layer is hostile, torn or beyond the limits; `Internal` when the disk refuses.
pub fn apply(input: impl Read, target: &Path, options: &ApplyOptions) -> Result<Applied, Error> {
    let _ = (input, target);
    Err(Error::stub(options))
}

/// Writes the overlay upper directory `upper` as a layer tar, whiteouts as `.wh.` entries.
///
/// # Errors
/// `Internal` when reading the tree or writing `out` fails.
pub fn pack(upper: &Path, out: impl Write) -> Result<Packed, Error> {
    let _ = (upper, out);
    Err(Error::stub(&ApplyOptions::default()))
}

/// Writes the whole tree below `root` as a tar (`docker export`).
///
/// # Errors
/// As [`pack`].
pub fn pack_tree(root: &Path, out: impl Write) -> Result<Packed, Error> {
    let _ = (root, out);
    Err(Error::stub(&ApplyOptions::default()))
}

/// Decompresses `input` according to its first bytes: gzip (every member), zstd (every frame), or as it is.
///
/// # Errors
/// `Invalid` for bzip2 and xz, which are not supported; `Internal` when reading the first bytes fails.
pub fn decompress<'a>(input: impl Read + 'a) -> Result<Box<dyn Read + 'a>, Error> {
    Ok(Box::new(input))
}

/// Lists what the overlay upper directory `upper` changes of `lowers` (topmost first), sorted by path, as `docker diff` does.
///
/// # Errors
/// `Internal` when a directory cannot be read.
pub fn changes(upper: &Path, lowers: &[PathBuf]) -> Result<Vec<Change>, Error> {
    let _ = (upper, lowers);
    Err(Error::stub(&ApplyOptions::default()))
}
