//! Further processes in a running container. They are not state of the container: no actor is asked.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use shim_protocol::stdcopy::Stream;
use shim_protocol::{Attach, Exec as ShimExec, Request as ShimRequest, Response, Target};
use types::oci::runtime::{ConsoleSize, Process, Spec};
use types::{ContainerId, Kind};

use crate::engine::{Engine, blocking, host_error};
use crate::request::ExecStart;
use crate::roster::Handle;
use crate::shimlink::{describe, unexpected};
use crate::spec::{apply_env, capabilities, capability_sets, oci_user, user};
use crate::transition::{Request, check};
use crate::view::{ExecConfig, ExecView};
use crate::{EngineError, Result};

/// How far an exec is.
#[derive(Clone, Copy, Debug, Default)]
struct Stage {
    started: bool,
    running: bool,
    pid: u32,
    exit_code: Option<i32>,
}

/// One exec.
pub(crate) struct Exec {
    id: String,
    handle: Arc<Handle>,
    config: ExecConfig,
    detach_keys: Vec<u8>,
    stage: Mutex<Stage>,
    /// Not told in events: a health check.
    quiet: bool,
}

/// An exec that is about to start.
pub struct ExecTicket {
    /// Whether the stream is raw (terminal) and not framed.
    pub tty: bool,
    engine: Arc<Engine>,
    exec: Arc<Exec>,
    console_size: Option<[u16; 2]>,
}

impl ExecTicket {
    /// Starts the exec with the client's socket; `initial` are bytes that the server already read from it. Returns once it
    /// runs. If it cannot, the reason has been written to the client in the stream's own framing and the socket is closed.
    ///
    /// # Errors
    /// As said above; nothing is left to do for the server.
    pub async fn start(self, client: OwnedFd, initial: Vec<u8>) -> Result<()> {
        let config = &self.exec.config;
        let attach = Attach {
            target: Target::Exec(self.exec.id.clone()),
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
            detach_keys: self.exec.detach_keys.clone(),
            initial,
            preface: Vec::new(),
        };
        let run = self.engine.run_exec(&self.exec, Some((&client, attach)), self.console_size);
        let Err(error) = run.await else { return Ok(()) };
        // What the runtime refused, the shim has told the client already.
        if error.exit_code().is_some() {
            return Err(error);
        }
        let text = format!("{}\r\n", error.chain());
        let mut bytes = Vec::new();
        if !self.tty {
            bytes.extend([Stream::Stdout as u8, 0, 0, 0]);
            bytes.extend(u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
        }
        bytes.extend(text.as_bytes());
        let _ = blocking(move || {
            crate::attach::write_all(&client, &bytes)
                .map_err(|error| host_error("write to", "client socket", error))
        })
        .await;
        Err(error)
    }
}

impl Engine {
    /// Makes an exec ready.
    ///
    /// # Errors
    /// `Conflict` when the container does not run or is paused; `Invalid`: no command.
    pub async fn exec_create(&self, name: &str, config: ExecConfig) -> Result<String> {
        let handle = self.find(name)?;
        let exec = self.new_exec(&handle, config, false)?;
        let id = exec.id.clone();
        let command = exec.config.cmd.join(" ");
        self.tell_view(
            &handle.view(),
            format!("exec_create: {command}"),
            &[("execID", id.clone())],
        );
        Ok(id)
    }

    pub(crate) fn new_exec(
        &self,
        handle: &Arc<Handle>,
        config: ExecConfig,
        quiet: bool,
    ) -> Result<Arc<Exec>> {
        let view = handle.view();
        check(view.state.status, Request::Exec, &view.name, view.id.as_str())?;
        if config.cmd.is_empty() {
            return Err(EngineError::invalid("No exec command specified"));
        }
        let keys =
            if config.detach_keys.is_empty() { None } else { Some(config.detach_keys.as_str()) };
        let detach_keys = crate::attach::detach_keys(keys)?;
        let random =
            sys::file::random::<32>().map_err(|error| host_error("read", "random bytes", error))?;
        let id = ContainerId::from_bytes(&random).to_string();
        let exec = Arc::new(Exec {
            id: id.clone(),
            handle: Arc::clone(handle),
            config,
            detach_keys,
            stage: Mutex::default(),
            quiet,
        });
        self.execs.write().insert(id, Arc::clone(&exec));
        Ok(exec)
    }

