//! What callers of other runtimes rely on beyond the specification.
#![allow(clippy::unwrap_used, reason = "a broken test stops")]

mod harness;

use std::fs;

use harness::Bench;
use serde_json::json;

#[test]
fn privileged_the_working_directory_is_made() {
    let Some(mut bench) = Bench::new("workdir", &["sh", "-c", "pwd; stat -c %a /not/there/yet"])
    else {
        return;
    };
    bench.spec["process"]["cwd"] = json!("/not/there/yet");
    bench.spec["root"]["readonly"] = json!(true);
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "/not/there/yet\n755\n"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_of_a_variable_the_last_value_counts() {
    let Some(mut bench) = Bench::new("lastvar", &["sleep", "60"]) else { return };
    bench.spec["process"]["env"] = json!(["PATH=/bin", "A=1", "A=2"]);
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    let output = bench.run(&["exec", "-e", "A=3", &bench.id, "cat", "/proc/self/environ"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_a: Vec<&str> = text.split('\0').filter(|entry| entry.starts_with("A=")).collect();
    assert_eq!(of_a, ["A=3"], "{text}");
}

#[test]
fn privileged_the_callers_groups_stay_on_request() {
    let Some(mut bench) = Bench::new("keepgroups", &["id", "-G"]) else { return };
    bench.write_spec();
    let with_groups = |bench: &Bench| {
        bench.write_spec();
        let run = bench.command(&["run", "--bundle", bench.bundle().to_str().unwrap(), &bench.id]);
        let mut words = vec![run.get_program().to_owned()];
        words.extend(run.get_args().map(ToOwned::to_owned));
        let output = std::process::Command::new("setpriv")
            .args(["--groups", "1,2,33"])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(with_groups(&bench), "0");
    bench.spec["annotations"] = json!({ "run.oci.keep_original_groups": "1" });
    assert_eq!(with_groups(&bench), "0 1 2 33");
}

#[test]
fn privileged_another_configuration_file_is_used_and_remembered() {
    let Some(mut bench) = Bench::new("otherconfig", &["sleep", "60"]) else { return };
    bench.spec["process"]["env"] = json!(["PATH=/bin", "FROM=other"]);
    fs::create_dir(bench.bundle().join("sub")).unwrap();
    fs::write(bench.bundle().join("sub/other.json"), bench.spec.to_string()).unwrap();
    let bundle = bench.bundle();
    let words = ["run", "--config", "sub/other.json", "--detach", "--bundle"];
    let mut command = bench.command(&words);
    let status =
        command.arg(&bundle).arg(&bench.id).stdout(std::process::Stdio::null()).status().unwrap();
    assert!(status.success());
    let output = bench.run(&["exec", &bench.id, "sh", "-c", "echo $FROM"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "other\n");
}

#[test]
fn privileged_poststart_comes_after_the_program() {
    let Some(mut bench) = Bench::new("poststart", &["sleep", "60"]) else { return };
    // The hook sees the program, not the runtime's process, at the pid of the state.
    let seen = bench.dir.path().join("seen");
    let script = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); cat /proc/$pid/comm > {}",
        seen.display()
    );
    bench.spec["hooks"] = json!({
        "poststart": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }],
        "startContainer": [{ "path": "/bin/sleep", "args": ["sleep", "0.3"] }],
    });
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    let output = bench.run(&["start", &bench.id]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(&seen).unwrap().trim(), "sleep");
}

#[test]
fn privileged_a_listener_is_told_even_without_notifications() {
    let Some(mut bench) = Bench::new("idlelistener", &["true"]) else { return };
    let path = bench.dir.path().join("listener");
    bench.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "some words",
    });
    // Without a reader the container runs all the same: nothing depends on it.
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    listener.set_nonblocking(true).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["metadata"], "some words");
    assert_eq!(told["state"]["status"], "creating");
    assert_eq!(told["fds"], json!(["seccompFd"]));
}

#[test]
fn privileged_a_user_namespace_without_maps_has_the_caller_alone() {
    let Some(mut bench) = Bench::new("nomaps", &["cat", "/proc/self/uid_map"]) else { return };
    let spaces = bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    spaces.push(json!({ "type": "user" }));
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["0", "0", "1"]);
    bench.assert_nothing_left();
}

