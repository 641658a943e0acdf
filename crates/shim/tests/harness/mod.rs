//! A daemon's side of the conversation with a real shim over a stand-in runtime.

#![allow(dead_code, reason = "each test binary uses a part")]

use shim_protocol::{
    Attach, Decoder, Event, Exec, Exit, LogConfig, LogDriver, Message, Request, Response,
    ShimConfig, Target, stdcopy,
};
use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Daemon {
    state: PathBuf,
    stream: UnixStream,
    decoder: Decoder,
    next: u64,
    pub(crate) events: VecDeque<Event>,
}

impl Daemon {
    pub(crate) fn connect(state: &Path) -> Daemon {
        let stream = sys::scm::connect(&state.join(shim_protocol::SOCKET_NAME)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Daemon {
            state: state.to_owned(),
            stream,
            decoder: Decoder::default(),
            next: 0,
            events: VecDeque::new(),
        }
    }

    pub(crate) fn send(&mut self, request: Request, socket: Option<&UnixStream>) -> u64 {
        self.next += 1;
        let fds: Vec<_> = socket.iter().map(|socket| socket.as_fd()).collect();
        let message = Message::Request { id: self.next, request };
        let frame = shim_protocol::encode(&message, fds.len() as u16).unwrap();
        sys::scm::send_all(self.stream.as_fd(), &frame, &fds).unwrap();
        self.next
    }

    pub(crate) fn ask(&mut self, request: Request) -> Response {
        self.ask_with(request, None)
    }

    pub(crate) fn ask_with(&mut self, request: Request, socket: Option<&UnixStream>) -> Response {
        let asked = self.send(request, socket);
        loop {
            match self.next_message().expect("the shim is there") {
                Message::Response { id, response } => {
                    assert_eq!(id, asked);
                    return response;
                }
                Message::Event { event } => self.events.push_back(event),
                Message::Request { .. } => panic!("a shim asks nothing"),
            }
        }
    }

    fn next_message(&mut self) -> Option<Message> {
        let mut buffer = [0; 4096];
        loop {
            if let Some((message, _)) = self.decoder.next_message().unwrap() {
                return Some(message);
            }
            let read = self.stream.read(&mut buffer);
            // A signal to the test ends a read with a timeout.
            if read.as_ref().is_err_and(|err| err.kind() == std::io::ErrorKind::Interrupted) {
                continue;
            }
            let read = read.unwrap_or_else(|err| {
                let words = fs::read_to_string(self.state.join("shim.log"));
                panic!("no answer: {err}; the shim's log: {words:?}")
            });
            match read {
                0 => return None,
                len => self.decoder.push(&buffer[..len]),
            }
        }
    }

    pub(crate) fn next_event(&mut self) -> Event {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        match self.next_message().expect("an event") {
            Message::Event { event } => event,
            other => panic!("not an event: {other:?}"),
        }
    }

    pub(crate) fn wait_exit(&mut self) -> Exit {
        loop {
            match self.next_event() {
                Event::Exited(exit) => return exit,
                Event::ExecExited { exec_id, .. } => {
                    self.ask(Request::ExecSeen { exec_id });
                }
                _ => {}
            }
        }
    }

    /// Waits until the shim closes the connection: it is gone then.
    pub(crate) fn wait_gone(mut self) {
        while self.next_message().is_some() {}
    }

    pub(crate) fn attach(&mut self, attach: Attach) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(self.ask_with(Request::Attach(attach), Some(&theirs)), Response::Ok);
        ours
    }

    pub(crate) fn exec(&mut self, exec: Exec) -> (UnixStream, Response) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let response = self.ask_with(Request::Exec(Box::new(exec)), Some(&theirs));
        (ours, response)
    }
}

pub(crate) fn attach_to(target: Target) -> Attach {
    Attach {
        target,
        stdin: true,
        stdout: true,
        stderr: true,
        detach_keys: vec![16, 17],
        initial: Vec::new(),
        preface: Vec::new(),
    }
}

pub(crate) fn exec(id: &str, args: &[&str]) -> Exec {
    Exec {
        exec_id: id.into(),
        process: serde_json::json!({ "args": args }),
        tty: false,
        stdin: true,
        console_size: None,
        attach: Some(attach_to(Target::Init)),
        runtime_args: Vec::new(),
    }
}

pub(crate) struct Case {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) id: String,
    pub(crate) config: ShimConfig,
}

