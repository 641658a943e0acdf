//! What a process may use, what it uses, and which group above it decides.
//!
//! A limit of a group binds everything below it, so the limit that counts is the smallest on the way to the root, and it may have been set
//! by somebody else: a slice of systemd, a pod, a parent given on the command line.

mod limits;
mod section;

use std::io;
use std::path::{Path, PathBuf};

use crate::host::Host;

pub use limits::{Amount, Limit, Resource, Step, limit};
pub use section::{cgroup, load};

/// The groups of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Whether limits are those of cgroup version 2.
    pub version_2: bool,
    lines: Vec<(Vec<String>, String)>,
    top: PathBuf,
}

impl Groups {
    /// Reads them.
    ///
    /// # Errors
    /// Those of reading /proc/PID/cgroup.
    pub fn of(host: &Host, pid: u32) -> io::Result<Self> {
        let text = host.text(host.proc(pid.to_string()).join("cgroup"))?;
        let version_2 = host.cgroups().join("cgroup.controllers").exists();
        Ok(Self { version_2, lines: parse(&text), top: host.cgroups().to_owned() })
    }

    /// Returns the path in the hierarchy of a controller, such as `/docker/ID`.
    #[must_use]
    pub fn path(&self, controller: &str) -> Option<&str> {
        let of = |wanted: &str| {
            let found = self.lines.iter().find(|(names, _)| names.iter().any(|n| n == wanted));
            found.map(|(_, path)| path.as_str())
        };
        if self.version_2 { of("") } else { of(controller) }
    }

    /// Returns the directory of the group for a controller.
    #[must_use]
    pub fn directory(&self, controller: &str) -> Option<PathBuf> {
        let path = self.path(controller)?;
        // A path with `..` is that of a process outside the reader's cgroup namespace: it cannot be found from here.
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        let top = if self.version_2 { self.top.clone() } else { self.top.join(controller) };
        Some(top.join(path.trim_start_matches('/')))
    }

    /// Returns the directories from the group up to its hierarchy's root.
    #[must_use]
    pub fn way_up(&self, controller: &str) -> Vec<PathBuf> {
        let top = if self.version_2 { self.top.clone() } else { self.top.join(controller) };
        let Some(own) = self.directory(controller) else { return Vec::new() };
        let inside = |dir: &&Path| dir.starts_with(&top);
        own.ancestors().take_while(inside).map(Path::to_owned).collect()
    }
}

/// Parses /proc/PID/cgroup: `4:memory:/docker/ID`, and `0::/x` for version 2, whose controller is called ``.
fn parse(text: &str) -> Vec<(Vec<String>, String)> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
            Some((names.split(',').map(str::to_owned).collect(), path.to_owned()))
        })
        .collect()
}
