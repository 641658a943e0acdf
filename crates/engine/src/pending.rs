//! The read side that is written elsewhere: signatures until its files appear.

use tokio::sync::mpsc;

use crate::*;

#[expect(unused_variables, reason = "signatures first")]
impl Engine {
    /// Lists the processes of a container as `ps ARGS` would.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub async fn top(&self, name: &str, ps_args: &str) -> Result<TopView> {
        Err(self.not_yet(name))
    }

    /// Reads a container's log.
    ///
    /// # Errors
    /// `Invalid`: no stream chosen; `NotImplemented`: the log driver cannot be read.
    pub async fn container_logs(&self, name: &str, request: LogsRequest) -> Result<LogStream> {
        Err(self.not_yet(name))
    }

    /// Reads a container's counters.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stats(&self, name: &str, mode: StatsMode) -> Result<mpsc::Receiver<Stats>> {
        Err(self.not_yet(name))
    }

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