pub(crate) fn shim_program() -> PathBuf {
    std::env::var_os("BELLJAR_SHIM").map_or(env!("CARGO_BIN_EXE_belljar-shim").into(), Into::into)
}

impl Case {
    /// A bundle for `sh -c script`.
    pub(crate) fn new(script: &str) -> Case {
        Case::with_args(&["sh", "-c", script])
    }

    pub(crate) fn with_args(args: &[&str]) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let id = format!("{:032x}{:032x}", std::process::id(), fastrand());
        let bundle = dir.path().join("bundle");
        fs::create_dir(&bundle).unwrap();
        let document = serde_json::json!({"process": {"args": args}}).to_string();
        fs::write(bundle.join("config.json"), document).unwrap();
        let program = std::env::current_exe().unwrap();
        let runtime = program.parent().unwrap().parent().unwrap().join("examples/fake-runtime");
        assert!(runtime.exists(), "`cargo test -p shim --examples` builds the stand-in runtime");
        let config = ShimConfig {
            runtime,
            runtime_args: Vec::new(),
            runtime_root: dir.path().join("runtime"),
            systemd_cgroup: false,
            tty: false,
            open_stdin: false,
            stdin_once: false,
            log: LogConfig {
                path: dir.path().join("c-json.log"),
                driver: LogDriver::JsonFile,
                max_size: None,
                max_file: None,
            },
            console_size: None,
        };
        Case { dir, id, config }
    }

    pub(crate) fn set_script(&mut self, script: &str) {
        let document = serde_json::json!({"process": {"args": ["sh", "-c", script]}}).to_string();
        fs::write(self.dir.path().join("bundle/config.json"), document).unwrap();
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn spawn(&self, more: &[&str]) -> bool {
        let bundle = self.dir.path().join("bundle");
        let text = serde_json::to_string(&self.config).unwrap();
        fs::write(bundle.join("shim.json"), text).unwrap();
        let status = Command::new(shim_program())
            .args(["--id", &self.id])
            .arg("--bundle")
            .arg(&bundle)
            .arg("--state-dir")
            .arg(self.state())
            .args(more)
            .status()
            .unwrap();
        status.success()
    }

    pub(crate) fn shim(&self) -> Daemon {
        assert!(self.spawn(&[]));
        let mut daemon = Daemon::connect(&self.state());
        assert_eq!(daemon.ask(Request::Subscribe), Response::Ok);
        daemon
    }

    pub(crate) fn shim_pid(&self) -> i32 {
        fs::read_to_string(self.state().join("shim.pid")).unwrap().trim().parse().unwrap()
    }

    /// Creates and starts; returns the init's pid.
    pub(crate) fn run(&self, daemon: &mut Daemon) -> u32 {
        let Response::Created { pid } = daemon.ask(Request::Create) else { panic!("not created") };
        assert_eq!(daemon.ask(Request::Start), Response::Started);
        pid
    }

    pub(crate) fn log(&self) -> Vec<(String, String)> {
        read_log(&self.config.log.path)
    }

    pub(crate) fn exit_record(&self) -> shim_protocol::ExitRecord {
        let text = fs::read(self.state().join("exit.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

pub(crate) fn read_log(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            (text("stream"), text("log"))
        })
        .collect()
}

fn fastrand() -> u128 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(1);
    u128::from(hasher.finish())
}

/// Reads frames to the end and joins each stream's bytes.
pub(crate) fn read_frames(mut stream: &UnixStream) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    split_frames(&bytes)
}

pub(crate) fn split_frames(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let (stream, len) = stdcopy::parse_header(*header).unwrap();
        let (payload, rest) = rest.split_at(len as usize);
        match stream {
            stdcopy::Stream::Stdout => out.extend_from_slice(payload),
            stdcopy::Stream::Stderr => err.extend_from_slice(payload),
            other => panic!("stream {other:?}"),
        }
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a torn frame");
    (out, err)
}

pub(crate) fn read_until(mut stream: &UnixStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        let len = stream.read(&mut buffer).unwrap_or_else(|err| {
            panic!("waiting for {wanted:?}: {err}; seen {:?}", String::from_utf8_lossy(&seen))
        });
        assert!(len > 0, "ended before {wanted:?}: {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..len]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

pub(crate) fn type_into(mut stream: &UnixStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}

pub(crate) fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
