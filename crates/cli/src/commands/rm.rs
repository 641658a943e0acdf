//! `rm`.

use super::each;
use crate::client::{Client, Query, segment};
use crate::error::CommandError;
use crate::ui::Ui;

/// Remove one or more containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove the specified link
    #[arg(short, long)]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    #[arg(hide = true)]
    containers: Vec<String>,
}

/// Prints the names of the containers. With `-f` one that does not exist is no failure.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let query = || {
        Query::new()
            .with_flag("force", args.force)
            .with_flag("link", args.link)
            .with_flag("v", args.volumes)
    };
    let force = args.force;
    let mut missing = Vec::new();
    let mut names = Vec::new();
    // One after the other: whether a name exists decides whether it is printed.
    let mut failures = Vec::new();
    for name in &args.containers {
        let name = name.trim_matches('/');
        match client.delete(&query().on(&format!("/containers/{}", segment(name)))).await {
            Ok(_) => names.push(name),
            Err(error) if force && error.is_not_found() => missing.push(error),
            Err(error) => failures.push(error),
        }
    }
    for name in names {
        ui.line(name)?;
    }
    for error in missing {
        ui.complain(error);
    }
    each::summary(failures)
}
