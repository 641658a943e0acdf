//! containerd with the runtime beneath its own shim, driven by `ctr`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::engines::{Extent, Groups, group};
use super::lane::{self, Said, eventually, has, namespace, said, said_at_terminal, same};
use super::verdict::{Table, judge};
use crate::peer::Peer;

/// The image as `ctr` names it after the import.
const IMAGE: &str = "docker.io/library/busybox:latest";

struct Ctr {
    prefix: Vec<String>,
    runtime: String,
    dir: PathBuf,
    group: String,
}

type Probe = fn(&Ctr) -> Result<String>;

const CHECKS: &[(&str, &str, Probe)] = &[
    ("`run`: exit status 0, 7 and of a signal", "the client's exit status", exit_status),
    ("`run` of what is not there", "the client's message", cannot_run),
    ("`run -t`: size of the terminal", "`stty size` inside", terminal),
    ("`task exec`: status, user, directory", "exit status and output", exec),
    ("`task exec -t`: size of the terminal", "`stty size` inside", exec_terminal),
    ("`task ls`, `task ps`", "process ids", list),
    ("`task pause`, `task resume`", "the freezer's file, `task ls`", pause),
    ("`task metrics`: figures that move", "two readings", metrics),
    ("`task kill`: the handler runs", "exit status that `task delete` names", kill),
    ("`--memory-limit`, `--cpus`", "the group's files", limits),
    ("out of memory", "exit status 137", oom),
    ("`--read-only`", "a write that fails", read_only),
    ("`--cap-add`, `--cap-drop`, `--allow-new-privs`", "`/proc/PID/status`", capabilities),
    ("`--privileged`", "`/proc/PID/status`", privileged),
    ("`--seccomp`", "`/proc/PID/status`", seccomp),
    ("`--device`", "the node inside", device),
    ("`--mount`: `ro`", "a write that fails", mount),
    ("`--net-host`, `--with-ns`", "namespaces of two processes", namespaces),
    ("`--uidmap`, `--gidmap`", "`/proc/PID/uid_map`", user_namespace),
    ("`task checkpoint`: done, or refused with a reason", "the client's message", checkpoint),
    ("deleted: nothing is left", "cgroup and process, root of the runtime", removed),
];

/// Runs every check with ours and with the control.
pub fn run(runtime: &Path, image: &Path, extent: Extent) -> Result<Table> {
    let parent = group("containerd");
    let _groups = Groups(parent.clone());
    let peer = Peer::containerd("containerd")?;
    let make = |runtime: &str| Ctr::new(&peer, runtime, &parent);
    let (ours, control) = (make(&runtime.display().to_string())?, make("/usr/sbin/runc")?);
    ours.ok(&["image", "import", "--no-unpack", &image.display().to_string()])?;
    let mut table = Table::new(
        "containerd",
        &CHECKS.iter().map(|check| (check.0, check.1)).collect::<Vec<_>>(),
    );
    let cells = CHECKS.iter().map(|(title, _, probe)| {
        judge(
            &format!("containerd: {title}"),
            extent == Extent::Full,
            || probe(&ours),
            || probe(&control),
        )
    });
    table.push("containerd", cells.collect());
    Ok(table)
}

/// A container that is removed when this value is dropped.
struct Jar<'a> {
    ctr: &'a Ctr,
    id: String,
}

impl Ctr {
    fn new(peer: &Peer, runtime: &str, group: &str) -> Result<Self> {
        let socket = peer.dir().join("containerd.sock").display().to_string();
        let mut prefix = peer.entry();
        prefix.extend(
            ["timeout", "-k", "5", "60", "ctr", "-a", &socket, "-n", "conformance"]
                .map(str::to_owned),
        );
        let dir = peer.dir().join(Path::new(runtime).file_name().context("a program")?);
        fs::create_dir_all(&dir)?;
        Ok(Self { prefix, runtime: runtime.into(), dir, group: group.into() })
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        // Shims that hang must not keep the machine.
        command.env("TMPDIR", &self.dir);
        command
    }

    fn words(&self, args: &[&str]) -> Vec<String> {
        self.prefix.iter().cloned().chain(args.iter().map(|word| (*word).to_owned())).collect()
    }

    fn call(&self, args: &[&str]) -> Result<Said> {
        said(&mut self.command(&self.words(args)), "")
    }

