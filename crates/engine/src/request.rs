//! What the engine is asked.

use std::collections::BTreeMap;

use jiff::Timestamp;
use types::container::{ContainerConfig, HostConfig, NetworkingConfig, RestartPolicy};

pub use crate::filters::Filters;

/// `POST /containers/create`.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// The wanted name, with or without a leading slash; none makes one up.
    pub name: Option<String>,
    /// `os/arch[/variant]`; empty is the host's.
    pub platform: String,
    /// The container.
    pub config: ContainerConfig,
    /// The host side.
    pub host_config: HostConfig,
    /// Networks.
    pub networking: NetworkingConfig,
}

/// The answer to a create.
#[derive(Clone, Debug)]
pub struct Created {
    /// The new id.
    pub id: types::ContainerId,
    /// What will not be as asked.
    pub warnings: Vec<String>,
}

/// What an attaching client wants.
#[derive(Clone, Debug, Default)]
pub struct AttachRequest {
    /// Wants to write stdin.
    pub stdin: bool,
    /// Wants stdout.
    pub stdout: bool,
    /// Wants stderr.
    pub stderr: bool,
    /// Wants the log first.
    pub logs: bool,
    /// Wants what comes from now on.
    pub stream: bool,
    /// Detach keys in Docker's notation; none is `ctrl-p,ctrl-q`.
    pub detach_keys: Option<String>,
    /// Without stdcopy headers even if there is no terminal (never asked by Docker's clients).
    pub raw: bool,
}

/// `POST /exec/ID/start`.
#[derive(Clone, Debug, Default)]
pub struct ExecStart {
    /// Does not wait and takes no streams.
    pub detach: bool,
    /// Height and width in characters.
    pub console_size: Option<[u16; 2]>,
}

/// When a wait ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// Not running now or once it is no longer.
    #[default]
    NotRunning,
    /// The next exit.
    NextExit,
    /// The removal.
    Removed,
}

/// `GET /containers/json`.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Also those that do not run.
    pub all: bool,
    /// The newest N of all, whatever their state.
    pub limit: Option<usize>,
    /// Measures sizes.
    pub size: bool,
    /// Docker's filters.
    pub filters: Filters,
}

/// `GET /containers/ID/logs`.
#[derive(Clone, Debug, Default)]
pub struct LogsRequest {
    /// Goes on until the container ends.
    pub follow: bool,
    /// Wants stdout.
    pub stdout: bool,
    /// Wants stderr.
    pub stderr: bool,
    /// Only lines from this moment on.
    pub since: Option<Timestamp>,
    /// Only lines before this moment.
    pub until: Option<Timestamp>,
    /// Puts the time before each line.
    pub timestamps: bool,
    /// Only the last N lines.
    pub tail: Option<usize>,
    /// Puts the log's extra attributes before each line.
    pub details: bool,
}

/// `GET /events`.
#[derive(Clone, Debug, Default)]
pub struct EventsRequest {
    /// Replays from this moment on.
    pub since: Option<Timestamp>,
    /// Ends at this moment.
    pub until: Option<Timestamp>,
    /// Docker's filters.
    pub filters: Filters,
}

/// `DELETE /containers/ID`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveRequest {
    /// Kills it first.
    pub force: bool,
    /// Removes its anonymous volumes too.
    pub volumes: bool,
}

/// `POST /containers/ID/stop` and `restart`.
#[derive(Clone, Debug, Default)]
pub struct StopRequest {
    /// The signal instead of the container's own.
    pub signal: Option<String>,
    /// Seconds before SIGKILL; -1 waits for ever; none is the container's own.
    pub timeout: Option<i64>,
}

/// `POST /containers/ID/update`: fields of `HostConfig` that are not zero are changed.
#[derive(Clone, Debug, Default)]
pub struct UpdateRequest {
    /// The limits.
    pub resources: HostConfig,
    /// The restart policy, if it is to change.
    pub restart_policy: Option<RestartPolicy>,
}

/// `POST /volumes/create`.
#[derive(Clone, Debug, Default)]
pub struct VolumeRequest {
    /// The name; empty makes an anonymous one.
    pub name: String,
    /// `local` or empty.
    pub driver: String,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// `POST /networks/create`.
#[derive(Clone, Debug, Default)]
pub struct NetworkRequest {
    /// The name.
    pub name: String,
    /// `bridge` or empty.
    pub driver: String,
    /// No way to the outside.
    pub internal: bool,
    /// IPv6 too.
    pub enable_ipv6: bool,
    /// Joinable (swarm only, kept as asked).
    pub attachable: bool,
    /// Address pools; one is chosen when empty.
    pub pools: Vec<crate::view::PoolView>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// `PUT /containers/ID/archive`.
#[derive(Clone, Debug, Default)]
pub struct PutArchive {
    /// Directory in the container.
    pub path: String,
    /// Refuses to put a directory over something else, and the reverse.
    pub no_overwrite_dir_non_dir: bool,
    /// Gives the files to the container's user, if it has one (Docker's `copyUIDGID`).
    pub copy_uid_gid: bool,
}
