//! `system prune`.

use super::prune::{self, Kind};
use crate::client::Client;
use crate::error::CommandError;
use crate::ui::Ui;

/// Remove unused data
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: prune::Common,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
}

fn warning(args: &Args) -> String {
    let mut text = String::from(
        "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    if args.volumes {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(if args.all {
        "  - all images without at least one container associated to them\n"
    } else {
        "  - all dangling images\n"
    });
    text
}

/// Prunes everything that nothing uses.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    prune::agreed(ui, args.common.force, &warning(&args))?;
    let filter = &args.common.filter;
    let mut bytes = prune::prune(ui, client, Kind::Containers, filter, None).await?;
    prune::prune(ui, client, Kind::Networks, filter, None).await?;
    if args.volumes {
        bytes += prune::prune(ui, client, Kind::Volumes, filter, None).await?;
    }
    let dangling = if args.all { "false" } else { "true" };
    bytes += prune::prune(ui, client, Kind::Images, filter, Some(("dangling", dangling))).await?;
    // An engine without a builder has nothing to prune there.
    match prune::prune(ui, client, Kind::Build, filter, None).await {
        Ok(freed) => bytes += freed,
        Err(CommandError::Api { status: 404 | 501, .. }) => {}
        Err(error) => return Err(error),
    }
    prune::total(ui, bytes)
}
