//! From a reference to an unpacked image: pull, load, import, commit, save, and everything that is asked about images.
//!
//! Owns the meaning of the `images` table (one record per image, drawn in `catalog.rs`) and the spool directory. Blobs and layers are
//! written through [`content`] and [`snapshot`], which own their files. Called by the engine. Never mounts, never runs anything.
//!
//! ```text
//!            registry            archive           container
//!               | fetch             | load            | commit
//!               v                   v                 v
//!   blobs (verified)  ->  layers (unpacked once)  ->  record  ->  named, listed, used
//!                                                       |
//!              swept on open  <-  unreachable  <-  removed
//! ```
//!
//! The record is written last: a kill at any earlier point leaves blobs and layers that no record reaches, which the next
//! [`Images::open`] sweeps, and half blobs, which the next pull resumes.
#![forbid(unsafe_code)]

mod catalog;
mod change;
mod collect;
mod document;
mod error;
mod flight;
mod images;
mod load;
mod make;
mod progress;
mod pull;
mod query;
mod remove;
mod save;
mod spool;
mod unpack;
mod view;

pub use error::Error;
pub use images::{Images, ImagesOptions};
pub use progress::{Counter, Progress};
pub use registry::Auth;
pub use view::{
    CommitRequest, GraphDriver, HistoryEntry, ImageDetail, ImageSummary, ImageUse, ImportRequest,
    Loaded, Pruned, PullStatus, Pulled, Removed,
};
