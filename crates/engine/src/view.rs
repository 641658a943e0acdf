//! What the engine shows: snapshots that readers take without waiting for a container.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use types::container::{ContainerConfig, EndpointSettings, HostConfig, PortBinding};
use types::{ContainerId, ImageId};

/// Docker's seven words for a container's state.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started, or its start failed.
    #[default]
    Created,
    /// Its process lives.
    Running,
    /// Its process lives and is frozen.
    Paused,
    /// Ended, and the restart policy will start it again.
    Restarting,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Half removed: what is left could not be removed.
    Dead,
}

impl Status {
    /// The word that Docker uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether the container's process lives.
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// One run of a health check.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthRun {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// 0 healthy, 1 unhealthy, others are errors.
    pub exit_code: i64,
    /// The first 4 KiB that it printed.
    pub output: String,
}

/// What the health checks say.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthView {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures since the last success.
    pub failing_streak: u32,
    /// The last five runs.
    pub log: Vec<HealthRun>,
}

/// `State` of `inspect`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateView {
    /// The state in one word.
    pub status: Status,
    /// The kernel said during this run that a process of the container was killed by an OOM killer.
    pub oom_killed: bool,
    /// The host's id of the first process, 0 when it does not live.
    pub pid: u32,
    /// The exit code of the last run.
    pub exit_code: i32,
    /// Why the last start failed, or what is not known about the last exit.
    pub error: String,
    /// When the last run began.
    pub started_at: Option<Timestamp>,
    /// When the last run ended.
    pub finished_at: Option<Timestamp>,
    /// What the health checks say, if there are any.
    pub health: Option<HealthView>,
    /// Who ended the last run, as far as the engine knows (own field).
    pub death: Option<DeathView>,
    /// The shim is gone while the container lives: output is lost, the exit code will come from the kernel (own field).
    pub shim_lost: bool,
}

/// The evidence of a container's death (own fields, not Docker's).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct DeathView {
    /// The signal that ended the first process.
    pub signal: Option<u8>,
    /// The signal was sent by the engine, for `stop` or `kill`.
    pub by_engine: bool,
    /// `oom_kill` of the container's cgroup when it ended: processes killed by an OOM killer.
    pub oom_kills: u64,
    /// `oom` of the container's cgroup (v2): times that its own limit was hit and nothing could be reclaimed.
    pub own_limit_hits: Option<u64>,
    /// CPU time of the whole run, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// The most memory that was in use at once, in bytes.
    pub peak_memory_bytes: Option<u64>,
}

/// One entry of `Mounts` of `inspect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountView {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: String,
    /// The volume's name.
    pub name: Option<String>,
    /// The path on the host, empty for tmpfs.
    pub source: String,
    /// The path in the container.
    pub destination: String,
    /// The volume's driver.
    pub driver: Option<String>,
    /// The options as asked, such as `ro,z`.
    pub mode: String,
    /// Whether it can be written.
    pub rw: bool,
    /// How mounts spread between it and the host.
    pub propagation: String,
}

/// `GraphDriver.Data` of `inspect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphView {
    /// Lower directories: the init layer, then the image's layers from the top.
    pub lower: Vec<PathBuf>,
    /// The directory that takes the container's changes.
    pub upper: PathBuf,
    /// Overlay's scratch directory.
    pub work: PathBuf,
    /// Where the whole is mounted while the container runs.
    pub merged: PathBuf,
}

/// `NetworkSettings` of `inspect`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkView {
    /// Published ports: `80/tcp` to host addresses; none for exposed only.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Networks by name, with what was asked and what was given.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// Names the network namespace.
    pub sandbox_id: String,
    /// The network namespace's path.
    pub sandbox_key: String,
}

/// Everything that `inspect` shows of a container.
#[derive(Clone, Debug)]
pub struct ContainerView {
    /// The id.
    pub id: ContainerId,
    /// The name, without Docker's leading slash.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The state.
    pub state: StateView,
    /// The image's id.
    pub image_id: ImageId,
    /// The image as it was asked for.
    pub image: String,
    /// The configuration, merged with the image's.
    pub config: Arc<ContainerConfig>,
    /// The host configuration, with defaults filled in.
    pub host_config: Arc<HostConfig>,
    /// Mounts, sorted by destination.
    pub mounts: Vec<MountView>,
    /// Addresses and ports.
    pub network: NetworkView,
    /// Overlay directories.
    pub graph: GraphView,
    /// `/etc/resolv.conf` on the host.
    pub resolv_conf_path: PathBuf,
    /// `/etc/hostname` on the host.
    pub hostname_path: PathBuf,
    /// `/etc/hosts` on the host.
    pub hosts_path: PathBuf,
    /// The log on the host; none without a log.
    pub log_path: Option<PathBuf>,
    /// How often the restart policy started it again.
    pub restart_count: u32,
    /// Execs that run.
    pub exec_ids: Vec<String>,
    /// The runtime's name.
    pub runtime: String,
    /// Path of the cgroup, as in `/proc/PID/cgroup` (own field).
    pub cgroup_path: String,
    /// `linux`.
    pub platform: String,
}

