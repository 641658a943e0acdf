//! `history`.

use crate::client::{Client, Query, segment};
use crate::document::Document;
use crate::error::CommandError;
use crate::format::{self, Listing, Row, units};
use crate::images::platform;
use crate::ui::Ui;

/// Show the history of an image
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE' (a Go template)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, default_value = "true", num_args = 0..=1, action = clap::ArgAction::Set)]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(hide = true)]
    image: String,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Prints the steps that made the image, the last first.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let created = if args.human { "CreatedSince" } else { "CreatedAt" };
    let listing = Listing::new(HEADERS, &["ID", created, "CreatedBy", "Size", "Comment"]);
    let path = Query::new()
        .with_some("platform", &platform(&args.platform))
        .on(&format!("/images/{}/history", segment(&args.image)));
    let history = client.get(&path).await?;
    let rows = history.items().iter().map(|step| row(step, &args)).collect();
    listing.print(ui, &format::quiet_format(&args.format, args.quiet, "ID"), rows)?;
    Ok(0)
}

fn row(step: &Document, args: &Args) -> Row {
    let id = step.text("Id");
    let created = step.int("Created");
    let by = step.text("CreatedBy").replace('\t', " ");
    let stamp = jiff::ZonedDateTime::new(
        jiff::Timestamp::from_second(created).unwrap_or_default(),
        units::zone(),
    );
    let size = step.int("Size");
    let short = !args.no_trunc;
    format::row([
        ("ID", if short { units::short_id(id).to_owned() } else { id.to_owned() }),
        ("CreatedSince", if created <= 0 { "N/A".into() } else { units::ago(created) }),
        ("CreatedAt", stamp.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z")),
        ("CreatedBy", if short { units::ellipsis(&by, 45) } else { by }),
        ("Size", if args.human { units::human_size_3(size) } else { size.to_string() }),
        ("Comment", step.text("Comment").to_owned()),
    ])
}
