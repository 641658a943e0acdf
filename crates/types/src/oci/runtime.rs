//! The OCI runtime-spec documents (runtime-spec 1.3).
