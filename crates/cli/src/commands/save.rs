//! `save`.

use hyper::body::Incoming;
use hyper::{Method, Response};

use crate::client::{Call, Client, Query, next_chunk};
use crate::error::CommandError;
use crate::ui::Ui;

/// Save one or more images to a tar archive (streamed to STDOUT by default)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    /// Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    #[arg(hide = true)]
    images: Vec<String>,
}

/// Writes the archive.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    refuse_terminal(ui, args.output.as_deref(), "save")?;
    let mut query = Query::new();
    for name in &args.images {
        query = query.with("names", name);
    }
    let path =
        query.with_some("platform", &crate::images::platform(&args.platform)).on("/images/get");
    let response = client.stream(Call::new(Method::GET, &path)).await?;
    download(ui, response, args.output.as_deref()).await
}

/// An archive does not belong on a terminal.
pub(super) fn refuse_terminal(
    ui: &Ui,
    output: Option<&str>,
    verb: &str,
) -> Result<(), CommandError> {
    if output.is_none() && ui.out_is_terminal {
        return Err(CommandError::plain(format!(
            "cowardly refusing to {verb} to a terminal. Use the -o flag or redirect"
        )));
    }
    Ok(())
}

/// Writes a body to standard output, or to a file that appears under its name only when it is complete.
pub(super) async fn download(
    ui: &mut Ui,
    mut response: Response<Incoming>,
    output: Option<&str>,
) -> Result<u8, CommandError> {
    let Some(path) = output else {
        while let Some(chunk) = next_chunk(response.body_mut()).await? {
            ui.bytes(&chunk)?;
        }
        return Ok(0);
    };
    use std::io::Write as _;
    let draft = format!("{path}.part-{}", std::process::id());
    let named = |error| CommandError::file("write", path, error);
    let mut file =
        std::fs::File::create(&draft).map_err(|error| CommandError::file("open", path, error))?;
    let written = async {
        while let Some(chunk) = next_chunk(response.body_mut()).await? {
            file.write_all(&chunk).map_err(named)?;
        }
        std::fs::rename(&draft, path).map_err(named)
    };
    let result = written.await;
    if result.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    result.map(|()| 0)
}
