//! What every privileged test of the runtime shares: a bundle from a busybox, a private `--root`, and commands to it.
//!
//! ```ignore
//! mod harness;
//! let Some(mut bench) = Bench::new("name", &["sh", "-c", "echo hello"]) else { return };
//! bench.spec["process"]["cwd"] = json!("/tmp");
//! let (code, out, err) = bench.foreground();
//! bench.assert_nothing_left();
//! ```
//!
//! The tests need root, cgroups that can be written, and a static busybox. Where one of these is missing [`Bench::new`] says so
//! through `testkit::skip`; whoever counts tests counts those lines.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]
#![allow(unreachable_pub, reason = "the module is included by several binaries")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sys::cgroup::Cgroups;
use tempfile::TempDir;

/// The program under test: the one that cargo has built, or that of `BELLJAR_RUNTIME` where the tests run on another machine.
pub const PROGRAM: Program = Program;

/// A path that is known when the tests run.
#[derive(Clone, Copy, Debug)]
pub struct Program;

impl Program {
    fn path(self) -> &'static str {
        static PATH: OnceLock<String> = OnceLock::new();
        PATH.get_or_init(|| {
            std::env::var("BELLJAR_RUNTIME")
                .unwrap_or_else(|_| env!("CARGO_BIN_EXE_belljar-runtime").to_owned())
        })
    }
}

impl AsRef<OsStr> for Program {
    fn as_ref(&self) -> &OsStr {
        self.path().as_ref()
    }
}

impl AsRef<Path> for Program {
    fn as_ref(&self) -> &Path {
        self.path().as_ref()
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.path())
    }
}

/// Tells whether the tests run through the systemd driver: `BELLJAR_TEST_DRIVER=systemd`.
pub fn systemd() -> bool {
    std::env::var("BELLJAR_TEST_DRIVER").is_ok_and(|driver| driver == "systemd")
}

/// The `cgroupsPath` of a container with this id, in the form of the driver.
pub fn cgroups_path(id: &str) -> String {
    if systemd() {
        format!("system.slice:belljar-test:{id}")
    } else {
        format!("/belljar-test-{id}")
    }
}

/// What busybox is called as inside; [`Bench::applet`] adds more.
const APPLETS: [&str; 10] =
    ["sh", "sleep", "true", "cat", "id", "ls", "kill", "stat", "mount", "readlink"];

/// Finds a static busybox on the host.
pub fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

/// Tells why the tests cannot run here.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".into());
    }
    let Ok(cgroups) = Cgroups::detect() else { return Some("no cgroups".into()) };
    let probe = cgroups.group(&format!("/belljar-test-probe-{}", std::process::id()));
    match probe.create() {
        Ok(made) => made.undo(),
        Err(error) => return Some(format!("cgroups cannot be made: {error}")),
    }
    busybox().is_none().then(|| "no busybox".to_owned())
}

/// A bundle, a root directory for the runtime, and a name for a container; everything goes when it is dropped.
pub struct Bench {
    /// Holds `bundle/`, `root/`, and after [`Bench::create`] `out` and `log`.
    pub dir: TempDir,
    /// The container's id: the name given and the pid of the test.
    pub id: String,
    /// The `config.json`, written down anew by [`Bench::create`] and [`Bench::foreground`].
    pub spec: Value,
}

impl Bench {
    /// Makes the bundle, with `args` as the program. `None`, with a line that says so, where privileged tests cannot run.
    pub fn new(name: &str, args: &[&str]) -> Option<Self> {
        if let Some(why) = missing() {
            testkit::skip(&format!("{name}: {why}"));
            return None;
        }
        let dir = tempfile::Builder::new().prefix("belljar-runtime-").tempdir().unwrap();
        let rootfs = dir.path().join("bundle/rootfs");
        for directory in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
            fs::create_dir_all(rootfs.join(directory)).unwrap();
        }
        fs::copy(busybox().unwrap(), rootfs.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        let id = format!("{name}-{}", std::process::id());
        let spec = spec(args, &cgroups_path(&id));
        Some(Self { dir, id, spec })
    }

    /// Where `config.json` and `rootfs/` are.
    pub fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    /// The runtime's `--root`.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Writes the document into the bundle.
    pub fn write_spec(&self) {
        fs::write(self.bundle().join("config.json"), self.spec.to_string()).unwrap();
    }

    /// A command of the runtime with this `--root` and an empty standard input.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--root").arg(self.root());
        command.args(systemd().then_some("--systemd-cgroup"));
        command.args(words).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Writes the document and runs `create` (with `more` words) with the standard output of the container in a file, since pipes would be kept open by it.
    pub fn create(&self, more: &[&str]) -> Output {
        self.write_spec();
        let out = fs::File::create(self.dir.path().join("out")).unwrap();
        let log = self.dir.path().join("log");
        let mut command = Command::new(PROGRAM);
        command.arg("--root").arg(self.root()).arg("--log").arg(&log);
        command.args(systemd().then_some("--systemd-cgroup"));
        command.args(["--log-format", "json", "create"]).args(more);
        command.arg("--bundle").arg(self.bundle()).arg(&self.id);
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        command.output().unwrap()
    }

    /// What the container created by [`Bench::create`] has written so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).unwrap()
    }

    /// The `--log` of [`Bench::create`].
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The answer of `state`.
    pub fn state(&self) -> Value {
        let output = self.run(&["state", &self.id]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits up to 20 s.
    pub fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(20), "no {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a status in the answer of `state`.
    pub fn wait_for_status(&self, status: &str) {
        self.wait_for(status, || self.state()["status"] == status);
    }

    /// Adds one more name for busybox to the root file system.
    pub fn applet(&self, name: &str) {
        symlink("busybox", self.rootfs().join("bin").join(name)).unwrap();
    }

    /// The container's root file system, seen from the host.
    pub fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// Adds one entry to `mounts`.
    pub fn add_mount(&mut self, mount: Value) {
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
    }

    /// The container's cgroup.
    pub fn group(&self) -> sys::cgroup::Group {
        let path = match systemd() {
            true => format!("/system.slice/belljar-test-{}.scope", self.id),
            false => format!("/belljar-test-{}", self.id),
        };
        Cgroups::detect().unwrap().group(&path)
    }

    /// Writes the document, runs the whole container in the foreground and returns its code and output.
    pub fn foreground(&self) -> (i32, String, String) {
        self.write_spec();
        let output = self.run(&["run", "--bundle", self.bundle().to_str().unwrap(), &self.id]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// Stops the test if a cgroup, a mount or a file in the root directory is left.
    pub fn assert_nothing_left(&self) {
        assert!(!self.group().exists(), "the cgroup is left");
        let left = fs::read_dir(self.root()).map(Iterator::count).unwrap_or(0);
        assert_eq!(left, 0, "the root directory is not empty");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let path = self.dir.path().to_str().unwrap();
        assert!(!mounts.contains(path), "a mount is left");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.run(&["delete", "--force", &self.id]);
    }
}

/// The document that [`Bench::new`] starts from.
pub fn spec(args: &[&str], cgroup: &str) -> Value {
    let capabilities = json!(["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]);
    json!({
        "ociVersion": "1.2.1",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "root": { "path": "rootfs" },
        "hostname": "inside",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] },
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "cgroup" },
            ],
            "maskedPaths": ["/proc/keys", "/proc/timer_list", "/proc/kcore", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
