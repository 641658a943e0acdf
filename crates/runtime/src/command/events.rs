//! `events`: what the kernel has counted, in the form that runc prints.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::PollFd;
use serde_json::{Value, json};
use sys::cgroup::{CpuStats, Group, IoEntry, MemoryStats, OomWatch, Pressure, PressureLine};
use sys::event::PollFlags;
use types::oci::runtime::Status;

use super::{Globals, id};
use crate::args::{Opt, Parsed, switch, valued};
use crate::error::{Error, Result, step};
use crate::sink;

/// The options.
pub(super) const OPTIONS: &[Opt] = &[
    valued("interval", '\0', "the time between two readings of the counters (default: 5s)"),
    switch("stats", '\0', "print the counters once"),
];

/// Prints the counters, once with `--stats`, else every interval until the container has ended.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(id(parsed)?)?;
    let record = dir.record()?;
    let interval = interval(parsed.value("interval").unwrap_or("5s"))?;
    if dir.status(&record) == Status::Stopped {
        return Err(Error::State(format!("container with id {} is not running", dir.id())));
    }
    let group = record.group();
    let stats = || sink::out(&event(dir.id(), "stats", Some(data(&group))));
    stats();
    if parsed.is_on("stats") {
        return Ok(0);
    }
    let end = u32::try_from(record.pid).ok().and_then(|pid| sys::pidfd::open(pid).ok());
    let mut memory = OomWatch::open(&group).ok();
    let mut told = Instant::now();
    loop {
        let left = interval.saturating_sub(told.elapsed());
        wait(end.as_ref(), memory.as_ref(), left)?;
        if memory.as_mut().is_some_and(OomWatch::look) {
            sink::out(&event(dir.id(), "oom", None));
        }
        let over = dir.status(&record) == Status::Stopped;
        if over || told.elapsed() >= interval {
            told = Instant::now();
            stats();
        }
        if over {
            return Ok(0);
        }
    }
}

/// Waits for the interval, the container's end or a want of memory, whichever comes first.
fn wait(end: Option<&OwnedFd>, memory: Option<&OomWatch>, interval: Duration) -> Result<()> {
    let end = end.map(|end| PollFd::new(end, PollFlags::IN));
    let mut fds: Vec<PollFd<'_>> =
        end.into_iter().chain(memory.and_then(OomWatch::watched)).collect();
    let timeout = memory.and_then(OomWatch::again).map_or(interval, |again| again.min(interval));
    sys::event::poll(&mut fds, Some(timeout)).map_err(step("wait for events"))?;
    Ok(())
}

fn interval(text: &str) -> Result<Duration> {
    let bad = || Error::Usage(format!("invalid value {text:?} for flag -interval: parse error"));
    let (number, unit) =
        text.split_at(text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len()));
    let number: f64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" | "" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(bad()),
    };
    if seconds <= 0.0 {
        return Err(Error::Usage("duration interval must be greater than 0".into()));
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|d| !d.is_zero()).ok_or_else(bad)
}

