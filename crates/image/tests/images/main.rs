//! Images from a registry that misbehaves and from archives that lie, unpacked into real stores.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archive;
mod bench;
mod made;
mod pull;
mod remove;
