//! Where the evidence is read: /proc, the cgroups, the kernel log.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::report::{Evidence, Reading};

/// The longest file that is read: what is longer was written by somebody who wants it to be.
const LIMIT: u64 = 4 << 20;

/// A host, given by its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    proc: PathBuf,
    cgroups: PathBuf,
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { proc: "/proc".into(), cgroups: "/sys/fs/cgroup".into(), root: "/".into() }
    }
}

impl Host {
    /// Returns a host whose files are all beneath `root`: `proc`, `sys/fs/cgroup`, `etc`. That is a made-up host of a test.
    #[must_use]
    pub fn beneath(root: &Path) -> Self {
        let (proc, cgroups) = (root.join("proc"), root.join("sys/fs/cgroup"));
        Self { proc, cgroups, root: root.to_owned() }
    }

    /// Returns a path of the host.
    #[must_use]
    pub fn root(&self, name: &str) -> PathBuf {
        self.root.join(name.trim_start_matches('/'))
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

    /// Reads a file as the process `pid` sees it, as evidence. Links are followed inside its root, whatever they say: the files of
    /// a container are written by whoever made its image.
    #[must_use]
    pub fn observe_inside(&self, of: &str, pid: u32, path: &str) -> Evidence {
        let root = self.proc(pid.to_string()).join("root");
        let place = root.join(path.trim_start_matches('/')).display().to_string();
        let text = inside(&root, path).map(|text| text.trim_end_matches('\n').to_owned());
        Evidence { of: of.to_owned(), place, reading: reading(text) }
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

fn inside(root: &Path, path: &str) -> io::Result<String> {
    let root = sys::inroot::open_root(root)?;
    // A fifo in its place must not hold us up, and a device must not be read.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(sys::inroot::open(&root, path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
        let host = Host::beneath(dir.path());
        fs::create_dir(host.proc("")).unwrap();
        let evidence = host.observe("x", host.proc("version"));
        assert!(
            matches!(evidence.reading, Reading::Unreadable(ref why) if why.contains("not there"))
        );
        fs::write(host.proc("version"), "Linux version 9\n").unwrap();
        let evidence = host.observe("x", host.proc("version"));
        assert_eq!(evidence.reading.value(), Some("Linux version 9"));
    }

    #[test]
    fn a_status_line_is_found_by_its_whole_key() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::beneath(dir.path());
        fs::create_dir_all(host.proc("7/root/etc")).unwrap();
        fs::write(host.proc("7/status"), "Name:\ta\nNSpid:\t7\t1\nNSpidX:\t9\n").unwrap();
        assert_eq!(host.observe_status("x", 7, "NSpid").reading.value(), Some("7\t1"));
        assert!(host.observe_status("x", 7, "NSsid").reading.value().is_none());
        assert_eq!(host.pids().unwrap(), [7]);
    }

    #[test]
    fn links_of_an_image_lead_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::beneath(dir.path());
        fs::create_dir_all(host.proc("7/root/etc")).unwrap();
        fs::write(dir.path().join("secret"), "host").unwrap();
        let link = host.proc("7/root/etc/os-release");
        std::os::unix::fs::symlink(dir.path().join("secret"), link).unwrap();
        let seen = host.observe_inside("x", 7, "/etc/os-release");
        assert!(seen.reading.value().is_none(), "{seen:?}");
        let fifo = host.proc("7/root/etc/fifo");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(host.observe_inside("x", 7, "/etc/fifo").reading.value().is_none());
    }
}
