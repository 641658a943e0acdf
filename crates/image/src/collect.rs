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
        self.pins.excluding(|is_pinned| {
            let mut blobs: HashSet<Digest> = HashSet::new();
            let mut chains: HashSet<ChainId> = HashSet::new();
            // Records, not entries: an image that cannot be used at the moment keeps what is its own.
            for record in self.catalog.records() {
                blobs.extend(record.blobs().cloned());
                let diffs: Vec<DiffId> =
                    record.layers.iter().map(|layer| layer.diff_id.clone()).collect();
                chains.extend(ChainId::stack(&diffs));
            }
            let mut swept = Swept::default();
            self.collect_layers(&mut swept, |chain| chains.contains(chain) || is_pinned(&chain.0))?;
            self.collect_blobs(&mut swept, |blob| blobs.contains(blob) || is_pinned(blob))?;
            Ok(swept)
        })
    }

    fn collect_layers(
        &self,
        swept: &mut Swept,
        stays: impl Fn(&ChainId) -> bool,
    ) -> Result<(), Error> {
        let mut doomed: Vec<LayerInfo> = self.snapshot.layers();
        doomed.retain(|layer| !stays(&layer.chain));
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

    fn collect_blobs(
        &self,
        swept: &mut Swept,
        stays: impl Fn(&Digest) -> bool,
    ) -> Result<(), Error> {
        for blob in self.content.list().map_err(Error::content)? {
            if !stays(&blob) {
                swept.bytes += self.content.size(&blob).unwrap_or(0);
                self.content.remove(&blob).map_err(Error::content)?;
                swept.blobs += 1;
            }
        }
        Ok(())
    }
}
