//! `Engine::open`: start is recovery. What the records say is compared with what shims and the kernel say; the rest is swept.
//!
//! | the record says | shim answers | exit.json | process lives | then                                        |
//! |-----------------|--------------|-----------|---------------|---------------------------------------------|
//! | running         | running      | -         | -             | adopted, with its output                    |
//! | running         | exited       | -         | -             | its exit, as the shim tells it              |
//! | running         | no           | yes       | -             | its exit, as the shim wrote it              |
//! | running         | no           | no        | yes           | adopted by pidfd, shim lost                 |
//! | running         | no           | no        | no            | exited 255, exit status unknown             |
//! | starting        | running      | -         | -             | adopted: it was released before the kill    |
//! | starting        | anything else                          || not started: killed, taken down             |
//! | removing        |              |           |               | the removal is finished                     |

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;
use shim_protocol::{ContainerPhase, ContainerState, Request as ShimRequest};
use sys::file;
use types::ContainerId;

use crate::actor::{self, Actor, Command};
use crate::engine::{Engine, Room, blocking, host_error};
use crate::launch::Shared;
use crate::options::EngineOptions;
use crate::record::Record;
use crate::roster::Handle;
use crate::shimlink::{Live, ShimLink};
use crate::validate::Host;
use crate::view::Status;
use crate::{EngineError, Result};

/// What became of a container while nobody looked.
enum Found {
    /// Its shim serves it.
    Served(
        Arc<ShimLink>,
        tokio::sync::mpsc::UnboundedReceiver<crate::shimlink::Signal>,
        ContainerState,
    ),
    /// Its process lives without a shim.
    Orphan,
    /// It has ended, and the shim wrote how.
    Ended(shim_protocol::Exit),
    /// It has ended, and nobody knows how.
    Lost,
    /// Its start was cut off.
    CutOff,
}

impl Engine {
    /// Opens the engine: reads the records, re-adopts what lives, sweeps what a crash left.
    ///
    /// # Errors
    /// `Internal`: the data root cannot be used.
    pub async fn open(options: EngineOptions) -> Result<Arc<Self>> {
        let engine = blocking(move || open_rooms(options)).await?;
        let records: Vec<Record> =
            engine.containers.iter().map(|(_, record)| (*record).clone()).collect();
        let mut adopted = Vec::new();
        for record in records {
            adopted.push(engine.recover(record).await);
        }
        engine.reconcile_networks().await;
        let known: HashSet<ContainerId> =
            engine.roster.all().iter().map(|handle| handle.id.clone()).collect();
        let sweeper = Arc::clone(&engine);
        blocking(move || {
            sweeper.sweep(&known);
            Ok(())
        })
        .await?;
        for (handle, restart) in adopted {
            if restart {
                let (reply, _) = tokio::sync::oneshot::channel();
                let _ = handle.send(Command::Start(reply));
            }
        }
        Ok(engine)
    }

    /// Brings one container back; tells whether its restart policy wants it started.
    async fn recover(self: &Arc<Self>, mut record: Record) -> (Arc<Handle>, bool) {
        if let Err(error) = self.roster.reserve(&record.name, &record.id) {
            tracing::warn!(error = %types::Chain(&error), container = %record.id, "two containers have one name");
            record.id.as_str().clone_into(&mut record.name);
            let _ = self.roster.reserve(&record.name.clone(), &record.id);
        }
        let was_up = record.state.status.is_alive();
        let active = was_up || record.state.starting;
        let found = if active { Some(self.look(&record).await) } else { None };
        if record.state.status == Status::Restarting {
            record.state.status = Status::Exited;
        }
        let (handle, inbox) = Handle::new(self.view_of(&record, None));
        self.roster.insert(Arc::clone(&handle));
        let mut actor = Actor::new(Arc::clone(self), Arc::clone(&handle), record);
        let ended = match found {
            None => true,
            Some(found) => actor.resume(found).await,
        };
        let restart = ended && actor.wants_start();
        let half_removed = actor.is_half_removed();
        tokio::spawn(actor.serve(inbox));
        if half_removed {
            let (reply, _) = tokio::sync::oneshot::channel();
            let request = crate::request::RemoveRequest { force: true, volumes: false };
            let _ = handle.send(Command::Remove { request, reply });
        }
        (handle, restart && !half_removed)
    }

    /// Asks the shim, then its last words, then the kernel.
    async fn look(&self, record: &Record) -> Found {
        let dir = self.shim_dir(&record.id);
        if let Some(found) = ask_shim(&dir, record).await {
            return found;
        }
        if !record.state.status.is_alive() {
            return Found::CutOff;
        }
        if let Some(exit) = actor::exit_record(&dir) {
            return Found::Ended(exit.exit);
        }
        if actor::still_lives(record) { Found::Orphan } else { Found::Lost }
    }

