//! `cargo xtask demo`: one container from the embedded image, seen from inside and from the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::{self, Profile};
use crate::shell;

/// A private daemon that ends, with everything it made, when this value is dropped.
struct Private {
    dir: PathBuf,
    programs: PathBuf,
    daemon: Child,
}

impl Private {
    fn start(programs: &Path) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("belljar-demo-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let log = fs::File::create(dir.join("log"))?;
        let daemon = Command::new(programs.join("belljard"))
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("run"))
            .arg("--host")
            .arg(format!("unix://{}", dir.join("sock").display()))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .args(["--bridge", "belljardemo0"])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start `belljard`")?;
        let mut private = Self { dir, programs: programs.to_owned(), daemon };
        private.wait_ready()?;
        Ok(private)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if self.belljar(&["images", "-q", "belljar/hello"]).is_ok_and(|out| !out.is_empty()) {
                return Ok(());
            }
            if let Some(status) = self.daemon.try_wait()? {
                bail!("belljard ended with {status}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("belljard does not answer: {}", self.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn client(&self) -> Command {
        let mut command = Command::new(self.programs.join("belljar"));
        command.env("DOCKER_HOST", format!("unix://{}", self.dir.join("sock").display()));
        command
    }

    fn belljar(&self, args: &[&str]) -> Result<String> {
        shell::output(self.client().args(args))
    }

    /// Shows the command as a user would type it, then runs it.
    fn show(&self, args: &[&str]) -> Result<()> {
        println!("\n$ belljar {}", args.join(" "));
        let status = self.client().args(args).status().context("start `belljar`")?;
        if !status.success() {
            bail!("`belljar {}` ended with {status}: {}", args.join(" "), self.log());
        }
        Ok(())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let ids = self.belljar(&["ps", "-aq"]).unwrap_or_default();
        for id in ids.split_whitespace() {
            let _ = self.belljar(&["rm", "-f", id]);
        }
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
        let _ =
            Command::new("ip").args(["link", "del", "belljardemo0"]).stderr(Stdio::null()).status();
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("left behind: `{}`: {error}", self.dir.display());
        }
    }
}

/// Shows what the host's kernel says about process `pid`, next to the command that asks it.
fn evidence(pid: &str) {
    for (what, command) in [
        ("one process, two PIDs (host, container)", format!("grep NSpid /proc/{pid}/status")),
        (
            "its namespaces",
            format!(
                "cd /proc/{pid}/ns && readlink cgroup ipc mnt net pid uts user time | tr '\\n' ' '"
            ),
        ),
        (
            "the host's namespaces",
            "cd /proc/self/ns && readlink cgroup ipc mnt net pid uts user time | tr '\\n' ' '"
                .to_owned(),
        ),
        (
            "who started it",
            format!(
                "p={pid}; while [ \"$p\" -gt 0 ]; do printf '%s %s\\n' \"$p\" \"$(tr '\\0' ' ' </proc/$p/cmdline | cut -c1-100)\"; p=$(awk '/^PPid/{{print $2}}' /proc/$p/status); done"
            ),
        ),
        ("its control groups", format!("cat /proc/{pid}/cgroup")),
        ("one kernel: the host's release", "uname -r".to_owned()),
    ] {
        println!("\n# host: {what}\n$ {command}");
        let _ = Command::new("sh").arg("-c").arg(&command).status();
        println!();
    }
}

/// `cargo xtask demo`.
pub fn run(_args: &[String]) -> Result<()> {
    if !shell::is_root() {
        bail!(
            "the demo makes namespaces, mounts and control groups and needs root\n\ntype: sudo -E cargo xtask demo"
        );
    }
    let programs = build::build(Profile::Release)?;
    let began = Instant::now();
    let private = Private::start(&programs)?;
    private.show(&[
        "run",
        "--rm",
        "--name",
        "hello",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "50",
        "belljar/hello",
    ])?;
    private.show(&[
        "run",
        "-d",
        "--name",
        "jar",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "belljar/hello",
        "sleep",
        "infinity",
    ])?;
    private.show(&["ps"])?;
    let pid = private.belljar(&["inspect", "-f", "{{.State.Pid}}", "jar"])?;
    evidence(&pid);
    private.show(&["exec", "jar", "/bin/hello", "ps"])?;
    private.show(&["stats", "--no-stream"])?;
    private.show(&["rm", "-f", "jar"])?;
    println!(
        "\nBelljar ran two containers and showed them in {:.1} s. Nothing is left behind.",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
