//! The life of groups: where they are made, what keeps a process out of one, and how they end.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Bench, missing, systemd};
use serde_json::json;
use sys::cgroup::{Cgroups, Group};

/// A group of the test's own; it goes when it is dropped.
struct Own(Group);

impl Own {
    fn make(name: &str) -> Option<Self> {
        if let Some(why) = missing() {
            testkit::skip(&format!("{name}: {why}"));
            return None;
        }
        let own = Self(group(&format!("/belljar-test-{name}-{}", std::process::id())));
        own.0.create().unwrap();
        Some(own)
    }

    /// A process that sleeps in it.
    fn sleeper(&self) -> Child {
        let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        self.take(&child);
        child
    }

    fn take(&self, child: &Child) {
        for place in self.0.places() {
            fs::write(place.directory.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
    }

    fn path(&self) -> String {
        let place = &self.0.places()[0];
        format!("/{}", place.directory.strip_prefix(&place.mount).unwrap().display())
    }

    fn below(&self, name: &str) -> Self {
        let below = group(&format!("{}/{name}", self.path()));
        below.create().unwrap();
        Self(below)
    }

    fn end(&self) -> Duration {
        let start = Instant::now();
        self.0.kill().unwrap();
        self.0.remove().unwrap();
        assert!(!self.0.exists());
        assert!(self.0.places().iter().all(|place| !place.directory.exists()));
        start.elapsed()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.remove();
    }
}

fn group(path: &str) -> Group {
    Cgroups::detect().unwrap().group(path)
}

#[test]
fn privileged_groups_deeper_than_a_path_is_long_are_removed() {
    let Some(own) = Own::make("deep") else { return };
    let place = own.0.places()[0].clone();
    // Made as somebody inside would: one step at a time, from where one is.
    let script =
        "cd \"$1\"; i=0; while [ $i -lt 60 ]; do mkdir $2 && cd -P $2 || exit 1; i=$((i+1)); done";
    let name = "a".repeat(120);
    let status = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(&place.directory)
        .arg(&name)
        .status()
        .unwrap();
    assert!(status.success());
    own.end();
}

#[test]
fn privileged_frozen_groups_beneath_end_too() {
    let Some(own) = Own::make("frozen") else { return };
    let (warm, cold) = (own.below("a/x"), own.below("a/b"));
    let mut processes = [warm.sleeper(), cold.sleeper()];
    cold.0.freeze().unwrap();
    assert!(cold.0.is_frozen() && !warm.0.is_frozen());
    assert_eq!(own.0.processes().len(), 2);
    // Killed processes that nobody reaps are in no group's way.
    assert!(own.end() < Duration::from_secs(5));
    processes.iter_mut().for_each(|process| assert!(!process.wait().unwrap().success()));
}

#[test]
fn privileged_threaded_groups_are_listed_killed_and_removed() {
    let Some(own) = Own::make("threaded") else { return };
    if !own.0.is_version_2() {
        // Version 1 has threads in groups by `tasks`; its groups have no kind.
        return;
    }
    let mut child = own.sleeper();
    let threaded = own.below("t");
    fs::write(threaded.0.unified().unwrap().join("cgroup.type"), "threaded").unwrap();
    assert_eq!(
        (own.0.kind().as_str(), threaded.0.kind().as_str()),
        ("domain threaded", "threaded")
    );
    fs::write(threaded.0.unified().unwrap().join("cgroup.threads"), child.id().to_string())
        .unwrap();
    assert_eq!(own.0.processes().len(), 1);
    assert_eq!(threaded.0.processes()[0].as_raw_nonzero().get().unsigned_abs(), child.id());
    own.end();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn privileged_what_keeps_a_controller_away_is_named() {
    let Some(mut bench) = Bench::new("away", &["true"]) else { return };
    let Some(own) = Own::make("away") else { return };
    if !own.0.is_version_2() || systemd() {
        // Version 1 has no such rule, and a scope's place is systemd's.
        return;
    }
    bench.spec["linux"]["cgroupsPath"] = json!(format!("{}/x", own.path()));
    bench.spec["linux"]["resources"] = json!({ "memory": { "limit": 67_108_864 } });
    let mut child = own.sleeper();
    assert_eq!(bench.create(&[]).status.code(), Some(1));
    let busy = format!("{}` holds processes itself", own.path());
    assert!(bench.log().contains(&busy), "{}", bench.log());
    let words = "with domain controllers -- it is in an invalid state";
    assert!(bench.log().contains(words), "{}", bench.log());
    assert!(!own.0.unified().unwrap().join("x").exists());
    // Without a limit there is nothing to want.
    bench.spec["linux"]["resources"] = json!({});
    assert_eq!(bench.foreground().0, 0);

    let threaded = own.below("t");
    fs::write(threaded.0.unified().unwrap().join("cgroup.type"), "threaded").unwrap();
    bench.spec["linux"]["cgroupsPath"] = json!(format!("{}/x", threaded.path()));
    bench.spec["linux"]["resources"] = json!({ "memory": { "limit": 67_108_864 } });
    assert_eq!(bench.create(&[]).status.code(), Some(1));
    assert_eq!(bench.log().matches(words).count(), 2, "{}", bench.log());
    bench.spec["linux"]["resources"] = json!({ "pids": { "limit": 20 } });
    let (code, _, text) = bench.foreground();
    assert_eq!(code, 0, "a limit that threaded groups have: {text}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn privileged_a_group_that_hands_controllers_on_takes_no_process() {
    let Some(mut bench) = Bench::new("closed", &["true"]) else { return };
    let Some(own) = Own::make("closed") else { return };
    if !own.0.is_version_2() || systemd() {
        return;
    }
    let _below = own.below("x");
    bench.spec["linux"]["cgroupsPath"] = json!(own.path());
    assert_eq!(bench.create(&[]).status.code(), Some(1));
    assert!(bench.log().contains("may hold no processes itself"), "{}", bench.log());
}

#[test]
fn privileged_used_and_frozen_groups_are_refused() {
    let Some(mut bench) = Bench::new("used", &["true"]) else { return };
    let Some(own) = Own::make("used") else { return };
    if systemd() {
        return;
    }
    bench.spec["linux"]["cgroupsPath"] = json!(own.path());
    let mut child = own.sleeper();
    assert_eq!(bench.create(&[]).status.code(), Some(1));
    assert!(
        bench.log().contains("container's cgroup is not empty: 1 process(es) found"),
        "{}",
        bench.log()
    );
    child.kill().unwrap();
    child.wait().unwrap();
    own.0.freeze().unwrap();
    assert_eq!(bench.create(&[]).status.code(), Some(1));
    assert!(bench.log().contains("container's cgroup unexpectedly frozen"), "{}", bench.log());
    own.0.thaw().unwrap();
    assert_eq!(bench.foreground().0, 0);
    assert!(!own.0.exists(), "an empty group that was there is the container's, and goes with it");
    // Beneath a frozen group no process would ever run either.
    own.0.create().unwrap();
    own.0.freeze().unwrap();
    bench.spec["linux"]["cgroupsPath"] = json!(format!("{}/x", own.path()));
    assert_eq!(bench.create(&[]).status.code(), Some(1));
    let words = "container's cgroup unexpectedly frozen";
    assert_eq!(bench.log().matches(words).count(), 2, "{}", bench.log());
    assert!(!own.0.places()[0].directory.join("x").exists());
    for path in ["/../x", "a/../../x", ".."] {
        bench.spec["linux"]["cgroupsPath"] = json!(path);
        assert_eq!(bench.create(&[]).status.code(), Some(1), "{path}");
    }
}

#[test]
fn privileged_groups_that_a_container_has_made_go_with_it() {
    let script = "cd /sys/fs/cgroup && test -d freezer && cd freezer; mkdir -p a/b/c && sleep 1000 & \
        sleep 1000 & echo $! > /sys/fs/cgroup/a/b/cgroup.procs; mkdir -p a/b/c; echo ready; exec sleep 1000";
    let Some(mut bench) = Bench::new("maker", &["sh", "-c", script]) else { return };
    for applet in ["test", "mkdir"] {
        bench.applet(applet);
    }
    for mount in bench.spec["mounts"].as_array_mut().unwrap() {
        if mount["type"] == "cgroup" {
            mount["options"] = json!(["rw"]);
        }
    }
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    bench.wait_for("group", || bench.output().contains("ready"));
    assert!(bench.run(&["pause", &bench.id]).status.success());
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_exec_finds_a_place_beside_a_service_manager() {
    // What systemd does in a container: move beneath, and hand the controllers on.
    let script = "cd /sys/fs/cgroup; mkdir init; echo 1 > init/cgroup.procs; \
        echo +memory > cgroup.subtree_control; echo ready; exec sleep 1000";
    let Some(mut bench) = Bench::new("manager", &["sh", "-c", script]) else { return };
    bench.applet("mkdir");
    for mount in bench.spec["mounts"].as_array_mut().unwrap() {
        if mount["type"] == "cgroup" {
            mount["options"] = json!(["rw"]);
        }
    }
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    bench.wait_for("group", || bench.output().contains("ready"));
    let inside = bench.run(&["exec", &bench.id, "cat", "/proc/self/cgroup"]);
    let text = String::from_utf8_lossy(&inside.stdout).into_owned();
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stderr));
    if bench.group().is_version_2() {
        assert_eq!(text, "0::/init\n");
    }
}

#[test]
fn privileged_a_writable_group_is_given_to_the_containers_user() {
    let Some(mut bench) = Bench::new("given", &["sleep", "1000"]) else { return };
    for mount in bench.spec["mounts"].as_array_mut().unwrap() {
        if mount["type"] == "cgroup" {
            mount["options"] = json!(["rw"]);
        }
    }
    bench.spec["process"]["user"] = json!({ "uid": 1234, "gid": 0 });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let group = bench.group();
    let owner = |path: PathBuf| fs::metadata(path).unwrap().uid();
    let directory = group.unified().map(PathBuf::from);
    if let Some(directory) = directory.filter(|_| group.is_version_2()) {
        assert_eq!(owner(directory.clone()), 1234);
        assert_eq!(owner(directory.join("cgroup.procs")), 1234);
        assert_eq!(owner(directory.join("memory.max")), 0, "the limits are not the container's");
    } else {
        assert!(group.places().iter().all(|place| owner(place.directory.clone()) == 0));
    }
}

#[test]
fn privileged_groups_above_are_made_and_stay() {
    let Some(mut bench) = Bench::new("above", &["true"]) else { return };
    let top = format!("belljar-test-above-{}", std::process::id());
    let (path, stays) = match systemd() {
        true => ("belljartest-above.slice:belljar-test:x".to_owned(), None),
        false => (format!("/{top}/a/x"), Some(format!("/{top}"))),
    };
    bench.spec["linux"]["cgroupsPath"] = json!(path);
    bench.spec["process"]["args"] = json!(["sleep", "1000"]);
    bench.spec["linux"]["resources"] = json!({ "pids": { "limit": 20 } });
    assert!(bench.create(&[]).status.success(), "{}", bench.log());
    let text = fs::read_to_string(format!("/proc/{}/cgroup", bench.state()["pid"])).unwrap();
    let want = match systemd() {
        true => "/belljartest.slice/belljartest-above.slice/belljar-test-x.scope".to_owned(),
        false => format!("/{top}/a/x"),
    };
    assert!(text.lines().any(|line| line.ends_with(&want)), "{text}");
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    if let Some(stays) = stays {
        let above = Own(group(&stays));
        assert!(above.0.exists() && !group(&want).exists());
    }
}