    /// Gives the network room the endpoints of the living.
    async fn reconcile_networks(self: &Arc<Self>) {
        let mut living = Vec::new();
        for (_, record) in self.containers.iter() {
            if record.state.status.is_alive() {
                living.extend(
                    record.state.endpoints.iter().map(|end| (record.id.clone(), end.clone())),
                );
            }
        }
        let network = Arc::clone(&self.network);
        let _ = blocking(move || {
            if let Err(errors) = network.reconcile(&living) {
                tracing::warn!(%errors, "networks recovered in part");
            }
            Ok(())
        })
        .await;
    }

    /// Removes what no record names: bundles, directories, file systems, mounts.
    fn sweep(&self, known: &HashSet<ContainerId>) {
        let mut known = known.clone();
        known.extend(set_aside(&self.options.data_root.join("db/containers")));
        let alive = |id: &ContainerId| {
            self.containers.get(id.as_str()).is_some_and(|record| record.state.status.is_alive())
        };
        for (_, record) in self.containers.iter() {
            let left = [self.bundle_dir(&record.id), self.runtime_root().join(record.id.as_str())];
            if !record.state.status.is_alive() && left.iter().any(|dir| dir.exists()) {
                actor::remains(&self.me(), &record);
            }
        }
        for id in self.snapshot.containers() {
            let result = match known.contains(&id) {
                false => self.snapshot.remove(&id),
                true if !alive(&id) => self.snapshot.unmount(&id),
                true => Ok(()),
            };
            if let Err(error) = result {
                tracing::warn!(error = %types::Chain(&error), container = %id, "not swept");
            }
        }
        let data = self.options.data_root.join("containers");
        sweep_dirs(&data, |id| known.contains(id));
        for dir in ["bundles", "containers"] {
            sweep_dirs(&self.options.exec_root.join(dir), |id| known.contains(id) && alive(id));
        }
    }
}

/// What the shim says, if there is one that serves a running container.
async fn ask_shim(dir: &Path, record: &Record) -> Option<Found> {
    let (link, heard) = ShimLink::connect(dir).await.ok()?;
    let state = link.state().await.ok()?;
    match (state.phase, state.pid, state.exit) {
        (ContainerPhase::Running, Some(_), _) => Some(Found::Served(link, heard, state)),
        (ContainerPhase::Exited, _, Some(exit)) if record.state.status.is_alive() => {
            Some(Found::Ended(exit))
        }
        _ => {
            let _ = link.demand(ShimRequest::Shutdown, None).await;
            None
        }
    }
}

/// Ids of records that were set aside: what they name is somebody's data, and is kept until somebody decides.
fn set_aside(table: &Path) -> Vec<ContainerId> {
    let id = |name: &std::path::PathBuf| name.to_str()?.get(..64)?.parse().ok();
    let names = file::names(table).unwrap_or_default();
    names
        .iter()
        .filter(|name| name.extension().is_some_and(|e| e == "damaged"))
        .filter_map(id)
        .collect()
}

/// Removes the directories named by ids that are not to be kept.
fn sweep_dirs(dir: &Path, keep: impl Fn(&ContainerId) -> bool) {
    for name in file::names(dir).unwrap_or_default() {
        let id = name.to_str().and_then(|name| name.parse::<ContainerId>().ok());
        if id.is_none_or(|id| keep(&id)) {
            continue;
        }
        if let Err(error) = file::remove_tree(&dir.join(&name)) {
            tracing::warn!(%error, path = %dir.join(&name).display(), "not swept");
        }
    }
}

impl Actor {
    /// Takes up what was found; tells whether the container is down now.
    async fn resume(&mut self, found: Found) -> bool {
        let begun = self.record.state.started_at;
        match found {
            Found::Served(link, heard, state) => {
                let pid = state.pid.unwrap_or(0);
                self.engine.adopt_execs(&self.handle, &state.execs);
                let Ok(pidfd) = sys::pidfd::open(pid) else {
                    self.ended(None).await;
                    return true;
                };
                self.record.state.pid = pid;
                let fresh = self.record.state.starting;
                let terminal = self.record.config.tty.then(|| link.terminal()).flatten();
                let shim = Some(Arc::clone(&link));
                let live = Arc::new(Live { run: self.run, pid, pidfd, shim, terminal });
                let paused = self.record.state.status == Status::Paused;
                self.running(live, begun.filter(|_| !fresh).unwrap_or_else(Timestamp::now));
                if paused {
                    self.record.state.status = Status::Paused;
                }
                self.hear_from(link, heard).await;
                self.keep().await;
                self.watch();
                false
            }
            Found::Orphan => {
                self.handle.take_root(true);
                let pid = self.record.state.pid;
                let Ok(pidfd) = sys::pidfd::open(pid) else {
                    self.ended(None).await;
                    return true;
                };
                // Between the look and the open the number may have gone to another process.
                if !actor::still_lives(&self.record) {
                    self.ended(None).await;
                    return true;
                }
                self.handle.set_live(Some(Arc::new(Live {
                    run: self.run,
                    pid,
                    pidfd,
                    shim: None,
                    terminal: None,
                })));
                self.follow_orphan().await;
                false
            }
            Found::Ended(exit) => {
                self.ended(Some(exit)).await;
                true
            }
            Found::Lost => {
                self.ended(None).await;
                true
            }
            Found::CutOff => {
                self.cut_off().await;
                true
            }
        }
    }

