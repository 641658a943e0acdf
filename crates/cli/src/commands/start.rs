//! `start`.

use super::run::{attach_path, detach_keys, finish};
use super::wait::ExitWatch;
use crate::attach::{self, Beside, Plan, Session, Signals, Window};
use crate::client::{Client, segment};
use crate::error::CommandError;
use crate::ui::Ui;

/// Start one or more stopped containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    #[arg(hide = true)]
    containers: Vec<String>,
}

/// Starts the containers; with `-a` or `-i` one of them, attached.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    if !args.attach && !args.interactive {
        return plain(ui, client, &args.containers).await;
    }
    match args.containers.as_slice() {
        [container] => attached(ui, client, &args, container).await,
        _ => Err(CommandError::plain("you cannot start and attach multiple containers at once")),
    }
}

async fn plain(ui: &mut Ui, client: &Client, names: &[String]) -> Result<u8, CommandError> {
    let mut failed = Vec::new();
    for name in names {
        match client.post(&format!("/containers/{}/start", segment(name))).await {
            Ok(_) => ui.line(name)?,
            Err(error @ CommandError::Api { .. }) => {
                ui.complain(&error);
                failed.push(name.as_str());
            }
            Err(error) => return Err(error),
        }
    }
    if failed.is_empty() {
        return Ok(0);
    }
    Err(CommandError::plain(format!("Error: failed to start containers: {}", failed.join(", "))))
}

async fn attached(
    ui: &mut Ui,
    client: &Client,
    args: &Args,
    name: &str,
) -> Result<u8, CommandError> {
    let container = client.get(&format!("/containers/{}/json", segment(name))).await?;
    let id = container.text("Id");
    let tty = container.flag("Config.Tty");
    let stdin = args.interactive && container.flag("Config.OpenStdin");
    let (text, keys) = detach_keys(args.detach_keys.as_deref())?;
    let proxy = (!tty).then(Signals::catch_proxied);
    let condition = if container.flag("HostConfig.AutoRemove") { "removed" } else { "next-exit" };
    let path = attach_path(id, &text, [stdin, true, true]);
    let (stream, exit) =
        tokio::join!(client.hijack(&path, None), ExitWatch::begin(client, id, condition));
    let (stream, exit) = (stream?, exit?);
    client.post(&format!("/containers/{id}/start")).await?;
    let mut session =
        Session::begin(stream, Plan { tty, stdin, detach_keys: keys }, ui.in_is_terminal)?;
    let window = (tty && ui.out_is_terminal).then(|| Window::Container(id.to_owned()));
    if let Some(window) = &window {
        window.announce(client).await;
    }
    let mut beside = Beside { client, window, proxy: proxy.map(|signals| (signals, id)), tty };
    let end = attach::watch(&mut session, &mut beside).await?;
    drop(session);
    finish(ui, end, exit, client).await
}
