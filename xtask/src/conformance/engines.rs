//! Section `engines`: the runtime under a private Docker, Podman and containerd from Debian's packages, each beside Debian's runc.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::checks;
use super::ctr;
use super::lane::{Kind, Lane, said};
use super::verdict::{Cell, Table, judge};
use crate::peer::Peer;
use crate::{images, packages};

/// What the checks of one column need.
struct Column {
    title: &'static str,
    ours: Lane,
    control: Lane,
    /// Whether only the checks of the short run are made.
    short: bool,
    /// Ends the engine when it is dropped.
    _engine: Peer,
    /// Removes the groups when the engine has ended.
    _groups: Groups,
}

impl Drop for Column {
    fn drop(&mut self) {
        if self.ours.kind == Kind::Podman {
            let _ = self.ours.call(&["rm", "-f", "-a", "-t", "0"]);
            let _ = self.ours.call(&["network", "prune", "-f"]);
        }
    }
}

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything, with the control beside each check.
    Full,
    /// The short checks under Docker, Podman and containerd; the control only where ours fails.
    Short,
}

/// Runs every column and returns the tables.
pub fn run(runtime: &Path, extent: Extent, filter: &[String]) -> Result<Vec<Table>> {
    packages::ensure(packages::CONFORMANCE)?;
    let image = images::test_images(&["busybox"])?.join("busybox.tar");
    let wanted = |title: &str| {
        filter.is_empty()
            || filter.iter().any(|part| title.to_lowercase().contains(&part.to_lowercase()))
    };
    let mut table = Table::new(
        "Docker and Podman",
        &checks::all().map(|check| (check.title, check.evidence)).collect::<Vec<_>>(),
    );
    for (title, start) in COLUMNS {
        let extra = title.contains('-');
        if !wanted(title) || (extra && extent == Extent::Short) {
            continue;
        }
        let column = start(runtime, &image).with_context(|| format!("start {title}"))?;
        table.push(column.title, column_of(&column, extent));
    }
    let mut tables = Vec::new();
    if !table.is_empty() {
        tables.push(table);
    }
    if wanted("containerd") {
        tables.push(ctr::run(runtime, &image, extent)?);
    }
    Ok(tables)
}

fn column_of(column: &Column, extent: Extent) -> Vec<Cell> {
    let short = column.short || extent == Extent::Short;
    let cells = checks::all().map(|check| {
        if (short && !check.short) || !check.engines.contains(&column.ours.kind) {
            return Cell::Absent;
        }
        let (ours, control) = (|| (check.probe)(&column.ours), || (check.probe)(&column.control));
        judge(&format!("{}: {}", column.title, check.title), extent == Extent::Full, ours, control)
    });
    cells.collect()
}

type Start = fn(&Path, &Path) -> Result<Column>;

const COLUMNS: &[(&str, Start)] = &[
    ("Docker", docker),
    ("Docker, `--default-runtime`", docker_default),
    ("Docker, `--userns-remap`", docker_remapped),
    ("Podman", podman),
];

/// Returns the group of this run; a part of it is each engine's parent.
pub fn group(name: &str) -> String {
    format!("/belljar-conformance-{}-{name}", std::process::id())
}

fn docker_lane(peer: &Peer, runtime: &str, group: &str) -> Result<Lane> {
    let dir = peer.dir().join(format!("lane-{runtime}"));
    fs::create_dir_all(&dir)?;
    Ok(Lane {
        kind: Kind::Docker,
        prefix: vec!["docker".into()],
        env: vec![
            ("DOCKER_HOST".into(), peer.host()),
            ("DOCKER_CONFIG".into(), peer.dir().join("client").display().to_string()),
        ],
        always: ["--runtime", runtime, "--network", "none"].map(str::to_owned).into(),
        dir,
        group: group.to_owned(),
    })
}

fn start_docker(
    title: &'static str,
    name: &'static str,
    runtime: &Path,
    image: &Path,
    more: &[&str],
    shell: &[&str],
) -> Result<Column> {
    let parent = group(name);
    let added = format!("belljar={}", runtime.display());
    let mut options = vec!["--experimental", "--cgroup-parent", &parent, "--add-runtime", &added];
    options.extend(more);
    let groups = Groups(parent.clone());
    let peer = Peer::docker_with(name, &options, shell)?;
    peer.docker_cli(&["load", "-q", "-i", image.to_str().context("a path in UTF-8")?])?;
    let (ours, control) =
        (docker_lane(&peer, "belljar", &parent)?, docker_lane(&peer, "runc", &parent)?);
    Ok(Column { title, ours, control, short: !more.is_empty(), _engine: peer, _groups: groups })
}

fn docker(runtime: &Path, image: &Path) -> Result<Column> {
    start_docker("Docker", "docker", runtime, image, &[], &[])
}

