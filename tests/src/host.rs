//! The host's kernel, as the tests ask it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Returns the inode text of one namespace of a process, for instance `pid:[4026531836]`.
#[must_use]
pub fn namespace(pid: &str, kind: &str) -> String {
    let path = format!("/proc/{pid}/ns/{kind}");
    fs::read_link(&path).unwrap_or_else(|e| panic!("{path}: {e}")).to_string_lossy().into_owned()
}

/// Returns one field of `/proc/PID/status`.
#[must_use]
pub fn proc_status(pid: &str, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in the status of {pid}")).trim().to_owned()
}

/// Returns the parent of a process.
#[must_use]
pub fn parent_of(pid: &str) -> String {
    proc_status(pid, "PPid")
}

/// Tells whether a process exists and is not a zombie.
#[must_use]
pub fn pid_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| !s.contains("State:\tZ"))
}

/// Lists the children of a process.
#[must_use]
pub fn children_of(pid: &str) -> Vec<String> {
    with_pid(|other| {
        fs::read_to_string(format!("/proc/{other}/status")).is_ok_and(|s| {
            s.lines().any(|l| l.strip_prefix("PPid:").is_some_and(|p| p.trim() == pid))
        })
    })
}

/// Lists the processes for which `wanted` holds.
#[must_use]
pub fn with_pid(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let names = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned());
    names.filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && wanted(n)).collect()
}

/// Lists the control group directories, in every hierarchy, whose path contains `part`.
#[must_use]
pub fn cgroup_dirs(part: &str) -> Vec<PathBuf> {
    fn walk(dir: PathBuf, depth: usize, part: &str, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(&dir) else { return };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                if entry.file_name().to_string_lossy().contains(part) {
                    found.push(entry.path());
                } else if depth > 0 {
                    walk(entry.path(), depth - 1, part, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(PathBuf::from("/sys/fs/cgroup"), 5, part, &mut found);
    found
}

/// Waits until `done` holds; fails the test, naming `what`, after 20 s.
#[track_caller]
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
