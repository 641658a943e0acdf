//! An end, step by step: last words, state, news, teardown, and whether it starts again.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use network::Endpoint;
use rustix::event::{PollFd, PollFlags};
use shim_protocol::{Exit, Request as ShimRequest};

use super::{Actor, BACKOFF, BACKOFF_MAX, Command, GOOD_RUN};
use crate::Result;
use crate::engine::{blocking, host_error};
use crate::evidence::{self, Cgroup};
use crate::launch::Shared;
use crate::record::Record;
use crate::request::RemoveRequest;
use crate::roster::Handle;
use crate::shimlink::{Live, ShimLink};
use crate::view::Status;

/// The exit code of a process whose exit nobody saw, as in Docker.
const UNKNOWN: i32 = 255;
/// How many shims a run may lose before the engine stops to replace them.
const ADOPTIONS: u32 = 5;
/// How long a shim that adopted its process may take to hand on the last output and tell the end.
const LAST_OUTPUT: Duration = Duration::from_secs(4);

impl Actor {
    /// The process has ended. `None`: nobody knows how.
    pub(crate) async fn ended(&mut self, exit: Option<Exit>) {
        if !self.status().is_alive() {
            return;
        }
        let record = self.record.clone();
        // Before anything removes the cgroup.
        let dir = self.engine.shim_dir(&record.id);
        let words = blocking(move || Ok(last_words(&record, &dir))).await.unwrap_or_default();
        let state = &mut self.record.state;
        let code = exit.and_then(|exit| exit.code);
        let signal = exit.and_then(|exit| exit.signal).and_then(|signal| u8::try_from(signal).ok());
        state.exit_code = code.unwrap_or(UNKNOWN);
        state.error = if code.is_none() { "exit status unknown".to_owned() } else { String::new() };
        let told = state.oom_killed;
        state.oom_killed = words.oom_kills > 0 || told;
        state.finished_at = Some(finished(exit));
        state.pid = 0;
        let by_engine = signal.is_some() && self.sent == signal.map(i32::from);
        state.death = Some(crate::view::DeathView { signal, by_engine, ..words });
        if state.oom_killed && !told {
            self.tell("oom", &[]);
        }
        self.handle.set_live(None);
        *self.handle.health.lock() = None;
        let restart = self.wants_restart();
        self.record.state.status = if restart { Status::Restarting } else { Status::Exited };
        let endpoints = std::mem::take(&mut self.record.state.endpoints);
        if let Err(error) = self.save().await {
            tracing::error!(error = %types::Chain(&error), container = %self.record.id, "record not written");
        }
        self.news();
        self.engine.end_execs(&self.record.id, 137);
        self.handle.progress.send_modify(|progress| progress.exits += 1);
        self.tear_down(endpoints).await;
        self.engine.tell_volumes(&self.record, "unmount");
        self.afterwards(restart).await;
    }

    fn news(&self) {
        let state = &self.record.state;
        let seconds = match (state.started_at, state.finished_at) {
            (Some(from), Some(to)) => to.duration_since(from).as_secs().max(0),
            _ => 0,
        };
        self.tell(
            "die",
            &[("exitCode", state.exit_code.to_string()), ("execDuration", seconds.to_string())],
        );
    }

    fn wants_restart(&mut self) -> bool {
        let state = &self.record.state;
        if self.began.is_some_and(|began| began.elapsed() >= GOOD_RUN) {
            self.backoff = BACKOFF;
        }
        !state.stopped_by_user && should_restart(&self.record, state.restart_count)
    }

