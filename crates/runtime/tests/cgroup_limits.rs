//! Limits as the kernel has them, after `create` and after `update`, on both versions; and through systemd as `systemctl show` has them.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::process::Command;

use harness::{Bench, systemd};
use serde_json::{Value, json};

/// The files of one version and those of the other.
fn assert_files(bench: &Bench, new: &[(&str, &str, &str)], old: &[(&str, &str, &str)]) {
    let group = bench.group();
    for (controller, file, want) in if group.is_version_2() { new } else { old } {
        assert_eq!(group.read(controller, file).as_deref(), Some(*want), "{file}");
    }
}

/// What systemd has, when it has anything to do with it.
fn assert_properties(bench: &Bench, want: &[(&str, &str)]) {
    if !systemd() {
        return;
    }
    let unit = format!("belljar-test-{}.scope", bench.id);
    for (name, want) in want {
        let shown = Command::new("systemctl").args(["show", "-P", name, &unit]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), *want, "{name}");
    }
}

fn update(bench: &Bench, words: &[&str]) -> (bool, String) {
    let output = bench.run(&[&["update"], words, &[&bench.id]].concat());
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `update -r` of a document.
fn update_document(bench: &Bench, document: &Value) -> (bool, String) {
    let path = bench.dir.path().join("resources.json");
    fs::write(&path, document.to_string()).unwrap();
    update(bench, &["-r", path.to_str().unwrap()])
}

fn created(name: &str, resources: Value) -> Option<Bench> {
    let mut bench = Bench::new(name, &["sleep", "1000"])?;
    bench.spec["linux"]["resources"] = resources;
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    Some(bench)
}

fn full() -> Value {
    json!({
        "memory": { "limit": 67_108_864, "swap": 100_663_296, "reservation": 33_554_432 },
        "cpu": { "shares": 512, "quota": 12_345, "period": 50_000, "burst": 5000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 40 },
    })
}

#[test]
fn privileged_limits_are_in_the_files() {
    let Some(bench) = created("files", full()) else { return };
    // systemd counts a quota in percent: the files have what it will write some day.
    let quota = if systemd() { "12500" } else { "12345" };
    assert_files(
        &bench,
        &[
            ("memory", "memory.max", "67108864"),
            ("memory", "memory.low", "33554432"),
            ("cpu", "cpu.weight", "59"),
            ("cpu", "cpu.max", &format!("{quota} 50000")),
            ("cpu", "cpu.max.burst", "5000"),
            ("cpuset", "cpuset.cpus", "0"),
            ("cpuset", "cpuset.mems", "0"),
            ("pids", "pids.max", "40"),
        ],
        &[
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("memory", "memory.memsw.limit_in_bytes", "100663296"),
            ("memory", "memory.soft_limit_in_bytes", "33554432"),
            ("cpu", "cpu.shares", "512"),
            ("cpu", "cpu.cfs_quota_us", "12345"),
            ("cpu", "cpu.cfs_period_us", "50000"),
            ("cpu", "cpu.cfs_burst_us", "5000"),
            ("cpuset", "cpuset.cpus", "0"),
            ("pids", "pids.max", "40"),
        ],
    );
    assert_properties(
        &bench,
        &[
            ("MemoryMax", "67108864"),
            ("MemoryLow", "33554432"),
            ("MemorySwapMax", "33554432"),
            ("CPUWeight", "59"),
            ("CPUQuotaPerSecUSec", "250ms"),
            ("CPUQuotaPeriodUSec", "50ms"),
            ("AllowedCPUs", "0"),
            ("AllowedMemoryNodes", "0"),
            ("TasksMax", "40"),
            ("Delegate", "yes"),
            ("DevicePolicy", "strict"),
            ("Slice", "system.slice"),
        ],
    );
}

#[test]
fn privileged_updates_are_in_the_files() {
    let Some(bench) = created("updates", full()) else { return };
    let steps: [&[&str]; 4] = [
        &["--memory", "96m", "--memory-swap", "160m", "--pids-limit", "-1"],
        &["--cpu-quota", "20000", "--cpu-share", "2048"],
        &["--cpu-period", "100000"],
        &["--memory-reservation", "16m", "--cpu-burst", "0"],
    ];
    for words in steps {
        let (good, text) = update(&bench, words);
        assert!(good, "{words:?}: {text}");
    }
    assert_files(
        &bench,
        &[
            ("memory", "memory.max", "100663296"),
            ("memory", "memory.low", "16777216"),
            ("cpu", "cpu.weight", "174"),
            ("cpu", "cpu.max", "20000 100000"),
            ("cpu", "cpu.max.burst", "0"),
            ("pids", "pids.max", "max"),
        ],
        &[
            ("memory", "memory.limit_in_bytes", "100663296"),
            ("memory", "memory.memsw.limit_in_bytes", "167772160"),
            ("cpu", "cpu.shares", "2048"),
            ("cpu", "cpu.cfs_quota_us", "20000"),
            ("cpu", "cpu.cfs_period_us", "100000"),
            ("pids", "pids.max", "max"),
        ],
    );
    assert_properties(
        &bench,
        &[
            ("MemoryMax", "100663296"),
            ("MemoryLow", "16777216"),
            ("MemorySwapMax", "67108864"),
            ("CPUWeight", "174"),
            ("CPUQuotaPerSecUSec", "200ms"),
            ("CPUQuotaPeriodUSec", "100ms"),
            ("TasksMax", "infinity"),
        ],
    );
    // Down again, and both at once.
    assert!(update(&bench, &["--memory", "32m", "--memory-swap", "48m"]).0);
    assert!(update(&bench, &["--memory", "-1"]).0);
    let unlimited = bench.group().stats().memory.unwrap().limit;
    assert_eq!(unlimited, None);
    if systemd() {
        // What systemd writes anew is what was there.
        let group = bench.group();
        let files =
            ["memory.max", "memory.low", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus"];
        let before = files.map(|file| group.read("", file));
        assert!(Command::new("systemctl").arg("daemon-reload").status().unwrap().success());
        assert_eq!(files.map(|file| group.read("", file)), before);
    }
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_contradictions_are_refused_and_change_nothing() {
    let Some(mut bench) = Bench::new("contrary", &["sleep", "1000"]) else { return };
    let version_2 = bench.group().is_version_2();
    let other = if version_2 {
        (json!({ "memory": { "swappiness": 5 } }), "memory.swappiness does not exist on cgroup v2")
    } else {
        (json!({ "unified": { "pids.max": "5" } }), "cannot use unified on cgroup v1")
    };
    let cases = [
        (
            json!({ "memory": { "limit": 67_108_864, "swap": 33_554_432 } }),
            "memory+swap limit should be",
        ),
        other,
        (json!({ "cpu": { "cpus": "4000" } }), "cpuset.cpus"),
    ];
    for (resources, words) in cases {
        bench.spec["linux"]["resources"] = resources;
        assert_eq!(bench.create(&[]).status.code(), Some(1), "{words}");
        assert!(bench.log().contains(words) || systemd(), "{words}: {}", bench.log());
        bench.assert_nothing_left();
    }
    bench.spec["linux"]["resources"] =
        json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 9 } });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let all = json!({ "memory": { "limit": 33_554_432 }, "pids": { "limit": 5 }, "cpu": { "shares": 100, "cpus": "4000" } });
    let (good, text) = update_document(&bench, &all);
    assert!(!good && !text.is_empty());
    let stats = bench.group().stats();
    assert_eq!(stats.memory.unwrap().limit, Some(67_108_864), "{text}");
    assert_eq!(stats.pids.unwrap().limit, Some(9));
    let (good, text) = update(&bench, &["--memory", "32m", "--memory-swap", "16m"]);
    assert!(!good && text.contains("memory+swap limit should be >= memory limit"), "{text}");
}

