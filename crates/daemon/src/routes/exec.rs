//! `/containers/{id}/exec`, `/exec/{id}/*`.

use api::IdResponse;
use api::exec::{ExecCreate, ExecStart as StartBody};
use engine::{ExecConfig, ExecStart};
use hyper::StatusCode;

use super::lifecycle::size;
use super::streams::stream_type;
use crate::call::{Call, bare, json, ok};
use crate::failure::{Answer, Failure};
use crate::show;

pub(super) async fn route(method: &str, path: &[&str], call: Call) -> Answer {
    match (method, path) {
        ("GET", [id, "json"]) => ok(&show::container::exec(&call.engine().exec_inspect(id)?)),
        ("POST", [id, "start"]) => start(call, id).await,
        ("POST", [id, "resize"]) => resize(&call, id).await,
        _ => Err(Failure::no_page()),
    }
}

pub(super) async fn create(call: Call, container: &str) -> Answer {
    let engine = call.engine().clone();
    let sizes = call.version.at_least(42);
    let body: ExecCreate = call.json().await?;
    let config = ExecConfig {
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        tty: body.tty,
        cmd: body.cmd,
        env: body.env,
        working_dir: body.working_dir,
        user: body.user,
        privileged: body.privileged,
        detach_keys: body.detach_keys,
        console_size: body.console_size.filter(|_| sizes),
    };
    let id = engine.exec_create(container, config).await?;
    json(StatusCode::CREATED, &IdResponse { id })
}

async fn start(mut call: Call, id: &str) -> Answer {
    let hijack = call.hijack.take();
    let engine = call.engine().clone();
    let (framed, raw) = (stream_type(&call, false), stream_type(&call, true));
    let body: StartBody = call.optional_json().await?.unwrap_or_default();
    if body.detach {
        engine.exec_detached(id).await?;
        return bare(StatusCode::OK);
    }
    let Some(hijack) = hijack else {
        return Err(Failure::invalid("the connection cannot become a stream"));
    };
    let request = ExecStart { detach: false, console_size: body.console_size };
    let ticket = engine.exec_attach(id, request).await?;
    let kind = if ticket.tty { raw } else { framed };
    let exec = id.to_owned();
    Ok(hijack.switch(kind, |socket, early| async move {
        if let Err(error) = ticket.start(socket, early).await {
            tracing::debug!(exec, "start an exec: {}", error.chain());
        }
    }))
}

async fn resize(call: &Call, id: &str) -> Answer {
    let (height, width) = size(call)?;
    call.engine().exec_resize(id, height, width).await?;
    bare(StatusCode::OK)
}
