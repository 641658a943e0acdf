//! `wait`, and the exit status that attached commands end with.

use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::{Method, Response};

use super::each;
use crate::client::{Call, Client, Query, next_chunk, segment};
use crate::document::Document;
use crate::error::CommandError;
use crate::ui::Ui;

/// How long a daemon may be away before its container's exit status is given up.
const DAEMON_PATIENCE: Duration = Duration::from_secs(30);

/// Block until one or more containers stop, then print their exit codes
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(hide = true)]
    containers: Vec<String>,
}

/// Prints one exit code a line.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let mut failures = Vec::new();
    for name in &args.containers {
        let path = format!("/containers/{}/wait", segment(name));
        match client.post(&path).await {
            Ok(answer) => ui.line(answer.int("StatusCode"))?,
            Err(error) => failures.push(error),
        }
        ui.flush()?;
    }
    each::summary(failures)
}

/// A `wait` request that the engine has accepted and will answer when the container ends.
#[derive(Debug)]
pub(crate) struct ExitWatch {
    id: String,
    /// The condition for asking again.
    again: &'static str,
    answer: Response<Incoming>,
}

fn path(id: &str, condition: &str) -> String {
    Query::new().with("condition", condition).on(&format!("/containers/{}/wait", segment(id)))
}

impl ExitWatch {
    /// Asks for the exit status of container `id`; returns once the engine has taken note.
    pub(crate) async fn begin(
        client: &Client,
        id: &str,
        condition: &str,
    ) -> Result<Self, CommandError> {
        let path = path(id, condition);
        let answer = client.stream(Call::new(Method::POST, &path)).await?;
        // The exit itself may be over by then; a removal is not, as the engine's last act.
        let again = if condition == "removed" { "removed" } else { "not-running" };
        Ok(Self { id: id.to_owned(), again, answer })
    }

    /// Waits for the exit status. An engine that goes away meanwhile is asked again when it is back: the container lives on.
    pub(crate) async fn status(mut self, ui: &mut Ui, client: &Client) -> Result<u8, CommandError> {
        match read(&mut self.answer).await {
            Ok(document) => Ok(code(ui, &document)),
            Err(CommandError::Transport(_)) => self.ask_again(ui, client).await,
            Err(error) => Err(error),
        }
    }

    async fn ask_again(&self, ui: &mut Ui, client: &Client) -> Result<u8, CommandError> {
        let begun = Instant::now();
        loop {
            match client.post(&path(&self.id, self.again)).await {
                Ok(document) => return Ok(code(ui, &document)),
                Err(CommandError::Unreachable { .. } | CommandError::Transport(_))
                    if begun.elapsed() < DAEMON_PATIENCE =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    return Err(CommandError::Coded {
                        code: 125,
                        message: format!(
                            "the daemon went away and the exit status is not known: {error}"
                        ),
                    });
                }
            }
        }
    }
}

async fn read(answer: &mut Response<Incoming>) -> Result<Document, CommandError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(answer.body_mut()).await? {
        bytes.extend_from_slice(&chunk);
    }
    if bytes.is_empty() {
        return Err(CommandError::Transport("the daemon closed the connection".into()));
    }
    Ok(Document::parse(&bytes))
}

fn code(ui: &mut Ui, document: &Document) -> u8 {
    let words = document.text("Error.Message");
    if words.is_empty() {
        return u8::try_from(document.int("StatusCode") & 0xff).unwrap_or(255);
    }
    ui.complain(format_args!("Error waiting for container: {words}"));
    125
}
