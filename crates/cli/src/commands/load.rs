//! `load`.

use std::fs::File;
use std::io;

use hyper::{Method, header};

use crate::client::{Client, Lines, Query, upload};
use crate::error::CommandError;
use crate::progress::{self, Where};
use crate::ui::Ui;

/// Load an image from a tar archive or STDIN
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "string")]
    input: Option<String>,
    /// Load only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

/// Sends the archive and prints what was loaded.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let body = match &args.input {
        Some(path) => upload::read_from(
            File::open(path).map_err(|error| CommandError::file("open", path, error))?,
        ),
        None if ui.in_is_terminal => {
            return Err(CommandError::plain("requested load from stdin, but stdin is empty"));
        }
        None => upload::read_from(io::stdin()),
    };
    let quiet = args.quiet || !ui.out_is_terminal;
    let path = Query::new()
        .with("quiet", if quiet { "1" } else { "0" })
        .with_some("platform", &crate::images::platform(&args.platform))
        .on("/images/load");
    let response = client.upload(Method::POST, &path, body).await?;
    let json =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if json {
        progress::show(ui, Lines::of(response), Where::Out).await?;
    }
    Ok(0)
}
