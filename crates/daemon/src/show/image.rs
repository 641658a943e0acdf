//! Images.

use api::image::{DeleteItem, HistoryItem, ImageInspect, ImageMetadata, ImageSummary, RootFs};
use api::progress::{JsonMessage, ProgressDetail};
use api::version::ApiVersion;
use engine::image::{HistoryEntry, ImageDetail, Progress, Removed};

use super::overlay;

/// One row of `GET /images/json`.
pub(crate) fn summary(image: &engine::image::ImageSummary, version: ApiVersion) -> ImageSummary {
    let size = bytes(image.size);
    ImageSummary {
        id: image.id.to_string(),
        parent_id: image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        created: image.created,
        size,
        shared_size: -1,
        virtual_size: (!version.at_least(44)).then_some(size),
        labels: image.labels.clone(),
        containers: -1,
    }
}

/// `GET /images/{name}/json`.
pub(crate) fn inspect(image: ImageDetail, version: ApiVersion) -> ImageInspect {
    let size = bytes(image.size);
    let config = image.config;
    let comment = config.history.last().map(|step| step.comment.clone()).unwrap_or_default();
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        parent: image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        comment,
        created: config.created.unwrap_or_default(),
        docker_version: String::new(),
        author: config.author,
        config: config.config,
        architecture: config.architecture,
        variant: config.variant,
        os: config.os,
        os_version: config.os_version,
        size,
        virtual_size: (!version.at_least(44)).then_some(size),
        graph_driver: match &image.graph_driver {
            Some(g) => overlay(&g.lower, &g.upper, &g.work, &g.merged),
            None => api::GraphDriver { data: None, name: "overlay2".to_owned() },
        },
        root_fs: RootFs {
            r#type: "layers".to_owned(),
            layers: image.layers.iter().map(ToString::to_string).collect(),
        },
        metadata: ImageMetadata {
            last_tag_time: image.last_tagged.unwrap_or_else(|| api::time::NEVER.to_owned()),
        },
    }
}

/// One step of `GET /images/{name}/history`.
pub(crate) fn history(step: HistoryEntry) -> HistoryItem {
    HistoryItem {
        id: step.id,
        created: step.created,
        created_by: step.created_by,
        tags: (!step.tags.is_empty()).then_some(step.tags),
        size: bytes(step.size),
        comment: step.comment,
    }
}

/// What a removal did, as Docker lists it: layers count as deleted things.
pub(crate) fn removed(step: &Removed) -> DeleteItem {
    match step {
        Removed::Untagged { .. } => DeleteItem { untagged: Some(step.text()), deleted: None },
        Removed::Image(_) | Removed::Layer(_) => {
            DeleteItem { untagged: None, deleted: Some(step.text()) }
        }
    }
}

/// A line of progress.
pub(crate) fn progress(line: &Progress) -> JsonMessage {
    match (&line.id, line.counter) {
        (Some(id), Some(counter)) => {
            let total = (counter.total > 0).then_some(counter.total);
            JsonMessage::layer(id, &line.status, Some(counter.current), total)
        }
        (id, _) => JsonMessage {
            id: id.clone(),
            // Clients redraw the line of a layer; they know it by this field.
            progress_detail: id
                .as_ref()
                .filter(|_| !line.status.starts_with("Pulling from"))
                .map(|_| ProgressDetail::default()),
            ..JsonMessage::status(line.status.clone())
        },
    }
}

fn bytes(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
