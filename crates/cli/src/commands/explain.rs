//! `explain`.

use xray::explain::{SECTIONS, explain};
use xray::{Host, render};

use crate::client::Client;
use crate::error::CommandError;
use crate::subjects;
use crate::ui::Ui;

/// Show what the kernel says about a container or any process
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show only this part (kernel|pids|namespaces|creation|cgroup|load|layers|ancestry|compare); may be repeated
    #[arg(long, value_name = "list")]
    section: Vec<String>,
    /// Format of the report: 'text', 'json', 'markdown' or 'html'
    #[arg(long, value_name = "string", default_value = "text", hide_default_value = true)]
    format: String,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Prints the report.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let wanted: Vec<&str> = args.section.iter().flat_map(|list| list.split(',')).collect();
    if let Some(unknown) = wanted.iter().find(|name| !SECTIONS.contains(name)) {
        return Err(CommandError::plain(format!(
            "unknown section `{unknown}`\n\nhint: one of {}",
            SECTIONS.join(", ")
        )));
    }
    if wanted.contains(&"compare") && args.words.len() < 2 {
        return Err(CommandError::plain(
            "the section `compare` needs two containers\n\nhint: belljar explain --section compare A B",
        ));
    }
    let host = Host::default();
    let subject = subjects::find(&host, client, &args.words[0]).await?;
    let second = match args.words.get(1) {
        Some(word) => Some(subjects::find(&host, client, word).await?),
        None => None,
    };
    let report = explain(&host, &subject, second.as_ref(), &wanted);
    let gone = [Some(&subject), second.as_ref()].into_iter().flatten().find(|s| !s.is_same(&host));
    if let Some(gone) = gone {
        return Err(CommandError::plain(format!(
            "{} ended while it was looked at: nothing that was read can be relied on",
            gone.label
        )));
    }
    let text = match args.format.as_str() {
        "text" => render::text(&report, crate::terminal::columns()),
        "json" => render::json(&report),
        "markdown" | "md" => render::markdown(&report),
        "html" => render::html(&report),
        other => {
            return Err(CommandError::plain(format!(
                "unknown format `{other}`\n\nhint: text, json, markdown or html"
            )));
        }
    };
    ui.data(text)?;
    Ok(0)
}
