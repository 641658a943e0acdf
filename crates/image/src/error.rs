use types::Kind;

/// Why an image operation failed; the words are Docker's where its clients read them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is known by that name or id.
    #[error("No such image: {name}")]
    NotFound {
        /// What was asked for, with its tag.
        name: String,
    },
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::NotFound
    }
}
