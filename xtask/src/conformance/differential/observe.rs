//! What the kernel and the file system show of a container from outside, as facts with names, without what differs from run to run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::Result;

use super::bundle::Site;
use crate::conformance::lane::group;

/// Facts by name.
pub type Facts = BTreeMap<String, String>;

/// Fields of `/proc/PID/status` that a runtime decides.
const STATUS: &[&str] = &[
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "NSpid",
    "Threads",
    "SigBlk",
    "SigIgn",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed_list",
    "Mems_allowed_list",
    "CoreDumping",
    "THP_enabled",
    "Speculation_Store_Bypass",
    "SpeculationIndirectBranch",
];

const FILES: &[&str] = &[
    "oom_score_adj",
    "coredump_filter",
    "personality",
    "loginuid",
    "sessionid",
    "attr/current",
    "timens_offsets",
    "uid_map",
    "gid_map",
    "setgroups",
    "comm",
];

const NAMESPACES: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// Gathers everything about process `pid` under names that start with `who`.
pub fn process(facts: &mut Facts, who: &str, pid: u32, site: &Site) -> Result<()> {
    let base = format!("/proc/{pid}");
    let read = |file: &str| {
        fs::read(format!("{base}/{file}")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut note = |name: String, value: String| facts.insert(format!("{who} {name}"), value);
    for line in read("status")?.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        if STATUS.contains(&key) {
            let value = if key == "NSpid" {
                value.split_whitespace().count().to_string()
            } else {
                words(value)
            };
            note(format!("status {key}"), value);
        }
    }
    for line in read("limits")?.lines().skip(1) {
        let (name, rest) = line.split_at(line.len().min(26));
        note(format!("limit {}", name.trim()), words(rest));
    }
    for file in FILES {
        note(
            (*file).to_owned(),
            words(&read(file).unwrap_or_else(|error| error.kind().to_string())),
        );
    }
    note("environment".into(), read("environ")?.trim_end_matches('\0').replace('\0', " | "));
    note("command".into(), read("cmdline")?.trim_end_matches('\0').replace('\0', " "));
    for (n, line) in read("cgroup")?.lines().enumerate() {
        let mut parts = line.splitn(3, ':');
        let name = parts.nth(1).unwrap_or_default();
        note(format!("group of `{name}`"), site.plain(parts.next().unwrap_or_default()));
        let _ = n;
    }
    for link in ["cwd", "root", "exe"] {
        let target = fs::read_link(format!("{base}/{link}")).unwrap_or_default();
        note(link.into(), site.plain(&target.display().to_string()));
    }
    for kind in NAMESPACES {
        note(format!("namespace {kind}"), namespace(pid, kind, site));
    }
    let stat = read("stat")?;
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    note(
        "leads its session and group".into(),
        format!("{} {}", fields[3] == pid.to_string(), fields[2] == pid.to_string()),
    );
    note("has a controlling terminal".into(), (fields[4] != "0").to_string());
    note("nice, policy".into(), format!("{} {}", fields[16], fields[38]));
    note("I/O priority".into(), io_priority(pid));
    note("descriptors".into(), descriptors(&base, site));
    mounts(facts, who, &read("mountinfo")?, site);
    Ok(())
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn io_priority(pid: u32) -> String {
    let mut command = std::process::Command::new("ionice");
    crate::shell::output(command.args(["-p", &pid.to_string()])).unwrap_or_default()
}

fn namespace(pid: u32, kind: &str, site: &Site) -> String {
    let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let own = link(&pid.to_string());
    if own == link("self") {
        "the host's".into()
    } else if own == link(&site.other.to_string()) {
        "the other's".into()
    } else {
        "its own".into()
    }
}

fn descriptors(base: &str, site: &Site) -> String {
    let mut list = Vec::new();
    for entry in fs::read_dir(format!("{base}/fd")).into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        let target = target.split(":[").next().unwrap_or_default().to_owned();
        list.push((
            entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0),
            site.plain(&target),
        ));
    }
    list.sort();
    list.iter().map(|(fd, target)| format!("{fd}={target}")).collect::<Vec<_>>().join(" ")
}

/// Notes each mount under its mount point; where several lie over each other, in their order.
fn mounts(facts: &mut Facts, who: &str, text: &str, site: &Site) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let Some(dash) = fields.iter().position(|field| *field == "-") else { continue };
        let propagation =
            fields[6..dash].iter().map(|field| field.split(':').next().unwrap_or_default());
        let propagation = propagation.collect::<Vec<_>>().join(",");
        let n = seen.entry(fields[4]).or_default();
        let value = format!(
            "{} {} [{propagation}] {} {} {}",
            site.plain(fields[3]),
            fields[5],
            fields[dash + 1],
            site.plain(fields[dash + 2]),
            options(fields[dash + 3], site)
        );
        facts.insert(format!("{who} mount {}#{n}", site.plain(fields[4])), value);
        *n += 1;
    }
}

