//! `create`, `run` and `exec`: descriptors, signals, terminals, users and groups of the process.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use harness::{Bench, PROGRAM};
use serde_json::json;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ended(output: &Output) -> (i32, String, String) {
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Runs the program by a shell that opens descriptors and sets variables first.
fn by_shell(bench: &Bench, prepare: &str, words: &str) -> (i32, String, String) {
    let script = format!("{prepare}\nexec {PROGRAM} --root {} {words}", bench.root().display());
    ended(&Command::new("sh").arg("-c").arg(script).stdin(Stdio::null()).output().unwrap())
}

/// A container that sleeps, started.
fn sleeper(name: &str) -> Option<Bench> {
    let bench = Bench::new(name, &["sleep", "1000"])?;
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    Some(bench)
}

/// Runs a command that leaves a process behind, which must not hold a pipe of the test.
fn detached(bench: &Bench, words: &[&str]) -> bool {
    let mut command = bench.command(words);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

fn receive(listener: &UnixListener) -> (String, OwnedFd) {
    let (stream, _) = listener.accept().unwrap();
    let (mut buffer, mut fds) = ([0; 64], Vec::new());
    let count = sys::scm::receive(stream.as_fd(), &mut buffer, &mut fds).unwrap();
    (text(&buffer[..count]), fds.pop().unwrap())
}

#[test]
fn privileged_descriptors_are_passed_on_when_they_are_there() {
    let list = "for fd in 3 4 5 6; do test -e /proc/self/fd/$fd && echo $fd; done; cat <&3; true";
    let Some(bench) = Bench::new("descriptors", &["sh", "-c", list]) else { return };
    bench.write_spec();
    let file = bench.dir.path().join("file");
    fs::write(&file, "inside\n").unwrap();
    let run = |fds: &str| format!("run {fds} --bundle {} {}", bench.bundle().display(), bench.id);
    let open = format!("exec 3<{0} 4<{0} 6<{0}", file.display());

    let (code, out, err) = by_shell(&bench, &open, &run("--preserve-fds 2"));
    assert_eq!((code, out.as_str()), (0, "3\n4\ninside\n"), "{err}");
    // The number is a limit: there is no 5.
    let (code, out, err) = by_shell(&bench, &open, &run("--preserve-fds 3"));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "3\n4\ninside\n", ""));
    let (_, out, _) = by_shell(&bench, &open, &run(""));
    assert_eq!(out, "", "nothing is passed on by itself");
    let log = bench.dir.path().join("log");
    let log_first = format!("--log {} {}", log.display(), run("--preserve-fds 1"));
    let (_, out, _) = by_shell(&bench, "", &log_first);
    assert_eq!(out, "", "the runtime's own log is no inherited descriptor");
    bench.assert_nothing_left();
}

#[test]
fn privileged_sockets_of_activation_come_first() {
    let list = "echo $LISTEN_FDS:$LISTEN_PID; for fd in 3 4 5 6; do test -e /proc/self/fd/$fd && echo $fd; done; true";
    let Some(bench) = Bench::new("activation", &["sh", "-c", list]) else { return };
    bench.write_spec();
    let run = format!("run --bundle {} --preserve-fds 1 {}", bench.bundle().display(), bench.id);
    let open = "exec 3</dev/null 4</dev/null 5</dev/null";
    let (code, out, err) =
        by_shell(&bench, &format!("{open}; export LISTEN_FDS=2 LISTEN_PID=$$"), &run);
    assert_eq!((code, out.as_str()), (0, "2:1\n3\n4\n5\n"), "{err}");
    let (code, out, _) =
        by_shell(&bench, &format!("{open}; export LISTEN_FDS=2 LISTEN_PID=1"), &run);
    assert_eq!(
        (code, out.as_str()),
        (0, ":\n3\n"),
        "sockets for another process are not passed on"
    );
    bench.assert_nothing_left();
}

