//! What of a create or update is refused, in Docker's words, and the defaults that `inspect` shows. Pure but for [`Host::read`].

use std::collections::BTreeSet;

use types::container::{ContainerConfig, HostConfig, RestartPolicy};

use crate::options::EngineOptions;
use crate::{EngineError, Result, signals};

/// The least memory that a container may be given; bytes.
const MEMORY_MIN: i64 = 6 << 20;

/// What the host has.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) cpus: u32,
    /// Of `/sys/devices/system/cpu/online`.
    pub(crate) online: BTreeSet<u32>,
    pub(crate) capabilities: Vec<&'static str>,
    pub(crate) kernel: (u32, u32),
    pub(crate) unified: bool,
    pub(crate) swap_accounting: bool,
}

impl Host {
    /// Reads it once.
    pub(crate) fn read() -> Self {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        let online = cpu_list(online.trim()).unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        let unified = crate::evidence::is_unified();
        let v1_swap = "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes";
        Self {
            cpus: u32::try_from(cpus.max(online.len())).unwrap_or(1),
            online,
            capabilities: crate::spec::capabilities::of_host(),
            kernel: (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)),
            unified,
            swap_accounting: unified || std::path::Path::new(v1_swap).exists(),
        }
    }
}

/// Reads `0-3,7`.
fn cpu_list(text: &str) -> Option<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        if to < from || to > 8191 {
            return None;
        }
        found.extend(from..=to);
    }
    Some(found)
}

fn refuse<T>(text: impl Into<String>) -> Result<T> {
    Err(EngineError::invalid(text))
}

/// Checks limits and fills what follows from others; returns warnings.
///
/// # Errors
/// `Invalid`.
pub(crate) fn limits(host: &mut HostConfig, machine: &Host) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    memory(host, machine, &mut warnings)?;
    cpu(host, machine)?;
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        let adj = host.oom_score_adj;
        return refuse(format!("Invalid value {adj}, range for oom score adj is [-1000, 1000]"));
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    if host.pids_limit.is_some_and(|limit| limit < -1) {
        return refuse("Invalid pids limit: must be -1, 0 (unlimited) or positive");
    }
    for limit in host.ulimits.iter().flatten() {
        crate::spec::rlimit(limit)?;
    }
    for rule in host.device_cgroup_rules.iter().flatten() {
        crate::spec::parse_device_rule(rule)?;
    }
    Ok(warnings)
}

