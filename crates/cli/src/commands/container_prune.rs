//! `container prune`.

use super::prune::{self, Kind};
use crate::client::Client;
use crate::error::CommandError;
use crate::ui::Ui;

/// Remove all stopped containers
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: prune::Common,
}

/// Prunes and prints what went.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    prune::agreed(ui, args.common.force, "This will remove all stopped containers.")?;
    let bytes = prune::prune(ui, client, Kind::Containers, &args.common.filter, None).await?;
    prune::total(ui, bytes)
}
