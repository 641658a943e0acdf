//! What runc's integration suite expects beyond the specification, on real containers.

mod harness;

use harness::Bench;
use serde_json::json;

#[test]
fn privileged_the_callers_mask_of_processors_is_not_inherited() {
    let args = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let Some(bench) = Bench::new("affinity", &args) else { return };
    bench.applet("grep");
    bench.write_spec();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let all = own.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
    let first = all.split_whitespace().nth(1).unwrap().split(['-', ',']).next().unwrap();
    let run = ["run", "--bundle", bench.bundle().to_str().unwrap(), &bench.id].map(str::to_owned);
    let command = bench.command(&run.each_ref().map(String::as_str));
    let mut words = vec!["-c".to_owned(), first.to_owned()];
    words.push(command.get_program().to_str().unwrap().to_owned());
    words.extend(command.get_args().map(|word| word.to_str().unwrap().to_owned()));
    let output = std::process::Command::new("taskset").args(words).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), all, "{output:?}");
}

#[test]
fn privileged_a_created_process_holds_nothing_of_the_host() {
    let Some(bench) = Bench::new("fds", &["true"]) else { return };
    let created = bench.create(&[]);
    assert!(created.status.success(), "{created:?}");
    let pid = bench.state()["pid"].as_i64().unwrap();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    for entry in entries.map(Result::unwrap) {
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let target = std::fs::read_link(entry.path()).unwrap().display().to_string();
        let wanted = target.starts_with("socket:") || target.ends_with("/exec.fifo");
        assert!(number < 3 || wanted, "{number} is {target}");
    }
    assert!(bench.run(&["start", &bench.id]).status.success());
    bench.wait_for_status("stopped");
    assert!(bench.run(&["delete", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_capabilities_become_ambient_as_in_runc() {
    let Some(mut bench) = Bench::new("ambient", &["sleep", "60"]) else { return };
    bench.applet("grep");
    let sets = &mut bench.spec["process"]["capabilities"];
    sets["inheritable"] = json!(["CAP_KILL"]);
    sets["ambient"] = json!(["CAP_KILL", "CAP_CHOWN"]);
    let created = bench.create(&[]);
    assert!(created.status.success(), "{created:?}");
    assert!(bench.log().contains("can't raise ambient capability CAP_CHOWN: "), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    let exec = [
        "exec",
        "--cap",
        "CAP_SETUID",
        "--cap",
        "CAP_KILL",
        &bench.id,
        "grep",
        "Cap",
        "/proc/self/status",
    ];
    let text = String::from_utf8(bench.run(&exec).stdout).unwrap();
    assert!(text.contains("CapAmb:\t0000000000000020"), "{text}");
    assert!(text.contains("CapInh:\t0000000000000020"), "{text}");
}

#[test]
fn privileged_a_hook_of_the_container_stands_in_its_root() {
    let Some(mut bench) = Bench::new("hookroot", &["cat", "/tmp/made"]) else { return };
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo made > tmp/made"] });
    bench.spec["hooks"]["createContainer"] = json!([hook]);
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "made\n"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_exec_names_the_sub_group_that_is_not_there() {
    let Some(bench) = Bench::new("subgroup", &["sleep", "60"]) else { return };
    assert!(bench.create(&[]).status.success());
    assert!(bench.run(&["start", &bench.id]).status.success());
    for (group, words) in [
        ("nonexistent", "no such file or directory"),
        ("..", "bad sub cgroup path"),
        ("whaaat:/", "unknown controller whaaat"),
        (":/", "empty <controller> prefix"),
    ] {
        let output = bench.run(&["exec", "--cgroup", group, &bench.id, "true"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(words), "{group}: {text}");
    }
    assert!(bench.run(&["exec", "--cgroup", "/", &bench.id, "true"]).status.success());
}

#[test]
fn privileged_debug_tells_the_steps_in_runcs_words() {
    let Some(mut bench) = Bench::new("debug", &["true"]) else { return };
    bench.spec["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    bench.write_spec();
    let bundle = bench.bundle();
    let run = ["--debug", "run", "--bundle", bundle.to_str().unwrap(), &bench.id];
    let text = String::from_utf8(bench.run(&run).stderr).unwrap();
    for words in [
        "level=debug",
        "nsexec container setup",
        "child process in init()",
        "\"seccomp filter flags: 4\"",
        "init: closing the pipe to signal completion",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn privileged_an_empty_home_is_none() {
    let Some(mut bench) = Bench::new("home", &["sh", "-c", "echo $HOME"]) else { return };
    bench.spec["process"]["env"] = json!(["PATH=/bin", "HOME=/x", "HOME="]);
    assert_eq!(bench.foreground().1, "/root\n");
}

#[test]
fn privileged_a_terminal_of_the_foreground_adds_no_carriage_return() {
    let Some(mut bench) = Bench::new("onlcr", &["sh", "-c", "echo one"]) else { return };
    bench.spec["process"]["terminal"] = json!(true);
    for _ in 0..20 {
        assert_eq!(bench.foreground().1, "one\n");
    }
}

#[test]
fn privileged_a_program_that_cannot_run_is_told_in_one_line() {
    let Some(bench) = Bench::new("execve", &["/tmp/run.sh"]) else { return };
    let script = bench.rootfs().join("tmp/run.sh");
    std::fs::write(&script, "#!/mmnnttbb foo bar\nsh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 255);
    assert_eq!((out.as_str(), err.trim()), ("", "exec /tmp/run.sh: no such file or directory"));
    bench.assert_nothing_left();
}

#[test]
fn privileged_user_and_time_namespaces_are_joined_together() {
    let Some(mut first) = Bench::new("joinee", &["sleep", "60"]) else { return };
    let spaces = &mut first.spec["linux"]["namespaces"];
    spaces.as_array_mut().unwrap().extend([json!({ "type": "user" }), json!({ "type": "time" })]);
    first.spec["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1337, "nanosecs": 5 } });
    for map in ["uidMappings", "gidMappings"] {
        first.spec["linux"][map] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(first.dir.path(), mode).unwrap();
    let created = first.create(&[]);
    assert!(created.status.success(), "{created:?} {}", first.log());
    assert!(first.run(&["start", &first.id]).status.success());
    let exec = first.run(&["exec", &first.id, "cat", "/proc/self/timens_offsets"]);
    assert!(String::from_utf8_lossy(&exec.stdout).contains("1337"), "{exec:?}");
    let pid = first.state()["pid"].as_i64().unwrap();
    let args = ["cat", "/proc/self/timens_offsets", "/proc/self/uid_map"];
    let Some(mut second) = Bench::new("joiner", &args) else { return };
    std::fs::set_permissions(
        second.dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    for (kind, name) in [("user", "user"), ("time", "time"), ("pid", "pid")] {
        let entry = json!({ "type": kind, "path": format!("/proc/{pid}/ns/{name}") });
        let list = second.spec["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|space| space["type"] != kind);
        list.push(entry);
    }
    let (code, out, err) = second.foreground();
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("1337") && out.contains("100000"), "{out}");
}

#[test]
fn privileged_a_missing_seccomp_agent_and_a_deadline_are_told_in_runcs_words() {
    let Some(mut bench) = Bench::new("words", &["true"]) else { return };
    let good = bench.spec.clone();
    bench.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/agent.sock",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let (code, _, err) = bench.foreground();
    assert!(code == 1 && err.contains("failed to connect with seccomp agent"), "{err}");
    bench.spec = good;
    bench.spec["linux"]["resources"] = json!({ "cpu": { "cpus": "0" } });
    bench.spec["process"]["scheduler"] = json!({
        "policy": "SCHED_DEADLINE", "nice": 19, "runtime": 42000, "deadline": 1_000_000, "period": 1_000_000,
    });
    let (code, _, err) = bench.foreground();
    let words = "process scheduler can't be used together with AllowedCPUs";
    // Where there is one processor, it is no restriction.
    let restricted = std::thread::available_parallelism().unwrap().get() > 1;
    assert!(!restricted || code == 1 && err.contains(words), "{err}");
}

/// A bind mount of `dir` of the host, whose own attributes are `options`.
fn bind_attributes(bench: &mut Bench, options: &[&str]) -> (i32, String, String) {
    let source = bench.dir.path().join("source");
    let before = bench.spec.clone();
    bench.add_mount(json!({
        "destination": "/mnt", "type": "bind", "source": source, "options": options,
    }));
    let found = bench.foreground();
    bench.spec = before;
    found
}

#[test]
fn privileged_attributes_of_a_bind_mount_are_runcs() {
    let words = ["sh", "-c", "grep ' /mnt ' /proc/self/mounts"];
    let Some(mut bench) = Bench::new("bindflags", &words) else { return };
    bench.applet("grep");
    let source = bench.dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::set_permissions(bench.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let mount = |args: &[&str]| {
        let status = std::process::Command::new("mount").args(args).arg(&source).status();
        assert!(status.unwrap().success(), "{args:?}");
    };
    mount(&["-t", "tmpfs", "tmpfs"]);
    mount(&["--bind", "-o", "remount,ro,nosuid,noatime"]);
    let has = |line: &str, words: &[&str]| {
        let options: Vec<&str> = line.split_whitespace().nth(3).unwrap().split(',').collect();
        words.iter().all(|word| options.contains(word))
    };
    let check = |bench: &mut Bench, options: &[&str], with: &[&str], without: &[&str]| {
        let (code, out, err) = bind_attributes(bench, options);
        assert_eq!(code, 0, "{options:?}: {err}");
        assert!(has(&out, with), "{options:?}: {out}");
        assert!(without.iter().all(|word| !has(&out, &[word])), "{options:?}: {out}");
    };
    check(&mut bench, &["bind"], &["ro", "nosuid", "noatime"], &[]);
    check(&mut bench, &["bind", "nodev"], &["rw", "nodev", "noatime"], &["ro", "nosuid"]);
    check(&mut bench, &["bind", "atime", "ro"], &["ro", "noatime"], &["nosuid"]);
    check(&mut bench, &["bind", "relatime"], &["rw", "relatime"], &["noatime"]);
    bench.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    for map in ["uidMappings", "gidMappings"] {
        bench.spec["linux"][map] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    }
    check(&mut bench, &["bind", "nodev"], &["ro", "nosuid", "nodev", "noatime"], &[]);
    for refused in [["bind", "rw"], ["bind", "suid"], ["bind", "strictatime"]] {
        let (code, _, err) = bind_attributes(&mut bench, &refused);
        assert_eq!(code, 1, "{refused:?}");
        let words =
            "unable to start container process: error during container init: error mounting";
        assert!(err.contains(words) && err.contains("operation not permitted"), "{err}");
    }
    mount(&["--bind", "-o", "remount,rw"]);
    assert!(std::process::Command::new("umount").arg(&source).status().unwrap().success());
}

#[test]
fn privileged_a_source_in_the_root_is_what_was_mounted_there() {
    for (user, map) in [(false, false), (true, false), (false, true), (true, true)] {
        let args = ["cat", "/final/x/file"];
        let Some(mut bench) = Bench::new("inner", &args) else { return };
        let root = bench.rootfs();
        let source = bench.dir.path().join("source");
        std::fs::create_dir_all(source.join("x")).unwrap();
        std::fs::write(source.join("x/file"), "deep\n").unwrap();
        for place in ["mnt", "final"] {
            std::fs::create_dir(root.join(place)).unwrap();
        }
        let mode = || std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bench.dir.path(), mode()).unwrap();
        let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        if user {
            bench.spec["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "type": "user" }));
            bench.spec["linux"]["uidMappings"] = maps.clone();
            bench.spec["linux"]["gidMappings"] = maps.clone();
        }
        let options = json!(["rbind", "rprivate"]);
        bench.add_mount(json!({
            "destination": "/mnt", "type": "bind", "source": source, "options": options,
        }));
        // Both as the host sees them.
        let mut second = json!({
            "destination": root.join("final"), "type": "bind", "source": root.join("mnt"), "options": options,
        });
        if map {
            second["uidMappings"] = maps.clone();
            second["gidMappings"] = maps;
        }
        bench.add_mount(second);
        let (code, out, err) = bench.foreground();
        assert_eq!((code, out.as_str()), (0, "deep\n"), "{user} {map}: {err}");
        bench.assert_nothing_left();
    }
}

#[test]
fn privileged_a_link_at_proc_and_a_read_only_dev() {
    let Some(mut bench) = Bench::new("prodev", &["sh", "-c", "grep ' /dev ' /proc/mounts"]) else {
        return;
    };
    bench.applet("grep");
    for mount in bench.spec["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == "/dev" {
            mount["options"].as_array_mut().unwrap().push(json!("ro"));
        }
    }
    let (code, out, err) = bench.foreground();
    assert!(code == 0 && out.contains(" ro,"), "{out} {err}");
    std::fs::remove_dir(bench.rootfs().join("proc")).unwrap();
    std::os::unix::fs::symlink("/tmp", bench.rootfs().join("proc")).unwrap();
    let (code, _, err) = bench.foreground();
    assert!(code == 1 && err.contains("must be mounted on ordinary directory"), "{err}");
}
