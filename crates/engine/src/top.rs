//! The processes of a container, as the host's `ps` shows them.
//!
//! What Docker's clients ask by default, `ps -ef`, is read from /proc; for other columns the host's own `ps` is run, and of what it
//! prints only the container's lines are kept.

use std::collections::{HashMap, HashSet};
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use sys::procfs::{self, LocalTime};
use types::Kind;

use crate::engine::{Engine, blocking};
use crate::stats::group_of;
use crate::view::{Status, TopView};
use crate::{EngineError, Result};

/// Columns of `ps -ef`.
const TITLES: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
/// How much of one command line is shown.
const COMMAND: usize = 8 << 10;

impl Engine {
    /// Lists the processes of a container as `ps ARGS` would.
    ///
    /// # Errors
    /// `Conflict` when it does not run; `Invalid`: arguments that hide which process is which.
    pub async fn top(&self, name: &str, ps_args: &str) -> Result<TopView> {
        let handle = self.find(name)?;
        let args = arguments(ps_args)?;
        let id = handle.id.clone();
        if handle.view().state.status == Status::Restarting {
            return Err(EngineError::conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            )));
        }
        let idle = || EngineError::conflict(format!("container {id} is not running"));
        let live = handle.live().filter(|live| !live.has_ended()).ok_or_else(idle)?;
        let (pid, key) = (live.pid, id.clone());
        let view = blocking(move || {
            let Some(group) = group_of(key.as_str(), pid) else { return Ok(None) };
            let mut pids: Vec<u32> = group
                .processes()
                .iter()
                .map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
                .collect();
            pids.sort_unstable();
            pids.dedup();
            if args == ["-ef"] { Ok(Some(native(&pids))) } else { foreign(&pids, &args).map(Some) }
        });
        let view = view.await?.ok_or_else(idle)?;
        self.tell_view(&handle.view(), "top", &[]);
        Ok(view)
    }
}

/// Splits what a client wants `ps` to be told. Docker refuses columns renamed to `PID`, by which a line could pose as another.
fn arguments(text: &str) -> Result<Vec<String>> {
    let args: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
    for arg in &args {
        let mut renamed = arg.split(',').filter_map(|column| column.split_once('='));
        if renamed.any(|(column, title)| {
            title.trim().eq_ignore_ascii_case("pid") && !column.ends_with("pid")
        }) {
            return Err(EngineError::invalid(format!("specifying \"{arg}\" is not allowed")));
        }
    }
    Ok(if args.is_empty() { vec!["-ef".to_owned()] } else { args })
}

/// `ps -ef` of the processes that still live.
fn native(pids: &[u32]) -> TopView {
    let users = users(&std::fs::read_to_string("/etc/passwd").unwrap_or_default());
    let uptime = procfs::uptime().unwrap_or_default();
    let now = Timestamp::now().as_second();
    let row = |pid: &u32| {
        let stat = procfs::Stat::of(*pid).ok()?;
        let uid = procfs::Status::of(*pid).ok()?.uids[1];
        let used = procfs::ticks_to_time(stat.user_ticks.saturating_add(stat.system_ticks));
        let age = uptime.saturating_sub(procfs::ticks_to_time(stat.start_ticks));
        let started = now.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(0));
        Some(vec![
            users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
            pid.to_string(),
            stat.parent.to_string(),
            share(used, age).to_string(),
            start_time(procfs::local_time(started), procfs::local_time(now)),
            stat.terminal.name(),
            processor_time(used),
            command(*pid, &stat),
        ])
    };
    TopView {
        titles: TITLES.map(str::to_owned).to_vec(),
        processes: pids.iter().filter_map(row).collect(),
    }
}

/// Names by user id; the first line of an id wins, as in getpwuid(3).
fn users(passwd: &str) -> HashMap<u32, String> {
    let mut users = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse::<u32>)) {
            users.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    users
}

/// Column `C`: the share of one processor over the process's life, in whole per cent, at most 99.
fn share(used: Duration, age: Duration) -> u128 {
    let percent = (used.as_millis() * 100).checked_div(age.as_millis()).unwrap_or(0);
    percent.min(99)
}

/// Column `STIME`: the time of today, the day of this year, else the year.
fn start_time(started: Option<LocalTime>, now: Option<LocalTime>) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (Some(started), Some(now)) = (started, now) else { return "?".to_owned() };
    if started.year != now.year {
        return started.year.to_string();
    }
    if started.day_of_year != now.day_of_year {
        return format!("{}{:02}", MONTHS.get(started.month).unwrap_or(&"?"), started.day);
    }
    format!("{:02}:{:02}", started.hour, started.minute)
}

/// Column `TIME`: `[days-]hours:minutes:seconds`.
fn processor_time(used: Duration) -> String {
    let seconds = used.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let clock = format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    if days > 0 { format!("{days}-{clock}") } else { clock }
}

