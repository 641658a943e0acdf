//! From a container's record to the OCI `config.json`. Pure: everything that is looked up on the host comes in by [`Input`].

pub(crate) mod capabilities;
mod mounts;
mod resources;
pub(crate) mod seccomp;
pub(crate) mod user;

use std::collections::BTreeMap;
use std::path::PathBuf;

use types::container::{ContainerConfig, HostConfig, Ulimit};
use types::oci::runtime::{
    Capabilities, ConsoleSize, Device, DeviceRule, Linux, Namespace, NamespaceKind, Process,
    Rlimit, Root, SPEC_VERSION, Seccomp, Spec, User,
};

use crate::mountpoint::MountPoint;
use crate::{EngineError, Result};
use user::ProcessUser;

pub(crate) use resources::{block_devices, resources};

/// The path that Docker's containers look for programs in.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the init process of `--init` is.
pub(crate) const INIT_PATH: &str = "/sbin/docker-init";

/// What Docker hides.
pub(crate) const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// What Docker makes read-only.
pub(crate) const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Whose namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// A new one.
    Own,
    /// The host's: it is not created.
    Host,
    /// Another container's.
    Join(PathBuf),
}

/// The namespaces of a container.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    pub(crate) network: Share,
    pub(crate) pid: Share,
    pub(crate) ipc: Share,
    pub(crate) uts: Share,
    pub(crate) cgroup: Share,
    pub(crate) time: Share,
}

/// A device that a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostDevice {
    /// In the container.
    pub(crate) path: String,
    /// `b` or `c`.
    pub(crate) kind: char,
    pub(crate) major: i64,
    pub(crate) minor: i64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// `rwm`; none makes the node without a rule (privileged has one rule for all).
    pub(crate) access: Option<String>,
}

/// Where the engine keeps the files that are mounted over `/etc`.
#[derive(Clone, Debug)]
pub(crate) struct EtcFiles {
    pub(crate) hosts: PathBuf,
    pub(crate) hostname: PathBuf,
    pub(crate) resolv_conf: PathBuf,
}

/// Everything that a spec is made from.
pub(crate) struct Input<'a> {
    pub(crate) config: &'a ContainerConfig,
    pub(crate) host: &'a HostConfig,
    pub(crate) path: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) mounts: &'a [MountPoint],
    pub(crate) rootfs: PathBuf,
    pub(crate) user: ProcessUser,
    pub(crate) namespaces: Namespaces,
    pub(crate) etc: Option<EtcFiles>,
    /// A tmpfs of the engine, shared by containers with one ipc namespace; none makes a private one.
    pub(crate) shm: Option<PathBuf>,
    pub(crate) cgroups_path: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) seccomp: Option<Seccomp>,
    pub(crate) no_new_privileges: bool,
    pub(crate) devices: Vec<HostDevice>,
    pub(crate) block_devices: BTreeMap<String, (i64, i64)>,
    pub(crate) ulimits: &'a BTreeMap<String, Ulimit>,
    /// The program of `--init` on the host.
    pub(crate) init: Option<PathBuf>,
    pub(crate) default_shm_bytes: u64,
}

/// Builds the spec.
///
/// # Errors
/// `Invalid`: an option that cannot be expressed.
pub(crate) fn build(input: &Input<'_>) -> Result<Spec> {
    Ok(Spec {
        oci_version: SPEC_VERSION.to_owned(),
        process: Some(process(input)?),
        root: Some(Root {
            path: input.rootfs.display().to_string(),
            readonly: input.host.readonly_rootfs,
        }),
        hostname: if input.namespaces.uts == Share::Own {
            input.config.hostname.clone()
        } else {
            String::new()
        },
        domainname: if input.namespaces.uts == Share::Own {
            input.config.domainname.clone()
        } else {
            String::new()
        },
        mounts: mounts::mounts(input)?,
        annotations: input.host.annotations.clone().unwrap_or_default(),
        linux: Some(linux(input)?),
        ..Spec::default()
    })
}

