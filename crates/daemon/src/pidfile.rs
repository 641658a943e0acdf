//! The file with the daemon's process id: two daemons on one state would destroy it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why the file cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidfileError {
    #[error("ensure that belljard is not running or delete `{}`: process with PID {pid} is still running", path.display())]
    Alive { path: PathBuf, pid: u32 },
    #[error("write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

/// A pid file of this process; removed at the end.
#[derive(Debug)]
pub(crate) struct Pidfile {
    path: PathBuf,
}

impl Pidfile {
    /// Writes this process's id, unless the file names a living daemon.
    pub(crate) fn take(path: &Path) -> Result<Self, PidfileError> {
        if let Some(pid) = owner(path).filter(|&pid| is_daemon(pid)) {
            return Err(PidfileError::Alive { path: path.to_owned(), pid });
        }
        write(path).map_err(|source| PidfileError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if owner(&self.path) == Some(std::process::id()) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn write(path: &Path) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => std::fs::write(path, std::process::id().to_string()),
    }
}

fn owner(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Tells whether `pid` is another process that runs this program: a number alone may have been given to someone else since, and a
/// zombie only waits for its parent.
fn is_daemon(pid: u32) -> bool {
    if pid == std::process::id() {
        return false;
    }
    let state = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc_pid_stat(5): `PID (NAME) STATE …`, and a name may hold parentheses.
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        Some((name.to_owned(), rest.trim_start().chars().next()?))
    };
    let (Some((name, life)), Some((ours, _))) = (state(&pid.to_string()), state("self")) else {
        return false;
    };
    name == ours && !matches!(life, 'Z' | 'X')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_owner_is_replaced_and_the_file_goes_with_us() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/pid");
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(&path, "4194305").unwrap();
        let held = Pidfile::take(&path).unwrap();
        assert_eq!(owner(&path), Some(std::process::id()));
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_zombie_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join(main_comm().unwrap().trim_end());
        std::os::unix::fs::symlink("/bin/sleep", &link).unwrap();
        let mut other = std::process::Command::new(link).arg("20").spawn().unwrap();
        other.kill().unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", other.id())).unwrap();
        while !stat().contains(") Z ") {
            std::thread::yield_now();
        }
        let path = dir.path().join("pid");
        std::fs::write(&path, other.id().to_string()).unwrap();
        let held = Pidfile::take(&path);
        let _ = other.wait();
        assert!(held.is_ok());
    }

    #[test]
    fn a_living_daemon_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        // A process of our own name stands for a second daemon: the kernel names it after the link.
        let me = main_comm().unwrap();
        let link = dir.path().join(me.trim_end());
        std::os::unix::fs::symlink("/bin/sleep", &link).unwrap();
        let mut other = std::process::Command::new(link).arg("20").spawn().unwrap();
        std::fs::write(&path, other.id().to_string()).unwrap();
        let comm = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        while comm(other.id()) != main_comm() {
            std::thread::yield_now();
        }
        let error = Pidfile::take(&path);
        let _ = other.kill();
        let _ = other.wait();
        let text = error.unwrap_err().to_string();
        assert!(
            text.ends_with(&format!("process with PID {} is still running", other.id())),
            "{text}"
        );
    }

    fn main_comm() -> Option<String> {
        std::fs::read_to_string("/proc/self/comm").ok()
    }
}
