//! `system df`.

use crate::client::Client;
use crate::document::Document;
use crate::error::CommandError;
use crate::format::{self, Listing, Row, units};
use crate::ui::Ui;

/// Show Belljar's disk usage
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE' (a Go template)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

const HEADERS: &[(&str, &str)] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

/// One line of the summary: how many, how many in use, their bytes, the bytes that could come free.
struct Share {
    name: &'static str,
    total: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
}

/// Prints the summary, or every object.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let usage = client.get("/system/df").await?;
    if args.verbose && args.format.is_empty() {
        return verbose(ui, &usage);
    }
    let rows = [images(&usage), containers(&usage), volumes(&usage), build_cache(&usage)]
        .iter()
        .map(row)
        .collect();
    Listing::new(HEADERS, &["Type", "TotalCount", "Active", "Size", "Reclaimable"]).print(
        ui,
        &args.format,
        rows,
    )?;
    Ok(0)
}

fn images(usage: &Document) -> Share {
    let list = usage.list("Images");
    let used = |image: &&Document| image.int("Containers") > 0;
    let in_use: i64 = list
        .iter()
        .filter(used)
        .filter(|image| image.int("Size") >= 0 && image.int("SharedSize") >= 0)
        .map(|image| image.int("Size") - image.int("SharedSize"))
        .sum();
    let size = usage.int("LayersSize");
    Share {
        name: "Images",
        total: list.len(),
        active: list.iter().filter(used).count(),
        size,
        reclaimable: size - in_use,
    }
}

fn containers(usage: &Document) -> Share {
    let list = usage.list("Containers");
    let runs = |container: &&Document| {
        ["running", "paused", "restarting"].contains(&container.text("State"))
    };
    let bytes = |all: &mut dyn Iterator<Item = &Document>| {
        all.map(|container| container.int("SizeRw")).sum::<i64>()
    };
    let size = bytes(&mut list.iter());
    let reclaimable = bytes(&mut list.iter().filter(|container| !runs(container)));
    Share {
        name: "Containers",
        total: list.len(),
        active: list.iter().filter(runs).count(),
        size,
        reclaimable,
    }
}

fn volumes(usage: &Document) -> Share {
    let list = usage.list("Volumes");
    let used = |volume: &&Document| volume.int("UsageData.RefCount") > 0;
    let bytes = |volume: &Document| volume.int("UsageData.Size").max(0);
    Share {
        name: "Local Volumes",
        total: list.len(),
        active: list.iter().filter(used).count(),
        size: list.iter().map(bytes).sum(),
        reclaimable: list.iter().filter(|volume| !used(volume)).map(bytes).sum(),
    }
}

fn build_cache(usage: &Document) -> Share {
    let list = usage.list("BuildCache");
    let used = |cache: &&Document| cache.flag("InUse");
    let bytes = |cache: &Document| if cache.flag("Shared") { 0 } else { cache.int("Size") };
    Share {
        name: "Build Cache",
        total: list.len(),
        active: list.iter().filter(used).count(),
        size: list.iter().map(bytes).sum(),
        reclaimable: list.iter().filter(|cache| !used(cache)).map(bytes).sum(),
    }
}

/// Four digits; negative when the engine's figures do not fit together.
fn size(bytes: i64) -> String {
    let text = units::human_size(bytes.unsigned_abs());
    if bytes < 0 { format!("-{text}") } else { text }
}

fn row(share: &Share) -> Row {
    let mut reclaimable = size(share.reclaimable);
    if share.size > 0 && share.name != "Build Cache" {
        reclaimable.push_str(&format!(" ({}%)", share.reclaimable * 100 / share.size));
    }
    format::row([
        ("Type", share.name.to_owned()),
        ("TotalCount", share.total.to_string()),
        ("Active", share.active.to_string()),
        ("Size", size(share.size)),
        ("Reclaimable", reclaimable),
    ])
}

fn verbose(ui: &mut Ui, usage: &Document) -> Result<u8, CommandError> {
    ui.line("Images space usage:\n")?;
    let headers = &[
        ("A", "REPOSITORY"),
        ("B", "TAG"),
        ("C", "IMAGE ID"),
        ("D", "CREATED"),
        ("E", "SIZE"),
        ("F", "SHARED SIZE"),
        ("G", "UNIQUE SIZE"),
        ("H", "CONTAINERS"),
    ];
    let rows = usage.list("Images").iter().map(image_row).collect();
    Listing::new(headers, &["A", "B", "C", "D", "E", "F", "G", "H"]).print(ui, "", rows)?;
    ui.line("\nContainers space usage:\n")?;
    let headers = &[
        ("A", "CONTAINER ID"),
        ("B", "IMAGE"),
        ("C", "COMMAND"),
        ("D", "LOCAL VOLUMES"),
        ("E", "SIZE"),
        ("F", "CREATED"),
        ("G", "STATUS"),
        ("H", "NAMES"),
    ];
    let rows = usage.list("Containers").iter().map(container_row).collect();
    Listing::new(headers, &["A", "B", "C", "D", "E", "F", "G", "H"]).print(ui, "", rows)?;
    ui.line("\nLocal Volumes space usage:\n")?;
    let rows = usage.list("Volumes").iter().map(super::volume_ls::row).collect();
    Listing::new(super::volume_ls::HEADERS, &["Name", "Links", "Size"]).print(ui, "", rows)?;
    ui.line(format_args!("\nBuild cache usage: {}", units::human_size_3(build_cache(usage).size)))?;
    Ok(0)
}

fn image_row(image: &Document) -> Row {
    let tag = image.texts("RepoTags").first().map_or("<none>:<none>", |tag| *tag).to_owned();
    let (repository, tag) = tag.rsplit_once(':').unwrap_or(("<none>", "<none>"));
    let known = |value: i64, text: String| if value < 0 { "N/A".to_owned() } else { text };
    let (shared, containers) = (image.int("SharedSize"), image.int("Containers"));
    format::row([
        ("A", repository.to_owned()),
        ("B", tag.to_owned()),
        ("C", units::short_id(image.text("Id")).to_owned()),
        ("D", units::ago(image.int("Created"))),
        ("E", units::human_size_3(image.int("Size"))),
        ("F", known(shared, size(shared))),
        ("G", known(shared, size(image.int("Size") - shared))),
        ("H", known(containers, containers.to_string())),
    ])
}

fn container_row(container: &Document) -> Row {
    let name = container
        .texts("Names")
        .first()
        .map_or("", |name| *name)
        .trim_start_matches('/')
        .to_owned();
    let volumes =
        container.list("Mounts").iter().filter(|mount| mount.text("Driver") == "local").count();
    format::row([
        ("A", units::short_id(container.text("Id")).to_owned()),
        ("B", super::ps::image(container, true)),
        ("C", super::ps::command(container.text("Command"), true)),
        ("D", volumes.to_string()),
        ("E", units::human_size_3(container.int("SizeRw"))),
        ("F", units::ago(container.int("Created"))),
        ("G", container.text("Status").to_owned()),
        ("H", name),
    ])
}
