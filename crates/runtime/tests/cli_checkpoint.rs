//! `checkpoint` and `restore`: what is asked of criu, and what is said where it is missing or fails.
//!
//! The real criu works on few kernels and not at all on some, so a script stands in for it: it writes down how it was called and does
//! what the runtime relies on.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use harness::Bench;
use serde_json::json;

/// Ends the tree on `dump`, leaves a process behind on `restore`, and fails if there is a file `fail` beside it.
const STAND_IN: &str = r#"#!/bin/sh
here=$(dirname "$0")
printf '%s\n' "$@" > "$here/called"
while [ $# -gt 0 ]; do
    case $1 in
    dump | pre-dump | restore) action=$1 ;;
    --tree) tree=$2 ;;
    --pidfile) pidfile=$2 ;;
    --work-dir) work=$2 ;;
    --log-file) log=$2 ;;
    --root) ls "$2/bin/busybox" > "$here/root" ;;
    --leave-running) stays=yes ;;
    esac
    shift
done
if [ -e "$here/fail" ]; then
    echo "(00.1) Error (criu/x.c:1): first" > "$work/$log"
    echo "(00.2) Error (criu/x.c:2): second" >> "$work/$log"
    exit 1
fi
if [ "$action" = dump ] && [ -z "$stays" ]; then kill -9 "$tree"; fi
if [ "$action" = restore ]; then
    (sleep 0.3; exit 7) &
    echo $! > "$pidfile"
fi
"#;

struct Criu {
    directory: PathBuf,
}

