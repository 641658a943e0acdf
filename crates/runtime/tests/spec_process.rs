//! `process` and what `linux` says about every process, read back from the kernel.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;

use harness::Bench;
use serde_json::{Value, json};

/// The value of a line `KEY:\tVALUE` of a status file.
fn field<'a>(status: &'a str, key: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {status}")).trim()
}

/// The number of the last processor that this test may use, and the first.
fn processors() -> (usize, usize) {
    let all = sys::namespace::affinity().unwrap();
    (*all.first().unwrap(), *all.last().unwrap())
}

fn refused(bench: &mut Bench, pointer: &str, value: Value) -> String {
    let before = bench.spec.clone();
    *bench.spec.pointer_mut(pointer).unwrap() = value;
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1, "{err}");
    bench.spec = before;
    bench.assert_nothing_left();
    err
}

#[test]
fn privileged_identity_groups_mask_and_capabilities() {
    let script = "cat /proc/self/status; umask; pwd; cat /proc/sys/kernel/domainname /proc/self/oom_score_adj";
    let Some(mut bench) = Bench::new("identity", &["sh", "-c", script]) else { return };
    let some = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NOT_YET"]);
    bench.spec["process"]["user"] =
        json!({ "uid": 7, "gid": 8, "umask": 0o027, "additionalGids": [9, 1000] });
    bench.spec["process"]["capabilities"] = json!({
        "bounding": some, "effective": some, "permitted": some, "inheritable": some, "ambient": ["CAP_KILL"],
    });
    bench.spec["process"]["cwd"] = json!("/tmp");
    bench.spec["process"]["noNewPrivileges"] = json!(true);
    bench.spec["process"]["oomScoreAdj"] = json!(345);
    bench.spec["domainname"] = json!("domain.example");
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    assert_eq!(field(&out, "Uid"), "7\t7\t7\t7");
    assert_eq!(field(&out, "Gid"), "8\t8\t8\t8");
    assert_eq!(field(&out, "Groups"), "9 1000");
    assert_eq!(field(&out, "CapBnd"), "0000000000000021");
    assert_eq!(field(&out, "CapAmb"), "0000000000000020");
    assert_eq!(field(&out, "CapInh"), "0000000000000021");
    // What is not ambient is lost by the execve(2) of one who is not root.
    assert_eq!(field(&out, "CapEff"), "0000000000000020");
    assert_eq!(field(&out, "NoNewPrivs"), "1");
    assert!(out.ends_with("0027\n/tmp\ndomain.example\n345\n"), "{out}");
    assert!(err.contains("CAP_NOT_YET"), "an unknown capability is a warning: {err}");
}

#[test]
fn privileged_limits_are_set_or_named() {
    let Some(mut bench) = Bench::new("rlimits", &["cat", "/proc/self/limits"]) else { return };
    bench.spec["process"]["rlimits"] = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
    ]);
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    let line = |name: &str| {
        let line = out.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("Max open files"), "100 200");
    assert_eq!(line("Max core file size"), "0 0");
    let high = json!([{ "type": "RLIMIT_NOFILE", "soft": 5, "hard": 4 }]);
    let err = refused(&mut bench, "/process/rlimits", high);
    assert!(err.contains("set RLIMIT_NOFILE to soft 5, hard 4: invalid argument"), "{err}");
    let unknown = json!([{ "type": "RLIMIT_X", "soft": 5, "hard": 5 }]);
    assert!(refused(&mut bench, "/process/rlimits", unknown).contains("invalid rlimit type"));
}

