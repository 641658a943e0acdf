use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use types::DiffId;

use crate::Error;
use crate::extract::{Extractor, Overwrite};
use crate::path::{Absolute, EntryPath};
use crate::reader::{Entry, Reader, Trouble};
use crate::stream::{Source, decompress_named};
use crate::tree::Tree;
use crate::whiteout::{self, Meaning};

/// Bounds on what one layer may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries of the tar.
    pub entries: u64,
    /// Most bytes of the uncompressed tar, and of all files once unpacked.
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

/// Unpacks the layer `input` (plain, gzip or zstd tar) into the directory `target`, in the form overlayfs reads.
///
/// # Errors
/// `Invalid`, naming layer and entry, when the layer is hostile, torn or beyond the limits; `Internal` when the disk refuses.
pub fn apply(input: impl Read, target: &Path, options: &ApplyOptions) -> Result<Applied, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base =
        rustix::fs::open(target, flags, Mode::empty()).map_err(Error::disk("open", target))?;
    let tree = Tree::layer(base, target, options.limits.depth);
    let mut extractor = Extractor::new(tree, &options.name, Overwrite::Replace);
    let stream = decompress_named(input, &options.name)?;
    let mut reader = Reader::new(Source::new(stream, options.limits.bytes));
    let (mut bytes, mut entries) = (0_u64, 0);
    while let Some(entry) = extractor.next(&mut reader)? {
        entries += 1;
        if entries > options.limits.entries {
            return Err(extractor.refuse(&entry, "more entries than the limit"));
        }
        bytes = bytes.saturating_add(entry.size);
        if bytes > options.limits.bytes {
            return Err(extractor.refuse(&entry, "more bytes than the limit"));
        }
        place(&mut extractor, &entry, &mut reader, options)?;
    }
    extractor.finish()?;
    let digest = reader.into_source().finish();
    let diff_id = DiffId(digest.map_err(|error| end_of_stream(&extractor, error))?);
    Ok(Applied { diff_id, bytes, entries })
}

fn end_of_stream(extractor: &Extractor, error: io::Error) -> Error {
    extractor.trouble(Trouble::Stream(error))
}

fn place<R: Read>(
    extractor: &mut Extractor,
    entry: &Entry,
    reader: &mut Reader<R>,
    options: &ApplyOptions,
) -> Result<(), Error> {
    let path = EntryPath::clean(&entry.name, Absolute::Refused, options.limits.depth)
        .map_err(|reason| extractor.refuse(entry, reason))?;
    match whiteout::meaning(&path) {
        Meaning::Plain => extractor.extract(&path, entry, reader),
        Meaning::Ignored => Ok(()),
        Meaning::Refused(reason) => Err(extractor.refuse(entry, reason)),
        Meaning::Opaque => extractor.hide_siblings(&path, entry),
        Meaning::Whiteout(hidden) => extractor.hide(&hidden, entry),
    }
}
