//! `explain` and `prove` on real containers: for each sentence the opposite case is set up, and the verdict changes.
#![forbid(unsafe_code)]

use std::fs;

use acceptance::{Daemon, namespace};
use serde_json::Value;

fn busybox() -> Daemon {
    let daemon = Daemon::start();
    daemon.load("busybox");
    daemon
}

/// Starts a container that does nothing.
fn idle(daemon: &Daemon, name: &str, args: &[&str]) {
    let mut words = vec!["run", "-d", "--name", name];
    words.extend(args);
    words.extend(["busybox", "sleep", "1000"]);
    let _ = daemon.belljar(&words).ok();
}

fn report(daemon: &Daemon, words: &[&str]) -> Value {
    let mut all = vec!["explain", "--format", "json"];
    all.extend(words);
    serde_json::from_str(&daemon.belljar(&all).ok()).unwrap()
}

/// The claim of a report: its verdict and finding.
fn claim(report: &Value, id: &str) -> (String, String) {
    let sections = report["sections"].as_array().unwrap();
    let claims = sections.iter().flat_map(|section| section["claims"].as_array().unwrap());
    let found = claims.into_iter().find(|claim| claim["id"] == id);
    let found = found.unwrap_or_else(|| panic!("no claim {id} in {report:#}"));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("verdict"), text("finding"))
}

fn verdict(report: &Value, id: &str) -> String {
    claim(report, id).0
}

#[test]
fn evidence_namespaces_are_the_kernels() {
    let daemon = busybox();
    idle(&daemon, "alone", &[]);
    idle(&daemon, "joined", &["--network", "container:alone"]);
    idle(&daemon, "open", &["--pid", "host"]);
    let both = report(&daemon, &["joined", "alone"]);
    assert_eq!(verdict(&both, "compare.net"), "true");
    for kind in ["mnt", "pid", "uts", "ipc"] {
        assert_eq!(verdict(&both, &format!("compare.{kind}")), "false", "{kind}");
    }
    let creation = both["sections"].as_array().unwrap().iter().find(|s| s["name"] == "creation");
    let rows = creation.unwrap()["tables"][0]["rows"].as_array().unwrap().clone();
    let of = |kind: &str| rows.iter().find(|row| row[0] == kind).unwrap()[1].as_str().unwrap();
    assert!(of("net").starts_with("joined: that of process"), "{}", of("net"));
    assert_eq!(of("ipc"), "created for it");
    assert!(of("user").starts_with("not created"), "{}", of("user"));
    let inode = |pid: &str| namespace(pid, "net");
    assert_eq!(inode(&daemon.pid_of("joined")), inode(&daemon.pid_of("alone")));

    let open = report(&daemon, &["open"]);
    assert_eq!(verdict(&open, "namespaces.pid"), "false");
    assert_eq!(verdict(&open, "pids.hidden"), "false");
    assert_eq!(verdict(&open, "pids.levels"), "false");
    let alone = report(&daemon, &["alone"]);
    for id in ["namespaces.pid", "pids.hidden", "pids.levels", "pids.first", "kernel.shared"] {
        assert_eq!(verdict(&alone, id), "true", "{id}");
    }
}

#[test]
fn evidence_limits_name_the_group_that_sets_them() {
    let daemon = busybox();
    idle(&daemon, "limited", &["--memory", "64m", "--cpus", "0.5", "--pids-limit", "50"]);
    idle(&daemon, "free", &[]);
    let limited = report(&daemon, &["limited"]);
    let (verdict_of, finding) = claim(&limited, "cgroup.memory");
    assert_eq!(verdict_of, "true");
    assert!(finding.starts_with("at most 64 MiB, set by its own group"), "{finding}");
    let (_, cpu) = claim(&limited, "cgroup.cpu");
    assert!(cpu.starts_with("at most 0.5 processors (50 ms of time in each 100 ms)"), "{cpu}");
    assert!(claim(&limited, "cgroup.pids").1.starts_with("at most 50,"));
    let free = report(&daemon, &["free"]);
    let own = claim(&free, "cgroup.memory");
    assert!(own.0 == "false" || own.1.contains("a group above it"), "{own:?}");
}

#[test]
fn evidence_oom_and_throttling_are_counted() {
    let daemon = busybox();
    let busy = "while :; do :; done & while :; do :; done";
    let _ = daemon
        .belljar(&["run", "-d", "--name", "busy", "--cpus", "0.2", "busybox", "sh", "-c", busy])
        .ok();
    // The first process lives on: only a child goes over the limit.
    let eat = "head -c 60m /dev/zero | tail >/dev/null; sleep 1000";
    let _ = daemon
        .belljar(&[
            "run",
            "-d",
            "--name",
            "eater",
            "-m",
            "16m",
            "--memory-swap",
            "16m",
            "busybox",
            "sh",
            "-c",
            eat,
        ])
        .ok();
    acceptance::wait_for("the kernel's kill", || {
        verdict(&report(&daemon, &["eater", "--section", "load"]), "load.oom") == "true"
    });
    acceptance::wait_for("a period without time left", || {
        verdict(&report(&daemon, &["busy", "--section", "load"]), "load.throttled") == "true"
    });
    let eater = report(&daemon, &["eater", "--section", "load"]);
    assert_eq!(verdict(&eater, "load.throttled"), "false");
    assert_eq!(verdict(&report(&daemon, &["busy", "--section", "load"]), "load.oom"), "false");
}