    fn find_exec(&self, id: &str) -> Result<Arc<Exec>> {
        let execs = self.execs.read();
        if let Some(exec) = execs.get(id) {
            return Ok(Arc::clone(exec));
        }
        let mut fits = execs.iter().filter(|(have, _)| !id.is_empty() && have.starts_with(id));
        match (fits.next(), fits.next()) {
            (Some((_, exec)), None) => Ok(Arc::clone(exec)),
            _ => Err(EngineError::not_found(format!("No such exec instance: {id}"))),
        }
    }

    /// Prepares to start an exec with a client's socket.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it was started before or its container does not run.
    pub async fn exec_attach(&self, exec: &str, request: ExecStart) -> Result<ExecTicket> {
        let exec = self.find_exec(exec)?;
        begin(&exec)?;
        let console_size = request.console_size.or(exec.config.console_size);
        Ok(ExecTicket { tty: exec.config.tty, engine: self.me(), exec, console_size })
    }

    /// Starts an exec without streams.
    ///
    /// # Errors
    /// As `exec_attach`; `Invalid` when its program cannot be executed.
    pub async fn exec_detached(&self, exec: &str) -> Result<()> {
        let exec = self.find_exec(exec)?;
        begin(&exec)?;
        self.run_exec(&exec, None, exec.config.console_size).await
    }

    /// Starts a prepared exec.
    pub(crate) async fn run_exec(
        &self,
        exec: &Arc<Exec>,
        client: Option<(&OwnedFd, Attach)>,
        console_size: Option<[u16; 2]>,
    ) -> Result<()> {
        let result = self.try_exec(exec, client, console_size).await;
        if let Err(error) = &result {
            let mut stage = exec.stage.lock();
            stage.running = false;
            stage.exit_code = Some(i32::from(error.exit_code().unwrap_or(126)));
        }
        result
    }

