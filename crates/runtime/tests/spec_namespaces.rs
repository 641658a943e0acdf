//! Namespaces as the runtime-spec has them: new, joined, with mappings, offsets and devices of the host. The evidence is the kernel's.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::process::{Child, Command, Stdio};

use harness::Bench;
use serde_json::{Value, json};

/// A process that keeps a user namespace alive, in which 0 is 100000 outside.
struct UserNamespace(Child);

impl UserNamespace {
    fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--user", "--net", "sh", "-c", "echo; exec sleep 1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", child.id()), "0 100000 65536\n").unwrap();
        }
        Self(child)
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.0.id())
    }
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mappings() -> Value {
    json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }])
}

fn add_namespace(bench: &mut Bench, namespace: Value) {
    let namespaces = bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|known| known["type"] != namespace["type"]);
    namespaces.push(namespace);
}

fn with_new_user_namespace(bench: &mut Bench) {
    add_namespace(bench, json!({ "type": "user" }));
    bench.spec["linux"]["uidMappings"] = mappings();
    bench.spec["linux"]["gidMappings"] = mappings();
}

#[test]
fn privileged_a_new_user_namespace_is_mapped() {
    let script = "id -u; cat /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g /dev/shm; echo x > /dev/null; \
        while read a b; do case $a in CapEff*) echo $b;; esac; done < /proc/self/status";
    let Some(mut bench) = Bench::new("userns", &["sh", "-c", script]) else { return };
    with_new_user_namespace(&mut bench);
    bench.add_mount(json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm" }));
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    let words: Vec<&str> = out.split_whitespace().collect();
    let want = ["0", "0", "100000", "65536", "0", "100000", "65536", "0:0", "00000000000000e1"];
    assert_eq!(words, want, "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_joined_user_namespace_owns_the_new_ones() {
    let script = "cat /proc/self/uid_map; readlink /proc/self/ns/user; id -u; cat /proc/sys/kernel/hostname; \
        mount -t tmpfs x /tmp && echo mounted; echo pid $$";
    let Some(mut bench) = Bench::new("joinuser", &["sh", "-c", script]) else { return };
    let user = UserNamespace::new();
    add_namespace(&mut bench, json!({ "type": "user", "path": user.path("user") }));
    let all = json!(["CAP_SYS_ADMIN"]);
    bench.spec["process"]["capabilities"] =
        json!({ "bounding": all, "effective": all, "permitted": all });
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    let words: Vec<&str> = out.split_whitespace().collect();
    let link = fs::read_link(user.path("user")).unwrap();
    // A mount namespace that belonged to the host's user namespace would refuse the mount.
    let want =
        ["0", "100000", "65536", link.to_str().unwrap(), "0", "inside", "mounted", "pid", "1"];
    assert_eq!(words, want, "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_joined_user_namespace_with_a_joined_network() {
    let script = "readlink /proc/self/ns/net; readlink /proc/self/ns/user";
    let Some(mut bench) = Bench::new("joinboth", &["sh", "-c", script]) else { return };
    let user = UserNamespace::new();
    add_namespace(&mut bench, json!({ "type": "user", "path": user.path("user") }));
    add_namespace(&mut bench, json!({ "type": "network", "path": user.path("net") }));
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    let links = ["net", "user"].map(|kind| fs::read_link(user.path(kind)).unwrap());
    let links: Vec<&str> = links.iter().map(|link| link.to_str().unwrap()).collect();
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), links);
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_container_in_a_joined_user_namespace_can_be_entered() {
    let Some(mut bench) = Bench::new("joinexec", &["sleep", "1000"]) else { return };
    let user = UserNamespace::new();
    add_namespace(&mut bench, json!({ "type": "user", "path": user.path("user") }));
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let status = fs::read_to_string(format!("/proc/{}/status", bench.state()["pid"])).unwrap();
    assert!(status.contains("Uid:\t100000\t100000"), "{status}");
    assert!(bench.run(&["start", &bench.id]).status.success());
    let output = bench.run(&["exec", &bench.id, "cat", "/proc/self/uid_map"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("100000"), "{output:?}");
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_namespace_of_another_kind_is_refused() {
    let Some(mut bench) = Bench::new("wrongns", &["true"]) else { return };
    add_namespace(&mut bench, json!({ "type": "ipc", "path": "/proc/self/ns/uts" }));
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    assert!(err.contains("is not a ipc namespace"), "{err}");
    add_namespace(&mut bench, json!({ "type": "ipc", "path": "/etc/passwd" }));
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    assert!(err.contains("open the namespace `/etc/passwd`"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_clocks_have_offsets() {
    let script = "cat /proc/self/timens_offsets; readlink /proc/self/ns/time; cat /proc/uptime";
    let Some(mut bench) = Bench::new("timens", &["sh", "-c", script]) else { return };
    if !fs::exists("/proc/self/ns/time").unwrap() {
        testkit::skip("timens: no time namespaces");
        return;
    }
    add_namespace(&mut bench, json!({ "type": "time" }));
    bench.spec["linux"]["timeOffsets"] =
        json!({ "monotonic": { "secs": 7200 }, "boottime": { "secs": 1_000_000, "nanosecs": 5 } });
    for user in [false, true] {
        if user {
            with_new_user_namespace(&mut bench);
        }
        let (code, out, err) = bench.foreground();
        assert_eq!(code, 0, "user namespace {user}: {err}");
        let words: Vec<&str> = out.split_whitespace().collect();
        assert_eq!(&words[..6], ["monotonic", "7200", "0", "boottime", "1000000", "5"], "{user}");
        let own = fs::read_link("/proc/self/ns/time").unwrap();
        assert_ne!(words[6], own.to_str().unwrap());
        assert!(words[7].parse::<f64>().unwrap() > 1_000_000.0, "{out}");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_the_loopback_device_of_a_new_network_is_up() {
    let Some(mut bench) = Bench::new("loopback", &["cat", "/sys/class/net/lo/flags"]) else {
        return;
    };
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.trim()), (0, "0x9"), "{err}");
    with_new_user_namespace(&mut bench);
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.trim()), (0, "0x9"), "{err}");
}

fn ip(words: &str) -> bool {
    let words: Vec<&str> = words.split(' ').collect();
    let output = Command::new("ip").args(&words).output();
    output.is_ok_and(|output| output.status.success())
}

/// A pair of devices on the host; what is left of it goes when this is dropped.
struct Pair(String);

impl Pair {
    fn new(tag: &str) -> Option<Self> {
        let name = format!("bj{tag}{}", std::process::id() % 100_000);
        if !ip(&format!("link add {name} type veth peer name {name}p")) {
            testkit::skip("netDevices: no veth devices here");
            return None;
        }
        let pair = Self(name);
        let name = &pair.0;
        assert!(ip(&format!("link set {name} address 02:11:22:33:44:55 mtu 1234")));
        assert!(ip(&format!("addr add 169.254.169.13/32 dev {name}")));
        assert!(ip(&format!("addr add 10.111.0.1/24 dev {name}")));
        // Without version 6 there is one address less.
        let _ = ip(&format!("addr add fd00:beef::1/64 dev {name}"));
        assert!(ip(&format!("link set {name} up")) && ip(&format!("link set {name}p up")));
        Some(pair)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = ip(&format!("link del {}p", self.0));
    }
}

fn assert_moved(out: &str, has_version_6: bool) {
    assert!(out.contains("02:11:22:33:44:55") && out.contains("mtu 1234"), "{out}");
    // A link-local range may still be an address of global scope.
    assert!(out.contains("inet 169.254.169.13/32"), "{out}");
    assert!(out.contains("inet 10.111.0.1/24"), "{out}");
    assert_eq!(out.contains("fd00:beef::1/64"), has_version_6, "{out}");
    assert!(out.contains(",UP"), "{out}");
}

#[test]
fn privileged_a_network_device_moves_with_its_addresses() {
    let Some(mut bench) = Bench::new("netdev", &["ip", "addr", "show", "dev", "inside0"]) else {
        return;
    };
    bench.applet("ip");
    for user in [false, true] {
        let Some(pair) = Pair::new("n") else { return };
        let shown = Command::new("ip").args(["addr", "show", "dev", &pair.0]).output().unwrap();
        let has_version_6 = String::from_utf8_lossy(&shown.stdout).contains("fd00:beef");
        bench.spec["linux"]["netDevices"] = json!({ &pair.0: { "name": "inside0" } });
        if user {
            with_new_user_namespace(&mut bench);
        }
        let (code, out, err) = bench.foreground();
        assert_eq!(code, 0, "{err}");
        assert_moved(&out, has_version_6);
        assert!(!ip(&format!("link show {}", pair.0)), "it is no longer here");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_network_device_moves_to_a_joined_namespace() {
    let Some(mut bench) = Bench::new("netjoin", &["true"]) else { return };
    bench.applet("ip");
    let Some(pair) = Pair::new("j") else { return };
    bench.spec["process"]["args"] = json!(["ip", "addr", "show", "dev", &pair.0]);
    bench.spec["linux"]["netDevices"] = json!({ &pair.0: {} });
    let user = UserNamespace::new();
    add_namespace(&mut bench, json!({ "type": "network", "path": user.path("net") }));
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("inet 10.111.0.1/24"), "{out}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_network_devices_come_back_from_a_creation_that_fails() {
    let Some(mut bench) = Bench::new("netback", &["true"]) else { return };
    let shown = |name: &str| {
        let output = Command::new("ip").args(["addr", "show", "dev", name]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let good = bench.spec.clone();
    let user = UserNamespace::new();
    for joined in [false, true] {
        let Some(pair) = Pair::new("b") else { return };
        let has_version_6 = shown(&pair.0).contains("fd00:beef");
        bench.spec = good.clone();
        if joined {
            add_namespace(&mut bench, json!({ "type": "network", "path": user.path("net") }));
        }
        bench.spec["linux"]["netDevices"] = json!({ &pair.0: { "name": "inside0" } });
        bench.spec["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] });
        let (code, _, err) = bench.foreground();
        assert_eq!(code, 1, "{err}");
        assert_moved(&shown(&pair.0), has_version_6);
        // One that cannot go takes none along; the names are taken in their order.
        bench.spec["linux"]["netDevices"] = json!({ &pair.0: {}, "zz-no-such": {} });
        bench.spec["hooks"] = json!({});
        let (_, _, err) = bench.foreground();
        assert!(err.contains("move the network device `zz-no-such`"), "{err}");
        assert_moved(&shown(&pair.0), has_version_6);
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_owners_are_mapped_by_a_joined_user_namespace() {
    let Some(mut bench) = Bench::new("joinidmap", &["stat", "-c", "%u:%g", "/m/f"]) else { return };
    let user = UserNamespace::new();
    add_namespace(&mut bench, json!({ "type": "user", "path": user.path("user") }));
    // The root of the user namespace may make nothing in a directory of the host's root.
    fs::create_dir(bench.rootfs().join("m")).unwrap();
    fs::create_dir(bench.bundle().join("data")).unwrap();
    fs::write(bench.bundle().join("data/f"), "").unwrap();
    for (options, owner) in
        [(json!(["bind"]), "65534:65534\n"), (json!(["bind", "idmap"]), "0:0\n")]
    {
        bench.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/m");
        bench.add_mount(json!({ "destination": "/m", "source": "data", "options": options }));
        let (code, out, err) = bench.foreground();
        assert_eq!((code, out.as_str()), (0, owner), "{err}");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_network_devices_that_cannot_move_are_named() {
    let Some(mut bench) = Bench::new("netbad", &["true"]) else { return };
    bench.spec["linux"]["netDevices"] = json!({ "no-such-dev0": {} });
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    assert!(err.contains("move the network device `no-such-dev0`: find the device"), "{err}");
    bench.spec["linux"]["netDevices"] = json!({ "lo": { "name": "a/b" } });
    let (_, _, err) = bench.foreground();
    assert!(err.contains("invalid network device name \\\"a/b\\\""), "{err}");
    let namespaces = bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|known| known["type"] != "network");
    let (_, _, err) = bench.foreground();
    assert!(err.contains("unable to move network devices without a NET namespace"), "{err}");
    bench.assert_nothing_left();
}
