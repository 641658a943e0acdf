//! `export`.

use hyper::Method;

use super::save::{download, refuse_terminal};
use crate::client::{Call, Client, segment};
use crate::error::CommandError;
use crate::ui::Ui;

/// Export a container's filesystem as a tar archive
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    #[arg(hide = true)]
    container: String,
}

/// Writes the archive.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    refuse_terminal(ui, args.output.as_deref(), "export")?;
    let path = format!("/containers/{}/export", segment(&args.container));
    let response = client.stream(Call::new(Method::GET, &path)).await?;
    download(ui, response, args.output.as_deref()).await
}
