//! Which namespaces a process is in, and with whom it shares them.
//!
//! Two processes share a namespace if and only if the files in their /proc/PID/ns are the same file: the same device *and* the same inode
//! (namespaces(7)). An inode alone is no proof for ever: its number is used again when the namespace is gone.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use serde::Serialize;

use crate::host::{self, Host};
use crate::report::Evidence;

/// The kinds, in the order in which they are shown. `pid_for_children` and `time_for_children` are views of two of them, no more kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the kinds by their names in namespaces(7)")]
pub enum Kind {
    Mnt,
    Pid,
    Net,
    Uts,
    Ipc,
    Cgroup,
    User,
    Time,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] = [
        Kind::Mnt,
        Kind::Pid,
        Kind::Net,
        Kind::Uts,
        Kind::Ipc,
        Kind::Cgroup,
        Kind::User,
        Kind::Time,
    ];

    /// Returns the name of its file in /proc/PID/ns.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Kind::Mnt => "mnt",
            Kind::Pid => "pid",
            Kind::Net => "net",
            Kind::Uts => "uts",
            Kind::Ipc => "ipc",
            Kind::Cgroup => "cgroup",
            Kind::User => "user",
            Kind::Time => "time",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file())
    }
}

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Namespace {
    /// The device of nsfs.
    pub device: u64,
    /// The inode, the number in `pid:[4026531836]`.
    pub inode: u64,
}

/// Reads which namespace of a kind a process is in.
///
/// # Errors
/// `NotFound`: no such process or a kernel without the kind; `PermissionDenied`: another user's process.
pub fn namespace(host: &Host, pid: u32, kind: Kind) -> io::Result<Namespace> {
    identity(&path(host, pid, kind))
}

/// Reads which namespace of a kind the caller is in.
///
/// # Errors
/// `NotFound`: a kernel without the kind.
pub fn namespace_of_reader(host: &Host, kind: Kind) -> io::Result<Namespace> {
    identity(&host.proc("self/ns").join(kind.file()))
}

fn identity(path: &std::path::Path) -> io::Result<Namespace> {
    let meta = fs::metadata(path)?;
    Ok(Namespace { device: meta.dev(), inode: meta.ino() })
}

/// The caller's, as evidence.
#[must_use]
pub fn observe_reader(host: &Host, kind: Kind) -> Evidence {
    let path = host.proc("self/ns").join(kind.file());
    evidence("reader", &path)
}

fn evidence(of: &str, path: &std::path::Path) -> Evidence {
    let text = identity(path).map(|ns| format!("device {}, inode {}", ns.device, ns.inode));
    Evidence { of: of.to_owned(), place: path.display().to_string(), reading: host::reading(text) }
}

/// The same as evidence: `dev 4, inode 4026531836`.
#[must_use]
pub fn observe(host: &Host, of: &str, pid: u32, kind: Kind) -> Evidence {
    evidence(of, &path(host, pid, kind))
}

fn path(host: &Host, pid: u32, kind: Kind) -> std::path::PathBuf {
    host.proc(pid.to_string()).join("ns").join(kind.file())
}

/// Lists the processes in a namespace that can be read, by their numbers.
///
/// # Errors
/// Those of listing /proc.
pub fn members(host: &Host, kind: Kind, of: Namespace) -> io::Result<Vec<u32>> {
    let pids = host.pids()?;
    Ok(pids
        .into_iter()
        .filter(|pid| namespace(host, *pid, kind).is_ok_and(|ns| ns == of))
        .collect())
}