    fn ok(&self, args: &[&str]) -> Result<String> {
        self.call(args)?.expect(0).with_context(|| format!("`ctr {}`", args.join(" ")))
    }

    fn at_terminal(&self, args: &[&str]) -> Result<Said> {
        let quote = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
        let line = self.words(args).iter().map(quote).collect::<Vec<_>>().join(" ");
        let line = format!("stty rows 31 cols 97; exec {line}");
        let words = ["timeout", "60", "script", "-qec", &line, "/dev/null"].map(str::to_owned);
        said_at_terminal(&mut self.command(&words))
    }

    /// Returns the words of `run`; options may name another group.
    fn run_words<'a>(&self, id: &'a str, options: &[&'a str], command: &[&'a str]) -> Vec<String> {
        let mut words: Vec<String> =
            ["run", "--runc-binary", &self.runtime].map(str::to_owned).into();
        words.extend(["--runc-root".into(), self.root().display().to_string()]);
        words.extend(["--cgroup".into(), format!("{}/{id}", self.group)]);
        words.extend(
            options.iter().chain(&[IMAGE, id]).chain(command).map(|word| (*word).to_owned()),
        );
        words
    }

    fn root(&self) -> PathBuf {
        self.dir.join("runtime")
    }

    fn run(&self, options: &[&str], command: &[&str]) -> Result<Said> {
        let jar = Jar { ctr: self, id: lane::name() };
        let words = self.run_words(&jar.id, &[&["--rm"], options].concat(), command);
        self.call(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn shell(&self, options: &[&str], script: &str) -> Result<String> {
        self.run(options, &["sh", "-c", script])?.expect(0)
    }

    fn jar(&self, options: &[&str], command: &[&str]) -> Result<Jar<'_>> {
        let jar = Jar { ctr: self, id: lane::name() };
        let words = self.run_words(&jar.id, &[&["-d", "--null-io"], options].concat(), command);
        self.ok(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(jar)
    }

    fn sleeper(&self, options: &[&str]) -> Result<Jar<'_>> {
        self.jar(options, &["sleep", "1000"])
    }
}

impl Jar<'_> {
    fn task(&self) -> Result<String> {
        has(&self.ctr.ok(&["task", "ls"])?, &self.id)
    }

    fn pid(&self) -> Result<u32> {
        let line = self.task()?;
        line.split_whitespace().nth(1).context("no pid")?.parse().context("a pid")
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid()?);
        fs::read_to_string(&path).with_context(|| format!("read `{path}`"))
    }

    fn field(&self, name: &str) -> Result<String> {
        let text = self.proc("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.context("no such field")?.trim().to_owned())
    }

    fn exec(&self, options: &[&str], command: &[&str]) -> Result<Said> {
        let id = lane::name();
        self.ctr.call(
            &[&["task", "exec", "--exec-id", &id], options, &[self.id.as_str()], command].concat(),
        )
    }

    fn group_file(&self, controller: &str, v1: &str, v2: &str) -> Result<String> {
        let (dir, unified) = lane::group(&self.proc("cgroup")?, controller)?;
        Ok(fs::read_to_string(dir.join(if unified { v2 } else { v1 }))?.trim().to_owned())
    }
}

impl Drop for Jar<'_> {
    fn drop(&mut self) {
        let _ = self.ctr.call(&["task", "resume", &self.id]);
        let _ = self.ctr.call(&["task", "rm", "-f", &self.id]);
        let _ = self.ctr.call(&["container", "rm", &self.id]);
    }
}

fn exit_status(ctr: &Ctr) -> Result<String> {
    let codes = [ctr.run(&[], &["true"])?.code, ctr.run(&[], &["sh", "-c", "exit 7"])?.code];
    let jar = ctr.sleeper(&[])?;
    ctr.ok(&["task", "kill", "-s", "SIGKILL", &jar.id])?;
    eventually("the end", || Ok(jar.task()?.contains("STOPPED")))?;
    let killed = ctr.call(&["task", "rm", &jar.id])?.all();
    same("statuses", &format!("{} {}", codes[0], codes[1]), "0 7")?;
    has(&killed, "exit code 137")
}

fn cannot_run(ctr: &Ctr) -> Result<String> {
    let missing = ctr.run(&[], &["/nope"])?;
    ensure!(missing.code != 0, "it succeeded");
    has(&missing.err, "no such file").or_else(|_| has(&missing.err, "not found"))
}

