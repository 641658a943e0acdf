//! What a run is made of: the number of system calls, the peak of memory, and where the time goes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Lane, Place};
use crate::shell;

/// The tables of this machine.
pub(super) fn report(place: &Place) -> Result<String> {
    let mut text = table(place)?;
    text.push_str(&trace::report(place).unwrap_or_else(|error| {
        format!("Where the time goes is not shown: the kernel's tracefs cannot be used here ({error:#}).\n\n")
    }));
    Ok(text)
}

/// System calls and memory of each runtime.
pub(super) fn table(place: &Place) -> Result<String> {
    let mut text = String::from("| |");
    for lane in &place.lanes {
        let _ = write!(text, " {} |", lane.name);
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(place.lanes.len()));
    for (title, of) in [
        ("system calls of one `run`", count as fn(&Place, &Lane) -> Result<u64>),
        ("the same with that profile, second run", count_filtered),
        ("peak resident memory of `create`, KiB", peak),
        ("the same with that profile, KiB", peak_filtered),
    ] {
        let _ = write!(text, "| {title} |");
        for lane in &place.lanes {
            let _ = write!(text, " {} |", of(place, lane).map_or("".into(), |n| n.to_string()));
        }
        text.push('\n');
    }
    text.push('\n');
    Ok(text)
}

fn count(place: &Place, lane: &Lane) -> Result<u64> {
    calls(lane, &place.bundle("plain"))
}

fn count_filtered(place: &Place, lane: &Lane) -> Result<u64> {
    calls(lane, &place.bundle("filtered"))
}

fn calls(lane: &Lane, bundle: &str) -> Result<u64> {
    let log = tempfile::NamedTempFile::new()?;
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(log.path()).arg(&lane.program);
    command.arg("--root").arg(&lane.root).args(["run", "--bundle", bundle, "bench-run"]);
    super::succeed(&mut command, "strace")?;
    let text = fs::read_to_string(log.path())?;
    let lines = text.lines().filter(|line| line.contains('(') && !line.contains(" resumed>"));
    Ok(lines.count() as u64)
}

fn peak(place: &Place, lane: &Lane) -> Result<u64> {
    peak_of(place, lane, &place.bundle("plain"))
}

fn peak_filtered(place: &Place, lane: &Lane) -> Result<u64> {
    peak_of(place, lane, &place.bundle("filtered"))
}

fn peak_of(place: &Place, lane: &Lane, bundle: &str) -> Result<u64> {
    let log = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(place.dir.join("time"));
    command.args(["-f", "%M", "-o"]).arg(log.path()).arg(&lane.program);
    command.arg("--root").arg(&lane.root).args(["create", "--bundle", bundle, "bench-peak"]);
    super::succeed(&mut command, "time")?;
    lane.run(&["delete", "--force", "bench-peak"])?;
    fs::read_to_string(log.path())?.trim().parse().context("read the peak")
}

/// The numbers of the system calls, from the kernel's header.
pub(super) fn names() -> Result<BTreeMap<u32, String>> {
    const NEWER: [(u32, &str); 9] = [
        (428, "open_tree"),
        (429, "move_mount"),
        (430, "fsopen"),
        (431, "fsconfig"),
        (432, "fsmount"),
        (435, "clone3"),
        (436, "close_range"),
        (437, "openat2"),
        (442, "mount_setattr"),
    ];
    let path = Path::new("/usr/include/x86_64-linux-gnu/asm/unistd_64.h");
    let text = fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
    let mut names: BTreeMap<u32, String> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("#define __NR_")?.split_whitespace();
            let name = words.next()?.to_owned();
            Some((words.next()?.parse().ok()?, name))
        })
        .collect();
    names.extend(NEWER.map(|(number, name)| (number, name.to_owned())));
    Ok(names)
}

/// Where the time goes, by the kernel's own tracepoints: no ptrace slows anything down.
mod trace {
    use super::*;

