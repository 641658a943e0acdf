//! The vocabulary that Belljar's processes share.
//!
//! Pure data: typed ids, digests, image references, the OCI documents, what a user asks for in a container, and the two things
//! every error has: a [`Kind`] and a printable [`Chain`]. Nothing here touches the system.

#![forbid(unsafe_code)]

pub mod container;
mod digest;
mod id;
mod kind;
pub mod oci;
pub mod reference;

pub use digest::{ChainId, DiffId, Digest, DigestError, ImageId};
pub use id::{ContainerId, IdError, is_valid_name};
pub use kind::{Chain, ErrorList, Kind};
pub use reference::Reference;
