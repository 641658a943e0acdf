//! User namespaces that root makes: what belongs to whom, seen from both sides.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::Bench;
use serde_json::json;
use sys::mount::{Attr, Change};

/// Ids that no account of the machine has.
const FIRST: u32 = 300_000;

fn bench(name: &str, args: &[&str]) -> Option<Bench> {
    let mut bench = Bench::new(name, args)?;
    let linux = &mut bench.spec["linux"];
    linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    linux["uidMappings"] = json!([{ "containerID": 0, "hostID": FIRST, "size": 1000 }]);
    linux["gidMappings"] = linux["uidMappings"].clone();
    Some(bench)
}

fn own_all(path: &Path) {
    chown(path, Some(FIRST), Some(FIRST)).unwrap();
    for entry in fs::read_dir(path).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            own_all(&entry.path());
        } else if !kind.is_symlink() {
            chown(entry.path(), Some(FIRST), Some(FIRST)).unwrap();
        }
    }
}

fn said(bench: &Bench, words: &[&str]) -> String {
    let output = bench.run(words);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn privileged_root_inside_is_nobody_outside() {
    let Some(mut bench) = bench("userns-who", &["sh", "-c", "echo > /tmp/made; exec sleep 1000"])
    else {
        return;
    };
    own_all(&bench.rootfs());
    bench.spec["process"]["user"] = json!({ "uid": 5, "gid": 6, "additionalGids": [7] });
    fs::set_permissions(bench.rootfs().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    bench.wait_for("file", || bench.rootfs().join("tmp/made").exists());
    assert_eq!(fs::metadata(bench.rootfs().join("tmp/made")).unwrap().uid(), FIRST + 5);
    let pid = bench.state()["pid"].to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("Uid:"), vec![(FIRST + 5).to_string(); 4]);
    assert_eq!(line("Gid:"), vec![(FIRST + 6).to_string(); 4]);
    assert_eq!(line("Groups:"), [(FIRST + 7).to_string()]);
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(of(&pid), of("self"), "{kind}");
    }
    assert_eq!(said(&bench, &["exec", &bench.id, "id"]), "uid=5 gid=6 groups=7\n");
    let script = "stat -c %u $(readlink /proc/self/fd/0)";
    let terminal = said(&bench, &["exec", "-t", &bench.id, "sh", "-c", script]);
    assert_eq!(terminal.trim(), "5", "the terminal is the program's user's");
    let terminal = said(&bench, &["exec", "-u", "0", "-t", &bench.id, "sh", "-c", script]);
    assert_eq!(terminal.trim(), "0");
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

/// A process that keeps a network namespace of the host's alive.
struct Network(Child);

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn privileged_a_network_of_the_hosts_goes_with_a_new_user_namespace() {
    let script = "readlink /proc/self/ns/net; cat /proc/self/uid_map";
    let Some(mut bench) = bench("userns-net", &["sh", "-c", script]) else { return };
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-c", "echo; exec sleep 1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let network = Network(child);
    let path = format!("/proc/{}/ns/net", network.0.id());
    let spaces = bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    spaces.retain(|space| space["type"] != "network");
    spaces.push(json!({ "type": "network", "path": path }));
    // A sysfs is for the owner of the network.
    bench.spec["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup");
    let (code, out, error) = bench.foreground();
    assert_eq!(code, 0, "{error}");
    let want = fs::read_link(&path).unwrap();
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words, [want.to_str().unwrap(), "0", &FIRST.to_string(), "1000"]);
    bench.assert_nothing_left();
}

/// A mount that goes when this is dropped.
struct Mounted(CString);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = sys::mount::detach(&self.0);
    }
}

#[test]
fn privileged_an_id_mapped_root_keeps_the_owners_outside() {
    let script = "stat -c %u:%g /bin/busybox /etc; echo > /tmp/made; stat -c %u /tmp/made";
    let Some(mut bench) = bench("userns-idmap", &["sh", "-c", script]) else { return };
    let mut holder = Command::new("unshare")
        .args(["--user", "sh", "-c", "echo; exec sleep 1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let holder = Network(holder);
    for file in ["uid_map", "gid_map"] {
        let map = format!("0 {FIRST} 1000\n");
        fs::write(format!("/proc/{}/{file}", holder.0.id()), map).unwrap();
    }
    let namespace = fs::File::open(format!("/proc/{}/ns/user", holder.0.id())).unwrap();
    let c_string = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
    let tree = sys::mount::clone_tree(&c_string(&bench.rootfs()), false).unwrap();
    let change = Change { set: Attr::IDMAP, userns: Some(namespace.as_fd()), ..Change::default() };
    if let Err(error) = sys::mount::set_attributes(&tree, false, &change) {
        return testkit::skip(&format!("userns-idmap: the file system knows no maps: {error}"));
    }
    let place = bench.dir.path().join("mapped");
    fs::create_dir(&place).unwrap();
    sys::mount::attach_at(&tree, &c_string(&place)).unwrap();
    let mounted = Mounted(c_string(&place));
    bench.spec["root"]["path"] = json!(place);
    let (code, out, error) = bench.foreground();
    drop(mounted);
    assert_eq!(code, 0, "{error}");
    assert_eq!(out, "0:0\n0:0\n0\n", "{error}");
    assert_eq!(fs::metadata(bench.rootfs().join("tmp/made")).unwrap().uid(), 0);
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_root_that_only_the_hosts_root_can_reach_is_reached() {
    let Some(mut bench) = bench("userns-hidden", &["sh", "-c", "id -u; ls /"]) else { return };
    own_all(&bench.rootfs());
    fs::set_permissions(bench.bundle(), fs::Permissions::from_mode(0o700)).unwrap();
    chown(bench.bundle(), Some(12_345), Some(12_345)).unwrap();
    bench.spec["root"]["readonly"] = json!(true);
    let (code, out, error) = bench.foreground();
    assert_eq!(code, 0, "{error}");
    assert!(out.starts_with("0\nbin\n"), "{out}");
    bench.assert_nothing_left();
}
