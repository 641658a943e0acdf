//! What the daemon was told, checked and completed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use engine::{CgroupDriver, EngineOptions, NamespaceDefault, RuntimeProgram};

use crate::flags::Options;

/// A daemon's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the engine is opened with.
    pub engine: EngineOptions,
    /// Where clients connect.
    pub hosts: Vec<Address>,
    /// The group of unix sockets; none takes the first of `docker` and `belljar` that exists.
    pub group: Option<String>,
    /// Where the process id is written.
    pub pidfile: PathBuf,
    /// Shown by `info`.
    pub debug: bool,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(String),
    /// The sockets that the starter of this process passed on.
    Inherited,
}

/// Why a setting is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    #[error("invalid address `{text}`: want unix://PATH, tcp://HOST:PORT or fd://")]
    Address { text: String },
    #[error(
        "refuse to listen on `{text}` without TLS: whoever can connect is root on this host; use a unix socket or a loopback address"
    )]
    Exposed { text: String },
    #[error("unknown storage driver `{name}`: there is only overlay2")]
    Storage { name: String },
    #[error(
        "unknown runtime option `{text}`: want native.cgroupdriver=cgroupfs or native.cgroupdriver=systemd"
    )]
    ExecOpt { text: String },
    #[error("unknown default runtime `{name}`: name one of {known}")]
    Runtime { name: String, known: String },
    #[error("invalid value of `{key}`: `{value}`: {want}")]
    Value { key: &'static str, value: String, want: &'static str },
}

