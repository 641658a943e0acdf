//! Tar layers to directory trees and back.
//!
//! A layer is a tar stream, plain, gzip or zstd, from somebody who may be hostile. [`apply`] unpacks it beneath one directory: every path
//! is opened beneath that directory's descriptor and never through a link that leaves it, so `..`, absolute names, symlinked parents
//! and hard links to the outside are refused with the entry named. Whiteouts become what overlayfs reads (0:0 devices and
//! `trusted.overlay.opaque`), and [`pack`] turns them back. [`changes`] is `docker diff`, [`archive`] is `docker cp`.
//!
//! ```text
//! apply:  bytes -> stream (gzip, zstd; counted, hashed) -> reader (tar dialects) -> path, whiteout -> extract (by descriptor)
//! pack:   walk (by descriptor) -> item -> writer (ustar + pax; hashed)
//! ```
//!
//! No network, no mounts, no log, and no program is ever run. Blocking calls; callers with a runtime use a blocking thread.
#![forbid(unsafe_code)]

mod apply;
pub mod archive;
mod changes;
mod error;
mod extract;
mod header;
mod pack;
mod path;
mod pax;
mod reader;
mod stream;
mod tree;
mod walk;
mod whiteout;
mod writer;

pub use apply::{Applied, ApplyOptions, Limits, apply};
pub use changes::{Change, ChangeKind, changes};
pub use error::Error;
pub use pack::{pack, pack_tree};
pub use stream::decompress;
pub use writer::Packed;
