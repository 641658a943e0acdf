//! `logout`.

use crate::client::Client;
use crate::config::{self, ClientConfig};
use crate::error::CommandError;
use crate::ui::Ui;

/// Log out from a registry
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(hide = true)]
    server: Option<String>,
}

/// Forgets the credentials.
pub(crate) async fn run(ui: &mut Ui, _client: &Client, args: Args) -> Result<u8, CommandError> {
    let server = args.server.as_deref().unwrap_or_default();
    let bare =
        server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = config::registry_key(bare);
    ui.line(format_args!("Removing login credentials for {key}"))?;
    ClientConfig::load().forget(key)?;
    Ok(0)
}