/// Completes and checks `options` for programs that lie in `programs`.
pub(crate) fn complete(options: &Options, programs: &Path) -> Result<Settings, SettingError> {
    let mut engine = EngineOptions::new(programs);
    if let Some(root) = &options.data_root {
        engine.data_root = absolute(root);
    }
    if let Some(root) = &options.exec_root {
        engine.exec_root = absolute(root);
    }
    programs_and_cgroups(options, &mut engine)?;
    network(options, &mut engine);
    container_defaults(options, &mut engine)?;
    let default_host = vec!["unix:///run/belljar.sock".to_owned()];
    let hosts = options.hosts.as_ref().unwrap_or(&default_host);
    let hosts = hosts.iter().map(|text| address(text)).collect::<Result<_, _>>()?;
    let pidfile = options.pidfile.clone();
    Ok(Settings {
        pidfile: pidfile.unwrap_or_else(|| engine.exec_root.join("belljard.pid")),
        hosts,
        group: options.group.clone(),
        debug: options.debug.unwrap_or(false),
        engine,
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn programs_and_cgroups(options: &Options, engine: &mut EngineOptions) -> Result<(), SettingError> {
    if let Some(name) = options.storage_driver.as_ref().filter(|name| *name != "overlay2") {
        return Err(SettingError::Storage { name: name.clone() });
    }
    if let Some(shim) = &options.shim {
        engine.shim = absolute(shim);
    }
    if let Some(path) = &options.runtime_path {
        let ours = RuntimeProgram { path: absolute(path), args: Vec::new() };
        engine.runtimes.insert(EngineOptions::RUNTIME.to_owned(), ours);
    }
    for (name, runtime) in options.runtimes.iter().flatten() {
        let program = RuntimeProgram { path: runtime.path.clone(), args: runtime.args.clone() };
        engine.runtimes.insert(name.clone(), program);
    }
    if let Some(name) = &options.default_runtime {
        engine.default_runtime.clone_from(name);
    }
    if !engine.runtimes.contains_key(&engine.default_runtime) {
        let known = engine.runtimes.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(SettingError::Runtime { name: engine.default_runtime.clone(), known });
    }
    for text in options.exec_opts.iter().flatten() {
        engine.cgroup_driver = match text.as_str() {
            "native.cgroupdriver=cgroupfs" => CgroupDriver::Cgroupfs,
            "native.cgroupdriver=systemd" => CgroupDriver::Systemd,
            _ => return Err(SettingError::ExecOpt { text: text.clone() }),
        };
    }
    engine.cgroup_parent = options.cgroup_parent.clone().unwrap_or_default();
    Ok(())
}

fn network(options: &Options, engine: &mut EngineOptions) {
    if let Some(name) = &options.bridge {
        engine.bridge.name.clone_from(name);
    }
    engine.bridge.bip.clone_from(&options.bip);
    engine.bridge.mtu = options.mtu.unwrap_or(engine.bridge.mtu);
    engine.bridge.icc = options.icc.unwrap_or(engine.bridge.icc);
    engine.bridge.masquerade = options.ip_masq.unwrap_or(engine.bridge.masquerade);
    engine.dns = options.dns.clone().unwrap_or_default();
    engine.dns_options = options.dns_opts.clone().unwrap_or_default();
    engine.dns_search = options.dns_search.clone().unwrap_or_default();
    engine.insecure_registries = options.insecure_registries.clone().unwrap_or_default();
    engine.registry_mirrors = options.registry_mirrors.clone().unwrap_or_default();
}

fn container_defaults(options: &Options, engine: &mut EngineOptions) -> Result<(), SettingError> {
    if let Some(driver) = &options.log_driver {
        engine.log_driver.clone_from(driver);
    }
    engine.log_options = options.log_opts.clone().unwrap_or_default();
    engine.default_ulimits = options.default_ulimits.clone().unwrap_or_default();
    engine.default_init = options.init.unwrap_or(false);
    if let Some(path) = &options.init_path {
        engine.init = Some(absolute(path));
    }
    engine.seccomp_profile.clone_from(&options.seccomp_profile);
    engine.no_new_privileges = options.no_new_privileges.unwrap_or(false);
    engine.labels = options.labels.clone().unwrap_or_default();
    if let Some(text) = &options.default_shm_size {
        engine.default_shm_bytes = size(text).ok_or_else(|| SettingError::Value {
            key: "default-shm-size",
            value: text.clone(),
            want: "want a size like 64m",
        })?;
    }
    engine.time_namespace = match options.time_namespace.as_deref() {
        None | Some("host") => NamespaceDefault::Host,
        Some("private") => NamespaceDefault::Private,
        Some(other) => {
            let (key, want) = ("time-namespace", "want host or private");
            return Err(SettingError::Value { key, value: other.to_owned(), want });
        }
    };
    Ok(())
}

/// Reads `64m`, `1GiB` or plain bytes.
fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn address(text: &str) -> Result<Address, SettingError> {
    let bad = || SettingError::Address { text: text.to_owned() };
    if let Some(path) = text.strip_prefix("unix://") {
        return if path.starts_with('/') { Ok(Address::Unix(path.into())) } else { Err(bad()) };
    }
    if text.starts_with("fd://") {
        return Ok(Address::Inherited);
    }
    let host_port = text.strip_prefix("tcp://").ok_or_else(bad)?.trim_end_matches('/');
    let (host, port) = host_port.rsplit_once(':').ok_or_else(bad)?;
    port.parse::<u16>().map_err(|_| bad())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost",
    };
    if loopback {
        Ok(Address::Tcp(host_port.to_owned()))
    } else {
        Err(SettingError::Exposed { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &Options) -> Result<Settings, String> {
        complete(options, Path::new("/p")).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_belljars_own() {
        let settings = settings(&Options::default()).unwrap();
        assert_eq!(settings.hosts, [Address::Unix("/run/belljar.sock".into())]);
        assert_eq!(settings.pidfile, Path::new("/run/belljar/belljard.pid"));
        assert_eq!(settings.engine.shim, Path::new("/p/belljar-shim"));
    }

    #[test]
    fn addresses_that_expose_the_host_are_refused() {
        for good in ["tcp://127.0.0.1:2375", "tcp://[::1]:2375", "tcp://localhost:0"] {
            assert!(matches!(address(good), Ok(Address::Tcp(_))), "{good}");
        }
        for exposed in ["tcp://0.0.0.0:2375", "tcp://[::]:2375", "tcp://:2375", "tcp://10.0.0.1:1"]
        {
            let text = address(exposed).unwrap_err().to_string();
            assert!(text.contains("without TLS"), "{exposed}: {text}");
        }
        for bad in ["", "unix://", "unix://rel", "http://x", "tcp://127.0.0.1", "tcp://127.0.0.1:x"]
        {
            assert!(matches!(address(bad), Err(SettingError::Address { .. })), "{bad}");
        }
        assert_eq!(address("fd://").unwrap(), Address::Inherited);
    }

    #[test]
    fn wrong_settings_are_named() {
        let text = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            settings(&options).unwrap_err()
        };
        assert!(text(|o| o.storage_driver = Some("btrfs".into())).contains("`btrfs`"));
        assert!(
            text(|o| o.default_runtime = Some("x".into())).contains("`x`: name one of belljar")
        );
        assert!(text(|o| o.exec_opts = Some(vec!["a=b".into()])).contains("`a=b`"));
        assert!(text(|o| o.default_shm_size = Some("1x".into())).contains("default-shm-size"));
        assert_eq!(size("64m"), Some(64 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("99999999999999g"), None);
    }
}
