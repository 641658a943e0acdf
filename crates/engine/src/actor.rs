//! One task per container: it owns the record and carries out, one after another, what changes the container's state.
//!
//! Nothing else writes the record. What takes long and needs no state (waiting out a stop timeout, running an exec, feeding a
//! client) is done by those who ask, with the shim's connection from the [`Handle`]; so the mailbox is never blocked by them.

mod exit;
mod start;

use std::sync::Arc;
use std::time::{Duration, Instant};

use shim_protocol::Exit;
use tokio::sync::{mpsc, oneshot};

use crate::engine::{Room, blocking, host_error};
use crate::launch::Shared;
use crate::record::Record;
use crate::request::{RemoveRequest, UpdateRequest};
use crate::roster::{Handle, Progress};
use crate::transition::{Request, check};
use crate::view::Status;
use crate::{EngineError, Result, signals};

pub(crate) use exit::{remains, should_restart, still_lives};
pub(crate) use start::{endpoint_request, exit_record, listen};

type Reply<T> = oneshot::Sender<Result<T>>;

/// What lies in a mailbox.
pub(crate) enum Command {
    /// Run.
    Start(Reply<()>),
    /// Send a signal to the first process.
    Signal {
        signal: i32,
        /// The user wants it to stay stopped: the restart policy rests.
        stop: bool,
        reply: Reply<()>,
    },
    /// Freeze.
    Pause(Reply<()>),
    /// Thaw.
    Unpause(Reply<()>),
    /// Take another name.
    Rename { name: String, reply: Reply<()> },
    /// Change limits and policy.
    Update { request: Box<UpdateRequest>, reply: Reply<Vec<String>> },
    /// Go away.
    Remove { request: RemoveRequest, reply: Reply<()> },
    /// Join or leave a network while running; the record follows.
    Networks { change: NetworkChange, reply: Reply<()> },
    /// The shim told the end of a run.
    Exited { run: u64, exit: Exit },
    /// The shim of a run is gone.
    ShimGone { run: u64 },
    /// The process of a run whose shim is gone has ended.
    ProcessGone { run: u64, code: Option<i32> },
    /// The memory counters say that something was killed.
    OomKilled { run: u64 },
    /// The back-off of the restart policy is over.
    RestartDue { run: u64 },
}

/// A change of a container's networks.
pub(crate) enum NetworkChange {
    /// Join with these settings.
    Connect(String, Box<types::container::EndpointSettings>),
    /// Leave.
    Disconnect(String),
}

/// The first back-off of the restart policy.
const BACKOFF: Duration = Duration::from_millis(100);
/// The longest.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A run this long is a success: the next back-off is the first one again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// The task of one container.
pub(crate) struct Actor {
    pub(crate) engine: Shared,
    pub(crate) handle: Arc<Handle>,
    pub(crate) record: Record,
    /// Numbers the runs, so that late news of an old one is not taken for news of this one.
    pub(crate) run: u64,
    began: Option<Instant>,
    backoff: Duration,
    /// The last signal that the engine sent to this run.
    sent: Option<i32>,
    /// Shims lost and replaced in this run.
    adoptions: u32,
    /// The shim of a start that is under way.
    launching: Option<Arc<crate::shimlink::ShimLink>>,
    /// Ended by the removal of the container.
    over: bool,
}

impl Actor {
    pub(crate) fn new(engine: Shared, handle: Arc<Handle>, record: Record) -> Self {
        Self {
            engine,
            handle,
            record,
            run: 0,
            began: None,
            backoff: BACKOFF,
            sent: None,
            adoptions: 0,
            launching: None,
            over: false,
        }
    }

