//! Whether the kernel kills processes of a group for want of memory.
//!
//! The counters go with the group, and whoever removes that (systemd does as soon as it is empty) waits for nobody. So their file is
//! opened early, and read whenever the kernel tells of a change and first thing when a process has ended.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};

use super::{Group, OomCounts, stats};

/// The counters of a group, which outlive it as far as they were read.
#[derive(Debug)]
pub struct OomWatch {
    /// `memory.events`, or `memory.oom_control` on version 1. `None` once the cgroup is gone.
    file: Option<File>,
    /// Version 1 tells of changes by an eventfd.
    notice: Option<OwnedFd>,
    counts: OomCounts,
    /// How often to look again: version 1 tells of the want, before anything is killed.
    again: u32,
}

/// How often and for how long version 1 is asked what became of a want of memory: a second in all.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

impl OomWatch {
    /// Opens the counters. On version 1 this also asks for notices, `cgroup.event_control`.
    ///
    /// # Errors
    /// `NotFound` without the controller.
    pub fn open(group: &Group) -> io::Result<Self> {
        let directory = group.directory("memory").ok_or(io::ErrorKind::NotFound)?;
        let (file, notice) = match File::open(directory.join("memory.events")) {
            Ok(file) => (file, None),
            Err(_) => open_version_1(directory)?,
        };
        let mut watch = Self { file: Some(file), notice, counts: OomCounts::default(), again: 0 };
        watch.look();
        Ok(watch)
    }

    /// Returns what to wait for by poll(2); `None` once the group is gone.
    #[must_use]
    pub fn watched(&self) -> Option<PollFd<'_>> {
        let file = self.file.as_ref()?;
        Some(match &self.notice {
            Some(notice) => PollFd::new(notice, PollFlags::IN),
            None => PollFd::new(file, PollFlags::PRI),
        })
    }

    /// Reads the counters and tells whether something was killed since the last look.
    pub fn look(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        if let Some(notice) = &self.notice {
            // It counts notices; reading takes them all.
            self.again = match rustix::io::read(notice, &mut [0u8; 8]) {
                Ok(_) => LOOKS,
                Err(_) => self.again.saturating_sub(1),
            };
        }
        let mut text = [0; 512];
        let Some(now) = file.read_at(&mut text, 0).ok().and_then(|count| parse(&text[..count]))
        else {
            // The cgroup is gone: what was read last is the last that anybody knows.
            self.file = None;
            self.again = 0;
            return false;
        };
        let more = now.oom_kill > self.counts.oom_kill;
        self.counts = now;
        if more {
            self.again = 0;
        }
        more
    }

    /// Returns after what time to look again without a notice, if at all.
    #[must_use]
    pub fn again(&self) -> Option<Duration> {
        (self.again > 0).then_some(BETWEEN_LOOKS)
    }

    /// Returns what was read last.
    #[must_use]
    pub fn counts(&self) -> OomCounts {
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

fn parse(text: &[u8]) -> Option<OomCounts> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
    let value = |key| stats::field(text, key);
    Some(OomCounts {
        oom: value("oom").unwrap_or(0),
        // A kernel before 4.13 counts none on version 1.
        oom_kill: value("oom_kill").unwrap_or(0),
        under_oom: value("under_oom") == Some(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_understood() {
        let new = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n";
        let want = OomCounts { oom: 2, oom_kill: 1, under_oom: false };
        assert_eq!(parse(new.as_bytes()), Some(want));
        let old = "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n";
        let want = OomCounts { oom: 0, oom_kill: 3, under_oom: true };
        assert_eq!(parse(old.as_bytes()), Some(want));
        assert_eq!(parse(b""), None);
    }
}
