//! Drives one runtime through one case and gathers the facts.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::bundle::{self, Site};
use super::cases::{Case, Way};
use super::observe::{self, Facts};
use crate::conformance::lane::{Said, eventually};

/// The fact that a life ended before its time.
pub const BROKE_OFF: &str = "broke off";

/// A runtime under comparison.
pub struct Runtime {
    /// `belljar`, `runc` or `crun`.
    pub name: &'static str,
    /// Its program.
    pub path: PathBuf,
}

/// One run of one case.
struct Life<'a> {
    runtime: &'a Runtime,
    site: &'a Site,
    facts: Facts,
}

/// Runs `case` and returns everything that was seen.
pub fn live(runtime: &Runtime, case: &Case, site: &Site, busybox: &Path) -> Result<Facts> {
    bundle::make(site, busybox)?;
    let mut spec = site.spec();
    (case.edit)(&mut spec, site);
    fs::write(site.dir.join("config.json"), serde_json::to_vec_pretty(&spec)?)?;
    let mut life = Life { runtime, site, facts: Facts::new() };
    let result = match case.way {
        Way::Life => life.whole(false),
        Way::Terminal => life.whole(true),
        Way::Run => life.run(),
        Way::Refused => life.refused(),
        Way::Created => life.created(),
        Way::Misuse => life.misuse(),
    };
    if let Err(error) = result {
        // Never the same as a peer's: a life that ends early shows nothing.
        life.note(BROKE_OFF, format!("{}: {error:#}", runtime.name));
    }
    life.clean_up();
    Ok(life.facts)
}

