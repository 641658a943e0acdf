//! The collector: blobs and layers that no record reaches and no work under way has pinned are removed.

use std::collections::HashSet;

use snapshot::LayerInfo;
use types::{ChainId, DiffId, Digest, Kind};

use crate::Error;
use crate::images::Inner;
use crate::remove::Swept;

impl Inner {
    /// Removes what is unreachable; what a container still uses is left.
    pub(crate) fn collect(&self) -> Result<Swept, Error> {
        let layers = self.snapshot.layers();
        let blobs = self.content.list().map_err(Error::content)?;
        let chains = layers.iter().map(|layer| layer.chain.0.clone());
        let candidates = blobs.iter().cloned().chain(chains).collect();
        let doomed = self.pins.doom(candidates, || self.reached());
        let mut swept = Swept::default();
        let layers = layers.into_iter().filter(|layer| doomed.contains(&layer.chain.0)).collect();
        self.collect_layers(&mut swept, layers)?;
        self.collect_blobs(&mut swept, blobs.iter().filter(|blob| doomed.contains(blob)))?;
        Ok(swept)
    }

    /// Every blob, and every layer by its chain, that a record needs.
    fn reached(&self) -> HashSet<Digest> {
        let mut reached = HashSet::new();
        // Records, not entries: an image that cannot be used at the moment keeps what is its own.
        for record in self.catalog.records() {
            reached.extend(record.blobs().cloned());
            let diffs: Vec<DiffId> =
                record.layers.iter().map(|layer| layer.diff_id.clone()).collect();
            reached.extend(ChainId::stack(&diffs).into_iter().map(|chain| chain.0));
        }
        reached
    }

    fn collect_layers(&self, swept: &mut Swept, mut doomed: Vec<LayerInfo>) -> Result<(), Error> {
        // A layer can go only after those above it: round by round, until a round removes nothing.
        loop {
            let parents: HashSet<ChainId> =
                doomed.iter().filter_map(|layer| layer.parent.clone()).collect();
            let mut progress = false;
            let mut left = Vec::new();
            for layer in doomed {
                if !parents.contains(&layer.chain) && self.remove_layer(&layer.chain)? {
                    swept.bytes += layer.bytes;
                    swept.layers.push(layer.chain);
                    progress = true;
                } else {
                    left.push(layer);
                }
            }
            doomed = left;
            if !progress {
                return Ok(());
            }
        }
    }

    fn remove_layer(&self, chain: &ChainId) -> Result<bool, Error> {
        match self.snapshot.remove_layer(chain) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Kind::Conflict => Ok(false),
            Err(error) if error.kind() == Kind::NotFound => Ok(true),
            Err(error) => Err(Error::snapshot(error)),
        }
    }

    fn collect_blobs<'a>(
        &self,
        swept: &mut Swept,
        doomed: impl Iterator<Item = &'a Digest>,
    ) -> Result<(), Error> {
        for blob in doomed {
            swept.bytes += self.content.size(blob).unwrap_or(0);
            self.content.remove(blob).map_err(Error::content)?;
            swept.blobs += 1;
        }
        Ok(())
    }
}
