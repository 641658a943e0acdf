//! A start, step by step.
//!
//! ```text
//! shim.json ─▶ shim listens ──┐
//!                             ├─▶ attach waiting clients ─▶ Create ─▶ network ─▶ Start ─▶ record
//! mount root, config.json ────┘
//! ```

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use network::{Endpoint, EndpointRequest};
use shim_protocol::{Request as ShimRequest, Response};
use tokio::sync::mpsc;

use super::Actor;
use crate::engine::{Room, blocking, host_error};
use crate::evidence;
use crate::launch::{Shared, create_failure};
use crate::record::Record;
use crate::shimlink::{Live, ShimLink, Signal, unexpected};
use crate::transition::Request;
use crate::view::Status;
use crate::{EngineError, Result};

/// A container that waits for its release.
struct Ready {
    link: Arc<ShimLink>,
    live: Arc<Live>,
    endpoints: Vec<Endpoint>,
}

impl Actor {
    pub(super) async fn start(&mut self) -> Result<()> {
        self.check(Request::Start)?;
        self.record.state.stopped_by_user = false;
        self.record.state.restart_count = 0;
        self.backoff = super::BACKOFF;
        let started = self.launch().await;
        if started.is_err() && self.record.host.auto_remove && !self.over {
            let request = crate::request::RemoveRequest { force: true, volumes: true };
            let _ = self.remove(request).await;
        }
        started
    }

    /// Runs the container's process, or leaves no trace but the reason.
    pub(super) async fn launch(&mut self) -> Result<()> {
        self.run += 1;
        self.sent = None;
        self.adoptions = 0;
        self.record.state.starting = true;
        {
            // Under the readers' lock: the last of them does not unmount what this start is about to mount.
            let _readers = self.handle.readers.lock();
            self.handle.take_root(true);
        }
        self.put().await?;
        match self.make_ready().await {
            Ok(ready) => match self.release(&ready).await {
                Ok(()) => Ok(()),
                Err(error) => self.not_started(error).await,
            },
            Err(error) => self.not_started(error).await,
        }
    }

    async fn make_ready(&mut self) -> Result<Ready> {
        let (engine, record) = (Arc::clone(&self.engine), Arc::new(self.record.clone()));
        let (link, heard) = summon(&engine, &record).await?;
        self.launching = Some(Arc::clone(&link));
        tokio::spawn(listen(
            Arc::clone(&engine),
            Arc::clone(&self.handle),
            Arc::clone(&link),
            self.run,
            heard,
        ));
        link.demand(ShimRequest::Subscribe, None).await?;
        crate::attach::connect_waiting(&self.handle, &link).await;
        let pid = match link.request(ShimRequest::Create, None).await? {
            Response::Created { pid } => pid,
            Response::Failed(failure) => return Err(create_failure(&failure)),
            other => return Err(unexpected(&other)),
        };
        let pidfd =
            sys::pidfd::open(pid).map_err(|error| host_error("open process", pid, error))?;
        let state = &mut self.record.state;
        state.pid = pid;
        state.pid_start = evidence::start_time(pid).unwrap_or(0);
        state.cgroup = Some(evidence::Cgroup::of(pid));
        let terminal = self.record.config.tty.then(|| link.terminal()).flatten();
        let shim = Some(Arc::clone(&link));
        let live = Arc::new(Live { run: self.run, pid, pidfd, shim, terminal });
        let endpoints = blocking(move || join_networks(&engine, &record, pid)).await?;
        self.record.state.endpoints.clone_from(&endpoints);
        // Before the release: a daemon killed behind it finds a running container and must know its process and addresses.
        self.put().await?;
        Ok(Ready { link, live, endpoints })
    }

