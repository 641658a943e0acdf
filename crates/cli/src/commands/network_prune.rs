//! `network prune`.

use super::prune::{self, Kind};
use crate::client::Client;
use crate::error::CommandError;
use crate::ui::Ui;

/// Remove all unused networks
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: prune::Common,
}

/// Prunes and prints what went.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let warning = "This will remove all custom networks not used by at least one container.";
    prune::agreed(ui, args.common.force, warning)?;
    prune::prune(ui, client, Kind::Networks, &args.common.filter, None).await?;
    Ok(0)
}
