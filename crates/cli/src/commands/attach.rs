//! `attach`.

use super::run::{attach_path, detach_keys, finish};
use super::wait::ExitWatch;
use crate::attach::{self, Beside, Plan, Session, Signals, Window};
use crate::client::{Client, segment};
use crate::document::Document;
use crate::error::CommandError;
use crate::ui::Ui;

/// Attach local standard input, output, and error streams to a running container
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, default_value = "true", num_args = 0..=1, action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[arg(hide = true)]
    container: String,
}

/// Refuses a container that cannot be attached to.
fn check(container: &Document) -> Result<(), CommandError> {
    let words = if !container.flag("State.Running") {
        "cannot attach to a stopped container, start it first"
    } else if container.flag("State.Paused") {
        "cannot attach to a paused container, unpause it first"
    } else if container.flag("State.Restarting") {
        "cannot attach to a restarting container, wait until it is running"
    } else {
        return Ok(());
    };
    Err(CommandError::plain(words))
}

/// Attaches; the exit code is the container's if it ends meanwhile.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let container = client.get(&format!("/containers/{}/json", segment(&args.container))).await?;
    check(&container)?;
    let id = container.text("Id");
    let tty = container.flag("Config.Tty");
    let stdin = !args.no_stdin && container.flag("Config.OpenStdin");
    if tty && stdin && !ui.in_is_terminal {
        return Err(CommandError::plain("the input device is not a TTY"));
    }
    let (text, keys) = detach_keys(args.detach_keys.as_deref())?;
    let proxy = (args.sig_proxy && !tty).then(Signals::catch_proxied);
    let exit = ExitWatch::begin(client, id, "not-running").await?;
    let stream = client.hijack(&attach_path(id, &text, [stdin, true, true]), None).await?;
    let mut session =
        Session::begin(stream, Plan { tty, stdin, detach_keys: keys }, ui.in_is_terminal)?;
    let window = (tty && ui.out_is_terminal).then(|| Window::Container(id.to_owned()));
    if let Some(window) = &window {
        window.announce(client).await;
    }
    let mut beside = Beside { client, window, proxy: proxy.map(|signals| (signals, id)), tty };
    let end = attach::watch(&mut session, &mut beside).await?;
    drop(session);
    if matches!(end, attach::End::Detached) {
        // Unlike `run` and `start`, Docker's `attach` calls this a failure.
        return Err(CommandError::plain("read escape sequence"));
    }
    finish(ui, end, exit, client).await
}
