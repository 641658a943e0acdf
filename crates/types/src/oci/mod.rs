//! The OCI documents, as far as Belljar reads or writes them.

pub mod image;
pub mod runtime;
