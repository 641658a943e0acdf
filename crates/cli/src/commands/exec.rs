//! `exec`.

use api::exec::{ExecCreate, ExecStart};

use super::run::detach_keys;
use crate::attach::{self, Beside, End, Plan, Session, Window};
use crate::client::{Client, segment};
use crate::document::Document;
use crate::error::CommandError;
use crate::options::{files, values};
use crate::terminal;
use crate::ui::Ui;

/// Execute a command in a running container
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list", action = clap::ArgAction::Append, value_parser = values::env)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list", action = clap::ArgAction::Append)]
    env_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    #[arg(hide = true)]
    words: Vec<String>,
}

impl Args {
    fn request(&self, keys: &str) -> Result<ExecCreate, CommandError> {
        let attached = !self.detach;
        Ok(ExecCreate {
            user: self.user.clone().unwrap_or_default(),
            privileged: self.privileged,
            tty: self.tty,
            console_size: self.console(),
            attach_stdin: attached && self.interactive,
            attach_stderr: attached,
            attach_stdout: attached,
            detach: self.detach,
            detach_keys: keys.to_owned(),
            env: files::environment(&self.env_file, &self.env)?,
            working_dir: self.workdir.clone().unwrap_or_default(),
            cmd: self.words[1..].to_vec(),
        })
    }

    fn console(&self) -> Option<[u16; 2]> {
        terminal::size().filter(|_| self.tty).map(|(rows, columns)| [rows, columns])
    }
}

/// Runs the command; the exit code is its own.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    if args.tty && args.interactive && !args.detach && !ui.in_is_terminal {
        return Err(CommandError::plain("the input device is not a TTY"));
    }
    let (text, keys) = detach_keys(args.detach_keys.as_deref())?;
    let path = format!("/containers/{}/exec", segment(&args.words[0]));
    let created = client.post_json(&path, &args.request(&text)?).await?;
    let id = created.text("Id").to_owned();
    let start = ExecStart { detach: args.detach, tty: args.tty, console_size: args.console() };
    let path = format!("/exec/{id}/start");
    if args.detach {
        client.post_json(&path, &start).await?;
        return Ok(0);
    }
    let body = Document::parse(&serde_json::to_vec(&start).unwrap_or_default());
    let stream = client.hijack(&path, Some(&body)).await?;
    let plan = Plan { tty: args.tty, stdin: args.interactive, detach_keys: keys };
    let mut session = Session::begin(stream, plan, ui.in_is_terminal)?;
    let window = (args.tty && ui.out_is_terminal).then(|| Window::Exec(id.clone()));
    if let Some(window) = &window {
        window.announce(client).await;
    }
    let mut beside = Beside { client, window, proxy: None, tty: args.tty };
    let end = attach::watch(&mut session, &mut beside).await?;
    drop(session);
    if matches!(end, End::Detached) {
        ui.complain("read escape sequence");
        return Ok(0);
    }
    let answer = client.get(&format!("/exec/{id}/json")).await?;
    Ok(u8::try_from(answer.int("ExitCode") & 0xff).unwrap_or(255))
}
