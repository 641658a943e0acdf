//! `image prune`.

use super::prune::{self, Kind};
use crate::client::Client;
use crate::error::CommandError;
use crate::ui::Ui;

/// Remove unused images
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: prune::Common,
}

/// Prunes and prints what went.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let warning = if args.all {
        "This will remove all images without at least one container associated to them."
    } else {
        "This will remove all dangling images."
    };
    prune::agreed(ui, args.common.force, warning)?;
    let dangling = if args.all { "false" } else { "true" };
    let bytes =
        prune::prune(ui, client, Kind::Images, &args.common.filter, Some(("dangling", dangling)))
            .await?;
    prune::total(ui, bytes)
}
