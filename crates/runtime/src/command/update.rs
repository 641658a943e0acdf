//! `update`.

use std::io::Read;

use types::oci::runtime::{
    BlockIoResources, CpuResources, IntelRdt, MemoryResources, PidsResources, Resources, Status,
};

use super::{Globals, id};
use crate::args::{Opt, Parsed, number, valued};
use crate::error::{Error, Result, step};
use crate::state::{Dir, Record};
use crate::{cgroup, config, rdt};

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
    let mut resources = match parsed.text("resources") {
        Some(path) => read(path)?,
        None => from_options(parsed)?,
    };
    leave_devices(&record, &mut resources);
    let schemata = schemata(parsed)?;
    cgroup::update(&record.group(), &record.unit, &resources)?;
    match schemata {
        Some(given) => assign(&dir, record, &given).map(|()| 0),
        None => Ok(0),
    }
}

/// The Intel RDT schemata that are asked for; refused in runc's words where there is none.
fn schemata(parsed: &Parsed) -> Result<Option<IntelRdt>> {
    let given = IntelRdt {
        l3_cache_schema: parsed.text("l3-cache-schema").unwrap_or_default().to_owned(),
        mem_bw_schema: parsed.text("mem-bw-schema").unwrap_or_default().to_owned(),
        ..IntelRdt::default()
    };
    let missing = if !given.l3_cache_schema.is_empty() {
        "Intel RDT/CAT: l3 cache schema is not enabled"
    } else if !given.mem_bw_schema.is_empty() {
        "Intel RDT/MBA: memory bandwidth schema is not enabled"
    } else {
        return Ok(None);
    };
    rdt::root().map(|_| Some(given)).map_err(|_| Error::Unsupported(missing.into()))
}

/// Writes them into the container's group, which is made if the configuration had none.
fn assign(dir: &Dir, mut record: Record, given: &IntelRdt) -> Result<()> {
    let root = rdt::root()?;
    let configured = config::load(&record.bundle, &record.config)?;
    let configured = configured.linux.and_then(|linux| linux.intel_rdt).map(|rdt| rdt.clos_id);
    let group = configured.filter(|name| !name.is_empty()).unwrap_or_else(|| record.id.clone());
    let file = root.join(&group).join("schemata");
    if !file.exists() {
        let made = rdt::apply(&root, &record.id, given, record.pid)?;
        record.rdt.extend_from_slice(made.paths());
        dir.save_draft(&record)?;
        dir.publish()?;
        made.keep();
        return Ok(());
    }
    for schema in [&given.l3_cache_schema, &given.mem_bw_schema] {
        if !schema.is_empty() {
            std::fs::write(&file, format!("{schema}\n"))
                .map_err(step(format!("write {schema:?} to `{}`", file.display())))?;
        }
    }
    Ok(())
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
    let (kernel, kernel_tcp) =
        (bytes(parsed, "kernel-memory")?, bytes(parsed, "kernel-memory-tcp")?);
    Ok(Resources {
        cpu: Some(CpuResources {
            shares: value(parsed, "cpu-share", "ParseUint")?,
            quota: value(parsed, "cpu-quota", "ParseInt")?,
            burst: value(parsed, "cpu-burst", "ParseUint")?,
            period: value(parsed, "cpu-period", "ParseUint")?,
            realtime_runtime: value(parsed, "cpu-rt-runtime", "ParseInt")?,
            realtime_period: value(parsed, "cpu-rt-period", "ParseUint")?,
            cpus: text("cpuset-cpus"),
            mems: text("cpuset-mems"),
            idle: value(parsed, "cpu-idle", "ParseInt")?,
        }),
        memory: Some(MemoryResources {
            limit: bytes(parsed, "memory")?,
            reservation: bytes(parsed, "memory-reservation")?,
            swap: bytes(parsed, "memory-swap")?,
            kernel,
            kernel_tcp,
            ..MemoryResources::default()
        }),
        pids: Some(PidsResources { limit: parsed.number("pids-limit")? }),
        block_io: Some(BlockIoResources {
            weight: parsed.number("blkio-weight")?.filter(|weight| *weight != 0),
            ..BlockIoResources::default()
        }),
        ..Resources::default()
    })
}

/// Reads a number; an empty text is none. `function` is what runc's message names.
fn value<T: std::str::FromStr>(parsed: &Parsed, name: &str, function: &str) -> Result<Option<T>> {
    let read = |text: &str| {
        text.parse().map_err(|_| {
            Error::Usage(format!(
                "invalid value for {name}: strconv.{function}: parsing {text:?}: invalid syntax"
            ))
        })
    };
    parsed.text(name).map(read).transpose()
}

/// Reads `512m`, `1.5GiB`, `-1` as bytes.
fn bytes(parsed: &Parsed, name: &str) -> Result<Option<i64>> {
    let Some(text) = parsed.text(name) else { return Ok(None) };
    if text == "-1" {
        return Ok(Some(-1));
    }
    size(text)
        .map(Some)
        .ok_or_else(|| Error::Usage(format!("invalid value for {name}: invalid size: '{text}'")))
}

fn size(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
    let shift = match lower.chars().last()? {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        't' => 40,
        'p' => 50,
        _ => 0,
    };
    let digits = if shift == 0 { lower } else { &lower[..lower.len() - 1] }.trim_end();
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    if let Ok(number) = digits.parse::<i64>() {
        return number.checked_mul(1 << shift);
    }
    let number: f64 = digits.parse().ok()?;
    let whole = (number * f64::from(1_u32 << 10).powi(shift / 10)).floor();
    // Exact up to 2^53, far above any memory.
    format!("{whole:.0}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Words, parse};

    #[test]
    fn sizes_have_units() {
        for (text, want) in [
            ("512m", 512 << 20),
            ("1GiB", 1 << 30),
            ("-1", -1),
            ("7", 7),
            ("2kb", 2048),
            ("1.5g", 3 << 29),
            ("", 0),
        ] {
            let line = vec![format!("--memory={text}")];
            let parsed = parse(OPTIONS, &line, Words::Any).unwrap();
            let want = Some(want).filter(|_| !text.is_empty());
            assert_eq!(bytes(&parsed, "memory").unwrap(), want, "{text}");
        }
        let parsed = parse(OPTIONS, &["--memory=x".to_owned()], Words::Any).unwrap();
        assert!(bytes(&parsed, "memory").is_err());
    }
}
