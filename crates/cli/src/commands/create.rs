//! `create`, and the creation that `run` shares with it.

use std::fs;

use serde_json::Value;

use crate::client::{Client, Query};
use crate::error::CommandError;
use crate::images::{self, Pull};
use crate::options::ContainerOptions;
use crate::progress::Where;
use crate::ui::Ui;

/// Create a new container
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: ContainerOptions,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Prints the id of the container that was created.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let (image, command) = split(&args.words);
    let body = prepare(&args.options, image, command)
        .map_err(|source| as_run_error("belljar create", source))?;
    let id = create(ui, client, &args.options, image, &body).await?;
    ui.line(id)?;
    Ok(0)
}

/// The image and the command in the words of a command line.
pub(super) fn split(words: &[String]) -> (&str, &[String]) {
    words.split_first().map_or(("", &[]), |(image, command)| (image.as_str(), command))
}

/// Wraps a failure to create or start in Docker's frame; a closed pipe stays one.
pub(super) fn as_run_error(program: &str, source: CommandError) -> CommandError {
    match source {
        CommandError::ClosedPipe | CommandError::Exit(_) => source,
        source => CommandError::Run { program: program.into(), source: Box::new(source) },
    }
}

/// Checks the options and builds the request; nothing is sent.
pub(super) fn prepare(
    options: &ContainerOptions,
    image: &str,
    command: &[String],
) -> Result<Value, CommandError> {
    if !["always", "missing", "never", ""].contains(&options.pull.as_str()) {
        return Err(CommandError::plain(format!(
            "invalid pull option: '{}': must be one of \"always\", \"missing\" or \"never\"",
            options.pull
        )));
    }
    options.check_cidfile()?;
    let body = options.request(image, command)?;
    if !is_id(image) {
        images::parse(image)?;
    }
    Ok(body)
}

fn is_id(image: &str) -> bool {
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Creates the container, pulling its image if that is what is missing; returns its id.
pub(super) async fn create(
    ui: &mut Ui,
    client: &Client,
    options: &ContainerOptions,
    image: &str,
    body: &Value,
) -> Result<String, CommandError> {
    if options.pull == "always" {
        pull(ui, client, options, image).await?;
    }
    let path = Query::new()
        .with_some("name", options.name.as_deref().unwrap_or_default())
        .with_some("platform", options.platform.as_deref().unwrap_or_default())
        .on("/containers/create");
    let created = match client.post_json(&path, body).await {
        Err(error) if options.pull == "missing" && lacks_image(&error, image) => {
            announce_missing(ui, options, image)?;
            pull(ui, client, options, image).await?;
            client.post_json(&path, body).await?
        }
        result => result?,
    };
    for warning in created.texts("Warnings") {
        ui.complain(format_args!("WARNING: {warning}"));
    }
    let id = created.text("Id").to_owned();
    if let Some(file) = &options.cidfile {
        fs::write(file, &id).map_err(|error| CommandError::file("open", file, error))?;
    }
    Ok(id)
}

/// Whether the engine refused because the image is not there (and not a volume or network of that name).
fn lacks_image(error: &CommandError, image: &str) -> bool {
    matches!(error, CommandError::Api { message, .. } if error.is_not_found() && !is_id(image) && message.contains("No such image"))
}

fn announce_missing(
    ui: &mut Ui,
    options: &ContainerOptions,
    image: &str,
) -> Result<(), CommandError> {
    if !options.quiet {
        let familiar = images::parse(image)?.with_default_tag().familiar();
        ui.complain(format_args!("Unable to find image '{familiar}' locally"));
    }
    Ok(())
}

async fn pull(
    ui: &mut Ui,
    client: &Client,
    options: &ContainerOptions,
    image: &str,
) -> Result<(), CommandError> {
    let pull = Pull {
        reference: images::parse(image)?.with_default_tag(),
        platform: options.platform.clone().unwrap_or_default(),
        all_tags: false,
    };
    let place = if options.quiet { Where::Nowhere } else { Where::Err };
    pull.run(ui, client, place).await
}
