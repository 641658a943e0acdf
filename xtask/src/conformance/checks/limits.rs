//! Limits and figures: what control groups hold, count and stop.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Check, check};
use crate::conformance::lane::{Jar, Kind, Lane, eventually, group, has, same};

pub(super) const CHECKS: &[Check] = &[
    check("`stats`: figures that move", "two readings", stats).short(),
    check("`pause` and `unpause`", "the freezer's file, ticks in `/proc/PID/stat`", pause).short(),
    check("`update`: memory and CPU", "the group's files", update).short(),
    check("out of memory", "`State.OOMKilled`, exit status 137", oom).short(),
    check("`--memory`, `--cpus`, `--cpu-shares`, `--cpuset-cpus`", "the group's files", limits),
    check("`--pids-limit`", "the group's file, a fork that fails", pids),
    check("`--ulimit`", "`/proc/PID/limits`", ulimit),
    check("`--oom-score-adj`", "`/proc/PID/oom_score_adj`", oom_score),
    check("`--cgroup-parent`", "`/proc/PID/cgroup`", cgroup_parent),
    check("`--shm-size`", "`/proc/PID/mountinfo`", shm),
];

/// Spins after `/go` exists.
const SPIN: &str = "while [ ! -e /go ]; do sleep 0.1; done; while :; do :; done";

fn reading(jar: &Jar, lane: &Lane) -> Result<(f64, String)> {
    let pids = if lane.kind == Kind::Docker { "{{.PIDs}}" } else { "{{.PIDS}}" };
    let template = format!("{{{{.CPUPerc}}}} {{{{.MemUsage}}}} {pids}");
    let line = jar.on(&["stats", "--no-stream", "--format", &template])?;
    let cpu = line.split('%').next().and_then(|word| word.trim().parse().ok());
    Ok((cpu.with_context(|| format!("no figure in `{line}`"))?, line))
}

fn stats(lane: &Lane) -> Result<String> {
    let jar = lane.jar(&["-m", "64m"], &["sh", "-c", SPIN])?;
    let (before, first) = reading(&jar, lane)?;
    jar.exec(&[], &["touch", "/go"])?.expect(0)?;
    std::thread::sleep(Duration::from_secs(1));
    let (after, second) = reading(&jar, lane)?;
    ensure!(after > before + 5.0, "the CPU's figure did not move: `{first}`, `{second}`");
    has(&second, "64MiB").or_else(|_| has(&second, "67.11MB"))?;
    ensure!(
        !second.contains(" 0B /") && !second.ends_with(" 0"),
        "no memory or no process: `{second}`"
    );
    Ok(format!("{first}; {second}"))
}

fn ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

fn moves(pid: u32) -> Result<bool> {
    let before = ticks(pid)?;
    std::thread::sleep(Duration::from_millis(400));
    Ok(ticks(pid)? != before)
}

fn pause(lane: &Lane) -> Result<String> {
    let jar = lane.jar(&[], &["sh", "-c", "while :; do :; done"])?;
    let pid = jar.pid()?;
    ensure!(moves(pid)?, "it does not spin");
    jar.on(&["pause"])?;
    let file = jar.group_file("freezer", "freezer.state", "cgroup.events")?;
    ensure!(file == "FROZEN" || file.contains("frozen 1"), "the freezer says `{file}`");
    same("status", &jar.field("{{.State.Status}}")?, "paused")?;
    ensure!(!moves(pid)?, "it goes on while it is paused");
    jar.on(&["unpause"])?;
    ensure!(moves(pid)?, "it does not go on");
    same("status", &jar.field("{{.State.Status}}")?, "running")
}

fn update(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["-m", "48m", "--memory-swap", "48m"])?;
    jar.on(&["update", "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5"])?;
    let memory = jar.group_file("memory", "memory.limit_in_bytes", "memory.max")?;
    same("memory", &memory, "67108864")?;
    let cpu = jar.group_file("cpu", "cpu.cfs_quota_us", "cpu.max")?;
    ensure!(cpu.starts_with("50000"), "the quota is `{cpu}`");
    Ok(format!("{memory} bytes, {cpu} µs"))
}

fn oom(lane: &Lane) -> Result<String> {
    let options = ["-m", "16m", "--memory-swap", "16m"];
    let jar = lane.jar(&options, &["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"])?;
    jar.on(&["wait"])?;
    same("end", &jar.field("{{.State.OOMKilled}} {{.State.ExitCode}}")?, "true 137")
}

fn limits(lane: &Lane) -> Result<String> {
    let words = "-m 32m --memory-reservation 16m --cpus 0.3 --cpu-shares 512 --cpuset-cpus 0";
    let jar = lane.sleeper(&words.split(' ').collect::<Vec<_>>())?;
    let memory = jar.group_file("memory", "memory.limit_in_bytes", "memory.max")?;
    let soft = jar.group_file("memory", "memory.soft_limit_in_bytes", "memory.low")?;
    let quota = jar.group_file("cpu", "cpu.cfs_quota_us", "cpu.max")?;
    let shares = jar.group_file("cpu", "cpu.shares", "cpu.weight")?;
    let cpus = jar.group_file("cpuset", "cpuset.cpus", "cpuset.cpus")?;
    let found =
        format!("{memory} {soft} {} {shares} {cpus}", quota.split(' ').next().unwrap_or_default());
    let weight = if shares == "512" { "512" } else { "20" };
    same("files", &found, &format!("33554432 16777216 30000 {weight} 0"))
}

fn pids(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--pids-limit", "6"])?;
    same("the file", &jar.group_file("pids", "pids.max", "pids.max")?, "6")?;
    let said = jar.exec(&[], &["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done"])?;
    has(&said.all(), "fork")
}

fn ulimit(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&[
        "--ulimit",
        "nofile=123:456",
        "--ulimit",
        "core=0",
        "--ulimit",
        "nproc=4096:4096",
    ])?;
    let line = has(&jar.proc("limits")?, "Max open files")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    same("limit", &words[3..5].join(":"), "123:456")?;
    same(
        "inside",
        &jar.exec(&[], &["sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c"])?.expect(0)?,
        "123\n456\n0",
    )?;
    Ok(line)
}

fn oom_score(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--oom-score-adj", "321"])?;
    let exec = jar.exec(&[], &["cat", "/proc/self/oom_score_adj"])?.expect(0)?;
    same("score", &format!("{} {exec}", jar.proc("oom_score_adj")?.trim()), "321 321")
}

fn cgroup_parent(lane: &Lane) -> Result<String> {
    let parent = format!("{}/other", lane.group);
    let jar = lane.sleeper(&["--cgroup-parent", &parent])?;
    let text = jar.proc("cgroup")?;
    let id = jar.field("{{.Id}}")?;
    let (dir, _) = group(&text, "memory")?;
    let path = dir.display().to_string();
    ensure!(path.contains(&format!("{parent}/")) && path.ends_with(&id), "the group is `{path}`");
    eventually("the process in it", || {
        Ok(fs::read_to_string(dir.join("cgroup.procs"))?
            .lines()
            .any(|pid| Some(pid) == jar.pid().ok().map(|p| p.to_string()).as_deref()))
    })?;
    Ok(path)
}

fn shm(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--shm-size", "8m"])?;
    let line = has(&jar.proc("mountinfo")?, " /dev/shm ")?;
    has(&line, "size=8192k")?;
    has(&line, "nosuid,nodev,noexec")
}