#[test]
fn evidence_layers_show_what_was_changed() {
    let daemon = busybox();
    idle(&daemon, "files", &[]);
    let before = report(&daemon, &["files", "--section", "layers"]);
    assert_eq!(verdict(&before, "layers.overlay"), "true");
    let script = "echo more >>/etc/passwd; rm /etc/group; echo 12345 >/new";
    let _ = daemon.belljar(&["exec", "files", "sh", "-c", script]).ok();
    let after = report(&daemon, &["files", "--section", "layers"]);
    assert_eq!(verdict(&after, "layers.changed"), "true");
    let rows = after["sections"][0]["tables"][1]["rows"].as_array().unwrap();
    let of = |path: &str| rows.iter().find(|row| row[0] == path).map(|row| row[1].clone());
    assert_eq!(of("/etc/passwd").unwrap(), "copied up");
    assert_eq!(of("/etc/group").unwrap(), "deleted (whiteout)");
    assert_eq!(of("/new").unwrap(), "added");
}

#[test]
fn evidence_works_on_any_process_and_says_what_is_missing() {
    let daemon = busybox();
    let own = std::process::id().to_string();
    let found = report(&daemon, &[&own]);
    assert_eq!(verdict(&found, "kernel.shared"), "true");
    assert_eq!(verdict(&found, "ancestry.shim"), "false");
    idle(&daemon, "known", &[]);
    let id = daemon.belljar(&["inspect", "-f", "{{.Id}}", "known"]).ok();
    // Without any engine: the id is in the cgroup's path.
    let mut alone = daemon.command(acceptance::Client::Belljar);
    alone.env("DOCKER_HOST", "unix:///nonexistent").args([
        "explain",
        &id[..12],
        "--section",
        "pids",
    ]);
    let out = alone.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    daemon.belljar(&["explain", "nobody"]).fails(1, "No such container: nobody");
    daemon
        .belljar(&["explain", "known", "--section", "nonsense"])
        .fails(1, "unknown section `nonsense`");
    daemon.belljar(&["explain", "known", "--section", "compare"]).fails(1, "needs two containers");
    let _ = daemon.belljar(&["stop", "-t", "0", "known"]).ok();
    daemon.belljar(&["explain", "known"]).fails(1, "container known is not running");
    for format in ["text", "markdown", "html"] {
        let text = daemon.belljar(&["explain", &own, "--format", format]).ok();
        assert!(text.contains("runs on the host"), "{format}: {text}");
    }
}

fn audit(daemon: &Daemon, name: &str) -> (Option<i32>, Value) {
    let mut command = daemon.command(acceptance::Client::Belljar);
    let out = command.args(["prove", "--format", "json", name]).output().unwrap();
    (out.status.code(), serde_json::from_slice(&out.stdout).unwrap())
}

fn outcome(audit: &Value, id: &str) -> String {
    let check = audit["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap();
    check["outcome"].as_str().unwrap().to_owned()
}

#[test]
fn evidence_an_audit_tells_a_default_from_a_privileged_container() {
    let daemon = busybox();
    idle(&daemon, "default", &[]);
    let (code, default) = audit(&daemon, "default");
    assert_eq!(code, Some(0), "{default:#}");
    for id in [
        "caps.dangerous",
        "caps.inherited",
        "seccomp",
        "ns.pid",
        "ns.net",
        "proc.masked",
        "proc.read_only",
        "sys.read_only",
        "cgroup.read_only",
        "devices",
        "sockets",
        "mounts.host",
        "runtime.cwd",
        "runtime.fds",
    ] {
        assert_eq!(outcome(&default, id), "pass", "{id}");
    }
    assert_eq!(outcome(&default, "no_new_privs"), "fail");
    let socket = daemon.path("socket-inside");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let volume = format!("{}:/run/docker.sock", socket.display());
    idle(
        &daemon,
        "privileged",
        &["--privileged", "--pid", "host", "-v", &volume, "-v", "/etc:/host-etc"],
    );
    let (code, privileged) = audit(&daemon, "privileged");
    assert_eq!(code, Some(1));
    for id in [
        "caps.dangerous",
        "seccomp",
        "ns.pid",
        "proc.read_only",
        "sys.read_only",
        "devices",
        "sockets",
        "mounts.host",
    ] {
        assert_eq!(outcome(&privileged, id), "fail", "{id}");
    }
    idle(
        &daemon,
        "strict",
        &["--security-opt", "no-new-privileges", "--read-only", "--user", "1000", "-m", "64m"],
    );
    let (_, strict) = audit(&daemon, "strict");
    for id in ["no_new_privs", "root.read_only", "user.root", "limit.memory"] {
        assert_eq!(outcome(&strict, id), "pass", "{id}");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid_of("strict"))).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}
