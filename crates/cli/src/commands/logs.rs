//! `logs`.

use std::time::SystemTime;

use hyper::{Method, header};

use crate::client::{Call, Client, Query, next_chunk, segment};
use crate::error::CommandError;
use crate::stdcopy::{Splitter, Stream};
use crate::ui::Ui;

/// Fetch the logs of a container
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    since: String,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, value_name = "string", default_value = "all")]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    until: String,
    #[arg(hide = true)]
    container: String,
}

/// A moment that was typed, as the API takes it: Unix seconds with nine digits of fraction.
pub(super) fn moment(text: &str, what: &str) -> Result<String, CommandError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let now = api::time::nanos(SystemTime::now());
    let nanos = api::time::parse(text, now).ok_or_else(|| {
        CommandError::plain(format!(
            "invalid value for \"{what}\": failed to parse value as time or duration: \"{text}\""
        ))
    })?;
    Ok(format!("{}.{:09}", nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000)))
}

/// Prints the log; stderr of the container goes to ours.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let path = Query::new()
        .with_flag("details", args.details)
        .with_flag("follow", args.follow)
        .with_some("since", &moment(&args.since, "since")?)
        .with("stderr", "1")
        .with("stdout", "1")
        .with_some("tail", &args.tail)
        .with_flag("timestamps", args.timestamps)
        .with_some("until", &moment(&args.until, "until")?)
        .on(&format!("/containers/{}/logs", segment(&args.container)));
    let mut response = client.stream(Call::new(Method::GET, &path)).await?;
    let kind = response.headers().get(header::CONTENT_TYPE);
    let framed = kind.is_some_and(|kind| kind == "application/vnd.docker.multiplexed-stream");
    let mut splitter = Splitter::default();
    while let Some(chunk) = next_chunk(response.body_mut()).await? {
        if framed {
            put(ui, &mut splitter, &chunk)?;
        } else {
            ui.bytes(&chunk)?;
        }
        if args.follow {
            ui.flush()?;
        }
    }
    Ok(0)
}

fn put(ui: &mut Ui, splitter: &mut Splitter, chunk: &[u8]) -> Result<(), CommandError> {
    let mut failure = None;
    let result = splitter.feed(chunk, |stream, payload| {
        let done = match stream {
            Stream::Out => ui.bytes(payload),
            Stream::Err => ui.flush().and_then(|()| ui.note_bytes(payload)),
        };
        done.map_err(|error| {
            failure = Some(error);
            std::io::Error::other("write")
        })
    });
    match (failure, result) {
        (Some(failure), _) => Err(failure),
        (None, result) => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(moment("2026-11-28T15:00:00.5Z", "since").unwrap(), "1795878000.500000000");
        assert_eq!(moment("1795878000", "since").unwrap(), "1795878000.000000000");
        assert_eq!(moment("", "since").unwrap(), "");
        assert!(moment("42m", "since").unwrap().contains('.'));
        assert!(
            moment("x", "since")
                .unwrap_err()
                .to_string()
                .starts_with("invalid value for \"since\"")
        );
    }
}