    async fn try_exec(
        &self,
        exec: &Arc<Exec>,
        client: Option<(&OwnedFd, Attach)>,
        console_size: Option<[u16; 2]>,
    ) -> Result<()> {
        let live = exec.handle.live().ok_or_else(|| not_running(&exec.handle))?;
        let (engine, wanted) = (self.me(), Arc::clone(exec));
        let process = blocking(move || engine.exec_process(&wanted, console_size)).await?;
        let process = serde_json::to_value(&process)
            .map_err(|error| EngineError::caused(Kind::Internal, "encode process", error))?;
        let (socket, attach) =
            client.map_or((None, None), |(fd, attach)| (Some(fd.as_fd()), Some(attach)));
        let request = ShimExec {
            exec_id: exec.id.clone(),
            process,
            tty: exec.config.tty,
            stdin: exec.config.attach_stdin,
            console_size,
            attach,
            runtime_args: Vec::new(),
        };
        exec.stage.lock().running = true;
        if !exec.quiet {
            let command = exec.config.cmd.join(" ");
            let more = [("execID", exec.id.clone())];
            self.tell_view(&exec.handle.view(), format!("exec_start: {command}"), &more);
        }
        match live.shim()?.request(ShimRequest::Exec(Box::new(request)), socket).await? {
            Response::ExecStarted { pid } => {
                exec.stage.lock().pid = pid;
                Ok(())
            }
            Response::Failed(failure) => {
                let cause = describe(&failure);
                let text = format!("OCI runtime exec failed: exec failed: {cause}: unknown");
                match crate::launch::exec_failure_code(&cause) {
                    Some(code) => Err(EngineError::invalid(text).with_exit_code(code)),
                    None => Err(EngineError::internal(text).with_exit_code(126)),
                }
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The OCI process of an exec: the container's own, changed by what was asked; blocks.
    fn exec_process(&self, exec: &Exec, console_size: Option<[u16; 2]>) -> Result<Process> {
        let path = self.bundle_dir(&exec.handle.id).join("config.json");
        let bytes =
            std::fs::read(&path).map_err(|error| host_error("read", path.display(), error))?;
        let spec: Spec = serde_json::from_slice(&bytes).map_err(|error| {
            EngineError::caused(Kind::Internal, format!("parse `{}`", path.display()), error)
        })?;
        let mut process = spec.process.unwrap_or_default();
        let (config, view) = (&exec.config, exec.handle.view());
        process.args.clone_from(&config.cmd);
        process.terminal = config.tty;
        process.console_size = console_size
            .map(|[h, w]| ConsoleSize { height: h.into(), width: w.into() })
            .filter(|_| config.tty);
        if config.tty && !process.env.iter().any(|entry| entry.starts_with("TERM=")) {
            process.env.push("TERM=xterm".to_owned());
        }
        if !config.user.is_empty() {
            let root = sys::inroot::open_root(&view.graph.merged)
                .map_err(|error| host_error("open", view.graph.merged.display(), error.into()))?;
            let groups = view.host_config.group_add.clone().unwrap_or_default();
            let found = user::resolve(root.as_fd(), &config.user, &groups)?;
            process.user = oci_user(&found);
            apply_env(&mut process.env, &[format!("HOME={}", found.home)]);
        }
        apply_env(&mut process.env, &config.env);
        if !config.working_dir.is_empty() {
            process.cwd = crate::mountpoint::clean(&config.working_dir);
        }
        if config.privileged {
            let all = capabilities::resolve(None, None, true, &self.host.capabilities)?;
            process.capabilities = Some(capability_sets(&all));
        }
        Ok(process)
    }

    /// Shows an exec.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn exec_inspect(&self, exec: &str) -> Result<ExecView> {
        let exec = self.find_exec(exec)?;
        let stage = *exec.stage.lock();
        Ok(ExecView {
            id: exec.id.clone(),
            container: exec.handle.id.clone(),
            running: stage.running,
            exit_code: stage.exit_code,
            pid: if stage.running { stage.pid } else { 0 },
            config: exec.config.clone(),
        })
    }

    /// Sets the size of an exec's terminal.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it does not run.
    pub async fn exec_resize(&self, exec: &str, height: u16, width: u16) -> Result<()> {
        let exec = self.find_exec(exec)?;
        if !exec.stage.lock().running {
            return Err(EngineError::conflict(format!("exec {} is not running", exec.id)));
        }
        let live = exec.handle.live().ok_or_else(|| not_running(&exec.handle))?;
        let target = Target::Exec(exec.id.clone());
        live.shim()?.demand(ShimRequest::Resize { target, height, width }, None).await
    }

    /// The shim told the end of an exec.
    pub(crate) fn exec_ended(&self, id: &str, code: Option<i32>) {
        let Some(exec) = self.execs.read().get(id).cloned() else { return };
        let code = code.unwrap_or(255);
        {
            let mut stage = exec.stage.lock();
            stage.running = false;
            stage.exit_code = Some(code);
        }
        if exec.quiet {
            self.execs.write().remove(id);
        } else {
            let more = [("execID", id.to_owned()), ("exitCode", code.to_string())];
            self.tell_view(&exec.handle.view(), "exec_die", &more);
        }
    }

    /// Takes up the execs that a shim has from before this engine. What they were asked for is not known any more.
    pub(crate) fn adopt_execs(&self, handle: &Arc<Handle>, execs: &[shim_protocol::ExecState]) {
        for found in execs {
            let ended = found.exit.map(|exit| exit.code.unwrap_or(255));
            let stage = Stage {
                started: true,
                running: ended.is_none(),
                pid: found.pid.unwrap_or(0),
                exit_code: ended,
            };
            let exec = Exec {
                id: found.exec_id.clone(),
                handle: Arc::clone(handle),
                config: ExecConfig::default(),
                detach_keys: Vec::new(),
                stage: Mutex::new(stage),
                quiet: false,
            };
            self.execs.write().insert(found.exec_id.clone(), Arc::new(exec));
        }
    }

    /// The exit code of an exec that has ended.
    pub(crate) fn exec_exit(exec: &Exec) -> Option<i32> {
        exec.stage.lock().exit_code
    }

    /// The container has ended and took its execs along.
    pub(crate) fn end_execs(&self, container: &ContainerId, code: i32) {
        for exec in self.execs.read().values().filter(|exec| exec.handle.id == *container) {
            let mut stage = exec.stage.lock();
            if stage.running {
                stage.running = false;
                stage.exit_code.get_or_insert(code);
            }
        }
    }

    pub(crate) fn forget_execs(&self, container: &ContainerId) {
        self.execs.write().retain(|_, exec| exec.handle.id != *container);
    }

    pub(crate) fn running_execs(&self, container: &ContainerId) -> Vec<String> {
        let execs = self.execs.read();
        let runs = |exec: &&Arc<Exec>| {
            exec.handle.id == *container && exec.stage.lock().running && !exec.quiet
        };
        execs.values().filter(runs).map(|exec| exec.id.clone()).collect()
    }
}

/// Takes the right to start an exec, which is had once.
fn begin(exec: &Exec) -> Result<()> {
    let view = exec.handle.view();
    check(view.state.status, Request::Exec, &view.name, view.id.as_str())?;
    let mut stage = exec.stage.lock();
    if stage.started {
        return Err(EngineError::conflict(format!("exec {} has already run", exec.id)));
    }
    stage.started = true;
    Ok(())
}

fn not_running(handle: &Handle) -> EngineError {
    EngineError::conflict(format!("container {} is not running", handle.id))
}
