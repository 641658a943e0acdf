//! Everything that only reads: names to images, lists, details, history.

use std::collections::HashMap;
use std::sync::Arc;

use types::{ImageId, Reference};

use crate::catalog::{Entry, seconds};
use crate::images::Inner;
use crate::{Error, GraphDriver, HistoryEntry, ImageDetail, ImageSummary, ImageUse};

impl Inner {
    pub(crate) fn entry(&self, id: &ImageId) -> Result<Arc<Entry>, Error> {
        self.catalog.get(id).ok_or_else(|| Error::NotFound { name: id.to_string() })
    }

    /// Finds an image as Docker does: a whole id, a name, then the start of an id.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Entry>, Error> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = !hex.is_empty()
            && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_hex && hex.len() == 64 {
            let id: ImageId = format!("sha256:{hex}")
                .parse()
                .map_err(|_| Error::NotFound { name: text.to_owned() })?;
            return self.catalog.get(&id).ok_or(Error::NotFound { name: text.to_owned() });
        }
        let reference = text.parse::<Reference>().map(Reference::with_default_tag);
        if let Ok(reference) = &reference
            && let Some(entry) = self.by_name(reference)
        {
            return Ok(entry);
        }
        if is_hex && let Some(entry) = self.by_prefix(text, hex)? {
            return Ok(entry);
        }
        let reference = reference.map_err(|source| Error::Name { source })?;
        Err(Error::NotFound { name: reference.familiar() })
    }

    /// `name:tag`, `name@digest` and `name:tag@digest`; the digest may also be that of the image itself.
    fn by_name(&self, reference: &Reference) -> Option<Arc<Entry>> {
        let Some(digest) = reference.digest() else { return self.catalog.named(reference) };
        self.catalog.named(&reference.with_digest(digest.clone())).or_else(|| {
            let id = ImageId(digest.clone());
            let entry = self.catalog.get(&id)?;
            let repository = reference.repository();
            let is_known = entry.record.names().iter().any(|n| n.repository() == repository);
            is_known.then_some(entry)
        })
    }

    fn by_prefix(&self, text: &str, hex: &str) -> Result<Option<Arc<Entry>>, Error> {
        let all = self.catalog.all();
        let mut found = all.into_iter().filter(|entry| entry.record.id.hex().starts_with(hex));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Error::Ambiguous { prefix: text.to_owned() }),
            (first, _) => Ok(first),
        }
    }

    pub(crate) fn list(&self, in_use: &[ImageUse]) -> Vec<ImageSummary> {
        let mut users: HashMap<&ImageId, usize> = HashMap::new();
        for user in in_use {
            *users.entry(&user.image).or_default() += 1;
        }
        let entries = self.catalog.all();
        let mut list: Vec<_> = entries
            .iter()
            .map(|entry| {
                let id = &entry.record.id;
                let children = entries.iter().any(|e| e.record.parent.as_ref() == Some(id));
                self.summary(entry, users.get(id).copied().unwrap_or(0), children)
            })
            .collect();
        list.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        list
    }

    pub(crate) fn summary(
        &self,
        entry: &Entry,
        containers: usize,
        has_children: bool,
    ) -> ImageSummary {
        let config = entry.config.config.as_ref();
        ImageSummary {
            id: entry.record.id.clone(),
            parent: self.parent(entry),
            repo_tags: tags(entry),
            repo_digests: digests(entry),
            created: entry.created(),
            size: entry.size(),
            labels: config.and_then(|config| config.labels.clone()),
            containers,
            has_children,
        }
    }

    fn parent(&self, entry: &Entry) -> Option<ImageId> {
        entry.record.parent.clone().filter(|id| self.catalog.get(id).is_some())
    }

    pub(crate) fn detail(&self, entry: &Entry) -> ImageDetail {
        ImageDetail {
            id: entry.record.id.clone(),
            parent: self.parent(entry),
            repo_tags: tags(entry),
            repo_digests: digests(entry),
            config: (*entry.config).clone(),
            size: entry.size(),
            layers: entry.config.rootfs.diff_ids.clone(),
            graph_driver: self.graph_driver(entry),
            last_tagged: entry.record.last_tagged.map(rfc3339),
        }
    }

    fn graph_driver(&self, entry: &Entry) -> Option<GraphDriver> {
        let top = self.snapshot.layer(entry.chains.last()?)?;
        let below = entry.chains.iter().rev().skip(1);
        let directory = top.diff.parent()?;
        Some(GraphDriver {
            lower: below.filter_map(|chain| Some(self.snapshot.layer(chain)?.diff)).collect(),
            upper: top.diff.clone(),
            merged: directory.join("merged"),
            work: directory.join("work"),
        })
    }

    pub(crate) fn history(&self, entry: &Entry) -> Vec<HistoryEntry> {
        let mut sizes = entry.sizes.iter();
        let mut steps: Vec<HistoryEntry> = entry
            .config
            .history
            .iter()
            .map(|step| HistoryEntry {
                id: "<missing>".to_owned(),
                created: step.created.as_deref().map_or(0, seconds),
                created_by: step.created_by.clone(),
                tags: Vec::new(),
                size: if step.empty_layer { 0 } else { sizes.next().copied().unwrap_or(0) },
                comment: step.comment.clone(),
            })
            .collect();
        steps.reverse();
        // Steps of images that are still here as parents get their ids; the rest was made elsewhere.
        let mut image = self.catalog.get(&entry.record.id);
        for step in &mut steps {
            let Some(entry) = image else { break };
            step.id = entry.record.id.to_string();
            step.tags = tags(&entry);
            image = entry.record.parent.as_ref().and_then(|parent| self.catalog.get(parent));
        }
        steps
    }
}

pub(crate) fn tags(entry: &Entry) -> Vec<String> {
    let mut tags: Vec<_> = entry.record.tags.keys().map(Reference::familiar).collect();
    tags.sort();
    tags
}

fn digests(entry: &Entry) -> Vec<String> {
    let mut digests: Vec<_> = entry.record.digests.iter().map(Reference::familiar).collect();
    digests.sort();
    digests
}

fn rfc3339(nanoseconds: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map(|time| time.to_string())
        .unwrap_or_default()
}
