//! `import`.

use std::fs::File;
use std::io;

use hyper::Method;

use crate::client::{Call, Client, Lines, Query, upload};
use crate::error::CommandError;
use crate::images;
use crate::progress::{self, Where};
use crate::ui::Ui;

/// Import the contents from a tarball to create a filesystem image
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list", action = clap::ArgAction::Append)]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    message: String,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Sends the archive, or names the URL, and prints the image's id.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let source = args.words[0].as_str();
    let remote = source.starts_with("http://") || source.starts_with("https://");
    let mut query = Query::new();
    for change in &args.change {
        query = query.with("changes", change);
    }
    query = query
        .with("fromSrc", if remote { source } else { "-" })
        .with_some("message", &args.message)
        .with_some("platform", &args.platform);
    if let Some(name) = args.words.get(1) {
        let reference = images::parse(name)?;
        query = query
            .with("repo", &reference.familiar_name())
            .with_some("tag", reference.tag().unwrap_or_default());
    }
    let path = query.on("/images/create");
    let response = if remote {
        client.stream(Call::new(Method::POST, &path)).await?
    } else if source == "-" {
        client.upload(Method::POST, &path, upload::read_from(io::stdin())).await?
    } else {
        let file = File::open(source).map_err(|error| CommandError::file("open", source, error))?;
        client.upload(Method::POST, &path, upload::read_from(file)).await?
    };
    progress::show(ui, Lines::of(response), Where::Out).await?;
    Ok(0)
}
