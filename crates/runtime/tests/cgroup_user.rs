//! The systemd driver for a user, and where there is no systemd.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use harness::{Bench, PROGRAM, systemd};
use serde_json::json;

/// A user with a systemd of his own; only in a guest, which forgets him.
struct User {
    id: u32,
}

impl User {
    fn make() -> Self {
        let name = "belljar-test";
        assert!(Command::new("useradd").args(["-m", name]).status().unwrap().success());
        let linger = Command::new("loginctl").args(["enable-linger", name]).status().unwrap();
        assert!(linger.success());
        let id = Command::new("id").args(["-u", name]).output().unwrap();
        Self { id: String::from_utf8_lossy(&id.stdout).trim().parse().unwrap() }
    }

    fn directory(&self) -> PathBuf {
        Path::new("/run/user").join(self.id.to_string())
    }

    /// Runs a program as the user, from the group of the test, which is not one of the user's. What it says of errors goes into a file,
    /// since a container would keep a pipe open.
    fn run(&self, program: &str, words: &[&str], out: Stdio, errors: &Path) -> Output {
        let id = self.id.to_string();
        Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", program])
            .args(words)
            .env("XDG_RUNTIME_DIR", self.directory())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(fs::File::create(errors).unwrap())
            .output()
            .unwrap()
    }
}

#[test]
fn privileged_a_users_container_is_a_scope_of_his_systemd() {
    let Some(mut bench) = Bench::new("user", &["sleep", "1000"]) else { return };
    if !systemd() {
        if !Path::new("/run/systemd/system").exists() {
            bench.spec["linux"]["cgroupsPath"] = json!("system.slice:belljar-test:x");
            bench.write_spec();
            let bundle = bench.bundle();
            let words =
                ["--systemd-cgroup", "create", "--bundle", bundle.to_str().unwrap(), &bench.id];
            let text = String::from_utf8_lossy(&bench.run(&words).stderr).into_owned();
            assert!(text.contains("start the unit `belljar-test-x.scope`"), "{text}");
            bench.assert_nothing_left();
        }
        return;
    }
    let user = User::make();
    bench.wait_for("user's systemd", || user.directory().join("systemd/private").exists());
    let map = json!([{ "containerID": 0, "hostID": user.id, "size": 1 }]);
    let linux = &mut bench.spec["linux"];
    linux["uidMappings"] = map.clone();
    linux["gidMappings"] = map;
    linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    linux["cgroupsPath"] = json!(format!(":belljar-test:{}", bench.id));
    linux["resources"] = json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 20 } });
    bench.write_spec();
    for directory in [bench.dir.path().to_owned(), bench.bundle()] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let program = PROGRAM.to_string();
    let (root, bundle) = (bench.root(), bench.bundle());
    let root = root.to_str().unwrap();
    let errors = bench.dir.path().join("errors");
    let act = |words: &[&str], out: Stdio| {
        let words = [&["--systemd-cgroup", "--root", root], words].concat();
        let output = user.run(&program, &words, out, &errors);
        let text = fs::read_to_string(&errors);
        assert!(output.status.success(), "{words:?}: {text:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    act(&["create", "--bundle", bundle.to_str().unwrap(), &bench.id], Stdio::null());
    act(&["start", &bench.id], Stdio::null());
    let state: serde_json::Value =
        serde_json::from_str(&act(&["state", &bench.id], Stdio::piped())).unwrap();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).unwrap();
    let unit = format!("belljar-test-{}.scope", bench.id);
    let want = format!("/user@{}.service/user.slice/{unit}", user.id);
    assert!(text.trim_end().ends_with(&want), "{text}");
    let directory = format!("/sys/fs/cgroup{}", text.trim_end().trim_start_matches("0::"));
    let value = |file: &str| fs::read_to_string(format!("{directory}/{file}")).unwrap();
    assert_eq!((value("memory.max").trim(), value("pids.max").trim()), ("67108864", "20"));
    let inside = act(&["exec", &bench.id, "cat", "/proc/self/cgroup"], Stdio::piped());
    assert_eq!(inside, "0::/\n");
    act(&["update", "--memory", "32m", &bench.id], Stdio::null());
    assert_eq!(value("memory.max").trim(), "33554432");
    let shown = user.run(
        "systemctl",
        &["--user", "show", "-P", "MemoryMax", &unit],
        Stdio::piped(),
        &errors,
    );
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "33554432");
    act(&["delete", "--force", &bench.id], Stdio::null());
    assert!(!Path::new(&directory).exists());
}
