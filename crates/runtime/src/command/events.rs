//! `events`: what the kernel has counted, in the form that runc prints.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sys::cgroup::{IoEntry, Stats};
use types::oci::runtime::Status;

use super::{Globals, id};
use crate::args::{Opt, Parsed, switch, valued};
use crate::error::{Error, Result};
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
    let mut seen = group.stats().oom.oom_kill;
    loop {
        let stats = group.stats();
        sink::out(&event(dir.id(), "stats", Some(data(&stats))));
        if stats.oom.oom_kill > seen {
            seen = stats.oom.oom_kill;
            sink::out(&event(dir.id(), "oom", None));
        }
        if parsed.is_on("stats") || dir.status(&record) == Status::Stopped {
            return Ok(0);
        }
        std::thread::sleep(interval);
    }
}

fn interval(text: &str) -> Result<Duration> {
    let bad = || Error::Usage(format!("invalid interval {text:?}"));
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

fn data(stats: &Stats) -> Value {
    let mut data = BTreeMap::new();
    if let Some(cpu) = &stats.cpu {
        let per_cpu: Vec<u64> = cpu.per_cpu.iter().map(|time| nanos(*time)).collect();
        data.insert(
            "cpu",
            json!({
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
            }),
        );
    }
    if let Some(memory) = &stats.memory {
        let limit = memory.limit.unwrap_or(u64::MAX);
        data.insert(
            "memory",
            json!({
                "cache": memory.stat.get("cache").or(memory.stat.get("file")),
                "usage": {
                    "limit": limit,
                    "usage": memory.usage,
                    "max": memory.max_usage,
                    "failcnt": memory.failures,
                },
                "swap": {
                    "limit": memory.swap_limit.unwrap_or(u64::MAX),
                    "usage": memory.swap,
                    "failcnt": 0,
                },
                "raw": memory.stat,
            }),
        );
    }
    if let Some(pids) = &stats.pids {
        data.insert("pids", json!({ "current": pids.current, "limit": pids.limit.unwrap_or(0) }));
    }
    data.insert("blkio", blkio(&stats.io));
    json!(data)
}

fn blkio(entries: &[IoEntry]) -> Value {
    let list = |value: fn(&IoEntry) -> u64| -> Vec<Value> {
        let one = |entry: &IoEntry| json!({ "major": entry.major, "minor": entry.minor, "op": entry.operation, "value": value(entry) });
        entries.iter().map(one).collect()
    };
    json!({
        "ioServiceBytesRecursive": list(|entry| entry.bytes),
        "ioServicedRecursive": list(|entry| entry.operations),
    })
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
