//! `docker rmi` and `docker image prune`, by Docker's rules (moby `daemon/images/image_delete.go`).

use std::collections::HashSet;
use std::sync::Arc;

use types::{ChainId, ImageId, Reference};

use crate::catalog::Entry;
use crate::images::Inner;
use crate::{Error, ImageSummary, ImageUse, Pruned, Removed};

impl Inner {
    /// Removes by name: the name goes, and the image with its last one. Removes by id: the image goes, with its names if they are one.
    pub(crate) fn remove(
        &self,
        text: &str,
        force: bool,
        prune_parents: bool,
        in_use: &[ImageUse],
    ) -> Result<Vec<Removed>, Error> {
        let entry = self.find(text)?;
        let id = entry.record.id.clone();
        let mut removal = Removal { inner: self, force, prune_parents, in_use, steps: Vec::new() };
        if is_start_of(&id, text) {
            if is_single(&entry.record.names()) {
                removal.check(&entry, Strictness { names: false, stopped: !force })?;
                removal.untag_all(&entry)?;
            }
            removal.delete(&id, force, false)?;
        } else if removal.untag(text, &entry)? {
            removal.delete(&id, force, true)?;
        }
        let steps = removal.steps;
        self.finish(steps).map(|(steps, _)| steps)
    }

    /// Deletes unused images.
    pub(crate) fn prune(
        &self,
        dangling_only: bool,
        filter: &dyn Fn(&ImageSummary) -> bool,
        in_use: &[ImageUse],
    ) -> Result<Pruned, Error> {
        let used: HashSet<_> = in_use.iter().map(|user| &user.image).collect();
        let mut removal =
            Removal { inner: self, force: false, prune_parents: true, in_use, steps: Vec::new() };
        for entry in self.catalog.all() {
            let id = &entry.record.id;
            let is_named = !entry.record.names().is_empty();
            let children = self.catalog.children(id);
            let stays = used.contains(id) || children || (dangling_only && is_named);
            if !stays && filter(&self.summary(&entry, 0, children)) {
                removal.untag_all(&entry)?;
                removal.delete(id, false, true)?;
            }
        }
        let steps = removal.steps;
        let (removed, reclaimed) = self.finish(steps)?;
        Ok(Pruned { removed, reclaimed })
    }

    /// Collects what the deleted images leave behind.
    fn finish(&self, mut steps: Vec<Removed>) -> Result<(Vec<Removed>, u64), Error> {
        if !steps.iter().any(|step| matches!(step, Removed::Image(_))) {
            return Ok((steps, 0));
        }
        let swept = self.collect()?;
        steps.extend(swept.layers.into_iter().map(Removed::Layer));
        Ok((steps, swept.bytes))
    }
}

/// Which soft conflicts count.
#[derive(Clone, Copy)]
struct Strictness {
    names: bool,
    stopped: bool,
}

/// What stands in the way of a deletion.
struct Conflict {
    is_hard: bool,
    is_use: bool,
    reason: String,
}

struct Removal<'a> {
    inner: &'a Inner,
    force: bool,
    prune_parents: bool,
    in_use: &'a [ImageUse],
    steps: Vec<Removed>,
}

