//! Attacks by the one who owns the image and the volumes: planted links, fake devices, fake procfs, names that lead out.
//!
//! Each test performs the attack against the built program and looks whether anything outside has changed. The line `Weakened:` of a
//! test says with which defence taken away it was seen to fail.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use harness::Bench;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

/// A directory that no container may touch, with a file that none may change.
struct Outside {
    path: PathBuf,
    before: Vec<String>,
}

impl Outside {
    fn new(bench: &Bench) -> Self {
        let path = bench.dir.path().join("outside");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "untouched").unwrap();
        fs::set_permissions(path.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
        let before = listing(&path);
        Self { path, before }
    }

    fn assert_untouched(&self) {
        assert_eq!(listing(&self.path), self.before, "something outside has changed");
    }
}

/// Names, kinds, owners, sizes, times and contents.
fn listing(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let meta = entry.metadata().unwrap();
        let text =
            if meta.is_file() { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
        lines.push(format!(
            "{:?} {:o} {}:{} {} {}.{} {text:?}",
            entry.file_name(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec()
        ));
    }
    lines.sort();
    lines
}

/// A setting of the host that is put back should the attack succeed.
struct Restored {
    path: &'static str,
    before: String,
}

impl Restored {
    fn of(path: &'static str) -> Self {
        Self { path, before: fs::read_to_string(path).unwrap() }
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if fs::read_to_string(self.path).is_ok_and(|now| now != self.before) {
            let _ = fs::write(self.path, &self.before);
        }
    }
}

/// `create` must fail, say `words`, and leave nothing.
fn assert_refused(bench: &Bench, words: &str) {
    let code = bench.create(&[]).status.code();
    assert_eq!(code, Some(1), "not refused: {}", bench.spec);
    let log = bench.log();
    assert!(log.lines().last().unwrap_or_default().contains(words), "{words:?} is not in {log}");
    bench.assert_nothing_left();
}

/// Lets the image's own `/dev` be seen.
fn without_dev_mounts(bench: &mut Bench) {
    let mounts = bench.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
}

fn null_device(path: &Path) {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))
        .unwrap();
}

/// CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2026-41579, CVE-2026-47766.
/// Weakened: `no_symlinks` off for procfs, and `/dev` opened with `inroot::open`.
#[test]
fn privileged_links_in_place_of_system_directories_are_refused() {
    let Some(mut bench) = Bench::new("links", &["true"]) else { return };
    let outside = Outside::new(&bench);
    let rootfs = bench.rootfs();
    fs::create_dir(rootfs.join("elsewhere")).unwrap();
    let good = bench.spec.clone();
    for name in ["proc", "sys", "dev"] {
        for target in [outside.path.as_path(), Path::new("elsewhere"), Path::new("/elsewhere")] {
            fs::remove_dir(rootfs.join(name)).unwrap();
            symlink(target, rootfs.join(name)).unwrap();
            bench.spec = good.clone();
            if name == "dev" {
                without_dev_mounts(&mut bench);
            }
            let reason = match name {
                "dev" => "too many levels of symbolic links",
                _ => "must be mounted on ordinary directory",
            };
            assert_refused(&bench, reason);
            assert!(bench.log().contains(&format!("`/{name}`")), "{}", bench.log());
            fs::remove_file(rootfs.join(name)).unwrap();
            fs::create_dir(rootfs.join(name)).unwrap();
        }
    }
    outside.assert_untouched();
    assert_eq!(fs::read_dir(rootfs.join("elsewhere")).unwrap().count(), 0);
}