/// Options of a file system in a fixed order.
fn options(text: &str, site: &Site) -> String {
    let mut list: Vec<&str> = text.split(',').collect();
    list.sort_unstable();
    site.plain(&list.join(","))
}

/// Notes everything below `/dev` as process `pid` sees it.
pub fn devices(facts: &mut Facts, pid: u32) {
    tree(facts, "node", Path::new(&format!("/proc/{pid}/root/dev")), "/dev", 3);
}

/// Notes the files below `dir`, `depth` levels deep.
pub fn tree(facts: &mut Facts, what: &str, dir: &Path, shown: &str, depth: usize) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        let kind = meta.file_type();
        let name = format!("{shown}/{}", entry.file_name().to_string_lossy());
        let mut value = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        if kind.is_symlink() {
            value = format!("-> {}", fs::read_link(entry.path()).unwrap_or_default().display());
        } else if kind.is_char_device() || kind.is_block_device() {
            let numbers = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
            value.push_str(&format!(" {}:{}", numbers.0, numbers.1));
        }
        if kind.is_dir() && depth > 1 {
            tree(facts, what, &entry.path(), &name, depth - 1);
        }
        facts.insert(format!("{what} {name}"), value);
    }
}

/// Files of control groups whose values a runtime decides: controller, file.
const GROUP_FILES: &[(&str, &[&str])] = &[
    (
        "memory",
        &[
            "memory.limit_in_bytes",
            "memory.soft_limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "memory.swappiness",
            "memory.kmem.limit_in_bytes",
            "memory.use_hierarchy",
            "memory.oom_control",
            "memory.max",
            "memory.high",
            "memory.low",
            "memory.min",
            "memory.swap.max",
            "memory.oom.group",
        ],
    ),
    (
        "cpu",
        &[
            "cpu.shares",
            "cpu.cfs_quota_us",
            "cpu.cfs_period_us",
            "cpu.cfs_burst_us",
            "cpu.rt_runtime_us",
            "cpu.idle",
            "cpu.max",
            "cpu.max.burst",
            "cpu.weight",
        ],
    ),
    ("cpuset", &["cpuset.cpus", "cpuset.mems", "cpuset.cpu_exclusive", "cpuset.cpus.partition"]),
    ("pids", &["pids.max"]),
    ("devices", &["devices.list"]),
    ("freezer", &["freezer.state", "cgroup.freeze"]),
    (
        "blkio",
        &["blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device", "blkio.weight"],
    ),
    ("io", &["io.max", "io.weight"]),
    ("hugetlb", &["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"]),
    ("name=systemd", &["notify_on_release", "cgroup.clone_children"]),
    ("cgroup", &["cgroup.subtree_control", "cgroup.type", "cgroup.controllers"]),
];

/// Notes the values in the groups of process `pid`.
pub fn groups(facts: &mut Facts, who: &str, pid: u32) -> Result<()> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    for (controller, files) in GROUP_FILES {
        let Ok((dir, _)) = group(&text, controller) else { continue };
        for file in *files {
            if let Ok(value) = fs::read_to_string(dir.join(file)) {
                // The list of allowed devices has no order.
                let mut lines: Vec<String> = value
                    .lines()
                    .filter(|line| !line.starts_with("oom_kill "))
                    .map(words)
                    .collect();
                lines.sort();
                lines.dedup();
                facts.insert(format!("{who} {file}"), lines.join("; "));
            }
        }
        if let Ok(meta) = fs::metadata(&dir) {
            facts.insert(
                format!("{who} mode of `{controller}`"),
                format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid()),
            );
        }
    }
    Ok(())
}

impl Site {
    /// Replaces what differs from run to run.
    pub fn plain(&self, text: &str) -> String {
        let text = text.replace(&self.dir.display().to_string(), "BUNDLE");
        let text = text.replace(
            self.dir
                .display()
                .to_string()
                .trim_start_matches("/var/tmp")
                .trim_start_matches("/var"),
            "BUNDLE",
        );
        let text =
            text.replace(&self.group, "GROUP").replace(self.group.trim_start_matches('/'), "GROUP");
        text.replace(&self.id, "ID")
    }
}
