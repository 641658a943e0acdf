//! The bundle of a case: a busybox root file system, a probe that tells what it sees, and a document.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Where a case happens. The same for every runtime, one after the other, so that paths do not differ.
pub struct Site {
    /// Everything lies below.
    pub dir: PathBuf,
    /// The container's id.
    pub id: String,
    /// Its control group.
    pub group: String,
    /// A process with network, IPC and UTS namespaces of its own, to be joined.
    pub other: u32,
}

/// Programs of busybox that probes call.
const APPLETS: &[&str] = &[
    "sh", "sleep", "true", "false", "cat", "id", "ls", "kill", "stat", "mount", "readlink", "env",
    "sort", "hostname", "uname", "mkdir", "mknod", "touch", "head", "grep", "sed", "tty", "stty",
    "wc", "echo", "pwd", "umask", "chown", "dmesg", "unshare",
];

/// Tells what only the inside sees, one fact a line; then waits.
const PROBE: &str = r#"#!/bin/sh
code=$1
say() { k=$1; shift; echo "@$k $*"; }
say pwd "$(pwd)"
say umask "$(umask)"
say hostname "$(hostname)"
say domainname "$(cat /proc/sys/kernel/domainname 2>&1)"
say machine "$(uname -m)"
say id "$(id)"
say tty "$(tty)"
say size "$(stty size 2>&1)"
for f in net/ipv4/ip_forward net/ipv4/ping_group_range net/ipv4/ip_unprivileged_port_start kernel/msgmax kernel/shmmax fs/mqueue/msg_max; do
    say "sysctl $f" "$(cat /proc/sys/$f 2>&1)"
done
say keyring $(grep keyring /proc/keys | grep -o '[^ ]*differential[^ ]*')
for p in / /dev /proc/sys /proc/sysrq-trigger /sys /ro /rw /t /deep /proc/nope; do
    if [ -d $p ]; then touch $p/.w 2>/dev/null && { say "writable $p" yes; rm -f $p/.w 2>/dev/null; } || say "writable $p" no; fi
done
for p in /proc/kcore /proc/keys /proc/timer_list /sys/firmware /masked/file /masked/dir /copied; do
    if [ -d $p ]; then say "list $p" "$(ls $p 2>&1 | wc -l)"; else say "bytes $p" "$(head -c 64 $p 2>/dev/null | wc -c)"; fi
done
for d in 'x c 1 3' 'y c 1 11' 'z b 7 0' 'w c 10 200'; do
    set -- $d; rm -f /dev/$1 2>/dev/null
    if mknod /dev/$1 $2 $3 $4 2>/dev/null; then
        r=no; w=no; (: < /dev/$1) 2>/dev/null && r=yes; (: > /dev/$1) 2>/dev/null && w=yes
        say "device $2-$3:$4" "made read=$r write=$w"
    else say "device $2-$3:$4" refused; fi
    rm -f /dev/$1 2>/dev/null
done
[ -e /mknod-only ] || { mkdir /made 2>/dev/null; say mkdir $?; }
[ -f /etc/extra ] && . /etc/extra
echo READY
[ -n "$code" ] && exit $code
exec sleep 1000
"#;

/// Makes the directory of the bundle anew.
pub fn make(site: &Site, busybox: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(&site.dir);
    let rootfs = site.rootfs();
    for directory in [
        "bin",
        "proc",
        "sys",
        "dev",
        "etc",
        "tmp",
        "root",
        "home/u",
        "ro",
        "rw",
        "t",
        "deep",
        "masked/dir",
        "copied",
    ] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    let template = site.dir.with_extension("busybox");
    if !template.exists() {
        fs::copy(busybox, &template).context("copy busybox")?;
    }
    fs::hard_link(&template, rootfs.join("bin/busybox"))?;
    for applet in APPLETS.iter().chain(&["rm"]) {
        symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    fs::write(
        rootfs.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nu:x:1000:1001::/home/u:/bin/sh\n",
    )?;
    fs::write(rootfs.join("etc/group"), "root:x:0:\ngroup:x:1001:u\nmore:x:55:u\n")?;
    for file in ["masked/file", "masked/dir/file", "copied/file"] {
        fs::write(rootfs.join(file), "content\n")?;
    }
    fs::write(rootfs.join("probe"), PROBE)?;
    fs::write(rootfs.join("plain"), "not a program\n")?;
    fs::set_permissions(rootfs.join("probe"), fs::Permissions::from_mode(0o755))?;
    fs::create_dir_all(rootfs.join("closed"))?;
    fs::set_permissions(rootfs.join("closed"), fs::Permissions::from_mode(0o700))?;
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    for directory in ["source/sub", "hooks", "root"] {
        fs::create_dir_all(site.dir.join(directory))?;
    }
    fs::write(site.dir.join("source/file"), "from the host\n")?;
    // What `hooks` runs, outside and inside: it tells its name, its directory, and the state that it was given.
    let hook = "#!/bin/sh\necho \"$1 cwd=$(pwd) A=$A $(cat)\" >> $2/log\nexit ${3:-0}\n";
    fs::write(site.dir.join("hooks/hook"), hook)?;
    fs::set_permissions(site.dir.join("hooks/hook"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

impl Site {
    /// Returns the root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Returns a path below the directory, as text.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Returns the document that each case changes.
    pub fn spec(&self) -> Value {
        let caps = json!([
            "CAP_CHOWN",
            "CAP_KILL",
            "CAP_SETUID",
            "CAP_SETGID",
            "CAP_MKNOD",
            "CAP_NET_BIND_SERVICE"
        ]);
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/probe"],
                "env": ["PATH=/bin", "A=b"],
                "cwd": "/",
                "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
                "noNewPrivileges": true,
            },
            "root": {"path": "rootfs"},
            "hostname": "inside",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=8m"]},
                {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                    "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
            ],
            "linux": {
                "cgroupsPath": self.group,
                "resources": {"devices": [{"allow": false, "access": "rwm"}]},
                "namespaces": [
                    {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"},
                ],
                "maskedPaths": ["/proc/keys", "/proc/timer_list", "/proc/kcore", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            },
        })
    }
}
