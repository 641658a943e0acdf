//! `volume ls`.

use super::ps::labels;
use crate::client::{Client, Query};
use crate::document::Document;
use crate::error::CommandError;
use crate::filters::{self, Filter};
use crate::format::{self, Listing, Row};
use crate::ui::Ui;

/// List volumes
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_name = "filter", action = clap::ArgAction::Append, value_parser = filters::parse)]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE' (a Go template)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

pub(super) const HEADERS: &[(&str, &str)] = &[
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
];

/// Lists the volumes by name.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let path = Query::new().with_some("filters", &filters::encode(&args.filter)).on("/volumes");
    let volumes = client.get(&path).await?;
    for warning in volumes.texts("Warnings") {
        ui.complain(format_args!("WARNING: {warning}"));
    }
    let mut sorted: Vec<&Document> = volumes.list("Volumes").iter().collect();
    sorted.sort_by(|a, b| a.text("Name").cmp(b.text("Name")));
    let rows = sorted.into_iter().map(row).collect();
    let listing = Listing::new(HEADERS, &["Driver", "Name"]);
    listing.print(ui, &format::quiet_format(&args.format, args.quiet, "Name"), rows)?;
    Ok(0)
}

/// The fields of one volume.
pub(super) fn row(volume: &Document) -> Row {
    let labels = labels(volume.members("Labels"));
    let usage = volume.at("UsageData");
    let known =
        |text: String| if matches!(usage, Document::Map(_)) { text } else { "N/A".to_owned() };
    let row = format::row([
        ("Name", volume.text("Name").to_owned()),
        ("Driver", volume.text("Driver").to_owned()),
        ("Scope", volume.text("Scope").to_owned()),
        ("Mountpoint", volume.text("Mountpoint").to_owned()),
        (
            "Labels",
            labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(","),
        ),
        ("Links", known(usage.int("RefCount").to_string())),
        ("Size", known(crate::format::units::human_size_3(usage.int("Size")))),
        ("Availability", "N/A".to_owned()),
        ("Group", "N/A".to_owned()),
        ("Status", "N/A".to_owned()),
    ]);
    format::with_labels(row, labels)
}