/// Bytes that a container's file system takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeView {
    /// Of the changes alone.
    pub rw_bytes: u64,
    /// Of the changes and the image.
    pub root_fs_bytes: u64,
}

/// One published or exposed port, as `ps` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortView {
    /// Host address, if published.
    pub ip: Option<IpAddr>,
    /// Port in the container.
    pub private_port: u16,
    /// Port on the host.
    pub public_port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// One line of `ps`.
#[derive(Clone, Debug)]
pub struct ContainerSummary {
    /// The whole view.
    pub view: Arc<ContainerView>,
    /// The command as one line.
    pub command: String,
    /// The state in words: `Up 3 minutes (healthy)`.
    pub status: String,
    /// Ports, sorted.
    pub ports: Vec<PortView>,
    /// Sizes, when they were asked for.
    pub size: Option<SizeView>,
}

/// What `exec inspect` shows.
#[derive(Clone, Debug)]
pub struct ExecView {
    /// The id.
    pub id: String,
    /// Its container.
    pub container: ContainerId,
    /// Whether its process lives.
    pub running: bool,
    /// Its exit code, once it ended.
    pub exit_code: Option<i32>,
    /// The host's id of its process, 0 when it does not live.
    pub pid: u32,
    /// What was asked.
    pub config: ExecConfig,
}

/// The body of `POST /containers/ID/exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// Wants stdin.
    pub attach_stdin: bool,
    /// Wants stdout.
    pub attach_stdout: bool,
    /// Wants stderr.
    pub attach_stderr: bool,
    /// On a terminal.
    pub tty: bool,
    /// Command and arguments.
    pub cmd: Vec<String>,
    /// Environment on top of the container's.
    pub env: Vec<String>,
    /// Working directory; empty is the container's.
    pub working_dir: String,
    /// User; empty is the container's.
    pub user: String,
    /// With all capabilities and devices.
    pub privileged: bool,
    /// Detach keys in Docker's notation; empty is `ctrl-p,ctrl-q`.
    pub detach_keys: String,
    /// Height and width in characters.
    pub console_size: Option<[u16; 2]>,
}

/// One path that differs from the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeView {
    /// Absolute path in the container.
    pub path: String,
    /// 0 modified, 1 added, 2 deleted.
    pub kind: u8,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeView {
    /// The name.
    pub name: String,
    /// `local`.
    pub driver: String,
    /// Directory on the host.
    pub mountpoint: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Containers that use it.
    pub ref_count: u32,
}

/// A container's end in a network, as `network inspect` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkMember {
    /// The container's name.
    pub name: String,
    /// The endpoint's id.
    pub endpoint_id: String,
    /// MAC address.
    pub mac_address: String,
    /// Address with prefix length.
    pub ipv4_address: String,
    /// Address with prefix length.
    pub ipv6_address: String,
}

/// One address pool of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolView {
    /// In CIDR notation.
    pub subnet: String,
    /// The range that addresses are taken from; empty is the subnet.
    pub ip_range: String,
    /// The gateway's address.
    pub gateway: String,
}

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkInfo {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name.
    pub name: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// No way to the outside.
    pub internal: bool,
    /// IPv6 is on.
    pub enable_ipv6: bool,
    /// Standalone containers may join (swarm only).
    pub attachable: bool,
    /// Address pools.
    pub pools: Vec<PoolView>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Containers by id.
    pub members: BTreeMap<ContainerId, NetworkMember>,
}

/// How a wait ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitOutcome {
    /// The exit code.
    pub status_code: i64,
    /// Why waiting failed.
    pub error: Option<String>,
}

/// What a prune removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids or names.
    pub deleted: Vec<String>,
    /// Bytes.
    pub space_reclaimed: u64,
}

/// Numbers for `info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All containers.
    pub containers: u32,
    /// Running ones.
    pub running: u32,
    /// Paused ones.
    pub paused: u32,
    /// All others.
    pub stopped: u32,
    /// Images.
    pub images: u32,
}

/// Processes of a container as `ps` prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopView {
    /// Column heads.
    pub titles: Vec<String>,
    /// One row a process.
    pub processes: Vec<Vec<String>>,
}

/// What `docker cp` wants to know of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathStat {
    /// The last component.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `st_mode`, as the kernel has it (the server makes Go's bits of it).
    pub mode: u32,
    /// Last change.
    pub mtime: Option<Timestamp>,
    /// Where a symbolic link points to.
    pub link_target: String,
}
