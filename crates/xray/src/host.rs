//! Where the evidence is read: /proc, the cgroups, the kernel log.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::report::{Evidence, Reading};

/// The longest file that is read: what is longer was written by somebody who wants it to be.
const LIMIT: u64 = 4 << 20;

/// A host, given by its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    proc: PathBuf,
    cgroups: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { proc: "/proc".into(), cgroups: "/sys/fs/cgroup".into() }
    }
}

impl Host {
    /// Returns a host whose procfs and cgroups are elsewhere: another mount, or a test's.
    #[must_use]
    pub fn at(proc: impl Into<PathBuf>, cgroups: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), cgroups: cgroups.into() }
    }

    /// Returns a path beneath procfs.
    #[must_use]
    pub fn proc(&self, name: impl AsRef<Path>) -> PathBuf {
        self.proc.join(name)
    }

    /// Returns where the cgroup hierarchies are mounted.
    #[must_use]
    pub fn cgroups(&self) -> &Path {
        &self.cgroups
    }

    /// Reads a file as text, at most 4 MiB.
    ///
    /// # Errors
    /// Those of open(2) and read(2).
    pub fn text(&self, path: impl AsRef<Path>) -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a file as evidence.
    #[must_use]
    pub fn observe(&self, of: &str, path: impl AsRef<Path>) -> Evidence {
        let path = path.as_ref();
        let reading = reading(self.text(path).map(|text| text.trim_end_matches('\n').to_owned()));
        Evidence { of: of.to_owned(), place: path.display().to_string(), reading }
    }

    /// Reads a link as evidence, such as those of /proc/PID/ns.
    #[must_use]
    pub fn observe_link(&self, of: &str, path: impl AsRef<Path>) -> Evidence {
        let path = path.as_ref();
        let reading = reading(fs::read_link(path).map(|to| to.display().to_string()));
        Evidence { of: of.to_owned(), place: path.display().to_string(), reading }
    }

    /// Returns the line of a process's status that begins with `key:`, as evidence.
    #[must_use]
    pub fn observe_status(&self, of: &str, pid: u32, key: &str) -> Evidence {
        let path = self.proc(pid.to_string()).join("status");
        let found = self.text(&path).and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.map(|line| line.trim().to_owned()).ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("this kernel writes no `{key}`"))
            })
        });
        let place = format!("{} ({key})", path.display());
        Evidence { of: of.to_owned(), place, reading: reading(found) }
    }

    /// Lists the processes, in the order of their numbers.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids: Vec<u32> = fs::read_dir(&self.proc)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        Ok(pids)
    }
}

/// An error is a reason, in the words of the kernel.
pub(crate) fn reading(result: io::Result<String>) -> Reading {
    match result {
        Ok(value) => Reading::Value(value),
        Err(error) => Reading::Unreadable(why(&error)),
    }
}

/// Says why something could not be read, and what would help.
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{error}: root may read it"),
        io::ErrorKind::NotFound => {
            "not there: the process has ended, or the kernel has no such file".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_and_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::at(dir.path(), dir.path());
        let evidence = host.observe("x", host.proc("version"));
        assert!(
            matches!(evidence.reading, Reading::Unreadable(ref why) if why.contains("not there"))
        );
        fs::write(dir.path().join("version"), "Linux version 9\n").unwrap();
        let evidence = host.observe("x", host.proc("version"));
        assert_eq!(evidence.reading.value(), Some("Linux version 9"));
    }

    #[test]
    fn a_status_line_is_found_by_its_whole_key() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("7")).unwrap();
        fs::write(dir.path().join("7/status"), "Name:\ta\nNSpid:\t7\t1\nNSpidX:\t9\n").unwrap();
        let host = Host::at(dir.path(), dir.path());
        assert_eq!(host.observe_status("x", 7, "NSpid").reading.value(), Some("7\t1"));
        assert!(host.observe_status("x", 7, "NSsid").reading.value().is_none());
        assert_eq!(host.pids().unwrap(), [7]);
    }
}
