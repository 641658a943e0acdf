//! What users do with containers: the public side of the actors.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::actor::Command;
use crate::engine::{Engine, Room, blocking};
use crate::filters::Filters;
use crate::request::{RemoveRequest, StopRequest, UpdateRequest, WaitCondition};
use crate::roster::{Handle, Progress};
use crate::view::{ChangeView, Pruned, Status, WaitOutcome};
use crate::{EngineError, Result, signals};

/// How long a process may take to die of SIGKILL before that is an error.
const DEATH: Duration = Duration::from_secs(10);
/// How long a shim may take to hand on the last output and tell the end, before the kernel is asked instead.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// A wait that has begun.
pub struct Wait {
    progress: watch::Receiver<Progress>,
    condition: WaitCondition,
    /// Exits that had been counted when the wait began.
    exits: u64,
}

impl Wait {
    /// Waits for the end.
    pub async fn outcome(mut self) -> WaitOutcome {
        let (condition, exits) = (self.condition, self.exits);
        let done = self.progress.wait_for(|progress| match condition {
            _ if progress.removed => true,
            WaitCondition::NotRunning => !is_up(progress.status),
            WaitCondition::NextExit => progress.exits > exits,
            WaitCondition::Removed => progress.removal_error.is_some(),
        });
        match done.await {
            Ok(progress) => WaitOutcome {
                status_code: progress.exit_code.into(),
                error: progress
                    .removal_error
                    .clone()
                    .filter(|_| condition == WaitCondition::Removed),
            },
            Err(_) => WaitOutcome {
                status_code: -1,
                error: Some("the engine is shutting down".to_owned()),
            },
        }
    }
}

fn is_up(status: Status) -> bool {
    status.is_alive() || status == Status::Restarting
}

impl Engine {
    /// Starts a container.
    ///
    /// # Errors
    /// `NotModified` when it runs; `Invalid` when its program cannot be executed; others.
    pub async fn start(&self, name: &str) -> Result<()> {
        self.ask(&*self.find(name)?, Command::Start).await
    }

    /// Stops a container: its stop signal, then SIGKILL.
    ///
    /// # Errors
    /// `NotModified` when it does not run.
    pub async fn stop(&self, name: &str, request: StopRequest) -> Result<()> {
        let handle = self.find(name)?;
        if !is_up(handle.view().state.status) {
            return Err(EngineError::new(types::Kind::NotModified, "container already stopped"));
        }
        self.halt(&handle, &request).await?;
        self.tell_view(&handle.view(), "stop", &[]);
        Ok(())
    }

