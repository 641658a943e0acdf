//! `push`.

use hyper::Method;

use crate::client::{Call, Client, Lines, Query, segment};
use crate::error::CommandError;
use crate::images;
use crate::progress::{self, Where};
use crate::ui::Ui;

/// Upload an image to a registry
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Accepted and without effect
    #[arg(long, default_value = "true", num_args = 0..=1, action = clap::ArgAction::Set)]
    disable_content_trust: bool,
    /// Push a platform-specific manifest as a single-platform image to the registry
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(hide = true)]
    name: String,
}

/// Pushes.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let named = images::parse(&args.name)?;
    if args.all_tags && named.tag().is_some() {
        return Err(CommandError::plain("tag can't be used with --all-tags/-a"));
    }
    if !args.all_tags && named.tag().is_none() && named.digest().is_none() && !args.quiet {
        ui.line("Using default tag: latest")?;
    }
    let reference = if args.all_tags { named } else { named.with_default_tag() };
    let tag = if args.all_tags { "" } else { reference.tag_or_digest() };
    let path = Query::new()
        .with_some("tag", tag)
        .on(&format!("/images/{}/push", segment(&reference.name())));
    let call =
        Call::new(Method::POST, &path).header("X-Registry-Auth", images::auth_header(&reference));
    let response = client.stream(call).await?;
    let place = if args.quiet { Where::Nowhere } else { Where::Out };
    progress::show(ui, Lines::of(response), place).await?;
    if args.quiet {
        ui.line(&reference)?;
    }
    Ok(0)
}
