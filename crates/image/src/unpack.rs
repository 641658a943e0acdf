//! From a blob in content to a layer in snapshot, once each.

use std::io::{self, BufReader, Read};
use std::time::{Duration, Instant};

use layer::ApplyOptions;
use snapshot::LayerMeta;
use types::ChainId;

use crate::catalog::Blob;
use crate::flight::{Cancelled, Turn};
use crate::images::Inner;
use crate::{Counter, Error};

/// How often progress is told.
pub(crate) const TICK: Duration = Duration::from_millis(100);
const BUFFER_BYTES: usize = 256 << 10;

/// One layer to unpack.
pub(crate) struct Step {
    pub(crate) blob: Blob,
    pub(crate) chain: ChainId,
    pub(crate) parent: Option<ChainId>,
}

impl Step {
    /// Pairs the blobs of an image, lowest first, with their chains.
    pub(crate) fn all(blobs: &[Blob], chains: &[ChainId]) -> Vec<Step> {
        let parents = std::iter::once(None).chain(chains.iter().cloned().map(Some));
        let pairs = blobs.iter().zip(chains).zip(parents);
        pairs
            .map(|((blob, chain), parent)| Step {
                blob: blob.clone(),
                chain: chain.clone(),
                parent,
            })
            .collect()
    }
}

impl Inner {
    /// Unpacks one layer unless it is here; blocks. `_turn` keeps others from unpacking the same.
    pub(crate) fn unpack(
        &self,
        step: &Step,
        _turn: Turn,
        cancelled: &Cancelled,
        mut tell: impl FnMut(Counter),
    ) -> Result<(), Error> {
        if self.snapshot.has(&step.chain) {
            return Ok(());
        }
        let draft = self
            .snapshot
            .begin_layer(&step.chain, step.parent.as_ref())
            .map_err(Error::snapshot)?;
        let file = self.content.open_blob(&step.blob.digest).map_err(Error::content)?;
        let counted = Counted {
            inner: BufReader::with_capacity(BUFFER_BYTES, file),
            counter: Counter { current: 0, total: step.blob.size },
            told: Instant::now(),
            tell: &mut tell,
            cancelled,
        };
        let options = ApplyOptions { name: step.blob.digest.to_string(), ..Default::default() };
        let applied = layer::apply(counted, draft.dir(), &options).map_err(|error| {
            if cancelled.is_set() { Error::Abandoned } else { Error::layer(error) }
        })?;
        if applied.diff_id != step.blob.diff_id {
            return Err(Error::WrongDiffId {
                layer: step.blob.digest.clone(),
                expected: step.blob.diff_id.clone(),
                actual: applied.diff_id,
            });
        }
        let meta = LayerMeta { diff_id: applied.diff_id, bytes: applied.bytes };
        draft.commit(meta).map_err(Error::snapshot)?;
        Ok(())
    }
}

/// Counts what is read, and fails once nobody waits for it.
struct Counted<'a, R, T> {
    inner: R,
    counter: Counter,
    told: Instant,
    tell: &'a mut T,
    cancelled: &'a Cancelled,
}

impl<R: Read, T: FnMut(Counter)> Read for Counted<'_, R, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.is_set() {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        let count = self.inner.read(buffer)?;
        self.counter.current += count as u64;
        if count > 0 && self.told.elapsed() >= TICK {
            self.told = Instant::now();
            (self.tell)(self.counter);
        }
        Ok(count)
    }
}