#[test]
fn privileged_sysfs_is_the_hosts_where_no_other_can_be_had() {
    let script =
        "test -d /sys/class/net && ! mkdir /sys/fs/cgroup/x 2>/dev/null; stat -f -c %T /sys";
    let Some(mut bench) = Bench::new("hostsysfs", &["sh", "-c", script]) else { return };
    bench.applet("mkdir");
    bench.applet("test");
    bench.spec["linux"]["namespaces"] =
        json!([{ "type": "pid" }, { "type": "mount" }, { "type": "user" }]);
    bench.spec.as_object_mut().unwrap().remove("hostname");
    let mounts = bench.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["type"] != "cgroup");
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "sysfs\n"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_container_in_the_hosts_mount_namespace_is_a_changed_root() {
    let Some(mut bench) = Bench::new("hostmounts", &["sh", "-c", "ls /; exec sleep 60"]) else {
        return;
    };
    bench.spec["linux"] = json!({
        "cgroupsPath": harness::cgroups_path(&bench.id), "namespaces": [{ "type": "pid" }],
    });
    bench.spec.as_object_mut().unwrap().remove("hostname");
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    let pid = bench.state()["pid"].as_i64().unwrap();
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap(), own);
    let is_mounted = |bench: &Bench| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.contains(&format!(" {} ", bench.rootfs().display()))
    };
    assert!(is_mounted(&bench));
    assert!(bench.run(&["start", &bench.id]).status.success());
    bench.wait_for("the root", || bench.output().contains("bin\n"));
    let output = bench.run(&["exec", &bench.id, "ls", "/"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "bin\ndev\netc\nproc\nsys\ntmp\n");
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
    assert!(!is_mounted(&bench));
    // Somebody else may have unmounted the root; a mount that is not the container's stays.
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    rustix::mount::unmount(bench.rootfs(), rustix::mount::UnmountFlags::DETACH).unwrap();
    rustix::mount::mount_bind(bench.rootfs(), bench.rootfs()).unwrap();
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    let stayed = is_mounted(&bench);
    rustix::mount::unmount(bench.rootfs(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(stayed);
    // A root that is to be read-only is so by that mount.
    bench.spec["root"]["readonly"] = json!(true);
    bench.spec["process"]["args"] = json!(["sh", "-c", "echo x > /new || echo refused"]);
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    bench.wait_for("the answer", || bench.output().contains("refused\n"));
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    // A creation that fails takes the mount back.
    bench.spec["process"]["args"] = json!(["/no/such/program"]);
    assert!(!bench.create(&[]).status.success());
    bench.assert_nothing_left();
    // What could only be had by changing the host's mounts is refused.
    bench.spec["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    let output = bench.create(&[]);
    assert!(!output.status.success());
    assert!(bench.log().contains("without a private MNT namespace"), "{}", bench.log());
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_device_that_the_host_has_not_is_made_for_a_user_namespace() {
    let Some(mut bench) = Bench::new("madenode", &["stat", "-c", "%a %u %g %t %T", "/dev/odd"])
    else {
        return;
    };
    let maps = json!([{ "containerID": 0, "hostID": 70000, "size": 1000 }]);
    bench.spec["linux"]["uidMappings"] = maps.clone();
    bench.spec["linux"]["gidMappings"] = maps;
    let spaces = bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    spaces.push(json!({ "type": "user" }));
    bench.spec["linux"]["devices"] = json!([{
        "path": "/dev/odd", "type": "c", "major": 1, "minor": 5, "uid": 10, "gid": 11, "fileMode": 0o640,
    }]);
    for path in [bench.dir.path(), &bench.bundle(), &bench.rootfs()] {
        std::os::unix::fs::chown(path, Some(70000), Some(70000)).unwrap();
    }
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "640 10 11 1 5\n"), "{err}");
}

#[test]
fn privileged_a_link_at_proc_is_refused_in_known_words() {
    for name in ["proc", "sys"] {
        let Some(bench) = Bench::new("linkedproc", &["true"]) else { return };
        fs::remove_dir(bench.rootfs().join(name)).unwrap();
        std::os::unix::fs::symlink("/tmp", bench.rootfs().join(name)).unwrap();
        let (code, _, err) = bench.foreground();
        assert_eq!(code, 1);
        assert!(err.contains("must be mounted on ordinary directory"), "{err}");
    }
}

#[test]
fn privileged_a_pidfd_goes_to_who_asks_for_it() {
    use std::os::fd::AsFd;
    let Some(mut bench) = Bench::new("pidfd", &["sleep", "60"]) else { return };
    let path = bench.dir.path().join("pidfd.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let received = || {
        let (stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 64];
        let mut fds = Vec::new();
        let length = sys::scm::receive(stream.as_fd(), &mut bytes, &mut fds).unwrap();
        let fd = fds.into_iter().next().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&fd);
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let pid =
            info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned();
        (String::from_utf8_lossy(&bytes[..length]).into_owned(), pid)
    };
    let socket = path.to_str().unwrap().to_owned();
    assert!(bench.create(&["--pidfd-socket", &socket]).status.success(), "{}", bench.log());
    let pid = bench.state()["pid"].to_string();
    assert_eq!(received(), ("standard".to_owned(), pid));
    assert!(bench.run(&["start", &bench.id]).status.success());
    let output = bench.run(&["exec", "--pidfd-socket", &socket, &bench.id, "true"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(received().0, "setns");
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.spec["annotations"] = json!({ "run.oci.pidfd_receiver": socket });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert_eq!(received().1, bench.state()["pid"].to_string());
}

#[test]
fn privileged_a_link_is_copied_on_request() {
    let Some(mut bench) = Bench::new("copylink", &["readlink", "/a/link"]) else { return };
    let link = bench.dir.path().join("broken");
    std::os::unix::fs::symlink("points/nowhere", &link).unwrap();
    bench.add_mount(
        json!({ "destination": "/a/link", "type": "bind", "source": link, "options": ["rbind", "copy-symlink"] }),
    );
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "points/nowhere\n"), "{err}");
    // It may be there from the last time, but not as something else.
    assert_eq!(bench.foreground().0, 0);
    fs::remove_file(bench.rootfs().join("a/link")).unwrap();
    std::os::unix::fs::symlink("elsewhere", bench.rootfs().join("a/link")).unwrap();
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    assert!(err.contains("make the link `/a/link`"), "{err}");
    bench.assert_nothing_left();
}
