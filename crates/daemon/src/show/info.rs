//! `version` and `info`.

use std::collections::BTreeMap;

use api::system::{
    Commit, Component, IndexConfig, Info, Platform, Plugins, RegistryConfig, Runtime, Swarm,
    Version,
};
use engine::{CgroupDriver, Counts, EngineOptions};

use crate::host::Host;
use crate::server::App;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where Docker says which Go compiled it.
const LANGUAGE: &str = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
const HUB: &str = "https://index.docker.io/v1/";

/// `GET /version`.
pub(crate) fn version(host: &Host) -> Version {
    let text = |text: &str| text.to_owned();
    let details = BTreeMap::from([
        (text("ApiVersion"), api::version::MAX.to_string()),
        (text("Arch"), text(Host::go_arch())),
        (text("BuildTime"), String::new()),
        (text("Experimental"), text("false")),
        (text("GitCommit"), String::new()),
        (text("GoVersion"), text(LANGUAGE)),
        (text("KernelVersion"), host.kernel.clone()),
        (text("MinAPIVersion"), api::version::MIN.to_string()),
        (text("Os"), text("linux")),
    ]);
    let engine = Component { name: text("Engine"), version: text(VERSION), details };
    let program = |name: &str| Component {
        name: text(name),
        version: text(VERSION),
        details: BTreeMap::from([(text("GitCommit"), String::new())]),
    };
    Version {
        platform: Platform { name: text("Belljar") },
        components: vec![engine, program("belljar-runtime"), program("belljar-shim")],
        version: text(VERSION),
        api_version: api::version::MAX.to_string(),
        min_api_version: api::version::MIN.to_string(),
        git_commit: String::new(),
        go_version: text(LANGUAGE),
        os: text("linux"),
        arch: text(Host::go_arch()),
        kernel_version: host.kernel.clone(),
        build_time: String::new(),
    }
}

