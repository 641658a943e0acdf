//! A private daemon and the clients that talk to it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{Out, host, image_tar, programs};

/// Which client a test types its commands with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The stock `docker`.
    Docker,
    /// Our `belljar`.
    Belljar,
}

/// A running `belljard` with directories, a socket and a bridge of its own.
pub struct Daemon {
    dir: PathBuf,
    args: Vec<String>,
    bridge: String,
    child: Option<Child>,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Daemon {
    /// Starts a daemon that finds images in the loopback registry.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a daemon with more arguments.
    #[must_use]
    pub fn with(args: &[&str]) -> Self {
        let mut daemon = Self::prepare(args);
        daemon.restart();
        daemon
    }

    /// Makes the directories of a daemon without starting it.
    #[must_use]
    pub fn prepare(args: &[&str]) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let unique = std::process::id();
        let dir = std::env::temp_dir().join(format!("bj-{unique}-{n}"));
        fs::create_dir_all(&dir).unwrap();
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self { dir, args, bridge: format!("bjt{}x{n}", unique % 100_000), child: None }
    }

    /// Starts the daemon, again if it was killed, and waits until it answers.
    pub fn restart(&mut self) {
        self.spawn();
        let end = Instant::now() + Duration::from_secs(30);
        while !self.docker(&["version"]).stderr.is_empty() {
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().unwrap()) {
                panic!("belljard ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < end, "belljard does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the daemon without waiting.
    pub fn spawn(&mut self) {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log")).unwrap();
        let octet = (std::process::id() / 200 + NEXT.load(Ordering::Relaxed)) % 250;
        let third =
            self.bridge.bytes().fold(0_u32, |sum, b| sum.wrapping_mul(31) + u32::from(b)) % 250;
        let child = Command::new(programs().join("belljard"))
            .args(["--data-root", self.path("data").to_str().unwrap()])
            .args(["--exec-root", self.path("run").to_str().unwrap()])
            .args(["--host", &self.host(), "--pidfile", self.path("pid").to_str().unwrap()])
            .args(["--bridge", &self.bridge, "--bip", &format!("10.{octet}.{third}.1/24")])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start belljard");
        self.child = Some(child);
    }

    /// Kills the daemon with SIGKILL.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("a running daemon");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends the daemon with SIGTERM: it takes its bridge and rules away.
    fn terminate(&mut self) {
        let pid = self.pid();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)))) {
                self.child = None;
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill9();
    }

    /// Returns the daemon's process id.
    #[must_use]
    pub fn pid(&self) -> String {
        self.child.as_ref().expect("a running daemon").id().to_string()
    }

    /// Returns a path inside the daemon's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns the daemon's address as `DOCKER_HOST` takes it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    /// Returns what the daemon wrote to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Returns a command of `client` that talks to this daemon.
    #[must_use]
    pub fn command(&self, client: Client) -> Command {
        let mut command = match client {
            Client::Docker => Command::new("docker"),
            Client::Belljar => Command::new(programs().join("belljar")),
        };
        command
            .env("DOCKER_HOST", self.host())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("DOCKER_CONTEXT");
        command.env("DOCKER_CONFIG", self.path("client"));
        command
    }

    /// Runs a command of `client` to its end.
    #[must_use]
    pub fn run(&self, client: Client, args: &[&str]) -> Out {
        self.run_with_input(client, args, b"")
    }

    /// Runs a command of `client` with `input` on its standard input.
    #[must_use]
    pub fn run_with_input(&self, client: Client, args: &[&str], input: &[u8]) -> Out {
        let mut command = self.command(client);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the client");
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Out::new(format!("{client:?} {}", args.join(" ")), &output)
    }

    /// Runs the stock client.
    #[must_use]
    pub fn docker(&self, args: &[&str]) -> Out {
        self.run(Client::Docker, args)
    }

    /// Runs our client.
    #[must_use]
    pub fn belljar(&self, args: &[&str]) -> Out {
        self.run(Client::Belljar, args)
    }

    /// Loads a test image.
    pub fn load(&self, name: &str) {
        let tar = image_tar(name);
        let _ = self.docker(&["load", "-q", "-i", tar.to_str().unwrap()]).ok();
    }

    /// Returns the host's process id of a container's init.
    #[must_use]
    pub fn pid_of(&self, container: &str) -> String {
        self.docker(&["inspect", "-f", "{{.State.Pid}}", container]).ok()
    }

    /// Returns the shim of a container.
    #[must_use]
    pub fn shim_of(&self, id: &str) -> String {
        let dir = self.dir.to_string_lossy().into_owned();
        let shims = host::with_pid(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("belljar-shim")
                && line.contains(id)
                && line.contains(&dir)
                && host::pid_alive(pid)
        });
        assert_eq!(shims.len(), 1, "shims of {id}: {shims:?}");
        shims[0].clone()
    }

    /// Lists what of this daemon's is left on the host: mounts, processes, links.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let dir = self.dir.to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut found: Vec<String> = mounts
            .lines()
            .filter(|line| line.contains(&dir))
            .map(|line| format!("mount {line}"))
            .collect();
        let daemon = self.child.as_ref().map(|c| c.id().to_string()).unwrap_or_default();
        found.extend(
            host::with_pid(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                pid != daemon && String::from_utf8_lossy(&line).contains(&format!("{dir}/run"))
            })
            .into_iter()
            .map(|pid| format!("process {pid}")),
        );
        found.extend(ports_of(&self.bridge).into_iter().map(|link| format!("link {link}")));
        found
    }

    fn clean_up(&mut self) {
        if self.child.is_some() {
            let ids = self.docker(&["ps", "-aq"]).stdout;
            for id in ids.split_whitespace() {
                let _ = self.docker(&["rm", "-f", "-v", id]);
            }
            self.terminate();
        }
        for line in self.leftovers() {
            if let Some(pid) = line.strip_prefix("process ") {
                let _ = Command::new("kill").args(["-9", pid]).status();
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let dir = self.dir.to_string_lossy().into_owned();
        for target in mounts.lines().rev().filter_map(|line| line.split(' ').nth(4)) {
            if target.starts_with(&dir) {
                let _ = Command::new("umount").args(["-l", target]).status();
            }
        }
        let _ =
            Command::new("ip").args(["link", "del", &self.bridge]).stderr(Stdio::null()).status();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        self.clean_up();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn ports_of(bridge: &str) -> Vec<String> {
    let dir = Path::new("/sys/class/net").join(bridge).join("brif");
    fs::read_dir(dir).map_or_else(
        |_| Vec::new(),
        |entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect(),
    )
}