    /// A start that the daemon's end cut off: nothing of it may be left.
    async fn cut_off(&mut self) {
        let pid = self.record.state.pid;
        let started = self.record.state.pid_start;
        if crate::evidence::lives(pid, started)
            && let Ok(pidfd) = sys::pidfd::open(pid)
        {
            let _ = sys::pidfd::send_signal(pidfd.as_fd(), crate::signals::KILL);
        }
        let endpoints = std::mem::take(&mut self.record.state.endpoints);
        self.tear_down(endpoints).await;
        self.record.state.starting = false;
        self.record.state.pid = 0;
        self.record.state.error = "the start was cut off by the end of the daemon".to_owned();
        self.keep().await;
    }

    async fn keep(&self) {
        if let Err(error) = self.save().await {
            tracing::error!(error = %types::Chain(&error), container = %self.record.id, "record not written");
        }
    }

    /// Whether the restart policy wants a container started that is down when the daemon starts.
    fn wants_start(&self) -> bool {
        let state = &self.record.state;
        // Its own exit has set a timer already.
        if state.status == Status::Restarting || state.started_at.is_none() {
            return false;
        }
        match self.record.host.restart_policy.name.as_str() {
            "always" => true,
            "unless-stopped" => !state.stopped_by_user,
            "on-failure" => {
                !state.stopped_by_user && actor::should_restart(&self.record, state.restart_count)
            }
            _ => false,
        }
    }

    fn is_half_removed(&self) -> bool {
        matches!(self.record.state.status, Status::Removing | Status::Dead)
            || (self.record.host.auto_remove && self.record.state.status == Status::Exited)
    }
}

fn open_rooms(options: EngineOptions) -> Result<Shared> {
    let root = options.data_root.clone();
    for dir in [&root, &options.exec_root, &root.join("containers"), &root.join("volumes")] {
        file::create_directories(dir)
            .map_err(|error| host_error("create", dir.display(), error))?;
    }
    let (db, damaged) = db::Db::open(root.join("db")).room()?;
    let (containers, more) = db.containers::<Record>().room()?;
    let (volumes, most) = db.volumes().room()?;
    for record in damaged.iter().chain(&more).chain(&most) {
        tracing::error!(%record, "set aside");
    }
    let snapshot = snapshot::Store::open(root.join("overlay2")).room()?;
    let content = content::Store::open(root.join("content"))
        .map_err(|error| EngineError::room(error.kind(), error))?;
    let registry = registry::Client::new(registry::ClientOptions {
        insecure: options.insecure_registries.clone(),
        mirrors: options.registry_mirrors.clone(),
        ..registry::ClientOptions::default()
    })
    .map_err(|error| EngineError::room(error.kind(), error))?;
    let images = image::Images::open(image::ImagesOptions {
        content,
        snapshot: snapshot.clone(),
        db,
        registry,
        spool: root.join("spool"),
        max_concurrent_downloads: 0,
    })
    .room()?;
    let network = open_network(&options)?;
    let id = engine_id(&root.join("engine-id"))?;
    Ok(Arc::new_cyclic(|me| Engine {
        me: me.clone(),
        options,
        id,
        host: Host::read(),
        events: crate::events::Events::default(),
        roster: crate::roster::Roster::default(),
        images,
        snapshot,
        network: Arc::new(network),
        containers,
        volumes,
        execs: RwLock::default(),
        volume_turn: tokio::sync::Mutex::new(()),
    }))
}

fn open_network(options: &EngineOptions) -> Result<network::Network> {
    let bip = match options.bridge.bip.as_deref() {
        None => None,
        Some(text) => Some(
            network::parse_cidr(text)
                .ok_or_else(|| EngineError::invalid(format!("invalid --bip `{text}`")))?,
        ),
    };
    let mut wanted = network::NetworkOptions::new(options.data_root.join("network"));
    wanted.bridge.clone_from(&options.bridge.name);
    wanted.bip = bip;
    wanted.firewall = options.bridge.masquerade;
    wanted.mtu = options.bridge.mtu;
    network::Network::open(wanted).room()
}

/// Reads the id of the data root, or makes it.
fn engine_id(path: &Path) -> Result<String> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return Ok(text.trim().to_owned());
    }
    let random = file::random::<16>().map_err(|error| host_error("read", "random bytes", error))?;
    let hex: Vec<String> = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    let id =
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    file::write_atomic(path, id.as_bytes(), file::Durability::Process)
        .map_err(|error| host_error("write", path.display(), error))?;
    Ok(id)
}
