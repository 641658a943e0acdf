//! `state`, `list`, `ps`, `kill` and `delete`: what they print and whom they touch.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::process::{Command, Stdio};

use harness::Bench;
use serde_json::{Value, json};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A container that sleeps, started.
fn sleeper(name: &str) -> Option<Bench> {
    let bench = Bench::new(name, &["sleep", "1000"])?;
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    Some(bench)
}

/// The names of a document's fields in their order.
fn fields(document: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = Vec::new();
    let mut rest = document;
    while let Some(at) = rest.find(['{', '}', '"']) {
        let found = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        match found {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {
                let (word, after) = rest.split_once('"').unwrap();
                if depth == 1 && after.starts_with(':') {
                    names.push(word.to_owned());
                }
                rest = after;
            }
        }
    }
    names
}

#[test]
fn privileged_state_and_list_are_runcs_documents() {
    let Some(mut bench) = Bench::new("documents", &["sleep", "1000"]) else { return };
    bench.spec["annotations"] = json!({ "org.example": "yes" });
    assert!(bench.create(&[]).status.success());
    let order = [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ];
    let out = text(&bench.run(&["state", &bench.id]).stdout);
    assert_eq!(fields(&out), order, "{out}");
    let state: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&state["status"], &state["owner"]), (&json!("created"), &json!("")));
    assert_eq!(
        state["rootfs"].as_str().unwrap(),
        bench.rootfs().canonicalize().unwrap().to_str().unwrap()
    );

    let list = text(&bench.run(&["list", "--format", "json"]).stdout);
    let document: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(document[0]["owner"], "root");
    assert_eq!(fields(list.trim().trim_matches(['[', ']'])), order, "{list}");
    let table = text(&bench.run(&["list"]).stdout);
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("ID "), "{table}");
    let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!((row[0], row[2], row[5]), (bench.id.as_str(), "created", "root"));
    assert_eq!(text(&bench.run(&["list", "-q"]).stdout), format!("{}\n", bench.id));

    assert!(bench.run(&["delete", "-f", &bench.id]).status.success());
    assert_eq!(text(&bench.run(&["list", "-f", "json"]).stdout), "null\n");
    bench.assert_nothing_left();
}

