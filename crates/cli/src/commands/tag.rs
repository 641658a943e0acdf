//! `tag`.

use crate::client::{Client, Query, segment};
use crate::error::CommandError;
use crate::images;
use crate::ui::Ui;

/// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(hide = true)]
    names: Vec<String>,
}

/// Tags; prints nothing.
pub(crate) async fn run(_ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let invalid = |name: &str, error: CommandError| {
        CommandError::plain(format!(
            "Error parsing reference: \"{name}\" is not a valid repository/tag: {error}"
        ))
    };
    let [source, target] = [&args.names[0], &args.names[1]];
    let target = images::parse(target).map_err(|error| invalid(target, error))?.with_default_tag();
    if target.digest().is_some() {
        return Err(CommandError::plain("refusing to create a tag with a digest reference"));
    }
    let path = Query::new()
        .with("repo", &target.name())
        .with_some("tag", target.tag().unwrap_or_default())
        .on(&format!("/images/{}/tag", segment(source)));
    client.post(&path).await?;
    Ok(0)
}
