//! The OCI runtime as a subprocess, by runc's command line.

use crate::ShimError;
use crate::stdio::ChildStdio;
use shim_protocol::{Exec, Failure, ShimConfig};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use sys::pidfd::Ended;
use types::{Chain, ContainerId};

/// As much of a runtime's words as is passed on.
const MAX_WORDS: u64 = 64 << 10;

/// Which connection and request wait for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) connection: u32,
    pub(crate) request: u64,
}

/// What a running runtime was asked to do.
#[derive(Debug)]
pub(crate) enum Step {
    Create,
    Start,
    Exec {
        /// The serial number of the process.
        serial: u32,
        exec_id: String,
    },
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Step::Create => "runtime create",
            Step::Start => "runtime start",
            Step::Exec { .. } => "runtime exec",
        }
    }
}

/// A runtime subprocess that has not ended yet.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) pid: u32,
    pub(crate) step: Step,
    pub(crate) reply: Reply,
    log: PathBuf,
    pid_file: PathBuf,
    process_file: Option<PathBuf>,
}

/// Where runtime calls of one container leave their files, and how they are made.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) config: ShimConfig,
    pub(crate) id: ContainerId,
    pub(crate) bundle: PathBuf,
    pub(crate) state_dir: PathBuf,
    serial: u32,
}

impl Runtime {
    pub(crate) fn new(
        config: ShimConfig,
        id: ContainerId,
        bundle: PathBuf,
        state_dir: PathBuf,
    ) -> Runtime {
        Runtime { config, id, bundle, state_dir, serial: 0 }
    }

    /// Starts `runtime create`.
    pub(crate) fn create(
        &mut self,
        stdio: ChildStdio,
        console: Option<PathBuf>,
        reply: Reply,
    ) -> Result<Job, ShimError> {
        let log = self.next_file("log");
        let pid_file = self.state_dir.join(shim_protocol::INIT_PID_NAME);
        let mut command = self.command(&log);
        command.arg("create").arg("--bundle").arg(&self.bundle).arg("--pid-file").arg(&pid_file);
        if let Some(console) = console {
            command.arg("--console-socket").arg(console);
        }
        command.arg(self.id.as_str());
        spawn(
            command,
            stdio,
            Job { pid: 0, step: Step::Create, reply, log, pid_file, process_file: None },
        )
    }

    /// Starts `runtime start`.
    pub(crate) fn start(&mut self, reply: Reply) -> Result<Job, ShimError> {
        let log = self.next_file("log");
        let mut command = self.command(&log);
        command.arg("start").arg(self.id.as_str());
        spawn(
            command,
            ChildStdio::null(),
            Job {
                pid: 0,
                step: Step::Start,
                reply,
                log,
                pid_file: PathBuf::new(),
                process_file: None,
            },
        )
    }

    /// Starts `runtime exec`.
    pub(crate) fn exec(
        &mut self,
        exec: &Exec,
        serial: u32,
        stdio: ChildStdio,
        console: Option<PathBuf>,
        reply: Reply,
    ) -> Result<Job, ShimError> {
        let log = self.next_file("log");
        let pid_file = self.next_file("pid");
        let process_file = self.next_file("json");
        write_private(&process_file, exec.process.to_string().as_bytes())
            .map_err(|err| ShimError::io("write", &process_file, err))?;
        let mut command = self.command(&log);
        command.arg("exec").arg("--detach").arg("--process").arg(&process_file);
        command.arg("--pid-file").arg(&pid_file);
        if let Some(console) = console {
            command.arg("--console-socket").arg(console);
        }
        command.args(&exec.runtime_args).arg(self.id.as_str());
        let step = Step::Exec { serial, exec_id: exec.exec_id.clone() };
        let process_file = Some(process_file);
        spawn(command, stdio, Job { pid: 0, step, reply, log, pid_file, process_file })
    }

    fn command(&self, log: &Path) -> Command {
        let config = &self.config;
        let mut command = Command::new(&config.runtime);
        command.args(&config.runtime_args).arg("--root").arg(&config.runtime_root);
        command.arg("--log").arg(log).args(["--log-format", "json"]);
        if config.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command
    }

    fn next_file(&mut self, extension: &str) -> PathBuf {
        self.serial += 1;
        self.state_dir.join(format!("runtime-{}.{extension}", self.serial))
    }
}

impl ChildStdio {
    fn null() -> ChildStdio {
        use std::process::Stdio;
        ChildStdio { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() }
    }
}

/// Starts the subprocess. Its end is learnt by reaping, not by waiting for it.
fn spawn(mut command: Command, stdio: ChildStdio, mut job: Job) -> Result<Job, ShimError> {
    command.stdin(stdio.stdin).stdout(stdio.stdout).stderr(stdio.stderr);
    match command.spawn() {
        Ok(child) => {
            job.pid = child.id();
            Ok(job)
        }
        Err(err) => {
            job.remove_files();
            Err(ShimError::io("run", PathBuf::from(command.get_program()), err))
        }
    }
}

impl Job {
    /// Whether it is an exec.
    pub(crate) fn is_exec(&self) -> bool {
        matches!(self.step, Step::Exec { .. })
    }