/// `GET /info`.
pub(crate) fn info(app: &App) -> Info {
    let (host, options) = (&app.host, app.engine.options());
    let info = Info {
        id: app.engine.id(),
        system_time: api::time::rfc3339(api::time::nanos(std::time::SystemTime::now())),
        debug: app.settings.debug,
        n_fd: std::fs::read_dir("/proc/self/fd").map_or(-1, |fds| count(fds.count())),
        n_goroutines: std::fs::read_dir("/proc/self/task").map_or(-1, |t| count(t.count())),
        kernel_version: host.kernel.clone(),
        operating_system: host.system.clone(),
        os_version: host.system_version.clone(),
        os_type: "linux".to_owned(),
        architecture: host.machine.clone(),
        ncpu: host.cpus,
        mem_total: host.memory_bytes,
        name: Host::name(),
        server_version: VERSION.to_owned(),
        swarm: Swarm { local_node_state: "inactive".to_owned(), ..Swarm::default() },
        security_options: security(host, options),
        warnings: warnings(host, app.engine.warnings()),
        ..Info::default()
    };
    with_limits(with_options(with_counts(info, app.engine.counts()), options), host)
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn with_counts(info: Info, counts: Counts) -> Info {
    Info {
        containers: counts.containers.into(),
        containers_running: counts.running.into(),
        containers_paused: counts.paused.into(),
        containers_stopped: counts.stopped.into(),
        images: counts.images.into(),
        ..info
    }
}

fn with_options(info: Info, options: &EngineOptions) -> Info {
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
    Info {
        driver: "overlay2".to_owned(),
        driver_status: driver_status(options),
        plugins: Plugins {
            volume: words(&["local"]),
            network: words(&["bridge", "host", "null"]),
            authorization: None,
            log: words(&["json-file", "local", "none"]),
        },
        logging_driver: options.log_driver.clone(),
        cgroup_driver: match options.cgroup_driver {
            CgroupDriver::Cgroupfs => "cgroupfs".to_owned(),
            CgroupDriver::Systemd => "systemd".to_owned(),
        },
        index_server_address: HUB.to_owned(),
        registry_config: registries(options),
        docker_root_dir: options.data_root.display().to_string(),
        http_proxy: env("HTTP_PROXY"),
        https_proxy: env("HTTPS_PROXY"),
        no_proxy: env("NO_PROXY"),
        labels: options.labels.clone(),
        runtimes: runtimes(options),
        default_runtime: options.default_runtime.clone(),
        live_restore_enabled: true,
        init_binary: options.init.as_ref().map(|p| p.display().to_string()).unwrap_or_default(),
        containerd_commit: Commit::default(),
        runc_commit: Commit { id: VERSION.to_owned() },
        init_commit: Commit::default(),
        ..info
    }
}

fn with_limits(info: Info, host: &Host) -> Info {
    let limits = host.limits;
    Info {
        cgroup_version: host.cgroup_version.to_owned(),
        memory_limit: limits.memory,
        swap_limit: limits.swap,
        cpu_cfs_period: limits.cpu_quota,
        cpu_cfs_quota: limits.cpu_quota,
        cpu_shares: limits.cpu_shares,
        cpu_set: limits.cpuset,
        pids_limit: limits.pids,
        oom_kill_disable: limits.oom_kill_disable,
        ipv4_forwarding: Host::forwards_ipv4(),
        ..info
    }
}

fn driver_status(options: &EngineOptions) -> Vec<[String; 2]> {
    let pair = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    vec![
        pair("Backing Filesystem", &crate::host::filesystem(&options.data_root)),
        pair("Supports d_type", "true"),
        pair("Native Overlay Diff", "true"),
    ]
}

fn runtimes(options: &EngineOptions) -> BTreeMap<String, Runtime> {
    let runtime = |program: &engine::RuntimeProgram| Runtime {
        path: program.path.display().to_string(),
        runtime_args: (!program.args.is_empty()).then(|| program.args.clone()),
    };
    options.runtimes.iter().map(|(name, program)| (name.clone(), runtime(program))).collect()
}

fn registries(options: &EngineOptions) -> RegistryConfig {
    let (nets, hosts): (Vec<String>, Vec<String>) =
        options.insecure_registries.iter().cloned().partition(|name| name.contains('/'));
    let index = |name: String, secure: bool, official: bool, mirrors: Vec<String>| {
        (name.clone(), IndexConfig { name, mirrors, secure, official })
    };
    let mut index_configs: BTreeMap<String, IndexConfig> =
        hosts.into_iter().map(|name| index(name, false, false, Vec::new())).collect();
    index_configs.extend([index(
        "docker.io".to_owned(),
        true,
        true,
        options.registry_mirrors.clone(),
    )]);
    let loopback = ["::1/128".to_owned(), "127.0.0.0/8".to_owned()];
    RegistryConfig {
        insecure_registry_cidrs: loopback.into_iter().chain(nets).collect(),
        index_configs,
        mirrors: options.registry_mirrors.clone(),
    }
}

fn security(host: &Host, options: &EngineOptions) -> Vec<String> {
    let mut all = host.security.clone();
    if let Some(profile) = &options.seccomp_profile {
        for option in all.iter_mut().filter(|o| o.starts_with("name=seccomp")) {
            *option = format!("name=seccomp,profile={profile}");
        }
    }
    if options.no_new_privileges {
        all.push("name=no-new-privileges".to_owned());
    }
    all
}

/// What a user cannot ask for on this machine, in Docker's words.
fn warnings(host: &Host, degraded: Vec<String>) -> Option<Vec<String>> {
    let limits = host.limits;
    let all = [
        (limits.memory, "WARNING: No memory limit support"),
        (limits.swap, "WARNING: No swap limit support"),
        (limits.cpu_quota, "WARNING: No cpu cfs quota support"),
        (limits.cpu_quota, "WARNING: No cpu cfs period support"),
        (limits.cpu_shares, "WARNING: No cpu shares support"),
        (limits.cpuset, "WARNING: No cpuset support"),
        (limits.pids, "WARNING: No pids limit support"),
        (Host::forwards_ipv4(), "WARNING: IPv4 forwarding is disabled"),
    ];
    let missing = all.into_iter().filter(|(has, _)| !has).map(|(_, text)| text.to_owned());
    let degraded = degraded.into_iter().map(|text| format!("WARNING: {text}"));
    let warnings: Vec<String> = missing.chain(degraded).collect();
    (!warnings.is_empty()).then_some(warnings)
}
