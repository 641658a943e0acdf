//! `commit`.

use crate::client::{Client, Query};
use crate::error::CommandError;
use crate::images;
use crate::ui::Ui;

/// Create a new image from a container's changes
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Author (e.g., "Jane Doe <jane@example.com>")
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    author: String,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list", action = clap::ArgAction::Append)]
    change: Vec<String>,
    /// Commit message
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    message: String,
    /// Pause container during commit
    #[arg(short, long, default_value = "true", num_args = 0..=1, action = clap::ArgAction::Set)]
    pause: bool,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Prints the id of the image.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let mut query = Query::new().with_some("author", &args.author);
    for change in &args.change {
        query = query.with("changes", change);
    }
    query = query.with_some("comment", &args.message).with("container", &args.words[0]);
    if !args.pause {
        query = query.with("pause", "0");
    }
    if let Some(name) = args.words.get(1) {
        let reference = images::parse(name)?.with_default_tag();
        query = query
            .with("repo", &reference.familiar_name())
            .with_some("tag", reference.tag().unwrap_or_default());
    }
    let made = client.post(&query.on("/commit")).await?;
    ui.line(made.text("Id"))?;
    Ok(0)
}
