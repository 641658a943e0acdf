//! Images as containers and events see them: what changes an image goes through here.

use std::collections::BTreeMap;
use std::io::Read;

use image::{Auth, CommitRequest, ImageUse, ImportRequest, Loaded, Progress, Pulled, Removed};
use types::oci::image::Platform;
use types::{ImageId, Reference};

use crate::Result;
use crate::engine::{Engine, Room};
use crate::events::Subject;
use crate::filters::Filters;
use crate::view::Status;

impl Engine {
    /// Containers by the images they use.
    #[must_use]
    pub fn image_uses(&self) -> Vec<ImageUse> {
        let uses = |view: std::sync::Arc<crate::ContainerView>| ImageUse {
            container: view.id.clone(),
            image: view.image_id.clone(),
            running: view.state.status.is_alive() || view.state.status == Status::Restarting,
        };
        self.roster.all().iter().map(|handle| uses(handle.view())).collect()
    }

    fn tell_image(&self, action: &str, actor: &str, name: &str) {
        let mut attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
        if let Ok(image) = self.images.inspect(actor) {
            attributes
                .extend(image.config.config.and_then(|config| config.labels).unwrap_or_default());
        }
        self.events.publish(Subject::Image, action, actor, attributes);
    }

    /// Fetches an image.
    ///
    /// # Errors
    /// As `Images::pull`.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: Option<Platform>,
        auth: Option<&Auth>,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Pulled> {
        let pulled = self.images.pull(reference, platform, auth, progress).await.room()?;
        let name = reference.clone().with_default_tag().familiar();
        self.tell_image("pull", &name, &reference.familiar_name());
        Ok(pulled)
    }

    /// Reads images from an archive.
    ///
    /// # Errors
    /// As `Images::load`.
    pub async fn load(
        &self,
        archive: impl Read + Send + 'static,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Vec<Loaded>> {
        let loaded = self.images.load(archive, progress).await.room()?;
        for image in &loaded {
            let name =
                image.reference.as_ref().map_or_else(|| image.id.to_string(), Reference::familiar);
            self.tell_image("load", &image.id.to_string(), &name);
        }
        Ok(loaded)
    }

    /// Makes an image of a root file system.
    ///
    /// # Errors
    /// As `Images::import`.
    pub async fn import(
        &self,
        tar: impl Read + Send + 'static,
        request: ImportRequest,
    ) -> Result<ImageId> {
        let name = request.reference.as_ref().map(Reference::familiar);
        let id = self.images.import(tar, request).await.room()?;
        self.tell_image("import", &id.to_string(), &name.unwrap_or_else(|| id.to_string()));
        Ok(id)
    }

    /// Names an image.
    ///
    /// # Errors
    /// As `Images::tag`.
    pub async fn tag(&self, image: &str, reference: &Reference) -> Result<ImageId> {
        let id = self.images.tag(image, reference).await.room()?;
        self.tell_image("tag", &id.to_string(), &reference.familiar());
        Ok(id)
    }

    /// Takes a name off an image, or deletes it.
    ///
    /// # Errors
    /// As `Images::remove`.
    pub async fn image_remove(
        &self,
        name: &str,
        force: bool,
        prune_parents: bool,
    ) -> Result<Vec<Removed>> {
        let removed =
            self.images.remove(name, force, prune_parents, &self.image_uses()).await.room()?;
        self.tell_removed(&removed);
        Ok(removed)
    }

    fn tell_removed(&self, removed: &[Removed]) {
        for step in removed {
            match step {
                Removed::Untagged { reference, id } => {
                    self.tell_image("untag", &id.to_string(), reference);
                }
                Removed::Image(id) => self.tell_image("delete", &id.to_string(), &id.to_string()),
                Removed::Layer(_) => {}
            }
        }
    }

    /// Deletes unused images (filters `dangling`, `until`, `label`, `label!`).
    ///
    /// # Errors
    /// `Invalid`: bad filter; as `Images::prune`.
    pub async fn image_prune(&self, filters: &Filters) -> Result<image::Pruned> {
        filters.allow_only(&["dangling", "until", "label", "label!"])?;
        let dangling = filters.flag("dangling")?.unwrap_or(true);
        let until =
            filters.get("until").first().map(|text| crate::list::moment(text)).transpose()?;
        let chosen = filters.clone();
        let filter = move |image: &image::ImageSummary| {
            let labels = image.labels.clone().unwrap_or_default();
            until.is_none_or(|until| image.created < until.as_second())
                && chosen.labels("label", &labels)
                && !(chosen.has("label!") && chosen.labels("label!", &labels))
        };
        let pruned = self.images.prune(dangling, filter, &self.image_uses()).await.room()?;
        self.tell_removed(&pruned.removed);
        let attributes = BTreeMap::from([("reclaimed".to_owned(), pruned.reclaimed.to_string())]);
        self.events.publish(Subject::Image, "prune", "", attributes);
        Ok(pruned)
    }

    /// Makes an image of a container; `pause` freezes it meanwhile.
    ///
    /// # Errors
    /// As `Images::commit`.
    pub async fn commit(
        &self,
        name: &str,
        pause: bool,
        mut request: CommitRequest,
    ) -> Result<ImageId> {
        let handle = self.find(name)?;
        let view = handle.view();
        request.container = view.id.clone();
        request.parent = Some(view.image_id.clone());
        let paused =
            pause && view.state.status == Status::Running && self.pause(name).await.is_ok();
        let reference = request.reference.as_ref().map(Reference::familiar).unwrap_or_default();
        let made = self.images.commit(request).await.room();
        if paused {
            self.unpause(name).await?;
        }
        let id = made?;
        self.tell_view(&view, "commit", &[("comment", reference), ("imageID", id.to_string())]);
        Ok(id)
    }
}
