//! From the command line to a detached shim that listens.

use crate::ShimError;
use crate::args::Args;
use crate::log::Log;
use crate::runtime::{Runtime, read_config};
use crate::stdio::PipeInodes;
use crate::supervisor::Supervisor;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use sys::event::{Fork, SignalFd};

/// Names the inode numbers of the container's pipes inside the state directory.
pub(crate) const PIPES_NAME: &str = "pipes.json";

/// The shim's own log inside the state directory.
pub(crate) const LOG_NAME: &str = "shim.log";

/// Listens, detaches and serves. In the foreground process it returns once the socket listens.
pub(crate) fn run(args: Args) -> Result<(), ShimError> {
    sys::event::keep_heap_small();
    // Whatever the caller has left open must not reach the container.
    sys::clone::close_on_exec_from(3)
        .map_err(|err| ShimError::io("close", "descriptors", err.into()))?;
    let bundle = absolute(&args.bundle)?;
    let state_dir = absolute(&args.state_dir)?;
    let config = read_config(&bundle)?;
    let log = Log::open(&config.log).map_err(|err| ShimError::io("open", &config.log.path, err))?;
    let dir = open_state_dir(&state_dir)?;
    let adopted = args.adopt.map(|pid| adopt(pid, &state_dir)).transpose()?;
    forget_the_former(&state_dir)?;
    let listener = sys::scm::listen_at(dir.as_fd(), shim_protocol::SOCKET_NAME, 64)
        .map_err(|err| ShimError::io("listen on", state_dir.join("shim.sock"), err))?;

    if !args.foreground {
        // The pid file is complete before the caller goes on.
        match sys::event::fork_single_threaded() {
            Ok(Fork::Parent(child)) => return write_pid(&state_dir, child),
            Ok(Fork::Child) => detach()?,
            Err(err) => return Err(ShimError::io("fork", "belljar-shim", err)),
        }
    } else {
        write_pid(&state_dir, std::process::id())?;
    }
    sys::pidfd::become_subreaper().map_err(|err| ShimError::io("become", "subreaper", err))?;
    let signals = SignalFd::new(&[libc_signal::CHLD, libc_signal::TERM, libc_signal::INT])
        .map_err(|err| ShimError::io("open", "signalfd", err))?;
    leave_last_words(&state_dir);
    let runtime = Runtime::new(config, args.id, bundle, state_dir);
    let mut supervisor = Supervisor::new(runtime, dir, listener, signals, log);
    if let Some((pid, pidfd, pipes)) = adopted {
        supervisor.adopt(pid, pidfd, &pipes);
    }
    supervisor.serve()
}

/// A shim that ends by a fault of its own says where in its log: its standard error is closed.
fn leave_last_words(state_dir: &Path) {
    let path = state_dir.join(LOG_NAME);
    std::panic::set_hook(Box::new(move |panic| append(&path, &panic.to_string())));
}

/// Writes a line to the shim's own log, which exists only if something went wrong.
pub(crate) fn append(path: &Path, text: &str) {
    if let Ok(mut file) = File::options().create(true).append(true).open(path) {
        // There is no further place to complain to.
        let _ = writeln!(file, "{text}");
    }
}

/// Signal numbers of Linux on every architecture that Belljar knows.
mod libc_signal {
    pub(super) const INT: i32 = 2;
    pub(super) const TERM: i32 = 15;
    pub(super) const CHLD: i32 = 17;
}

fn absolute(path: &Path) -> Result<PathBuf, ShimError> {
    std::path::absolute(path).map_err(|err| ShimError::io("resolve", path, err))
}

fn open_state_dir(path: &Path) -> Result<File, ShimError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|err| ShimError::io("create", path, err))?;
    File::open(path).map_err(|err| ShimError::io("open", path, err))
}

/// Removes what an earlier life of the container has left: its end is not the end of this one.
fn forget_the_former(state_dir: &Path) -> Result<(), ShimError> {
    let path = state_dir.join(shim_protocol::EXIT_NAME);
    match fs::remove_file(&path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(ShimError::io("remove", path, err))
        }
        _ => Ok(()),
    }
}

/// Takes hold of a running container's init process.
fn adopt(pid: u32, state_dir: &Path) -> Result<(u32, std::os::fd::OwnedFd, PipeInodes), ShimError> {
    let pidfd = sys::pidfd::open(pid)
        .map_err(|err| ShimError::io("adopt process", pid.to_string(), err))?;
    let pipes = fs::read(state_dir.join(PIPES_NAME))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    Ok((pid, pidfd, pipes))
}

fn write_pid(state_dir: &Path, pid: u32) -> Result<(), ShimError> {
    let path = state_dir.join(shim_protocol::PID_NAME);
    fs::write(&path, format!("{pid}\n")).map_err(|err| ShimError::io("write", path, err))
}

/// Leaves the caller's session, terminal, directory and standard streams.
fn detach() -> Result<(), ShimError> {
    let fail = |err: rustix::io::Errno| ShimError::io("detach", "belljar-shim", err.into());
    rustix::process::setsid().map_err(fail)?;
    rustix::process::chdir("/").map_err(fail)?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|err| ShimError::io("open", "/dev/null", err))?;
    rustix::stdio::dup2_stdin(&null).map_err(fail)?;
    rustix::stdio::dup2_stdout(&null).map_err(fail)?;
    rustix::stdio::dup2_stderr(&null).map_err(fail)
}
