//! `linux.resources` as properties of a systemd unit, systemd.resource-control(5). What systemd has no word for is only in the files;
//! for what it has, `systemctl show` and the files agree.

use std::collections::BTreeMap;

use types::oci::runtime::{CpuResources, DeviceRule, MemoryResources, Resources};

use super::devices;
use super::limits::{Present, io_weight, swap_alone, weight};
use crate::dbus::{Property, Value, property};
use crate::error::{Error, Result};

/// What systemd takes for "no limit".
pub(super) const INFINITY: u64 = u64::MAX;

/// The kernel's own period, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// systemd counts a quota in steps of 10 ms for each second (1%).
const STEP: u64 = 10_000;

fn bytes(value: i64) -> Value {
    Value::Number(u64::try_from(value).unwrap_or(INFINITY))
}

/// The same limits with the processor quota rounded up to what systemd can say, and with its period: the container gets what it was
/// promised, and the files what systemd will write into them some day.
pub(super) fn rounded(resources: &Resources, present: &Present) -> Resources {
    let mut resources = resources.clone();
    let Some(cpu) = &mut resources.cpu else { return resources };
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    if quota.is_none() && period.is_none() {
        return resources;
    }
    let period = period.or(present.period).unwrap_or(DEFAULT_PERIOD);
    let quota = quota.or(present.quota).unwrap_or(-1);
    cpu.period = Some(period);
    cpu.quota = Some(match per_second(quota, period) {
        INFINITY => -1,
        exact => i64::try_from(u128::from(exact) * u128::from(period) / 1_000_000).unwrap_or(-1),
    });
    resources
}

/// Microseconds in each second, rounded up to what systemd can say.
fn per_second(quota: i64, period: u64) -> u64 {
    let Some(quota) = u64::try_from(quota).ok().filter(|quota| *quota > 0) else { return INFINITY };
    let exact = quota.saturating_mul(1_000_000) / period.max(1);
    exact.checked_next_multiple_of(STEP).unwrap_or(INFINITY)
}

/// The limit of processes. systemd refuses zero; one that is there already is as much.
pub(super) fn tasks(resources: &Resources) -> Option<Property> {
    let limit = resources.pids.as_ref()?.limit?;
    let limit = u64::try_from(limit).unwrap_or(INFINITY).max(1);
    Some(property("TasksMax", Value::Number(limit)))
}

/// The limits but that of processes.
pub(super) fn limits(
    resources: &Resources,
    version_2: bool,
    present: &Present,
    knows_idle: impl FnOnce() -> bool,
) -> Result<Vec<Property>> {
    let mut list = Vec::new();
    if let Some(memory) = &resources.memory {
        list.extend(memory_limits(memory, version_2, present)?);
    }
    let mut knows_idle = Some(knows_idle);
    let mut idle = |wanted: bool| wanted && knows_idle.take().is_some_and(|ask| ask());
    if let Some(cpu) = &resources.cpu {
        let idle = idle(version_2 && cpu.idle == Some(1));
        list.extend(cpu_limits(cpu, version_2, idle)?);
    }
    let io = resources.block_io.as_ref().and_then(|io| io.weight).filter(|weight| *weight != 0);
    list.extend(io.map(|weight| match version_2 {
        true => property("IOWeight", Value::Number(io_weight(weight))),
        false => property("BlockIOWeight", Value::Number(weight.into())),
    }));
    let asked = resources.unified.get("cpu.idle").is_some_and(|value| value.trim() == "1");
    list.extend(unified(&resources.unified, idle(asked))?);
    Ok(list)
}

fn memory_limits(
    memory: &MemoryResources,
    version_2: bool,
    present: &Present,
) -> Result<Vec<Property>> {
    let limit = memory.limit.filter(|limit| *limit != 0);
    if !version_2 {
        return Ok(limit.map(|limit| property("MemoryLimit", bytes(limit))).into_iter().collect());
    }
    let mut list: Vec<Property> = Vec::new();
    list.extend(limit.map(|limit| property("MemoryMax", bytes(limit))));
    let low = memory.reservation.filter(|low| *low != 0);
    list.extend(low.map(|low| property("MemoryLow", bytes(low))));
    let swap = swap_alone(memory, present)?;
    list.extend(swap.map(|alone| property("MemorySwapMax", bytes(alone))));
    Ok(list)
}