impl Removal<'_> {
    /// Takes the name `text` off; tells whether the image is without names now.
    fn untag(&mut self, text: &str, entry: &Entry) -> Result<bool, Error> {
        let id = &entry.record.id;
        if !self.force
            && is_single(&entry.record.names())
            && let Some(user) = self.in_use.iter().find(|user| user.image == *id)
        {
            let container = user.container.clone();
            return Err(Error::NameInUse { name: text.to_owned(), container, id: id.clone() });
        }
        let name: Reference = text.parse().map_err(|source| Error::Name { source })?;
        let name = match name.digest() {
            Some(digest) => name.with_digest(digest.clone()),
            None => name.with_default_tag(),
        };
        self.take_off(&name, id)?;
        let mut left = self.names(id);
        let repository = name.repository();
        let is_same = |other: &Reference| other.repository() == repository;
        let has_tag = left.iter().any(|other| other.digest().is_none() && is_same(other));
        if name.digest().is_none() && !has_tag {
            // With its last tag a repository's digests go too.
            for other in left.iter().filter(|other| is_same(other)) {
                self.take_off(other, id)?;
            }
            left.retain(|other| !is_same(other));
        }
        Ok(left.is_empty())
    }

    fn untag_all(&mut self, entry: &Entry) -> Result<(), Error> {
        for name in entry.record.names() {
            self.take_off(&name, &entry.record.id)?;
        }
        Ok(())
    }

    fn take_off(&mut self, name: &Reference, id: &ImageId) -> Result<(), Error> {
        self.inner.catalog.unname(name)?;
        self.steps.push(Removed::Untagged { reference: name.familiar(), id: id.clone() });
        Ok(())
    }

    fn names(&self, id: &ImageId) -> Vec<Reference> {
        self.inner.catalog.get(id).map(|entry| entry.record.names()).unwrap_or_default()
    }

    /// Deletes the image, then its parents as far as nothing else holds them. Quiet: a conflict just ends it.
    fn delete(&mut self, id: &ImageId, force: bool, quiet: bool) -> Result<(), Error> {
        let Some(entry) = self.inner.catalog.get(id) else { return Ok(()) };
        let strictness = Strictness { names: !force, stopped: !force };
        if let Some(conflict) = self.conflict(&entry, strictness) {
            let is_dangling = entry.record.names().is_empty() && !self.inner.catalog.children(id);
            if quiet && (!is_dangling || conflict.is_use) {
                return Ok(());
            }
            return Err(conflict.into_error(id));
        }
        self.untag_all(&entry)?;
        self.inner.catalog.delete(id)?;
        self.steps.push(Removed::Image(id.clone()));
        match &entry.record.parent {
            Some(parent) if self.prune_parents => self.delete(parent, false, true),
            _ => Ok(()),
        }
    }

    fn check(&self, entry: &Arc<Entry>, strictness: Strictness) -> Result<(), Error> {
        match self.conflict(entry, strictness) {
            Some(conflict) => Err(conflict.into_error(&entry.record.id)),
            None => Ok(()),
        }
    }

    fn conflict(&self, entry: &Entry, strictness: Strictness) -> Option<Conflict> {
        let id = &entry.record.id;
        let hard = |is_use, reason| Some(Conflict { is_hard: true, is_use, reason });
        let soft = |is_use, reason| Some(Conflict { is_hard: false, is_use, reason });
        if self.inner.catalog.children(id) {
            return hard(false, "image has dependent child images".to_owned());
        }
        let mut users = self.in_use.iter().filter(|user| user.image == *id);
        if let Some(user) = users.clone().find(|user| user.running) {
            let user = user.container.short();
            return hard(true, format!("image is being used by running container {user}"));
        }
        if strictness.names && !entry.record.names().is_empty() {
            return soft(false, "image is referenced in multiple repositories".to_owned());
        }
        match users.next() {
            Some(user) if strictness.stopped => {
                let user = user.container.short();
                soft(true, format!("image is being used by stopped container {user}"))
            }
            _ => None,
        }
    }
}

impl Conflict {
    fn into_error(self, id: &ImageId) -> Error {
        Error::InUse { id: id.clone(), hard: self.is_hard, reason: self.reason }
    }
}

/// Tells whether `text` is the start of the id, with or without `sha256:`.
fn is_start_of(id: &ImageId, text: &str) -> bool {
    id.0.as_str().starts_with(text) || id.hex().starts_with(text)
}

/// At most one tag, and nothing but digests of the same repository beside it.
fn is_single(names: &[Reference]) -> bool {
    if names.len() <= 1 {
        return true;
    }
    let tags: Vec<_> = names.iter().filter(|name| name.digest().is_none()).collect();
    let repositories: HashSet<_> =
        names.iter().filter(|name| name.digest().is_some()).map(Reference::repository).collect();
    let single = tags.first().copied().unwrap_or(&names[0]);
    tags.len() <= 1 && repositories.len() == 1 && repositories.contains(&single.repository())
}

/// What a collection removed.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Topmost first.
    pub(crate) layers: Vec<ChainId>,
    pub(crate) blobs: usize,
    pub(crate) bytes: u64,
}
