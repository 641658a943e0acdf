//! `/images/*`: routes, and all but the streams.

use api::image::{ImageSummary, ImagesPruned};
use hyper::StatusCode;
use types::{Kind, Reference};

use super::transfer;
use crate::call::{Call, bare, ok};
use crate::failure::{Answer, Failure};
use crate::select::Selection;
use crate::show::image::{history, inspect, removed, summary};

pub(super) async fn route(method: &str, path: &[&str], call: Call) -> Answer {
    match (method, path) {
        ("GET", ["json"]) => list(&call),
        ("POST", ["create"]) => transfer::create(call).await,
        ("POST", ["load"]) => transfer::load(call).await,
        ("POST", ["prune"]) => prune(&call).await,
        ("GET", ["search"]) => Err(Failure::not_implemented("searching Docker Hub")),
        ("GET", ["get"]) => {
            let names: Vec<String> = call.query.all("names").map(str::to_owned).collect();
            transfer::save(&call, &names)
        }
        ("GET", [name @ .., "get"]) if !name.is_empty() => transfer::save(&call, &[name.join("/")]),
        ("GET", [name @ .., "json"]) => show(&call, &name.join("/")),
        ("GET", [name @ .., "history"]) => steps(&call, &name.join("/")),
        ("POST", [name @ .., "tag"]) => tag(&call, &name.join("/")).await,
        ("POST", [_, .., "push"]) => Err(Failure::not_implemented("pushing images")),
        ("DELETE", name @ [_, ..]) => remove(&call, &name.join("/")).await,
        _ => Err(Failure::no_page()),
    }
}

fn list(call: &Call) -> Answer {
    let mut filters = call.filters()?;
    // Before API 1.41 there was a parameter instead of the filter `reference`.
    if let Some(name) =
        call.query.get("filter").filter(|n| !n.is_empty() && !call.version.at_least(41))
    {
        filters.add("reference", name);
    }
    let images = call.app.images();
    let all = images.list(&[]);
    let created = |name: &str| {
        let id = images.resolve(name)?;
        let found = all.iter().find(|image| image.id == id);
        found.map(|i| i.created).ok_or_else(|| Failure::new(Kind::NotFound, name))
    };
    let mut chosen = Selection::read(&filters, created)?.apply(all.clone());
    // Steps of a build that have no name of their own are shown when asked for.
    if !call.query.flag("all") {
        chosen.retain(|image| !image.repo_tags.is_empty() || !image.has_children);
    }
    ok(&chosen.iter().map(|image| summary(image, call.version)).collect::<Vec<_>>())
}

fn show(call: &Call, name: &str) -> Answer {
    ok(&inspect(call.app.images().inspect(name)?, call.version))
}

fn steps(call: &Call, name: &str) -> Answer {
    let steps = call.app.images().history(name)?;
    ok(&steps.into_iter().map(history).collect::<Vec<_>>())
}

async fn tag(call: &Call, name: &str) -> Answer {
    let target = target(call.query.text("repo"), call.query.text("tag"))?;
    call.engine().tag(name, &target).await?;
    bare(StatusCode::CREATED)
}

/// The name that `repo` and `tag` make together.
pub(super) fn target(repo: &str, tag: &str) -> Result<Reference, Failure> {
    let reference: Reference = repo.parse()?;
    if reference.digest().is_some() {
        return Err(Failure::invalid("refusing to create a tag with a digest reference"));
    }
    Ok(if tag.is_empty() { reference.with_default_tag() } else { reference.with_tag(tag)? })
}

async fn remove(call: &Call, name: &str) -> Answer {
    let (force, parents) = (call.query.flag("force"), !call.query.flag("noprune"));
    let steps = call.engine().image_remove(name, force, parents).await?;
    ok(&steps.iter().map(removed).collect::<Vec<_>>())
}

async fn prune(call: &Call) -> Answer {
    let pruned = call.engine().image_prune(&call.filters()?).await?;
    let items: Vec<_> = pruned.removed.iter().map(removed).collect();
    ok(&ImagesPruned {
        images_deleted: (!items.is_empty()).then_some(items),
        space_reclaimed: pruned.reclaimed,
    })
}

/// Images with the number of containers that use each, for `/system/df`.
pub(super) fn usage(call: &Call) -> Vec<ImageSummary> {
    let uses = call.engine().image_uses();
    let one = |image: &engine::image::ImageSummary| {
        let containers = i64::try_from(image.containers).unwrap_or(i64::MAX);
        ImageSummary { containers, shared_size: 0, ..summary(image, call.version) }
    };
    call.app.images().list(&uses).iter().map(one).collect()
}