/// CVE-2019-16884: a volume that stands for procfs.
/// Weakened: the check of `/proc` in `plan::mounts`.
#[test]
fn privileged_a_volume_is_not_taken_for_procfs() {
    let Some(mut bench) = Bench::new("procvolume", &["true"]) else { return };
    let volume = bench.dir.path().join("volume");
    fs::create_dir_all(volume.join("self/attr")).unwrap();
    fs::write(volume.join("self/attr/exec"), "").unwrap();
    let good = bench.spec.clone();
    for mount in [
        json!({ "destination": "/proc", "type": "bind", "source": volume, "options": ["rbind"] }),
        json!({ "destination": "/x/../proc", "type": "bind", "source": volume, "options": ["rbind"] }),
        json!({ "destination": "/proc", "type": "tmpfs", "source": "x" }),
    ] {
        bench.spec = good.clone();
        bench.add_mount(mount);
        assert_refused(&bench, "cannot be mounted because it is not of type proc");
    }
    bench.spec = good;
    // The host's procfs is one; engines of nested containers do that.
    bench.add_mount(
        json!({ "destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"] }),
    );
    assert_eq!(bench.foreground().0, 0);
    assert_eq!(fs::read(volume.join("self/attr/exec")).unwrap(), b"");
}

/// CVE-2025-52881: a mount that a link of the image leads into procfs.
/// Weakened: the check of the target's file system in `Stage::target`.
#[test]
fn privileged_links_do_not_lead_mounts_into_procfs() {
    let Some(mut bench) = Bench::new("intoproc", &["true"]) else { return };
    let rootfs = bench.rootfs();
    let good = bench.spec.clone();
    for target in ["/proc/self/attr", "/proc/sys", "/proc/1/attr", "../proc/self/task"] {
        symlink(target, rootfs.join("evil")).unwrap();
        bench.spec = good.clone();
        bench.add_mount(json!({ "destination": "/evil", "type": "tmpfs", "source": "x" }));
        assert_refused(&bench, "mount `tmpfs` at `/evil`");
        fs::remove_file(rootfs.join("evil")).unwrap();
    }
    for inside in ["/proc/self/attr", "/tmp/../proc/sys/net", "//proc/./sysrq-trigger"] {
        bench.spec = good.clone();
        bench.add_mount(json!({ "destination": inside, "type": "tmpfs", "source": "x" }));
        assert_refused(&bench, "inside /proc");
    }
}

/// CVE-2019-16884, CVE-2025-52881: a label is written into the kernel's file and nowhere else.
/// Where the kernel has no such module the runtime refuses before; the fakes stay as they are all the same.
#[test]
fn privileged_a_label_is_not_written_into_a_file_of_the_image() {
    let Some(mut bench) = Bench::new("label", &["true"]) else { return };
    let mounts = bench.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/proc");
    let fakes: Vec<PathBuf> = ["self", "thread-self", "1", "1/task/1"]
        .iter()
        .flat_map(|process| ["attr", "attr/apparmor"].map(|attr| (process, attr)))
        .map(|(process, attr)| bench.rootfs().join("proc").join(process).join(attr))
        .collect();
    for directory in &fakes {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("exec"), "").unwrap();
    }
    for (key, module) in [("apparmorProfile", "apparmor"), ("selinuxLabel", "label")] {
        bench.spec["process"][key] = json!("unknown_t");
        // The kernel has no such label, or no such module at all.
        let output = bench.create(&[]);
        let refused = output.status.code() == Some(1);
        let named = bench.log().contains(module) || bench.log().contains("security label");
        assert!(refused && named, "{key}: {}", bench.log());
        bench.assert_nothing_left();
        bench.spec["process"].as_object_mut().unwrap().remove(key);
    }
    for directory in &fakes {
        assert_eq!(fs::read(directory.join("exec")).unwrap(), b"", "{}", directory.display());
    }
}

