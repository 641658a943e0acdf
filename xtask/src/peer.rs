//! The two engines that the bench compares: a private real Docker and a private Belljar, each in a network namespace of its own.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell;

/// An engine that ends, with everything it made, when this value is dropped.
pub struct Peer {
    /// What the tables call it.
    pub name: &'static str,
    dir: PathBuf,
    namespace: String,
    processes: Vec<Child>,
}

impl Peer {
    /// Starts Debian's dockerd with a containerd of its own.
    pub fn docker() -> Result<Self> {
        Self::docker_with("docker", &[], &[])
    }

    /// Starts Debian's dockerd with more options; `shell` are commands that run first, in a mount namespace of the engine's own.
    pub fn docker_with(name: &'static str, options: &[&str], shell: &[&str]) -> Result<Self> {
        let mut peer = Self::prepare(name)?;
        fs::write(peer.dir.join("daemon.json"), "{}")?;
        let text = |name: &str| peer.dir.join(name).display().to_string();
        let (ctrd, host) = (text("containerd.sock"), peer.host());
        let (data, run, pid, json) =
            (text("data"), text("run"), text("dockerd.pid"), text("daemon.json"));
        peer.start_containerd(shell)?;
        let namespace = format!("--mount=/proc/{}/ns/mnt", peer.processes[0].id());
        let mut words = vec!["nsenter", &namespace];
        words.extend(["dockerd", "-H", &host, "--containerd", &ctrd, "--data-root", &data]);
        words.extend(["--exec-root", &run, "--pidfile", &pid, "--config-file", &json]);
        words.extend(options);
        peer.spawn("dockerd", &words)?;
        peer.wait_until_it_answers()?;
        Ok(peer)
    }

    /// Starts Debian's containerd alone.
    pub fn containerd(name: &'static str) -> Result<Self> {
        let mut peer = Self::prepare(name)?;
        peer.start_containerd(&[])?;
        Ok(peer)
    }

    /// Makes the directory and the network namespace for an engine without a daemon.
    pub fn bare(name: &'static str) -> Result<Self> {
        Self::prepare(name)
    }

    fn start_containerd(&mut self, shell: &[&str]) -> Result<()> {
        let config = format!(
            "version = 2\nroot = \"{0}/ctrd-root\"\nstate = \"{0}/ctrd-state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = \"{0}/containerd.sock\"\n",
            self.dir.display()
        );
        let toml = self.dir.join("containerd.toml");
        fs::write(&toml, config)?;
        let toml = toml.display().to_string();
        if shell.is_empty() {
            self.spawn("containerd", &["containerd", "-c", &toml])?;
        } else {
            let script = format!("{}; exec containerd -c '{toml}'", shell.join("; "));
            let words = ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", &script];
            self.spawn("containerd", &words)?;
        }
        self.wait_for_socket("containerd.sock")
    }

    /// Returns the directory of everything that the engine writes.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the words that lead a command into the engine's network namespace.
    pub fn entry(&self) -> Vec<String> {
        vec!["nsenter".into(), format!("--net=/run/netns/{}", self.namespace)]
    }

    /// Starts Belljar.
    pub fn belljar(programs: &Path) -> Result<Self> {
        let mut peer = Self::prepare("belljar")?;
        let text = |name: &str| peer.dir.join(name).display().to_string();
        let (host, data, run, pid) = (peer.host(), text("data"), text("run"), text("pid"));
        let program = programs.join("belljard").display().to_string();
        peer.spawn(
            "belljard",
            &[
                &program,
                "-H",
                &host,
                "--data-root",
                &data,
                "--exec-root",
                &run,
                "--pidfile",
                &pid,
                "--bridge",
                "bjbench0",
            ],
        )?;
        peer.wait_until_it_answers()?;
        Ok(peer)
    }

    fn prepare(name: &'static str) -> Result<Self> {
        let unique = std::process::id();
        let dir = std::env::temp_dir().join(format!("bj-bench-{unique}-{name}"));
        fs::create_dir_all(&dir)?;
        let namespace = format!("bj-bench-{unique}-{name}");
        shell::output(Command::new("ip").args(["netns", "add", &namespace]))?;
        let peer = Self { name, dir, namespace, processes: Vec::new() };
        shell::output(peer.inside(&["ip", "link", "set", "lo", "up"]).stdin(Stdio::null()))?;
        Ok(peer)
    }

    /// `ip netns exec` would remount /sys and hide the control groups; `nsenter` does not.
    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).args(words);
        command
    }

    fn spawn(&mut self, log: &str, words: &[&str]) -> Result<()> {
        let log = fs::File::create(self.dir.join(format!("{log}.log")))?;
        let mut command = self.inside(words);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.processes.push(command.spawn().with_context(|| format!("start `{}`", words[0]))?);
        Ok(())
    }

    fn wait_for_socket(&self, name: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(self.dir.join(name)).is_err() {
            if Instant::now() > end {
                bail!(
                    "{} does not listen on `{name}`; its logs are in `{}`",
                    self.name,
                    self.dir.display()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn wait_until_it_answers(&self) -> Result<()> {
        self.wait_for_socket("sock")?;
        let end = Instant::now() + Duration::from_secs(60);
        while shell::output(self.command("docker").arg("version")).is_err() {
            if Instant::now() > end {
                bail!("{} does not answer; its logs are in `{}`", self.name, self.dir.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Returns the engine's address as `DOCKER_HOST` takes it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.join("sock").display())
    }

    /// Returns a command of the client `program` that talks to this engine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.dir.join("client"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the stock client and returns what it printed.
    pub fn docker_cli(&self, args: &[&str]) -> Result<String> {
        shell::output(self.command("docker").args(args))
    }

    /// Returns the proportional set size of the engine's resident processes, in KiB.
    pub fn pss(&self) -> u64 {
        self.processes.iter().map(|child| pss(&child.id().to_string())).sum()
    }

    /// Lists the helper processes whose command line names this engine's directory or `ids`.
    pub fn helpers(&self, program: &str) -> Vec<String> {
        let dir = self.dir.display().to_string();
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        pids.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains(&dir)
                && line.split('\0').next().is_some_and(|first| first.ends_with(program))
        })
        .collect()
    }
}

/// Returns the proportional set size of a process, in KiB; 0 when it is gone.
pub fn pss(pid: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Ok(ids) = self.docker_cli(&["ps", "-aq"]) {
            for id in ids.split_whitespace() {
                let _ = self.docker_cli(&["rm", "-f", id]);
            }
        }
        for child in self.processes.iter_mut().rev() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
        for target in mounts_below(&self.dir) {
            let _ = Command::new("umount").args(["-l", &target]).status();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn mounts_below(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let targets = text.lines().rev().filter_map(|line| line.split(' ').nth(4));
    targets.filter(|target| target.starts_with(&dir)).map(str::to_owned).collect()
}