fn process(input: &Input<'_>) -> Result<Process> {
    let caps = input.capabilities.clone();
    let [height, width] = input.host.console_size;
    let cwd = if input.config.working_dir.is_empty() { "/" } else { &input.config.working_dir };
    Ok(Process {
        terminal: input.config.tty,
        console_size: (input.config.tty && height > 0 && width > 0)
            .then(|| ConsoleSize { height: height.into(), width: width.into() }),
        user: oci_user(&input.user),
        args: argv(input),
        env: environment(input.config, &input.user.home),
        cwd: crate::mountpoint::clean(cwd),
        capabilities: Some(capability_sets(&caps)),
        rlimits: rlimits(input)?,
        no_new_privileges: input.no_new_privileges,
        oom_score_adj: Some(i32::try_from(input.host.oom_score_adj).unwrap_or(0)),
        ..Process::default()
    })
}

pub(crate) fn oci_user(user: &ProcessUser) -> User {
    // Docker lists the primary group among the additional ones, so that files of that group stay reachable after setgid.
    let mut additional_gids = vec![user.gid];
    additional_gids.extend(&user.groups);
    User { uid: user.uid, gid: user.gid, additional_gids, ..User::default() }
}

/// Ambient and inheritable stay empty: a process that is not root gets nothing from them (CVE-2022-24769).
pub(crate) fn capability_sets(caps: &[String]) -> Capabilities {
    let caps = caps.to_vec();
    Capabilities {
        bounding: caps.clone(),
        effective: caps.clone(),
        permitted: caps,
        ..Capabilities::default()
    }
}

fn argv(input: &Input<'_>) -> Vec<String> {
    let mut argv = Vec::new();
    if input.init.is_some() {
        argv.extend([INIT_PATH.to_owned(), "--".to_owned()]);
    }
    argv.push(input.path.to_owned());
    argv.extend(input.args.iter().cloned());
    argv
}

/// Docker's order: what the engine gives, then what was asked; an entry without `=` takes a variable away.
pub(crate) fn environment(config: &ContainerConfig, home: &str) -> Vec<String> {
    let mut env = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={}", config.hostname)];
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    apply_env(&mut env, config.env.as_deref().unwrap_or_default());
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
    env
}

/// Replaces, appends or removes variables.
pub(crate) fn apply_env(env: &mut Vec<String>, changes: &[String]) {
    for change in changes {
        let (key, given) =
            change.split_once('=').map_or((change.as_str(), false), |(k, _)| (k, true));
        let same = |entry: &String| entry.split('=').next() == Some(key);
        match (env.iter().position(same), given) {
            (Some(at), true) => change.clone_into(&mut env[at]),
            (None, true) => env.push(change.clone()),
            (Some(at), false) => {
                env.remove(at);
            }
            (None, false) => {}
        }
    }
}

fn rlimits(input: &Input<'_>) -> Result<Vec<Rlimit>> {
    let mut limits = input.ulimits.clone();
    for limit in input.host.ulimits.iter().flatten() {
        limits.insert(limit.name.clone(), limit.clone());
    }
    limits.values().map(rlimit).collect()
}

const RLIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads one ulimit; -1 is no limit.
///
/// # Errors
/// `Invalid`, in Docker's words.
pub(crate) fn rlimit(limit: &Ulimit) -> Result<Rlimit> {
    let name = limit.name.to_ascii_lowercase();
    if !RLIMITS.contains(&name.as_str()) {
        return Err(EngineError::invalid(format!("invalid ulimit type: {}", limit.name)));
    }
    let value = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    let (soft, hard) = (value(limit.soft), value(limit.hard));
    if soft > hard {
        return Err(EngineError::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            limit.soft, limit.hard
        )));
    }
    Ok(Rlimit { kind: format!("RLIMIT_{}", name.to_ascii_uppercase()), hard, soft })
}

