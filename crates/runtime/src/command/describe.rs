//! `--version`, `features` and `spec`.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use types::oci::runtime::SPEC_VERSION;

use super::Globals;
use crate::args::{Opt, Parsed, switch, valued};
use crate::error::{Error, Result, step};
use crate::sink;

/// The options of `spec`.
pub(super) const SPEC_OPTIONS: &[Opt] = &[
    valued("bundle", 'b', "the directory to write into (default: the current one)"),
    switch("rootless", '\0', "write an example for a user without privileges"),
];

/// What `--version` prints; engines read the line `spec:`.
pub(super) fn version(program: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("BELLJAR_COMMIT").unwrap_or(version);
    format!("{program} version {version}+belljar\ncommit: {commit}\nspec: {SPEC_VERSION}\n")
}

/// Prints what this runtime can do (OCI runtime-spec features.md).
pub(super) fn features(_: &Globals, _: &Parsed) -> Result<u8> {
    let document = crate::features::document();
    sink::out(&format!("{}\n", serde_json::to_string_pretty(&document).unwrap_or_default()));
    Ok(0)
}

/// Writes an example configuration into the bundle.
pub(super) fn spec(_: &Globals, parsed: &Parsed) -> Result<u8> {
    let path = Path::new(parsed.text("bundle").unwrap_or(".")).join("config.json");
    let text = tabbed(&example(parsed.is_on("rootless")));
    match File::create_new(&path).and_then(|mut file| file.write_all(&text)) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(Error::State("File config.json exists. Remove it first".into()))
        }
        other => other.map(|()| 0).map_err(step(format!("write `{}`", path.display()))),
    }
}

/// The document with tabs, as runc writes it.
fn tabbed(document: &Value) -> Vec<u8> {
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let _ = document.serialize(&mut serializer);
    text
}

fn example(rootless: bool) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut document = json!({
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "belljar",
        "mounts": mounts(rootless),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let namespaces = document["linux"]["namespaces"].as_array_mut();
        namespaces.expect("written above").push(json!({ "type": "cgroup" }));
    }
    if rootless {
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        document["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
        document["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
        document["linux"]["resources"] = Value::Null;
        document["linux"]["namespaces"] = json!([
            { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
            { "type": "user" },
        ]);
    }
    document
}

fn mounts(rootless: bool) -> Value {
    let devpts: &[&str] = if rootless {
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    } else {
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    };
    let sys = if rootless {
        json!({ "destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] })
    } else {
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] })
    };
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": devpts },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
        sys,
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
          "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_valid() {
        for rootless in [false, true] {
            let text = example(rootless).to_string();
            crate::config::parse(text.as_bytes()).unwrap();
        }
    }
}
