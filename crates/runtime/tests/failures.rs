//! Every step of a container's life made to fail, and the runtime killed at every step: strace(1) tampers with the n-th of its system
//! calls. Whatever happens, the error says step, object and errno, and nothing is left behind.
//!
//! `BELLJAR_SWEEP=all` tampers with every call; without it with some of them, spread over the whole life.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::{Bench, PROGRAM};
use serde_json::Value;

/// The calls that make or change something, and the most that each test tampers with.
const CALLS: &[&str] = &[
    "fsopen",
    "fsconfig",
    "fsmount",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "clone3",
    "mkdir",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "openat",
    "openat2",
    "write",
    "pivot_root",
    "umount2",
    "fchdir",
    "chdir",
    "sethostname",
    "capset",
    "setgroups",
    "setresuid",
    "setresgid",
    "prctl",
    "rename",
    "execve",
    "socketpair",
    "close_range",
    "getcwd",
    "seccomp",
    "setns",
    "keyctl",
];

/// How long the small sweep of one test may take.
const PATIENCE: Duration = Duration::from_secs(18);

fn strace() -> bool {
    Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
}

fn bench(name: &str) -> Option<Bench> {
    let bench = Bench::new(name, &["sleep", "1000"])?;
    if !strace() {
        testkit::skip("no strace");
        return None;
    }
    Some(bench)
}

/// The tracer is a grandchild (`-D`), so that the code is the runtime's own and nobody waits for the end of the container.
///
/// Runs a command of the runtime, whose children count too, with one call tampered with. Its output goes to a file: a container that is
/// left would hold a pipe open.
fn tampered(bench: &Bench, inject: &str, words: &[&str]) -> Output {
    let out = fs::File::create(bench.dir.path().join("out")).unwrap();
    let mut command = Command::new("strace");
    let call = inject.split(':').next().unwrap_or_default();
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={inject}")]);
    command.arg(PROGRAM).arg("--root").arg(bench.root());
    command.arg("--log").arg(bench.dir.path().join("log")).args(["--log-format", "json"]);
    command.args(harness::systemd().then_some("--systemd-cgroup"));
    let _ = fs::remove_file(bench.dir.path().join("log"));
    command.args(words).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    command.output().unwrap()
}

