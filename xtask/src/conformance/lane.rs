//! An engine with one runtime under it, as the checks drive it: by its command line, and by what the kernel shows of its containers.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long one command of a client may take, in seconds; one that hangs is a failure, not the end of the run.
const PATIENCE: &str = "60";

/// Whose command line it is: where the two differ, the checks ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Docker's.
    Docker,
    /// Podman's.
    Podman,
}

/// An engine with one runtime.
pub struct Lane {
    /// Whose command line it is.
    pub kind: Kind,
    /// The client, with everything that leads it to the private engine.
    pub prefix: Vec<String>,
    /// Environment of the client.
    pub env: Vec<(String, String)>,
    /// What every `run` and `create` is given beside the check's own words.
    pub always: Vec<String>,
    /// A directory of the lane's own.
    pub dir: PathBuf,
    /// The parent of its control groups.
    pub group: String,
}

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    /// Its exit status; 128 and the signal where one ended it.
    pub code: i32,
    /// Standard output, trimmed.
    pub out: String,
    /// Standard error, trimmed.
    pub err: String,
}

impl Said {
    /// Returns the output of a command that must have ended with `code`.
    pub fn expect(self, code: i32) -> Result<String> {
        ensure!(
            self.code == code,
            "exit status {} instead of {code}: {} {}",
            self.code,
            self.out,
            self.err
        );
        Ok(self.out)
    }

    /// Returns everything that it said, for the evidence.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.out, self.err).trim().to_owned()
    }
}

/// Runs `command` to its end, with `input`.
pub fn said(command: &mut Command, input: &str) -> Result<Said> {
    run_with(command, Some(input))
}

/// Runs `command` to its end, with an input that stays open: script(1) hands the end of its own on as a key, at which a client
/// may leave its container.
pub fn said_at_terminal(command: &mut Command) -> Result<Said> {
    run_with(command, None)
}

fn run_with(command: &mut Command, input: Option<&str>) -> Result<Said> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start `{name}`"))?;
    let mut stdin = child.stdin.take();
    if let (Some(input), Some(mut stdin)) = (input, stdin.take_if(|_| input.is_some())) {
        // A program that does not read its input may be gone already.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    drop(stdin);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap_or(0);
    let code = output.status.code().unwrap_or(128 + signal);
    Ok(Said { code, out: text(&output.stdout), err: text(&output.stderr) })
}

impl Lane {
    fn words(&self, args: &[&str]) -> Vec<String> {
        let mut words = self.prefix.clone();
        let mut rest = args.iter().map(|word| (*word).to_owned());
        if let Some("run" | "create") = args.first().copied() {
            words.extend(rest.next());
            let given = |word: &String| args.contains(&word.as_str());
            for pair in self.always.chunks(2) {
                if !given(&pair[0]) {
                    words.extend(pair.iter().cloned());
                }
            }
        }
        words.extend(rest);
        words
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", PATIENCE]).args(words);
        // conmon leaves a file where it stands.
        command.current_dir(&self.dir);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Runs the client and returns what it came to.
    pub fn call(&self, args: &[&str]) -> Result<Said> {
        self.call_with(args, "")
    }

    /// Runs the client with `input`.
    pub fn call_with(&self, args: &[&str], input: &str) -> Result<Said> {
        said(&mut self.command(&self.words(args)), input)
    }

    /// Runs the client, which must succeed, and returns its output.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        self.call(args)?.expect(0).with_context(|| format!("`{}`", args.join(" ")))
    }

    /// Runs the client at a terminal of 31 rows and 97 columns.
    pub fn at_terminal(&self, args: &[&str]) -> Result<Said> {
        let quote = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
        let line = self.words(args).iter().map(quote).collect::<Vec<_>>().join(" ");
        let line = format!("stty rows 31 cols 97; exec {line}");
        let words = ["script", "-qec", &line, "/dev/null"].map(str::to_owned);
        said_at_terminal(&mut self.command(&words))
    }

    /// Runs a command in a container of its own that is removed afterwards.
    pub fn run(&self, options: &[&str], command: &[&str]) -> Result<Said> {
        self.call(&[&["run", "--rm"], options, &["busybox"], command].concat())
    }

    /// Runs a shell script in a container of its own, which must succeed.
    pub fn shell(&self, options: &[&str], script: &str) -> Result<String> {
        self.run(options, &["sh", "-c", script])?.expect(0)
    }