    /// Stop signal, time, SIGKILL.
    async fn halt(&self, handle: &Arc<Handle>, request: &StopRequest) -> Result<()> {
        let view = handle.view();
        let signal = match request.signal.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => signals::parse(text)?,
            None => signals::stop_signal(view.config.stop_signal.as_deref()),
        };
        let default = i64::try_from(self.options.stop_timeout_secs).unwrap_or(10);
        let seconds = request.timeout.or(view.config.stop_timeout).unwrap_or(default);
        let mut progress = handle.progress.subscribe();
        self.signal(handle, signal, true).await?;
        let patience = u64::try_from(seconds).map(Duration::from_secs).ok();
        if ended(&mut progress, patience).await {
            return Ok(());
        }
        self.signal(handle, signals::KILL, true).await?;
        if dies(handle, &mut progress).await {
            return Ok(());
        }
        Err(EngineError::internal(format!(
            "cannot stop container: {}: tried to kill container, but did not receive an exit event",
            view.name
        )))
    }

    /// A signal to a container that may end at any moment.
    async fn signal(&self, handle: &Handle, signal: i32, stop: bool) -> Result<()> {
        match self.ask(handle, |reply| Command::Signal { signal, stop, reply }).await {
            Err(error)
                if error.kind() == types::Kind::Conflict && !is_up(handle.view().state.status) =>
            {
                Ok(())
            }
            Err(error) if error.kind() == types::Kind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Stops and starts a container.
    ///
    /// # Errors
    /// As `start`.
    pub async fn restart(&self, name: &str, request: StopRequest) -> Result<()> {
        let handle = self.find(name)?;
        if is_up(handle.view().state.status) {
            self.halt(&handle, &request).await?;
        }
        match self.ask(&handle, Command::Start).await {
            Err(error) if error.kind() != types::Kind::NotModified => return Err(error),
            _ => {}
        }
        self.tell_view(&handle.view(), "restart", &[]);
        Ok(())
    }

    /// Sends a signal (`KILL`, `SIGKILL` or `9`; empty is SIGKILL).
    ///
    /// # Errors
    /// `Conflict` when it does not run; `Invalid`: unknown signal.
    pub async fn kill(&self, name: &str, signal: &str) -> Result<()> {
        let signal = if signal.is_empty() { signals::KILL } else { signals::parse(signal)? };
        let handle = self.find(name)?;
        let view = handle.view();
        let stops = signal == signals::KILL
            || signal == signals::stop_signal(view.config.stop_signal.as_deref());
        let mut progress = handle.progress.subscribe();
        self.ask(&handle, |reply| Command::Signal { signal, stop: stops, reply }).await?;
        if signal == signals::KILL && !dies(&handle, &mut progress).await {
            return Err(EngineError::internal(format!(
                "cannot kill container: {}: tried to kill container, but did not receive an exit event",
                view.name
            )));
        }
        Ok(())
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// `Conflict` when it does not run or is frozen.
    pub async fn pause(&self, name: &str) -> Result<()> {
        self.ask(&*self.find(name)?, Command::Pause).await
    }

    /// Thaws a container.
    ///
    /// # Errors
    /// `Conflict` when it is not frozen.
    pub async fn unpause(&self, name: &str) -> Result<()> {
        self.ask(&*self.find(name)?, Command::Unpause).await
    }

    /// Renames a container.
    ///
    /// # Errors
    /// `Conflict`: name in use; `Invalid`.
    pub async fn rename(&self, name: &str, new_name: &str) -> Result<()> {
        let handle = self.find(name)?;
        let new_name = new_name.strip_prefix('/').unwrap_or(new_name).to_owned();
        if new_name.is_empty() {
            return Err(EngineError::invalid("Neither old nor new names may be empty"));
        }
        if !types::is_valid_name(&new_name) {
            return Err(EngineError::invalid(format!(
                "Invalid container name ({new_name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )));
        }
        self.ask(&handle, |reply| Command::Rename { name: new_name, reply }).await
    }

    /// Removes a container.
    ///
    /// # Errors
    /// `Conflict` when it runs and `force` is not given.
    pub async fn remove(&self, name: &str, request: RemoveRequest) -> Result<()> {
        let handle = self.find(name)?;
        if request.force && is_up(handle.view().state.status) {
            let mut progress = handle.progress.subscribe();
            self.signal(&handle, signals::KILL, true).await?;
            dies(&handle, &mut progress).await;
        }
        let asked = self.ask(&handle, |reply| Command::Remove { request, reply }).await;
        match asked {
            // --rm was faster.
            Err(error) if error.kind() == types::Kind::NotFound && request.force => Ok(()),
            other => other,
        }
    }

    /// Begins to wait; the answer's head can be sent as soon as this returns.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn wait(&self, name: &str, condition: WaitCondition) -> Result<Wait> {
        let progress = self.find(name)?.progress.subscribe();
        let exits = progress.borrow().exits;
        Ok(Wait { progress, condition, exits })
    }

    /// Changes limits and restart policy; returns warnings.
    ///
    /// # Errors
    /// `Invalid`; `Conflict`.
    pub async fn update(&self, name: &str, request: UpdateRequest) -> Result<Vec<String>> {
        let request = Box::new(request);
        self.ask(&*self.find(name)?, |reply| Command::Update { request, reply }).await
    }

    /// Lists what differs from the image.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn changes(&self, name: &str) -> Result<Vec<ChangeView>> {
        let view = self.find(name)?.view();
        blocking(move || {
            let changes = layer::changes(&view.graph.upper, &view.graph.lower).room()?;
            let number = |kind| match kind {
                layer::ChangeKind::Modified => 0,
                layer::ChangeKind::Added => 1,
                layer::ChangeKind::Deleted => 2,
            };
            let view = |change: layer::Change| ChangeView {
                path: change.path.display().to_string(),
                kind: number(change.kind),
            };
            Ok(changes.into_iter().map(view).collect())
        })
        .await
    }

    /// Removes stopped containers (filters `until`, `label`, `label!`).
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub async fn prune_containers(&self, filters: &Filters) -> Result<Pruned> {
        filters.allow_only(&["until", "label", "label!"])?;
        let until =
            filters.get("until").first().map(|text| crate::list::moment(text)).transpose()?;
        let mut pruned = Pruned::default();
        for handle in self.roster.all() {
            let view = handle.view();
            let labels = view.config.labels.clone().unwrap_or_default();
            let chosen =
                matches!(view.state.status, Status::Created | Status::Exited | Status::Dead)
                    && until.is_none_or(|until| view.created < until)
                    && filters.labels("label", &labels)
                    && !(filters.has("label!") && filters.labels("label!", &labels));
            if !chosen {
                continue;
            }
            let bytes = self.measure(&view).await.map_or(0, |size| size.rw_bytes);
            let request = RemoveRequest::default();
            if self.ask(&handle, |reply| Command::Remove { request, reply }).await.is_ok() {
                pruned.space_reclaimed = pruned.space_reclaimed.saturating_add(bytes);
                pruned.deleted.push(view.id.to_string());
            }
        }
        let reclaimed = [("reclaimed".to_owned(), pruned.space_reclaimed.to_string())];
        self.events.publish(crate::Subject::Container, "prune", "", reclaimed.into());
        Ok(pruned)
    }
}

/// Waits until the container does not run; `None` waits for ever. Tells whether it came to that.
async fn ended(progress: &mut watch::Receiver<Progress>, patience: Option<Duration>) -> bool {
    let down = progress.wait_for(|progress| progress.removed || !is_up(progress.status));
    match patience {
        None => down.await.is_ok(),
        Some(patience) => matches!(tokio::time::timeout(patience, down).await, Ok(Ok(_))),
    }
}

/// Waits for the end of a process that got SIGKILL; where its shim is silent, the kernel's word is taken.
async fn dies(handle: &Handle, progress: &mut watch::Receiver<Progress>) -> bool {
    if ended(progress, Some(LAST_OUTPUT)).await {
        return true;
    }
    if let Some(live) = handle.live().filter(|live| live.has_ended()) {
        let code = sys::pidfd::exit_of(live.pidfd.as_fd()).ok().flatten();
        let code = code.map(sys::pidfd::Ended::shell_code);
        let _ = handle.send(Command::ProcessGone { run: live.run, code });
    }
    ended(progress, Some(DEATH)).await
}
