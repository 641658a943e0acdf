//! A stand-in for an OCI runtime in the shim's tests: runc's command line, no isolation at all.
//!
//! `create` starts a shell that waits at a fifo and then becomes `process.args`; `start` writes to the fifo; `exec` runs at once.

use rustix::fs::{FileType, Mode};
use rustix::pty::OpenptFlags;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

#[derive(Default)]
struct Args {
    root: PathBuf,
    log: PathBuf,
    command: String,
    bundle: PathBuf,
    pid_file: PathBuf,
    console: Option<PathBuf>,
    process: PathBuf,
    id: String,
}

fn parse() -> Args {
    let mut args = Args::default();
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        let mut value = || given.next().expect("a value");
        match arg.as_str() {
            "--root" => args.root = value().into(),
            "--log" => args.log = value().into(),
            "--log-format" => drop(value()),
            "--bundle" => args.bundle = value().into(),
            "--pid-file" => args.pid_file = value().into(),
            "--console-socket" => args.console = Some(value().into()),
            "--process" => args.process = value().into(),
            "--detach" => {}
            _ if args.command.is_empty() => args.command = arg,
            _ => args.id = arg,
        }
    }
    args
}

fn main() -> ExitCode {
    // A test that was started in the background inherits ignored signals; a real runtime gives the container none of them.
    sys::clone::reset_signals();
    let args = parse();
    fs::create_dir_all(&args.root).expect("root");
    let fifo = args.root.join(format!("{}.fifo", args.id));
    let result = match args.command.as_str() {
        "create" => create(&args, &fifo),
        "start" => fs::write(&fifo, "go\n").map_err(|err| err.to_string()),
        "exec" => run(&args, &process(&args.process, "/args"), None),
        other => Err(format!("unknown command {other}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let line = serde_json::json!({"level": "error", "msg": message});
            fs::write(&args.log, format!("{line}\n")).expect("log");
            ExitCode::from(255)
        }
    }
}

fn process(file: &Path, pointer: &str) -> Vec<String> {
    let text = fs::read(file).expect("a document");
    let document: serde_json::Value = serde_json::from_slice(&text).expect("json");
    let args = document.pointer(pointer).expect("args").clone();
    serde_json::from_value(args).expect("strings")
}

fn create(args: &Args, fifo: &Path) -> Result<(), String> {
    let dir = rustix::fs::CWD;
    let _ = fs::remove_file(fifo);
    rustix::fs::mknodat(dir, fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("fifo");
    run(args, &process(&args.bundle.join("config.json"), "/process/args"), Some(fifo))
}

#[expect(
    clippy::zombie_processes,
    reason = "the process outlives this one: its next parent reaps it"
)]
fn run(args: &Args, argv: &[String], fifo: Option<&Path>) -> Result<(), String> {
    let found = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", &argv[0]]).status();
    if !found.expect("sh").success() {
        return Err(format!(
            "exec failed: unable to start container process: exec: {:?}: executable file not found in $PATH",
            argv[0]
        ));
    }
    let mut command = Command::new("setsid");
    let gate = fifo.map_or("exec \"$@\"".to_owned(), |fifo| {
        format!("read go < {}; exec \"$@\"", fifo.display())
    });
    if let Some(console) = &args.console {
        let slave = terminal(console);
        command.arg("-c").stdin(slave.try_clone().expect("dup"));
        command.stdout(slave.try_clone().expect("dup")).stderr(Stdio::from(slave));
    }
    let child = command.args(["sh", "-c", &gate, "init"]).args(argv).spawn().expect("spawn");
    fs::write(&args.pid_file, child.id().to_string()).expect("pid file");
    Ok(())
}

/// Makes a terminal, sends its master to the socket and returns the other end.
fn terminal(console: &Path) -> OwnedFd {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("pty");
    rustix::pty::unlockpt(&master).expect("unlock");
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY)
        .expect("peer");
    let socket = sys::scm::connect(console).expect("console socket");
    sys::scm::send_all(socket.as_fd(), b"/dev/ptmx", &[master.as_fd()]).expect("send");
    slave
}
