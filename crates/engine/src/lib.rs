//! Container lifecycle: what the daemon's routes call.
//!
//! [`Engine::open`] is recovery: it reads the records, asks shims and the kernel what is still alive, and sweeps what a crash
//! left. Afterwards one actor per container owns its record and its state; a request goes to its mailbox, `transition` says
//! whether it is legal, and the actor carries it out. Readers never wait for an actor: they take published snapshots.
//!
//! ```text
//!            start ok                exit, no restart
//!  created ───────────▶ running ───────────────────────▶ exited ──▶ (removed)
//!     │ start failed     │  ▲ ▲                           │  ▲
//!     └─▶ created        │  │ └───────── start ───────────┘  │ stop
//!                  pause ▼  │ unpause                        │
//!                      paused          running ──exit──▶ restarting ──▶ running
//! ```
//!
//! The engine owns `R/containers`, `R/volumes` and `X/bundles`; image, snapshot, db and network own what is theirs, shims own
//! `X/containers`. It never talks HTTP and never links the runtime: it knows the path of a shim, the shim knows a runtime.
#![forbid(unsafe_code)]

mod error;
mod events;
mod filters;
mod options;
mod request;
mod sample;
mod view;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use error::{EngineError, Result};
pub use events::{Event, EventStream, Subject};
pub use image;
pub use jiff::Timestamp;
pub use options::*;
pub use request::*;
pub use sample::*;
pub use view::*;

/// A container engine over one data root.
pub struct Engine {
    options: EngineOptions,
    events: events::Events,
}

/// A registered attach: the container's start waits until it is connected or dropped.
///
/// Lets a server register first, answer its client with `101`, and hand over the socket afterwards, without losing output.
pub struct AttachTicket {
    /// Whether the stream is raw (terminal) and not framed.
    pub tty: bool,
}

impl AttachTicket {
    /// Hands the client's socket to the container's shim; `initial` are bytes that the server already read from it.
    ///
    /// # Errors
    /// `Internal`: the shim cannot be reached.
    pub async fn connect(self, _client: OwnedFd, _initial: Vec<u8>) -> Result<()> {
        Err(EngineError::internal("attach"))
    }
}

/// An exec that is about to start.
pub struct ExecTicket {
    /// Whether the stream is raw (terminal) and not framed.
    pub tty: bool,
}

impl ExecTicket {
    /// Starts the exec with the client's socket; `initial` are bytes that the server already read from it. Returns once it
    /// runs. If it cannot, the reason has been written to the client in the stream's own framing and the socket is closed.
    ///
    /// # Errors
    /// As said above; nothing is left to do for the server.
    pub async fn start(self, _client: OwnedFd, _initial: Vec<u8>) -> Result<()> {
        Err(EngineError::internal("exec"))
    }
}

/// A wait that has begun.
pub struct Wait {
    _private: (),
}

impl Wait {
    /// Waits for the end.
    pub async fn outcome(self) -> WaitOutcome {
        WaitOutcome::default()
    }
}

/// Output of a container, ready for a client: stdcopy frames, or raw bytes with a terminal.
pub struct LogStream {
    /// Whether the bytes are raw (terminal) and not framed.
    pub tty: bool,
    /// Pieces in order; closed at the end.
    pub chunks: mpsc::Receiver<bytes::Bytes>,
}