/// One line; the type and the id come first, as in runc's, so that a plain search finds them.
fn event(id: &str, kind: &str, data: Option<Value>) -> String {
    let data = data.map(|data| format!(",\"data\":{data}")).unwrap_or_default();
    format!("{{\"type\":{},\"id\":{}{data}}}\n", json!(kind), json!(id))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn data(group: &Group) -> Value {
    let stats = group.stats();
    let mut data = BTreeMap::new();
    if let Some(cpu) = &stats.cpu {
        data.insert("cpu", processor(cpu, stats.cpu_pressure.as_ref()));
    }
    if let Some(memory) = &stats.memory {
        let pressure = stats.memory_pressure.as_ref();
        data.insert("memory", memory_of(memory, group.is_version_2(), pressure));
    }
    if let Some(pids) = &stats.pids {
        data.insert("pids", json!({ "current": pids.current, "limit": pids.limit.unwrap_or(0) }));
    }
    data.insert("blkio", blkio(&stats.io, stats.io_pressure.as_ref()));
    let huge = stats.hugetlb.iter().map(|(size, huge)| {
        let one = json!({ "usage": huge.usage, "max": huge.max_usage, "failcnt": huge.failures });
        (size.clone(), one)
    });
    data.insert("hugetlb", Value::Object(huge.collect()));
    data.insert("intel_rdt", json!({}));
    json!(data)
}

/// Adds what the kernel measures of waiting, where it does.
fn with_pressure(mut value: Value, pressure: Option<&Pressure>) -> Value {
    let line = |line: &PressureLine| {
        json!({
            "avg10": line.average_10,
            "avg60": line.average_60,
            "avg300": line.average_300,
            "total": u64::try_from(line.total.as_micros()).unwrap_or(u64::MAX),
        })
    };
    if let Some(pressure) = pressure {
        value["psi"] = json!({ "some": line(&pressure.some), "full": line(&pressure.full) });
    }
    value
}

fn processor(cpu: &CpuStats, pressure: Option<&Pressure>) -> Value {
    let per_cpu: Vec<u64> = cpu.per_cpu.iter().map(|time| nanos(*time)).collect();
    let value = json!({
        "usage": {
            "total": nanos(cpu.usage),
            "percpu": per_cpu,
            "kernel": nanos(cpu.system),
            "user": nanos(cpu.user),
        },
        "throttling": {
            "periods": cpu.periods,
            "throttledPeriods": cpu.throttled_periods,
            "throttledTime": nanos(cpu.throttled),
        },
    });
    with_pressure(value, pressure)
}

/// `swap` counts memory and swap together, as version 1 does.
fn memory_of(memory: &MemoryStats, version_2: bool, pressure: Option<&Pressure>) -> Value {
    let limit = memory.limit.unwrap_or(u64::MAX);
    let swap_limit = match memory.swap_limit {
        None => u64::MAX,
        Some(alone) if version_2 => alone.saturating_add(limit),
        Some(both) => both,
    };
    let value = json!({
        "cache": memory.stat.get("cache").or(memory.stat.get("file")),
        "usage": {
            "limit": limit,
            "usage": memory.usage,
            "max": memory.max_usage,
            "failcnt": memory.failures,
        },
        "swap": {
            "limit": swap_limit,
            "usage": memory.usage.saturating_add(memory.swap),
            "failcnt": 0,
        },
        "kernel": { "limit": 0, "failcnt": 0 },
        "kernelTCP": { "limit": 0, "failcnt": 0 },
        "raw": memory.stat,
    });
    with_pressure(value, pressure)
}

fn blkio(entries: &[IoEntry], pressure: Option<&Pressure>) -> Value {
    let list = |value: fn(&IoEntry) -> u64| -> Vec<Value> {
        let one = |entry: &IoEntry| {
            let mut operation = entry.operation.clone();
            operation.get_mut(..1).map(str::make_ascii_uppercase);
            json!({ "major": entry.major, "minor": entry.minor, "op": operation, "value": value(entry) })
        };
        entries.iter().map(one).collect()
    };
    let value = json!({
        "ioServiceBytesRecursive": list(|entry| entry.bytes),
        "ioServicedRecursive": list(|entry| entry.operations),
    });
    with_pressure(value, pressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_starts_with_type_and_id() {
        assert_eq!(event("a", "oom", None), "{\"type\":\"oom\",\"id\":\"a\"}\n");
        let text = event("a\"", "stats", Some(json!({ "x": 1 })));
        assert_eq!(text, "{\"type\":\"stats\",\"id\":\"a\\\"\",\"data\":{\"x\":1}}\n");
    }

    #[test]
    fn intervals_have_units() {
        assert_eq!(interval("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(interval("250ms").unwrap(), Duration::from_millis(250));
        assert!(interval("0").is_err() && interval("x").is_err() && interval("1y").is_err());
    }
}
