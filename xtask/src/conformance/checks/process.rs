//! Processes: exit statuses, terminals, signals, logs, the life of a container.

use anyhow::{Result, ensure};

use super::{Check, check};
use crate::conformance::lane::{Kind, Lane, eventually, has, name, same};

pub(super) const CHECKS: &[Check] = &[
    check("`run`: exit status 0 and 7", "the client's exit status", exit_status).short(),
    check("`run`: 126 and 127", "the client's exit status and message", cannot_run).short(),
    check("`run`: ended by a signal", "the client's exit status", by_signal),
    check("`run -i`: input", "what `cat` wrote", input),
    check("`run -it`: size of the terminal", "`stty size` inside", terminal).short(),
    check("`exec`: status, user, environment, directory", "exit status and output", exec).short(),
    check("`exec`: 126 and 127", "the client's exit status", exec_cannot_run),
    check("`exec -it`: size of the terminal", "`stty size` inside", exec_terminal).short(),
    check("`exec -d`", "a file that the process makes", exec_detached),
    check("`stop`: the handler runs", "`State.ExitCode`", stop).short(),
    check("`stop` of a deaf process", "`State.ExitCode`", stop_deaf),
    check("`kill -s USR1`", "what the handler logged", kill_signal),
    check("`logs`: both streams", "the client's stdout and stderr", logs).short(),
    check("`restart`", "two process ids", restart),
    check("`wait`", "the status that it prints", wait),
    check("`run --init`", "`/proc/PID/comm`", init),
    check("health check", "`State.Health.Status`", health),
    check("`top`", "the list of processes", top),
    check("`checkpoint`: done, or refused with a reason", "the client's message", checkpoint),
    check("`rm`: nothing is left", "cgroup, mounts and process", removed).short(),
];

fn exit_status(lane: &Lane) -> Result<String> {
    lane.run(&[], &["true"])?.expect(0)?;
    lane.run(&[], &["sh", "-c", "exit 7"])?.expect(7)?;
    Ok("0, 7".into())
}

fn cannot_run(lane: &Lane) -> Result<String> {
    let denied = lane.run(&[], &["/etc"])?;
    let (err, _) = (denied.err.clone(), denied.expect(126)?);
    has(&err, "permission denied").or_else(|_| has(&err, "is a directory"))?;
    let missing = lane.run(&[], &["nope"])?;
    let (err, _) = (missing.err.clone(), missing.expect(127)?);
    has(&err, "not found").or_else(|_| has(&err, "no such file"))?;
    let missing = lane.run(&[], &["/nope"])?;
    let (err, _) = (missing.err.clone(), missing.expect(127)?);
    has(&err, "no such file").or_else(|_| has(&err, "not found"))
}

fn by_signal(lane: &Lane) -> Result<String> {
    let jar = lane.jar(&[], &["sleep", "1000"])?;
    jar.on(&["kill", "-s", "KILL"])?;
    let killed = jar.on(&["wait"])?;
    let shell = lane.run(&[], &["sh", "-c", "sh -c 'kill -9 $$'; exit $?"])?.code;
    same("statuses", &format!("{killed}, {shell}"), "137, 137")
}

fn input(lane: &Lane) -> Result<String> {
    let said = lane.call_with(&["run", "--rm", "-i", "busybox", "cat"], "one\ntwo\n")?;
    same("output", &said.expect(0)?, "one\ntwo")
}

/// Waits inside until the size has arrived: an engine may set it after the start.
const SIZE: &str = "i=0; while [ \"$(stty size)\" != '31 97' ] && [ $i -lt 30 ]; do sleep 0.1; i=$((i+1)); done; stty size; tty";

fn terminal(lane: &Lane) -> Result<String> {
    let said = lane.at_terminal(&["run", "--rm", "-it", "busybox", "sh", "-c", SIZE])?.expect(0)?;
    has(&said, "/dev/pts/0")?;
    has(&said, "31 97")
}

fn exec(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["-e", "A=container", "-w", "/tmp"])?;
    jar.exec(&[], &["sh", "-c", "exit 5"])?.expect(5)?;
    let script = "echo $(id -u):$(id -g) $A $B $(pwd) $HOME";
    let plain = jar.exec(&[], &["sh", "-c", script])?.expect(0)?;
    same("plain", &plain, "0:0 container /tmp /root")?;
    let options = ["-u", "1000:1001", "-e", "B=exec", "-w", "/etc"];
    let other = jar.exec(&options, &["sh", "-c", script])?.expect(0)?;
    same("with options", other.trim_end_matches(" /"), "1000:1001 container exec /etc")
}

fn exec_cannot_run(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&[])?;
    jar.exec(&[], &["/etc"])?.expect(126)?;
    let missing = jar.exec(&[], &["/nope"])?;
    let said = missing.all();
    // Docker's client before 20.10.25 says 126 for both.
    ensure!([126, 127].contains(&missing.code), "exit status {}: {said}", missing.code);
    has(&said, "no such file").or_else(|_| has(&said, "not found"))
}

fn exec_terminal(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&[])?;
    let said = lane.at_terminal(&["exec", "-it", &jar.name, "sh", "-c", SIZE])?.expect(0)?;
    has(&said, "/dev/pts/0")?;
    has(&said, "31 97")
}