fn cpu_limits(cpu: &CpuResources, version_2: bool, idle: bool) -> Result<Vec<Property>> {
    let mut list: Vec<Property> = Vec::new();
    if idle {
        // systemd 252: the weight zero.
        list.push(property("CPUWeight", Value::Number(0)));
    } else if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        list.push(match version_2 {
            true => property("CPUWeight", Value::Number(weight(shares))),
            false => property("CPUShares", Value::Number(shares)),
        });
    }
    if let (Some(quota), Some(period)) = (cpu.quota, cpu.period) {
        list.extend(quota_limits(quota, period));
    }
    for (name, key, text) in
        [("AllowedCPUs", "Cpus", &cpu.cpus), ("AllowedMemoryNodes", "Mems", &cpu.mems)]
    {
        if version_2 && !text.is_empty() {
            let mask = bits(text).ok_or_else(|| {
                Error::Config(format!("resources.CPU.{key}={text:?} conversion error"))
            })?;
            list.push(property(name, Value::Bytes(mask)));
        }
    }
    Ok(list)
}

fn quota_limits(quota: i64, period: u64) -> [Property; 2] {
    [
        property("CPUQuotaPeriodUSec", Value::Number(period)),
        property("CPUQuotaPerSecUSec", Value::Number(per_second(quota, period))),
    ]
}

/// What systemd has words for among the files of version 2.
fn unified(files: &BTreeMap<String, String>, idle: bool) -> Result<Vec<Property>> {
    let mut list = Vec::new();
    for (file, value) in files {
        let value = value.trim();
        let bad = || {
            Error::Config(format!("unified resource {file:?} value conversion error: {value:?}"))
        };
        let number = || match value {
            "max" => Ok(Value::Number(INFINITY)),
            value => value.parse().map(Value::Number).map_err(|_| bad()),
        };
        let name = match file.as_str() {
            "cpu.max" => {
                let mut words = value.split_whitespace();
                let quota = match words.next().ok_or_else(bad)? {
                    "max" => -1,
                    quota => quota.parse().map_err(|_| bad())?,
                };
                let period = words.next().map_or(Ok(DEFAULT_PERIOD), str::parse);
                list.extend(quota_limits(quota, period.map_err(|_| bad())?));
                continue;
            }
            "cpu.idle" if idle => {
                list.push(property("CPUWeight", Value::Number(0)));
                continue;
            }
            "cpu.weight" if idle => continue,
            "cpu.weight" => "CPUWeight",
            "cpuset.cpus" | "cpuset.mems" => {
                let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
                list.push(property(name, Value::Bytes(bits(value).ok_or_else(bad)?)));
                continue;
            }
            "io.weight" => match value.trim_start_matches("default").trim().parse() {
                Ok(weight) => {
                    list.push(property("IOWeight", Value::Number(weight)));
                    continue;
                }
                Err(_) => continue,
            },
            "memory.high" => "MemoryHigh",
            "memory.low" => "MemoryLow",
            "memory.min" => "MemoryMin",
            "memory.max" => "MemoryMax",
            "memory.swap.max" => "MemorySwapMax",
            "pids.max" => "TasksMax",
            _ => continue,
        };
        list.push(property(name, number()?));
    }
    Ok(list)
}

/// A list such as `0-2,5` as a mask, the lowest number in the lowest bit of the first byte.
pub(super) fn bits(list: &str) -> Option<Vec<u8>> {
    /// More than any kernel has.
    const MOST: usize = 1 << 16;
    let mut mask = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|number| mask[number / 8] |= 1 << (number % 8));
    }
    Some(mask)
}