    /// Reads the process id that the runtime left.
    pub(crate) fn read_pid(&self) -> Result<u32, ShimError> {
        let text = fs::read_to_string(&self.pid_file)
            .map_err(|err| ShimError::io("read", &self.pid_file, err))?;
        text.trim()
            .parse()
            .map_err(|_| ShimError::io("parse", &self.pid_file, io::ErrorKind::InvalidData.into()))
    }

    /// Says why the runtime failed: its own last error, else its standard error, else its status.
    pub(crate) fn failure(&self, object: &str, ended: Ended, stderr: Option<&OwnedFd>) -> Failure {
        let log = read_some(&self.log);
        let said = stderr.map(drain).unwrap_or_default();
        let message =
            last_error(&log).or_else(|| last_line(&said)).unwrap_or_else(|| match ended {
                Ended::Code(code) => format!("ended with code {code}"),
                Ended::Signal(signal) => format!("ended by signal {signal}"),
            });
        Failure {
            step: self.step.name().to_owned(),
            object: object.to_owned(),
            errno: None,
            exit_code: Some(shell_code(&message).unwrap_or_else(|| ended.shell_code())),
            chain: vec![message],
            log: log + &said,
        }
    }

    /// Removes what the runtime no longer needs.
    pub(crate) fn remove_files(&self) {
        // What cannot be removed goes with the state directory.
        let _ = fs::remove_file(&self.log);
        if let Step::Exec { .. } = self.step {
            let _ = fs::remove_file(&self.pid_file);
        }
        if let Some(file) = &self.process_file {
            let _ = fs::remove_file(file);
        }
    }
}

/// What a shell would exit with if it could not run a command for this reason; Docker's clients look for the same words.
pub(crate) fn shell_code(message: &str) -> Option<i32> {
    let contains = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if contains(&[
        "permission denied",
        "Permission denied",
        "is a directory",
        "not a directory",
        "exec format error",
    ]) {
        Some(126)
    } else if contains(&[
        "executable file not found",
        "no such file or directory",
        "No such file or directory",
    ]) {
        Some(127)
    } else {
        None
    }
}

/// Makes a failure of a step that never reached the runtime.
pub(crate) fn own_failure(step: &str, object: &str, err: &ShimError) -> Failure {
    let errno = match err {
        ShimError::Io { err, .. } => err.raw_os_error(),
        _ => None,
    };
    Failure {
        step: step.to_owned(),
        object: object.to_owned(),
        errno,
        chain: vec![Chain(err).to_string()],
        ..Failure::default()
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)
}

fn read_some(path: &Path) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // A log that cannot be read says as much as an empty one.
        let _ = file.take(MAX_WORDS).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn drain(fd: &OwnedFd) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = rustix::io::read(fd, &mut buffer) {
        bytes.extend_from_slice(&buffer[..len]);
        if bytes.len() as u64 >= MAX_WORDS {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[derive(serde::Deserialize)]
struct LogLine {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// The message of the last error in a log of JSON lines; else of its last line.
fn last_error(log: &str) -> Option<String> {
    let parsed = || log.lines().rev().filter_map(|line| serde_json::from_str::<LogLine>(line).ok());
    parsed()
        .find(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic"))
        .or_else(|| parsed().next())
        .map(|line| line.msg)
        .filter(|message| !message.is_empty())
        .or_else(|| last_line(log))
}

fn last_line(text: &str) -> Option<String> {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Reads the shim's configuration from a bundle.
pub(crate) fn read_config(bundle: &Path) -> Result<ShimConfig, ShimError> {
    let path = bundle.join(shim_protocol::CONFIG_NAME);
    let text = fs::read(&path).map_err(|err| ShimError::io("read", &path, err))?;
    serde_json::from_slice(&text).map_err(|err| ShimError::Config { path, err })
}

/// Tells whether an exec's id may become part of a file name and of a message.
pub(crate) fn is_exec_id(id: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&id.len()) && id.bytes().all(ok) && OsStr::new(id) != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_runtime_log_is_its_message() {
        let log = "{\"level\":\"warning\",\"msg\":\"w\"}\n{\"level\":\"error\",\"msg\":\"exec: \\\"x\\\": executable file not found in $PATH\",\"time\":\"t\"}\n{\"level\":\"info\",\"msg\":\"late\"}\n";
        assert_eq!(last_error(log).unwrap(), "exec: \"x\": executable file not found in $PATH");
        assert_eq!(last_error("plain words\n\n").unwrap(), "plain words");
        assert_eq!(last_error("{\"level\":\"info\",\"msg\":\"m\"}").unwrap(), "m");
        assert_eq!(last_error(""), None);
    }

    #[test]
    fn failures_map_to_shell_codes() {
        assert_eq!(shell_code("exec: \"x\": executable file not found in $PATH"), Some(127));
        assert_eq!(shell_code("exec /x: no such file or directory"), Some(127));
        assert_eq!(shell_code("exec: \"/etc\": is a directory: permission denied"), Some(126));
        assert_eq!(shell_code("cgroup: device busy"), None);
    }
}