/// How often each call is made by a command, all its processes together.
fn count(bench: &Bench, call: &str, words: &[&str]) -> usize {
    let trace = bench.dir.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o"]).arg(&trace).args(["-e", &format!("trace={call}")]);
    command.arg(PROGRAM).arg("--root").arg(bench.root());
    command.args(harness::systemd().then_some("--systemd-cgroup"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = command.status();
    if words[0] == "create" {
        assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    }
    // The tracer follows the container and ends with it.
    bench.wait_for("end of the tracer", || !left(bench).iter().any(|line| line.contains("strace")));
    let text = fs::read_to_string(trace).unwrap_or_default();
    // strace counts for each process on its own.
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains(&format!(" {call}("))) {
        *counts.entry(line.split(' ').next().unwrap_or_default()).or_insert(0) += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// Which of `count` to tamper with: all of them, or about `some`.
fn picks(count: usize, some: usize) -> Vec<usize> {
    let all = std::env::var_os("BELLJAR_SWEEP").is_some();
    let step = if all { 1 } else { count.div_ceil(some).max(1) };
    (1..=count).step_by(step).collect()
}

fn in_time(began: Instant) -> bool {
    began.elapsed() < PATIENCE || std::env::var_os("BELLJAR_SWEEP").is_some()
}

/// The processes of the bench that are left, zombies too: those whose command line or group names it.
fn left(bench: &Bench) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        let line = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        let groups = fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        if line.contains(&bench.id) || groups.contains(&format!("belljar-test-{}", bench.id)) {
            found.push(format!("{}: {line}", path.display()));
        }
    }
    found
}

fn assert_clean(bench: &Bench, what: &str) {
    // A killed process is gone a moment after its parent.
    let began = Instant::now();
    while !left(bench).is_empty() && began.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(left(bench), Vec::<String>::new(), "{what}: a process is left");
    assert!(!bench.group().exists(), "{what}: the cgroup is left");
    bench.assert_nothing_left();
}

/// The last line of the log has a step with its object, and the words of the errno; but a process whose file in procfs cannot be read
/// is one that has ended.
fn assert_told(bench: &Bench, what: &str) {
    let log = bench.log();
    if log.is_empty() && (what.starts_with("write ") || bench.output().contains("open the log")) {
        // It was the log itself that could not be opened or written.
        assert!(bench.output().contains("no medium found"), "{what}: {}", bench.output());
        return;
    }
    let last = log.lines().last().unwrap_or_default();
    let line: Value = serde_json::from_str(last).unwrap_or_default();
    let message = line["msg"].as_str().unwrap_or_default();
    assert_eq!(line["level"], "error", "{what}: the log says nothing: {log:?} {}", bench.output());
    assert!(
        message.to_lowercase().contains("no medium found") || message.contains("stopped container"),
        "{what}: the errno is not told: {message}"
    );
}

/// An errno that nothing else yields: `ENOMEDIUM`.
fn fail(call: &str, at: usize) -> String {
    format!("{call}:error=ENOMEDIUM:when={at}")
}

/// Seen to fail: with the group not removed by `Draft`.
#[test]
fn privileged_a_creation_that_fails_anywhere_leaves_nothing() {
    let Some(bench) = bench("failing") else { return };
    bench.write_spec();
    let bundle = bench.bundle();
    let words = ["create", "--bundle", bundle.to_str().unwrap(), &bench.id];
    let (began, mut failures) = (Instant::now(), 0);
    for call in CALLS {
        let calls = count(&bench, call, &words);
        for at in picks(calls, 2) {
            if !in_time(began) {
                break;
            }
            let what = format!("{call} {at}");
            let output = tampered(&bench, &fail(call, at), &words);
            if output.status.success() {
                // The runtime can do without.
                assert!(bench.run(&["delete", "--force", &bench.id]).status.success(), "{what}");
            } else {
                assert_eq!(output.status.code(), Some(1), "{what}: {}", bench.log());
                assert_told(&bench, &what);
                failures += 1;
            }
            assert_clean(&bench, &what);
        }
    }
    assert!(failures > 10, "{failures} steps failed");
}

/// Seen to fail: with the group not written down before it is made.
#[test]
fn privileged_a_creation_that_is_killed_anywhere_is_deleted() {
    let Some(bench) = bench("killing") else { return };
    bench.write_spec();
    let bundle = bench.bundle();
    let words = ["create", "--bundle", bundle.to_str().unwrap(), &bench.id];
    let began = Instant::now();
    for call in CALLS {
        let calls = count(&bench, call, &words);
        for at in picks(calls, 2) {
            if !in_time(began) {
                break;
            }
            let what = format!("killed at {call} {at}");
            tampered(&bench, &format!("{call}:signal=KILL:when={at}"), &words);
            let delete = bench.run(&["delete", "--force", &bench.id]);
            let told = String::from_utf8_lossy(&delete.stderr).into_owned();
            assert!(delete.status.success(), "{what}: {told}");
            assert_clean(&bench, &what);
        }
    }
}

#[test]
fn privileged_an_exec_that_fails_or_is_killed_leaves_the_container_alone() {
    let Some(bench) = bench("execfail") else { return };
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    let words = ["exec", &bench.id, "true"];
    let alone = || {
        bench.wait_for("end of the process", || bench.group().processes().len() == 1);
        assert_eq!(bench.state()["status"], "running");
    };
    let began = Instant::now();
    for call in [
        "clone3",
        "setns",
        "openat",
        "write",
        "capset",
        "prctl",
        "setresuid",
        "socketpair",
        "close_range",
        "execve",
    ] {
        let calls = count(&bench, call, &words);
        for at in picks(calls, 2) {
            if !in_time(began) {
                break;
            }
            let what = format!("{call} {at}");
            let output = tampered(&bench, &fail(call, at), &words);
            if !output.status.success() {
                // 1 before the command was read: the log could not be opened.
                let early = bench.output().contains("open the log");
                let code = if early { 1 } else { 255 };
                assert_eq!(output.status.code(), Some(code), "{what}: {}", bench.output());
                assert_told(&bench, &what);
            }
            alone();
            tampered(&bench, &format!("{call}:signal=KILL:when={at}"), &words);
            alone();
        }
    }
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    assert_clean(&bench, "deleted");
}

#[test]
fn privileged_a_delete_that_fails_or_is_killed_can_be_repeated() {
    let Some(bench) = bench("delfail") else { return };
    let words = ["delete", "--force", &bench.id];
    let create = || assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let began = Instant::now();
    for call in [
        "openat",
        "write",
        "rmdir",
        "unlink",
        "unlinkat",
        "pidfd_open",
        "pidfd_send_signal",
        "poll",
        "kill",
    ] {
        create();
        let calls = count(&bench, call, &words);
        for at in picks(calls, 2) {
            for inject in [fail(call, at), format!("{call}:signal=KILL:when={at}")] {
                if !in_time(began) {
                    break;
                }
                create();
                tampered(&bench, &inject, &words);
                let again = bench.run(&words);
                let told = String::from_utf8_lossy(&again.stderr).into_owned();
                assert!(again.status.success(), "{inject}: {told}");
                assert_clean(&bench, &inject);
            }
        }
    }
}