fn memory(host: &mut HostConfig, machine: &Host, warnings: &mut Vec<String>) -> Result<()> {
    if host.memory < 0 || (host.memory > 0 && host.memory < MEMORY_MIN) {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if host.memory_reservation > 0 && host.memory_reservation < MEMORY_MIN {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if host.memory > 0 && host.memory_reservation > host.memory {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    match host.memory_swappiness {
        // The client's way to say nothing.
        Some(-1) => host.memory_swappiness = None,
        Some(value) if !(0..=100).contains(&value) => {
            return refuse(format!(
                "Invalid value: {value}, valid memory swappiness range is 0-100"
            ));
        }
        Some(_) if machine.unified => {
            host.memory_swappiness = None;
            warnings.push("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.".into());
        }
        _ => {}
    }
    if host.memory > 0 && !machine.swap_accounting && host.memory_swap > 0 {
        host.memory_swap = -1;
        warnings.push("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.".into());
    }
    // As much swap again as memory, when nothing is said.
    if host.memory > 0 && host.memory_swap == 0 && machine.swap_accounting {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    if host.oom_kill_disable == Some(true) && machine.unified {
        host.oom_kill_disable = None;
        warnings
            .push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".into());
    } else if host.oom_kill_disable == Some(true) && host.memory == 0 {
        warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".into());
    }
    Ok(())
}

fn cpu(host: &HostConfig, machine: &Host) -> Result<()> {
    if host.nano_cpus != 0 {
        let both = |what: &str| {
            refuse(format!("Conflicting options: Nano CPUs and {what} cannot both be set"))
        };
        if host.cpu_period > 0 {
            return both("CPU Period");
        }
        if host.cpu_quota > 0 {
            return both("CPU Quota");
        }
        let most = i64::from(machine.cpus) * 1_000_000_000;
        if host.nano_cpus < 10_000_000 || host.nano_cpus > most {
            let n = machine.cpus;
            return refuse(format!(
                "range of CPUs is from 0.01 to {n}.00, as there are only {n} CPUs available"
            ));
        }
    }
    if host.cpu_shares < 0 {
        return refuse(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            host.cpu_shares
        ));
    }
    if host.cpu_period != 0 && !(1000..=1_000_000).contains(&host.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    let Some(wanted) = cpu_list(&host.cpuset_cpus) else {
        return refuse(format!("invalid CPU set: {}", host.cpuset_cpus));
    };
    if !machine.online.is_empty() && !wanted.is_subset(&machine.online) {
        let have: Vec<String> = machine.online.iter().map(u32::to_string).collect();
        return refuse(format!(
            "Requested CPUs are not available - requested {}, available: {}",
            host.cpuset_cpus,
            have.join(",")
        ));
    }
    match cpu_list(&host.cpuset_mems) {
        Some(_) => Ok(()),
        None => refuse(format!("invalid memory nodes: {}", host.cpuset_mems)),
    }
}

/// Checks a restart policy.
///
/// # Errors
/// `Invalid`.
pub(crate) fn restart_policy(policy: &RestartPolicy, auto_remove: bool) -> Result<()> {
    match policy.name.as_str() {
        "" | "no" => {}
        _ if auto_remove => {
            return refuse("can't create 'AutoRemove' container with restart policy");
        }
        "always" | "unless-stopped" | "on-failure" => {}
        other => {
            return refuse(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    }
    if policy.maximum_retry_count < 0 {
        return refuse("invalid restart policy: maximum retry count cannot be negative");
    }
    if policy.maximum_retry_count != 0 && policy.name != "on-failure" {
        return refuse(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        );
    }
    Ok(())
}

/// Checks what belongs to the container itself.
///
/// # Errors
/// `Invalid`.
pub(crate) fn config(config: &ContainerConfig) -> Result<()> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return refuse(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        ));
    }
    if let Some(signal) = config.stop_signal.as_deref().filter(|signal| !signal.is_empty()) {
        signals::parse(signal)?;
    }
    if config.hostname.len() > 64 || config.hostname.bytes().any(|b| b <= b' ' || b == b'/') {
        return refuse(format!("invalid hostname format: {}", config.hostname));
    }
    for entry in config.env.iter().flatten() {
        if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
            return refuse(format!("invalid environment variable: {entry}"));
        }
    }
    let words = config.entrypoint.iter().chain(&config.cmd).flatten();
    if words.into_iter().any(|word| word.contains('\0')) {
        return refuse("invalid command: it contains a NUL byte");
    }
    for port in config.exposed_ports.iter().flat_map(std::collections::BTreeMap::keys) {
        crate::ports::parse(port)?;
    }
    match &config.healthcheck {
        Some(health) => self::health(health),
        None => Ok(()),
    }
}

fn health(health: &types::container::Healthcheck) -> Result<()> {
    for (value, name) in [
        (health.interval, "Interval"),
        (health.timeout, "Timeout"),
        (health.start_period, "StartPeriod"),
        (health.start_interval, "StartInterval"),
    ] {
        if value != 0 && value < 1_000_000 {
            return refuse(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    if health.retries < 0 { refuse("Retries in Healthcheck cannot be negative") } else { Ok(()) }
}

/// Fills what `inspect` shows of a host config that says nothing, and checks the words that are left.
///
/// # Errors
/// `Invalid`.
pub(crate) fn host(host: &mut HostConfig, options: &EngineOptions) -> Result<()> {
    let fill = |field: &mut String, value: &str| {
        if field.is_empty() {
            value.clone_into(field);
        }
    };
    if host.network_mode == "default" {
        host.network_mode.clear();
    }
    fill(&mut host.network_mode, "bridge");
    fill(&mut host.ipc_mode, "private");
    fill(&mut host.cgroupns_mode, "private");
    fill(&mut host.runtime, &options.default_runtime);
    fill(&mut host.restart_policy.name, "no");
    if host.shm_size == 0 {
        host.shm_size = i64::try_from(options.default_shm_bytes).unwrap_or(64 << 20);
    }
    if host.log_config.r#type.is_empty() {
        host.log_config.r#type.clone_from(&options.log_driver);
        if host.log_config.config.is_empty() {
            host.log_config.config.clone_from(&options.log_options);
        }
    }
    if host.init.is_none() && options.default_init {
        host.init = Some(true);
    }
    if !host.privileged {
        let list = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect());
        if host.masked_paths.is_none() {
            host.masked_paths = list(&crate::spec::MASKED);
        }
        if host.readonly_paths.is_none() {
            host.readonly_paths = list(&crate::spec::READONLY);
        }
    }
    modes(host, options)
}

fn modes(host: &HostConfig, options: &EngineOptions) -> Result<()> {
    if !options.runtimes.contains_key(&host.runtime) {
        return refuse(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    if !["json-file", "local", "none"].contains(&host.log_config.r#type.as_str()) {
        let driver = &host.log_config.r#type;
        return refuse(format!("logger: no log driver named '{driver}' is registered"));
    }
    let container =
        |mode: &str| mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    let check = |ok: bool, what: &str, mode: &str| {
        if ok { Ok(()) } else { refuse(format!("invalid {what} mode: {mode}")) }
    };
    let ipc = host.ipc_mode.as_str();
    let plain = ["private", "shareable", "host", "none"];
    if !(plain.contains(&ipc) || container(ipc)) {
        return refuse(format!("invalid IPC mode: {ipc}"));
    }
    let pid = host.pid_mode.as_str();
    if !(["", "host", "private"].contains(&pid) || container(pid)) {
        return refuse(format!("invalid PID mode: {pid}"));
    }
    if !["", "host", "private"].contains(&host.uts_mode.as_str()) {
        return refuse(format!("invalid UTS mode: {}", host.uts_mode));
    }
    check(["", "host"].contains(&host.userns_mode.as_str()), "userns", &host.userns_mode)?;
    check(["", "host", "private"].contains(&host.time_mode.as_str()), "time", &host.time_mode)?;
    let cgroupns = host.cgroupns_mode.as_str();
    check(["host", "private"].contains(&cgroupns), "cgroup namespace", cgroupns)?;
    if host.network_mode.starts_with("container:") && !container(&host.network_mode) {
        return refuse("invalid container format container:<name|id>");
    }
    sysctls(host)
}

fn sysctls(host: &HostConfig) -> Result<()> {
    for name in host.sysctls.iter().flat_map(std::collections::BTreeMap::keys) {
        if name.starts_with("net.") && host.network_mode == "host" {
            return refuse(format!("sysctl {name:?} not allowed in host network namespace"));
        }
        if (name.starts_with("kernel.msg")
            || name.starts_with("kernel.shm")
            || name.starts_with("fs.mqueue"))
            && host.ipc_mode == "host"
        {
            return refuse(format!("sysctl {name:?} not allowed in host ipc namespace"));
        }
    }
    Ok(())
}

/// What cannot go together with the network mode.
///
/// # Errors
/// `Invalid`.
pub(crate) fn network(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let joined = host.network_mode.starts_with("container:");
    let conflict = |what: &str| refuse(format!("conflicting options: {what}"));
    if joined && !config.hostname.is_empty() {
        return conflict("hostname and the network mode");
    }
    if joined && host.dns.as_ref().is_some_and(|list| !list.is_empty()) {
        return conflict("dns and the network mode");
    }
    if joined && host.extra_hosts.as_ref().is_some_and(|list| !list.is_empty()) {
        return conflict("custom host-to-IP mapping and the network mode");
    }
    if joined
        && (host.publish_all_ports || host.port_bindings.as_ref().is_some_and(|p| !p.is_empty()))
    {
        return conflict("port publishing and the container type network mode");
    }
    if joined && config.exposed_ports.as_ref().is_some_and(|ports| !ports.is_empty()) {
        return conflict("port exposing and the container type network mode");
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return conflict("hostname and the UTS mode");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Host {
        Host {
            cpus: 2,
            online: BTreeSet::from([0, 1]),
            capabilities: Vec::new(),
            kernel: (6, 1),
            unified: false,
            swap_accounting: true,
        }
    }

    fn refused(change: impl FnOnce(&mut HostConfig)) -> String {
        let mut host = HostConfig::default();
        change(&mut host);
        limits(&mut host, &machine()).unwrap_err().to_string()
    }

    #[test]
    fn limits_are_refused_in_dockers_words() {
        assert_eq!(refused(|h| h.memory = 1 << 20), "Minimum memory limit allowed is 6MB");
        assert_eq!(
            refused(|h| h.nano_cpus = 3_000_000_000),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
        );
        assert!(
            refused(|h| h.memory_swap = 1 << 30)
                .starts_with("You should always set the Memory limit")
        );
        assert!(
            refused(|h| h.cpuset_cpus = "0-5".into())
                .starts_with("Requested CPUs are not available")
        );
        assert!(refused(|h| h.blkio_weight = 5).contains("blkio weight"));
        assert!(
            refused(|h| {
                h.memory = 64 << 20;
                h.memory_swap = 32 << 20;
            })
            .contains("memoryswap")
        );
        assert!(
            refused(|h| {
                h.nano_cpus = 1_000_000_000;
                h.cpu_quota = 1000;
            })
            .contains("cannot both be set")
        );
    }

    #[test]
    fn swap_is_twice_the_memory_when_nothing_is_said() {
        let mut host =
            HostConfig { memory: 64 << 20, memory_swappiness: Some(-1), ..HostConfig::default() };
        assert!(limits(&mut host, &machine()).unwrap().is_empty());
        assert_eq!(host.memory_swap, 128 << 20);
        assert_eq!(host.memory_swappiness, None);
    }

    #[test]
    fn restart_policies() {
        let policy = |name: &str, n| RestartPolicy { name: name.into(), maximum_retry_count: n };
        assert!(restart_policy(&policy("on-failure", 3), false).is_ok());
        assert!(restart_policy(&policy("always", 3), false).is_err());
        assert!(restart_policy(&policy("sometimes", 0), false).is_err());
        let error = restart_policy(&policy("always", 0), true).unwrap_err();
        assert_eq!(error.to_string(), "can't create 'AutoRemove' container with restart policy");
    }

    #[test]
    fn defaults_are_filled_as_inspect_shows_them() {
        let options = EngineOptions::new(std::path::Path::new("/"));
        let mut got = HostConfig { network_mode: "default".into(), ..HostConfig::default() };
        host(&mut got, &options).unwrap();
        assert_eq!((got.network_mode.as_str(), got.ipc_mode.as_str()), ("bridge", "private"));
        assert_eq!(got.shm_size, 64 << 20);
        assert_eq!(got.masked_paths.unwrap().len(), 12);
        let mut bad = HostConfig { runtime: "nope".into(), ..HostConfig::default() };
        let error = host(&mut bad, &options).unwrap_err();
        assert_eq!(error.to_string(), "unknown or invalid runtime name: nope");
    }

    #[test]
    fn a_relative_working_directory_is_refused() {
        let bad = ContainerConfig { working_dir: "x".into(), ..ContainerConfig::default() };
        assert!(config(&bad).unwrap_err().to_string().contains("needs to be an absolute path"));
    }
}
