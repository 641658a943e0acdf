//! `update`.

use std::io::Read;

use types::oci::runtime::{
    BlockIoResources, CpuResources, MemoryResources, PidsResources, Resources, Status,
};

use super::{Globals, only_id};
use crate::args::{Opt, Parsed, valued};
use crate::cgroup;
use crate::error::{Error, Result, step};

/// The options.
pub(super) const OPTIONS: &[Opt] = &[
    valued("resources", 'r'),
    valued("blkio-weight", '\0'),
    valued("cpu-period", '\0'),
    valued("cpu-quota", '\0'),
    valued("cpu-burst", '\0'),
    valued("cpu-share", '\0'),
    valued("cpu-rt-period", '\0'),
    valued("cpu-rt-runtime", '\0'),
    valued("cpuset-cpus", '\0'),
    valued("cpuset-mems", '\0'),
    valued("cpu-idle", '\0'),
    valued("kernel-memory", '\0'),
    valued("kernel-memory-tcp", '\0'),
    valued("memory", '\0'),
    valued("memory-reservation", '\0'),
    valued("memory-swap", '\0'),
    valued("pids-limit", '\0'),
];

/// Changes the limits of a container.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(only_id(parsed)?)?;
    let record = dir.record()?;
    if dir.status(&record) == Status::Stopped {
        return Err(Error::NotRunning);
    }
    let resources = match parsed.value("resources") {
        Some(path) => read(path)?,
        None => from_options(parsed)?,
    };
    cgroup::update(&record.group(), &record.unit, &resources)?;
    Ok(0)
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
