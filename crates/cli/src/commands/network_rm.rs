//! `network rm`.

use crate::client::{Client, segment};
use crate::error::CommandError;
use crate::ui::Ui;

/// Remove one or more networks
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    force: bool,
    #[arg(hide = true)]
    networks: Vec<String>,
}

/// Prints the names of the networks.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let mut code = 0;
    for name in &args.networks {
        match client.delete(&format!("/networks/{}", segment(name))).await {
            Ok(_) => ui.line(name)?,
            Err(error) if args.force && error.is_not_found() => {}
            Err(error @ CommandError::Api { .. }) => {
                ui.complain(error);
                code = 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(code)
}
