//! `update` and `events`: options, texts and the form of the counters.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use harness::Bench;
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sleeper(name: &str) -> Option<Bench> {
    let bench = Bench::new(name, &["sleep", "1000"])?;
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    Some(bench)
}

#[test]
fn privileged_wrong_limits_are_refused_in_runcs_words() {
    let Some(bench) = sleeper("limits") else { return };
    for (option, value, want) in [
        (
            "--cpu-period",
            "x",
            "invalid value for cpu-period: strconv.ParseUint: parsing \\\"x\\\": invalid syntax",
        ),
        (
            "--cpu-quota",
            "1.5",
            "invalid value for cpu-quota: strconv.ParseInt: parsing \\\"1.5\\\": invalid syntax",
        ),
        ("--memory", "lots", "invalid value for memory: invalid size: 'lots'"),
        ("--memory-swap", "-2", "invalid value for memory-swap: invalid size: '-2'"),
        ("--pids-limit", "x", "invalid value \\\"x\\\" for flag -pids-limit: parse error"),
        ("--resources", "/nonexistent", "`/nonexistent`: no such file or directory"),
    ] {
        let output = bench.run(&["update", option, value, &bench.id]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{option}: {err}");
        assert!(err.contains(want), "{option}: {err}");
    }
    if !std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        for (option, want) in [
            ("--l3-cache-schema", "Intel RDT/CAT: l3 cache schema is not enabled"),
            ("--mem-bw-schema", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
        ] {
            let output = bench.run(&["update", option, "L3:0=f", &bench.id]);
            assert!(text(&output.stderr).contains(want), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn privileged_limits_come_by_options_and_by_documents() {
    let Some(bench) = sleeper("given") else { return };
    let group = bench.group();
    assert!(bench.run(&["update", &bench.id, "--pids-limit", "33"]).status.success());
    assert_eq!(group.read("pids", "pids.max").as_deref(), Some("33"));
    let mut child =
        bench.command(&["update", "-r", "-", &bench.id]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(br#"{"pids":{"limit":44}}"#).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(group.read("pids", "pids.max").as_deref(), Some("44"));
    // An empty option is none.
    assert!(bench.run(&["update", "--memory", "", "--cpu-share", "", &bench.id]).status.success());
    assert!(bench.run(&["update", "--memory", "64M", &bench.id]).status.success());
    let file = if group.is_version_2() { "memory.max" } else { "memory.limit_in_bytes" };
    assert_eq!(group.read("memory", file).as_deref(), Some("67108864"));
}

#[test]
fn privileged_counters_come_in_runcs_form_and_end_with_the_container() {
    let Some(bench) = sleeper("counters") else { return };
    let out = text(&bench.run(&["events", "--stats", &bench.id]).stdout);
    assert!(
        out.starts_with(&format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{", bench.id)),
        "{out}"
    );
    let event: Value = serde_json::from_str(&out).unwrap();
    for path in [
        "/data/cpu/usage/total",
        "/data/cpu/usage/kernel",
        "/data/cpu/usage/user",
        "/data/memory/usage/usage",
        "/data/memory/usage/limit",
        "/data/memory/usage/failcnt",
        "/data/memory/raw",
        "/data/pids/current",
        "/data/blkio",
        "/data/hugetlb",
    ] {
        assert!(event.pointer(path).is_some(), "{path}: {out}");
    }
    assert_eq!(event.pointer("/data/pids/current"), Some(&Value::from(1)));
    for (interval, want) in [
        ("0s", "duration interval must be greater than 0"),
        ("-1s", "duration interval must be greater than 0"),
        ("x", "for flag -interval: parse error"),
    ] {
        let output = bench.run(&["events", "--interval", interval, &bench.id]);
        assert!(text(&output.stderr).contains(want), "{interval}: {}", text(&output.stderr));
    }
    let mut child = bench
        .command(&["events", "--interval", "100ms", &bench.id])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains("\"type\":\"stats\""), "{line}");
    }
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    assert!(child.wait().unwrap().success(), "events ends with the container");
}
