//! The mounts of a process, from /proc/PID/mountinfo.

use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::subject::Subject;

/// One mount, proc_pid_mountinfo(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Its number.
    pub id: u64,
    /// `major:minor` of the file system.
    pub device: String,
    /// Which part of the file system is mounted; `/` is all of it.
    pub root: PathBuf,
    /// Where, from the process's root.
    pub at: PathBuf,
    /// Options of the mount, such as `ro`, `nosuid`.
    pub options: Vec<String>,
    /// The type, such as `overlay`.
    pub kind: String,
    /// The source, such as `/dev/sda1`.
    pub source: String,
    /// Options of the file system.
    pub super_options: Vec<String>,
}

impl Mount {
    /// Tells whether nothing can be written through it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let ro = |list: &[String]| list.iter().any(|option| option == "ro");
        ro(&self.options) || ro(&self.super_options)
    }
}

/// Reads the mounts of a process in the order of mounting.
///
/// # Errors
/// Those of reading the file.
pub fn mounts(host: &Host, subject: &Subject) -> std::io::Result<Vec<Mount>> {
    Ok(parse(&host.text(subject.path(host, "mountinfo"))?))
}

/// Parses mountinfo; lines that are none are left out.
#[must_use]
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let mut head = head.split(' ');
    let id = head.next()?.parse().ok()?;
    let mut head = head.skip(1);
    let mut tail = tail.split(' ');
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Some(Mount {
        id,
        device: head.next()?.to_owned(),
        root: unescape(head.next()?),
        at: unescape(head.next()?),
        options: list(head.next()?),
        kind: tail.next()?.to_owned(),
        source: unescape(tail.next()?).display().to_string(),
        super_options: list(tail.next().unwrap_or_default()),
    })
}

/// Asks on which mount an open file, a working directory or a root is: the target of a link such as /proc/PID/cwd, statx(2).
///
/// # Errors
/// Those of statx(2); `Unsupported` before Linux 5.8.
pub fn mount_of(link: &Path) -> std::io::Result<u64> {
    use rustix::fs::{AtFlags, CWD, StatxFlags};
    let found = rustix::fs::statx(CWD, link, AtFlags::empty(), StatxFlags::MNT_ID)?;
    let known = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    known.then_some(found.stx_mnt_id).ok_or_else(|| std::io::ErrorKind::Unsupported.into())
}

/// Returns the mount that a path is on: the last one whose place is the longest beginning of it.
#[must_use]
pub fn holding<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let depth = |mount: &Mount| mount.at.components().count();
    mounts.iter().filter(|mount| path.starts_with(&mount.at)).max_by_key(|mount| depth(mount))
}

/// Undoes the octal escapes of mountinfo.
#[must_use]
pub fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let text = "36 25 0:33 /a\\040b /c rw,nosuid master:1 shared:2 - ext4 /dev/sda1 ro,errors=x\njunk\n";
        let found = parse(text);
        assert_eq!(found.len(), 1);
        let mount = &found[0];
        assert_eq!(
            (mount.root.as_path(), mount.at.as_path()),
            (Path::new("/a b"), Path::new("/c"))
        );
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("ext4", "/dev/sda1"));
        assert!(mount.is_read_only());
    }

    #[test]
    fn the_innermost_mount_holds_a_path() {
        let list = parse(
            "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 / /proc rw - proc p rw\n3 2 0:2 /sys /proc/sys ro - proc p rw\n",
        );
        assert_eq!(
            holding(&list, Path::new("/proc/sys/kernel")).unwrap().at,
            Path::new("/proc/sys")
        );
        assert_eq!(holding(&list, Path::new("/proc/system")).unwrap().at, Path::new("/proc"));
        assert_eq!(holding(&list, Path::new("/etc")).unwrap().at, Path::new("/"));
    }
}
