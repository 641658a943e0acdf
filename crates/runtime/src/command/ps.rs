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
        // runc's answer for none is that of an empty list in Go.
        "json" if pids.is_empty() => sink::out("null\n"),
        "json" => sink::out(&format!("{}\n", serde_json::json!(pids))),
        "table" => sink::out(&table(&output_of_ps(&parsed.words[1..])?, &pids)?),
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

/// Runs ps(1); what it says about its failure is the error's text.
fn output_of_ps(arguments: &[String]) -> Result<String> {
    let mut command = std::process::Command::new("ps");
    if arguments.is_empty() {
        command.arg("-ef")
    } else {
        command.args(arguments)
    };
    let output = command.output().map_err(step("run `ps`"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let code = output.status.code().unwrap_or(-1);
    let said = text(&output.stdout) + &text(&output.stderr);
    Err(Error::State(format!("run `ps`: exit status {code}: {}", said.trim_end())))
}

fn table(output: &str, pids: &[i32]) -> Result<String> {
    let mut lines = output.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Error::Usage("couldn't find PID field in ps output".into()))?;
    let mut kept = format!("{header}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let pid: i32 = line
            .split_whitespace()
            .nth(column)
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| Error::State(format!("unable to parse pid in {line:?}")))?;
        if pids.contains(&pid) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_processes_are_left_out() {
        let output = "  PID TTY   CMD\n    1 ?     init 22\n   22 ?     sh 1\n\n";
        assert_eq!(table(output, &[22]).unwrap(), "  PID TTY   CMD\n   22 ?     sh 1\n");
        assert_eq!(table(output, &[]).unwrap(), "  PID TTY   CMD\n");
        assert!(table("CMD\nx\n", &[1]).unwrap_err().to_string().contains("PID field"));
        assert!(table("PID\nx\n", &[1]).is_err());
        assert!(table("", &[1]).is_err());
    }
}
