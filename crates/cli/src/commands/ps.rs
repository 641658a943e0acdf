//! `ps`.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{Client, Query};
use crate::document::Document;
use crate::error::CommandError;
use crate::filters::{self, Filter};
use crate::format::{self, Listing, Row, units};
use crate::options::values;
use crate::ui::Ui;

/// List containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", action = clap::ArgAction::Append, value_parser = filters::parse)]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE' (a Go template)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "int", default_value = "-1", value_parser = values::int)]
    last: i64,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

/// Lists the containers.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let mut columns = vec!["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
    if args.size {
        columns.push("Size");
    }
    let listing = Listing::new(HEADERS, &columns).of("ContainerContext");
    let shape = format::quiet_format(&args.format, args.quiet, "ID");
    listing.render(&shape, Vec::new())?;
    let limit = if args.latest { 1 } else { args.last };
    let limit = if limit > 0 { limit.to_string() } else { String::new() };
    let path = Query::new()
        .with_flag("all", args.all)
        .with_some("filters", &filters::encode(&args.filter))
        .with_some("limit", &limit)
        .with_flag("size", args.size || shape.contains(".Size"))
        .on("/containers/json");
    let containers = client.get(&path).await?;
    let rows = containers.items().iter().map(|container| row(container, !args.no_trunc)).collect();
    listing.print(ui, &shape, rows)?;
    Ok(0)
}

fn row(container: &Document, short: bool) -> Row {
    let labels = labels(container.members("Labels"));
    let id = container.text("Id");
    let created = container.int("Created");
    let row = format::row([
        ("ID", if short { units::short_id(id).to_owned() } else { id.to_owned() }),
        ("Image", image(container, short)),
        ("Command", command(container.text("Command"), short)),
        ("CreatedAt", units::go_time(created)),
        ("RunningFor", units::ago(created)),
        ("Ports", ports(container.list("Ports"))),
        ("State", container.text("State").to_owned()),
        ("Status", container.text("Status").to_owned()),
        ("Size", size(container)),
        ("Names", names(container, short)),
        (
            "Labels",
            labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(","),
        ),
        ("Mounts", mounts(container, short)),
        ("LocalVolumes", local_volumes(container).to_string()),
        ("Networks", networks(container)),
    ]);
    let mut row = format::with_labels(row, labels);
    row.insert("Platform".into(), gotmpl::Value::Nil);
    row
}

/// The labels of an object.
pub(super) fn labels(members: &[(String, Document)]) -> BTreeMap<String, String> {
    members.iter().map(|(key, value)| (key.clone(), value.as_text().to_owned())).collect()
}

/// The image without its digest, or its id.
pub(super) fn image(container: &Document, short: bool) -> String {
    let name = container.text("Image");
    if name.is_empty() {
        return "<no image>".into();
    }
    let id = units::short_id(container.text("ImageID"));
    if short && units::short_id(name) == id {
        return id.to_owned();
    }
    match name.split_once("@sha256:") {
        Some((tagged, _)) if short => tagged.to_owned(),
        _ => name.to_owned(),
    }
}