    async fn release(&mut self, ready: &Ready) -> Result<()> {
        ready.link.demand(ShimRequest::Start, None).await.map_err(|error| {
            let text = format!("failed to start task: {error}");
            match crate::launch::exec_failure_code(&text) {
                Some(code) => EngineError::invalid(text).with_exit_code(code),
                None => EngineError::internal(text).with_exit_code(128),
            }
        })?;
        self.launching = None;
        self.running(Arc::clone(&ready.live), Timestamp::now());
        self.save().await?;
        crate::attach::connect_waiting(&self.handle, &ready.link).await;
        for endpoint in &ready.endpoints {
            self.engine.tell_network(
                &endpoint.network_name,
                endpoint.network_id.as_str(),
                "connect",
                &self.record.id,
            );
        }
        self.engine.tell_volumes(&self.record, "mount");
        self.tell("start", &[]);
        self.watch();
        Ok(())
    }

    /// Notes that the process runs.
    pub(crate) fn running(&mut self, live: Arc<Live>, since: Timestamp) {
        self.handle.take_root(true);
        let state = &mut self.record.state;
        state.status = Status::Running;
        state.starting = false;
        state.started_at = Some(since);
        state.finished_at = None;
        state.exit_code = 0;
        state.error.clear();
        state.oom_killed = false;
        state.death = None;
        state.shim_lost = live.shim.is_none();
        self.began = Some(Instant::now());
        self.handle.set_live(Some(live));
    }

    /// Watches what the shim does not: the health check.
    pub(crate) fn watch(&self) {
        crate::health::begin(&self.engine, &self.handle, &self.record);
    }

    async fn not_started(&mut self, error: EngineError) -> Result<()> {
        self.run += 1;
        let endpoints = std::mem::take(&mut self.record.state.endpoints);
        self.tear_down(endpoints).await;
        if let Some(link) = self.launching.take() {
            let _ = link.demand(ShimRequest::Shutdown, None).await;
        }
        let state = &mut self.record.state;
        state.starting = false;
        state.pid = 0;
        state.exit_code = i32::from(error.exit_code().unwrap_or(128));
        state.error = error.chain();
        state.status = if state.started_at.is_none() { Status::Created } else { Status::Exited };
        self.handle.set_live(None);
        if let Err(error) = self.save().await {
            tracing::error!(error = %types::Chain(&error), container = %self.record.id, "record not written");
        }
        Err(error)
    }
}

/// Starts the shim while the root is mounted and the bundle written, and connects.
async fn summon(
    engine: &Shared,
    record: &Arc<Record>,
) -> Result<(Arc<ShimLink>, mpsc::UnboundedReceiver<Signal>)> {
    let (one, two) = (Arc::clone(engine), Arc::clone(record));
    let shim = tokio::task::spawn_blocking(move || {
        one.write_shim_config(&two)?;
        one.spawn_shim(&two, None)
    });
    let (one, two) = (Arc::clone(engine), Arc::clone(record));
    let bundle = tokio::task::spawn_blocking(move || {
        let dir = one.bundle_dir(&two.id);
        sys::file::create_directories(&dir)
            .map_err(|error| host_error("create", dir.display(), error))?;
        one.prepare_bundle(&two)
    });
    let join = |error| EngineError::caused(types::Kind::Internal, "run a blocking step", error);
    let (shim, bundle) = tokio::join!(shim, bundle);
    shim.map_err(join)??;
    let connected = ShimLink::connect(&engine.shim_dir(&record.id)).await?;
    if let Err(error) = bundle.map_err(join)? {
        let _ = connected.0.demand(ShimRequest::Shutdown, None).await;
        return Err(error);
    }
    Ok(connected)
}

/// Joins the networks of a created container; blocks. All or nothing.
fn join_networks(engine: &Shared, record: &Record, pid: u32) -> Result<Vec<Endpoint>> {
    let mode = record.host.network_mode.as_str();
    if mode == "host" || mode.starts_with("container:") {
        return Ok(Vec::new());
    }
    let path = format!("/proc/{pid}/ns/net");
    let netns = std::fs::File::open(&path).map_err(|error| host_error("open", path, error))?;
    if mode == "none" || record.config.network_disabled == Some(true) {
        engine.network.loopback_up(netns.as_fd()).room()?;
        return Ok(Vec::new());
    }
    let mut endpoints = Vec::new();
    for (at, request) in endpoint_requests(record)?.iter().enumerate() {
        match attach(engine, record, netns.as_fd(), request, at) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => {
                for endpoint in &endpoints {
                    let _ = engine.network.detach(&record.id, endpoint);
                }
                return Err(error);
            }
        }
    }
    let addresses: Vec<IpAddr> = endpoints.iter().map(|endpoint| IpAddr::V4(endpoint.ip)).collect();
    engine.write_hosts(record, &addresses)?;
    Ok(endpoints)
}