    /// The groups of calls, by name; everything else is `other`.
    const GROUPS: &[(&str, &[&str])] = &[
        (
            "start of programs (execve, memory)",
            &["execve", "execveat", "brk", "mmap", "mprotect", "munmap"],
        ),
        ("new process and namespaces (clone3, setns)", &["clone3", "clone", "unshare", "setns"]),
        (
            "mounts and the root",
            &[
                "fsopen",
                "fsconfig",
                "fsmount",
                "move_mount",
                "open_tree",
                "mount_setattr",
                "mount",
                "umount2",
                "pivot_root",
            ],
        ),
        (
            "directories made and removed (cgroups, state)",
            &["mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename"],
        ),
        (
            "files opened, read, written",
            &[
                "open",
                "openat",
                "openat2",
                "read",
                "write",
                "close",
                "statx",
                "newfstatat",
                "fstat",
                "readlink",
                "getdents64",
                "mknodat",
                "symlinkat",
            ],
        ),
        (
            "rights (prctl, capset, ids)",
            &["prctl", "capset", "capget", "setresuid", "setresgid", "setgroups", "seccomp"],
        ),
        ("waiting for the other process", &["recvmsg", "waitid", "wait4", "ppoll", "poll"]),
    ];

    #[derive(Default)]
    struct Sum {
        calls: u32,
        micros: f64,
    }

    pub(super) fn report(place: &Place) -> Result<String> {
        let lane = place.lanes.first().context("the own runtime")?;
        let text = record(place, lane)?;
        let names = super::names()?;
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        let (mut entered, mut left): (BTreeMap<&str, f64>, BTreeMap<&str, f64>) =
            Default::default();
        for event in text.lines().filter_map(parse) {
            if event.enter {
                if let Some(since) = left.remove(event.task) {
                    add(&mut sums, "the program's own work between calls", event.at - since);
                }
                entered.insert(event.task, event.at);
            } else if let Some(since) = entered.remove(event.task) {
                let name = names.get(&event.number).map_or("other", String::as_str);
                let group = GROUPS.iter().find(|(_, list)| list.contains(&name));
                add(&mut sums, group.map_or("other calls", |(title, _)| title), event.at - since);
                left.insert(event.task, event.at);
            }
        }
        let mut text = String::from(
            "Where the time of one `run` of ours goes (tracefs, raw_syscalls; both processes and the program added up, they run side by side on two \
             processors in part; tracing itself adds about a microsecond to each call):\n\n| | calls | ms |\n|---|---|---|\n",
        );
        let mut rows: Vec<_> = sums.into_iter().collect();
        rows.sort_by(|a, b| b.1.micros.total_cmp(&a.1.micros));
        for (title, sum) in rows {
            let _ = writeln!(text, "| {title} | {} | {:.2} |", sum.calls, sum.micros / 1e3);
        }
        text.push('\n');
        Ok(text)
    }

    fn add<'a>(sums: &mut BTreeMap<&'a str, Sum>, group: &'a str, seconds: f64) {
        let sum = sums.entry(group).or_default();
        sum.calls += 1;
        sum.micros += seconds * 1e6;
    }

    struct Event<'a> {
        task: &'a str,
        at: f64,
        enter: bool,
        number: u32,
    }

    /// `  name-PID  [CPU] FLAGS SECONDS: sys_enter: NR 59 (...)`.
    fn parse(line: &str) -> Option<Event<'_>> {
        let (head, rest) = line.split_once(": sys_")?;
        let (kind, rest) = rest.split_once(": NR ")?;
        let number = rest.split([' ', '=']).next()?.parse().ok()?;
        let mut words = head.split_whitespace();
        let at = words.next_back()?.parse().ok()?;
        let task = words.next()?.rsplit('-').next()?;
        Some(Event { task, at, enter: kind == "enter", number })
    }

    /// Records one run in a trace instance of its own, with tracefs in a private mount namespace.
    fn record(place: &Place, lane: &Lane) -> Result<String> {
        const SCRIPT: &str = r#"
            set -e
            mount -t tracefs none "$1"; mkdir "$1/instances/belljar-bench"; cd "$1/instances/belljar-bench"
            trap 'cd /; rmdir "$1/instances/belljar-bench"' EXIT
            echo mono > trace_clock; echo 1 > options/event-fork; echo 4096 > buffer_size_kb
            sh -c 'echo $$ > set_event_pid; echo 1 > events/raw_syscalls/enable; shift; exec "$@"' trace "$@" > /dev/null
            echo 0 > events/raw_syscalls/enable; cat trace
        "#;
        let at = tempfile::tempdir()?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT, "trace"]).arg(at.path()).arg(&lane.program);
        command.arg("--root").arg(&lane.root).args(["run", "--bundle"]);
        shell::output(command.arg(place.bundle("plain")).arg("bench-trace"))
    }
}