fn linux(input: &Input<'_>) -> Result<Linux> {
    let mut resources = resources(input.host, &input.block_devices);
    resources.devices = device_rules(input)?;
    let own = |list: Option<&Vec<String>>, default: &[&str]| match list {
        _ if input.host.privileged => Vec::new(),
        Some(list) => list.clone(),
        None => default.iter().map(|path| (*path).to_owned()).collect(),
    };
    Ok(Linux {
        sysctl: sysctls(input),
        resources: Some(resources),
        cgroups_path: input.cgroups_path.clone(),
        namespaces: namespaces(&input.namespaces),
        devices: input.devices.iter().map(device).collect(),
        seccomp: input.seccomp.clone(),
        rootfs_propagation: mounts::root_propagation(input.mounts),
        masked_paths: own(input.host.masked_paths.as_ref(), &MASKED),
        readonly_paths: own(input.host.readonly_paths.as_ref(), &READONLY),
        ..Linux::default()
    })
}

fn namespaces(wanted: &Namespaces) -> Vec<Namespace> {
    let mut list = vec![Namespace { kind: NamespaceKind::Mount, path: String::new() }];
    for (kind, share) in [
        (NamespaceKind::Network, &wanted.network),
        (NamespaceKind::Uts, &wanted.uts),
        (NamespaceKind::Pid, &wanted.pid),
        (NamespaceKind::Ipc, &wanted.ipc),
        (NamespaceKind::Cgroup, &wanted.cgroup),
        (NamespaceKind::Time, &wanted.time),
    ] {
        match share {
            Share::Own => list.push(Namespace { kind, path: String::new() }),
            Share::Host => {}
            Share::Join(path) => list.push(Namespace { kind, path: path.display().to_string() }),
        }
    }
    list
}

/// Docker opens low ports and ping to every user inside a network namespace of the container's own.
fn sysctls(input: &Input<'_>) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    if input.namespaces.network == Share::Own && !input.host.privileged {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        sysctls.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
    }
    sysctls.extend(input.host.sysctls.clone().unwrap_or_default());
    sysctls
}

fn device(device: &HostDevice) -> Device {
    Device {
        path: device.path.clone(),
        kind: device.kind.to_string(),
        major: device.major,
        minor: device.minor,
        file_mode: Some(device.mode),
        uid: Some(device.uid),
        gid: Some(device.gid),
    }
}

fn rule(
    allow: bool,
    kind: &str,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> DeviceRule {
    DeviceRule { allow, kind: kind.to_owned(), major, minor, access: access.to_owned() }
}

/// Nothing, then making any node, then null, zero, random, urandom, tty and console; the runtime adds its own ptys.
fn device_rules(input: &Input<'_>) -> Result<Vec<DeviceRule>> {
    if input.host.privileged {
        return Ok(vec![rule(true, "", None, None, "rwm")]);
    }
    let mut rules = vec![
        rule(false, "", None, None, "rwm"),
        rule(true, "c", None, None, "m"),
        rule(true, "b", None, None, "m"),
    ];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1)] {
        rules.push(rule(true, "c", Some(major), Some(minor), "rwm"));
    }
    rules.push(rule(false, "c", Some(10), Some(229), "rwm"));
    for device in &input.devices {
        if let Some(access) = &device.access {
            let kind = device.kind.to_string();
            rules.push(rule(true, &kind, Some(device.major), Some(device.minor), access));
        }
    }
    for text in input.host.device_cgroup_rules.iter().flatten() {
        rules.push(parse_device_rule(text)?);
    }
    Ok(rules)
}

/// Reads `c 13:* rwm`.
///
/// # Errors
/// `Invalid`, in Docker's words.
pub(crate) fn parse_device_rule(text: &str) -> Result<DeviceRule> {
    let bad = || EngineError::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let mut parts = text.split_whitespace();
    let kind = parts.next().filter(|k| ["a", "b", "c"].contains(k)).ok_or_else(bad)?;
    let (major, minor) = parts.next().and_then(|n| n.split_once(':')).ok_or_else(bad)?;
    let access = parts.next().unwrap_or("rwm");
    if parts.next().is_some() || access.is_empty() || !access.chars().all(|c| "rwm".contains(c)) {
        return Err(bad());
    }
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse::<u32>().map(|n| Some(i64::from(n))).map_err(|_| bad()),
    };
    Ok(rule(true, kind, number(major)?, number(minor)?, access))
}

#[cfg(test)]
mod tests;
