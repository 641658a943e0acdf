//! The read side that is written elsewhere: signatures until its files appear.

use tokio::sync::mpsc;

use crate::*;

#[expect(unused_variables, reason = "signatures first")]
impl Engine {
    /// Looks at one path of a container.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn archive_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        Err(self.not_yet(name))
    }

    /// Packs one path of a container as a tar.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn archive_get(
        &self,
        name: &str,
        path: &str,
    ) -> Result<(PathStat, mpsc::Receiver<std::io::Result<bytes::Bytes>>)> {
        Err(self.not_yet(name))
    }

    /// Unpacks a tar into a directory of a container.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Denied` (read-only).
    pub async fn archive_put(
        &self,
        name: &str,
        request: PutArchive,
        body: mpsc::Receiver<std::io::Result<bytes::Bytes>>,
    ) -> Result<()> {
        Err(self.not_yet(name))
    }

    fn not_yet(&self, name: &str) -> EngineError {
        match self.inspect(name) {
            Ok(_) => EngineError::new(types::Kind::NotImplemented, "not supported yet"),
            Err(error) => error,
        }
    }
}