    async fn afterwards(&mut self, restart: bool) {
        if restart {
            let (handle, run, wait) = (Arc::clone(&self.handle), self.run, self.backoff);
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                let _ = handle.send(Command::RestartDue { run });
            });
        } else if self.record.host.auto_remove {
            let request = RemoveRequest { force: true, volumes: true };
            if let Err(error) = self.remove(request).await {
                tracing::error!(error = %types::Chain(&error), container = %self.record.id, "not removed");
            }
        }
    }

    /// The restart policy's turn.
    pub(super) async fn restart(&mut self) {
        self.record.state.restart_count += 1;
        if let Err(error) = self.launch().await {
            tracing::warn!(error = %types::Chain(&error), container = %self.record.id, "restart policy: not started");
            if should_restart(&self.record, self.record.state.restart_count) {
                self.record.state.status = Status::Restarting;
                self.show();
                self.afterwards(true).await;
            }
        }
    }

    /// Something of the container was killed for want of memory while it runs.
    pub(super) async fn oom(&mut self) {
        self.record.state.oom_killed = true;
        self.tell("oom", &[]);
        if let Err(error) = self.save().await {
            tracing::warn!(error = %types::Chain(&error), container = %self.record.id, "record not written");
        }
    }

    /// The shim has ended without telling an exit. It may have written one.
    pub(super) async fn shim_gone(&mut self) {
        if !self.status().is_alive() {
            return;
        }
        let dir = self.engine.shim_dir(&self.record.id);
        if let Some(record) = super::start::exit_record(&dir) {
            return self.ended(Some(record.exit)).await;
        }
        self.engine.end_execs(&self.record.id, UNKNOWN);
        self.follow_orphan().await;
    }

    /// Gives a process without a shim another one; where that fails, follows it by its pidfd.
    pub(crate) async fn follow_orphan(&mut self) {
        self.adoptions += 1;
        let adopted =
            if self.adoptions <= ADOPTIONS { self.replace_shim().await } else { Ok(false) };
        match adopted {
            Ok(true) => {
                tracing::warn!(container = %self.record.id, "the shim was lost and replaced");
            }
            Ok(false) => self.follow_without_shim().await,
            Err(error) => {
                tracing::warn!(error = %types::Chain(&error), container = %self.record.id, "the shim is lost, the container is followed by its pidfd");
                self.follow_without_shim().await;
            }
        }
    }

    /// Starts a shim that adopts the process. Tells whether it did.
    async fn replace_shim(&mut self) -> Result<bool> {
        if !still_lives(&self.record) || self.record.config.tty {
            // A terminal's other side died with the shim.
            return Ok(false);
        }
        let (engine, record) = (Arc::clone(&self.engine), self.record.clone());
        let pid = record.state.pid;
        blocking(move || engine.spawn_shim(&record, Some(pid))).await?;
        let dir = self.engine.shim_dir(&self.record.id);
        let (link, heard) = ShimLink::connect(&dir).await?;
        let pidfd =
            sys::pidfd::open(pid).map_err(|error| host_error("open process", pid, error))?;
        // The number may have gone to another process before the shim or the descriptor had it.
        if !still_lives(&self.record) {
            let _ = link.demand(ShimRequest::Shutdown, None).await;
            return Ok(false);
        }
        self.record.state.shim_lost = false;
        if let Ok(watched) = pidfd.try_clone() {
            self.await_process(watched, LAST_OUTPUT);
        }
        self.handle.set_live(Some(Arc::new(Live {
            run: self.run,
            pid,
            pidfd,
            shim: Some(Arc::clone(&link)),
            terminal: None,
        })));
        self.hear_from(link, heard).await;
        self.save().await?;
        Ok(true)
    }

    /// Listens to a shim, new or found again.
    pub(crate) async fn hear_from(
        &mut self,
        link: Arc<ShimLink>,
        heard: tokio::sync::mpsc::UnboundedReceiver<crate::shimlink::Signal>,
    ) {
        let (engine, handle) = (Arc::clone(&self.engine), Arc::clone(&self.handle));
        tokio::spawn(super::listen(engine, handle, Arc::clone(&link), self.run, heard));
        if let Err(error) = link.demand(ShimRequest::Subscribe, None).await {
            tracing::warn!(error = %types::Chain(&error), container = %self.record.id, "shim not heard");
        }
    }

    /// Follows the process by its pidfd, and shows it running as long as it does.
    pub(crate) async fn follow_without_shim(&mut self) {
        let Some(live) = self.handle.live() else { return };
        let Ok(pidfd) = live.pidfd.try_clone() else { return };
        let pid = live.pid;
        let Ok(keep) = live.pidfd.try_clone() else { return };
        let terminal = live.terminal.as_ref().and_then(|fd| fd.try_clone().ok());
        let orphan = Live { run: self.run, pid, pidfd: keep, shim: None, terminal };
        self.handle.set_live(Some(Arc::new(orphan)));
        self.record.state.shim_lost = true;
        if let Err(error) = self.save().await {
            tracing::warn!(error = %types::Chain(&error), container = %self.record.id, "record not written");
        }
        self.await_process(pidfd, Duration::ZERO);
    }

    /// Hears from the kernel, and not from a shim, that the process has ended.
    fn await_process(&self, pidfd: OwnedFd, grace: Duration) {
        let (handle, run) = (Arc::clone(&self.handle), self.run);
        // A thread of its own: this is rare, and may last as long as the container.
        std::thread::spawn(move || {
            let code = await_end(&pidfd);
            std::thread::sleep(grace);
            let _ = handle.send(Command::ProcessGone { run, code });
        });
    }

    pub(super) async fn process_gone(&mut self, code: Option<i32>) {
        // The shim may have been slow rather than dead.
        let dir = self.engine.shim_dir(&self.record.id);
        let exit = super::start::exit_record(&dir).map(|record| record.exit).or_else(|| {
            code.map(|code| Exit {
                code: Some(code),
                signal: (code > 128).then_some(code - 128),
                finished_at_unix_nanos: i64::try_from(Timestamp::now().as_nanosecond())
                    .unwrap_or(0),
            })
        });
        self.ended(exit).await;
    }

    /// Takes away what a run leaves: cgroup, network, mounts, bundle. Goes on after failures; recovery sweeps what is left.
    pub(crate) async fn tear_down(&self, endpoints: Vec<Endpoint>) {
        let (engine, record) = (Arc::clone(&self.engine), self.record.clone());
        let lender = Arc::clone(&self.handle);
        let told = endpoints.clone();
        let (one, two) = (Arc::clone(&engine), record.clone());
        let network = tokio::task::spawn_blocking(move || {
            for endpoint in &endpoints {
                if let Err(error) = one.network.detach(&two.id, endpoint) {
                    tracing::warn!(%error, container = %two.id, "network not left");
                }
            }
        });
        let rest = tokio::task::spawn_blocking(move || {
            remains(&engine, &record);
            unmount_root(&engine, &lender);
        });
        // The kernel takes tens of milliseconds to let a link go. Nobody waits for the address of a container that will not come back; a published
        // port must be free once the container is gone.
        if self.record.host.auto_remove && told.iter().all(|endpoint| endpoint.ports.is_empty()) {
            let _ = rest.await;
        } else {
            let _ = tokio::join!(network, rest);
        }
        for endpoint in told {
            self.engine.tell_network(
                &endpoint.network_name,
                endpoint.network_id.as_str(),
                "disconnect",
                &self.record.id,
            );
        }
    }
}

