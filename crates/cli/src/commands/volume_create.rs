//! `volume create`.

use std::collections::BTreeMap;

use serde_json::json;

use crate::client::Client;
use crate::error::CommandError;
use crate::options::{files, values};
use crate::ui::Ui;

/// Create a volume
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Specify volume driver name
    #[arg(short, long, value_name = "string", default_value = "local")]
    driver: String,
    /// Set metadata for a volume
    #[arg(long, value_name = "list", action = clap::ArgAction::Append, value_parser = values::label)]
    label: Vec<String>,
    /// Specify volume name
    #[arg(long, value_name = "string", hide = true)]
    name: Option<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map", action = clap::ArgAction::Append)]
    opt: Vec<String>,
    #[arg(hide = true)]
    volume: Option<String>,
}

/// Prints the name of the volume.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    if args.name.is_some() && args.volume.is_some() {
        return Err(CommandError::plain(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
        ));
    }
    let pairs =
        |flags: &[String]| flags.iter().map(|flag| files::pair(flag)).collect::<BTreeMap<_, _>>();
    let name = args.volume.or(args.name).unwrap_or_default();
    let body = json!({
        "Name": name,
        "Driver": args.driver,
        "DriverOpts": pairs(&args.opt),
        "Labels": pairs(&args.label),
    });
    let made = client.post_json("/volumes/create", &body).await?;
    ui.line(made.text("Name"))?;
    Ok(0)
}
