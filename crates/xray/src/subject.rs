//! Whom a question is about: a process that cannot be taken for another.
//!
//! A pid names a process only as long as it lives; numbers are used again. So a subject carries its start time, and whoever reads about it for
//! a while asks [`Subject::is_same`] before he believes what he read.

use std::fmt;

use sys::procfs::{Stat, Status};

use crate::host::Host;

/// The process a report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// How the user called it.
    pub label: String,
    /// The host's number of the process.
    pub pid: u32,
    /// Clock ticks between boot and its start.
    pub start_ticks: u64,
    /// The container it belongs to, if its cgroup's path names one.
    pub container: Option<Membership>,
}

/// What the path of a cgroup tells of who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Who names its groups like this.
    pub engine: Engine,
}

/// Engines, by how they name cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// This one.
    Belljar,
    /// Docker, Moby.
    Docker,
    /// Podman or CRI-O through libpod's names.
    Podman,
    /// A Kubernetes pod's container, through containerd's or CRI-O's CRI.
    Kubernetes,
    /// Not recognised.
    Other,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Belljar => "Belljar",
            Engine::Docker => "Docker",
            Engine::Podman => "Podman",
            Engine::Kubernetes => "Kubernetes",
            Engine::Other => "another engine",
        })
    }
}

/// Why a subject was not found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such process.
    #[error("no process has the number {0}")]
    NoProcess(u32),
    /// No process whose cgroup names such a container.
    #[error(
        "no process belongs to a container `{0}`: it is stopped, or this is a name that only its engine knows"
    )]
    NoContainer(String),
    /// More than one container begins so.
    #[error("`{0}` is the beginning of several containers' ids")]
    Ambiguous(String),
    /// /proc could not be listed.
    #[error("read `/proc`")]
    Proc(#[source] std::io::Error),
}

impl Subject {
    /// Finds a process by its number.
    ///
    /// # Errors
    /// [`Error::NoProcess`].
    pub fn of_pid(host: &Host, pid: u32) -> Result<Self, Error> {
        let stat = host.text(host.proc(pid.to_string()).join("stat"));
        let stat = stat.ok().and_then(|text| Stat::parse(text.as_bytes()));
        let stat = stat.ok_or(Error::NoProcess(pid))?;
        let container = membership_of(host, pid);
        Ok(Self { label: pid.to_string(), pid, start_ticks: stat.start_ticks, container })
    }

    /// Finds the first process of a container by the beginning of its id, at least four digits.
    ///
    /// The first is the one that its pid namespace numbers 1, or else the one that started first.
    ///
    /// # Errors
    /// [`Error::NoContainer`], [`Error::Ambiguous`].
    pub fn of_container(host: &Host, id: &str) -> Result<Self, Error> {
        let mut found: Vec<Self> = Vec::new();
        for pid in host.pids().map_err(Error::Proc)? {
            let Some(membership) = membership_of(host, pid) else { continue };
            if id.len() >= 4 && membership.id.starts_with(id) {
                found.extend(Self::of_pid(host, pid).ok());
            }
        }
        let mut ids: Vec<&str> =
            found.iter().filter_map(|one| Some(one.container.as_ref()?.id.as_str())).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > 1 {
            return Err(Error::Ambiguous(id.to_owned()));
        }
        found.sort_by_key(|one| (!is_init(host, one.pid), one.start_ticks, one.pid));
        let first = found.into_iter().next().ok_or_else(|| Error::NoContainer(id.to_owned()))?;
        Ok(Self { label: id.to_owned(), ..first })
    }

    /// Gives the subject the name under which it was asked for.
    #[must_use]
    pub fn called(self, label: &str) -> Self {
        Self { label: label.to_owned(), ..self }
    }

    /// Tells whether the number still belongs to the same process.
    #[must_use]
    pub fn is_same(&self, host: &Host) -> bool {
        Self::of_pid(host, self.pid).is_ok_and(|now| now.start_ticks == self.start_ticks)
    }

    /// Returns a path beneath the process's directory.
    #[must_use]
    pub fn path(&self, host: &Host, name: &str) -> std::path::PathBuf {
        host.proc(self.pid.to_string()).join(name)
    }
}

