//! `rename`.

use crate::client::{Client, Query, segment};
use crate::error::CommandError;
use crate::ui::Ui;

/// Rename a container
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(hide = true)]
    names: Vec<String>,
}

/// Renames; prints nothing.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let [old, new] = [args.names[0].trim(), args.names[1].trim()];
    if old.is_empty() || new.is_empty() {
        return Err(CommandError::plain("Error: Neither old nor new names may be empty"));
    }
    let path = Query::new().with("name", new).on(&format!("/containers/{}/rename", segment(old)));
    if let Err(error) = client.post(&path).await {
        if !matches!(error, CommandError::Api { .. }) {
            return Err(error);
        }
        ui.complain(error);
        return Err(CommandError::plain(format!("Error: failed to rename container named {old}")));
    }
    Ok(0)
}
