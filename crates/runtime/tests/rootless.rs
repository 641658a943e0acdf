//! Containers of users without privileges, and containers with user namespaces.
//!
//! The tests are started as root and run the program as the user `nobody`, who has nothing but what a test gives him.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};

use harness::{Bench, PROGRAM};
use serde_json::{Value, json};
use sys::cgroup::{Cgroups, Mode};

/// `nobody` and `nogroup`: newuidmap(1) wants a user with a name.
const USER: u32 = 65534;

/// Ids that no account of the machine has.
const RANGE: u32 = 1_900_000_000;

/// A bundle, a program and a runtime directory of a user's own.
struct Home {
    bench: Bench,
}

fn own_all(path: &Path) {
    chown(path, Some(USER), Some(USER)).unwrap();
    for entry in fs::read_dir(path).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            own_all(&entry.path());
        } else if !kind.is_symlink() {
            chown(entry.path(), Some(USER), Some(USER)).unwrap();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Home {
    fn new(name: &str, args: &[&str]) -> Option<Self> {
        let mut bench = Bench::new(name, args)?;
        if harness::systemd() {
            testkit::skip(&format!("{name}: a user has a systemd of his own"));
            return None;
        }
        let dir = bench.dir.path().to_owned();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.join("run")).unwrap();
        // By another process: with the file open for writing here, a thread that forks would keep it busy.
        let mut copy = Command::new("cp");
        assert!(copy.arg(PROGRAM).arg(dir.join("program")).status().unwrap().success());
        let linux = &mut bench.spec["linux"];
        linux.as_object_mut().unwrap().remove("cgroupsPath");
        linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        linux["uidMappings"] = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
        linux["gidMappings"] = linux["uidMappings"].clone();
        Some(Self { bench })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.dir.path().join(name)
    }

    fn write(&self) {
        self.bench.write_spec();
        own_all(&self.path("bundle"));
        own_all(&self.path("run"));
    }

    /// A command of another program, as the user.
    fn other(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.uid(USER).gid(USER).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("XDG_RUNTIME_DIR", self.path("run")).current_dir("/").stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.other(self.path("program")).args(words).output().unwrap()
    }

    fn said(&self, words: &[&str]) -> String {
        let output = self.run(words);
        text(&output.stdout) + &text(&output.stderr)
    }

    fn foreground(&self) -> (i32, String, String) {
        self.write();
        let bundle = self.bench.bundle();
        let output = self.run(&["run", "--bundle", bundle.to_str().unwrap(), &self.bench.id]);
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    fn create(&self, command: &mut Command) -> Output {
        self.write();
        let out = fs::File::create(self.path("out")).unwrap();
        command.args(["create", "--bundle"]).arg(self.bench.bundle()).arg(&self.bench.id);
        command.stdout(out.try_clone().unwrap()).stderr(out).output().unwrap()
    }

    fn start(&self, command: &mut Command) {
        assert!(self.create(command).status.success(), "{}", self.bench.output());
        let output = self.run(&["start", &self.bench.id]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&self.run(&["state", &self.bench.id]).stdout).unwrap()
    }

    fn proc_file(&self, name: &str) -> String {
        let file = fs::read_to_string(format!("/proc/{}/{name}", self.state()["pid"])).unwrap();
        file.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
    }

    fn assert_nothing_left(&self) {
        let left = fs::read_dir(self.path("run/belljar-runtime")).map(Iterator::count);
        assert_eq!(left.unwrap_or(0), 0);
        self.bench.assert_nothing_left();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.run(&["delete", "--force", &self.bench.id]);
    }
}

/// The user's lines in `/etc/subuid` and `/etc/subgid`, which go when this is dropped.
struct SubIds {
    before: Vec<(&'static str, Option<Vec<u8>>)>,
    _alone: MutexGuard<'static, ()>,
}

static SUB_IDS: Mutex<()> = Mutex::new(());

impl SubIds {
    fn give(count: u32) -> Self {
        let alone = SUB_IDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = ["/etc/subuid", "/etc/subgid"].map(|path| (path, fs::read(path).ok()));
        for (path, old) in &before {
            let mut new = old.clone().unwrap_or_default();
            new.extend(format!("nobody:{RANGE}:{count}\n").bytes());
            fs::write(path, new).unwrap();
        }
        Self { before: before.into(), _alone: alone }
    }
}

impl Drop for SubIds {
    fn drop(&mut self) {
        for (path, old) in &self.before {
            match old {
                Some(old) => fs::write(path, old).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
    }
}

fn several_ranges() -> Value {
    json!([
        { "containerID": 0, "hostID": USER, "size": 1 },
        { "containerID": 1, "hostID": RANGE, "size": 1000 },
    ])
}

#[test]
fn privileged_a_user_leads_a_container_through_its_life() {
    let Some(home) = Home::new("rootless-life", &["sh", "-c", "echo here; exec sleep 1000"]) else {
        return;
    };
    let id = home.bench.id.clone();
    assert!(
        home.create(&mut home.other(home.path("program"))).status.success(),
        "{}",
        home.bench.output()
    );
    assert_eq!(home.state()["status"], "created");
    let list: Value = serde_json::from_str(&home.said(&["list", "-f", "json"])).unwrap();
    let owner = list[0]["owner"].as_str().unwrap().to_owned();
    assert!(owner == "nobody" || owner == format!("#{USER}"), "{owner}");
    let mode = fs::metadata(home.path("run/belljar-runtime")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o1700, "the sticky bit keeps it from being tidied away");
    assert_eq!(home.proc_file("uid_map"), format!("0 {USER} 1\n"));
    assert_eq!(home.proc_file("gid_map"), format!("0 {USER} 1\n"));
    assert_eq!(home.proc_file("setgroups"), "deny\n");
    let ids = format!("{USER} {USER} {USER} {USER}\n");
    assert!(home.proc_file("status").contains(&format!("Uid: {ids}Gid: {ids}")));
    assert_eq!(home.said(&["exec", &id, "id"]), "uid=0(root) gid=0\n", "before the start");

    assert!(home.run(&["start", &id]).status.success());
    home.bench.wait_for("output", || home.bench.output() == "here\n");
    assert!(home.said(&["exec", &id, "ls", "/proc/1/exe"]).contains("/proc/1/exe"));
    let terminal =
        home.said(&["exec", "-t", &id, "sh", "-c", "stat -c %u $(readlink /proc/self/fd/0)"]);
    assert_eq!(terminal.trim(), "0", "the terminal is the user's");
    assert!(home.said(&["list"]).contains(&id));
    let pids: Vec<u64> = serde_json::from_str(&home.said(&["ps", "-f", "json", &id])).unwrap();
    assert_eq!(Some(pids[0]), home.state()["pid"].as_u64());
    assert!(home.said(&["pause", &id]).contains("cannot toggle freezer: cgroups not configured"));
    let update = home.said(&["update", "--pids-limit", "7", &id]);
    assert!(update.contains("limit: container could not join or create cgroup"), "{update}");
    let events: Value = serde_json::from_str(&home.said(&["events", "--stats", &id])).unwrap();
    assert_eq!(events["type"], "stats");
    assert_eq!(home.run(&["delete", &id]).status.code(), Some(1), "it runs");
    assert!(home.run(&["kill", &id, "KILL"]).status.success());
    home.bench.wait_for("end", || home.state()["status"] == "stopped");
    assert!(home.run(&["delete", &id]).status.success());
    home.assert_nothing_left();
}

#[test]
fn privileged_what_a_user_cannot_have_is_refused_in_runcs_words() {
    let Some(mut home) = Home::new("rootless-refused", &["true"]) else { return };
    let good = home.bench.spec.clone();
    let mut refused = |change: &dyn Fn(&mut Value), words: &[&str]| {
        home.bench.spec = good.clone();
        change(&mut home.bench.spec);
        let (code, _, error) = home.foreground();
        assert_eq!(code, 1);
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
        home.assert_nothing_left();
    };
    let namespaces = |spec: &mut Value| {
        let linux = spec["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        linux["namespaces"].as_array_mut().unwrap().retain(|space| space["type"] != "user");
    };
    refused(&namespaces, &["rootless container requires user namespaces"]);
    refused(
        &|spec| spec["mounts"][2]["options"] = json!(["newinstance", "gid=5"]),
        &["cannot specify gid=5 mount option for rootless container", "no group mapping found"],
    );
    refused(
        &|spec| spec["process"]["user"]["additionalGids"] = json!([5]),
        &["cannot set any additional groups in a rootless container"],
    );
    refused(
        &|spec| spec["process"]["user"]["uid"] = json!(5),
        &["cannot set uid to unmapped user in user namespace"],
    );
    refused(
        &|spec| spec["process"]["oomScoreAdj"] = json!(-900),
        &["set oom_score_adj to -900: permission denied"],
    );
    refused(
        &|spec| spec["linux"]["cgroupsPath"] = json!("/belljar-test-not-allowed"),
        &["unable to apply cgroup configuration", "permission denied"],
    );
    let unified = Cgroups::detect().unwrap().mode() == Mode::Unified;
    let limits = if unified {
        "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"
    } else {
        "cannot set pids limit: container could not join or create cgroup"
    };
    refused(&|spec| spec["linux"]["resources"] = json!({ "pids": { "limit": 9 } }), &[limits]);
}

#[test]
fn privileged_a_user_without_a_runtime_directory_must_name_one() {
    let Some(home) = Home::new("rootless-nowhere", &["true"]) else { return };
    let list = |words: &[&str]| {
        let mut command = home.other(home.path("program"));
        command.env_remove("XDG_RUNTIME_DIR").args(words).output().unwrap()
    };
    let output = list(&["list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("neither --root nor XDG_RUNTIME_DIR is set"));
    assert!(list(&["--root", home.path("run").to_str().unwrap(), "list"]).status.success());
    assert!(list(&["features"]).status.success(), "what needs no containers needs no place");
}

#[test]
fn privileged_several_ranges_are_mapped_by_newuidmap() {
    let Some(mut home) = Home::new("rootless-ranges", &["sh", "-c", "id; sleep 1000"]) else {
        return;
    };
    if !Path::new("/usr/bin/newuidmap").exists() {
        return testkit::skip("rootless-ranges: no newuidmap");
    }
    home.bench.spec["linux"]["uidMappings"] = several_ranges();
    home.bench.spec["linux"]["gidMappings"] = several_ranges();
    home.bench.spec["process"]["user"] = json!({ "uid": 7, "gid": 8, "additionalGids": [9] });
    {
        let _other = SUB_IDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (code, _, error) = home.foreground();
        assert_eq!(code, 1);
        for words in ["run `newuidmap ", "not allowed", "`/etc/subuid`"] {
            assert!(error.contains(words), "{words}: {error}");
        }
        home.assert_nothing_left();
    }
    let _ids = SubIds::give(1000);
    home.start(&mut home.other(home.path("program")));
    let id = home.bench.id.clone();
    home.bench.wait_for("output", || home.bench.output() == "uid=7 gid=8 groups=9\n");
    assert_eq!(home.proc_file("uid_map"), format!("0 {USER} 1\n1 {RANGE} 1000\n"));
    assert_eq!(home.proc_file("setgroups"), "allow\n");
    let outside = RANGE + 6;
    assert!(home.proc_file("status").contains(&format!("Uid: {outside} {outside}")));
    assert_eq!(home.said(&["exec", &id, "id"]), "uid=7 gid=8 groups=9\n");
    assert!(home.said(&["exec", "-u", "0", &id, "id"]).starts_with("uid=0(root) gid=8"));
    assert!(home.run(&["kill", &id, "KILL"]).status.success(), "another user's process");
    home.bench.wait_for("end", || home.state()["status"] == "stopped");
    assert!(home.run(&["delete", &id]).status.success());
    home.assert_nothing_left();
}

#[test]
fn privileged_root_of_a_user_namespace_runs_containers() {
    let script = "id; echo x >/dev/null && ls /proc/1/exe >/dev/null && cat /proc/self/uid_map";
    let Some(mut home) = Home::new("rootless-inside", &["sh", "-c", script]) else { return };
    let linux = home.bench.spec["linux"].as_object_mut().unwrap();
    linux.remove("uidMappings");
    linux.remove("gidMappings");
    linux["namespaces"].as_array_mut().unwrap().retain(|space| space["type"] != "user");
    home.write();
    for flags in ["-Ur", "-Urm"] {
        let mut command = home.other("unshare");
        command.arg(flags).arg(home.path("program")).args(["run", "--bundle"]);
        let output = command.arg(home.bench.bundle()).arg(&home.bench.id).output().unwrap();
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{flags}: {error}");
        let words: Vec<&str> = out.split_whitespace().collect();
        assert_eq!(words, ["uid=0(root)", "gid=0", "0", &USER.to_string(), "1"], "{flags}");
        home.assert_nothing_left();
    }
}

/// CVE-2023-25809.
#[test]
fn privileged_no_cgroup_can_be_written_to_without_a_namespace_of_them() {
    let script = "while read -r a b c root path options more; do case $path in /sys*) echo $path $options;; esac; done </proc/self/mountinfo";
    let Some(mut home) = Home::new("rootless-25809", &["sh", "-c", script]) else { return };
    let spaces = home.bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    spaces.retain(|space| space["type"] != "cgroup" && space["type"] != "network");
    let sys = json!({ "destination": "/sys", "type": "none", "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
    home.bench.spec["mounts"][3] = sys;
    for with_cgroups in [true, false] {
        if with_cgroups {
            home.bench.spec["mounts"][4]["options"] = json!(["rw"]);
        } else {
            home.bench.spec["mounts"].as_array_mut().unwrap().truncate(4);
        }
        let (code, out, error) = home.foreground();
        assert_eq!(code, 0, "{error}");
        let cgroups: Vec<&str> =
            out.lines().filter(|line| line.contains("/sys/fs/cgroup")).collect();
        assert!(!cgroups.is_empty(), "{out}");
        for line in cgroups {
            let (path, options) = line.split_once(' ').unwrap();
            // The directory of the version 1 hierarchies is a tmpfs of the container's own.
            let top = path == "/sys/fs/cgroup" && with_cgroups;
            assert!(options.starts_with("ro") || top, "{line}");
        }
        home.assert_nothing_left();
    }
}

#[test]
fn privileged_a_users_clocks_have_offsets() {
    let Some(mut home) = Home::new("rootless-clocks", &["cat", "/proc/self/timens_offsets"]) else {
        return;
    };
    let spaces = home.bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    spaces.push(json!({ "type": "time" }));
    home.bench.spec["linux"]["timeOffsets"] =
        json!({ "boottime": { "secs": 3600, "nanosecs": 5 } });
    let (code, out, error) = home.foreground();
    assert_eq!(code, 0, "{error}");
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "0", "0", "boottime", "3600", "5"]);
    home.assert_nothing_left();
}

/// CVE-2019-5736 for a program that belongs to the user, who cannot copy its mount.
#[test]
fn privileged_a_users_own_program_is_run_from_a_sealed_copy() {
    let script = "readlink /proc/1/exe; echo x 2>/dev/null >/proc/1/exe || echo refused";
    let Some(mut home) = Home::new("rootless-5736", &["sh", "-c", script]) else { return };
    // The first process of the container is the runtime's file as long as it waits.
    chown(home.path("program"), Some(USER), Some(USER)).unwrap();
    home.bench.spec["process"]["args"] = json!(["sleep", "1000"]);
    assert!(home.create(&mut home.other(home.path("program"))).status.success());
    let id = home.bench.id.clone();
    let exe = fs::read_link(format!("/proc/{}/exe", home.state()["pid"])).unwrap();
    assert!(exe.to_str().unwrap().starts_with("/memfd:belljar-runtime"), "{exe:?}");
    let said = home.said(&["exec", &id, "sh", "-c", script]);
    assert!(said.ends_with("refused\n"), "{said}");
    assert!(home.run(&["delete", "--force", &id]).status.success());
}

#[test]
fn privileged_sysfs_without_a_network_namespace_is_the_hosts() {
    let Some(mut home) = Home::new("rootless-sysfs", &["sh", "-c", "ls /sys/class/net; mount"])
    else {
        return;
    };
    let spaces = home.bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    spaces.retain(|space| space["type"] != "network");
    let (code, out, error) = home.foreground();
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("sysfs on /sys type sysfs (ro"), "{out}");
}

#[test]
fn privileged_a_kill_without_cgroup_and_pid_namespace_warns() {
    let Some(mut home) = Home::new("rootless-kill", &["sleep", "1000"]) else { return };
    let spaces = home.bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    spaces.retain(|space| space["type"] != "pid");
    home.bench.spec["mounts"][0] = json!({ "destination": "/proc", "type": "none", "source": "/proc",
        "options": ["rbind", "nosuid", "nodev", "noexec"] });
    let linux = home.bench.spec["linux"].as_object_mut().unwrap();
    linux.remove("maskedPaths");
    linux.remove("readonlyPaths");
    home.start(&mut home.other(home.path("program")));
    let id = home.bench.id.clone();
    let said = home.said(&["kill", &id, "KILL"]);
    assert!(
        said.contains("failed to kill all processes, possibly due to lack of cgroup"),
        "{said}"
    );
    home.bench.wait_for("end", || home.state()["status"] == "stopped");
    assert!(home.run(&["delete", &id]).status.success());
    home.assert_nothing_left();
}

#[test]
fn privileged_a_cgroup_that_was_given_to_the_user_is_used() {
    let Some(mut home) = Home::new("rootless-given", &["sleep", "1000"]) else { return };
    let group = home.bench.group();
    let made = group.create().unwrap();
    for place in group.places() {
        own_all(&place.directory);
    }
    let unified = Cgroups::detect().unwrap().mode() == Mode::Unified;
    let path = format!("/belljar-test-{}", home.bench.id);
    home.bench.spec["linux"]["resources"] = json!({ "pids": { "limit": 20 } });
    let program = home.path("program");
    let mut command;
    if unified {
        // Who moves a process needs the group above both places.
        let top = group.unified().unwrap();
        fs::create_dir(top.join("caller")).unwrap();
        own_all(top);
        command = Command::new("sh");
        let script = "echo 0 >$0/caller/cgroup.procs; exec \"$@\"";
        command.args(["-c", script]).arg(top).args(["setpriv", "--reuid", "65534"]);
        command.args(["--regid", "65534", "--clear-groups"]).arg(&program);
        command.env("XDG_RUNTIME_DIR", home.path("run"));
    } else {
        home.bench.spec["linux"]["cgroupsPath"] = json!(path);
        command = home.other(&program);
    }
    home.start(&mut command);
    let id = home.bench.id.clone();
    let cgroups = home.proc_file("cgroup");
    let want = if unified { format!("{path}/{id}\n") } else { format!("pids:{path}\n") };
    assert!(cgroups.contains(&want), "{cgroups}");
    let mut inside = group.directory("pids").unwrap().to_owned();
    if unified {
        inside.push(&id);
    }
    assert_eq!(fs::read_to_string(inside.join("pids.max")).unwrap(), "20\n");
    assert!(home.run(&["update", "--pids-limit", "21", &id]).status.success());
    assert_eq!(fs::read_to_string(inside.join("pids.max")).unwrap(), "21\n");
    let events = home.said(&["events", "--stats", &id]);
    assert!(events.contains("\"limit\":21"), "{events}");
    assert!(home.run(&["pause", &id]).status.success());
    assert_eq!(home.state()["status"], "paused");
    assert!(home.run(&["resume", &id]).status.success());
    let pids: Vec<u64> = serde_json::from_str(&home.said(&["ps", "-f", "json", &id])).unwrap();
    assert_eq!(pids.len(), 1);
    let deleted = home.run(&["delete", "--force", &id]);
    assert!(deleted.status.success(), "{}", text(&deleted.stderr));
    let caller = group.unified().map(|top| top.join("caller"));
    let _ = caller.map(fs::remove_dir);
    made.undo();
    home.assert_nothing_left();
}

/// The systemd of the user, as long as this lives.
struct UserManager;

impl UserManager {
    fn unit(verb: &str) -> bool {
        let mut command = Command::new("systemctl");
        command.args([verb, &format!("user@{USER}.service")]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for UserManager {
    fn drop(&mut self) {
        Self::unit("stop");
    }
}

#[test]
fn privileged_a_users_own_systemd_makes_the_scope() {
    let Some(mut home) = Home::new("rootless-systemd", &["sleep", "1000"]) else { return };
    if !Path::new("/run/systemd/private").exists() || !UserManager::unit("start") {
        return testkit::skip("rootless-systemd: no systemd for the user");
    }
    let manager = UserManager;
    let id = home.bench.id.clone();
    home.bench.spec["linux"]["resources"] = json!({ "pids": { "limit": 33 } });
    let runtime = format!("/run/user/{USER}");
    let user = |words: &[&str]| {
        let mut command = home.other(words[0]);
        command.env("XDG_RUNTIME_DIR", &runtime).args(&words[1..]);
        command
    };
    let program = home.path("program");
    let program = [program.to_str().unwrap(), "--systemd-cgroup"];
    let mut create = user(&["systemd-run", "--user", "--scope", "-q", program[0], program[1]]);
    assert!(home.create(&mut create).status.success(), "{}", home.bench.output());
    let state = user(&[program[0], "state", &id]).output().unwrap();
    let state: Value = serde_json::from_slice(&state.stdout).unwrap();
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).unwrap();
    let want = format!("/user@{USER}.service/user.slice/runc-{id}.scope\n");
    assert!(cgroup.ends_with(&want), "{cgroup}");
    let unit = format!("runc-{id}.scope");
    let show = user(&["systemctl", "--user", "show", &unit, "-p", "TasksMax"]).output().unwrap();
    assert_eq!(text(&show.stdout), "TasksMax=33\n", "{}", text(&show.stderr));
    let deleted = user(&[program[0], program[1], "delete", "--force", &id]).output().unwrap();
    assert!(deleted.status.success(), "{}", text(&deleted.stderr));
    drop(manager);
}
