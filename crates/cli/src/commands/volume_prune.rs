//! `volume prune`.

use super::prune::{self, Kind};
use crate::client::Client;
use crate::error::CommandError;
use crate::ui::Ui;

/// Remove unused local volumes
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: prune::Common,
}

/// Prunes and prints what went.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let warning = if args.all {
        "This will remove all local volumes not used by at least one container."
    } else {
        "This will remove anonymous local volumes not used by at least one container."
    };
    prune::agreed(ui, args.common.force, warning)?;
    let extra = args.all.then_some(("all", "1"));
    let bytes = prune::prune(ui, client, Kind::Volumes, &args.common.filter, extra).await?;
    prune::total(ui, bytes)
}
