//! A group and everything beneath it, walked by descriptors: a container may nest its groups deeper than a path can be long.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, name, DIRECTORY, Mode::empty())
}

/// The names of the groups right beneath one.
fn children(directory: BorrowedFd<'_>) -> Vec<CString> {
    // Two links and one for each subdirectory: cgroup file systems count them, which saves the listing.
    if rustix::fs::fstat(directory).is_ok_and(|stat| stat.st_nlink == 2) {
        return Vec::new();
    }
    let Ok(listing) = Dir::read_from(directory) else { return Vec::new() };
    listing
        .flatten()
        .filter(|entry| entry.file_type() == FileType::Directory)
        .map(|entry| entry.file_name().to_owned())
        .filter(|name| name.as_bytes() != b"." && name.as_bytes() != b"..")
        .collect()
}

/// Goes through everything beneath `top`: `enter` is called in each group before those beneath it, `leave` above each after them.
/// A group that is gone meanwhile is passed over.
fn walk(
    top: OwnedFd,
    mut enter: impl FnMut(BorrowedFd<'_>),
    mut leave: impl FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut here = top;
    let mut trail: Vec<CString> = Vec::new();
    let mut ahead = vec![children(here.as_fd())];
    loop {
        let next = ahead.last_mut().and_then(Vec::pop);
        if let Some(name) = next {
            let below = match open(here.as_fd(), &name) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            enter(below.as_fd());
            let names = children(below.as_fd());
            if names.is_empty() {
                leave(here.as_fd(), &name)?;
                continue;
            }
            here = below;
            trail.push(name);
            ahead.push(names);
            continue;
        }
        ahead.pop();
        let Some(name) = trail.pop() else { return Ok(()) };
        here = open(here.as_fd(), c"..")?;
        leave(here.as_fd(), &name)?;
    }
}

/// Calls `visit` in the group and in each one beneath it; one that is not there has none.
pub(super) fn each(top: &Path, mut visit: impl FnMut(BorrowedFd<'_>)) {
    let Ok(directory) = rustix::fs::open(top, DIRECTORY, Mode::empty()) else { return };
    visit(directory.as_fd());
    let _ = walk(directory, visit, |_, _| Ok(()));
}

/// Removes the group and those beneath it; one that is not there is removed already.
pub(super) fn remove(top: &Path) -> io::Result<()> {
    match rustix::fs::rmdir(top) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(_) => {}
    }
    match rustix::fs::open(top, DIRECTORY, Mode::empty()) {
        Ok(directory) => walk(
            directory,
            |_| {},
            |above, name| match rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOENT) => Ok(()),
                other => other,
            },
        )?,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    match rustix::fs::rmdir(top) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

fn read(at: BorrowedFd<'_>, name: &CStr) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut text = String::new();
    File::from(rustix::fs::openat(at, name, flags, Mode::empty())?).read_to_string(&mut text)?;
    Ok(text)
}

fn numbers(text: &str) -> impl Iterator<Item = Pid> {
    text.lines().filter_map(number)
}

/// A number that can be a process's: [`Pid::from_raw`] takes no negative one.
fn number(text: &str) -> Option<Pid> {
    text.trim().parse().ok().filter(|number| *number > 0).and_then(Pid::from_raw)
}

/// Returns the processes in the group and in those beneath it.
pub(super) fn processes(top: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut first = true;
    each(top, |directory| {
        match read(directory, c"cgroup.procs") {
            Ok(text) => found.extend(numbers(&text)),
            // A threaded group (cgroups(7)) lists threads only. The processes of one beneath are in the list above it; the outermost
            // has threads of processes that are listed nowhere else here.
            Err(error) if first && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let threads = read(directory, c"cgroup.threads").unwrap_or_default();
                found.extend(numbers(&threads).filter_map(leader));
                found.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
                found.dedup();
            }
            Err(_) => {}
        }
        first = false;
    });
    found
}

/// The process of a thread.
fn leader(thread: Pid) -> Option<Pid> {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", thread.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    number(line)
}

/// Writes `value` into the file `name` of the group and of each one beneath it, as far as that is possible.
pub(super) fn write_everywhere(top: &Path, name: &CStr, value: &str) {
    each(top, |directory| {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(directory, name, flags, Mode::empty()) {
            let _ = rustix::io::write(&file, value.as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_process_is_left_out() {
        let found: Vec<i32> = numbers("7\n-1\n0\nx\n99999999999\n12\n")
            .map(|pid| pid.as_raw_nonzero().get())
            .collect();
        assert_eq!(found, [7, 12]);
    }
}
