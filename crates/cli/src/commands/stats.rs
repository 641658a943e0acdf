//! `stats`.

use futures_util::future::join_all;

use super::each;
use crate::client::{Client, Query, segment};
use crate::document::Document;
use crate::error::CommandError;
use crate::format::{self, Listing, Row, units};
use crate::ui::Ui;

/// Display a live stream of container(s) resource usage statistics
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE' (a Go template)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(hide = true)]
    containers: Vec<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

const COLUMNS: [&str; 8] =
    ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];

/// Clears the screen and goes to its corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Prints the figures, once or until interrupted.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let listing = Listing::new(HEADERS, &COLUMNS);
    listing.render(&args.format, Vec::new())?;
    loop {
        let (rows, failures) = sample(client, &args).await?;
        if rows.is_empty() && !failures.is_empty() {
            return each::summary(failures);
        }
        let text = listing.render(&args.format, rows)?;
        if !args.no_stream && ui.out_is_terminal {
            ui.data(CLEAR)?;
        }
        ui.data(text)?;
        ui.flush()?;
        if args.no_stream || !failures.is_empty() {
            return each::summary(failures);
        }
    }
}

async fn names(client: &Client, args: &Args) -> Result<Vec<String>, CommandError> {
    if !args.containers.is_empty() {
        return Ok(args.containers.clone());
    }
    let path = Query::new().with_flag("all", args.all).on("/containers/json");
    let list = client.get(&path).await?;
    Ok(list.items().iter().map(|container| container.text("Id").to_owned()).collect())
}

/// Asks for the figures of every container at once; the engine takes two samples a second apart.
async fn sample(
    client: &Client,
    args: &Args,
) -> Result<(Vec<Row>, Vec<CommandError>), CommandError> {
    let names = names(client, args).await?;
    if names.is_empty() && !args.no_stream {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let asked = names.iter().map(|name| async move {
        client.get(&format!("/containers/{}/stats?stream=0", segment(name))).await
    });
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for (name, answer) in names.iter().zip(join_all(asked).await) {
        match answer {
            Ok(stats) => rows.push(row(name, &stats, !args.no_trunc)),
            // One that ended between the list and the question is no failure.
            Err(error) if error.is_not_found() && args.containers.is_empty() => {}
            Err(error) => failures.push(error),
        }
    }
    Ok((rows, failures))
}

/// The share of the processors used between the two samples, 100 for each whole one.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn cpu_percent(stats: &Document) -> f64 {
    let delta = |path: &str| {
        let now = stats.uint(&format!("cpu_stats.{path}")) as f64;
        now - stats.uint(&format!("precpu_stats.{path}")) as f64
    };
    let (used, system) = (delta("cpu_usage.total_usage"), delta("system_cpu_usage"));
    let online = match stats.uint("cpu_stats.online_cpus") {
        0 => stats.list("cpu_stats.cpu_usage.percpu_usage").len() as f64,
        online => online as f64,
    };
    if used > 0.0 && system > 0.0 { used / system * online * 100.0 } else { 0.0 }
}

/// Memory in use without the page cache that the kernel would give back first.
fn memory_used(memory: &Document) -> u64 {
    let usage = memory.uint("usage");
    let v1 = memory
        .at("stats")
        .member("total_inactive_file")
        .map(|_| memory.uint("stats.total_inactive_file"));
    let inactive = v1.unwrap_or_else(|| memory.uint("stats.inactive_file"));
    if inactive < usage { usage - inactive } else { usage }
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

fn pair(read: u64, written: u64) -> String {
    let size = |n: u64| units::human_size_3(i64::try_from(n).unwrap_or(i64::MAX));
    format!("{} / {}", size(read), size(written))
}

fn network(stats: &Document) -> String {
    let sum =
        |key: &str| stats.members("networks").iter().map(|(_, network)| network.uint(key)).sum();
    pair(sum("rx_bytes"), sum("tx_bytes"))
}

fn block(stats: &Document) -> String {
    let sum = |first: char| {
        stats
            .list("blkio_stats.io_service_bytes_recursive")
            .iter()
            .filter(|entry| entry.text("op").to_lowercase().starts_with(first))
            .map(|entry| entry.uint("value"))
            .sum()
    };
    pair(sum('r'), sum('w'))
}

fn row(asked: &str, stats: &Document, short: bool) -> Row {
    let memory = stats.at("memory_stats");
    let (used, limit) = (memory_used(memory), memory.uint("limit"));
    let name = stats.text("name");
    let id = match stats.text("id") {
        "" => asked,
        id => id,
    };
    format::row([
        ("Container", asked.to_owned()),
        ("ID", if short { units::short_id(id).to_owned() } else { id.to_owned() }),
        ("Name", name.strip_prefix('/').unwrap_or(name).to_owned()),
        ("CPUPerc", format!("{:.2}%", cpu_percent(stats))),
        ("MemUsage", format!("{} / {}", units::bytes_size(used), units::bytes_size(limit))),
        ("MemPerc", format!("{:.2}%", percent(used, limit))),
        ("NetIO", network(stats)),
        ("BlockIO", block(stats)),
        ("PIDs", stats.uint("pids_stats.current").to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &str = r#"{"id":"8ddd0887f8aa9f58f6dd","name":"/cgroup-test",
        "cpu_stats":{"cpu_usage":{"total_usage":1500000000},"system_cpu_usage":12000000000,"online_cpus":2},
        "precpu_stats":{"cpu_usage":{"total_usage":1000000000},"system_cpu_usage":10000000000},
        "memory_stats":{"usage":5242880,"limit":268435456,"stats":{"inactive_file":1048576}},
        "networks":{"eth0":{"rx_bytes":1234,"tx_bytes":0}},
        "blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":4096},{"op":"write","value":8192}]},
        "pids_stats":{"current":2}}"#;

    #[test]
    fn the_table_of_the_cgroup_experiment() {
        let listing = Listing::new(HEADERS, &COLUMNS);
        let text = listing
            .render("", vec![row("cgroup-test", &Document::parse(STATS.as_bytes()), true)])
            .unwrap();
        assert_eq!(
            text,
            "CONTAINER ID   NAME          CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O        PIDS\n\
             8ddd0887f8aa   cgroup-test   50.00%    4MiB / 256MiB       1.56%     1.23kB / 0B   4.1kB / 8.19kB   2\n"
        );
    }

    #[test]
    fn a_stopped_container_has_zeros() {
        assert!(cpu_percent(&Document::parse(b"{}")).abs() < f64::EPSILON);
        let row = row("x", &Document::parse(b"{\"name\":\"/x\"}"), true);
        assert_eq!(row["MemUsage"].to_string(), "0B / 0B");
        assert_eq!(row["MemPerc"].to_string(), "0.00%");
    }
}
