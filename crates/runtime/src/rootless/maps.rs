//! The maps of a new user namespace, user_namespaces(7): written by the runtime, or by newuidmap(1) and newgidmap(1) where it may not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::Pid;
use types::oci::runtime::IdMapping;

use super::Standing;
use crate::error::{Error, Result, step};

/// One of the two maps of a process.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// `uid_map` or `gid_map`.
    file: &'static str,
    /// The program that may write more than one's own id.
    program: &'static str,
    /// Where the administrator says what that program may write.
    allowed: &'static str,
    /// `user` or `group`.
    of: &'static str,
}

const UIDS: Kind =
    Kind { file: "uid_map", program: "newuidmap", allowed: "/etc/subuid", of: "user" };
const GIDS: Kind =
    Kind { file: "gid_map", program: "newgidmap", allowed: "/etc/subgid", of: "group" };

/// Where the programs are looked for when `PATH` does not lead to them.
const USUAL_PLACES: &str = "/usr/bin:/bin:/usr/local/bin";

/// Makes the lines of a `uid_map` or `gid_map`.
pub(crate) fn lines(maps: &[IdMapping]) -> String {
    maps.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect()
}

/// Reads a `uid_map` or `gid_map`.
pub(crate) fn parse(text: &str) -> Vec<IdMapping> {
    let map = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    text.lines().filter_map(map).collect()
}

/// Whether the kernel lets a user without privileges write the map: one id, his own.
fn is_own(maps: &[IdMapping], own: u32) -> bool {
    matches!(maps, [map] if map.size == 1 && map.host_id == own)
}

/// Writes both maps of the user namespace in which `pid` is.
///
/// Who writes the map of his own group only must give up setgroups(2) in the namespace before: else he could drop a group that denies him a file.
///
/// # Errors
/// Those of writing; of a program that writes them, with what it said.
pub(crate) fn write_maps(
    pid: Pid,
    uids: &[IdMapping],
    gids: &[IdMapping],
    standing: Standing,
) -> Result<()> {
    let unprivileged = standing.is_unprivileged();
    let own_uid = rustix::process::geteuid().as_raw();
    let own_gid = rustix::process::getegid().as_raw();
    write_map(pid, UIDS, uids, unprivileged && !is_own(uids, own_uid))?;
    let gids_by_program = unprivileged && !is_own(gids, own_gid);
    if unprivileged && !gids_by_program {
        deny_setgroups(pid)?;
    }
    write_map(pid, GIDS, gids, gids_by_program)
}

fn deny_setgroups(pid: Pid) -> Result<()> {
    let path = format!("/proc/{}/setgroups", pid.as_raw_nonzero());
    match fs::write(&path, "deny") {
        // Before Linux 3.19.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(step(format!("write `{path}`"))),
    }
}

fn write_map(pid: Pid, kind: Kind, maps: &[IdMapping], by_program: bool) -> Result<()> {
    if by_program {
        return run_program(pid, kind, maps);
    }
    let path = format!("/proc/{}/{}", pid.as_raw_nonzero(), kind.file);
    match fs::write(&path, lines(maps)) {
        // Root that may map only a part of the ids, inside another user namespace.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
            run_program(pid, kind, maps).map_err(|_| step(format!("write `{path}`"))(error))
        }
        other => other.map_err(step(format!("write `{path}`"))),
    }
}

fn run_program(pid: Pid, kind: Kind, maps: &[IdMapping]) -> Result<()> {
    let Some(path) = find(kind.program) else {
        return Err(Error::State(format!(
            "map {} ids: `{}` is not in $PATH: install it (Debian's package is uidmap), or map nothing but your own id",
            kind.of, kind.program
        )));
    };
    let mut words = vec![pid.as_raw_nonzero().to_string()];
    for map in maps {
        words.extend([map.container_id, map.host_id, map.size].map(|number| number.to_string()));
    }
    let shown = format!("run `{} {}`", kind.program, words.join(" "));
    let output = Command::new(&path)
        .args(&words)
        .stdin(Stdio::null())
        .output()
        .map_err(step(shown.clone()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().replace('\n', "; ");
    Err(Error::State(format!("{shown}: {}: {said}: {}", output.status, advice(kind))))
}

/// What to do about a program that refused.
fn advice(kind: Kind) -> String {
    if matches!(rustix::thread::no_new_privs(), Ok(true)) {
        return format!("`{}` has no rights under no_new_privs", kind.program);
    }
    let id = rustix::process::getuid().as_raw();
    format!("the ids must stand in `{}` in a line of the user {id}", kind.allowed)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(USUAL_PLACES.split(':')).filter(|place| !place.is_empty());
    places.map(|place| Path::new(place).join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn a_map_is_lines_of_three_numbers() {
        let maps = [map(0, 1000, 1), map(1, 100_000, 65536)];
        assert_eq!(lines(&maps), "0 1000 1\n1 100000 65536\n");
        assert_eq!(parse("   0  1000  1\n 1 100000  65536\nx 1 2\n"), maps);
    }

    #[test]
    fn only_the_own_id_needs_no_program() {
        assert!(is_own(&[map(0, 1000, 1)], 1000));
        assert!(is_own(&[map(5, 1000, 1)], 1000));
        for other in [vec![], vec![map(0, 1000, 2)], vec![map(0, 1001, 1)]] {
            assert!(!is_own(&other, 1000), "{other:?}");
        }
        assert!(!is_own(&[map(0, 1000, 1), map(1, 1001, 1)], 1000));
    }

    #[test]
    fn a_program_that_is_nowhere_is_not_found() {
        assert!(find("no-such-program-here").is_none());
        assert!(find("sh").is_some());
    }
}
