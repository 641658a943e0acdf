//! `kill`.

use super::each;
use crate::client::{Client, Query};
use crate::error::CommandError;
use crate::ui::Ui;

/// Kill one or more running containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    signal: String,
    #[arg(hide = true)]
    containers: Vec<String>,
}

/// Prints the names of the containers.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let verb = Query::new().with_some("signal", &args.signal).on("kill");
    each::post(ui, client, &args.containers, &verb).await
}
