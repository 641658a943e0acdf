//! `update`.

use std::io::Read;

use types::oci::runtime::{
    BlockIoResources, CpuResources, MemoryResources, PidsResources, Resources, Status,
};

use super::{Globals, id};
use crate::args::{Opt, Parsed, number, valued};
use crate::error::{Error, Result, step};
use crate::state::Record;
use crate::{cgroup, config};

/// The options.
pub(super) const OPTIONS: &[Opt] = &[
    valued(
        "resources",
        'r',
        "the file with a linux.resources object, '-' for standard input; the other options are then left aside",
    ),
    number("blkio-weight", '\0', "the weight among users of block devices, 10 to 1000"),
    valued("cpu-period", '\0', "the period of the quota, in microseconds"),
    valued("cpu-quota", '\0', "the processor time in each period, in microseconds"),
    valued("cpu-burst", '\0', "the time that unused quota may add up to, in microseconds"),
    valued("cpu-share", '\0', "the share of processor time among other groups"),
    valued("cpu-rt-period", '\0', "the period of the realtime limit, in microseconds"),
    valued("cpu-rt-runtime", '\0', "the realtime in each period, in microseconds"),
    valued("cpuset-cpus", '\0', "the processors to use"),
    valued("cpuset-mems", '\0', "the memory nodes to use"),
    valued("cpu-idle", '\0', "1 for SCHED_IDLE, 0 for the default"),
    valued("kernel-memory", '\0', ""),
    valued("kernel-memory-tcp", '\0', ""),
    valued("memory", '\0', "the limit of memory, in bytes or with a unit"),
    valued("memory-reservation", '\0', "the soft limit of memory"),
    valued("memory-swap", '\0', "the limit of memory and swap together; -1 for none"),
    number("pids-limit", '\0', "the most processes and threads"),
    valued("l3-cache-schema", '\0', "the Intel RDT schema of the L3 cache"),
    valued("mem-bw-schema", '\0', "the Intel RDT schema of memory bandwidth"),
];

/// Changes the limits of a container.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(id(parsed)?)?;
    let record = dir.record()?;
    record.check_group()?;
    if dir.status(&record) == Status::Stopped {
        return Err(Error::NotRunning);
    }
    let mut resources = match parsed.value("resources") {
        Some(path) => read(path)?,
        None => from_options(parsed)?,
    };
    leave_devices(&record, &mut resources);
    cgroup::update(&record.group(), &record.unit, &resources)?;
    Ok(0)
}

/// Engines hand over the whole document when they change one number of it. Rules for devices that are those of the configuration are
/// no change, and must not take away what others have added to the group since.
fn leave_devices(record: &Record, resources: &mut Resources) {
    if resources.devices.is_empty() {
        return;
    }
    let configured =
        config::load(&record.bundle, &record.config).ok().and_then(|spec| spec.linux?.resources);
    if configured.is_some_and(|configured| configured.devices == resources.devices) {
        resources.devices.clear();
    }
}

fn read(path: &str) -> Result<Resources> {
    let mut text = Vec::new();
    let what = || format!("read `{path}`");
    if path == "-" {
        std::io::stdin().take(1 << 20).read_to_end(&mut text).map_err(step(what()))?;
    } else {
        let file = std::fs::File::open(path).map_err(step(what()))?;
        file.take(1 << 20).read_to_end(&mut text).map_err(step(what()))?;
    }
    serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.into(), source })
}

fn from_options(parsed: &Parsed) -> Result<Resources> {
    let text = |name: &str| parsed.value(name).unwrap_or_default().to_owned();
    Ok(Resources {
        cpu: Some(CpuResources {
            shares: parsed.number("cpu-share")?,
            quota: parsed.number("cpu-quota")?,
            burst: parsed.number("cpu-burst")?,
            period: parsed.number("cpu-period")?,
            realtime_runtime: parsed.number("cpu-rt-runtime")?,
            realtime_period: parsed.number("cpu-rt-period")?,
            cpus: text("cpuset-cpus"),
            mems: text("cpuset-mems"),
            idle: parsed.number("cpu-idle")?,
        }),
        memory: Some(MemoryResources {
            limit: bytes(parsed, "memory")?,
            reservation: bytes(parsed, "memory-reservation")?,
            swap: bytes(parsed, "memory-swap")?,
            kernel: bytes(parsed, "kernel-memory")?,
            kernel_tcp: bytes(parsed, "kernel-memory-tcp")?,
            ..MemoryResources::default()
        }),
        pids: Some(PidsResources { limit: parsed.number("pids-limit")? }),
        block_io: Some(BlockIoResources {
            weight: parsed.number("blkio-weight")?,
            ..BlockIoResources::default()
        }),
        ..Resources::default()
    })
}

/// Reads `512m`, `1GiB`, `-1` as bytes.
fn bytes(parsed: &Parsed, name: &str) -> Result<Option<i64>> {
    let Some(text) = parsed.value(name) else { return Ok(None) };
    let bad = || Error::Usage(format!("invalid value {text:?} for --{name}"));
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches("ib").trim_end_matches('b');
    let (digits, shift) = match digits.chars().last() {
        Some('k') => (&digits[..digits.len() - 1], 10),
        Some('m') => (&digits[..digits.len() - 1], 20),
        Some('g') => (&digits[..digits.len() - 1], 30),
        Some('t') => (&digits[..digits.len() - 1], 40),
        _ => (digits, 0),
    };
    let number: i64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Words, parse};

    #[test]
    fn sizes_have_units() {
        for (text, want) in
            [("512m", 512 << 20), ("1GiB", 1 << 30), ("-1", -1), ("7", 7), ("2kb", 2048)]
        {
            let line = vec![format!("--memory={text}")];
            let parsed = parse(OPTIONS, &line, Words::Any).unwrap();
            assert_eq!(bytes(&parsed, "memory").unwrap(), Some(want), "{text}");
        }
        let parsed = parse(OPTIONS, &["--memory=x".to_owned()], Words::Any).unwrap();
        assert!(bytes(&parsed, "memory").is_err());
    }
}