#[test]
fn privileged_pidfds_are_sent() {
    let Some(bench) = Bench::new("pidfd", &["sleep", "1000"]) else { return };
    let path = bench.dir.path().join("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let path = path.to_str().unwrap();
    assert!(bench.create(&["--pidfd-socket", path]).status.success(), "{}", bench.output());
    let (kind, first) = receive(&listener);
    assert_eq!(kind, "standard");
    assert!(bench.run(&["start", &bench.id]).status.success());

    let exec = ["exec", "--detach", "--pidfd-socket", path, &bench.id, "sleep", "1000"];
    assert!(detached(&bench, &exec));
    let (kind, second) = receive(&listener);
    assert_eq!(kind, "setns");
    assert_eq!(bench.group().processes().len(), 2);
    sys::pidfd::send_signal(second.as_fd(), 9).unwrap();
    bench.wait_for("end of the second", || bench.group().processes().len() == 1);
    sys::pidfd::send_signal(first.as_fd(), 9).unwrap();
    bench.wait_for_status("stopped");

    let missing = bench.create(&["--pidfd-socket", "/nonexistent/socket"]);
    assert_eq!(missing.status.code(), Some(1));
    let log = bench.log();
    assert!(
        log.contains("connect to the pidfd socket `/nonexistent/socket`: no such file"),
        "{log}"
    );
}

#[test]
fn privileged_signals_are_forwarded_and_the_code_is_the_programs() {
    let script = "trap 'exit 7' USR1; trap 'exit 8' TERM; echo ready; while :; do sleep 0.05; done";
    let Some(bench) = Bench::new("signals", &["sh", "-c", script]) else { return };
    bench.write_spec();
    let bundle = bench.bundle();
    let run = ["run", "--bundle", bundle.to_str().unwrap(), &bench.id];
    for (words, signal, want) in [(&run[..], 10, 7), (&run[..], 15, 8), (&run[..], 9, 137)] {
        let mut child = bench.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        if signal == 9 {
            assert!(bench.run(&["kill", &bench.id, "KILL"]).status.success());
        } else {
            sys::pidfd::kill_child(child.id(), signal).unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(want), "signal {signal}");
    }
    bench.assert_nothing_left();

    let Some(bench) = sleeper("exec-signals") else { return };
    let mut child = bench
        .command(&["exec", &bench.id, "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    sys::pidfd::kill_child(child.id(), 10).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!(bench.run(&["exec", &bench.id, "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
}

#[test]
fn privileged_exec_takes_runcs_options() {
    let Some(mut bench) = Bench::new("options", &["sleep", "1000"]) else { return };
    bench.spec["process"]["env"] = json!(["PATH=/bin", "A=1"]);
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    let id = bench.id.as_str();
    let out = |words: &[&str]| {
        let (code, out, err) = ended(&bench.run(words));
        assert_eq!(code, 0, "{words:?}: {err}");
        out
    };
    assert_eq!(out(&["exec", "--cwd", "/tmp", id, "sh", "-c", "pwd"]), "/tmp\n");
    assert_eq!(out(&["exec", "-e", "B=2", "--env", "A=3", id, "sh", "-c", "echo $A$B"]), "32\n");
    assert_eq!(
        out(&[
            "exec",
            "-u",
            "5:6",
            "-g",
            "7",
            "--additional-gids",
            "8",
            id,
            "sh",
            "-c",
            "id -u; id -g; id -G"
        ]),
        "5\n6\n6 7 8\n"
    );
    let status =
        out(&["exec", "--cap", "CAP_SYS_TIME", "--no-new-privs", id, "cat", "/proc/self/status"]);
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    // CHOWN 0, KILL 5, SETGID 6, SETUID 7, SYS_TIME 25.
    assert!(status.contains("CapBnd:\t00000000020000e1"), "{status}");
    assert!(status.contains("CapInh:\t0000000000000000"), "{status}");

    let process = bench.dir.path().join("process.json");
    let document = json!({ "args": ["sh", "-c", "echo $C; exit 9"], "cwd": "/", "env": ["PATH=/bin", "C=4"], "user": { "uid": 0, "gid": 0 } });
    fs::write(&process, document.to_string()).unwrap();
    let (code, out, err) = ended(&bench.run(&["exec", "--process", process.to_str().unwrap(), id]));
    assert_eq!((code, out.as_str()), (9, "4\n"), "{err}");

    for (words, want) in [
        (
            vec!["exec", "-u", "x", id, "true"],
            r#"bad uid: strconv.Atoi: parsing \"x\": invalid syntax"#,
        ),
        (
            vec!["exec", "-u", "1:", id, "true"],
            r#"bad gid: strconv.Atoi: parsing \"\": invalid syntax"#,
        ),
        (vec!["exec", "-u", "0x0", id, "true"], "bad uid"),
        (vec!["exec", "-u", "-1", id, "true"], "bad uid"),
        (vec!["exec", "-g", "-5", id, "true"], "additional-gids must be a positive number -5"),
        (vec!["exec", "--cgroup", "../x", id, "true"], "bad sub cgroup path: ../x"),
        (
            vec!["exec", "--cgroup", "nonsense:x", id, "true"],
            "unknown controller nonsense in SubCgroupPaths",
        ),
        (
            vec!["exec", "-t", "-d", id, "true"],
            "cannot allocate tty if runc will detach without setting console socket",
        ),
        (
            vec!["exec", "--console-socket", "/x", id, "true"],
            "cannot use console socket if runc will not detach or allocate tty",
        ),
    ] {
        let (code, _, err) = ended(&bench.run(&words));
        assert_eq!(code, 255, "{words:?}");
        assert!(err.contains("exec failed: ") && err.contains(want), "{words:?}: {err}");
    }
}

#[test]
fn privileged_exec_starts_beneath_the_containers_group() {
    let Some(bench) = sleeper("beneath") else { return };
    let group = bench.group();
    let place =
        group.places().iter().find(|place| place.has("pids") || place.is_unified()).unwrap();
    let sub = place.directory.join("sub");
    fs::create_dir(&sub).unwrap();
    let value = if place.is_unified() { "sub" } else { "pids:sub" };
    let pid_file = bench.dir.path().join("pid");
    let words = [
        "exec",
        "-d",
        "--pid-file",
        pid_file.to_str().unwrap(),
        "--cgroup",
        value,
        &bench.id,
        "sleep",
        "1000",
    ];
    assert!(detached(&bench, &words));
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(fs::read_to_string(sub.join("cgroup.procs")).unwrap(), format!("{pid}\n"));
    assert!(bench.run(&["delete", "-f", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_pid_file_of_others_survives_a_refused_creation() {
    let Some(bench) = Bench::new("pidfile", &["sleep", "1000"]) else { return };
    let file = bench.dir.path().join("pid");
    assert!(bench.create(&["--pid-file", file.to_str().unwrap()]).status.success());
    let before = fs::read_to_string(&file).unwrap();
    assert!(!bench.create(&["--pid-file", file.to_str().unwrap()]).status.success());
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    let link = bench.dir.path().join(".pid2");
    std::os::unix::fs::symlink("victim", &link).unwrap();
    let file = bench.dir.path().join("pid2");
    let exec = ["exec", "-d", "--pid-file", file.to_str().unwrap(), &bench.id, "true"];
    assert!(bench.run(&["start", &bench.id]).status.success());
    assert!(detached(&bench, &exec));
    assert!(fs::read_to_string(&file).unwrap().parse::<i32>().is_ok());
    assert!(!bench.dir.path().join("victim").exists(), "a link was followed");
}

/// setns(2) with a pidfd, Linux 5.8.
#[test]
fn privileged_exec_joins_by_one_call() {
    let Some(bench) = sleeper("one-call") else { return };
    if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
        return testkit::skip("one-call: no strace");
    }
    let log = bench.bundle().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=setns,unshare", "-o"]).arg(&log).arg(PROGRAM);
    command.arg("--root").arg(bench.root()).args(["exec", &bench.id, "true"]);
    let (code, _, err) = ended(&command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(code, 0, "{err}");
    let trace = fs::read_to_string(log).unwrap();
    let calls: Vec<&str> = trace.lines().filter(|line| line.contains('(')).collect();
    let joins: Vec<&&str> = calls.iter().filter(|line| line.contains("setns(")).collect();
    assert_eq!(joins.len(), 1, "{trace}");
    for kind in ["NEWNS", "NEWPID", "NEWIPC", "NEWUTS"] {
        assert!(joins[0].contains(kind), "{trace}");
    }
}
