//! Attacks by processes inside: on a process that joins, on the runtime's own file, by descriptors and directories that were left open.
//!
//! The line `Weakened:` of a test says with which defence taken away it was seen to fail.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::{Bench, PROGRAM};
use serde_json::{Value, json};

/// Runs the runtime as a caller would that has leaked directories of the host as descriptors 3 to 9.
fn with_leaks(bench: &Bench, words: &[&str]) -> Output {
    let script = "exec 3</ 4</etc 5</proc 6</tmp 7</ 8</bin 9</; exec \"$0\" \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(PROGRAM).arg("--root").arg(bench.root());
    command.args(harness::systemd().then_some("--systemd-cgroup"));
    command.args(words).stdin(Stdio::null()).output().unwrap()
}

fn run_with_leaks(bench: &Bench, more: &[&str]) -> (i32, String, String) {
    bench.write_spec();
    let bundle = bench.bundle();
    let mut words = vec!["run", "--bundle", bundle.to_str().unwrap()];
    words.extend(more);
    words.push(&bench.id);
    texts(&with_leaks(bench, &words))
}

fn texts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn start(bench: &Bench) {
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let output = bench.run(&["start", &bench.id]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn delete(bench: &Bench) {
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

fn give(bench: &mut Bench, names: &[&str]) {
    let names = json!(names);
    bench.spec["process"]["capabilities"] =
        json!({ "bounding": names, "effective": names, "permitted": names });
}

/// CVE-2024-21626, by the working directory.
/// Weakened: the check of getcwd(2).
#[test]
fn privileged_no_directory_of_the_host_is_a_working_directory() {
    let Some(mut bench) = Bench::new("cwd", &["sh", "-c", "pwd; ls; cat etc/shadow"]) else {
        return;
    };
    for number in 0..14 {
        for tail in ["", "/../../../..", "/etc"] {
            bench.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{number}{tail}"));
            let (code, out, _) = run_with_leaks(&bench, &[]);
            assert!(code != 0 && out.is_empty(), "{number}{tail} leads out: {out}");
        }
    }
    // The caller may pass a directory on; it is no way out either.
    for number in 3..6 {
        bench.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        let (code, out, err) = run_with_leaks(&bench, &["--preserve-fds", "5"]);
        assert!((code, out.as_str()) == (1, "") && err.contains("outside of container"), "{err}");
    }
    bench.assert_nothing_left();
    bench.spec["process"]["cwd"] = json!("/");
    bench.spec["process"]["args"] = json!(["sleep", "1000"]);
    start(&bench);
    for number in 0..14 {
        let cwd = format!("/proc/self/fd/{number}");
        let words = ["exec", "--cwd", &cwd, &bench.id, "sh", "-c", "pwd; ls"];
        let (code, out, err) = texts(&with_leaks(&bench, &words));
        assert!((code, out.as_str()) == (255, ""), "{number} leads out: {out}{err}");
    }
    delete(&bench);
}

/// CVE-2024-21626, by the program: a file of the host run through a descriptor.
/// Weakened: `close_descriptors` replaced by `close_on_exec_from`.
#[test]
fn privileged_no_file_of_the_host_is_the_program() {
    let busybox = harness::busybox().unwrap_or_default();
    let Some(mut bench) = Bench::new("program", &[]) else { return };
    let inner = |number: u32| format!("/proc/self/fd/{number}{}", busybox.display());
    for number in 3..14 {
        bench.spec["process"]["args"] = json!([inner(number), "echo", "escaped"]);
        let (code, out, err) = run_with_leaks(&bench, &[]);
        assert!(code != 0 && !out.contains("escaped"), "{number} leads out: {err}");
    }
    bench.assert_nothing_left();
    bench.spec["process"]["args"] = json!(["sleep", "1000"]);
    start(&bench);
    for number in 3..14 {
        let words = ["exec", &bench.id, &inner(number), "echo", "escaped"];
        let (code, out, err) = texts(&with_leaks(&bench, &words));
        assert!(code != 0 && !out.contains("escaped"), "{number} leads out: {err}");
    }
    delete(&bench);
}

/// The program has the standard streams, what it was given, and nothing else.
/// Weakened: `close_descriptors` left out.
#[test]
fn privileged_no_descriptor_is_left_open() {
    // The fourth is that of `ls` itself.
    let Some(mut bench) = Bench::new("leaks", &["ls", "/proc/self/fd"]) else { return };
    assert_eq!(run_with_leaks(&bench, &[]).1, "0\n1\n2\n3\n");
    assert_eq!(run_with_leaks(&bench, &["--preserve-fds", "2"]).1, "0\n1\n2\n3\n4\n5\n");
    bench.spec["process"]["args"] = json!(["sleep", "1000"]);
    start(&bench);
    let words = ["exec", &bench.id, "ls", "/proc/self/fd"];
    assert_eq!(texts(&with_leaks(&bench, &words)).1, "0\n1\n2\n3\n");
    let words = ["exec", &bench.id, "sh", "-c", "ls /proc/1/fd"];
    assert_eq!(texts(&with_leaks(&bench, &words)).1, "0\n1\n2\n");
    delete(&bench);
}

/// A second container in the pid namespace of the first, created and not started: its first process waits, visible to the others.
fn neighbour(bench: &Bench, pid: &Value) -> Option<Bench> {
    let mut second = Bench::new(&format!("{}2", bench.id.split('-').next().unwrap()), &["true"])?;
    second.spec["process"]["capabilities"] = bench.spec["process"]["capabilities"].clone();
    for namespace in second.spec["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace["type"] == "pid" {
            namespace["path"] = json!(format!("/proc/{pid}/ns/pid"));
        }
    }
    assert!(second.create(&[]).status.success(), "{}", second.log());
    Some(second)
}

/// CVE-2016-9962: a process that joins is looked into while it still holds what is the host's.
/// Weakened: every `set_not_dumpable`.
#[test]
fn privileged_a_waiting_process_cannot_be_looked_into() {
    let Some(bench) = Bench::new("inspect", &["sleep", "1000"]) else { return };
    start(&bench);
    let Some(second) = neighbour(&bench, &bench.state()["pid"]) else { return };
    let inside = "for p in /proc/[0-9]*; do [ $p = /proc/1 ] || [ $p = /proc/$$ ] || { echo found $p; cat $p/cmdline | head -c 9999 >/dev/null; \
        for f in fd cwd root exe; do readlink $p/$f && echo looked $f; done; \
        for f in environ mem maps auxv; do cat $p/$f >/dev/null && echo read $f; done; for f in mem exe; do : >> $p/$f && echo wrote $f; done; }; done 2>/dev/null";
    bench.applet("head");
    let output = bench.run(&["exec", &bench.id, "sh", "-c", inside]);
    let (_, out, err) = texts(&output);
    assert!(out.contains("found"), "{out}{err}");
    for word in ["looked", "read", "wrote"] {
        assert!(!out.contains(word), "{out}{err}");
    }
    delete(&second);
    delete(&bench);
}

/// CVE-2019-5736: the runtime's file, held open through /proc/PID/exe and written to once nobody runs it any more.
/// Weakened: `protect` left out.
#[test]
fn privileged_the_runtimes_file_is_not_overwritten() {
    let Some(mut bench) = Bench::new("exe", &["sleep", "1000"]) else {
        return;
    };
    let capabilities =
        ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_KILL"];
    give(&mut bench, &capabilities);
    // A copy is what is attacked: on a writable mount, owned by root, as an installed one is.
    let copy = bench.dir.path().join("runtime");
    fs::copy(PROGRAM, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let before = fs::read(&copy).unwrap();
    start(&bench);
    let mut second = Bench::new("exe2", &["true"]).unwrap();
    let pid = bench.state()["pid"].clone();
    for namespace in second.spec["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace["type"] == "pid" {
            namespace["path"] = json!(format!("/proc/{pid}/ns/pid"));
        }
    }
    second.write_spec();
    let bundle = second.bundle();
    let mut create = Command::new(&copy);
    create.arg("--root").arg(second.root());
    create.args(harness::systemd().then_some("--systemd-cgroup"));
    create.args(["create", "--bundle", bundle.to_str().unwrap(), &second.id]);
    let status = create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
    let script = "for p in /proc/[0-9]*; do [ $p = /proc/1 ] || [ $p = /proc/$$ ] || { exec 3<$p/exe && echo opened; kill -9 ${p#/proc/}; }; done; \
        sleep 1; for f in /proc/self/fd/3 /proc/$$/fd/3; do echo evil > $f; echo evil >> $f; done; echo end";
    let (_, out, err) = texts(&bench.run(&["exec", &bench.id, "sh", "-c", script]));
    assert!(out.contains("opened") && out.contains("end"), "the attack itself failed: {out}{err}");
    assert!(fs::read(&copy).unwrap() == before, "the runtime's file was overwritten");
    assert!(err.contains("Read-only file system"), "{err}");
    delete(&second);
    delete(&bench);
}

/// CVE-2019-5736, as it was found: the image's program is `/proc/self/exe`, and its first process writes into every one that it sees.
/// See the test above for what was weakened.
#[test]
fn privileged_a_program_that_is_the_runtime_does_not_open_it() {
    let script = "while :; do for p in /proc/[0-9]*; do case $p in /proc/1) ;; *) echo evil >> $p/exe && echo wrote;; esac; done; done 2>/dev/null";
    let Some(mut bench) = Bench::new("selfexe", &["sh", "-c", script]) else { return };
    give(&mut bench, &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    let copy = bench.dir.path().join("runtime");
    fs::copy(PROGRAM, &copy).unwrap();
    let before = fs::read(&copy).unwrap();
    fs::write(bench.rootfs().join("bin/evil"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(bench.rootfs().join("bin/evil"), fs::Permissions::from_mode(0o755))
        .unwrap();
    start(&bench);
    for program in ["/bin/evil", "/proc/self/exe", "true"].repeat(20) {
        let mut exec = Command::new(&copy);
        exec.arg("--root").arg(bench.root()).args(["exec", &bench.id, program, "--version"]);
        let _ = exec.stdin(Stdio::null()).output().unwrap();
    }
    assert!(!bench.output().contains("wrote"), "a file of the host was opened for writing");
    assert!(fs::read(&copy).unwrap() == before, "the runtime's file was overwritten");
    delete(&bench);
}

/// CVE-2016-9962 with `CAP_SYS_PTRACE`: whoever is seen in the container's pid namespace has nothing of the host any more.
/// Weakened: the process made in the pid namespace before it joins the others.
#[test]
fn privileged_a_joining_process_is_never_seen_with_the_hosts_root() {
    let Some(mut bench) = Bench::new("window", &[]) else { return };
    let marker = bench.dir.path().join("marker");
    fs::write(&marker, "the host's").unwrap();
    let script = format!(
        "while :; do for p in /proc/[0-9]*; do case $p in /proc/1) ;; *) [ -e $p ] && echo $p >> /tmp/seen; \
         [ -e $p/root{0} ] && echo root; [ -e $p/cwd{0} ] && echo cwd; \
         for f in $p/fd/*; do [ -e $f{0} ] && echo fd; done;; esac; done; done 2>/dev/null",
        marker.display()
    );
    bench.spec["process"]["args"] = json!(["sh", "-c", script]);
    give(&mut bench, &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"]);
    start(&bench);
    let began = Instant::now();
    for _ in 0..150 {
        let (code, _, err) = texts(&bench.run(&["exec", &bench.id, "true"]));
        assert_eq!(code, 0, "{err}");
        if began.elapsed() > Duration::from_secs(8) {
            break;
        }
    }
    assert!(bench.rootfs().join("tmp/seen").exists(), "the attack itself failed");
    let loot = bench.output();
    assert!(loot.is_empty(), "a process was seen with what is the host's: {loot:.80}");
    delete(&bench);
}

/// The session keyring is the container's, in `exec` too.
/// Weakened: `join_session_keyring` left out of `session`.
#[test]
fn privileged_keys_of_the_caller_stay_outside() {
    // Of this thread and of what it starts.
    if sys::namespace::join_session_keyring(c"belljar-callers-keyring").is_err() {
        testkit::skip("no keyrings");
        return;
    }
    let Some(mut bench) = Bench::new("keys", &["sh", "-c", "cat /proc/keys; exec sleep 1000"])
    else {
        return;
    };
    assert!(fs::read_to_string("/proc/keys").unwrap().contains("belljar-callers"));
    bench.spec["linux"]["maskedPaths"] = json!([]);
    // Another user than root sees the keys that he possesses, and no others.
    bench.spec["process"]["user"] = json!({ "uid": 5, "gid": 5 });
    start(&bench);
    bench.wait_for("keys", || bench.output().contains("_ses"));
    assert!(!bench.output().contains("belljar-callers"), "{}", bench.output());
    let (code, out, err) = texts(&bench.run(&["exec", &bench.id, "cat", "/proc/keys"]));
    assert!(code == 0 && out.contains("_ses"), "{out}{err}");
    assert!(!out.contains("belljar-callers"), "{out}");
    delete(&bench);
}

fn status_line(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

/// CVE-2022-29162, CVE-2022-27650: nothing is inheritable or ambient that the document does not say; no_new_privs is what it says.
/// Weakened: the added capabilities made inheritable in `add_capabilities`.
#[test]
fn privileged_no_capability_is_inherited_by_default() {
    let Some(mut bench) = Bench::new("caps", &["sleep", "1000"]) else { return };
    bench.spec["process"]["noNewPrivileges"] = json!(true);
    start(&bench);
    let first = format!("/proc/{}/status", bench.state()["pid"]);
    let first = fs::read_to_string(first).unwrap();
    let exec = |more: &[&str]| {
        let mut words = vec!["exec"];
        words.extend(more);
        words.extend([bench.id.as_str(), "cat", "/proc/self/status"]);
        texts(&bench.run(&words)).1
    };
    let none = "0000000000000000";
    for text in [first, exec(&[]), exec(&["--cap", "CAP_NET_RAW"]), exec(&["-u", "5:5"])] {
        assert_eq!(status_line(&text, "CapInh:"), none, "{text}");
        assert_eq!(status_line(&text, "CapAmb:"), none, "{text}");
        assert_eq!(status_line(&text, "NoNewPrivs:"), "1", "{text}");
    }
    let text = exec(&["-u", "5:5", "--cap", "CAP_NET_RAW"]);
    assert_eq!(status_line(&text, "CapEff:"), none, "{text}");
    delete(&bench);
}

/// CVE-2026-30892: a user that is not a number is nobody.
#[test]
fn privileged_a_user_that_is_no_number_is_refused() {
    let Some(bench) = Bench::new("user", &["sleep", "1000"]) else { return };
    start(&bench);
    for user in [
        "root",
        "5x",
        "0x5",
        "+5",
        "-1",
        " 5",
        "5 ",
        "5:",
        "5:root",
        ":5",
        "",
        "5:5:5",
        "4294967296",
        "٥",
        "1e3",
        "5\n",
    ] {
        let output = bench.run(&["exec", "-u", user, &bench.id, "id"]);
        let (code, out, err) = texts(&output);
        assert!(code == 255 && out.is_empty() && !err.is_empty(), "{user:?}: {out}");
    }
    let (code, out, _) = texts(&bench.run(&["exec", "-u", "5:6", &bench.id, "id"]));
    assert!(code == 0 && out.starts_with("uid=5 gid=6"), "{out}");
    delete(&bench);
}

/// A user namespace inside mounts a procfs without masks if it finds one whole instance, be it the host's behind a moved root.
/// Weakened: `cover_hosts_kernel_files` left out.
#[test]
fn privileged_no_whole_procfs_is_left_behind_a_moved_root() {
    let script = "unshare -Urpmf mount -t proc p /tmp && echo mounted; unshare -Urm mount -t sysfs s /tmp && echo mounted; echo end";
    let Some(mut bench) = Bench::new("nopivot", &["sh", "-c", script]) else { return };
    bench.applet("unshare");
    give(&mut bench, &["CAP_SYS_ADMIN", "CAP_SETFCAP"]);
    bench.write_spec();
    for more in [&[][..], &["--no-pivot"]] {
        let bundle = bench.bundle();
        let mut words = vec!["run", "--bundle", bundle.to_str().unwrap()];
        words.extend(more);
        words.push(&bench.id);
        let (code, out, err) = texts(&bench.run(&words));
        assert_eq!((code, out.as_str()), (0, "end\n"), "{more:?}: {err}");
        assert!(err.contains("permission denied"), "{err}");
        bench.assert_nothing_left();
    }
}