    /// Serves the mailbox until the container is removed.
    pub(crate) async fn serve(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = inbox.recv().await {
            self.obey(command).await;
            if self.over {
                break;
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Start(reply) => {
                let result = self.start().await;
                let _ = reply.send(result);
            }
            Command::Signal { signal, stop, reply } => {
                let _ = reply.send(self.signal(signal, stop).await);
            }
            Command::Pause(reply) => {
                let _ = reply.send(self.freeze(true).await);
            }
            Command::Unpause(reply) => {
                let _ = reply.send(self.freeze(false).await);
            }
            Command::Rename { name, reply } => {
                let _ = reply.send(self.rename(&name).await);
            }
            Command::Update { request, reply } => {
                let _ = reply.send(self.update(&request).await);
            }
            Command::Remove { request, reply } => {
                let _ = reply.send(self.remove(request).await);
            }
            Command::Networks { change, reply } => {
                let _ = reply.send(self.change_networks(change).await);
            }
            news => self.hear(news).await,
        }
    }

    async fn hear(&mut self, news: Command) {
        match news {
            Command::Exited { run, exit } if run == self.run => self.ended(Some(exit)).await,
            Command::ShimGone { run } if run == self.run => self.shim_gone().await,
            Command::ProcessGone { run, code } if run == self.run => self.process_gone(code).await,
            Command::OomKilled { run } if run == self.run && self.status().is_alive() => {
                self.oom().await;
            }
            Command::RestartDue { run }
                if run == self.run && self.status() == Status::Restarting =>
            {
                self.restart().await;
            }
            _ => {}
        }
    }

    fn status(&self) -> Status {
        self.record.state.status
    }

    fn check(&self, request: Request) -> Result<()> {
        check(self.status(), request, &self.record.name, self.record.id.as_str())
    }

    /// Writes the record and shows it to readers.
    pub(crate) async fn save(&self) -> Result<()> {
        self.show();
        self.put().await
    }

    /// Writes the record.
    pub(crate) async fn put(&self) -> Result<()> {
        let (engine, record) = (Arc::clone(&self.engine), self.record.clone());
        blocking(move || engine.containers.put(record.id.as_str(), &record).room()).await
    }

    /// Shows the record to readers.
    fn show(&self) {
        // The directories of a container never change, and asking for them reads the disk.
        let graph = self.handle.view().graph.clone();
        self.handle.publish(self.engine.view_of(&self.record, Some(graph)));
        let (status, exit_code) = (self.status(), self.record.state.exit_code);
        self.handle.progress.send_modify(|progress| {
            progress.status = status;
            progress.exit_code = exit_code;
        });
    }

    fn tell(&self, action: &str, more: &[(&str, String)]) {
        self.engine.tell(&self.record, action, more);
    }

    async fn signal(&mut self, signal: i32, stop: bool) -> Result<()> {
        self.check(Request::Signal)?;
        if stop && !self.record.state.stopped_by_user {
            self.record.state.stopped_by_user = true;
            self.save().await?;
        }
        if self.status() == Status::Restarting {
            if stop {
                self.run += 1;
                self.record.state.status = Status::Exited;
                return self.save().await;
            }
            return Err(EngineError::conflict(format!(
                "cannot kill container: {}: container {} is not running",
                self.record.name, self.record.id
            )));
        }
        let Some(live) = self.handle.live() else { return Ok(()) };
        self.sent = Some(signal);
        match live.signal(signal) {
            Err(error) if error.raw_os_error() != Some(3) => {
                return Err(host_error("signal process", live.pid, error));
            }
            // ESRCH: it has ended already, and its exit is on its way.
            _ => {}
        }
        self.tell("kill", &[("signal", signal.to_string())]);
        // On cgroup v1 a frozen task does not even die. On v2 it does, and then there may be nobody left to thaw.
        if signal == signals::KILL && self.status() == Status::Paused {
            match self.call_runtime(&["resume"]).await {
                Err(error) if !live.has_ended() => return Err(error),
                _ => {}
            }
            self.record.state.status = Status::Running;
            self.save().await?;
        }
        Ok(())
    }

    async fn call_runtime(&self, verb: &[&'static str]) -> Result<()> {
        let (engine, record) = (Arc::clone(&self.engine), self.record.clone());
        let verb = verb.to_vec();
        blocking(move || {
            let mut args = verb;
            args.push(record.id.as_str());
            engine.runtime(&record, &args, None)
        })
        .await
    }

    async fn freeze(&mut self, freeze: bool) -> Result<()> {
        self.check(if freeze { Request::Pause } else { Request::Unpause })?;
        self.call_runtime(&[if freeze { "pause" } else { "resume" }]).await?;
        self.record.state.status = if freeze { Status::Paused } else { Status::Running };
        self.save().await?;
        self.tell(if freeze { "pause" } else { "unpause" }, &[]);
        Ok(())
    }

    async fn rename(&mut self, name: &str) -> Result<()> {
        self.check(Request::Rename)?;
        let name = name.strip_prefix('/').unwrap_or(name);
        if name == self.record.name {
            return Err(EngineError::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.engine.roster.reserve(name, &self.record.id)?;
        let old = std::mem::replace(&mut self.record.name, name.to_owned());
        if let Err(error) = self.save().await {
            self.engine.roster.release(name, &self.record.id);
            self.record.name = old;
            self.show();
            return Err(error);
        }
        self.engine.roster.release(&old, &self.record.id);
        self.tell("rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    async fn update(&mut self, request: &UpdateRequest) -> Result<Vec<String>> {
        self.check(Request::Update)?;
        let mut host = self.record.host.clone();
        crate::update::apply(&mut host, &request.resources);
        if let Some(policy) = &request.restart_policy {
            crate::validate::restart_policy(policy, host.auto_remove)?;
            host.restart_policy = policy.clone();
        }
        let warnings = crate::validate::limits(&mut host, &self.engine.host)?;
        if self.status().is_alive() {
            let resources = crate::spec::resources(&host, &std::collections::BTreeMap::new());
            let document = serde_json::to_vec(&resources).map_err(|error| {
                EngineError::caused(types::Kind::Internal, "encode resources", error)
            })?;
            let (engine, record) = (Arc::clone(&self.engine), self.record.clone());
            blocking(move || {
                let args = ["update", "--resources", "-", record.id.as_str()];
                engine.runtime(&record, &args, Some(&document))
            })
            .await?;
        }
        self.record.host = host;
        self.save().await?;
        self.tell("update", &[]);
        Ok(warnings)
    }

    async fn remove(&mut self, request: RemoveRequest) -> Result<()> {
        self.check(Request::Remove { force: request.force })?;
        if self.status().is_alive() {
            return Err(EngineError::conflict(format!(
                "cannot remove container {:?}: could not kill container",
                self.record.name
            )));
        }
        self.run += 1;
        self.record.state.status = Status::Removing;
        self.show();
        match self.dismantle(request.volumes).await {
            Ok(()) => {
                self.over = true;
                Ok(())
            }
            Err(error) => {
                self.record.state.status = Status::Dead;
                let _ = self.save().await;
                let text = error.chain();
                self.handle.progress.send_modify(|progress| progress.removal_error = Some(text));
                Err(error)
            }
        }
    }

    /// The row first, then what it names: a crash in between leaves only orphans, which recovery sweeps.
    async fn dismantle(&mut self, volumes: bool) -> Result<()> {
        let (engine, id) = (Arc::clone(&self.engine), self.record.id.clone());
        blocking(move || {
            engine.containers.remove(id.as_str()).room()?;
            engine.snapshot.remove(&id).room()?;
            engine.remove_dirs(&id)
        })
        .await?;
        self.engine.forget_execs(&self.record.id);
        self.engine.roster.forget(&self.record.id);
        self.tell("destroy", &[]);
        if volumes {
            for mount in self.record.mounts.iter().filter(|mount| mount.anonymous) {
                // Another container may have it by --volumes-from.
                let _ = self.engine.volume_remove(&mount.name, true).await;
            }
        }
        self.handle.progress.send_modify(|progress: &mut Progress| progress.removed = true);
        Ok(())
    }
}