fn attach(
    engine: &Shared,
    record: &Record,
    netns: std::os::fd::BorrowedFd<'_>,
    request: &EndpointRequest,
    _at: usize,
) -> Result<Endpoint> {
    engine.network.attach(&record.id, netns, request).map_err(|error| {
        let text = if matches!(error, network::Error::NotFound { .. }) {
            "failed to set up container networking".to_owned()
        } else {
            format!(
                "failed to set up container networking: driver failed programming external connectivity on endpoint {} ({})",
                record.name, record.id
            )
        };
        EngineError::caused(error.kind(), text, error).with_exit_code(128)
    })
}

/// What a record asks of its networks; the network of the mode comes first, has the default route and the ports.
pub(crate) fn endpoint_requests(record: &Record) -> Result<Vec<EndpointRequest>> {
    let mode = record.host.network_mode.as_str();
    let mut names: Vec<&String> = record.networks.keys().collect();
    names.sort_by_key(|name| name.as_str() != mode);
    let mut requests = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let settings = &record.networks[name];
        let mut request = endpoint_request(name, settings, at)?;
        if at == 0 {
            request.ports = crate::ports::wanted(&record.config, &record.host)?;
        }
        if at == 0 && request.mac.is_none() {
            request.mac = record.config.mac_address.as_deref().and_then(|mac| mac.parse().ok());
        }
        requests.push(request);
    }
    Ok(requests)
}

/// What one endpoint asks for.
pub(crate) fn endpoint_request(
    name: &str,
    settings: &types::container::EndpointSettings,
    at: usize,
) -> Result<EndpointRequest> {
    let wanted = settings.ipam_config.as_ref().map_or("", |ipam| ipam.ipv4_address.as_str());
    let ipv4 = match wanted {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| EngineError::invalid(format!("invalid IPv4 address: {text}")))?,
        ),
    };
    let mac = match settings.mac_address.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error| {
            EngineError::caused(types::Kind::Invalid, "invalid MAC address", error)
        })?),
    };
    Ok(EndpointRequest {
        network: name.to_owned(),
        ipv4,
        mac,
        ifname: format!("eth{at}"),
        default_route: at == 0,
        ports: Vec::new(),
    })
}

/// Hears what the shim tells, until it ends.
pub(crate) async fn listen(
    engine: Shared,
    handle: Arc<crate::roster::Handle>,
    link: Arc<ShimLink>,
    run: u64,
    mut heard: mpsc::UnboundedReceiver<Signal>,
) {
    use shim_protocol::Event;
    let mut ended = false;
    while let Some(signal) = heard.recv().await {
        match signal {
            Signal::Event(Event::Exited(exit)) => {
                ended = true;
                let _ = handle.send(super::Command::Exited { run, exit });
            }
            Signal::Event(Event::ExecExited { exec_id, exit }) => {
                engine.exec_ended(&exec_id, exit.code);
                let _ = link.demand(ShimRequest::ExecSeen { exec_id }, None).await;
            }
            Signal::Event(Event::Detached { target }) => engine.detached(&handle, &target),
            Signal::Event(Event::OutOfMemory { .. }) => {
                let _ = handle.send(super::Command::OomKilled { run });
            }
            Signal::Event(Event::Unknown) => {}
            Signal::Gone => break,
        }
    }
    if !ended {
        let _ = handle.send(super::Command::ShimGone { run });
    }
}

/// Where a shim keeps what outlives it.
pub(crate) fn exit_record(dir: &Path) -> Option<shim_protocol::ExitRecord> {
    let bytes = std::fs::read(dir.join(shim_protocol::EXIT_NAME)).ok()?;
    serde_json::from_slice(&bytes).ok()
}
