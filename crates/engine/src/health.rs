//! Health checks: an exec now and then, and what three failures in a row mean.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shim_protocol::{Attach, Target};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use types::container::Healthcheck;

use crate::engine::{Engine, host_error};
use crate::launch::Shared;
use crate::record::Record;
use crate::roster::Handle;
use crate::view::{ExecConfig, HealthRun, HealthView};
use crate::{EngineError, Result};

/// How much of a check's output is kept.
const OUTPUT_BYTES: usize = 4096;
/// How many runs are shown.
const RUNS: usize = 5;

/// A check with Docker's defaults filled in.
struct Plan {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

/// Begins the checks of a container that has some.
pub(crate) fn begin(engine: &Shared, handle: &Arc<Handle>, record: &Record) {
    let plan = record.config.healthcheck.as_ref().and_then(|check| plan(check, record));
    let Some(plan) = plan else {
        *handle.health.lock() = None;
        return;
    };
    let first = HealthView { status: "starting".to_owned(), failing_streak: 0, log: Vec::new() };
    *handle.health.lock() = Some(first);
    tokio::spawn(watch(Arc::clone(engine), Arc::clone(handle), plan, record.state.pid));
}

fn plan(check: &Healthcheck, record: &Record) -> Option<Plan> {
    let test = check.test.as_deref()?;
    let (kind, words) = test.split_first()?;
    let command = match kind.as_str() {
        "CMD" => words.to_vec(),
        "CMD-SHELL" => {
            let shell = record.config.shell.clone();
            let mut command = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            command.push(words.join(" "));
            command
        }
        _ => return None,
    };
    let time = |nanos: i64, default: u64| match u64::try_from(nanos) {
        Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
        _ => Duration::from_secs(default),
    };
    Some(Plan {
        command,
        interval: time(check.interval, 30),
        timeout: time(check.timeout, 30),
        start_period: time(check.start_period, 0),
        start_interval: time(check.start_interval, 5),
        retries: u32::try_from(check.retries).ok().filter(|n| *n > 0).unwrap_or(3),
    })
}

async fn watch(engine: Shared, handle: Arc<Handle>, plan: Plan, pid: u32) {
    let began = tokio::time::Instant::now();
    loop {
        let starting = began.elapsed() < plan.start_period
            && handle.health.lock().as_ref().is_some_and(|health| health.status == "starting");
        let pause = if starting { plan.start_interval.min(plan.interval) } else { plan.interval };
        tokio::time::sleep(pause).await;
        if handle.live().is_none_or(|live| live.pid != pid) {
            return;
        }
        if handle.view().state.status != crate::view::Status::Running {
            continue;
        }
        let start = Timestamp::now();
        let (exit_code, output) =
            match tokio::time::timeout(plan.timeout, check(&engine, &handle, &plan)).await {
                Ok(Ok(ran)) => ran,
                Ok(Err(error)) => (-1, error.chain()),
                Err(_) => (-1, format!("Health check exceeded timeout ({:?})", plan.timeout)),
            };
        if handle.live().is_none_or(|live| live.pid != pid) {
            return;
        }
        let run = HealthRun { start, end: Timestamp::now(), exit_code, output };
        let grace = began.elapsed() < plan.start_period;
        let changed = handle
            .health
            .lock()
            .as_mut()
            .and_then(|health| judge(health, run, plan.retries, grace));
        if let Some(status) = changed {
            engine.tell_view(&handle.view(), format!("health_status: {status}"), &[]);
        }
    }
}

/// Adds a run; returns the new status if it changed. A failure within the start period does not count until the first success.
fn judge(health: &mut HealthView, run: HealthRun, retries: u32, grace: bool) -> Option<String> {
    let healthy = run.exit_code == 0;
    health.log.push(run);
    if health.log.len() > RUNS {
        health.log.remove(0);
    }
    let before = health.status.clone();
    if healthy {
        health.failing_streak = 0;
        "healthy".clone_into(&mut health.status);
    } else if !(grace && before == "starting") {
        health.failing_streak += 1;
        if health.failing_streak >= retries {
            "unhealthy".clone_into(&mut health.status);
        }
    }
    (health.status != before).then(|| health.status.clone())
}

/// Runs the check once: its exit code and what it printed.
async fn check(engine: &Engine, handle: &Arc<Handle>, plan: &Plan) -> Result<(i64, String)> {
    let config = ExecConfig {
        attach_stdout: true,
        attach_stderr: true,
        tty: true,
        cmd: plan.command.clone(),
        ..ExecConfig::default()
    };
    let exec = engine.new_exec(handle, config, true)?;
    let pair = || -> std::io::Result<(UnixStream, OwnedFd)> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((UnixStream::from_std(ours)?, theirs.into()))
    };
    let (mut ours, theirs) = pair().map_err(|error| host_error("make", "socket pair", error))?;
    let attach = Attach {
        target: Target::Init,
        stdin: false,
        stdout: true,
        stderr: true,
        detach_keys: Vec::new(),
        initial: Vec::new(),
        preface: Vec::new(),
    };
    engine.run_exec(&exec, Some((&theirs, attach)), None).await?;
    drop(theirs);
    let mut output = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        match ours.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                let room = OUTPUT_BYTES.saturating_sub(output.len()).min(count);
                output.extend_from_slice(&buffer[..room]);
            }
        }
    }
    for _ in 0..100 {
        if let Some(code) = Engine::exec_exit(&exec) {
            return Ok((code.into(), String::from_utf8_lossy(&output).into_owned()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(EngineError::internal("health check: no exit status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(exit_code: i64) -> HealthRun {
        HealthRun {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            exit_code,
            output: String::new(),
        }
    }

    #[test]
    fn three_failures_are_unhealthy_and_one_success_heals() {
        let mut health =
            HealthView { status: "starting".into(), failing_streak: 0, log: Vec::new() };
        assert_eq!(judge(&mut health, run(1), 3, true), None, "the start period forgives");
        assert_eq!(health.failing_streak, 0);
        assert_eq!(judge(&mut health, run(1), 3, false), None);
        assert_eq!(judge(&mut health, run(2), 3, false), None);
        assert_eq!(judge(&mut health, run(1), 3, false).as_deref(), Some("unhealthy"));
        assert_eq!(judge(&mut health, run(0), 3, false).as_deref(), Some("healthy"));
        assert_eq!(judge(&mut health, run(0), 3, false), None);
        assert_eq!(health.log.len(), RUNS);
    }
}