    /// Starts a container that goes on until the returned value is dropped.
    pub fn jar(&self, options: &[&str], command: &[&str]) -> Result<Jar<'_>> {
        let jar = Jar { lane: self, name: name() };
        self.ok(&[&["run", "-d", "--name", &jar.name], options, &["busybox"], command].concat())?;
        Ok(jar)
    }

    /// Returns the words that remove a container at once: Podman's would first wait for its stop.
    pub fn remove(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Docker => &["rm", "-f"],
            Kind::Podman => &["rm", "-f", "-t", "0"],
        }
    }

    /// Starts a container that sleeps.
    pub fn sleeper(&self, options: &[&str]) -> Result<Jar<'_>> {
        self.jar(options, &["sleep", "1000"])
    }
}

/// Returns a name that no other container of this run has.
pub fn name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("conf-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A container that is removed when this value is dropped.
pub struct Jar<'a> {
    lane: &'a Lane,
    /// Its name.
    pub name: String,
}

impl Jar<'_> {
    /// Runs a client's command on this container; its name comes last.
    pub fn on(&self, words: &[&str]) -> Result<String> {
        self.lane.ok(&[words, &[self.name.as_str()]].concat())
    }

    /// Runs `exec OPTIONS NAME COMMAND`.
    pub fn exec(&self, options: &[&str], command: &[&str]) -> Result<Said> {
        self.lane.call(&[&["exec"], options, &[self.name.as_str()], command].concat())
    }

    /// Reads a field by a template.
    pub fn field(&self, template: &str) -> Result<String> {
        self.on(&["inspect", "--format", template])
    }

    /// Returns the process id of its first process, on the host.
    pub fn pid(&self) -> Result<u32> {
        let pid = self.field("{{.State.Pid}}")?.parse()?;
        ensure!(
            pid > 0,
            "`{}` does not run: {}",
            self.name,
            self.lane.call(&["logs", &self.name])?.all()
        );
        Ok(pid)
    }

    /// Reads a file of `/proc/PID`.
    pub fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid()?);
        fs::read_to_string(&path).with_context(|| format!("read `{path}`"))
    }

    /// Returns the namespace that its first process is in.
    pub fn namespace(&self, kind: &str) -> Result<String> {
        namespace(&self.pid()?.to_string(), kind)
    }

    /// Reads a file of its control group: `v1` of that controller, or `v2`.
    pub fn group_file(&self, controller: &str, v1: &str, v2: &str) -> Result<String> {
        let (dir, unified) = group(&self.proc("cgroup")?, controller)?;
        let path = dir.join(if unified { v2 } else { v1 });
        Ok(fs::read_to_string(&path)
            .with_context(|| format!("read `{}`", path.display()))?
            .trim()
            .to_owned())
    }
}

impl Drop for Jar<'_> {
    fn drop(&mut self) {
        let _ = self.lane.call(&[self.lane.remove(), &[self.name.as_str()]].concat());
    }
}

/// Returns the namespace of a process, as `net:[4026531840]`.
pub fn namespace(pid: &str, kind: &str) -> Result<String> {
    let path = format!("/proc/{pid}/ns/{kind}");
    let link = fs::read_link(&path).with_context(|| format!("read link `{path}`"))?;
    Ok(link.to_string_lossy().into_owned())
}

/// Finds the directory of a group for a controller from `/proc/PID/cgroup`, and whether it is one of v2.
pub fn group(text: &str, controller: &str) -> Result<(PathBuf, bool)> {
    let root = Path::new("/sys/fs/cgroup");
    let mut unified = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if names.split(',').any(|name| name == controller) {
            let joint = root.join(names);
            let base = if joint.is_dir() { joint } else { root.join(controller) };
            return Ok((base.join(path), false));
        }
        if names.is_empty() {
            unified = Some(root.join(path));
        }
    }
    match unified {
        Some(path) if root.join("cgroup.controllers").exists() => Ok((path, true)),
        _ => bail!("no control group for `{controller}`"),
    }
}

/// Asks until `done` says yes, for at most twenty seconds.
pub fn eventually(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while !done()? {
        ensure!(Instant::now() < end, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Fails unless `text` contains `part`; returns the line that does.
pub fn has(text: &str, part: &str) -> Result<String> {
    let line = text.lines().find(|line| line.contains(part));
    Ok(line.with_context(|| format!("no `{part}` in: {text}"))?.trim().to_owned())
}

/// Fails unless both are the same; returns it.
pub fn same(what: &str, found: &str, wanted: &str) -> Result<String> {
    ensure!(found == wanted, "{what}: `{found}` instead of `{wanted}`");
    Ok(found.to_owned())
}
