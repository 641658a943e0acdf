//! What a daemon says about itself when it opens the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use types::container::Ulimit;

/// Where a runtime program is and what it wants to be called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeProgram {
    /// Path or name looked up in `$PATH`.
    pub path: PathBuf,
    /// Arguments before the subcommand.
    pub args: Vec<String>,
}

/// Who manages the cgroups of containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupDriver {
    /// Directories made in cgroupfs.
    #[default]
    Cgroupfs,
    /// Scopes asked from systemd.
    Systemd,
}

/// Whether something of a container is the host's or its own by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespaceDefault {
    /// The host's.
    #[default]
    Host,
    /// The container's own.
    Private,
}

/// The default bridge network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeOptions {
    /// Name of the link; `none` switches the bridge off.
    pub name: String,
    /// Address and prefix length of the bridge, such as `172.18.0.1/16`; chosen when absent.
    pub bip: Option<String>,
    /// Whether containers may talk to each other.
    pub icc: bool,
    /// Bytes; 0 follows the default route's device.
    pub mtu: u32,
    /// Whether packets to the outside are masqueraded.
    pub masquerade: bool,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self { name: "belljar0".to_owned(), bip: None, icc: true, mtu: 0, masquerade: true }
    }
}

/// Everything that `Engine::open` wants to know.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// State that outlives a reboot; default `/var/lib/belljar`.
    pub data_root: PathBuf,
    /// State that ends with a reboot; default `/run/belljar`.
    pub exec_root: PathBuf,
    /// The `belljar-shim` program.
    pub shim: PathBuf,
    /// Runtimes by the name that `--runtime` takes.
    pub runtimes: BTreeMap<String, RuntimeProgram>,
    /// The runtime of containers that name none; a key of `runtimes`.
    pub default_runtime: String,
    /// A static program bind-mounted at `/sbin/docker-init` for `--init`; called as `docker-init -- COMMAND`.
    pub init: Option<PathBuf>,
    /// Who manages cgroups.
    pub cgroup_driver: CgroupDriver,
    /// Parent cgroup of containers that name none; empty is `/belljar`, or `system.slice` with systemd.
    pub cgroup_parent: String,
    /// Time namespace of containers that say nothing.
    pub time_namespace: NamespaceDefault,
    /// The default bridge network.
    pub bridge: BridgeOptions,
    /// Registries spoken to without TLS, or with certificates that nobody signed.
    pub insecure_registries: Vec<String>,
    /// Mirrors of Docker Hub, first one first.
    pub registry_mirrors: Vec<String>,
    /// Log driver of containers that name none: `json-file`, `local` or `none`.
    pub log_driver: String,
    /// Log options of containers that name none.
    pub log_options: BTreeMap<String, String>,
    /// Limits of containers that say nothing, by name.
    pub default_ulimits: BTreeMap<String, Ulimit>,
    /// Bytes of `/dev/shm` of containers that say nothing.
    pub default_shm_bytes: u64,
    /// Whether containers that say nothing get an init process.
    pub default_init: bool,
    /// Name servers of containers that say nothing.
    pub dns: Vec<String>,
    /// Resolver options of containers that say nothing.
    pub dns_options: Vec<String>,
    /// Search domains of containers that say nothing.
    pub dns_search: Vec<String>,
    /// Seconds that `stop` waits for containers that say nothing.
    pub stop_timeout_secs: u64,
    /// A seccomp profile (Docker's JSON) instead of the built-in one, or `unconfined`.
    pub seccomp_profile: Option<String>,
    /// Whether every container gets `no-new-privileges`.
    pub no_new_privileges: bool,
    /// Labels of the daemon, shown by `info`.
    pub labels: Vec<String>,
}

impl EngineOptions {
    /// The default name of our own runtime.
    pub const RUNTIME: &'static str = "belljar";

    /// Docker's defaults, with the programs that lie in `programs`.
    #[must_use]
    pub fn new(programs: &std::path::Path) -> Self {
        let ours = RuntimeProgram { path: programs.join("belljar-runtime"), args: Vec::new() };
        Self {
            data_root: PathBuf::from("/var/lib/belljar"),
            exec_root: PathBuf::from("/run/belljar"),
            shim: programs.join("belljar-shim"),
            runtimes: BTreeMap::from([(Self::RUNTIME.to_owned(), ours)]),
            default_runtime: Self::RUNTIME.to_owned(),
            init: find_init(programs),
            cgroup_driver: CgroupDriver::default(),
            cgroup_parent: String::new(),
            time_namespace: NamespaceDefault::default(),
            bridge: BridgeOptions::default(),
            insecure_registries: Vec::new(),
            registry_mirrors: Vec::new(),
            log_driver: "json-file".to_owned(),
            log_options: BTreeMap::new(),
            default_ulimits: BTreeMap::new(),
            default_shm_bytes: 64 << 20,
            default_init: false,
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            stop_timeout_secs: 10,
            seccomp_profile: None,
            no_new_privileges: false,
            labels: Vec::new(),
        }
    }
}

/// Our own init program, or one that the host has from another engine.
fn find_init(programs: &std::path::Path) -> Option<PathBuf> {
    let elsewhere =
        ["/usr/libexec/docker/docker-init", "/usr/bin/docker-init", "/usr/bin/tini-static"];
    let ours = programs.join("belljar-init");
    std::iter::once(ours).chain(elsewhere.map(PathBuf::from)).find(|path| path.is_file())
}
