//! `ps`.

use super::{Globals, id};
use crate::args::{Opt, Parsed, valued};
use crate::error::{Error, Result, step};
use crate::sink;
use crate::state::Record;

/// The options.
pub(super) const OPTIONS: &[Opt] =
    &[valued("format", 'f', "'table' or 'json' (default: \"table\")")];

/// Prints the processes of a container: their pids as JSON, or the lines of ps(1) that are about them.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let record = globals.find(id(parsed)?)?.record()?;
    let mut pids = processes(&record)?;
    pids.sort_unstable();
    match parsed.value("format").unwrap_or("table") {
        "json" => sink::out(&format!("{}\n", serde_json::json!(pids))),
        "table" => sink::out(&table(&pids, &parsed.words[1..])?),
        _ => return Err(Error::Usage("invalid format option".into())),
    }
    Ok(0)
}

/// The processes of the cgroup; without one, those of the pid namespace.
fn processes(record: &Record) -> Result<Vec<i32>> {
    let group = record.group();
    if group.exists() {
        return Ok(group.processes().iter().map(|pid| pid.as_raw_nonzero().get()).collect());
    }
    if !record.is_alive() {
        return Ok(Vec::new());
    }
    if !record.own_pid_namespace {
        let text = "cannot list processes: the container has neither a cgroup nor a pid namespace";
        return Err(Error::State(text.into()));
    }
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(record.pid);
    let listing = std::fs::read_dir("/proc").map_err(step("list `/proc`"))?;
    let numbers = listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|pid| own.is_some() && namespace(*pid) == own).collect())
}

fn table(pids: &[i32], arguments: &[String]) -> Result<String> {
    let mut command = std::process::Command::new("ps");
    if arguments.is_empty() {
        command.arg("-ef")
    } else {
        command.args(arguments)
    };
    let output = command.output().map_err(step("run `ps`"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Error::Usage("couldn't find PID field in ps output".into()))?;
    let is_ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse::<i32>().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let kept = lines.filter(is_ours).map(|line| format!("{line}\n"));
    Ok(std::iter::once(format!("{header}\n")).chain(kept).collect())
}