fn exec_detached(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&[])?;
    jar.exec(&["-d"], &["sh", "-c", "echo made > /made; sleep 1000"])?.expect(0)?;
    eventually("the file", || Ok(jar.exec(&[], &["cat", "/made"])?.out == "made"))?;
    Ok("made".into())
}

fn stop(lane: &Lane) -> Result<String> {
    let jar =
        lane.jar(&[], &["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"])?;
    eventually("the handler", || Ok(jar.on(&["logs"])?.contains("up")))?;
    jar.on(&["stop", "-t", "20"])?;
    same("status", &jar.field("{{.State.ExitCode}}")?, "3")
}

fn stop_deaf(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&[])?;
    jar.on(&["stop", "-t", "1"])?;
    same("status", &jar.field("{{.State.ExitCode}}")?, "137")
}

fn kill_signal(lane: &Lane) -> Result<String> {
    let jar = lane
        .jar(&[], &["sh", "-c", "trap 'echo heard' USR1; echo up; while :; do sleep 0.1; done"])?;
    eventually("the handler", || Ok(jar.on(&["logs"])?.contains("up")))?;
    jar.on(&["kill", "-s", "USR1"])?;
    eventually("the log", || Ok(jar.on(&["logs"])?.contains("heard")))?;
    same("status", &jar.field("{{.State.Status}}")?, "running")
}

fn logs(lane: &Lane) -> Result<String> {
    let jar = lane.jar(&[], &["sh", "-c", "echo first; echo second >&2"])?;
    jar.on(&["wait"])?;
    let said = lane.call(&["logs", &jar.name])?;
    same("streams", &format!("{} | {}", said.out, said.err), "first | second")
}

fn restart(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&[])?;
    let before = jar.pid()?;
    jar.on(&["restart", "-t", "0"])?;
    let after = jar.pid()?;
    ensure!(before != after, "the process is the same");
    jar.exec(&[], &["true"])?.expect(0)?;
    Ok(format!("{before}, {after}"))
}

fn wait(lane: &Lane) -> Result<String> {
    let jar = lane.jar(&[], &["sh", "-c", "sleep 0.3; exit 9"])?;
    same("status", &jar.on(&["wait"])?, "9")
}

fn init(lane: &Lane) -> Result<String> {
    let options: &[&str] = match lane.kind {
        Kind::Docker => &["--init"],
        Kind::Podman => &["--init", "--init-path", "/usr/bin/tini-static"],
    };
    let jar = lane.sleeper(options)?;
    let comm = jar.proc("comm")?;
    ensure!(
        comm.contains("init") || comm.contains("tini"),
        "the first process is `{}`",
        comm.trim()
    );
    has(&jar.exec(&[], &["ps"])?.expect(0)?, "sleep 1000")?;
    Ok(comm.trim().to_owned())
}

fn health(lane: &Lane) -> Result<String> {
    match lane.kind {
        Kind::Docker => {
            let jar =
                lane.sleeper(&["--health-cmd", "test -e /etc/passwd", "--health-interval", "1s"])?;
            let status = || jar.field("{{.State.Health.Status}}");
            eventually("healthy", || Ok(status()? == "healthy"))?;
            status()
        }
        Kind::Podman => {
            let jar = lane.sleeper(&[
                "--health-cmd",
                "test -e /etc/passwd",
                "--health-interval",
                "disable",
            ])?;
            jar.on(&["healthcheck", "run"])?;
            same("status", &jar.field("{{.State.Health.Status}}")?, "healthy")
        }
    }
}

fn top(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&[])?;
    jar.exec(&["-d"], &["sleep", "2000"])?.expect(0)?;
    eventually("two processes", || {
        let list = jar.on(&["top"])?;
        Ok(list.contains("sleep 1000") && list.contains("sleep 2000"))
    })?;
    has(&jar.on(&["top"])?, "sleep 2000")
}

fn checkpoint(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&[])?;
    let said = match lane.kind {
        Kind::Docker => lane.call(&["checkpoint", "create", &jar.name, "point"])?,
        Kind::Podman => lane.call(&["container", "checkpoint", &jar.name])?,
    };
    if said.code == 0 {
        let status = jar.field("{{.State.Status}}")?;
        ensure!(status == "exited", "the container is {status} after its checkpoint");
        return Ok("done".into());
    }
    has(&said.all().to_lowercase(), "criu")
}

fn removed(lane: &Lane) -> Result<String> {
    let (pid, group, id);
    {
        let jar = lane.sleeper(&["--tmpfs", "/t"])?;
        pid = jar.pid()?;
        id = jar.field("{{.Id}}")?;
        group = super::super::lane::group(&jar.proc("cgroup")?, "memory")?.0;
        ensure!(group.is_dir(), "no `{}`", group.display());
        jar.on(lane.remove())?;
    }
    ensure!(!group.exists(), "`{}` is left", group.display());
    ensure!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains(&id), "a mount is left");
    // The same name can be had again, at once.
    let again = name();
    for _ in 0..2 {
        lane.ok(&["run", "--rm", "--name", &again, "busybox", "true"])?;
    }
    Ok(format!("{} is gone", group.display()))
}
