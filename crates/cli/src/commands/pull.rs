//! `pull`.

use crate::client::Client;
use crate::error::CommandError;
use crate::images::{self, Pull};
use crate::progress::Where;
use crate::ui::Ui;

/// Download an image from a registry
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Accepted and without effect: images are verified by digest
    #[arg(long, default_value = "true", num_args = 0..=1, action = clap::ArgAction::Set)]
    disable_content_trust: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(hide = true)]
    name: String,
}

/// Pulls; the last line is the canonical name.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let named = images::parse(&args.name)?;
    if args.all_tags && (named.tag().is_some() || named.digest().is_some()) {
        return Err(CommandError::plain("tag can't be used with --all-tags/-a"));
    }
    let defaulted = !args.all_tags && named.tag().is_none() && named.digest().is_none();
    let reference = if args.all_tags { named } else { named.with_default_tag() };
    if defaulted && !args.quiet {
        ui.line(format_args!("Using default tag: {}", reference.tag_or_digest()))?;
    }
    let pull = Pull { reference, platform: args.platform, all_tags: args.all_tags };
    let place = if args.quiet { Where::Nowhere } else { Where::Out };
    pull.run(ui, client, place).await?;
    ui.line(&pull.reference)?;
    Ok(0)
}