/// Column `CMD`: the arguments, or the name in brackets if there are none. What would move a terminal's cursor is shown as `?`.
fn command(pid: u32, stat: &procfs::Stat) -> String {
    let arguments = procfs::command_line(pid).unwrap_or_default();
    let zombie = if stat.state == 'Z' { " <defunct>" } else { "" };
    let line = match arguments.is_empty() {
        true => format!("[{}]{zombie}", stat.name),
        false => arguments.join(" "),
    };
    line.chars().take(COMMAND).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// What the host's `ps` says of the processes.
fn foreign(pids: &[u32], args: &[String]) -> Result<TopView> {
    let list: Vec<String> = pids.iter().map(u32::to_string).collect();
    let chosen = run(args, Some(&format!("-q{}", list.join(","))));
    // Some arguments cannot be used together with `-q`.
    let text = chosen.or_else(|_| run(args, None))?;
    filter(&text, &pids.iter().copied().collect())
}

fn run(args: &[String], pids: Option<&str>) -> Result<String> {
    let wrong = |text: String| EngineError::new(Kind::Internal, text);
    let output = Program::new("ps")
        .args(args)
        .args(pids)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| EngineError::caused(Kind::Internal, "error running ps", error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(wrong(format!("error running ps: {line}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Keeps the lines whose column `PID` is in the container, and lines of threads (`-`) behind them.
fn filter(text: &str, pids: &HashSet<u32>) -> Result<TopView> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
    let column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| EngineError::internal("Couldn't find PID field in ps output"))?;
    let mut processes = Vec::new();
    let mut inside = false;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some(pid) = fields.get(column) else { continue };
        if *pid != "-" {
            let number = pid.parse::<u32>();
            let number = number.map_err(|_| {
                EngineError::internal(format!("Unexpected pid '{pid}': not a number"))
            })?;
            inside = pids.contains(&number);
        }
        if inside {
            processes.push(row(&fields, titles.len()));
        }
    }
    Ok(TopView { titles, processes })
}

/// As many fields as titles: the last one takes the rest of the line.
fn row(fields: &[&str], columns: usize) -> Vec<String> {
    let (head, rest) = fields.split_at(fields.len().min(columns - 1));
    let mut row: Vec<String> = head.iter().map(|field| (*field).to_owned()).collect();
    row.push(rest.join(" "));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines_are_kept() {
        let text = "USER  PID COMMAND\nroot 1 /sbin/init x\nbob 42 sh -c  a\n- - thread\nbob 421 no\n- - no\n\n";
        let view = filter(text, &HashSet::from([42])).unwrap();
        assert_eq!(view.titles, ["USER", "PID", "COMMAND"]);
        assert_eq!(view.processes, [vec!["bob", "42", "sh -c a"], vec!["-", "-", "thread"]]);
        let error = filter("USER COMMAND\nroot x\n", &HashSet::new()).unwrap_err();
        assert_eq!(error.to_string(), "Couldn't find PID field in ps output");
        let error = filter("PID CMD\nroot x\n", &HashSet::new()).unwrap_err();
        assert_eq!(error.to_string(), "Unexpected pid 'root': not a number");
    }

    #[test]
    fn a_column_cannot_pose_as_the_pid() {
        assert_eq!(arguments("").unwrap(), ["-ef"]);
        assert_eq!(arguments(" aux  -q ").unwrap(), ["aux", "-q"]);
        assert_eq!(arguments("-o pid=PID,comm=X").unwrap().len(), 2);
        for bad in ["-o comm=PID", "-eo pid,comm=PID", "-opid,user=pid"] {
            assert_eq!(arguments(bad).unwrap_err().kind(), Kind::Invalid, "{bad}");
        }
    }

    #[test]
    fn columns_are_as_ps_prints_them() {
        assert_eq!(processor_time(Duration::from_secs(3_725)), "01:02:05");
        assert_eq!(processor_time(Duration::from_secs(90_061)), "1-01:01:01");
        assert_eq!(share(Duration::from_secs(5), Duration::from_secs(10)), 50);
        assert_eq!(share(Duration::from_secs(50), Duration::from_secs(10)), 99);
        assert_eq!(share(Duration::from_secs(1), Duration::ZERO), 0);
        let time = |year, day_of_year| {
            Some(LocalTime { year, month: 1, day: 3, day_of_year, hour: 4, minute: 5 })
        };
        assert_eq!(start_time(time(2026, 33), time(2026, 33)), "04:05");
        assert_eq!(start_time(time(2026, 33), time(2026, 34)), "Feb03");
        assert_eq!(start_time(time(2025, 33), time(2026, 33)), "2025");
    }

    #[test]
    fn users_have_the_first_name() {
        let users =
            users("root:x:0:0::/root:/bin/sh\ntoor:x:0:0:::\nbad\n+::x:\nbob:x:1000:1000:::\n");
        assert_eq!((users[&0].as_str(), users[&1000].as_str(), users.len()), ("root", "bob", 2));
    }

    #[test]
    fn our_own_line_is_right() {
        let view = native(&[std::process::id(), u32::MAX]);
        assert_eq!(view.processes.len(), 1, "one has ended");
        let row = &view.processes[0];
        assert_eq!(row[1], std::process::id().to_string());
        assert_eq!(row[2], std::os::unix::process::parent_id().to_string());
        assert!(row[7].contains("engine"), "{row:?}");
    }
}
