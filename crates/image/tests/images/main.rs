//! Images from a registry that misbehaves and from archives that lie, unpacked into real stores.

mod archive;
mod bench;
mod made;
mod pull;
mod remove;
