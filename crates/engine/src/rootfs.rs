//! A container's root for readers: mounted while somebody reads, whether the container runs or not; and `export`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::Result;
use crate::engine::{Engine, Room, blocking};
use crate::launch::Shared;
use crate::roster::Handle;

/// Bytes that a writer gathers before it hands them on.
const CHUNK: usize = 64 << 10;

/// A mounted root. While one is held, the root of a container that does not run stays mounted; drop it where blocking is fine.
pub(crate) struct Root {
    engine: Shared,
    handle: Arc<Handle>,
    path: PathBuf,
}

impl Root {
    /// Where it is on the host. Open it once with `sys::inroot::open_root` and go on by descriptors.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let mut readers = self.handle.readers.lock();
        *readers -= 1;
        if *readers == 0
            && !self.handle.is_mounted_for_run()
            && let Err(error) = self.engine.snapshot.unmount(&self.handle.id)
        {
            tracing::warn!(error = %types::Chain(&error), container = %self.handle.id, "root left mounted");
        }
    }
}

impl Engine {
    /// Mounts a container's root for a reader; blocks.
    pub(crate) fn borrow_root(&self, handle: &Arc<Handle>) -> Result<Root> {
        let mut readers = handle.readers.lock();
        let path = self.snapshot.mount(&handle.id).room()?;
        *readers += 1;
        Ok(Root { engine: self.me(), handle: Arc::clone(handle), path })
    }

    /// Packs the whole root file system as a tar.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn export(&self, name: &str) -> Result<mpsc::Receiver<io::Result<Bytes>>> {
        let handle = self.find(name)?;
        let (engine, lender) = (self.me(), Arc::clone(&handle));
        let root = blocking(move || engine.borrow_root(&lender)).await?;
        let (sender, chunks) = mpsc::channel(4);
        let engine = self.me();
        tokio::task::spawn_blocking(move || {
            let mut out = ChunkWriter::new(sender);
            let packed = layer::pack_tree(root.path(), &mut out);
            match packed {
                Ok(_) => {
                    let _ = out.flush();
                    engine.tell_view(&handle.view(), "export", &[]);
                }
                Err(error) => out.fail(io::Error::other(types::Chain(&error).to_string())),
            }
        });
        Ok(chunks)
    }
}

/// Hands written bytes to a channel; for blocking threads only. A receiver that is gone is a broken pipe.
pub(crate) struct ChunkWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    gathered: Vec<u8>,
}

impl ChunkWriter {
    pub(crate) fn new(sender: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { sender, gathered: Vec::with_capacity(CHUNK) }
    }

    /// Ends the stream with an error, so that the receiver does not take it for a whole one.
    pub(crate) fn fail(self, error: io::Error) {
        let _ = self.sender.blocking_send(Err(error));
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.gathered, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Ok(chunk.into()))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