/// Whether the policy wants another run.
pub(crate) fn should_restart(record: &Record, count: u32) -> bool {
    let policy = &record.host.restart_policy;
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            let most = u32::try_from(policy.maximum_retry_count).unwrap_or(0);
            record.state.exit_code != 0 && (most == 0 || count < most)
        }
        _ => false,
    }
}

fn finished(exit: Option<Exit>) -> Timestamp {
    exit.and_then(|exit| Timestamp::from_nanosecond(exit.finished_at_unix_nanos.into()).ok())
        .unwrap_or_else(Timestamp::now)
}

/// The counters of the container's cgroup, found by its path: the process is gone. What the shim has seen counts where the cgroup is
/// gone too, which systemd removes as soon as it is empty.
fn last_words(record: &Record, shim_dir: &std::path::Path) -> crate::view::DeathView {
    let words = record.state.cgroup.as_ref().map(Cgroup::last_words).unwrap_or_default();
    let seen = super::start::exit_record(shim_dir).filter(|exit| exit.pid == record.state.pid);
    match seen {
        Some(exit) => crate::view::DeathView {
            oom_kills: words.oom_kills.max(exit.oom_kills),
            own_limit_hits: words
                .own_limit_hits
                .or((exit.own_limit_hits > 0).then_some(exit.own_limit_hits)),
            ..words
        },
        None => words,
    }
}

/// Waits for the end of a process that is not our child, and asks the kernel how it ended. Its parent, process 1 or the nearest
/// subreaper, must reap it before the kernel tells.
fn await_end(pidfd: &OwnedFd) -> Option<i32> {
    while let Err(rustix::io::Errno::INTR) =
        rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None)
    {}
    for _ in 0..50 {
        match sys::pidfd::exit_of(pidfd.as_fd()) {
            Ok(Some(ended)) => return Some(ended.shell_code()),
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => return None,
        }
    }
    None
}

/// What is left of a run, but its network; blocks.
pub(crate) fn remains(engine: &Shared, record: &Record) {
    let note = |step: &str, result: Result<()>| {
        if let Err(error) = result {
            tracing::warn!(error = %types::Chain(&error), container = %record.id, step, "teardown goes on");
        }
    };
    note("runtime", engine.runtime(record, &["delete", "--force", record.id.as_str()], None));
    let shm = engine.container_dir(&record.id).join("mounts/shm");
    let _ = rustix::mount::unmount(&shm, rustix::mount::UnmountFlags::DETACH);
    for dir in [engine.bundle_dir(&record.id), engine.shim_dir(&record.id)] {
        if let Err(error) = sys::file::remove_tree(&dir) {
            tracing::warn!(%error, dir = %dir.display(), "teardown goes on");
        }
    }
}

/// Unmounts the root unless somebody still reads it; the last reader does it then.
fn unmount_root(engine: &Shared, handle: &Handle) {
    let readers = handle.readers.lock();
    handle.take_root(false);
    if *readers == 0
        && let Err(error) = engine.snapshot.unmount(&handle.id)
    {
        tracing::warn!(error = %types::Chain(&error), container = %handle.id, "teardown goes on");
    }
}

/// Whether a process recorded as running still is that process.
pub(crate) fn still_lives(record: &Record) -> bool {
    evidence::lives(record.state.pid, record.state.pid_start)
}
