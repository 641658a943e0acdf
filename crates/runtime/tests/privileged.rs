//! The program against a real kernel: containers from a busybox, in a private `--root` and private cgroups.
//!
//! They need root, cgroups that can be written, and a static busybox. Where one of these is missing a test says so and why;
//! whoever counts tests counts those lines.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Bench, PROGRAM, missing};
use serde_json::{Value, json};
use sys::cgroup::Cgroups;

#[test]
fn privileged_a_container_goes_through_its_states() {
    let Some(bench) = Bench::new("states", &["sh", "-c", "echo here; exec sleep 1000"]) else {
        return;
    };
    let pid_file = bench.dir.path().join("pid");
    let output = bench.create(&["--pid-file", pid_file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", bench.output());
    let state = bench.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    assert_eq!(bench.output(), "", "nothing runs before start");
    let twice = bench.create(&[]);
    assert_eq!(twice.status.code(), Some(1));
    assert!(bench.log().contains("container with given ID already exists"));

    assert!(bench.run(&["start", &bench.id]).status.success());
    assert_eq!(bench.state()["status"], "running");
    let again = bench.run(&["start", &bench.id]);
    let text = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(text.contains("cannot start an already running container"), "{text}");

    assert!(bench.run(&["pause", &bench.id]).status.success());
    assert_eq!(bench.state()["status"], "paused");
    assert!(bench.run(&["resume", &bench.id]).status.success());
    assert_eq!(bench.run(&["delete", &bench.id]).status.code(), Some(1), "it runs");

    assert!(bench.run(&["kill", &bench.id, "KILL"]).status.success());
    bench.wait_for_status("stopped");
    let late = bench.run(&["kill", &bench.id, "TERM"]);
    assert!(String::from_utf8_lossy(&late.stderr).contains("container not running"));
    assert!(bench.run(&["delete", &bench.id]).status.success());
    let gone = bench.run(&["state", &bench.id]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("does not exist"));
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_missing_program_fails_at_creation_and_leaves_nothing() {
    let Some(mut bench) = Bench::new("missing", &["nope"]) else { return };
    let want = [
        (json!(["nope"]), "exec: \\\"nope\\\": executable file not found in $PATH"),
        (json!(["/etc/passwd"]), "exec: \\\"/etc/passwd\\\": permission denied"),
        (json!(["/no/pe"]), "exec: \\\"/no/pe\\\": stat /no/pe: no such file or directory"),
    ];
    for (args, words) in want {
        bench.spec["process"]["args"] = args;
        assert_eq!(bench.create(&[]).status.code(), Some(1));
        assert!(bench.log().contains(words), "{}", bench.log());
        bench.assert_nothing_left();
    }
}

#[test]
fn privileged_a_killed_creation_takes_its_process_along() {
    let Some(mut bench) = Bench::new("killed", &["sleep", "1000"]) else { return };
    // The hook holds the creation up after the process was made.
    bench.spec["hooks"] =
        json!({ "createRuntime": [{ "path": "/bin/sleep", "args": ["sleep", "3"] }] });
    bench.write_spec();
    let bundle = bench.bundle();
    let words = ["create", "--bundle", bundle.to_str().unwrap(), &bench.id];
    let mut command = bench.command(&words);
    let mut creation = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    bench.wait_for("process", || !bench.group().processes().is_empty());
    creation.kill().unwrap();
    creation.wait().unwrap();
    bench.wait_for("end of the process", || bench.group().processes().is_empty());
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_failures_in_the_middle_leave_nothing() {
    let Some(mut bench) = Bench::new("middle", &["true"]) else { return };
    let good = bench.spec.clone();
    let mut bad: Vec<Value> = Vec::new();
    for mount in [
        json!({ "destination": "/x", "type": "bind", "source": "/no/such", "options": ["rbind"] }),
        json!({ "destination": "/x", "type": "nofs", "source": "x" }),
        json!({ "destination": "/bin/busybox/x", "type": "tmpfs", "source": "x" }),
    ] {
        let mut spec = good.clone();
        spec["mounts"].as_array_mut().unwrap().push(mount);
        bad.push(spec);
    }
    let mut spec = good.clone();
    spec["process"]["cwd"] = json!("/etc/passwd");
    bad.push(spec);
    let mut spec = good.clone();
    spec["linux"]["resources"] = json!({ "cpu": { "cpus": "4000" } });
    bad.push(spec);
    let mut spec = good;
    spec["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] });
    bad.push(spec);
    for spec in bad {
        bench.spec = spec;
        assert_eq!(bench.create(&[]).status.code(), Some(1), "{}", bench.spec);
        bench.assert_nothing_left();
    }
}

#[test]
fn privileged_the_inside_is_isolated() {
    let script = "cat /proc/1/cgroup | while read l; do echo cgroup $l; done; readlink /proc/self/ns/net; \
        cat /proc/sys/kernel/hostname; echo pid $$; cat /proc/keys; echo 1 > /proc/sys/kernel/panic; \
        ls /sys/firmware; while read a b; do case $a in Cap*|NoNew*) echo $a $b;; esac; done < /proc/self/status; echo home $HOME";
    let Some(mut bench) = Bench::new("inside", &["sh", "-c", script]) else { return };
    bench.spec["process"]["noNewPrivileges"] = json!(true);
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    for line in out.lines().filter(|line| line.starts_with("cgroup")) {
        assert!(line.ends_with(":/"), "the container's group is its root: {line}");
    }
    assert!(out.contains("inside\npid 1\n"), "{out}");
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    assert!(!out.contains(host.to_str().unwrap()));
    assert!(err.contains("Read-only file system"), "{err}");
    assert!(out.contains("CapEff: 00000000000000e1"), "{out}");
    assert!(out.contains("CapBnd: 00000000000000e1") && out.contains("CapInh: 0000000000000000"));
    assert!(out.contains("NoNewPrivs: 1") && out.contains("home /root"), "{out}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_exit_codes_arrive() {
    let Some(mut bench) = Bench::new("codes", &[]) else { return };
    for (script, code) in
        [("exit 0", 0), ("exit 42", 42), ("(sleep 1000 & kill -9 $!; wait $!)", 137)]
    {
        bench.spec["process"]["args"] = json!(["sh", "-c", script]);
        assert_eq!(bench.foreground().0, code, "{script}");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_limits_are_the_kernels() {
    let Some(mut bench) = Bench::new("limits", &["sleep", "1000"]) else { return };
    bench.spec["linux"]["resources"] = json!({
        "memory": { "limit": 67_108_864 },
        "pids": { "limit": 17 },
        "cpu": { "quota": 50_000, "period": 100_000 },
    });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let stats = bench.group().stats();
    assert_eq!(stats.memory.unwrap().limit, Some(67_108_864));
    assert_eq!(stats.pids.unwrap().limit, Some(17));
    assert_eq!(bench.group().processes().len(), 1, "the runtime has left the group");
    let update = bench.run(&["update", "--memory", "32m", "--pids-limit", "9", &bench.id]);
    assert!(update.status.success(), "{}", String::from_utf8_lossy(&update.stderr));
    let stats = bench.group().stats();
    assert_eq!(stats.memory.unwrap().limit, Some(32 << 20));
    assert_eq!(stats.pids.unwrap().limit, Some(9));
    let events = bench.run(&["events", "--stats", &bench.id]);
    let event: Value = serde_json::from_slice(&events.stdout).unwrap();
    assert_eq!(event["data"]["pids"]["limit"], 9);
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_exec_joins_and_reports() {
    let Some(bench) = Bench::new("exec", &["sleep", "1000"]) else { return };
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    let inside = bench.run(&[
        "exec",
        "-e",
        "X=5",
        &bench.id,
        "sh",
        "-c",
        "echo $X $HOME; cat /proc/sys/kernel/hostname; cat /proc/self/cgroup; exit 3",
    ]);
    assert_eq!(inside.status.code(), Some(3));
    let text = String::from_utf8_lossy(&inside.stdout).into_owned();
    assert!(text.starts_with("5 /root\ninside\n"), "{text}");
    assert!(text.lines().skip(2).all(|line| line.ends_with(":/")), "{text}");
    let capabilities = bench.run(&["exec", &bench.id, "cat", "/proc/self/status"]);
    assert!(String::from_utf8_lossy(&capabilities.stdout).contains("CapInh:\t0000000000000000"));
    let nope = bench.run(&["exec", &bench.id, "nope"]);
    assert_eq!(nope.status.code(), Some(255));
    let text = String::from_utf8_lossy(&nope.stderr).into_owned();
    assert!(text.contains("executable file not found in $PATH"), "{text}");
    bench.run(&["pause", &bench.id]);
    let paused = bench.run(&["exec", &bench.id, "true"]);
    assert!(String::from_utf8_lossy(&paused.stderr).contains("cannot exec in a paused container"));
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_hostile_roots_reach_nothing_outside() {
    let Some(mut bench) = Bench::new("hostile", &["true"]) else { return };
    let outside = bench.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let rootfs = bench.bundle().join("rootfs");
    let good = bench.spec.clone();
    for name in ["proc", "sys", "dev"] {
        fs::remove_dir(rootfs.join(name)).unwrap();
        symlink(&outside, rootfs.join(name)).unwrap();
        bench.spec = good.clone();
        if name == "dev" {
            let mounts = bench.spec["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        }
        assert_eq!(bench.create(&[]).status.code(), Some(1), "{name} is a link");
        let reason = match name {
            "dev" => "too many levels of symbolic links",
            _ => "must be mounted on ordinary directory",
        };
        assert!(bench.log().contains(reason), "{}", bench.log());
        bench.assert_nothing_left();
        fs::remove_file(rootfs.join(name)).unwrap();
        fs::create_dir(rootfs.join(name)).unwrap();
    }
    symlink("../../../../../../../..", rootfs.join("up")).unwrap();
    bench.spec = good;
    let target = format!("/up{}/made", outside.display());
    bench.spec["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "destination": target, "type": "tmpfs", "source": "x" }));
    assert_eq!(bench.foreground().0, 0);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
    bench.spec["process"]["cwd"] = json!("/proc/self/fd/7");
    for number in 3..20 {
        bench.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{number}/../../.."));
        let (code, out, _) = bench.foreground();
        assert_ne!((code, out.is_empty()), (0, false), "descriptor {number} leads out");
    }
}

#[test]
fn privileged_the_runtimes_own_file_cannot_be_written() {
    let Some(bench) = Bench::new("own", &["true"]) else { return };
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    // Until it becomes the program, the first process runs the runtime's file (CVE-2019-5736).
    let path = format!("/proc/{}/exe", bench.state()["pid"]);
    let same = fs::metadata(&path).unwrap().len() == fs::metadata(PROGRAM).unwrap().len();
    assert!(same, "the process has become the program too early");
    // A write is refused as "busy" while it runs; what counts is the mount, which refuses it afterwards too.
    let file = fs::File::open(&path).unwrap();
    let flags = rustix::fs::fstatvfs(&file).unwrap().f_flag;
    assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{flags:?}");
}

#[test]
fn privileged_a_terminal_comes_over_the_socket() {
    let Some(mut bench) =
        Bench::new("terminal", &["sh", "-c", "echo hello; readlink /proc/self/fd/0"])
    else {
        return;
    };
    bench.spec["process"]["terminal"] = json!(true);
    bench.spec["process"]["consoleSize"] = json!({ "height": 33, "width": 99 });
    let path = bench.dir.path().join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let output = bench.create(&["--console-socket", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", bench.log());
    let (stream, _) = listener.accept().unwrap();
    let mut fds = Vec::new();
    sys::scm::receive(std::os::fd::AsFd::as_fd(&stream), &mut [0; 64], &mut fds).unwrap();
    let master = fds.pop().unwrap();
    assert!(master.as_raw_fd() > 2);
    let size = rustix::termios::tcgetwinsize(&master).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (33, 99));
    assert!(bench.run(&["start", &bench.id]).status.success());
    let mut text = Vec::new();
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = rustix::io::read(&master, &mut buffer) {
        text.extend(&buffer[..count]);
    }
    assert_eq!(String::from_utf8_lossy(&text), "hello\r\n/dev/pts/0\r\n");
}

#[test]
fn privileged_an_id_mapped_mount_shows_other_owners() {
    let Some(mut bench) = Bench::new("idmap", &["stat", "-c", "%u:%g", "/data/file"]) else {
        return;
    };
    let data = bench.dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "").unwrap();
    let map = json!([{ "containerID": 0, "hostID": 5000, "size": 1000 }]);
    bench.spec["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/data", "type": "bind", "source": data, "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map,
    }));
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "5000:5000\n"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_seccomp_profile_is_in_force() {
    let Some(mut bench) =
        Bench::new("seccomp", &["sh", "-c", "mount -t tmpfs x /tmp; stat /nope; echo end"])
    else {
        return;
    };
    bench.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5 },
            { "names": ["stat", "newfstatat", "statx", "lstat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
        ],
    });
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "end\n"), "{err}");
    assert!(err.contains("I/O error") || err.contains("Input/output error"), "{err}");
    assert!(err.contains("No space left"), "{err}");
}

#[test]
fn privileged_hooks_run_in_order() {
    let Some(mut bench) = Bench::new("hooks", &["true"]) else { return };
    let log = bench.dir.path().join("hooks");
    let hook = |name: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo {name} >> {}", log.display())] }]);
    bench.spec["hooks"] = json!({
        "prestart": hook("prestart"), "createRuntime": hook("createRuntime"),
        "createContainer": hook("createContainer"), "poststart": hook("poststart"), "poststop": hook("poststop"),
        "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "echo inside > /tmp/hook"] }],
    });
    bench.spec["process"]["args"] = json!(["cat", "/tmp/hook"]);
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "inside\n"), "{err}");
    let order = fs::read_to_string(&log).unwrap();
    assert_eq!(order, "prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n");
}

#[test]
fn privileged_the_device_program_of_version_2_decides() {
    use sys::ebpf::{DeviceKind, DeviceRule, attach, attached, compile, load};
    if let Some(why) = missing() {
        testkit::skip(&why);
        return;
    }
    let cgroups = Cgroups::detect().unwrap();
    let group = cgroups.group(&format!("/belljar-test-bpf-{}", std::process::id()));
    let Some(directory) = group.unified().map(Path::to_owned) else {
        testkit::skip("no cgroup2");
        return;
    };
    fs::create_dir(&directory).unwrap();
    let rule = |allow, major, minor| DeviceRule {
        allow,
        kind: if major == 0 { DeviceKind::All } else { DeviceKind::Character },
        major: (major != 0).then_some(major),
        minor: (major != 0).then_some(minor),
        access: 7,
    };
    let rules = [rule(false, 0, 0), rule(true, 1, 3)];
    let opened = fs::File::open(&directory).unwrap();
    for _ in 0..2 {
        // The second time replaces the first.
        attach(&opened, load(&compile(&rules)).unwrap()).unwrap();
        assert_eq!(attached(std::os::fd::AsFd::as_fd(&opened)).unwrap().len(), 1);
    }
    let try_device = |device: &str| {
        let script = format!("echo $$ > {}/cgroup.procs; exec 3<{device}", directory.display());
        Command::new("/bin/sh")
            .args(["-c", &script])
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    let results = (try_device("/dev/null"), try_device("/dev/zero"));
    let start = Instant::now();
    while fs::remove_dir(&directory).is_err() && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(results, (true, false));
}