impl Criu {
    fn install(bench: &Bench) -> Self {
        let directory = bench.dir.path().join("criu");
        fs::create_dir(&directory).unwrap();
        let file = directory.join("criu");
        fs::write(&file, STAND_IN).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    fn path(&self) -> String {
        format!("{}:{}", self.directory.display(), std::env::var("PATH").unwrap())
    }

    fn called(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("called")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Runs a command with that PATH; standard output and error go to files, since restored processes keep them.
fn run(bench: &Bench, path: &str, words: &[&str]) -> (i32, String) {
    let err = bench.dir.path().join("err");
    let mut command: Command = bench.command(words);
    command.env("PATH", path).current_dir(bench.dir.path()).stdout(Stdio::null());
    let status = command.stderr(fs::File::create(&err).unwrap()).status().unwrap();
    (status.code().unwrap(), fs::read_to_string(err).unwrap())
}

/// Tells whether two words stand side by side.
fn has(words: &[String], first: &str, second: &str) -> bool {
    words.windows(2).any(|pair| pair[0] == first && pair[1] == second)
}

fn started(name: &str, args: &[&str]) -> Option<Bench> {
    let mut bench = Bench::new(name, args)?;
    if !std::path::Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        testkit::skip(&format!("{name}: the kernel lacks CONFIG_CHECKPOINT_RESTORE"));
        return None;
    }
    bench.add_mount(
        json!({ "destination": "/bound", "source": "/etc", "options": ["rbind", "ro"] }),
    );
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    Some(bench)
}

#[test]
fn privileged_without_criu_nothing_is_touched() {
    let Some(bench) = started("criuless", &["sleep", "1000"]) else { return };
    let empty = bench.dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let want = "CRIU version check failed: exec: \\\"criu\\\": executable file not found in $PATH";
    let (code, err) = run(&bench, empty.to_str().unwrap(), &["checkpoint", &bench.id]);
    assert!(code == 1 && err.contains(want), "{err}");
    let bundle = bench.bundle();
    let words = ["restore", "--bundle", bundle.to_str().unwrap(), "another"];
    let (code, err) = run(&bench, empty.to_str().unwrap(), &words);
    assert!(code == 1 && err.contains(want), "{err}");
    assert_eq!(bench.state()["status"], "running");
    assert!(
        !bench.dir.path().join("checkpoint").exists() && !bench.root().join("another").exists()
    );
}

#[test]
fn privileged_a_checkpoint_asks_criu_for_the_tree() {
    let Some(bench) = started("dumped", &["sleep", "1000"]) else { return };
    let criu = Criu::install(&bench);
    let pid = bench.state()["pid"].to_string();
    let images = bench.dir.path().join("images");
    let at = images.to_str().unwrap();
    let words = [
        "checkpoint",
        "--leave-running",
        "--tcp-established",
        "--shell-job",
        "--image-path",
        at,
        &bench.id,
    ];
    let (code, err) = run(&bench, &criu.path(), &words);
    assert_eq!(code, 0, "{err}");
    let called = criu.called();
    assert_eq!(called[0], "dump");
    for (first, second) in [
        ("--tree", pid.as_str()),
        ("--images-dir", at),
        ("--external", "mnt[/bound]:/bound"),
        ("--external", "mnt[/proc/keys]:/dev/null"),
        ("--empty-ns", "net"),
        ("--log-file", "dump.log"),
    ] {
        assert!(has(&called, first, second), "{first} {second}: {called:?}");
    }
    for one in [
        "--leave-running",
        "--tcp-established",
        "--shell-job",
        "--manage-cgroups=soft",
        "--freeze-cgroup",
    ] {
        assert!(called.iter().any(|word| word == one), "{one}: {called:?}");
    }
    let descriptors = fs::read_to_string(images.join("descriptors.json")).unwrap();
    assert!(descriptors.starts_with("[\"/dev/null\",\""), "{descriptors}");
    assert_eq!(bench.state()["status"], "running");

    let (code, err) = run(
        &bench,
        &criu.path(),
        &["checkpoint", "--parent-path", "nope", "--image-path", at, &bench.id],
    );
    assert!(code == 1 && err.contains("invalid --parent-path: stat "), "{err}");
    let (code, _) =
        run(&bench, &criu.path(), &["checkpoint", "--pre-dump", "--image-path", at, &bench.id]);
    assert_eq!((code, criu.called()[0].as_str()), (0, "pre-dump"));
    assert_eq!(bench.state()["status"], "running", "a pre-dump leaves it running");

    fs::write(criu.directory.join("fail"), "").unwrap();
    let (code, err) = run(&bench, &criu.path(), &["checkpoint", "--image-path", at, &bench.id]);
    assert_eq!(code, 1);
    assert!(
        err.contains("criu failed: exit status: 1") && err.contains("dump.log`): (00.1) Error"),
        "{err}"
    );
    assert!(err.contains("level=warning msg=\"(00.2) Error"), "{err}");
    assert_eq!(bench.state()["status"], "running", "a failed checkpoint takes nothing away");
    fs::remove_file(criu.directory.join("fail")).unwrap();

    let (code, err) = run(&bench, &criu.path(), &["checkpoint", "--image-path", at, &bench.id]);
    assert_eq!(code, 0, "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_only_what_runs_is_checkpointed() {
    let Some(bench) = Bench::new("undumped", &["sleep", "1000"]) else { return };
    assert!(bench.create(&[]).status.success());
    let criu = Criu::install(&bench);
    let (code, err) = run(&bench, &criu.path(), &["checkpoint", &bench.id]);
    assert!(
        code == 1 && err.contains("Container cannot be checkpointed in created state"),
        "{err}"
    );
}

#[test]
fn privileged_a_restore_makes_all_but_the_process() {
    let Some(bench) = started("restored", &["sleep", "1000"]) else { return };
    let criu = Criu::install(&bench);
    let (code, err) = run(&bench, &criu.path(), &["checkpoint", &bench.id]);
    assert_eq!(code, 0, "{err}");
    fs::write(
        bench.dir.path().join("checkpoint/descriptors.json"),
        r#"["/dev/null","pipe:[7]","/x"]"#,
    )
    .unwrap();
    let bundle = bench.bundle();
    let bundle = bundle.to_str().unwrap();
    let pid_file = bench.dir.path().join("pid");
    let pid = pid_file.to_str().unwrap();
    let words = ["restore", "--bundle", bundle, "--pid-file", pid, &bench.id];
    let (code, err) = run(&bench, &criu.path(), &words);
    assert_eq!(code, 7, "the code of the restored process: {err}");
    let called = criu.called();
    assert_eq!(called[0], "restore");
    for (first, second) in [
        ("--external", "mnt[/bound]:/etc"),
        ("--external", "mnt[/dev/null]:/dev/null"),
        ("--inherit-fd", "fd[1]:pipe:[7]"),
    ] {
        assert!(has(&called, first, second), "{first} {second}: {called:?}");
    }
    assert!(called.iter().any(|word| word == "--restore-sibling"));
    assert!(
        called.iter().any(|word| word.ends_with(&format!("/belljar-test-{}", bench.id))),
        "{called:?}"
    );
    let root = fs::read_to_string(criu.directory.join("root")).unwrap();
    assert!(root.ends_with("criu-root/bin/busybox\n"), "the root was mounted: {root}");
    bench.assert_nothing_left();

    fs::write(criu.directory.join("fail"), "").unwrap();
    let (code, err) = run(&bench, &criu.path(), &words);
    assert!(code == 1 && err.contains("restore.log`): (00.1) Error"), "{err}");
    bench.assert_nothing_left();
    fs::remove_file(criu.directory.join("fail")).unwrap();

    let words = ["restore", "--detach", "--bundle", bundle, "--pid-file", pid, &bench.id];
    assert_eq!(run(&bench, &criu.path(), &words).0, 0);
    assert_eq!(bench.state()["status"], "running");
    assert_eq!(bench.state()["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    bench.wait_for_status("stopped");
    assert!(bench.run(&["delete", &bench.id]).status.success());
    bench.assert_nothing_left();
}
