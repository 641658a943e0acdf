//! What survives when a process of ours is killed, and what is left behind: nothing.
#![forbid(unsafe_code)]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use acceptance::{Client, Daemon, Terminal, cgroup_dirs, pid_alive, wait_for, with_both_clients};

with_both_clients!(daemon_killed_while_a_terminal_is_attached, shim_killed_container_lives);

fn busybox() -> Daemon {
    let daemon = Daemon::start();
    daemon.load("busybox");
    daemon
}

fn kill9(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
    wait_for("the kill", || !pid_alive(pid));
}

/// A counter that prints a line each 20 ms.
const COUNT: &str = "i=0; while :; do echo line $i; i=$((i+1)); usleep 20000; done";

fn daemon_killed_while_a_terminal_is_attached(client: Client) {
    let mut daemon = busybox();
    let mut command = daemon.command(client);
    command.args(["run", "-it", "--name", "attached", "busybox", "sh"]);
    let terminal = Terminal::start(&command, 24, 80);
    terminal.expect("/ #");
    let counter =
        daemon.run(client, &["run", "-d", "--name", "counter", "busybox", "sh", "-c", COUNT]).ok();
    let _ = daemon
        .run(client, &["run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 1; exit 42"])
        .ok();
    let pids = ["attached", "counter"].map(|name| daemon.pid_of(name));

    daemon.kill9();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(pids.iter().all(|pid| pid_alive(pid)), "the containers run on");
    daemon.restart();

    for (name, pid) in ["attached", "counter"].iter().zip(&pids) {
        let row = daemon
            .run(client, &["ps", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])
            .ok();
        assert!(row.starts_with("Up"), "{name}: {row}");
        assert_eq!(&daemon.pid_of(name), pid);
        assert_eq!(daemon.run(client, &["exec", name, "echo", "joined"]).ok(), "joined");
    }
    assert_eq!(
        daemon.run(client, &["wait", "ends"]).ok(),
        "42",
        "the exit code of the one that ended meanwhile"
    );
    assert_eq!(
        daemon.docker(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ends"]).ok(),
        "exited 42"
    );

    let mut command = daemon.command(client);
    command.args(["attach", "attached"]);
    let mut again = Terminal::start(&command, 24, 80);
    again.type_in("echo back-$((40+2))\n");
    again.expect("back-42");
    drop(again);

    let _ = daemon.run(client, &["stop", "-t", "1", "counter"]).ok();
    let log = daemon.run(client, &["logs", "counter"]).ok();
    for (n, line) in log.lines().enumerate() {
        assert_eq!(line, format!("line {n}"), "the log has no gap");
    }
    assert!(log.lines().count() > 50, "{}", log.lines().count());
    assert!(
        !daemon.path(&format!("run/containers/{counter}/shim.sock")).exists(),
        "its shim is gone"
    );
}

fn shim_killed_container_lives(client: Client) {
    let daemon = busybox();
    let id =
        daemon.run(client, &["run", "-d", "--name", "orphan", "busybox", "sleep", "1000"]).ok();
    let loud =
        daemon.run(client, &["run", "-d", "--name", "loud", "busybox", "sh", "-c", COUNT]).ok();
    let shell = daemon.run(client, &["run", "-dit", "--name", "shell", "busybox", "sh"]).ok();
    let [pid, loud_pid, shell_pid] = ["orphan", "loud", "shell"].map(|name| daemon.pid_of(name));
    kill9(&daemon.shim_of(&shell));
    kill9(&daemon.shim_of(&id));
    kill9(&daemon.shim_of(&loud));
    std::thread::sleep(Duration::from_millis(300));
    for (name, pid) in [("orphan", &pid), ("loud", &loud_pid), ("shell", &shell_pid)] {
        assert!(pid_alive(pid), "{name} lives on");
        assert_eq!(
            daemon.run(client, &["inspect", "-f", "{{.State.Running}} {{.State.Pid}}", name]).ok(),
            format!("true {pid}")
        );
        let row = daemon
            .run(client, &["ps", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])
            .ok();
        assert!(row.starts_with("Up"), "{row}");
    }
    let _ = daemon.run(client, &["kill", "orphan"]).ok();
    wait_for("the end of the orphan", || !pid_alive(&pid));
    wait_for("the truth about it", || {
        daemon.docker(&["inspect", "-f", "{{.State.Running}}", "orphan"]).ok() == "false"
    });
    let _ = daemon.run(client, &["rm", "-f", "orphan", "loud", "shell"]).ok();
    assert!(!pid_alive(&loud_pid));
    assert_eq!(cgroup_dirs(&id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn nothing_is_left_behind() {
    let daemon = busybox();
    let id = daemon.docker(&["run", "-d", "-m", "64m", "busybox", "sleep", "1000"]).ok();
    let failed = daemon.docker(&["run", "busybox", "no-such-program"]);
    assert_eq!(failed.code, 127);
    let _ = daemon.docker(&["run", "--rm", "busybox", "true"]).ok();
    assert!(!cgroup_dirs(&id).is_empty(), "the probe finds the cgroup of a running container");
    assert!(
        !daemon.leftovers().is_empty(),
        "the probe finds mounts and processes of a running container"
    );
    for id in daemon.docker(&["ps", "-aq"]).ok().lines() {
        let _ = daemon.docker(&["rm", "-f", id]).ok();
    }
    wait_for("the teardown", || daemon.leftovers().is_empty());
    assert_eq!(cgroup_dirs(&id), Vec::<std::path::PathBuf>::new());
    for dir in ["run/bundles", "run/containers", "data/containers"] {
        let left = fs::read_dir(daemon.path(dir)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{dir}");
    }
}

#[test]
fn a_daemon_killed_during_starts_leaves_the_truth() {
    let mut daemon = busybox();
    for round in 0..6 {
        let starts: Vec<_> = (0..4)
            .map(|n| {
                let mut command = daemon.command(Client::Docker);
                command.args([
                    "run",
                    "-d",
                    "--name",
                    &format!("r{round}n{n}"),
                    "busybox",
                    "sleep",
                    "1000",
                ]);
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        std::thread::sleep(Duration::from_millis(15 + 17 * round));
        daemon.kill9();
        for mut start in starts {
            let _ = start.wait();
        }
        daemon.restart();
        for line in daemon
            .docker(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}"])
            .ok()
            .lines()
        {
            let (id, state) = line.split_once(' ').unwrap();
            let pid = daemon.docker(&["inspect", "-f", "{{.State.Pid}}", id]).ok();
            assert_eq!(state == "running", pid != "0" && pid_alive(&pid), "{line} pid {pid}");
        }
    }
    for id in daemon.docker(&["ps", "-aq"]).ok().lines() {
        let _ = daemon.docker(&["rm", "-f", id]).ok();
    }
    wait_for("the teardown", || daemon.leftovers().is_empty());
}

#[test]
fn a_corrupt_record_is_set_aside_and_named() {
    let mut daemon = busybox();
    let good = daemon.docker(&["create", "--name", "good", "busybox", "true"]).ok();
    let bad = daemon.docker(&["create", "--name", "bad", "busybox", "true"]).ok();
    daemon.kill9();
    let mut records =
        fs::read_dir(daemon.path("data/db/containers")).unwrap().flatten().map(|e| e.path());
    let record = records.find(|p| p.to_string_lossy().contains(&bad)).expect("the record of `bad`");
    fs::write(&record, b"{\"half\": ").unwrap();
    daemon.restart();
    let names = daemon.docker(&["ps", "-a", "--no-trunc", "--format", "{{.ID}}"]).ok();
    assert_eq!(names, good);
    assert!(daemon.log().contains(&bad), "the log names the record: {}", daemon.log());
}