const SIZE: &str = "i=0; while [ \"$(stty size)\" != '31 97' ] && [ $i -lt 30 ]; do sleep 0.1; i=$((i+1)); done; stty size; tty";

fn terminal(ctr: &Ctr) -> Result<String> {
    let jar = Jar { ctr, id: lane::name() };
    let words = ctr.run_words(&jar.id, &["--rm", "-t"], &["sh", "-c", SIZE]);
    let said = ctr.at_terminal(&words.iter().map(String::as_str).collect::<Vec<_>>())?.expect(0)?;
    has(&said, "/dev/pts/0")?;
    has(&said, "31 97")
}

fn exec(ctr: &Ctr) -> Result<String> {
    let jar = ctr.sleeper(&[])?;
    jar.exec(&[], &["sh", "-c", "exit 5"])?.expect(5)?;
    let said = jar.exec(
        &["--user", "1000:1001", "--cwd", "/etc"],
        &["sh", "-c", "echo $(id -u):$(id -g) $(pwd)"],
    )?;
    same("output", &said.expect(0)?, "1000:1001 /etc")
}

fn exec_terminal(ctr: &Ctr) -> Result<String> {
    let jar = ctr.sleeper(&[])?;
    let id = lane::name();
    let said = ctr
        .at_terminal(&["task", "exec", "-t", "--exec-id", &id, &jar.id, "sh", "-c", SIZE])?
        .expect(0)?;
    has(&said, "31 97")
}

fn list(ctr: &Ctr) -> Result<String> {
    let jar = ctr.sleeper(&[])?;
    let line = has(&jar.task()?, "RUNNING")?;
    has(&ctr.ok(&["task", "ps", &jar.id])?, &jar.pid()?.to_string())?;
    Ok(line)
}

fn pause(ctr: &Ctr) -> Result<String> {
    let jar = ctr.sleeper(&[])?;
    ctr.ok(&["task", "pause", &jar.id])?;
    let file = jar.group_file("freezer", "freezer.state", "cgroup.events")?;
    ensure!(file == "FROZEN" || file.contains("frozen 1"), "the freezer says `{file}`");
    has(&jar.task()?, "PAUSED")?;
    ctr.ok(&["task", "resume", &jar.id])?;
    let file = jar.group_file("freezer", "freezer.state", "cgroup.events")?;
    ensure!(file == "THAWED" || file.contains("frozen 0"), "the freezer says `{file}`");
    has(&jar.task()?, "RUNNING")
}

fn metrics(ctr: &Ctr) -> Result<String> {
    let jar = ctr.jar(&[], &["sh", "-c", "while :; do :; done"])?;
    let read = || -> Result<String> {
        let text = ctr.ok(&["task", "metrics", &jar.id])?;
        has(&text, "cpuacct.usage ")
            .or_else(|_| has(&text, "cpu.usage_usec"))
            .or_else(|_| has(&text, "cpuacct.usage"))
    };
    let first = read()?;
    std::thread::sleep(Duration::from_millis(300));
    let second = read()?;
    ensure!(first != second, "the figure did not move: {first}");
    Ok(format!("{first}; {second}"))
}

fn kill(ctr: &Ctr) -> Result<String> {
    let jar =
        ctr.jar(&[], &["sh", "-c", "trap 'exit 3' TERM; touch /up; while :; do sleep 0.1; done"])?;
    eventually("the handler", || Ok(jar.exec(&[], &["test", "-e", "/up"])?.code == 0))?;
    ctr.ok(&["task", "kill", "-s", "SIGTERM", &jar.id])?;
    eventually("the end", || Ok(jar.task()?.contains("STOPPED")))?;
    has(&ctr.call(&["task", "rm", &jar.id])?.all(), "exit code 3")
}

fn limits(ctr: &Ctr) -> Result<String> {
    let jar = ctr.sleeper(&["--memory-limit", "33554432", "--cpus", "0.3"])?;
    let memory = jar.group_file("memory", "memory.limit_in_bytes", "memory.max")?;
    let quota = jar.group_file("cpu", "cpu.cfs_quota_us", "cpu.max")?;
    same(
        "files",
        &format!("{memory} {}", quota.split(' ').next().unwrap_or_default()),
        "33554432 30000",
    )
}