#[expect(unused_variables, reason = "signatures first")]
impl Engine {
    /// Opens the engine: reads the records, re-adopts what lives, sweeps what a crash left.
    ///
    /// # Errors
    /// `Internal`: the data root cannot be used.
    pub async fn open(options: EngineOptions) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { options, events: events::Events::default() }))
    }

    /// What the engine was opened with.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Subscribes to events.
    ///
    /// # Errors
    /// `Invalid`: unknown filter.
    pub fn events(&self, request: EventsRequest) -> Result<EventStream> {
        self.events.subscribe(request)
    }

    /// Numbers for `info`.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::default()
    }

    /// The engine's id, made once per data root.
    #[must_use]
    pub fn id(&self) -> String {
        String::new()
    }

    /// Finds a container by full id, unique prefix of the id, or name.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when a prefix fits several.
    pub fn inspect(&self, name: &str) -> Result<Arc<ContainerView>> {
        Err(EngineError::no_such_container(name))
    }

    /// Measures a container's file system.
    ///
    /// # Errors
    /// `NotFound`; `Internal`.
    pub async fn size(&self, name: &str) -> Result<SizeView> {
        Err(EngineError::no_such_container(name))
    }

    /// Lists containers, newest first.
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub async fn list(&self, request: ListRequest) -> Result<Vec<ContainerSummary>> {
        Ok(Vec::new())
    }

    /// Creates a container.
    ///
    /// # Errors
    /// `NotFound` (image), `Conflict` (name), `Invalid`.
    pub async fn create(&self, request: CreateRequest) -> Result<Created> {
        Err(EngineError::internal("create"))
    }

    /// Starts a container.
    ///
    /// # Errors
    /// `NotModified` when it runs; `Invalid` when its program cannot be executed; others.
    pub async fn start(&self, name: &str) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Stops a container: its stop signal, then SIGKILL.
    ///
    /// # Errors
    /// `NotModified` when it does not run.
    pub async fn stop(&self, name: &str, request: StopRequest) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Stops and starts a container.
    ///
    /// # Errors
    /// As `start`.
    pub async fn restart(&self, name: &str, request: StopRequest) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Sends a signal (`KILL`, `SIGKILL` or `9`; empty is SIGKILL).
    ///
    /// # Errors
    /// `Conflict` when it does not run; `Invalid`: unknown signal.
    pub async fn kill(&self, name: &str, signal: &str) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// `Conflict` when it does not run or is frozen.
    pub async fn pause(&self, name: &str) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Thaws a container.
    ///
    /// # Errors
    /// `Conflict` when it is not frozen.
    pub async fn unpause(&self, name: &str) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Renames a container.
    ///
    /// # Errors
    /// `Conflict`: name in use; `Invalid`.
    pub async fn rename(&self, name: &str, new_name: &str) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Removes a container.
    ///
    /// # Errors
    /// `Conflict` when it runs and `force` is not given.
    pub async fn remove(&self, name: &str, request: RemoveRequest) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Begins to wait; the answer's head can be sent as soon as this returns.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn wait(&self, name: &str, condition: WaitCondition) -> Result<Wait> {
        Err(EngineError::no_such_container(name))
    }

    /// Sets the size of a container's terminal.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub async fn resize(&self, name: &str, height: u16, width: u16) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Registers an attach; see [`AttachTicket`].
    ///
    /// # Errors
    /// `Conflict` when the container is paused; `Invalid`: bad detach keys.
    pub async fn attach(&self, name: &str, request: AttachRequest) -> Result<AttachTicket> {
        Err(EngineError::no_such_container(name))
    }

    /// Changes limits and restart policy; returns warnings.
    ///
    /// # Errors
    /// `Invalid`; `Conflict`.
    pub async fn update(&self, name: &str, request: UpdateRequest) -> Result<Vec<String>> {
        Err(EngineError::no_such_container(name))
    }

    /// Lists the processes of a container as `ps ARGS` would.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub async fn top(&self, name: &str, ps_args: &str) -> Result<TopView> {
        Err(EngineError::no_such_container(name))
    }

    /// Reads a container's log.
    ///
    /// # Errors
    /// `Invalid`: no stream chosen; `NotImplemented`: the log driver cannot be read.
    pub async fn container_logs(&self, name: &str, request: LogsRequest) -> Result<LogStream> {
        Err(EngineError::no_such_container(name))
    }

    /// Reads a container's counters.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stats(&self, name: &str, mode: StatsMode) -> Result<mpsc::Receiver<Stats>> {
        Err(EngineError::no_such_container(name))
    }

    /// Lists what differs from the image.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn changes(&self, name: &str) -> Result<Vec<ChangeView>> {
        Err(EngineError::no_such_container(name))
    }

    /// Packs the whole root file system as a tar.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn export(
        &self,
        name: &str,
    ) -> Result<mpsc::Receiver<std::io::Result<bytes::Bytes>>> {
        Err(EngineError::no_such_container(name))
    }

    /// Looks at one path of a container.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn archive_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        Err(EngineError::no_such_container(name))
    }

    /// Packs one path of a container as a tar.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn archive_get(
        &self,
        name: &str,
        path: &str,
    ) -> Result<(PathStat, mpsc::Receiver<std::io::Result<bytes::Bytes>>)> {
        Err(EngineError::no_such_container(name))
    }

    /// Unpacks a tar into a directory of a container.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Denied` (read-only).
    pub async fn archive_put(
        &self,
        name: &str,
        request: PutArchive,
        body: mpsc::Receiver<std::io::Result<bytes::Bytes>>,
    ) -> Result<()> {
        Err(EngineError::no_such_container(name))
    }

    /// Makes an exec ready.
    ///
    /// # Errors
    /// `Conflict` when the container does not run or is paused; `Invalid`: no command.
    pub async fn exec_create(&self, name: &str, config: ExecConfig) -> Result<String> {
        Err(EngineError::no_such_container(name))
    }

    /// Prepares to start an exec with a client's socket.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it was started before or its container does not run.
    pub async fn exec_attach(&self, exec: &str, request: ExecStart) -> Result<ExecTicket> {
        Err(EngineError::not_found(format!("No such exec instance: {exec}")))
    }

    /// Starts an exec without streams.
    ///
    /// # Errors
    /// As `exec_attach`; `Invalid` when its program cannot be executed.
    pub async fn exec_detached(&self, exec: &str) -> Result<()> {
        Err(EngineError::not_found(format!("No such exec instance: {exec}")))
    }

    /// Shows an exec.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn exec_inspect(&self, exec: &str) -> Result<ExecView> {
        Err(EngineError::not_found(format!("No such exec instance: {exec}")))
    }

    /// Sets the size of an exec's terminal.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it does not run.
    pub async fn exec_resize(&self, exec: &str, height: u16, width: u16) -> Result<()> {
        Err(EngineError::not_found(format!("No such exec instance: {exec}")))
    }

    /// Removes stopped containers (filters `until`, `label`, `label!`).
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub async fn prune_containers(&self, filters: &Filters) -> Result<Pruned> {
        Ok(Pruned::default())
    }

    /// Creates a volume, or returns the one that exists.
    ///
    /// # Errors
    /// `Invalid`; `NotFound`: unknown driver.
    pub async fn volume_create(&self, request: VolumeRequest) -> Result<VolumeView> {
        Err(EngineError::internal("volume"))
    }

    /// Lists volumes (filters `name`, `label`, `driver`, `dangling`).
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub fn volume_list(&self, filters: &Filters) -> Result<Vec<VolumeView>> {
        Ok(Vec::new())
    }

    /// Shows a volume.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn volume_inspect(&self, name: &str) -> Result<VolumeView> {
        Err(EngineError::not_found(format!("get {name}: no such volume")))
    }

    /// Removes a volume; `force` forgives its absence.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when a container uses it.
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        Err(EngineError::not_found(format!("get {name}: no such volume")))
    }

    /// Removes unused volumes: anonymous ones, or all with the filter `all=1`.
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub async fn volume_prune(&self, filters: &Filters) -> Result<Pruned> {
        Ok(Pruned::default())
    }

    /// Lists networks (filters `name`, `id`, `driver`, `label`, `type`, `scope`, `dangling`).
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub fn network_list(&self, filters: &Filters) -> Result<Vec<NetworkInfo>> {
        Ok(Vec::new())
    }

    /// Shows a network by name, id or prefix of the id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn network_inspect(&self, name: &str) -> Result<NetworkInfo> {
        Err(EngineError::not_found(format!("network {name} not found")))
    }

    /// Creates a network; returns its id.
    ///
    /// # Errors
    /// `Conflict`: name in use; `NotImplemented`; `Invalid`.
    pub async fn network_create(&self, request: NetworkRequest) -> Result<String> {
        Err(EngineError::new(types::Kind::NotImplemented, "networks"))
    }

    /// Removes a network.
    ///
    /// # Errors
    /// `NotFound`; `Denied`: predefined; `Conflict`: in use.
    pub async fn network_remove(&self, name: &str) -> Result<()> {
        Err(EngineError::not_found(format!("network {name} not found")))
    }

    /// Removes unused networks.
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub async fn network_prune(&self, filters: &Filters) -> Result<Pruned> {
        Ok(Pruned::default())
    }
}
