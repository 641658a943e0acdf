//! `version`.

use crate::client::{API_VERSION, Client};
use crate::document::Document;
use crate::error::CommandError;
use crate::format::template::Template;
use crate::ui::Ui;

/// Show the Belljar version information
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Format output using a custom template: 'json' or 'TEMPLATE' (a Go template)
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
}

fn text(key: &str, value: &str) -> (String, Document) {
    (key.to_owned(), Document::Text(value.to_owned()))
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn client_part(version: &str) -> Document {
    Document::Map(vec![
        ("Platform".into(), Document::Map(vec![text("Name", "Belljar")])),
        text("Version", env!("CARGO_PKG_VERSION")),
        text("ApiVersion", version),
        text("DefaultAPIVersion", API_VERSION),
        text("Os", std::env::consts::OS),
        text("Arch", arch()),
        text("Context", "default"),
    ])
}

/// Prints both versions; the client's alone when no daemon answers.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let template = match args.format.as_str() {
        "" | "json" => None,
        text => Some(Template::inspect(text)?),
    };
    let (server, failure) = match client.get("/version").await {
        Ok(server) => (server, None),
        Err(error) => (Document::Null, Some(error)),
    };
    let ours = client_part(&client.version());
    let both =
        Document::Map(vec![("Client".into(), ours.clone()), ("Server".into(), server.clone())]);
    match &template {
        Some(template) => ui.line(template.render(&both)?)?,
        None if args.format == "json" => ui.line(both.compact())?,
        None => print(ui, &ours, &server)?,
    }
    failure.map_or(Ok(0), Err)
}

fn print(ui: &mut Ui, ours: &Document, server: &Document) -> Result<(), CommandError> {
    ui.line("Client:")?;
    ui.line(format_args!(" {:<19}{}", "Version:", ours.text("Version")))?;
    ui.line(format_args!(" {:<19}{}", "API version:", ours.text("ApiVersion")))?;
    ui.line(format_args!(" {:<19}{}/{}", "OS/Arch:", ours.text("Os"), ours.text("Arch")))?;
    ui.line(format_args!(" {:<19}{}", "Context:", ours.text("Context")))?;
    if matches!(server, Document::Null) {
        return Ok(());
    }
    ui.line(format_args!("\nServer: {}", server.text("Platform.Name")).to_string().trim_end())?;
    for component in server.list("Components") {
        ui.line(format_args!(" {}:", component.text("Name")))?;
        ui.line(format_args!("  {:<18}{}", "Version:", component.text("Version")))?;
        let details = component.at("Details");
        if component.text("Name") == "Engine" {
            engine(ui, details)?;
        } else if !details.text("GitCommit").is_empty() {
            ui.line(format_args!("  {:<18}{}", "GitCommit:", details.text("GitCommit")))?;
        }
    }
    if server.list("Components").is_empty() {
        ui.line(format_args!("  {:<18}{}", "Version:", server.text("Version")))?;
    }
    Ok(())
}

/// RFC 3339 as C's `asctime` prints it.
fn build_time(text: &str) -> String {
    text.parse::<jiff::Timestamp>().map_or_else(
        |_| text.to_owned(),
        |stamp| stamp.strftime("%a %b %e %H:%M:%S %Y").to_string(),
    )
}

fn engine(ui: &mut Ui, details: &Document) -> Result<(), CommandError> {
    let lines = [
        (
            "API version:",
            format!(
                "{} (minimum version {})",
                details.text("ApiVersion"),
                details.text("MinAPIVersion")
            ),
        ),
        ("Git commit:", details.text("GitCommit").to_owned()),
        ("Built:", build_time(details.text("BuildTime"))),
        ("OS/Arch:", format!("{}/{}", details.text("Os"), details.text("Arch"))),
        ("Experimental:", details.text("Experimental").to_owned()),
    ];
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        ui.line(format_args!("  {name:<18}{value}"))?;
    }
    Ok(())
}
