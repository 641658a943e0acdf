//! What `info` and `version` say about the machine; read once, but for what changes.

use std::fs;

/// Facts about this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// `uname -r`.
    pub(crate) kernel: String,
    /// `uname -m`.
    pub(crate) machine: String,
    /// `PRETTY_NAME` of os-release(5).
    pub(crate) system: String,
    /// `VERSION_ID` of os-release(5).
    pub(crate) system_version: String,
    /// CPUs this process may run on.
    pub(crate) cpus: u64,
    /// Bytes.
    pub(crate) memory_bytes: u64,
    /// `1` or `2`.
    pub(crate) cgroup_version: &'static str,
    /// Which limits the kernel can set.
    pub(crate) limits: Limits,
    /// Modules that confine containers.
    pub(crate) security: Vec<String>,
}

/// Which limits the kernel can set.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts that `info` shows one by one")]
pub(crate) struct Limits {
    pub(crate) memory: bool,
    pub(crate) swap: bool,
    pub(crate) cpu_quota: bool,
    pub(crate) cpu_shares: bool,
    pub(crate) cpuset: bool,
    pub(crate) pids: bool,
    pub(crate) oom_kill_disable: bool,
}

impl Host {
    /// Looks.
    pub(crate) fn read() -> Self {
        let name = rustix::system::uname();
        let release = text("/etc/os-release");
        let unified = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
        Self {
            kernel: name.release().to_string_lossy().into_owned(),
            machine: name.machine().to_string_lossy().into_owned(),
            system: release_field(&release, "PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
            system_version: release_field(&release, "VERSION_ID").unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            memory_bytes: meminfo_bytes(&text("/proc/meminfo"), "MemTotal"),
            cgroup_version: if unified { "2" } else { "1" },
            limits: if unified { Limits::unified() } else { Limits::hierarchies() },
            security: security_modules(),
        }
    }

    /// The host name now.
    pub(crate) fn name() -> String {
        text("/proc/sys/kernel/hostname").trim().to_owned()
    }

    /// Whether packets are forwarded now.
    pub(crate) fn forwards_ipv4() -> bool {
        text("/proc/sys/net/ipv4/ip_forward").trim() == "1"
    }

    /// Go's name of the architecture.
    pub(crate) fn go_arch() -> &'static str {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        }
    }
}

impl Limits {
    /// cgroup v2: what the root's controllers are.
    fn unified() -> Self {
        let controllers = text("/sys/fs/cgroup/cgroup.controllers");
        let has = |name: &str| controllers.split_whitespace().any(|c| c == name);
        Self {
            memory: has("memory"),
            swap: has("memory"),
            cpu_quota: has("cpu"),
            cpu_shares: has("cpu"),
            cpuset: has("cpuset"),
            pids: has("pids"),
            oom_kill_disable: false,
        }
    }

    /// cgroup v1: the files that each hierarchy has.
    fn hierarchies() -> Self {
        let mounts = text("/proc/self/mountinfo");
        let root = |controller: &str| {
            mounts.lines().find_map(|line| {
                let (left, right) = line.split_once(" - ")?;
                let mut right = right.split(' ');
                let options = (right.next()? == "cgroup").then(|| right.nth(1))??;
                options.split(',').any(|o| o == controller).then(|| left.split(' ').nth(4))?
            })
        };
        let has = |controller: &str, file: &str| {
            root(controller).is_some_and(|dir| fs::metadata(format!("{dir}/{file}")).is_ok())
        };
        Self {
            memory: has("memory", "memory.limit_in_bytes"),
            swap: has("memory", "memory.memsw.limit_in_bytes"),
            cpu_quota: has("cpu", "cpu.cfs_quota_us"),
            cpu_shares: has("cpu", "cpu.shares"),
            cpuset: has("cpuset", "cpuset.cpus"),
            pids: has("pids", "cgroup.procs"),
            oom_kill_disable: has("memory", "memory.oom_control"),
        }
    }
}

/// Names the file system under `path`: `extfs`, `xfs`, as Docker does.
pub(crate) fn filesystem(path: &std::path::Path) -> String {
    let kind = rustix::fs::statfs(path).map_or(0, |s| u64::try_from(s.f_type).unwrap_or(0));
    let name = match kind {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        _ => "unknown",
    };
    name.to_owned()
}

fn security_modules() -> Vec<String> {
    let mut options = Vec::new();
    if text("/sys/module/apparmor/parameters/enabled").trim() == "Y" {
        options.push("name=apparmor".to_owned());
    }
    options.push("name=seccomp,profile=builtin".to_owned());
    if fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok() {
        options.push("name=cgroupns".to_owned());
    }
    options
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn release_field(release: &str, key: &str) -> Option<String> {
    let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(line.trim().trim_matches(['"', '\'']).to_owned())
}

fn meminfo_bytes(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_from_their_files() {
        let release =
            "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=12\n";
        assert_eq!(
            release_field(release, "PRETTY_NAME").unwrap(),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!(release_field(release, "VERSION_ID").unwrap(), "12");
        assert_eq!(release_field(release, "VERSION"), None);
        assert_eq!(meminfo_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n", "MemTotal"), 16384);
    }

    #[test]
    fn this_machine_has_cpus_and_memory() {
        let host = Host::read();
        assert!(host.cpus > 0 && host.memory_bytes > 0 && !host.kernel.is_empty());
    }
}
