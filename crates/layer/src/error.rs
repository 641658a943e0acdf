use std::io;

use types::Kind;

use crate::ApplyOptions;

/// Why a layer or an archive could not be unpacked or packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stub.
    #[error("layer `{layer}`")]
    Stub {
        /// The layer.
        layer: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::Internal
    }

    pub(crate) fn stub(options: &ApplyOptions) -> Self {
        Self::Stub { layer: options.name.clone(), source: io::ErrorKind::Unsupported.into() }
    }
}