fn oom(ctr: &Ctr) -> Result<String> {
    let said = ctr.run(
        &["--memory-limit", "16777216"],
        &["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"],
    )?;
    same("status", &said.code.to_string(), "137")
}

fn read_only(ctr: &Ctr) -> Result<String> {
    has(&ctr.run(&["--read-only"], &["touch", "/x"])?.err, "Read-only file system")
}

fn capabilities(ctr: &Ctr) -> Result<String> {
    let jar = ctr.sleeper(&[
        "--cap-drop",
        "CAP_CHOWN",
        "--cap-add",
        "CAP_NET_ADMIN",
        "--allow-new-privs",
    ])?;
    let effective = u64::from_str_radix(&jar.field("CapEff")?, 16)?;
    ensure!(effective & 1 == 0 && effective & (1 << 12) != 0, "capabilities {effective:x}");
    same("NoNewPrivs", &jar.field("NoNewPrivs")?, "0")?;
    same("NoNewPrivs", &ctr.sleeper(&[])?.field("NoNewPrivs")?, "1")?;
    Ok(format!("{effective:x}"))
}

fn privileged(ctr: &Ctr) -> Result<String> {
    let text = fs::read_to_string("/proc/self/status")?;
    let own = has(&text, "CapBnd:")?;
    let jar = ctr.sleeper(&["--privileged"])?;
    same("capabilities", &jar.field("CapEff")?, own.split_whitespace().last().unwrap_or_default())
}

fn seccomp(ctr: &Ctr) -> Result<String> {
    let jar = ctr.sleeper(&["--seccomp"])?;
    same("filter", &jar.field("Seccomp")?, "2")?;
    has(&jar.exec(&[], &["unshare", "-U", "true"])?.err, "Operation not permitted")
}

fn device(ctr: &Ctr) -> Result<String> {
    let script = "stat -c '%F %t:%T' /dev/kmsg; echo > /dev/kmsg && echo written";
    let said = ctr.shell(&["--device", "/dev/kmsg"], script)?;
    has(&said, "written")?;
    has(&said, "special file 1:b")
}

fn mount(ctr: &Ctr) -> Result<String> {
    let dir = ctr.dir.join("volume");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("file"), "content")?;
    let option = format!("type=bind,src={},dst=/v,options=rbind:ro", dir.display());
    let said = ctr.run(&["--mount", &option], &["sh", "-c", "cat /v/file; touch /v/x"])?;
    same("content", &said.out, "content")?;
    has(&said.err, "Read-only file system")
}

fn namespaces(ctr: &Ctr) -> Result<String> {
    let first = ctr.sleeper(&[])?;
    let with = format!("network:/proc/{}/ns/net", first.pid()?);
    let second = ctr.sleeper(&["--with-ns", &with])?;
    let net = |jar: &Jar| namespace(&jar.pid()?.to_string(), "net");
    let joined = same("network", &net(&second)?, &net(&first)?)?;
    let host = ctr.sleeper(&["--net-host"])?;
    ensure!(net(&host)? != joined, "the host's network is the container's");
    Ok(joined)
}

fn user_namespace(ctr: &Ctr) -> Result<String> {
    let jar = ctr.sleeper(&["--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000"])?;
    let map = jar.proc("uid_map")?.split_whitespace().collect::<Vec<_>>().join(" ");
    same("map", &map, "0 100000 5000")
}

fn checkpoint(ctr: &Ctr) -> Result<String> {
    let jar = ctr.sleeper(&[])?;
    let path = ctr.dir.join("point").display().to_string();
    let said = ctr.call(&["task", "checkpoint", "--image-path", &path, &jar.id])?;
    if said.code == 0 {
        return Ok("done".into());
    }
    has(&said.err.to_lowercase(), "criu")
}

fn removed(ctr: &Ctr) -> Result<String> {
    let (pid, group);
    {
        let jar = ctr.sleeper(&[])?;
        pid = jar.pid()?;
        group = lane::group(&jar.proc("cgroup")?, "memory")?.0;
        ensure!(group.is_dir(), "no `{}`", group.display());
    }
    ensure!(!group.exists(), "`{}` is left", group.display());
    ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
    let left = fs::read_dir(ctr.root().join("conformance")).map(Iterator::count).unwrap_or(0);
    ensure!(left == 0, "{left} directories are left in the runtime's root");
    Ok(format!("{} is gone", group.display()))
}