#[test]
fn privileged_memory_in_use_is_not_taken_away_where_that_is_asked_for() {
    let Some(bench) = created("usage", json!({ "memory": { "limit": 67_108_864 } })) else {
        return;
    };
    let checked = json!({ "memory": { "limit": 4096, "checkBeforeUpdate": true } });
    let (good, text) = update_document(&bench, &checked);
    assert!(!good && text.contains("rejecting memory limit 4096 <= usage"), "{text}");
    assert_eq!(bench.group().stats().memory.unwrap().limit, Some(67_108_864));
}

#[test]
fn privileged_files_of_version_2_are_written_by_name() {
    let Some(mut bench) = Bench::new("unified", &["sleep", "1000"]) else { return };
    if !bench.group().is_version_2() {
        bench.spec["linux"]["resources"] = json!({ "unified": { "memory.high": "1" } });
        assert_eq!(bench.create(&[]).status.code(), Some(1));
        return;
    }
    for (file, words) in [
        ("../x/cgroup.procs", "must be a file name (no slashes)"),
        ("memory", "must be in the form CONTROLLER.PARAMETER"),
        ("cgroup.procs", "is not a limit"),
        ("nothing.max", "controller \\\"nothing\\\" not available"),
        // The kernel takes the word and does not do it: without processors of its own no group is a partition.
        ("cpuset.cpus.partition", "the cpuset cannot be a partition `root`: root invalid"),
    ] {
        let value = if file == "cpuset.cpus.partition" { "root" } else { "1" };
        bench.spec["linux"]["resources"] = json!({ "unified": { file: value } });
        assert_eq!(bench.create(&[]).status.code(), Some(1), "{file}");
        assert!(bench.log().contains(words), "{words}: {}", bench.log());
        bench.assert_nothing_left();
    }
    bench.spec["linux"]["resources"] = json!({ "unified": {
        "memory.high": "50331648", "memory.oom.group": "1", "pids.max": "7", "cpu.weight": "33", "cgroup.max.depth": "5",
    } });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let want = [
        ("", "memory.high", "50331648"),
        ("", "memory.oom.group", "1"),
        ("", "pids.max", "7"),
        ("", "cpu.weight", "33"),
        ("", "cgroup.max.depth", "5"),
    ];
    assert_files(&bench, &want, &[]);
    assert_properties(
        &bench,
        &[("MemoryHigh", "50331648"), ("TasksMax", "7"), ("CPUWeight", "33")],
    );
    let (good, text) =
        update_document(&bench, &json!({ "unified": { "pids.max": "8" }, "cpu": { "idle": 1 } }));
    assert!(good, "{text}");
    assert_files(&bench, &[("", "pids.max", "8"), ("", "cpu.idle", "1")], &[]);
    assert_properties(&bench, &[("TasksMax", "8"), ("CPUWeight", "idle")]);
}