impl Life<'_> {
    fn note(&mut self, name: &str, value: impl Into<String>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["-k", "5", "30"])
            .arg(&self.runtime.path)
            .arg("--root")
            .arg(self.site.dir.join("root"));
        command.args(["--log", &self.site.path("log.json"), "--log-format", "json"]).args(words);
        // A home and a secret that must not leak into the container.
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/of/the/host")
            .env("SECRET", "of the host");
        command.current_dir(&self.site.dir);
        command
    }

    /// Runs a command with the standard streams in files: a container keeps them open.
    fn call(&self, words: &[&str]) -> Result<Said> {
        let (out, err) = (self.site.dir.join("out"), self.site.dir.join("err"));
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let status = command.status().with_context(|| format!("start `{}`", self.runtime.name))?;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
        let code = status.code().unwrap_or(128 + signal);
        Ok(Said {
            code,
            out: fs::read_to_string(&out).unwrap_or_default(),
            err: fs::read_to_string(&err).unwrap_or_default(),
        })
    }

    /// Notes how a command ended: status and kind of message.
    fn ended(&mut self, step: &str, said: &Said) {
        self.note(&format!("{step}: status"), said.code.to_string());
        if said.code != 0 {
            let log = fs::read_to_string(self.site.dir.join("log.json")).unwrap_or_default();
            // Some print their help to the output when they are misused.
            let text = if said.err.trim().is_empty() { &log } else { &said.err };
            self.note(&format!("{step}: message"), kind_of(text));
            let logged = log.lines().any(|line| {
                line.contains("\"level\":\"error\"") || line.contains("\"level\": \"error\"")
            });
            self.note(&format!("{step}: logged"), logged.to_string());
        }
        let _ = fs::remove_file(self.site.dir.join("log.json"));
    }

    fn step(&mut self, step: &str, words: &[&str]) -> Result<Said> {
        let said = self.call(words)?;
        self.ended(step, &said);
        Ok(said)
    }

    fn id(&self) -> String {
        self.site.id.clone()
    }

    /// Notes the state document and returns the process id.
    fn state(&mut self, when: &str) -> Result<u32> {
        let said = self.call(&["state", &self.id()])?;
        self.ended(&format!("state {when}"), &said);
        let value: Value = serde_json::from_str(&said.out).unwrap_or(Value::Null);
        let mut pid = 0;
        for (key, value) in value.as_object().into_iter().flatten() {
            let text = match key.as_str() {
                "pid" => {
                    pid = value.as_u64().unwrap_or(0);
                    (pid > 0).to_string()
                }
                "created" => value
                    .as_str()
                    .is_some_and(|time| time.len() >= 20 && time.ends_with('Z'))
                    .to_string(),
                _ => self.site.plain(&value.to_string()),
            };
            self.note(&format!("state {when}: {key}"), text);
        }
        Ok(u32::try_from(pid)?)
    }

    fn create(&mut self, terminal: bool) -> Result<(Said, Option<OwnedFd>)> {
        let (bundle, pid_file, socket) =
            (self.site.path(""), self.site.path("pid"), self.site.path("tty.sock"));
        let id = self.id();
        let mut words = vec!["create", "--bundle", &bundle, "--pid-file", &pid_file];
        let listener = if terminal {
            words.extend(["--console-socket", &socket]);
            Some(UnixListener::bind(&socket)?)
        } else {
            None
        };
        words.push(&id);
        let said = self.call(&words)?;
        let master = match (&listener, said.code) {
            (Some(listener), 0) => Some(receive(listener)?),
            _ => None,
        };
        Ok((said, master))
    }

    fn whole(&mut self, terminal: bool) -> Result<()> {
        let (said, master) = self.create(terminal)?;
        self.ended("create", &said);
        ensure!(said.code == 0, "create: {}", kind_of(&said.err));
        // The container keeps writing to the file that it was given.
        let out = self.site.dir.join("container");
        fs::rename(self.site.dir.join("out"), &out)?;
        let pid = self.state("created")?;
        let written = fs::read_to_string(self.site.dir.join("pid")).unwrap_or_default();
        self.note("pid file tells the pid", (written.trim() == pid.to_string()).to_string());
        self.step("start", &["start", &self.id()])?;
        let text = match master {
            Some(master) => read_terminal(master)?,
            None => {
                eventually("READY", || {
                    Ok(fs::read_to_string(&out)?.contains("READY") || gone(pid))
                })?;
                fs::read_to_string(&out)?
            }
        };
        self.said_inside("inside", &text);
        ensure!(!gone(pid), "the process ended: {}", text.lines().last().unwrap_or_default());
        self.state("running")?;
        // The shell becomes `sleep`; what is read before would differ by chance.
        eventually("sleep", || Ok(sleeps(pid)))?;
        observe::process(&mut self.facts, "init", pid, self.site)?;
        observe::groups(&mut self.facts, "group", pid)?;
        observe::devices(&mut self.facts, pid);
        self.exec()?;
        self.freeze(pid)?;
        self.end(pid)
    }

    /// Notes lines `@name value`.
    fn said_inside(&mut self, who: &str, text: &str) {
        for line in text.lines().filter_map(|line| line.trim_end().strip_prefix('@')) {
            let cut = ["sysctl", "writable", "list", "bytes", "device"]
                .iter()
                .any(|word| line.starts_with(&format!("{word} ")));
            let mut parts = line.splitn(if cut { 3 } else { 2 }, ' ');
            let mut name = parts.next().unwrap_or_default().to_owned();
            if cut {
                name = format!("{name} {}", parts.next().unwrap_or_default());
            }
            self.note(&format!("{who} {name}"), self.site.plain(parts.next().unwrap_or_default()));
        }
    }

    fn exec(&mut self) -> Result<()> {
        let id = self.id();
        let said = self.step("exec with status", &["exec", &id, "/bin/sh", "/probe", "6"])?;
        self.said_inside("exec", &said.out);
        let pid_file = self.site.path("exec.pid");
        self.step(
            "exec detached",
            &["exec", "--detach", "--pid-file", &pid_file, &id, "/bin/sleep", "1000"],
        )?;
        if let Ok(pid) = fs::read_to_string(&pid_file).unwrap_or_default().trim().parse::<u32>() {
            eventually("sleep", || Ok(gone(pid) || sleeps(pid)))?;
            observe::process(&mut self.facts, "exec", pid, self.site)?;
        }
        self.step(
            "exec as a user",
            &[
                "exec",
                "--user",
                "1000:1001",
                "--env",
                "B=c",
                "--cwd",
                "/tmp",
                &id,
                "/bin/sh",
                "-c",
                "id -u; pwd; echo $B $HOME",
            ],
        )
        .map(|said| self.note("exec as a user: output", said.out))?;
        self.step("exec of what is not there", &["exec", &id, "/nope"])?;
        self.step("exec of what may not run", &["exec", &id, "/plain"])?;
        self.step("exec of a directory", &["exec", &id, "/etc"])?;
        Ok(())
    }

    fn freeze(&mut self, pid: u32) -> Result<()> {
        self.step("pause", &["pause", &self.id()])?;
        self.state("paused")?;
        observe::groups(&mut self.facts, "paused group", pid)?;
        self.facts.retain(|name, _| !name.starts_with("paused group") || name.contains("fre"));
        self.step("exec while paused", &["exec", &self.id(), "/bin/true"])?;
        self.step("resume", &["resume", &self.id()])?;
        self.step("resume again", &["resume", &self.id()]).map(drop)
    }

    fn end(&mut self, pid: u32) -> Result<()> {
        self.step("delete while running", &["delete", &self.id()])?;
        self.step("kill", &["kill", &self.id(), "KILL"])?;
        eventually("the end", || Ok(gone(pid)))?;
        self.state("stopped")?;
        self.step("kill when stopped", &["kill", &self.id(), "TERM"])?;
        self.step("exec when stopped", &["exec", &self.id(), "/bin/true"])?;
        self.step("delete", &["delete", &self.id()])?;
        self.left();
        self.step("delete again", &["delete", &self.id()])?;
        self.step("delete --force again", &["delete", "--force", &self.id()]).map(drop)
    }

    fn run(&mut self) -> Result<()> {
        let said = self.step("run", &["run", "--bundle", &self.site.path(""), &self.id()])?;
        let ours = |line: &&str| {
            !line.contains("level=") && !line.contains("ERRO[") && !line.contains("error")
        };
        self.note("run: output", said.out.lines().filter(ours).collect::<Vec<_>>().join("; "));
        self.left();
        Ok(())
    }

    fn refused(&mut self) -> Result<()> {
        let (said, _) = self.create(false)?;
        self.ended("create", &said);
        if said.code == 0 {
            self.step("start", &["start", &self.id()])?;
        }
        self.note("pid file", self.site.dir.join("pid").exists().to_string());
        let state = self.call(&["state", &self.id()])?;
        self.note("state: status", state.code.to_string());
        self.left();
        Ok(())
    }

    fn created(&mut self) -> Result<()> {
        let (said, _) = self.create(false)?;
        self.ended("create", &said);
        let pid = self.state("created")?;
        observe::groups(&mut self.facts, "group", pid)?;
        self.step("exec", &["exec", &self.id(), "/bin/true"])?;
        self.step("delete", &["delete", &self.id()])?;
        self.left();
        let (said, _) = self.create(false)?;
        self.ended("create again", &said);
        self.step("kill", &["kill", &self.id(), "KILL"])?;
        self.step("delete --force", &["delete", "--force", &self.id()])?;
        Ok(())
    }

    fn misuse(&mut self) -> Result<()> {
        let bundle = self.site.path("");
        for (step, words) in [
            ("state of none", vec!["state", "nope"]),
            ("start of none", vec!["start", "nope"]),
            ("kill of none", vec!["kill", "nope", "TERM"]),
            ("delete of none", vec!["delete", "nope"]),
            ("delete --force of none", vec!["delete", "--force", "nope"]),
            ("exec in none", vec!["exec", "nope", "/bin/true"]),
            ("pause of none", vec!["pause", "nope"]),
            ("events of none", vec!["events", "--stats", "nope"]),
            ("an id with a slash", vec!["create", "--bundle", &bundle, "a/b"]),
            ("an empty id", vec!["create", "--bundle", &bundle, ""]),
            ("a dot as id", vec!["create", "--bundle", &bundle, ".."]),
            ("no id", vec!["create", "--bundle", &bundle]),
            ("no bundle", vec!["create", "--bundle", "/nope", "nope"]),
            ("unknown option", vec!["create", "--nope", "nope"]),
            ("unknown command", vec!["nope"]),
        ] {
            self.step(step, &words)?;
        }
        let id = self.id();
        let (said, _) = self.create(false)?;
        self.ended("create", &said);
        let pid = self.state("created")?;
        for (step, words) in [
            ("create twice", vec!["create", "--bundle", &bundle, &id]),
            ("kill with an unknown signal", vec!["kill", &id, "NOPE"]),
            ("kill with 0", vec!["kill", &id, "0"]),
            ("resume when not paused", vec!["resume", &id]),
            ("start", vec!["start", &id]),
            ("start twice", vec!["start", &id]),
            ("kill by number", vec!["kill", &id, "9"]),
        ] {
            self.step(step, &words)?;
        }
        eventually("the end", || Ok(gone(pid)))?;
        for (step, words) in [
            ("start when stopped", vec!["start", &id]),
            ("pause when stopped", vec!["pause", &id]),
            ("resume when stopped", vec!["resume", &id]),
            ("update when stopped", vec!["update", "--pids-limit", "5", &id]),
            ("ps when stopped", vec!["ps", &id]),
            ("kill --all when stopped", vec!["kill", "--all", &id, "KILL"]),
            ("delete", vec!["delete", &id]),
        ] {
            self.step(step, &words)?;
        }
        self.left();
        Ok(())
    }

    /// Notes what is left behind: state, groups, mounts, files in the root file system, and what hooks told.
    fn left(&mut self) {
        let state = self.site.dir.join("root").join(&self.site.id);
        self.note("left: state", state.exists().to_string());
        self.note("left: groups", self.groups_left().join(" "));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        self.note("left: mounts", mounts.matches(&self.site.path("")).count().to_string());
        // What the probe leaves depends on when it was killed; it is asked for where it came to its end.
        let _ = fs::remove_dir(self.site.rootfs().join("made"));
        observe::tree(&mut self.facts, "left in the root:", &self.site.rootfs(), "", 3);
        let log = fs::read_to_string(self.site.dir.join("hooks/log")).unwrap_or_default();
        for (n, line) in log.lines().enumerate() {
            self.note(
                &format!("hook {n}"),
                without_numbers(&without_version(&self.site.plain(line))),
            );
        }
    }

    fn groups_left(&self) -> Vec<String> {
        let bases = fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let bases = bases.chain([PathBuf::from("/sys/fs/cgroup")]);
        let names = [self.site.group.trim_start_matches('/').to_owned(), self.site.id.clone()];
        let mut left = Vec::new();
        for base in bases {
            for name in &names {
                if base.join(name).is_dir() {
                    left.push(self.site.plain(&base.join(name).display().to_string()));
                }
            }
        }
        left.sort();
        left
    }

    fn clean_up(&mut self) {
        let _ = self.call(&["delete", "--force", &self.id()]);
        for group in [self.site.group.clone(), format!("/{}", self.site.id)] {
            drop(crate::conformance::engines::Groups(group));
        }
    }
}

