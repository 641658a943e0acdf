//! Whether the kernel kills processes of the container for want of memory.
//!
//! The counters go with the cgroup, and whoever removes that (systemd does as soon as it is empty) waits for nobody. So their file is
//! opened when the container is there, and read whenever the kernel tells of a change and first thing when a child has ended.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::event::{EventfdFlags, PollFd, eventfd};
use sys::cgroup::Cgroups;
use sys::event::PollFlags;

/// What the kernel has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Processes killed by an OOM killer.
    pub(crate) kills: u64,
    /// How often the own limit could not be kept; version 2 only.
    pub(crate) own_limit_hits: Option<u64>,
}

/// The counters of a container.
#[derive(Debug)]
pub(crate) struct Memory {
    /// `memory.events`, or `memory.oom_control` on version 1. `None` once the cgroup is gone.
    file: Option<File>,
    /// Version 1 tells of changes by an eventfd.
    notice: Option<OwnedFd>,
    counts: Counts,
}

impl Memory {
    /// Opens the counters of a process's cgroup.
    pub(crate) fn of(pid: u32) -> io::Result<Memory> {
        let group = Cgroups::detect()?.group_of(&pid.to_string())?;
        let directory = group.directory("memory").ok_or(io::ErrorKind::NotFound)?;
        let (file, notice) = match File::open(directory.join("memory.events")) {
            Ok(file) => (file, None),
            Err(_) => open_version_1(directory)?,
        };
        let mut memory = Memory { file: Some(file), notice, counts: Counts::default() };
        memory.look();
        Ok(memory)
    }

    /// What to wait for.
    pub(crate) fn watched(&self) -> Option<PollFd<'_>> {
        let file = self.file.as_ref()?;
        Some(match &self.notice {
            Some(notice) => PollFd::new(notice, PollFlags::IN),
            None => PollFd::new(file, PollFlags::PRI),
        })
    }

    /// Reads the counters and tells whether something was killed since the last look.
    pub(crate) fn look(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        if let Some(notice) = &self.notice {
            // It counts notices; reading takes them all.
            let _ = rustix::io::read(notice, &mut [0u8; 8]);
        }
        let mut text = [0; 512];
        let Some(now) = file.read_at(&mut text, 0).ok().and_then(|count| parse(&text[..count]))
        else {
            // The cgroup is gone: what was read last is the last that anybody knows.
            self.file = None;
            return false;
        };
        let more = now.kills > self.counts.kills;
        self.counts = now;
        more
    }

    /// What was read last.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

/// Asks for notices of version 1: the two descriptors, written into `cgroup.event_control`.
fn open_version_1(directory: &Path) -> io::Result<(File, Option<OwnedFd>)> {
    let file = File::open(directory.join("memory.oom_control"))?;
    let notice = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let line = format!("{} {}", notice.as_raw_fd(), file.as_raw_fd());
    let control = directory.join("cgroup.event_control");
    let control = File::options().write(true).open(control)?;
    rustix::io::write(&control, line.as_bytes())?;
    Ok((file, Some(notice)))
}

fn parse(text: &[u8]) -> Option<Counts> {
    let text = std::str::from_utf8(text).ok()?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    };
    // A kernel before 4.19 counts no kills on version 1.
    let known = !text.is_empty();
    known.then(|| Counts { kills: value("oom_kill").unwrap_or(0), own_limit_hits: value("oom") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_understood() {
        let new = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(parse(new.as_bytes()), Some(Counts { kills: 1, own_limit_hits: Some(2) }));
        let old = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(parse(old.as_bytes()), Some(Counts { kills: 3, own_limit_hits: None }));
        assert_eq!(parse(b""), None);
    }
}