#[test]
fn privileged_device_rules_are_replaced_by_an_update() {
    let Some(mut bench) = Bench::new("rules", &["sleep", "1000"]) else { return };
    // Where no driver answers, the kernel says so only after the rules were asked.
    bench.spec["linux"]["devices"] = json!([
        { "type": "c", "path": "/dev/nothing", "major": 1, "minor": 2, "fileMode": 438, "uid": 0, "gid": 0 },
    ]);
    bench.spec["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    let look = || {
        let output = bench.run(&["exec", &bench.id, "cat", "/dev/nothing"]);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let null = || {
        let output = bench.run(&["exec", &bench.id, "sh", "-c", "echo x > /dev/null"]);
        assert!(output.status.success(), "/dev/null is always there");
    };
    let denied = "Operation not permitted";
    assert!(look().contains(denied), "{}", look());
    let deny = json!({ "allow": false, "access": "rwm" });
    let allow = json!({ "allow": true, "type": "c", "major": 1, "minor": 2, "access": "r" });
    assert!(update_document(&bench, &json!({ "devices": [deny, allow] })).0);
    assert!(look().contains("No such device or address"), "{}", look());
    null();
    // Rules that are those of the configuration are none, and take nothing away that was added since.
    assert!(update_document(&bench, &json!({ "devices": [deny], "pids": { "limit": 50 } })).0);
    assert!(look().contains("No such device or address"), "{}", look());
    let all = json!({ "allow": true, "access": "rwm" });
    assert!(update_document(&bench, &json!({ "devices": [all] })).0);
    assert!(look().contains("No such device or address"), "{}", look());
    if let Some(directory) = bench.group().open_unified().unwrap()
        && bench.group().is_version_2()
    {
        let programs = sys::ebpf::attached(std::os::fd::AsFd::as_fd(&directory)).unwrap();
        assert!(programs.is_empty(), "nothing is restricted");
    }
    assert!(update_document(&bench, &json!({ "devices": [all, { "allow": false, "type": "c", "major": 1, "minor": 2, "access": "r" }] })).0);
    assert!(look().contains(denied), "{}", look());
    null();
}

/// A block device that the machine has, as its numbers.
fn block_device() -> Option<(u32, u32)> {
    let listing = fs::read_dir("/sys/block").ok()?;
    let mut found: Vec<String> = listing
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("dev")).ok())
        .collect();
    found.sort();
    let (major, minor) = found.first()?.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn privileged_block_devices_are_throttled_and_weighed() {
    let Some((major, minor)) = block_device() else {
        testkit::skip("no block device");
        return;
    };
    let throttle = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
    let Some(bench) = created(
        "disks",
        json!({ "blockIO": {
            "throttleReadBpsDevice": throttle(1_048_576), "throttleWriteBpsDevice": throttle(2_097_152),
            "throttleReadIOPSDevice": throttle(100), "throttleWriteIOPSDevice": throttle(200),
        } }),
    ) else {
        return;
    };
    let group = bench.group();
    if group.is_version_2() {
        let want = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=100 wiops=200");
        assert_eq!(group.read("io", "io.max").unwrap(), want);
    } else {
        for (file, want) in [
            ("read_bps", 1_048_576),
            ("write_bps", 2_097_152),
            ("read_iops", 100),
            ("write_iops", 200),
        ] {
            let text = group.read("blkio", &format!("blkio.throttle.{file}_device")).unwrap();
            assert_eq!(text, format!("{major}:{minor} {want}"), "{file}");
        }
    }
    let weights = ["blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight"];
    let files = weights
        .iter()
        .filter(|file| group.read("io", file).or(group.read("blkio", file)).is_some());
    let weighs = files.count() > 0;
    let (good, text) = update(&bench, &["--blkio-weight", "500"]);
    assert_eq!(good, weighs, "{text}");
    if group.is_version_2() && group.read("io", "io.weight").is_some() {
        assert_eq!(group.read("io", "io.weight").unwrap().lines().next(), Some("default 4950"));
        assert_properties(&bench, &[("IOWeight", "4950")]);
    }
}

