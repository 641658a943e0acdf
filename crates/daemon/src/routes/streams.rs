//! `/containers/{id}/{attach,wait,logs,stats}`: answers that last.

use api::container::{WaitError, WaitResponse};
use api::query::is_true;
use engine::{AttachRequest, LogsRequest, StatsMode, WaitCondition};
use hyper::StatusCode;

use crate::body::Body;
use crate::call::{Call, ok, typed};
use crate::failure::{Answer, Failure};
use crate::feed::Feed;
use crate::show;

pub(super) async fn attach(mut call: Call, id: &str) -> Answer {
    let Some(hijack) = call.hijack.take() else {
        return Err(Failure::invalid("the connection cannot become a stream"));
    };
    let request = AttachRequest {
        stdin: call.query.flag("stdin"),
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
        logs: call.query.flag("logs"),
        stream: call.query.flag("stream"),
        detach_keys: call.query.get("detachKeys").filter(|k| !k.is_empty()).map(str::to_owned),
        raw: false,
    };
    let ticket = call.engine().attach(id, request).await?;
    let kind = stream_type(&call, ticket.tty);
    let container = id.to_owned();
    Ok(hijack.switch(kind, |socket, early| async move {
        if let Err(error) = ticket.connect(socket, early).await {
            tracing::warn!(container, "attach a client: {}", error.chain());
        }
    }))
}

/// The content type of a stream by version and terminal.
pub(super) fn stream_type(call: &Call, tty: bool) -> &'static str {
    if !tty && call.version.at_least(42) { api::MULTIPLEXED_STREAM } else { api::RAW_STREAM }
}

pub(super) async fn wait(call: &Call, id: &str) -> Answer {
    // Before API 1.30 there were no conditions.
    let asked = if call.version.at_least(30) { call.query.text("condition") } else { "" };
    let condition = match asked {
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(Failure::invalid(format!("invalid condition: \"{other}\""))),
    };
    let wait = call.engine().wait(id, condition).await?;
    let (feed, body) = Feed::new();
    tokio::spawn(async move {
        let outcome = tokio::select! {
            outcome = wait.outcome() => outcome,
            () = feed.gone() => return,
        };
        let error = outcome.error.map(|message| WaitError { message });
        feed.line(&WaitResponse { status_code: outcome.status_code, error }).await;
    });
    Ok(typed(StatusCode::OK, "application/json", body))
}

pub(super) async fn logs(call: &Call, id: &str) -> Answer {
    let request = LogsRequest {
        follow: call.query.flag("follow"),
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
        since: call.time("since")?,
        until: call.time("until")?,
        timestamps: call.query.flag("timestamps"),
        tail: call.query.get("tail").and_then(|n| n.parse().ok()),
        details: call.query.flag("details"),
    };
    // The container comes first: 404 beats a bad choice of streams.
    call.engine().inspect(id)?;
    if !request.stdout && !request.stderr {
        return Err(Failure::invalid("Bad parameters: you must choose at least one stream"));
    }
    let stream = call.engine().container_logs(id, request).await?;
    Ok(typed(StatusCode::OK, stream_type(call, stream.tty), Body::Pieces(stream.chunks)))
}

pub(super) async fn stats(call: &Call, id: &str) -> Answer {
    let streaming = call.query.get("stream").is_none_or(is_true);
    let mode = match (streaming, call.query.flag("one-shot")) {
        (true, true) => {
            return Err(Failure::invalid("cannot have stream=true and one-shot=true"));
        }
        (true, false) => StatsMode::Stream,
        (false, false) => StatsMode::Once,
        (false, true) => StatsMode::OneShot,
    };
    let mut stats = call.engine().stats(id, mode).await?;
    if !streaming {
        let Some(one) = stats.recv().await else {
            return Err(Failure::internal(format!("read the counters of `{id}`: they ended")));
        };
        return ok(&show::stats::stats(&one));
    }
    let (feed, body) = Feed::new();
    tokio::spawn(async move {
        loop {
            let one = tokio::select! {
                one = stats.recv() => one,
                () = feed.gone() => return,
            };
            match one {
                Some(one) if feed.line(&show::stats::stats(&one)).await => {}
                _ => return,
            }
        }
    });
    Ok(typed(StatusCode::OK, "application/json", body))
}