#[test]
fn privileged_the_scheduler_is_set_or_named() {
    // Fields of stat(5): 19 is the nice value, 41 the policy.
    let Some(mut bench) = Bench::new("scheduler", &["cat", "/proc/self/stat"]) else { return };
    bench.spec["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    let stat: Vec<&str> = out.split(' ').collect();
    assert_eq!((stat[18], stat[40]), ("5", "3"), "{out}");
    let cases = [
        (json!({ "policy": "" }), "scheduler policy is required"),
        (json!({ "policy": "SCHED_X" }), "invalid scheduler policy: SCHED_X"),
        (json!({ "policy": "SCHED_OTHER", "nice": 20 }), "invalid scheduler.nice: 20"),
        (json!({ "policy": "SCHED_OTHER", "priority": 3 }), "scheduler.priority can only"),
        (
            json!({ "policy": "SCHED_OTHER", "period": 3 }),
            "can only be specified for SchedDeadline",
        ),
        (json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"] }), "invalid scheduler flag"),
        // The kernel wants runtime <= deadline <= period.
        (
            json!({ "policy": "SCHED_DEADLINE", "runtime": 30_000_000, "deadline": 20_000_000, "period": 10_000_000 }),
            "set the scheduler",
        ),
    ];
    for (value, words) in cases {
        let err = refused(&mut bench, "/process/scheduler", value);
        assert!(err.contains(words), "{err}");
    }
}

#[test]
fn privileged_deadline_and_real_time_where_the_kernel_grants_them() {
    let Some(mut bench) = Bench::new("deadline", &["cat", "/proc/self/stat"]) else { return };
    let cases = [
        (
            "6",
            json!({ "policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 20_000_000, "period": 20_000_000 }),
        ),
        (
            "1",
            json!({ "policy": "SCHED_FIFO", "priority": 10, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }),
        ),
    ];
    for (policy, value) in cases {
        bench.spec["process"]["scheduler"] = value;
        let (code, out, err) = bench.foreground();
        if code != 0 {
            // A group of version 1 without a real-time budget, and processors that are confined: the refusal is named.
            assert!(err.contains("set the scheduler: operation not permitted"), "{err}");
            continue;
        }
        assert_eq!(out.split(' ').nth(40), Some(policy), "{out}");
    }
}

#[test]
fn privileged_io_priority_personality_and_memory_policy() {
    let Some(mut bench) = Bench::new("memory", &["sleep", "1000"]) else { return };
    bench.spec["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 });
    bench.spec["linux"]["personality"] =
        json!({ "domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"] });
    bench.spec["linux"]["memoryPolicy"] =
        json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
    let has_nodes = fs::exists("/proc/self/numa_maps").unwrap();
    if !has_nodes {
        bench.spec["linux"]["memoryPolicy"] = Value::Null;
        testkit::skip("memoryPolicy: this kernel has no numa_maps");
    }
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    bench.wait_for("program", || {
        fs::read(format!("/proc/{}/cmdline", bench.state()["pid"])).unwrap().starts_with(b"sleep")
    });
    let pid = bench.state()["pid"].to_string();
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    assert_eq!(read("personality").trim(), "00040008");
    if has_nodes {
        assert!(read("numa_maps").contains("interleave=static:0"), "{}", read("numa_maps"));
    }
    let output = std::process::Command::new("ionice").args(["-p", &pid]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "idle");
    // A process that joins has the same.
    let inside = bench.run(&["exec", &bench.id, "cat", "/proc/self/personality"]);
    assert_eq!(String::from_utf8_lossy(&inside.stdout).trim(), "00040008");
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_what_cannot_be_had_is_named() {
    let Some(mut bench) = Bench::new("named", &["true"]) else { return };
    bench.spec["process"]["ioPriority"] = Value::Null;
    bench.spec["process"]["apparmorProfile"] = Value::Null;
    bench.spec["process"]["selinuxLabel"] = Value::Null;
    for key in ["personality", "memoryPolicy", "intelRdt", "mountLabel"] {
        bench.spec["linux"][key] = Value::Null;
    }
    let mut cases = vec![
        ("/process/ioPriority", json!({ "class": "X" }), "invalid ioPriority class: X"),
        (
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
            "invalid ioPriority priority: 8",
        ),
        ("/linux/personality", json!({ "domain": "X" }), "invalid linux.personality.domain"),
        (
            "/linux/personality",
            json!({ "domain": "LINUX", "flags": ["X"] }),
            "invalid linux.personality.flags entry",
        ),
        ("/linux/memoryPolicy", json!({ "mode": "X" }), "invalid memory policy mode"),
        ("/linux/intelRdt", json!({ "closID": "a/b" }), "invalid intelRdt.closID"),
    ];
    if !fs::exists("/sys/fs/resctrl/schemata").unwrap() {
        cases.push(("/linux/intelRdt", json!({}), "no resctrl file system is mounted"));
    }
    if !fs::exists("/sys/module/apparmor/parameters/enabled").unwrap() {
        cases.push(("/process/apparmorProfile", json!("p"), "apparmor not supported"));
    }
    if !fs::exists("/sys/fs/selinux/enforce").unwrap() {
        cases.push(("/process/selinuxLabel", json!("p"), "selinux label is specified"));
        cases.push(("/linux/mountLabel", json!("p"), "linux.mountLabel is specified"));
    }
    if fs::exists("/proc/self/numa_maps").unwrap() {
        cases.push((
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_DEFAULT", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
            "set_mempolicy to MPOL_DEFAULT",
        ));
    }
    for (pointer, value, words) in cases {
        let err = refused(&mut bench, pointer, value);
        assert!(err.contains(words), "{pointer}: {err}");
    }
}

#[test]
fn privileged_affinity_is_for_processes_that_join() {
    let Some(mut bench) = Bench::new("affinity", &["sleep", "1000"]) else { return };
    let (first, last) = processors();
    bench.spec["process"]["execCPUAffinity"] =
        json!({ "initial": first.to_string(), "final": last.to_string() });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let status = fs::read_to_string(format!("/proc/{}/status", bench.state()["pid"])).unwrap();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let list = |status: &str| field(status, "Cpus_allowed_list").to_owned();
    assert_eq!(list(&status), list(&own), "the first process is as it was");
    assert!(bench.run(&["start", &bench.id]).status.success());
    let output = bench.run(&["exec", &bench.id, "cat", "/proc/self/status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(list(&text), last.to_string(), "{output:?}");

    let file = bench.dir.path().join("process.json");
    let mut process = bench.spec["process"].clone();
    process["args"] = json!(["cat", "/proc/self/status"]);
    process["execCPUAffinity"] = json!({ "initial": first.to_string() });
    fs::write(&file, process.to_string()).unwrap();
    let output = bench.run(&["exec", "--process", file.to_str().unwrap(), &bench.id]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(list(&text), first.to_string(), "{output:?}");

    process["execCPUAffinity"] = json!({ "initial": "x-y" });
    fs::write(&file, process.to_string()).unwrap();
    let output = bench.run(&["exec", "--process", file.to_str().unwrap(), &bench.id]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("process.execCPUAffinity.initial"), "{text}");
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_configuration_without_a_process_can_be_created() {
    let Some(mut bench) = Bench::new("noprocess", &[]) else { return };
    bench.spec.as_object_mut().unwrap().remove("process");
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert_eq!(bench.state()["status"], "created");
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_the_directory_is_checked_before_the_filter() {
    let Some(mut bench) = Bench::new("cwdfilter", &["true"]) else { return };
    bench.spec["process"]["cwd"] = json!("/tmp");
    bench.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["getcwd", "chdir", "fchdir"], "action": "SCMP_ACT_KILL_PROCESS" }],
    });
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    bench.assert_nothing_left();
}