/// Who may use which device, in systemd's words, which know no exceptions from what is allowed: never less than the rules allow, for
/// systemd's own program would stand beside the runtime's.
pub(super) fn device_limits(resources: &Resources) -> [Property; 2] {
    let rules = devices::rules(resources);
    let everything = rules.first().is_some_and(|all| all.allow);
    let list = match everything {
        true => Vec::new(),
        false => rules.iter().filter(|rule| rule.allow).flat_map(allowed).collect(),
    };
    let policy = if everything { "auto" } else { "strict" };
    [
        property("DevicePolicy", Value::Text(policy.into())),
        property("DeviceAllow", Value::Pairs(list)),
    ]
}

fn allowed(rule: &DeviceRule) -> Vec<(String, String)> {
    let kinds: &[(&str, &str)] = match rule.kind.as_str() {
        "b" => &[("block", "b")],
        "c" | "u" => &[("char", "c")],
        _ => &[("block", "b"), ("char", "c")],
    };
    let access = if rule.access.is_empty() { "rwm" } else { &rule.access };
    let one = |(kind, _): &(&str, &str)| {
        let path = match (devices::number(rule.major), devices::number(rule.minor)) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => format!("{kind}-{major}"),
            // One minor number of every major one cannot be said.
            (None, _) => format!("{kind}-*"),
        };
        (path, access.to_owned())
    };
    kinds.iter().map(one).collect()
}

