//! Devices, masked and read-only paths, kernel settings: what is inside `/dev`, `/proc` and `/sys`.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;

use harness::Bench;
use serde_json::{Value, json};

#[test]
fn privileged_the_default_devices_are_there() {
    let script = "cd /dev; for f in null zero full random urandom tty; do stat -c '%n %F %t:%T %a %u:%g' $f; done; \
        for f in ptmx fd stdin stdout stderr core; do echo $f $(readlink $f); done; ls console";
    let Some(bench) = Bench::new("defaults", &["sh", "-c", script]) else { return };
    let (_, out, err) = bench.foreground();
    let kind = "character special file";
    let mut want: Vec<String> = [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ]
    .iter()
    .map(|(name, numbers)| format!("{name} {kind} {numbers} 666 0:0"))
    .collect();
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        want.push(format!("{name} {target}"));
    }
    let core = if fs::exists("/proc/kcore").unwrap() { "core /proc/kcore" } else { "core" };
    want.push(core.into());
    assert_eq!(out.lines().collect::<Vec<_>>(), want);
    assert!(err.contains("console: No such file"), "without a terminal there is none: {err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_devices_of_every_kind() {
    let script = "stat -c '%n %F %t:%T %a %u:%g' /dev/fuse2 /x/y/loop /dev/pipe /dev/raw2";
    let Some(mut bench) = Bench::new("devices", &["sh", "-c", script]) else { return };
    bench.spec["linux"]["devices"] = json!([
        { "path": "/dev/fuse2", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4 },
        { "path": "/x/y/loop", "type": "b", "major": 7, "minor": 0 },
        { "path": "/dev/pipe", "type": "p", "fileMode": 0o600 },
        { "path": "/dev/raw2", "type": "u", "major": 1, "minor": 3 },
    ]);
    let (code, out, err) = bench.foreground();
    let want = [
        "/dev/fuse2 character special file a:e5 640 3:4",
        "/x/y/loop block special file 7:0 666 0:0",
        "/dev/pipe fifo 0:0 600 0:0",
        "/dev/raw2 character special file 1:3 666 0:0",
    ];
    assert_eq!((code, out.lines().collect::<Vec<_>>()), (0, want.to_vec()), "{err}");
    // The one outside of the new /dev is still in the root file system.
    assert_eq!(bench.foreground().0, 0, "a device that is present is fine");
    fs::remove_file(bench.rootfs().join("x/y/loop")).unwrap();
    fs::write(bench.rootfs().join("x/y/loop"), "").unwrap();
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    assert!(err.contains("make the device `/x/y/loop`: file exists"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_wrong_devices_are_named() {
    let Some(mut bench) = Bench::new("baddev", &["true"]) else { return };
    for (device, words) in [
        (json!({ "path": "dev/x", "type": "c", "major": 1, "minor": 3 }), "is not absolute"),
        (
            json!({ "path": "/dev/x", "type": "z", "major": 1, "minor": 3 }),
            "invalid type \\\"z\\\"",
        ),
        (
            json!({ "path": "/dev/x", "type": "c", "major": -1, "minor": 3 }),
            "invalid number of device /dev/x",
        ),
    ] {
        bench.spec["linux"]["devices"] = json!([device]);
        let (code, _, err) = bench.foreground();
        assert_eq!(code, 1);
        assert!(err.contains(words), "{err}");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_paths_are_masked_and_read_only() {
    let script = "cat /file; ls -a /dir; echo x > /ro/f; echo x > /tmp/rofile; cat /ro/f; stat -c '%F %t:%T' /file";
    let Some(mut bench) = Bench::new("masked", &["sh", "-c", script]) else { return };
    let rootfs = bench.rootfs();
    for directory in ["dir", "ro"] {
        fs::create_dir(rootfs.join(directory)).unwrap();
        fs::write(rootfs.join(directory).join("f"), "secret\n").unwrap();
    }
    fs::write(rootfs.join("file"), "secret\n").unwrap();
    fs::write(rootfs.join("tmp/rofile"), "").unwrap();
    bench.spec["linux"]["maskedPaths"] = json!(["/dir", "/file", "/not/there", "/file/not/there"]);
    bench.spec["linux"]["readonlyPaths"] = json!(["/ro", "/tmp/rofile", "/not/there"]);
    let (_, out, err) = bench.foreground();
    assert_eq!(out, ".\n..\nsecret\ncharacter special file 1:3\n", "{err}");
    assert_eq!(err.matches("Read-only file system").count(), 2, "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_kernel_settings_are_the_containers() {
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni /proc/sys/kernel/domainname \
        /proc/sys/fs/mqueue/msg_max";
    let Some(mut bench) = Bench::new("sysctl", &["sh", "-c", script]) else { return };
    let before = fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    bench.spec["linux"]["sysctl"] = json!({
        "net.ipv4.ip_forward": "1", "kernel.shmmni": "77", "kernel.domainname": "d", "fs/mqueue/msg_max": "11",
    });
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "1\n77\nd\n11\n"), "{err}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/shmmni").unwrap(), before);
    for (key, words) in [
        ("vm.swappiness", "is not in a separate kernel namespace"),
        ("kernel.hostname", "conflicts with the OCI \\\"hostname\\\" field"),
        ("net.no.such", "set the sysctl `net.no.such`: no such file or directory"),
    ] {
        bench.spec["linux"]["sysctl"] = json!({ key: "1" });
        let (code, _, err) = bench.foreground();
        assert_eq!(code, 1);
        assert!(err.contains(words), "{err}");
    }
    let namespaces = bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|known| known["type"] != "network");
    namespaces.push(json!({ "type": "network", "path": "/proc/self/ns/net" }));
    bench.spec["linux"]["sysctl"] = json!({ "net.core.somaxconn": "1" });
    let (_, _, err) = bench.foreground();
    assert!(err.contains("not allowed in host network namespace"), "{err}");
    bench.spec["linux"]["sysctl"] = Value::Null;
    bench.assert_nothing_left();
}
