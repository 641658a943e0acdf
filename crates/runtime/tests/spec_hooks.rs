//! Hooks of all six kinds: their order, their places, what they read, and what their failure does (runtime-spec 1.3).
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;

use harness::Bench;
use serde_json::{Value, json};

const OUTSIDE: [&str; 5] =
    ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

fn shell(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })
}

/// The state that each hook of the host's file system has read, by kind, in order.
fn states(bench: &Bench) -> Vec<(String, Value)> {
    let text = fs::read_to_string(bench.dir.path().join("states")).unwrap_or_default();
    let pair = |line: &str| {
        let (kind, state) = line.split_once(' ').unwrap();
        (kind.to_owned(), serde_json::from_str(state).unwrap())
    };
    text.lines().map(pair).collect()
}

fn kinds(bench: &Bench) -> Vec<String> {
    states(bench).into_iter().map(|(kind, _)| kind).collect()
}

/// Gives every kind a hook that writes down its state; that of `startContainer` writes inside.
fn record_all(bench: &mut Bench) {
    let file = bench.dir.path().join("states");
    for kind in OUTSIDE {
        let script = format!("echo {kind} $(cat) >> {}", file.display());
        bench.spec["hooks"][kind] = json!([shell(&script)]);
    }
    bench.spec["hooks"]["startContainer"] = json!([shell("cat > /tmp/state")]);
}

