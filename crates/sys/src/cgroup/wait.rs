//! Waiting for what happens in a group, by the kernel's own notice where there is one.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};

use super::stats;

/// How long freezing or emptying a group may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How many ends are waited for at once.
const MOST: usize = 64;

/// `cgroup.events` of version 2, whose changes wake a poll(2) (cgroups(7), "populated").
pub(super) struct Events(File);

impl Events {
    pub(super) fn open(directory: &Path) -> Option<Self> {
        File::open(directory.join("cgroup.events")).ok().map(Self)
    }

    /// The value of `key` now; `None` once the group is removed.
    pub(super) fn value(&self, key: &str) -> Option<u64> {
        let mut text = [0; 256];
        let count = self.0.read_at(&mut text, 0).ok()?;
        stats::field(std::str::from_utf8(&text[..count]).ok()?, key)
    }

    /// Waits for a change after the last look at a value.
    pub(super) fn changed(&self, timeout: Duration) {
        let mut fds = [PollFd::new(&self.0, PollFlags::PRI)];
        let _ = crate::event::poll(&mut fds, Some(timeout));
    }

    /// Waits until `key` is `want` or the group is removed; `false` when the time is over.
    pub(super) fn until(&self, key: &str, want: u64, timeout: Duration) -> bool {
        let start = Instant::now();
        loop {
            if self.value(key).is_none_or(|value| value == want) {
                return true;
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return false;
            }
            self.changed(left);
        }
    }
}

/// Waits until one of the processes has ended, or for `timeout`; at once if one is gone already.
pub(super) fn an_end(pids: &[Pid], timeout: Duration) {
    let mut open: Vec<OwnedFd> = Vec::new();
    for pid in pids.iter().take(MOST) {
        match rustix::process::pidfd_open(*pid, PidfdFlags::empty()) {
            Ok(fd) => open.push(fd),
            Err(_) => return,
        }
    }
    let mut fds: Vec<PollFd<'_>> =
        open.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
    let _ = crate::event::poll(&mut fds, Some(timeout));
}

/// Asks `done` again and again for what the kernel gives no notice of: at first at once, then after 0.1 to 5 ms.
pub(super) fn asking(mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    while !done() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    true
}
