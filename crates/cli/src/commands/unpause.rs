//! `unpause`.

use super::each;
use crate::client::Client;
use crate::error::CommandError;
use crate::ui::Ui;

/// Unpause all processes within one or more containers
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(hide = true)]
    containers: Vec<String>,
}

/// Prints the names of the containers.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    each::post(ui, client, &args.containers, "unpause").await
}