#[test]
fn privileged_ps_shows_the_containers_processes_alone() {
    let Some(bench) = sleeper("ps") else { return };
    let pid = bench.state()["pid"].to_string();
    assert_eq!(text(&bench.run(&["ps", "-f", "json", &bench.id]).stdout), format!("[{pid}]\n"));
    let out = text(&bench.run(&["ps", &bench.id]).stdout);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[0].contains("PID") && lines[1].contains("sleep 1000"), "{out}");
    let out = text(&bench.run(&["ps", &bench.id, "-e", "-x"]).stdout);
    assert!(
        out.contains("COMMAND") && out.contains(&pid),
        "options after the id are those of ps: {out}"
    );
    let bad = bench.run(&["ps", &bench.id, "-o", "comm"]);
    assert!(text(&bad.stderr).contains("couldn't find PID field in ps output"));
    let bad = bench.run(&["ps", &bench.id, "--nonsense"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(bench.run(&["kill", &bench.id, "KILL"]).status.success());
    bench.wait_for_status("stopped");
    assert_eq!(text(&bench.run(&["ps", "-f", "json", &bench.id]).stdout), "null\n");
}

#[test]
fn privileged_requests_in_the_wrong_state_are_refused_in_runcs_words() {
    let Some(bench) = sleeper("wrong") else { return };
    let id = bench.id.as_str();
    let refused = |words: &[&str], code: i32, want: &str| {
        let output = bench.run(words);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {err}");
        assert!(err.contains(want), "{words:?}: {err}");
    };
    refused(&["start", id], 1, "cannot start an already running container");
    refused(&["resume", id], 1, "container not paused");
    refused(
        &["delete", id],
        1,
        &format!("cannot delete container {id} that is not stopped: running"),
    );
    refused(&["kill", id, "NOPE"], 1, r#"unknown signal \"NOPE\""#);
    assert!(bench.run(&["kill", id, "0"]).status.success());
    assert!(bench.run(&["pause", id]).status.success());
    refused(&["pause", id], 1, "container not running");
    refused(&["start", id], 1, "cannot start a container in the paused state");
    refused(
        &["delete", id],
        1,
        &format!("cannot delete container {id} that is not stopped: paused"),
    );
    refused(
        &["exec", id, "true"],
        255,
        "exec failed: cannot exec in a paused container (use --ignore-paused to override)",
    );
    assert!(bench.run(&["resume", id]).status.success());
    assert!(bench.run(&["kill", "--all", id, "SIGKILL"]).status.success());
    bench.wait_for_status("stopped");
    refused(&["kill", id, "TERM"], 1, "container not running");
    assert!(bench.run(&["kill", "-a", id, "9"]).status.success(), "--all of nobody is no failure");
    refused(&["pause", id], 1, "container not running");
    refused(&["update", "--pids-limit", "9", id], 1, "container not running");
    refused(&["exec", id, "true"], 255, "exec failed: cannot exec in a stopped container");
    refused(&["start", id], 1, "cannot start a container that has stopped");
    refused(&["events", "--stats", id], 1, &format!("container with id {id} is not running"));
    assert!(bench.run(&["delete", id]).status.success());
    bench.assert_nothing_left();
}

/// What a state file of somebody else, or of an attacker, must not bring about.
#[test]
fn privileged_a_state_file_that_lies_touches_nobody() {
    let Some(bench) = sleeper("liar") else { return };
    let file = bench.root().join(&bench.id).join("state.json");
    let good: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    // Start times are counted in hundredths of a second: two processes of the same one could not be told apart.
    std::thread::sleep(std::time::Duration::from_millis(30));
    let mut victim = Command::new("sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let precious = bench.dir.path().join("precious/child");
    fs::create_dir_all(&precious).unwrap();

    let with = |key: &str, value: Value| {
        let mut lie = good.clone();
        lie[key] = value;
        lie
    };
    let place = |mount: &str, directory: &str| json!([{ "controllers": ["freezer"], "mount": mount, "directory": directory }]);
    let outside = bench.dir.path().to_str().unwrap();
    let lies = [
        json!(null),
        json!([]),
        json!("text"),
        json!({}),
        json!({ "id": bench.id, "init_process_pid": victim.id(), "init_process_start": 1, "config": {} }),
        with("pid", json!("7")),
        with("pid", json!(-1)),
        with("pid", json!(9_999_999_999_u64)),
        with("cgroup", json!(7)),
        with("id", json!("other")),
        with("hooks", json!(7)),
        with("cgroup", place("/sys/fs/cgroup", "/sys/fs/cgroup")),
        with("cgroup", place(outside, &format!("{outside}/../x"))),
        with("cgroup", place("/", precious.to_str().unwrap())),
        with("unit", json!("sshd.service")),
    ];
    for lie in lies {
        fs::write(&file, lie.to_string()).unwrap();
        for words in [
            &["kill", &bench.id, "KILL"][..],
            &["delete", "--force", &bench.id],
            &["state", &bench.id],
        ] {
            let output = bench.run(words);
            let err = text(&output.stderr);
            let harmless = words[0] == "state" && lie["cgroup"][0]["mount"] == "/";
            if !harmless {
                assert_eq!(output.status.code(), Some(1), "{words:?} {lie}: {err}");
                assert!(!err.contains("panicked"), "{err}");
                let named = err.contains("state.json") || err.contains("container's state");
                assert!(named, "{words:?} {lie}: {err}");
            }
        }
        let list = bench.run(&["list"]);
        assert!(list.status.success(), "one bad file is no reason to show none");
    }
    assert!(precious.exists(), "a directory that is no cgroup was removed");
    assert!(victim.try_wait().unwrap().is_none(), "a process of others was killed");

    // A process that has this number but is another one.
    for pid in [victim.id(), 1] {
        fs::write(&file, with("pid", json!(pid)).to_string()).unwrap();
        assert_eq!(bench.state()["status"], "stopped");
        let kill = bench.run(&["kill", &bench.id, "KILL"]);
        assert!(text(&kill.stderr).contains("container not running"));
    }
    assert!(victim.try_wait().unwrap().is_none(), "a process of others was killed");
    victim.kill().unwrap();
    victim.wait().unwrap();

    fs::write(&file, good.to_string()).unwrap();
    assert_eq!(
        bench.state()["status"],
        "running",
        "the container itself has lived through all this"
    );
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_delete_waits_for_the_end_and_removes_half_made_ones() {
    let Some(mut bench) = Bench::new("deleted", &["sleep", "1000"]) else { return };
    // Without a pid namespace the end of the first process is not that of the others.
    bench.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "pid");
    bench.spec["process"]["args"] = json!(["sh", "-c", "sleep 1000 & sleep 1000 & sleep 1000"]);
    bench.spec["mounts"].as_array_mut().unwrap().retain(|one| one["destination"] != "/proc");
    bench.spec["linux"].as_object_mut().unwrap().remove("maskedPaths");
    bench.spec["linux"].as_object_mut().unwrap().remove("readonlyPaths");
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    bench.wait_for("children", || bench.group().processes().len() >= 3);
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();

    fs::create_dir_all(bench.root().join("half")).unwrap();
    let output = bench.run(&["delete", "half"]);
    assert!(text(&output.stderr).contains("container does not exist"));
    assert!(bench.run(&["delete", "--force", "half"]).status.success());
    bench.assert_nothing_left();
}

/// The first process of a pid namespace ignores signals without a handler: it has some until `start` comes.
#[test]
fn privileged_a_created_container_ends_on_request() {
    for signal in ["TERM", "INT", "HUP"] {
        let Some(bench) = Bench::new(&format!("created-{signal}"), &["sleep", "1000"]) else {
            return;
        };
        bench.write_spec();
        assert!(bench.create(&[]).status.success(), "{}", bench.log());
        assert!(bench.run(&["kill", &bench.id, signal]).status.success());
        bench.wait_for("the end", || bench.state()["status"] == "stopped");
        assert!(bench.run(&["delete", &bench.id]).status.success());
    }
}
