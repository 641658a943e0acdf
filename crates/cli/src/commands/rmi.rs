//! `rmi`.

use super::each;
use crate::client::{Client, Query, segment};
use crate::document::Document;
use crate::error::CommandError;
use crate::images::platform;
use crate::ui::Ui;

/// Remove one or more images
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    /// Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "strings", action = clap::ArgAction::Append, value_delimiter = ',')]
    platform: Vec<String>,
    #[arg(hide = true)]
    images: Vec<String>,
}

/// Prints what an answer says was untagged and deleted.
pub(super) fn print_deleted(ui: &mut Ui, items: &[Document]) -> Result<(), CommandError> {
    for item in items {
        match item.text("Deleted") {
            "" => ui.line(format_args!("Untagged: {}", item.text("Untagged")))?,
            id => ui.line(format_args!("Deleted: {id}"))?,
        }
    }
    Ok(())
}

/// Removes the images one after the other.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let mut failures = Vec::new();
    for name in &args.images {
        let mut query =
            Query::new().with_flag("force", args.force).with_flag("noprune", args.no_prune);
        for wanted in &args.platform {
            query = query.with("platforms", &platform(wanted));
        }
        let path = query.on(&format!("/images/{}", segment(name)));
        match client.delete(&path).await {
            Ok(items) => print_deleted(ui, items.items())?,
            Err(error) if args.force && error.is_not_found() => ui.complain(error),
            Err(error) => failures.push(error),
        }
    }
    each::summary(failures)
}
