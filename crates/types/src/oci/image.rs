//! The OCI image-spec documents.