#[test]
fn privileged_every_hook_has_its_time_and_place() {
    let Some(mut bench) = Bench::new("hooktimes", &["sleep", "1000"]) else { return };
    record_all(&mut bench);
    bench.spec["annotations"] = json!({ "a": "b" });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert_eq!(kinds(&bench), ["prestart", "createRuntime", "createContainer"]);
    assert!(!bench.rootfs().join("tmp/state").exists(), "startContainer belongs to start");
    let pid = bench.state()["pid"].clone();
    assert!(bench.run(&["start", &bench.id]).status.success());
    assert_eq!(kinds(&bench).last().unwrap(), "poststart");
    let inside = fs::read_to_string(bench.rootfs().join("tmp/state")).unwrap();
    let inside: Value = serde_json::from_str(&inside).unwrap();
    assert_eq!((&inside["status"], &inside["pid"]), (&json!("created"), &json!(1)));
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    let states = states(&bench);
    let status: Vec<&str> =
        states.iter().map(|(_, state)| state["status"].as_str().unwrap()).collect();
    // `prestart` is older than the state "creating".
    assert_eq!(status, ["created", "creating", "creating", "running", "stopped"]);
    for (kind, state) in &states {
        assert_eq!(state["id"], json!(bench.id), "{kind}");
        assert_eq!(state["bundle"], json!(bench.bundle()), "{kind}");
        assert_eq!(state["annotations"]["a"], "b", "{kind}");
        assert_eq!(state["ociVersion"], "1.2.1", "{kind}");
        // Inside its namespaces the process is the first one.
        let want = match kind.as_str() {
            "createContainer" => json!(1),
            "poststop" => json!(0),
            _ => pid.clone(),
        };
        assert_eq!(state["pid"], want, "{kind}");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_hooks_run_in_the_namespaces_they_belong_to() {
    let Some(mut bench) = Bench::new("hookspaces", &["cat", "/tmp/spaces"]) else { return };
    let file = bench.dir.path().join("spaces");
    let script = |kind: &str| {
        format!(
            "echo {kind} $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/net) >> {}",
            file.display()
        )
    };
    for kind in OUTSIDE {
        bench.spec["hooks"][kind] = json!([shell(&script(kind))]);
    }
    bench.spec["hooks"]["startContainer"] = json!([shell(
        "echo $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/net) > /tmp/spaces"
    )]);
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    let own = ["mnt", "net"].map(|kind| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap());
    let own = format!("{} {}", own[0].display(), own[1].display());
    let text = fs::read_to_string(&file).unwrap();
    for line in text.lines() {
        let (kind, spaces) = line.split_once(' ').unwrap();
        if kind == "createContainer" {
            assert_eq!(spaces, out.trim(), "the container's own");
        } else {
            assert_eq!(spaces, own, "{kind} runs in the host's");
        }
    }
    assert_eq!(text.lines().count(), 5);
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_failing_hook_ends_the_creation_and_poststop_follows() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let Some(mut bench) = Bench::new(&format!("bad{kind}"), &["true"]) else { return };
        record_all(&mut bench);
        let bad = json!([{ "path": "/bin/true" }, shell("echo because >&2; exit 3"), shell("touch /never")]);
        bench.spec["hooks"][kind] = bad;
        assert_eq!(bench.create(&[]).status.code(), Some(1), "{kind}");
        let log = bench.log();
        assert!(log.contains(&format!("error running {kind} hook #1")), "{log}");
        assert!(log.contains("stderr: because"), "{log}");
        assert_eq!(kinds(&bench).last().unwrap(), "poststop", "{kind}");
        assert!(!kinds(&bench).contains(&"poststart".to_owned()));
        assert!(!fs::exists("/never").unwrap());
        bench.assert_nothing_left();
    }
}

#[test]
fn privileged_a_failing_start_container_hook_fails_start() {
    let Some(mut bench) = Bench::new("badstart", &["sh", "-c", "echo program"]) else { return };
    record_all(&mut bench);
    bench.spec["hooks"]["startContainer"] = json!([shell("exit 4")]);
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let output = bench.run(&["start", &bench.id]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error running startContainer hook #0"), "{text}");
    assert_eq!(bench.state()["status"], "stopped");
    assert!(!bench.output().lines().any(|line| line == "program"), "{}", bench.output());
    assert!(bench.run(&["delete", &bench.id]).status.success());
    assert_eq!(kinds(&bench).last().unwrap(), "poststop");
    bench.assert_nothing_left();
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    assert!(err.contains("error running startContainer hook #0"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_failing_poststart_hook_fails_start() {
    let Some(mut bench) = Bench::new("badpost", &["sleep", "1000"]) else { return };
    record_all(&mut bench);
    bench.spec["hooks"]["poststart"] = json!([shell("exit 5")]);
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let output = bench.run(&["start", &bench.id]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error running poststart hook #0"), "{text}");
    assert_eq!(kinds(&bench).last().unwrap(), "poststop", "the container is ended");
    bench.assert_nothing_left();
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("error running poststart hook #0"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_failing_poststop_hooks_are_warnings_and_all_run() {
    let Some(mut bench) = Bench::new("badstop", &["true"]) else { return };
    record_all(&mut bench);
    let last = bench.spec["hooks"]["poststop"][0].clone();
    bench.spec["hooks"]["poststop"] = json!([shell("exit 6"), last]);
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("error running poststop hook #0"), "{err}");
    assert_eq!(kinds(&bench).last().unwrap(), "poststop");
    bench.assert_nothing_left();
}

#[test]
fn privileged_hooks_have_a_time_limit_and_an_environment() {
    let Some(mut bench) = Bench::new("hooklimit", &["true"]) else { return };
    let file = bench.dir.path().join("env");
    let mut hook = shell(&format!("echo $A $0 > {}", file.display()));
    hook["env"] = json!(["A=5"]);
    hook["args"][0] = json!("other-name");
    bench.spec["hooks"] = json!({ "createRuntime": [hook] });
    assert_eq!(bench.foreground().0, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "5 other-name\n");
    let start = std::time::Instant::now();
    bench.spec["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1 }] });
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    assert!(err.contains("ran past specified timeout of 1s"), "{err}");
    assert!(start.elapsed().as_secs() < 20);
    for (hook, words) in [
        (
            json!({ "path": "bin/true" }),
            "the path \\\"bin/true\\\" of a poststop hook is not absolute",
        ),
        (
            json!({ "path": "/bin/true", "timeout": 0 }),
            "the timeout of a poststop hook is not above zero",
        ),
    ] {
        bench.spec["hooks"] = json!({ "poststop": [hook] });
        let (code, _, err) = bench.foreground();
        assert_eq!(code, 1);
        assert!(err.contains(words), "{err}");
    }
    bench.assert_nothing_left();
}
