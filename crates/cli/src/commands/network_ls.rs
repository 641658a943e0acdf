//! `network ls`.

use super::ps::labels;
use crate::client::{Client, Query};
use crate::document::Document;
use crate::error::CommandError;
use crate::filters::{self, Filter};
use crate::format::{self, Listing, Row, units};
use crate::ui::Ui;

/// List networks
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(short, long, value_name = "filter", action = clap::ArgAction::Append, value_parser = filters::parse)]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE' (a Go template)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    quiet: bool,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

/// Lists the networks by name.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let path = Query::new().with_some("filters", &filters::encode(&args.filter)).on("/networks");
    let networks = client.get(&path).await?;
    let mut sorted: Vec<&Document> = networks.items().iter().collect();
    sorted.sort_by(|a, b| a.text("Name").cmp(b.text("Name")));
    let rows = sorted.into_iter().map(|network| row(network, !args.no_trunc)).collect();
    let listing = Listing::new(HEADERS, &["ID", "Name", "Driver", "Scope"]);
    listing.print(ui, &format::quiet_format(&args.format, args.quiet, "ID"), rows)?;
    Ok(0)
}

fn row(network: &Document, short: bool) -> Row {
    let labels = labels(network.members("Labels"));
    let id = network.text("Id");
    let row = format::row([
        ("ID", if short { units::short_id(id).to_owned() } else { id.to_owned() }),
        ("Name", network.text("Name").to_owned()),
        ("Driver", network.text("Driver").to_owned()),
        ("Scope", network.text("Scope").to_owned()),
        ("IPv4", network.flag("EnableIPv4").to_string()),
        ("IPv6", network.flag("EnableIPv6").to_string()),
        ("Internal", network.flag("Internal").to_string()),
        (
            "Labels",
            labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(","),
        ),
        ("CreatedAt", created(network.text("Created"))),
    ]);
    format::with_labels(row, labels)
}

/// RFC 3339 as Go prints a time.
fn created(text: &str) -> String {
    text.parse::<jiff::Timestamp>().map_or_else(
        |_| text.to_owned(),
        |stamp| stamp.strftime("%Y-%m-%d %H:%M:%S.%-f +0000 UTC").to_string(),
    )
}
