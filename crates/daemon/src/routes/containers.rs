//! `/containers/*`: routes, and what only looks.

use api::container::{Change, ContainersPruned, CreateResponse, Top};
use engine::{CreateRequest, ListRequest};
use hyper::StatusCode;

use super::{archive, exec, lifecycle, streams};
use crate::body::Body;
use crate::call::{Call, json, ok, typed};
use crate::failure::{Answer, Failure};
use crate::show::container::{inspect, summary};

pub(super) async fn route(method: &str, path: &[&str], call: Call) -> Answer {
    match (method, path) {
        ("GET", ["json"]) => list(&call).await,
        ("POST", ["create"]) => create(call).await,
        ("POST", ["prune"]) => prune(&call).await,
        ("DELETE", [id]) => lifecycle::remove(&call, id).await,
        ("GET", [id, rest @ ..]) => look(id, rest, call).await,
        ("POST", [id, verb]) => act(id, verb, call).await,
        ("HEAD", [id, "archive"]) => archive::stat(&call, id).await,
        ("PUT", [id, "archive"]) => archive::put(call, id).await,
        _ => Err(Failure::no_page()),
    }
}

async fn look(id: &str, path: &[&str], call: Call) -> Answer {
    match path {
        ["json"] => show(&call, id).await,
        ["top"] => top(&call, id).await,
        ["logs"] => streams::logs(&call, id).await,
        ["changes"] => changes(&call, id).await,
        ["export"] => export(&call, id).await,
        ["stats"] => streams::stats(&call, id).await,
        ["archive"] => archive::get(&call, id).await,
        ["attach", "ws"] => Err(Failure::not_implemented("attaching through a web socket")),
        _ => Err(Failure::no_page()),
    }
}

async fn act(id: &str, verb: &str, call: Call) -> Answer {
    match verb {
        "start" => lifecycle::start(&call, id).await,
        "stop" => lifecycle::stop(&call, id).await,
        "restart" => lifecycle::restart(&call, id).await,
        "kill" => lifecycle::kill(&call, id).await,
        "pause" => lifecycle::pause(&call, id).await,
        "unpause" => lifecycle::unpause(&call, id).await,
        "rename" => lifecycle::rename(&call, id).await,
        "update" => lifecycle::update(call, id).await,
        "resize" => lifecycle::resize(&call, id).await,
        "wait" => streams::wait(&call, id).await,
        "attach" => streams::attach(call, id).await,
        "exec" => exec::create(call, id).await,
        _ => Err(Failure::no_page()),
    }
}

async fn list(call: &Call) -> Answer {
    let limit = call.number::<i64>("limit")?.filter(|n| *n > 0);
    let request = ListRequest {
        all: call.query.flag("all"),
        limit: limit.and_then(|n| usize::try_from(n).ok()),
        size: call.query.flag("size"),
        filters: call.filters()?,
    };
    let rows = call.engine().list(request).await?;
    ok(&rows.iter().map(summary).collect::<Vec<_>>())
}

async fn create(call: Call) -> Answer {
    let name = call.query.get("name").filter(|name| !name.is_empty()).map(str::to_owned);
    let platform = call.query.text("platform").to_owned();
    let engine = call.engine().clone();
    let body: api::container::CreateRequest = call.json().await?;
    let request = CreateRequest {
        name,
        platform,
        config: body.config,
        host_config: body.host_config.unwrap_or_default(),
        networking: body.networking_config.unwrap_or_default(),
    };
    let created = engine.create(request).await?;
    let answer = CreateResponse { id: created.id.to_string(), warnings: created.warnings };
    json(StatusCode::CREATED, &answer)
}

async fn show(call: &Call, id: &str) -> Answer {
    let view = call.engine().inspect(id)?;
    let size = match call.query.flag("size") {
        true => Some(call.engine().size(id).await?),
        false => None,
    };
    ok(&inspect(&view, size))
}

async fn top(call: &Call, id: &str) -> Answer {
    let args = call.query.get("ps_args").filter(|args| !args.is_empty()).unwrap_or("-ef");
    let view = call.engine().top(id, args).await?;
    ok(&Top { titles: view.titles, processes: view.processes })
}

async fn changes(call: &Call, id: &str) -> Answer {
    let changes = call.engine().changes(id).await?;
    let change = |c: engine::ChangeView| Change { path: c.path, kind: c.kind };
    ok(&changes.into_iter().map(change).collect::<Vec<_>>())
}

async fn export(call: &Call, id: &str) -> Answer {
    let tar = call.engine().export(id).await?;
    Ok(typed(StatusCode::OK, "application/octet-stream", Body::Archive(tar)))
}

async fn prune(call: &Call) -> Answer {
    let pruned = call.engine().prune_containers(&call.filters()?).await?;
    ok(&ContainersPruned {
        containers_deleted: (!pruned.deleted.is_empty()).then_some(pruned.deleted),
        space_reclaimed: pruned.space_reclaimed,
    })
}
