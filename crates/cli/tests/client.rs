//! The program `belljar` against an engine that is not one: a socket with answers written down.
//!
//! What is looked at is what leaves the program: the order of its requests, its output, its exit code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// What the engine was asked, in order: method and target.
type Log = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
    fn pass(&self) {
        let _open = self.0.1.wait_while(self.0.0.lock().unwrap(), |open| !*open).unwrap();
    }
}

struct Engine {
    _dir: tempfile::TempDir,
    path: PathBuf,
    log: Log,
}

/// What one connection needs to know.
#[derive(Clone)]
struct Shared {
    log: Log,
    started: Gate,
    ended: Gate,
    pulled: Gate,
    script: Script,
}

/// What the container of a test does.
#[derive(Clone, Copy)]
struct Script {
    image_present: bool,
    start_error: Option<&'static str>,
    output: fn(&mut UnixStream),
    exit_code: u8,
    newest_version: &'static str,
}

const PLAIN: Script = Script {
    image_present: true,
    start_error: None,
    output: |stream| {
        frame(stream, 1, b"hello\n");
        frame(stream, 2, b"oops\n");
    },
    exit_code: 0,
    newest_version: "1.51",
};

fn frame(stream: &mut UnixStream, number: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let _ = stream.write_all(&[&[number, 0, 0, 0][..], &length, payload].concat());
}

fn answer(stream: &mut UnixStream, status: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + body).as_bytes());
}

/// Reads one request: method and target, and its body by Content-Length.
fn request(stream: &mut UnixStream) -> Option<(String, String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned))
        .map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let mut words = head.split(' ');
    Some((words.next()?.to_owned(), words.next()?.to_owned(), body))
}

impl Engine {
    fn start(script: Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let log = Log::default();
        let shared = Shared {
            log: Arc::clone(&log),
            started: Gate::default(),
            ended: Gate::default(),
            pulled: Gate::default(),
            script,
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { _dir: dir, path, log }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belljar"));
        command
            .args(args)
            .env("DOCKER_HOST", format!("unix://{}", self.path.display()))
            .env("DOCKER_CONFIG", self.path.parent().unwrap())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> (String, String, i32) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(stdout), text(stderr), status.code().unwrap())
    }