/// CVE-2025-52881: a sysctl is written into the container's own procfs, and only one that is the container's.
/// Weakened: the check for `..` in the key.
#[test]
fn privileged_a_sysctl_cannot_be_redirected() {
    let Some(mut bench) = Bench::new("sysctl", &["cat", "/proc/sys/net/ipv4/ip_forward"]) else {
        return;
    };
    let outside = Outside::new(&bench);
    let good = bench.spec.clone();
    let pattern = Restored::of("/proc/sys/kernel/core_pattern");
    for key in [
        "net/../kernel/core_pattern",
        "net.../kernel.core_pattern",
        "net/ipv4/../../kernel/core_pattern",
        "/net/ipv4/ip_forward",
        "kernel.core_pattern",
    ] {
        bench.spec["linux"]["sysctl"] = json!({ key: "core.evil" });
        assert_refused(&bench, "sysctl");
    }
    assert!(!fs::read_to_string(pattern.path).unwrap().contains("evil"));
    // The image's /proc looks like one, with a link in the place of the file.
    bench.spec = good;
    let fake = bench.rootfs().join("proc/sys/net/ipv4");
    fs::create_dir_all(&fake).unwrap();
    symlink(outside.path.join("file"), fake.join("ip_forward")).unwrap();
    bench.spec["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    assert_eq!(bench.foreground().1, "1\n");
    let mounts = bench.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/proc");
    bench.spec["linux"].as_object_mut().unwrap().remove("readonlyPaths");
    bench.spec["linux"].as_object_mut().unwrap().remove("maskedPaths");
    bench.spec["process"]["args"] = json!(["true"]);
    assert_eq!(bench.foreground().0, 0, "a private procfs serves");
    outside.assert_untouched();
}

/// CVE-2025-31133: the null device with which files are masked.
/// Weakened: the check of kind and number in `Stage::null`.
#[test]
fn privileged_only_the_null_device_masks_files() {
    let Some(mut bench) = Bench::new("null", &["sh", "-c", "cat /proc/keys; cat /proc/timer_list"])
    else {
        return;
    };
    let outside = Outside::new(&bench);
    without_dev_mounts(&mut bench);
    let null = bench.rootfs().join("dev/null");
    symlink("/proc/sysrq-trigger", &null).unwrap();
    assert_refused(&bench, "`/dev/null`");
    fs::remove_file(&null).unwrap();
    symlink(outside.path.join("file"), &null).unwrap();
    assert_refused(&bench, "`/dev/null`");
    fs::remove_file(&null).unwrap();
    fs::write(&null, "fake").unwrap();
    assert_refused(&bench, "`/dev/null`");
    fs::remove_file(&null).unwrap();
    mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 5))
        .unwrap();
    assert_refused(&bench, "`/dev/null`");
    fs::remove_file(&null).unwrap();
    null_device(&null);
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    outside.assert_untouched();
}

/// CVE-2025-52565: `/dev/console` and `/dev/pts` of the image.
/// Weakened: the multiplexer looked up from the host's root.
#[test]
fn privileged_the_terminal_is_the_containers_own() {
    let Some(mut bench) = Bench::new("console", &["sh", "-c", "readlink /proc/self/fd/0"]) else {
        return;
    };
    let outside = Outside::new(&bench);
    bench.spec["process"]["terminal"] = json!(true);
    let rootfs = bench.rootfs();
    let mounts = bench.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev");
    fs::create_dir(rootfs.join("dev/pts")).unwrap();
    for target in [outside.path.join("file"), PathBuf::from("/proc/sys/kernel/hostname")] {
        symlink(&target, rootfs.join("dev/console")).unwrap();
        let (_, out, err) = bench.foreground();
        assert!(out.contains("/dev/pts/0") || err.contains("/dev/console"), "{out}{err}");
        bench.assert_nothing_left();
        fs::remove_file(rootfs.join("dev/console")).unwrap();
    }
    // No devpts of its own: neither a file nor another device is taken for the multiplexer.
    let mounts = bench.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev/pts");
    let ptmx = rootfs.join("dev/pts/ptmx");
    symlink(outside.path.join("file"), &ptmx).unwrap();
    assert_terminal_refused(&bench);
    fs::remove_file(&ptmx).unwrap();
    null_device(&ptmx);
    assert_terminal_refused(&bench);
    fs::remove_file(&ptmx).unwrap();
    mknodat(CWD, &ptmx, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(5, 2))
        .unwrap();
    assert_terminal_refused(&bench);
    outside.assert_untouched();
}

fn assert_terminal_refused(bench: &Bench) {
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("/dev/pts/ptmx"), "{err}");
    bench.assert_nothing_left();
}

