//! `run`.
//!
//! ```text
//! create (pull, create again) -> attach + wait, both answered before -> start -> resize … stream … -> exit status
//! ```
//!
//! Attach and wait come before start, so that neither a byte nor the exit status can be missed.

use serde_json::Value;

use super::create::{self, as_run_error};
use super::wait::ExitWatch;
use crate::attach::{self, Beside, End, Plan, Session, Signals, Window};
use crate::client::{Client, Query, segment};
use crate::config::ClientConfig;
use crate::error::CommandError;
use crate::options::ContainerOptions;
use crate::ui::Ui;
use crate::{escape, terminal};

/// Create and run a new container from an image
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: ContainerOptions,
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Proxy received signals to the process
    #[arg(long, default_value = "true", num_args = 0..=1, action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Runs the container; the exit code is its own, or 125 to 127.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let (image, command) = create::split(&args.words);
    let prepared = create::prepare(&args.options, image, command).map_err(failed)?;
    let body = adjust(prepared, &args)?;
    check_terminal(ui, &args, &body)?;
    let id = create::create(ui, client, &args.options, image, &body).await.map_err(failed)?;
    if args.detach {
        client.post(&format!("/containers/{id}/start")).await.map_err(failed)?;
        ui.line(id)?;
        return Ok(0);
    }
    attached(ui, client, &args, &body, &id).await
}

fn failed(source: CommandError) -> CommandError {
    as_run_error("belljar run", source)
}

/// What `-d` and the terminal change in the request.
fn adjust(mut body: Value, args: &Args) -> Result<Value, CommandError> {
    if args.detach {
        if !args.options.attach.is_empty() {
            return Err(CommandError::plain(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        for field in ["AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"] {
            body[field] = false.into();
        }
    }
    if let (true, Some((rows, columns))) = (args.options.tty, terminal::size()) {
        body["HostConfig"]["ConsoleSize"] = serde_json::json!([rows, columns]);
    }
    Ok(body)
}

fn check_terminal(ui: &Ui, args: &Args, body: &Value) -> Result<(), CommandError> {
    if !args.detach && args.options.tty && body["AttachStdin"] == true && !ui.in_is_terminal {
        return Err(CommandError::plain(
            "the input device is not a TTY.  If you are using mintty, try prefixing the command with 'winpty'",
        ));
    }
    Ok(())
}

/// The keys that detach: the flag's, else the configuration's.
pub(super) fn detach_keys(flag: Option<&str>) -> Result<(String, Vec<u8>), CommandError> {
    let text = flag.map_or_else(|| ClientConfig::load().detach_keys, str::to_owned);
    let keys = escape::parse(&text).map_err(CommandError::plain)?;
    Ok((text, keys))
}

/// The query of an attach request.
pub(super) fn attach_path(id: &str, keys: &str, streams: [bool; 3]) -> String {
    let [stdin, stdout, stderr] = streams;
    Query::new()
        .with_some("detachKeys", keys)
        .with_flag("stderr", stderr)
        .with_flag("stdin", stdin)
        .with_flag("stdout", stdout)
        .with("stream", "1")
        .on(&format!("/containers/{}/attach", segment(id)))
}

async fn attached(
    ui: &mut Ui,
    client: &Client,
    args: &Args,
    body: &Value,
    id: &str,
) -> Result<u8, CommandError> {
    let streams = ["AttachStdin", "AttachStdout", "AttachStderr"].map(|field| body[field] == true);
    let tty = args.options.tty;
    let keys = if args.detach_keys.is_some() || tty {
        detach_keys(args.detach_keys.as_deref())?
    } else {
        Default::default()
    };
    let condition = if args.options.rm { "removed" } else { "next-exit" };
    let proxy = (args.sig_proxy && !tty).then(Signals::catch_proxied);
    let path = attach_path(id, &keys.0, streams);
    let (stream, exit) =
        tokio::join!(client.hijack(&path, None), ExitWatch::begin(client, id, condition));
    let (stream, exit) = (stream.map_err(failed)?, exit.map_err(failed)?);
    let plan = Plan { tty, stdin: streams[0], detach_keys: keys.1 };
    let start = format!("/containers/{id}/start");
    client.post(&start).await.map_err(failed)?;
    let mut session = Session::begin(stream, plan, ui.in_is_terminal)?;
    let window = (tty && ui.out_is_terminal).then(|| Window::Container(id.to_owned()));
    if let Some(window) = &window {
        window.announce(client).await;
    }
    let mut beside = Beside { client, window, proxy: proxy.map(|signals| (signals, id)), tty };
    let end = attach::watch(&mut session, &mut beside).await?;
    drop(session);
    finish(ui, end, exit, client).await
}

/// The exit code after the stream has ended.
pub(super) async fn finish(
    ui: &mut Ui,
    end: End,
    exit: ExitWatch,
    client: &Client,
) -> Result<u8, CommandError> {
    if matches!(end, End::Detached) {
        ui.complain("read escape sequence");
        return Ok(0);
    }
    exit.status(ui, client).await
}
