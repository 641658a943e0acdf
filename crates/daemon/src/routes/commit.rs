//! `POST /commit`.

use api::IdResponse;
use engine::image::CommitRequest;
use hyper::StatusCode;
use types::container::ContainerConfig;

use super::images::target;
use crate::call::{Call, json};
use crate::failure::Answer;

pub(super) async fn commit(call: Call) -> Answer {
    let app = call.app.clone();
    let view = app.engine.inspect(call.query.text("container"))?;
    let reference = match call.query.text("repo") {
        "" => None,
        repo => Some(target(repo, call.query.text("tag"))?),
    };
    let pause = call.query.flag_or("pause", true);
    let request = CommitRequest {
        container: view.id.clone(),
        parent: Some(view.image_id.clone()),
        reference,
        author: call.query.text("author").to_owned(),
        comment: call.query.text("comment").to_owned(),
        changes: call.query.all("changes").map(str::to_owned).collect(),
        config: ContainerConfig::default(),
    };
    let config: Option<ContainerConfig> = call.optional_json().await?;
    let config = config.unwrap_or_else(|| view.config.as_ref().clone());
    let request = CommitRequest { config, ..request };
    let id = app.engine.commit(view.id.as_str(), pause, request).await?;
    json(StatusCode::CREATED, &IdResponse { id: id.to_string() })
}