fn docker_default(runtime: &Path, image: &Path) -> Result<Column> {
    let title = "Docker, `--default-runtime`";
    let mut column =
        start_docker(title, "dockdef", runtime, image, &["--default-runtime", "belljar"], &[])?;
    column.ours.always.drain(..2);
    Ok(column)
}

/// The ranges of subordinate ids are Docker's to read from `/etc`; they are put there for it alone.
fn docker_remapped(runtime: &Path, image: &Path) -> Result<Column> {
    let file = std::env::temp_dir().join(format!("belljar-subid-{}", std::process::id()));
    fs::write(&file, "root:300000:65536\n")?;
    let file = Removed(file);
    let bind = |name: &str| format!("mount --bind '{}' /etc/{name}", file.0.display());
    let (users, groups) = (bind("subuid"), bind("subgid"));
    let title = "Docker, `--userns-remap`";
    start_docker(title, "dockmap", runtime, image, &["--userns-remap", "root"], &[&users, &groups])
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Locks in files: the default is one area of shared memory for every Podman of the host. Limits that need no capability of the host's.
/// Podman asks for a log in JSON only from runtimes that it knows by name, or that are named here.
const PODMAN_CONF: &str = r#"
[containers]
default_ulimits = ["nofile=1024:2048", "nproc=4096:4096"]
[engine]
lock_type = "file"
events_logger = "file"
runtime_supports_json = ["runc", "crun", "belljar-runtime"]
"#;

fn podman(runtime: &Path, image: &Path) -> Result<Column> {
    let parent = group("podman");
    let groups = Groups(parent.clone());
    let peer = Peer::bare("podman")?;
    let conf = peer.dir().join("containers.conf");
    fs::write(&conf, PODMAN_CONF)?;
    let ours = podman_lane(&peer, &runtime.display().to_string(), &parent, &conf)?;
    let control = podman_lane(&peer, "/usr/sbin/runc", &parent, &conf)?;
    ours.ok(&["load", "-q", "-i", image.to_str().context("a path in UTF-8")?])?;
    Ok(Column { title: "Podman", ours, control, short: false, _engine: peer, _groups: groups })
}

fn podman_lane(peer: &Peer, runtime: &str, group: &str, conf: &Path) -> Result<Lane> {
    let below = |name: &str| peer.dir().join(name).display().to_string();
    let mut prefix = peer.entry();
    prefix.extend(
        ["podman", "--cgroup-manager", "cgroupfs", "--runtime", runtime].map(str::to_owned),
    );
    for (option, dir) in [
        ("--root", "root"),
        ("--runroot", "runroot"),
        ("--tmpdir", "tmp"),
        ("--network-config-dir", "networks"),
        ("--volumepath", "volumes"),
    ] {
        prefix.extend([option.to_owned(), below(dir)]);
    }
    let dir = peer
        .dir()
        .join(format!("lane-{}", Path::new(runtime).file_name().unwrap_or_default().display()));
    fs::create_dir_all(&dir)?;
    fs::create_dir_all(peer.dir().join("networks"))?;
    Ok(Lane {
        kind: Kind::Podman,
        prefix,
        env: vec![("CONTAINERS_CONF".into(), conf.display().to_string())],
        always: ["--network", "none", "--cgroup-parent", group].map(str::to_owned).into(),
        dir,
        group: group.to_owned(),
    })
}

/// Control groups that are removed, in every hierarchy, when this value is dropped.
pub struct Groups(pub String);

impl Drop for Groups {
    fn drop(&mut self) {
        let root = Path::new("/sys/fs/cgroup");
        let mut bases = vec![root.to_owned()];
        bases.extend(fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()));
        for base in bases {
            let group = base.join(self.0.trim_start_matches('/'));
            if kernel_made(&base) {
                remove_groups(&group);
            } else if group.is_dir() && base != root {
                // Podman makes plain directories for hierarchies that are not mounted.
                let _ = fs::remove_dir_all(&group);
                let _ = fs::remove_dir(&base);
            }
        }
    }
}

/// Tells whether a directory is of a cgroup file system.
fn kernel_made(dir: &Path) -> bool {
    // CGROUP_SUPER_MAGIC and CGROUP2_SUPER_MAGIC.
    rustix::fs::statfs(dir).is_ok_and(|found| [0x27_e0eb, 0x6367_7270].contains(&found.f_type))
}

fn remove_groups(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// Returns the versions of the engines, for the heading.
pub fn versions() -> String {
    let first = |words: &[&str]| {
        let mut command = std::process::Command::new(words[0]);
        let text = said(command.args(&words[1..]), "").map(|said| said.out).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let lines = [
        &["dockerd", "--version"],
        &["podman", "--version"],
        &["containerd", "--version"],
        &["runc", "--version"],
        &["crun", "--version"],
    ];
    lines.iter().map(|words| first(*words)).collect::<Vec<_>>().join("; ")
}
