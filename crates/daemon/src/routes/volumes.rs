//! `/volumes/*`.

use api::volume::{Volume, VolumeCreate, VolumeList, VolumesPruned};
use engine::{VolumeRequest, VolumeView};
use hyper::StatusCode;

use crate::call::{Call, done, json, ok};
use crate::failure::{Answer, Failure};
use crate::show::network::{volume, volume_usage};

pub(super) async fn route(method: &str, path: &[&str], call: Call) -> Answer {
    match (method, path) {
        ("GET", []) => list(&call),
        ("POST", ["create"]) => create(call).await,
        ("POST", ["prune"]) => prune(&call).await,
        ("GET", [name]) => ok(&volume(call.engine().volume_inspect(name)?)),
        ("DELETE", [name]) => {
            call.engine().volume_remove(name, call.query.flag("force")).await?;
            done()
        }
        ("PUT", [_]) => Err(Failure::not_implemented("changing a cluster volume")),
        _ => Err(Failure::no_page()),
    }
}

fn list(call: &Call) -> Answer {
    let volumes = call.engine().volume_list(&call.filters()?)?;
    ok(&VolumeList { volumes: volumes.into_iter().map(volume).collect(), warnings: None })
}

async fn create(call: Call) -> Answer {
    let engine = call.engine().clone();
    let body: VolumeCreate = call.json().await?;
    let request = VolumeRequest {
        name: body.name,
        driver: body.driver,
        options: body.driver_opts,
        labels: body.labels,
    };
    json(StatusCode::CREATED, &volume(engine.volume_create(request).await?))
}

async fn prune(call: &Call) -> Answer {
    let mut filters = call.filters()?;
    // Before API 1.42 every unused volume was meant.
    if !call.version.at_least(42) {
        filters.add("all", "true");
    }
    let pruned = call.engine().volume_prune(&filters).await?;
    ok(&VolumesPruned {
        volumes_deleted: (!pruned.deleted.is_empty()).then_some(pruned.deleted),
        space_reclaimed: pruned.space_reclaimed,
    })
}

/// Volumes with their sizes, for `/system/df`.
pub(super) async fn usage(volumes: Vec<VolumeView>) -> Vec<Volume> {
    let measure = move || {
        let size = |view: &VolumeView| disk_bytes(view.mountpoint.as_ref()).unwrap_or(-1);
        volumes.into_iter().map(|view| (size(&view), view)).collect::<Vec<_>>()
    };
    let measured = tokio::task::spawn_blocking(measure).await.unwrap_or_default();
    measured.into_iter().map(|(size, view)| volume_usage(view, size)).collect()
}

/// Adds up the files under a directory; links are not followed.
fn disk_bytes(dir: &std::path::Path) -> Option<i64> {
    let mut total = 0i64;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).ok()?.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                dirs.push(entry.path());
            } else {
                total = total.saturating_add(i64::try_from(meta.len()).unwrap_or(i64::MAX));
            }
        }
    }
    Some(total)
}