#[test]
fn privileged_no_process_more_and_as_many_as_you_like() {
    let Some(bench) = created("pids", json!({ "pids": { "limit": 0 } })) else { return };
    assert_eq!(bench.group().read("pids", "pids.max").as_deref(), Some("0"));
    assert!(update(&bench, &["--pids-limit", "-1"]).0);
    assert_eq!(bench.group().read("pids", "pids.max").as_deref(), Some("max"));
}

#[test]
fn privileged_counters_are_told_with_pressure() {
    let Some(bench) =
        created("counters", json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 30 } }))
    else {
        return;
    };
    let output = bench.run(&["events", "--stats", &bench.id]);
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    let data = &event["data"];
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(bench.id)));
    assert_eq!(data["memory"]["usage"]["limit"], 67_108_864);
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{data}");
    assert_eq!((&data["pids"]["limit"], &data["pids"]["current"]), (&json!(30), &json!(1)));
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0 || bench.group().is_version_2());
    assert!(data["hugetlb"].is_object() && data["intel_rdt"].is_object());
    if bench.group().is_version_2() && bench.group().read("", "cpu.pressure").is_some() {
        for part in ["cpu", "memory", "blkio"] {
            assert!(data[part]["psi"]["some"]["total"].is_u64(), "{part}: {data}");
        }
    }
}

#[test]
fn privileged_a_want_of_memory_is_told_at_once() {
    let greedy = "while ! test -e /tmp/go; do sleep 0.1; done; (x=0123456789abcdef; while :; do x=$x$x; done); exec sleep 1000";
    let Some(mut bench) = Bench::new("greedy", &["sh", "-c", greedy]) else { return };
    bench.applet("test");
    bench.spec["linux"]["resources"] =
        json!({ "memory": { "limit": 25_165_824, "swap": 25_165_824 } });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    let log = bench.dir.path().join("events");
    let mut events = bench
        .command(&["events", "--interval", "1h", &bench.id])
        .stdout(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    bench.wait_for("first counters", || fs::read_to_string(&log).unwrap().contains("\"stats\""));
    fs::write(bench.rootfs().join("tmp/go"), "").unwrap();
    let line = format!("{{\"type\":\"oom\",\"id\":\"{}\"}}", bench.id);
    bench.wait_for("event", || fs::read_to_string(&log).unwrap().contains(&line));
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    // The end ends it, not the hour.
    bench.wait_for("end of events", || events.try_wait().unwrap().is_some());
}

#[test]
fn privileged_annotations_are_properties_of_the_unit() {
    let Some(mut bench) = Bench::new("notes", &["sleep", "1000"]) else { return };
    bench.spec["annotations"] = json!({ "org.systemd.property.A1": "1" });
    let code = bench.create(&[]).status.code();
    assert_eq!(code, Some(i32::from(systemd())), "a name that is none matters to systemd alone");
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.spec["annotations"] = json!({
        "org.systemd.property.TimeoutStopUSec": "uint64 123000000",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
    });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert_properties(
        &bench,
        &[("TimeoutStopUSec", "2min 3s"), ("CollectMode", "inactive-or-failed")],
    );
}