/// CVE-2024-45310: parents of mount points are made inside, whatever the links say.
/// Weakened: `RESOLVE_IN_ROOT` taken out of `inroot::open`.
#[test]
fn privileged_mount_points_are_made_inside() {
    let Some(mut bench) = Bench::new("mkdir", &["true"]) else { return };
    let outside = Outside::new(&bench);
    let rootfs = bench.rootfs();
    let up = "../".repeat(24);
    symlink(&up, rootfs.join("up")).unwrap();
    symlink(&outside.path, rootfs.join("abs")).unwrap();
    symlink(format!("{up}{}", outside.path.display()), rootfs.join("rel")).unwrap();
    symlink("abs", rootfs.join("chain")).unwrap();
    symlink(outside.path.join("new"), rootfs.join("dangling")).unwrap();
    let source = bench.dir.path().join("source");
    fs::write(&source, "source").unwrap();
    let good = bench.spec.clone();
    let targets = [
        format!("/up{}/made/deep", outside.path.display()),
        "/abs/made".to_owned(),
        "/rel/made/deep".to_owned(),
        "/chain/made".to_owned(),
        "/dangling".to_owned(),
        "/dangling/made".to_owned(),
        "/../../../../../../abs/made".to_owned(),
    ];
    for target in targets {
        for mount in [
            json!({ "destination": target, "type": "tmpfs", "source": "x" }),
            json!({ "destination": target, "type": "bind", "source": source, "options": ["bind"] }),
            json!({ "destination": target, "type": "cgroup", "source": "cgroup" }),
        ] {
            bench.spec = good.clone();
            bench.add_mount(mount);
            bench.foreground();
            outside.assert_untouched();
            bench.assert_nothing_left();
        }
        let inner = rootfs.join(outside.path.strip_prefix("/").unwrap());
        let _ = fs::remove_dir_all(inner);
    }
}

/// CVE-2026-41579, CVE-2026-47766: devices and links beneath a `/dev` with links in it.
/// Weakened: `RESOLVE_IN_ROOT` taken out of `inroot::open`.
#[test]
fn privileged_devices_are_made_inside() {
    let Some(mut bench) = Bench::new("devices", &["true"]) else { return };
    let outside = Outside::new(&bench);
    without_dev_mounts(&mut bench);
    let rootfs = bench.rootfs();
    for name in ["out", "zero", "fd", "ptmx"] {
        symlink(&outside.path, rootfs.join("dev").join(name)).unwrap();
    }
    symlink(&outside.path, rootfs.join("out")).unwrap();
    symlink(outside.path.join("made"), rootfs.join("dev/full")).unwrap();
    bench.spec["linux"]["devices"] = json!([
        { "path": "/dev/out/made", "type": "c", "major": 1, "minor": 3 },
        { "path": "/out/made2", "type": "p" },
        { "path": "/dev/../out/made3", "type": "p" },
        { "path": "/dev/out/../../made4", "type": "p" },
    ]);
    bench.foreground();
    outside.assert_untouched();
    bench.assert_nothing_left();
}

/// The hostile device of a user namespace: a file of the host that is no device.
/// Weakened: the check of the node in `plan::dev`.
#[test]
fn privileged_a_device_of_a_user_namespace_is_a_device() {
    let Some(mut bench) = Bench::new("usersdev", &["cat", "/etc/secret"]) else { return };
    let secret = bench.dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    bench.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
    bench.spec["linux"]["uidMappings"] = map.clone();
    bench.spec["linux"]["gidMappings"] = map;
    for (path, kind, major, minor) in
        [(secret.to_str().unwrap(), "c", 1, 3), ("/dev/zero", "c", 1, 3), ("/dev/null", "b", 1, 3)]
    {
        bench.spec["linux"]["devices"] =
            json!([{ "path": path, "type": kind, "major": major, "minor": minor }]);
        assert_refused(&bench, path);
    }
}

