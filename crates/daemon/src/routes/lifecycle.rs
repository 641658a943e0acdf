//! `/containers/{id}/VERB`: what changes a container.

use api::container::{UpdateRequest as UpdateBody, UpdateResponse};
use engine::{RemoveRequest, StopRequest, UpdateRequest};
use hyper::StatusCode;

use crate::call::{Call, bare, done, ok};
use crate::failure::{Answer, Failure};

pub(super) async fn start(call: &Call, id: &str) -> Answer {
    call.engine().start(id).await?;
    done()
}

pub(super) async fn stop(call: &Call, id: &str) -> Answer {
    call.engine().stop(id, stop_request(call)?).await?;
    done()
}

pub(super) async fn restart(call: &Call, id: &str) -> Answer {
    call.engine().restart(id, stop_request(call)?).await?;
    done()
}

fn stop_request(call: &Call) -> Result<StopRequest, Failure> {
    let signal = call.query.get("signal").filter(|signal| !signal.is_empty());
    Ok(StopRequest { signal: signal.map(str::to_owned), timeout: call.number("t")? })
}

pub(super) async fn kill(call: &Call, id: &str) -> Answer {
    call.engine().kill(id, call.query.text("signal")).await?;
    done()
}

pub(super) async fn pause(call: &Call, id: &str) -> Answer {
    call.engine().pause(id).await?;
    done()
}

pub(super) async fn unpause(call: &Call, id: &str) -> Answer {
    call.engine().unpause(id).await?;
    done()
}

pub(super) async fn rename(call: &Call, id: &str) -> Answer {
    call.engine().rename(id, call.query.text("name")).await?;
    done()
}

pub(super) async fn update(call: Call, id: &str) -> Answer {
    let engine = call.engine().clone();
    let body: UpdateBody = call.json().await?;
    let policy = body.resources.restart_policy.clone();
    let restart_policy = (!policy.name.is_empty()).then_some(policy);
    let request = UpdateRequest { resources: body.resources, restart_policy };
    ok(&UpdateResponse { warnings: engine.update(id, request).await? })
}

pub(super) async fn resize(call: &Call, id: &str) -> Answer {
    let (height, width) = size(call)?;
    call.engine().resize(id, height, width).await?;
    bare(StatusCode::OK)
}

/// The size of a terminal: `h` and `w` in characters.
pub(super) fn size(call: &Call) -> Result<(u16, u16), Failure> {
    let number = |name| -> Result<u16, Failure> {
        let missing = || Failure::invalid(format!("invalid value for `{name}`: it is missing"));
        call.number(name)?.ok_or_else(missing)
    };
    Ok((number("h")?, number("w")?))
}

pub(super) async fn remove(call: &Call, id: &str) -> Answer {
    if call.query.flag("link") {
        return Err(Failure::not_implemented("removing a link"));
    }
    let (force, volumes) = (call.query.flag("force"), call.query.flag("v"));
    call.engine().remove(id, RemoveRequest { force, volumes }).await?;
    done()
}