    fn asked(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

fn serve(mut stream: UnixStream, shared: &Shared) {
    while let Some((method, target, _)) = request(&mut stream) {
        let (version, path) = target[2..].split_once('/').unwrap();
        shared.log.lock().unwrap().push(format!("{method} /{path}"));
        if version > shared.script.newest_version {
            let words = format!(
                r#"{{"message":"client version {version} is too new. Maximum supported API version is {}"}}"#,
                shared.script.newest_version
            );
            answer(&mut stream, "400 Bad Request", &words);
            continue;
        }
        if !route(&mut stream, shared, path) {
            return;
        }
    }
}

fn route(stream: &mut UnixStream, shared: &Shared, path: &str) -> bool {
    let script = shared.script;
    let present = script.image_present || *shared.pulled.0.0.lock().unwrap();
    match path.split('?').next().unwrap() {
        "containers/create" if !present => {
            answer(stream, "404 Not Found", r#"{"message":"No such image: absent:latest"}"#);
        }
        "containers/create" => answer(stream, "201 Created", r#"{"Id":"c0ffee","Warnings":[]}"#),
        "images/create" => {
            shared.pulled.open();
            answer(
                stream,
                "200 OK",
                "{\"status\":\"Pulling from library/absent\",\"id\":\"latest\"}\r\n{\"status\":\"Pull complete\",\"progressDetail\":{},\"id\":\"aaaaaaaaaaaa\"}\r\n{\"status\":\"Digest: sha256:1\"}\r\n{\"status\":\"Status: Downloaded newer image for absent:latest\"}\r\n",
            );
        }
        "containers/c0ffee/wait" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
            shared.ended.pass();
            let body = format!("{{\"StatusCode\":{}}}\n", script.exit_code);
            let _ = write!(stream, "{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        }
        "containers/c0ffee/start" => match script.start_error {
            Some(words) => {
                answer(stream, "400 Bad Request", &format!("{{\"message\":\"{words}\"}}"));
            }
            None => {
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                shared.started.open();
            }
        },
        "containers/c0ffee/attach" => {
            let _ = stream.write_all(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
            shared.started.pass();
            (script.output)(stream);
            shared.ended.open();
            return false;
        }
        "containers/c0ffee/kill" => {
            answer(stream, "204 No Content", "");
        }
        "containers/json" => answer(stream, "200 OK", &many_containers()),
        _ => answer(stream, "404 Not Found", r#"{"message":"page not found"}"#),
    }
    true
}

fn many_containers() -> String {
    let one = r#"{"Id":"0123456789abcdef","Names":["/x"],"Image":"busybox","Command":"sh","Created":1,"Ports":[],"State":"running","Status":"Up"}"#;
    format!("[{}]", vec![one; 5000].join(","))
}

#[test]
fn run_asks_in_dockers_order() {
    let engine = Engine::start(PLAIN);
    assert_eq!(
        engine.run(&["run", "--rm", "busybox", "true"]),
        ("hello\n".into(), "oops\n".into(), 0)
    );
    let asked = engine.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert_eq!(asked[0], "POST /containers/create");
    let mut between = [asked[1].as_str(), asked[2].as_str()];
    between.sort_unstable();
    assert_eq!(
        between,
        [
            "POST /containers/c0ffee/attach?stderr=1&stdout=1&stream=1",
            "POST /containers/c0ffee/wait?condition=removed"
        ]
    );
    assert_eq!(asked[3], "POST /containers/c0ffee/start");
}

#[test]
fn a_missing_image_is_pulled_and_said() {
    let engine = Engine::start(Script { image_present: false, ..PLAIN });
    let (out, err, code) = engine.run(&["run", "absent"]);
    assert_eq!((out.as_str(), code), ("hello\n", 0));
    assert_eq!(
        err,
        "Unable to find image 'absent:latest' locally\n\
         latest: Pulling from library/absent\n\
         aaaaaaaaaaaa: Pull complete\n\
         Digest: sha256:1\n\
         Status: Downloaded newer image for absent:latest\n\
         oops\n"
    );
    let asked = engine.asked();
    let creations = asked.iter().filter(|line| line.starts_with("POST /containers/create")).count();
    assert_eq!(creations, 2);
    assert_eq!(asked[1], "POST /images/create?fromImage=docker.io%2Flibrary%2Fabsent&tag=latest");
}

#[test]
fn the_exit_code_is_the_containers_or_says_why_it_did_not_start() {
    assert_eq!(Engine::start(Script { exit_code: 42, ..PLAIN }).run(&["run", "busybox"]).2, 42);
    for (words, code) in [
        ("exec: x: executable file not found in $PATH: unknown", 127),
        ("exec: /etc/passwd: permission denied: unknown", 126),
        ("something else", 125),
    ] {
        let (out, err, got) =
            Engine::start(Script { start_error: Some(words), ..PLAIN }).run(&["run", "busybox"]);
        assert_eq!((out.as_str(), got), ("", code));
        assert_eq!(
            err,
            format!(
                "belljar: Error response from daemon: {words}\n\nRun 'belljar run --help' for more information\n"
            )
        );
    }
}

#[test]
fn standard_input_reaches_the_container_and_ends() {
    let echo = |stream: &mut UnixStream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        frame(stream, 1, &all);
    };
    let engine = Engine::start(Script { output: echo, ..PLAIN });
    let mut child = engine
        .command(&["run", "-i", "busybox", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through and back").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"through and back");
}

#[test]
fn a_large_stream_arrives_whole() {
    const FRAMES: usize = 1000;
    let flood = |stream: &mut UnixStream| {
        for number in 0..FRAMES {
            frame(stream, 1, &vec![b'a' + u8::try_from(number % 26).unwrap(); 32_000]);
        }
    };
    let output = Engine::start(Script { output: flood, ..PLAIN })
        .command(&["run", "busybox"])
        .output()
        .unwrap();
    assert_eq!(output.stdout.len(), FRAMES * 32_000);
    assert!(
        output
            .stdout
            .chunks(32_000)
            .enumerate()
            .all(|(n, piece)| piece.iter().all(|b| usize::from(b - b'a') == n % 26))
    );
}

#[test]
fn a_closed_pipe_is_quiet() {
    let engine = Engine::start(PLAIN);
    let mut child =
        engine.command(&["ps"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(141));
}

#[test]
fn an_older_engine_is_spoken_to_in_its_version() {
    let engine = Engine::start(Script { newest_version: "1.44", ..PLAIN });
    let (out, _, code) = engine.run(&["ps", "-q"]);
    assert_eq!((out.lines().count(), code), (5000, 0));
    assert_eq!(engine.asked().len(), 2);
}

#[test]
fn signals_go_to_the_container() {
    let patient = |stream: &mut UnixStream| {
        frame(stream, 1, b"ready\n");
        thread::sleep(std::time::Duration::from_millis(400));
    };
    let engine = Engine::start(Script { output: patient, exit_code: 143, ..PLAIN });
    let mut child = engine.command(&["run", "busybox"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(
        engine.asked().contains(&"POST /containers/c0ffee/kill?signal=TERM".to_owned()),
        "{:?}",
        engine.asked()
    );
}

#[test]
fn no_engine_is_said_in_words() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belljar"));
    let output = command.args(["-H", "unix:///nonexistent/engine.sock", "ps"]).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "Cannot connect to the Belljar daemon at unix:///nonexistent/engine.sock. Is the belljar daemon running?\n\n\
         hint: start it with 'belljard', or name another socket with -H or DOCKER_HOST\n"
    );
    assert_eq!(output.status.code(), Some(1));
}