/// CVE-2024-9676's class: `/etc/passwd` is whatever the image wants it to be.
/// Weakened: `/etc/passwd` opened with `File::open`.
#[test]
fn privileged_a_passwd_that_is_no_file_is_not_waited_for() {
    let Some(bench) = Bench::new("passwd", &["sh", "-c", "echo home $HOME"]) else { return };
    let outside = Outside::new(&bench);
    let passwd = bench.rootfs().join("etc/passwd");
    let kinds: [&dyn Fn(); 5] = [
        &|| mknodat(CWD, &passwd, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap(),
        &|| symlink("/dev/zero", &passwd).unwrap(),
        &|| symlink(outside.path.join("file"), &passwd).unwrap(),
        &|| fs::create_dir(&passwd).unwrap(),
        &|| fs::write(&passwd, "nobody:x:1:1:\n".repeat(1 << 20)).unwrap(),
    ];
    fs::remove_file(&passwd).unwrap();
    for make in kinds {
        make();
        let (code, out, err) = bench.foreground();
        assert_eq!((code, out.as_str()), (0, "home /\n"), "{err}");
        let _ = fs::remove_dir(&passwd).or_else(|_| fs::remove_file(&passwd));
    }
    outside.assert_untouched();
}

/// `tmpcopyup` copies what is in the directory, and nothing that links in it name.
/// See the race of the same name for what was weakened.
#[test]
fn privileged_copy_up_does_not_follow() {
    let script = "stat -c %F /data/fifo /data/link /data/zero; cat /data/link /data/directory/file";
    let Some(mut bench) = Bench::new("copyup", &["sh", "-c", script]) else { return };
    let outside = Outside::new(&bench);
    let data = bench.rootfs().join("data");
    fs::create_dir_all(data.join("deep")).unwrap();
    symlink(outside.path.join("file"), data.join("link")).unwrap();
    symlink(&outside.path, data.join("directory")).unwrap();
    symlink(&outside.path, data.join("deep/directory")).unwrap();
    mknodat(CWD, data.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, data.join("zero"), FileType::CharacterDevice, mode, makedev(1, 5)).unwrap();
    bench.add_mount(
        json!({ "destination": "/data", "type": "tmpfs", "source": "x", "options": ["tmpcopyup"] }),
    );
    let (_, out, err) = bench.foreground();
    assert_eq!(out, "fifo\nsymbolic link\ncharacter special file\n", "{err}");
    outside.assert_untouched();
}

/// CVE-2023-25809: the groups of others, when the container has no cgroup namespace.
/// On version 2 it gets its own group, read-only; on version 1 its own groups.
#[test]
fn privileged_groups_of_others_are_out_of_reach() {
    let script = "for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do [ -e $f ] && echo 0 >$f && echo wrote $f; done; \
        ls /sys/fs/cgroup/*; mkdir /sys/fs/cgroup/made";
    let Some(mut bench) = Bench::new("groups", &["sh", "-c", script]) else { return };
    bench.applet("mkdir");
    let namespaces = bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "cgroup");
    namespaces.push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]);
    bench.spec["linux"]["uidMappings"] = map.clone();
    bench.spec["linux"]["gidMappings"] = map;
    let mounts = bench.spec["mounts"].as_array_mut().unwrap();
    let cgroup = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap();
    cgroup["options"] = json!(["rw"]);
    let (_, out, err) = bench.foreground();
    let version_2 = bench.group().is_version_2();
    assert!(!(version_2 && out.contains("wrote")), "{out}{err}");
    assert!(!out.contains("belljar-test"), "another group is seen: {out}");
    bench.assert_nothing_left();
}

