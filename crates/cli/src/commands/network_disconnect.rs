//! `network disconnect`.

use api::network::NetworkDisconnect;

use crate::client::{Client, segment};
use crate::error::CommandError;
use crate::ui::Ui;

/// Disconnect a container from a network
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Force the container to disconnect from a network
    #[arg(short, long)]
    force: bool,
    #[arg(hide = true)]
    names: Vec<String>,
}

/// Disconnects; prints nothing.
pub(crate) async fn run(_ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let request = NetworkDisconnect { container: args.names[1].clone(), force: args.force };
    client
        .post_json(&format!("/networks/{}/disconnect", segment(&args.names[0])), &request)
        .await?;
    Ok(0)
}