/// Tells whether a process has become `sleep`: the name changes first, the arguments and the environment last.
fn sleeps(pid: u32) -> bool {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let command = read("cmdline");
    read("comm").contains("sleep")
        && (command.starts_with("/bin/sleep\0") || command.starts_with("sleep\0"))
}

/// Tells whether a process has ended; one that nobody waited for yet counts.
fn gone(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
        }
        Err(_) => true,
    }
}

/// Replaces process ids and times: numbers of more than two digits that stand alone.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        out.push_str(if digits.len() > 2 { "N" } else { &digits });
        digits.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}

/// Takes the version out of a state document: each runtime names its own.
fn without_version(text: &str) -> String {
    let text = text.replace("\"pid\":0,", "");
    let Some((head, rest)) = text.split_once("\"ociVersion\":\"") else { return text.to_owned() };
    format!("{head}{}", rest.split_once("\",").map_or("", |(_, rest)| rest))
}

/// Sorts a message into a kind: runtimes say the same thing in other words.
fn kind_of(text: &str) -> String {
    let text = text.to_lowercase();
    let kinds: &[(&str, &[&str])] = &[
        ("not executable", &["permission denied", "not executable"]),
        (
            "not found",
            &["no such file", "not found", "does not exist", "enoent", "no container", "not exist"],
        ),
        ("exists", &["already exists", "already in use", "with given id"]),
        ("is a directory", &["is a directory"]),
        ("not a directory", &["not a directory", "not directory"]),
        ("not permitted", &["operation not permitted"]),
        (
            "not running",
            &[
                "not running",
                "cannot exec in a stopped",
                "stopped",
                "process already finished",
                "is not in the",
                "not paused",
                "no such process",
            ],
        ),
        ("running", &["is not stopped", "cannot delete", "paused", "running"]),
        ("out of memory", &["oom", "memory"]),
    ];
    let kind = kinds.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    kind.map_or("other", |(name, _)| name).to_owned()
}

fn receive(listener: &UnixListener) -> Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let (stream, _) = listener.accept()?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 4096];
    rustix::net::recvmsg(
        &stream,
        &mut [std::io::IoSliceMut::new(&mut byte)],
        &mut buffer,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in buffer.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            return fds.next().context("an empty message");
        }
    }
    anyhow::bail!("no descriptor on the console socket")
}

/// Reads the terminal until the probe is ready; the other end stays open for the life of this process.
fn read_terminal(master: OwnedFd) -> Result<String> {
    let mut file = File::from(master);
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    let end = Instant::now() + Duration::from_secs(20);
    while !text.contains("READY") {
        ensure!(Instant::now() < end, "the terminal says: {text}");
        let n = file.read(&mut buffer)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    std::mem::forget(file);
    Ok(text)
}