/// Ids and cgroup paths are names, not ways.
/// Weakened: `check_id` always `Ok`.
#[test]
fn privileged_ids_and_cgroup_paths_do_not_lead_out() {
    let Some(mut bench) = Bench::new("names", &["sleep", "1000"]) else { return };
    let outside = Outside::new(&bench);
    bench.write_spec();
    let bundle = bench.bundle();
    let bundle = bundle.to_str().unwrap();
    for id in ["..", ".", "../outside", "a/b", "/etc", "a\nb", "a b", "", "é"] {
        for words in [
            &["create", "--bundle", bundle, id][..],
            &["run", "--bundle", bundle, id],
            &["delete", "--force", id],
            &["state", id],
            &["exec", id, "true"],
            &["kill", id],
        ] {
            let output = bench.run(words);
            assert!(!output.status.success(), "{words:?}");
        }
        outside.assert_untouched();
    }
    let good = bench.spec.clone();
    for path in ["/../x", "/a/../../x", "a/..", ".."] {
        bench.spec["linux"]["cgroupsPath"] = json!(path);
        assert_eq!(bench.create(&[]).status.code(), Some(1), "{path}");
        assert!(bench.log().contains("cgroupsPath"), "{}", bench.log());
    }
    bench.spec = good;
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    for path in ["..", "../x", "a/../../x", "cpu:../x", "/.."] {
        let output = bench.run(&["exec", "--cgroup", path, &bench.id, "true"]);
        assert_eq!(output.status.code(), Some(255), "{path}");
    }
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

/// The files that the runtime writes for its caller may stand in a directory of everybody.
/// Weakened: the draft of the pid file opened without `O_EXCL`.
#[test]
fn privileged_the_pid_file_does_not_follow_a_planted_link() {
    let Some(bench) = Bench::new("pidfile", &["sleep", "1000"]) else { return };
    let outside = Outside::new(&bench);
    let shared = bench.dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let file = shared.join("pid");
    for name in [".pid", "pid"] {
        symlink(outside.path.join("file"), shared.join(name)).unwrap();
    }
    assert!(bench.create(&["--pid-file", file.to_str().unwrap()]).status.success());
    outside.assert_untouched();
    assert_eq!(fs::read_to_string(&file).unwrap(), bench.state()["pid"].to_string());
    assert!(!file.is_symlink());
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
}

/// CVE-2025-24965's class, and the rest: a link in the place of every name that the runtime might touch.
/// What the tests above attack one by one, all at once.
#[test]
fn privileged_an_image_full_of_links_changes_nothing() {
    let Some(mut bench) = Bench::new("everywhere", &["true"]) else { return };
    let outside = Outside::new(&bench);
    let rootfs = bench.rootfs();
    let file = outside.path.join("file");
    fs::remove_file(rootfs.join("etc/passwd")).unwrap();
    for name in [
        "etc/passwd",
        "etc/group",
        "etc/hostname",
        "etc/hosts",
        "etc/resolv.conf",
        ".krun_config.json",
        "run",
        "init",
    ] {
        symlink(&file, rootfs.join(name)).unwrap();
    }
    symlink(outside.path.join("new"), rootfs.join("dangling")).unwrap();
    let source = bench.dir.path().join("source");
    fs::write(&source, "source").unwrap();
    for name in ["etc/hostname", "etc/hosts", "run", ".krun_config.json", "dangling"] {
        bench.add_mount(json!({ "destination": format!("/{name}"), "type": "bind", "source": source, "options": ["bind", "ro"] }));
    }
    bench.spec["linux"]["maskedPaths"] = json!(["/etc/resolv.conf", "/etc/group", "/init"]);
    bench.spec["linux"]["readonlyPaths"] = json!(["/etc/passwd", "/run", "/etc"]);
    bench.foreground();
    outside.assert_untouched();
    bench.assert_nothing_left();
}

/// CVE-2021-43784: maps that are longer than what the kernel takes are refused and never cut.
/// Weakened: the maps cut to 200 lines.
#[test]
fn privileged_too_many_mappings_are_an_error() {
    let Some(mut bench) = Bench::new("maps", &["true"]) else { return };
    bench.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    let map: Vec<_> = (0..700u32)
        .map(|at| json!({ "containerID": at * 2, "hostID": 100_000 + at * 2, "size": 1 }))
        .collect();
    bench.spec["linux"]["uidMappings"] = json!(map);
    bench.spec["linux"]["gidMappings"] = json!(map);
    assert_refused(&bench, "uid_map");
    let wraps =
        json!([{ "containerID": 0, "hostID": 4_294_967_295_u32, "size": 4_294_967_295_u32 }]);
    bench.spec["linux"]["uidMappings"] = wraps.clone();
    bench.spec["linux"]["gidMappings"] = wraps;
    assert_refused(&bench, "uid_map");
}
