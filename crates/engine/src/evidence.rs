//! What the kernel says about a container's life and death: start times, cgroup counters.
//!
//! The cgroup's last words are read before the cgroup is removed, or nobody ever knows (that order is the whole point).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::view::DeathView;

/// Start time of a process, in clock ticks since boot: the 22nd field of `/proc/PID/stat` (proc_pid_stat(5)).
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether this very process lives (and is no zombie).
pub(crate) fn lives(pid: u32, started: u64) -> bool {
    pid != 0 && start_time(pid) == Some(started) && !is_zombie(pid)
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
        })
        .unwrap_or(true)
}

/// Directories of a process's cgroup by controller; `""` is the v2 hierarchy.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Cgroup {
    by_controller: HashMap<String, PathBuf>,
    /// The path as in `/proc/PID/cgroup`.
    pub(crate) path: String,
}

impl Cgroup {
    /// Looks up the cgroup of a process.
    pub(crate) fn of(pid: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let mounts = mounts();
        let mut found = Self::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            for controller in controllers.split(',') {
                if let Some(dir) = mounts.get(controller) {
                    let inside = path.strip_prefix(dir.root.as_str()).unwrap_or(path);
                    let directory = dir.point.join(inside.trim_start_matches('/'));
                    found.by_controller.insert(controller.to_owned(), directory);
                }
            }
            if controllers.is_empty() || controllers == "memory" || found.path.is_empty() {
                path.clone_into(&mut found.path);
            }
        }
        found
    }

    /// The directory of a controller: its own hierarchy (v1) or the common one (v2).
    pub(crate) fn directory(&self, controller: &str) -> Option<&Path> {
        self.by_controller
            .get(controller)
            .or_else(|| self.by_controller.get(""))
            .map(PathBuf::as_path)
    }

    fn v1(&self, controller: &str) -> Option<&Path> {
        self.by_controller.get(controller).map(PathBuf::as_path)
    }

    /// Processes of the container killed by an OOM killer so far.
    pub(crate) fn oom_kills(&self) -> u64 {
        match self.v1("memory") {
            Some(dir) => keyed(&dir.join("memory.oom_control"), "oom_kill"),
            None => {
                self.directory("").and_then(|dir| keyed(&dir.join("memory.events"), "oom_kill"))
            }
        }
        .unwrap_or(0)
    }

    /// Everything worth keeping before the cgroup is removed.
    pub(crate) fn last_words(&self) -> DeathView {
        let v1 = self.v1("memory");
        let v2 = self.by_controller.get("");
        let cpu_ns = match self.v1("cpuacct") {
            Some(dir) => number(&dir.join("cpuacct.usage")),
            None => v2
                .and_then(|dir| keyed(&dir.join("cpu.stat"), "usage_usec"))
                .map(|usec| usec.saturating_mul(1000)),
        };
        let peak_memory_bytes = match v1 {
            Some(dir) => number(&dir.join("memory.max_usage_in_bytes")),
            None => v2.and_then(|dir| number(&dir.join("memory.peak"))),
        };
        let own_limit_hits = match v1 {
            Some(_) => None,
            None => v2.and_then(|dir| keyed(&dir.join("memory.events"), "oom")),
        };
        DeathView {
            oom_kills: self.oom_kills(),
            own_limit_hits,
            cpu_ns,
            peak_memory_bytes,
            ..DeathView::default()
        }
    }
}

struct Hierarchy {
    point: PathBuf,
    /// Which part of the hierarchy is mounted there.
    root: String,
}

/// Where the hierarchies are mounted, by controller (proc_pid_mountinfo(5)).
fn mounts() -> HashMap<String, Hierarchy> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = HashMap::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (mut left, mut right) = (left.split(' '), right.split(' '));
        let (Some(root), Some(point)) = (left.nth(3), left.next()) else { continue };
        let (Some(kind), Some(options)) = (right.next(), right.nth(1)) else { continue };
        let root = if root == "/" { "" } else { root };
        let entry = || Hierarchy { point: PathBuf::from(point), root: root.to_owned() };
        match kind {
            "cgroup2" => {
                found.entry(String::new()).or_insert_with(entry);
            }
            "cgroup" => {
                for option in options.split(',') {
                    found.entry(option.to_owned()).or_insert_with(entry);
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether the host's memory controller is in the v2 hierarchy.
pub(crate) fn is_unified() -> bool {
    fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn keyed(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_start_time_is_known_and_guards() {
        let pid = std::process::id();
        let started = start_time(pid).unwrap();
        assert!(lives(pid, started));
        assert!(!lives(pid, started + 1), "another process with this number");
        assert!(!lives(0, 0));
    }

    #[test]
    fn a_zombie_does_not_live() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let started = start_time(child.id()).unwrap();
        for _ in 0..500 {
            if is_zombie(child.id()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(!lives(child.id(), started));
        child.wait().unwrap();
    }

    #[test]
    fn keyed_files_are_read_by_whole_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.events");
        fs::write(&path, "low 0\noom 3\noom_kill 2\noom_group_kill 0\n").unwrap();
        assert_eq!(keyed(&path, "oom"), Some(3));
        assert_eq!(keyed(&path, "oom_kill"), Some(2));
        assert_eq!(keyed(&path, "max"), None);
    }
}