/// `org.systemd.property.NAME` annotations: values in GVariant's text form. runc's rules: a name has three letters or more and
/// nothing else, and one that ends in `Sec` counts seconds where systemd's own ends in `USec`.
pub(super) fn annotated(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let mut list = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix("org.systemd.property.") else { continue };
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            let text =
                format!("annotation {key} name incorrect: not in ASCII alphabet or too short");
            return Err(Error::Config(text));
        }
        let bad =
            |why: &str| Error::Config(format!("annotation {key}={text} value parse error: {why}"));
        let value = super::variant::parse(text).map_err(|why| bad(&why))?;
        let seconds = name
            .strip_suffix("Sec")
            .filter(|rest| rest.ends_with(|c: char| c.is_ascii_lowercase()));
        list.push(match seconds {
            Some(rest) => {
                let micros = super::variant::micros(&value).ok_or_else(|| bad("not a number"))?;
                property(format!("{rest}USec"), Value::Number(micros))
            }
            None => property(name.to_owned(), value),
        });
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(resources: &Resources, version_2: bool) -> Vec<Property> {
        limits(resources, version_2, &Present::default(), || true).unwrap()
    }

    #[test]
    fn limits_have_systemds_names() {
        let resources = Resources {
            memory: Some(MemoryResources {
                limit: Some(64),
                swap: Some(96),
                ..MemoryResources::default()
            }),
            cpu: Some(CpuResources {
                quota: Some(25_000),
                period: Some(50_000),
                cpus: "0,8-9".into(),
                ..CpuResources::default()
            }),
            ..Resources::default()
        };
        let want = vec![
            property("MemoryMax", Value::Number(64)),
            property("MemorySwapMax", Value::Number(32)),
            property("CPUQuotaPeriodUSec", Value::Number(50_000)),
            property("CPUQuotaPerSecUSec", Value::Number(500_000)),
            property("AllowedCPUs", Value::Bytes(vec![1, 3])),
        ];
        assert_eq!(all(&resources, true), want);
        assert_eq!(all(&resources, false)[0], property("MemoryLimit", Value::Number(64)));
    }

    #[test]
    fn quotas_are_rounded_up_for_both() {
        assert_eq!(per_second(12_345, 100_000), 130_000);
        assert_eq!(per_second(-1, 100_000), INFINITY);
        let cpu = |quota, period| Resources {
            cpu: Some(CpuResources { quota, period, ..CpuResources::default() }),
            ..Resources::default()
        };
        let known = Present { quota: Some(20_000), period: Some(50_000), memory: None };
        for (quota, period, present, want) in [
            (Some(12_345), None, Present::default(), (13_000, 100_000)),
            (Some(12_345), None, known, (12_500, 50_000)),
            (None, Some(100_000), known, (20_000, 100_000)),
            (Some(-1), None, known, (-1, 50_000)),
        ] {
            let cpu = rounded(&cpu(quota, period), &present).cpu.unwrap();
            assert_eq!((cpu.quota.unwrap(), cpu.period.unwrap()), want, "{quota:?} {period:?}");
        }
    }

    #[test]
    fn files_of_version_2_have_systemds_names() {
        let mut resources = Resources::default();
        for (file, value) in [
            ("cpu.idle", "1"),
            ("cpu.max", "max 50000"),
            ("cpu.weight", "7"),
            ("memory.high", "5"),
            ("memory.low", "max"),
            ("memory.oom.group", "1"),
            ("pids.max", "9"),
            ("cpuset.cpus", "0-1"),
        ] {
            resources.unified.insert(file.into(), value.into());
        }
        let want = vec![
            property("CPUWeight", Value::Number(0)),
            property("CPUQuotaPeriodUSec", Value::Number(50_000)),
            property("CPUQuotaPerSecUSec", Value::Number(INFINITY)),
            property("AllowedCPUs", Value::Bytes(vec![3])),
            property("MemoryHigh", Value::Number(5)),
            property("MemoryLow", Value::Number(INFINITY)),
            property("TasksMax", Value::Number(9)),
        ];
        assert_eq!(all(&resources, true), want);
        resources.unified.insert("memory.max".into(), "1G".into());
        assert!(limits(&resources, true, &Present::default(), || true).is_err());
    }

    #[test]
    fn devices_have_systemds_names() {
        let rule = |allow, kind: &str, major, minor, access: &str| DeviceRule {
            allow,
            kind: kind.into(),
            major,
            minor,
            access: access.into(),
        };
        let mut resources = Resources {
            devices: vec![
                rule(false, "a", None, None, "rwm"),
                rule(true, "b", Some(8), None, "r"),
                rule(true, "c", Some(10), Some(229), ""),
            ],
            ..Resources::default()
        };
        let [policy, allow] = device_limits(&resources);
        assert_eq!(policy, property("DevicePolicy", Value::Text("strict".into())));
        let Value::Pairs(pairs) = allow.1 else { panic!("pairs") };
        for pair in [
            ("block-8", "r"),
            ("/dev/char/10:229", "rwm"),
            ("char-*", "m"),
            ("/dev/char/1:3", "rwm"),
            ("char-136", "rwm"),
        ] {
            assert!(pairs.contains(&(pair.0.into(), pair.1.into())), "{pair:?} {pairs:?}");
        }
        resources.devices[0].allow = true;
        let want = [
            property("DevicePolicy", Value::Text("auto".into())),
            property("DeviceAllow", Value::Pairs(Vec::new())),
        ];
        assert_eq!(device_limits(&resources), want);
    }

    #[test]
    fn annotations_are_properties() {
        let of = |name: &str, value: &str| {
            annotated(&BTreeMap::from([(format!("org.systemd.property.{name}"), value.to_owned())]))
        };
        let want = vec![property("CollectMode", Value::Text("inactive-or-failed".into()))];
        assert_eq!(of("CollectMode", "'inactive-or-failed'").unwrap(), want);
        let want = vec![property("TimeoutStopUSec", Value::Number(123_000_000))];
        assert_eq!(of("TimeoutStopUSec", "uint64 123000000").unwrap(), want);
        assert_eq!(of("TimeoutStopSec", "123").unwrap(), want);
        for (name, value) in [
            ("Ab", "1"),
            ("A_b_c", "1"),
            ("Timeout1", "1"),
            ("Abc", "'x"),
            ("TimeoutStopSec", "'x'"),
        ] {
            assert!(of(name, value).is_err(), "{name}={value}");
        }
        assert!(annotated(&BTreeMap::from([("x".into(), "'".into())])).unwrap().is_empty());
    }

    #[test]
    fn lists_are_masks_or_nothing() {
        assert_eq!(bits("0-3"), Some(vec![0x0f]));
        assert_eq!(bits("x"), None);
        assert_eq!(bits("3-1"), None);
        assert_eq!(bits("0-99999999"), None);
        assert_eq!(bits(""), None);
    }
}