/// The command in Go's quotes, at most twenty characters of it.
pub(super) fn command(text: &str, short: bool) -> String {
    let text = if short { units::ellipsis(text, 20) } else { text.to_owned() };
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// The names without their slash; links (`/a/b`) only in full.
fn names(container: &Document, short: bool) -> String {
    let names =
        container.texts("Names").into_iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    names.filter(|name| !short || !name.contains('/')).collect::<Vec<_>>().join(",")
}

fn size(container: &Document) -> String {
    let (own, all) = (container.int("SizeRw"), container.int("SizeRootFs"));
    let own = units::human_size_3(own);
    if all > 0 { format!("{own} (virtual {})", units::human_size_3(all)) } else { own }
}

fn mounts(container: &Document, short: bool) -> String {
    let name = |mount: &Document| {
        let name =
            if mount.text("Name").is_empty() { mount.text("Source") } else { mount.text("Name") };
        if short { units::ellipsis(name, 15) } else { name.to_owned() }
    };
    container.list("Mounts").iter().map(name).collect::<Vec<_>>().join(",")
}

fn local_volumes(container: &Document) -> usize {
    container.list("Mounts").iter().filter(|mount| mount.text("Driver") == "local").count()
}

fn networks(container: &Document) -> String {
    let names: BTreeSet<&str> = container
        .members("NetworkSettings.Networks")
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.into_iter().collect::<Vec<_>>().join(",")
}

fn host_port(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// A run of neighbouring ports: `80-82/tcp`, with the address they are published at.
fn run_of_ports((ip, kind): (&str, &str), first: u64, last: u64) -> String {
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    if ip.is_empty() {
        format!("{ports}/{kind}")
    } else {
        format!("{}->{ports}/{kind}", host_port(ip, &ports))
    }
}

/// The ports as Docker shows them: neighbours in one, those published elsewhere last.
fn ports(ports: &[Document]) -> String {
    let mut sorted: Vec<(u64, &str, u64, &str)> = ports
        .iter()
        .map(|port| {
            (port.uint("PrivatePort"), port.text("IP"), port.uint("PublicPort"), port.text("Type"))
        })
        .collect();
    sorted.sort_unstable();
    let mut runs: Vec<((&str, &str), u64, u64)> = Vec::new();
    let mut shown = Vec::new();
    let mut elsewhere = Vec::new();
    for (port, ip, public, kind) in sorted {
        if !ip.is_empty() && public != port {
            elsewhere.push(format!("{}->{port}/{kind}", host_port(ip, &public.to_string())));
            continue;
        }
        match runs.iter_mut().find(|(key, _, _)| *key == (ip, kind)) {
            None => runs.push(((ip, kind), port, port)),
            Some((_, _, last)) if *last + 1 == port => *last = port,
            Some((key, first, last)) => {
                shown.push(run_of_ports(*key, *first, *last));
                (*first, *last) = (port, port);
            }
        }
    }
    shown.extend(runs.into_iter().map(|(key, first, last)| run_of_ports(key, first, last)));
    shown.extend(elsewhere);
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports_of(json: &str) -> String {
        ports(Document::parse(json.as_bytes()).items())
    }

    // Expected strings: what docker 28.2.2 prints for the same answers.
    #[test]
    fn ports_read_like_dockers() {
        assert_eq!(ports_of(r#"[{"PrivatePort":80,"Type":"tcp"}]"#), "80/tcp");
        assert_eq!(
            ports_of(
                r#"[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]"#
            ),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
        assert_eq!(
            ports_of(
                r#"[{"PrivatePort":81,"Type":"tcp"},{"PrivatePort":80,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}]"#
            ),
            "53/udp, 80-81/tcp"
        );
        assert_eq!(
            ports_of(
                r#"[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":80,"Type":"tcp"},{"IP":"0.0.0.0","PrivatePort":81,"PublicPort":81,"Type":"tcp"}]"#
            ),
            "0.0.0.0:80-81->80-81/tcp"
        );
    }

    #[test]
    fn commands_are_cut_and_quoted() {
        assert_eq!(
            command("bash -c 'while true; do echo; done'", true),
            "\"bash -c 'while true…\""
        );
        assert_eq!(command("sh -c \"x\"", true), r#""sh -c \"x\"""#);
    }

    #[test]
    fn images_lose_their_digest() {
        let container = Document::parse(
            br#"{"Image":"busybox:1@sha256:abcd","ImageID":"sha256:0123456789abcdef"}"#,
        );
        assert_eq!(image(&container, true), "busybox:1");
        let bare = Document::parse(
            br#"{"Image":"sha256:0123456789abcdef","ImageID":"sha256:0123456789abcdef"}"#,
        );
        assert_eq!(image(&bare, true), "0123456789ab");
    }
}