/// Tells whether a process is number 1 of a pid namespace below the reader's.
fn is_init(host: &Host, pid: u32) -> bool {
    let text = host.text(host.proc(pid.to_string()).join("status"));
    let status = text.ok().and_then(|text| Status::parse(&text));
    status.is_some_and(|status| status.ns_pids.len() > 1 && status.ns_pids.last() == Some(&1))
}

/// Reads the container out of /proc/PID/cgroup.
#[must_use]
pub fn membership_of(host: &Host, pid: u32) -> Option<Membership> {
    let text = host.text(host.proc(pid.to_string()).join("cgroup")).ok()?;
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(membership)
}

/// Reads the container out of a cgroup's path; the innermost name that holds an id counts.
#[must_use]
pub fn membership(path: &str) -> Option<Membership> {
    let parts: Vec<&str> = path.split('/').collect();
    let (at, id, prefix) = parts.iter().enumerate().rev().find_map(|(at, part)| {
        let bare = part.strip_suffix(".scope").unwrap_or(part);
        let start = bare.len().checked_sub(64)?;
        let id = bare.get(start..)?;
        let is_id = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_id.then(|| (at, id, bare[..start].trim_end_matches(['-', ':'])))
    })?;
    let above = at.checked_sub(1).map_or("", |at| parts[at]);
    let engine = match (prefix, above) {
        _ if path.contains("kubepods") => Engine::Kubernetes,
        ("belljar", _) | ("", "belljar") => Engine::Belljar,
        ("docker", _) | ("", "docker") => Engine::Docker,
        ("libpod" | "crio", _) | ("", "libpod_parent") => Engine::Podman,
        _ => Engine::Other,
    };
    Some(Membership { id: id.to_owned(), engine })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn paths_name_their_engines() {
        for (path, engine) in [
            (format!("/belljar/{ID}"), Engine::Belljar),
            (format!("/system.slice/belljar-{ID}.scope"), Engine::Belljar),
            (format!("/docker/{ID}"), Engine::Docker),
            (format!("/system.slice/docker-{ID}.scope"), Engine::Docker),
            (format!("/machine.slice/libpod-{ID}.scope/container"), Engine::Podman),
            (
                format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
                Engine::Kubernetes,
            ),
            (format!("/my.slice/{ID}"), Engine::Other),
        ] {
            let found = membership(&path).unwrap();
            assert_eq!((found.id.as_str(), found.engine), (ID, engine), "{path}");
        }
        for path in ["/", "/user.slice/session-1.scope", &format!("/x/{}", &ID[1..])] {
            assert_eq!(membership(path), None, "{path}");
        }
    }

    fn process(dir: &std::path::Path, pid: u32, start: u64, ns_pids: &str, cgroup: &str) {
        let dir = dir.join("proc").join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        let zeros = "0 ".repeat(17);
        fs::write(dir.join("stat"), format!("{pid} (a) b) S 1 {zeros}{start} 0")).unwrap();
        let ids =
            "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\n";
        fs::write(dir.join("status"), format!("Name:\ta\nNSpid:\t{ns_pids}\n{ids}")).unwrap();
        fs::write(dir.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
    }

    #[test]
    fn the_first_process_of_a_container_is_its_number_one() {
        let dir = tempfile::tempdir().unwrap();
        let group = format!("/belljar/{ID}");
        process(dir.path(), 30, 100, "30\t9", &group);
        process(dir.path(), 40, 500, "40\t1", &group);
        let host = Host::beneath(dir.path());
        let found = Subject::of_container(&host, "0123").unwrap();
        assert_eq!((found.pid, found.start_ticks), (40, 500));
        assert!(matches!(Subject::of_container(&host, "ffff"), Err(Error::NoContainer(_))));
    }

    #[test]
    fn a_number_that_was_used_again_is_another_process() {
        let dir = tempfile::tempdir().unwrap();
        process(dir.path(), 30, 100, "30", "/");
        let host = Host::beneath(dir.path());
        let subject = Subject::of_pid(&host, 30).unwrap();
        assert!(subject.is_same(&host));
        process(dir.path(), 30, 101, "30", "/");
        assert!(!subject.is_same(&host));
        assert!(matches!(Subject::of_pid(&host, 31), Err(Error::NoProcess(31))));
    }
}
