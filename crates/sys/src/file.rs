//! The one door through which the rooms that own directories change the disk.
//!
//! Every function here that changes a directory or makes bytes durable passes a [`failpoint`] first, so that a test can stop a
//! room before any chosen step and look at what a killed daemon would have left.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

pub mod failpoint;

/// Reads a file of procfs, sysfs or a cgroup, whose size cannot be known: two calls of read(2) for all that are shorter than a page.
///
/// # Errors
/// Those of open(2) and read(2); `InvalidData` if it is no UTF-8.
pub fn kernel_text(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::with_capacity(4096);
    // Through `take`, because a file by itself is asked for its size first.
    File::open(path)?.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// How much of a write must survive a power cut before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Atomic towards other processes and towards a killed writer; a power cut may lose it.
    Process,
    /// The bytes and the name are on the disk when the call returns.
    Power,
}

/// Names what every temporary file and directory of [`write_atomic`] begins with; a sweep at start removes them.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Replaces the file at `path` by `bytes` in one step: temporary file in the same directory, then rename(2).
///
/// # Errors
/// Whatever open, write, fdatasync or rename answer; the old file is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let directory = parent(path)?;
    let temporary = directory.join(format!("{TEMPORARY_PREFIX}{}", random_name(8)?));
    let written = write_new(&temporary, bytes, durability).and_then(|()| rename(&temporary, path));
    if let Err(error) = written {
        let _ = remove_file(&temporary);
        return Err(error);
    }
    if durability == Durability::Power {
        sync_directory(directory)?;
    }
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = create_new(path)?;
    write_all(&mut file, bytes)?;
    if durability == Durability::Power { sync(&file) } else { Ok(()) }
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Creates a file that must not exist yet, mode 0600, close-on-exec.
///
/// # Errors
/// `AlreadyExists`, or what open(2) answers.
pub fn create_new(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    failpoint::pass()?;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes all of `bytes`; a stop at this step leaves half of them, as a killed or starved writer would.
///
/// # Errors
/// What write(2) answers.
pub fn write_all(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    failpoint::pass_or_tear(|| drop(file.write_all(&bytes[..bytes.len() / 2])))?;
    file.write_all(bytes)
}

/// ftruncate(2).
///
/// # Errors
/// What ftruncate(2) answers.
pub fn truncate(file: &File, length: u64) -> io::Result<()> {
    failpoint::pass()?;
    file.set_len(length)
}

/// fdatasync(2).
///
/// # Errors
/// What fdatasync(2) answers.
pub fn sync(file: &File) -> io::Result<()> {
    failpoint::pass()?;
    file.sync_data()
}

/// fsync(2) of a directory: makes the names in it durable.
///
/// # Errors
/// What open(2) or fsync(2) answer.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    failpoint::pass()?;
    File::open(path)?.sync_all()
}

/// syncfs(2): makes everything written to the file system that holds `path` durable.
///
/// # Errors
/// What open(2) or syncfs(2) answer.
pub fn sync_file_system(path: &Path) -> io::Result<()> {
    failpoint::pass()?;
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// rename(2).
///
/// # Errors
/// What rename(2) answers.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    failpoint::pass()?;
    fs::rename(from, to)
}

/// renameat2(2) with `RENAME_NOREPLACE`.
///
/// # Errors
/// `AlreadyExists`, or what renameat2(2) answers.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    failpoint::pass()?;
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// mkdir(2) with exactly `mode`, whatever the umask.
///
/// # Errors
/// What mkdir(2) or chmod(2) answer.
pub fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    failpoint::pass()?;
    rustix::fs::mkdir(path, mode.into())?;
    Ok(rustix::fs::chmod(path, mode.into())?)
}

/// Creates `path` and its missing parents with mode 0710 and accepts those that exist.
///
/// # Errors
/// What mkdir(2) answers.
pub fn create_directories(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    failpoint::pass()?;
    fs::DirBuilder::new().recursive(true).mode(0o710).create(path)
}

/// symlink(2).
///
/// # Errors
/// What symlink(2) answers.
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    failpoint::pass()?;
    std::os::unix::fs::symlink(target, link)
}

/// unlink(2); a missing file is no error.
///
/// # Errors
/// What unlink(2) answers.
pub fn remove_file(path: &Path) -> io::Result<()> {
    failpoint::pass()?;
    absent_is_fine(rustix::fs::unlinkat(CWD, path, AtFlags::empty()).map_err(io::Error::from))
}

/// Removes a file or a whole tree without following links; a missing one is no error.
///
/// # Errors
/// As [`remove_tree_at`].
pub fn remove_tree(path: &Path) -> io::Result<()> {
    failpoint::pass_or_tear(|| remove_half(path))?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(parent(path)?, flags, Mode::empty()) {
        Ok(parent) => remove_tree_at(parent.as_fd(), Path::new(name)),
        Err(error) => absent_is_fine(Err(error.into())),
    }
}

/// What a kill in the middle of a removal leaves: some of it.
fn remove_half(path: &Path) {
    let names = names(path).unwrap_or_default();
    for name in &names[..names.len().div_ceil(2)] {
        let _ = fs::remove_dir_all(path.join(name)).or_else(|_| fs::remove_file(path.join(name)));
    }
}

/// Removes the file or the whole tree `name` of the directory `parent`, whatever its depth, without following links.
///
/// A mount point stops it: nothing on another file system is ever removed. A missing name is no error.
///
/// # Errors
/// `CrossesDevices` at a mount point; what unlinkat(2), openat2(2) or renameat(2) answer.
pub fn remove_tree_at(parent: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return absent_is_fine(other.map_err(io::Error::from)),
    }
    let root = match open_same_device(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    while empty_directory(root.as_fd(), root.as_fd(), 0)? {}
    absent_is_fine(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(io::Error::from))
}

fn open_same_device(parent: BorrowedFd<'_>, name: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    loop {
        match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// How many directories are held open on the way down.
const MOST_LEVELS: u32 = 64;

/// Empties a directory; what lies too deep is moved up into `root`, and then the answer is `true`: `root` must be emptied again.
fn empty_directory(
    directory: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    level: u32,
) -> io::Result<bool> {
    let mut moved = false;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if level == MOST_LEVELS {
            rustix::fs::renameat(directory, name, root, format!(".deep-{}", random_name(16)?))?;
            moved = true;
            continue;
        }
        let below = open_same_device(directory, name)?;
        moved |= empty_directory(below.as_fd(), root, level + 1)?;
        rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
    }
    Ok(moved)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Sums the sizes of everything but directories below `path`, each object once, without following links or entering other file systems.
///
/// # Errors
/// What openat2(2), getdents(2) or fstatat(2) answer; what vanishes meanwhile is not counted.
pub fn tree_bytes(path: &Path) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty())?;
    let mut pending = vec![PathBuf::from(".")];
    let mut seen = std::collections::HashSet::new();
    let mut bytes = 0;
    while let Some(parent) = pending.pop() {
        let directory = match open_same_device(root.as_fd(), &parent) {
            // Gone, swapped, or deeper than one path can say.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::XDEV) => {
                continue;
            }
            other => other?,
        };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if entry.file_type() == FileType::Directory {
                pending.push(parent.join(name));
                continue;
            }
            let stat = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            if stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
                bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
        }
    }
    Ok(bytes)
}

/// Opens what an `O_PATH` descriptor refers to, through this process's own procfs. Like the descriptor it is close-on-exec.
///
/// # Errors
/// Those of open(2).
pub fn reopen(path: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    let name = format!("/proc/self/fd/{}", path.as_raw_fd());
    rustix::fs::open(name.as_str(), flags | OFlags::CLOEXEC, Mode::empty())
}

/// Fills an array with random bytes (getrandom(2)).
///
/// # Errors
/// `Interrupted` never; what getrandom(2) answers on kernels without it.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// Makes a random name of `length` characters out of `A-Z2-7` (at most 32).
///
/// # Errors
/// As [`random`].
pub fn random_name(length: usize) -> io::Result<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bytes: [u8; 32] = random()?;
    Ok(bytes.iter().take(length).map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect())
}

/// Returns how many bytes an unprivileged writer may still put on the file system that holds `path` (statvfs(3)).
///
/// # Errors
/// What statvfs(3) answers.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Lists the names in a directory, sorted.
///
/// # Errors
/// What opendir(3) or readdir(3) answer.
pub fn names(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(PathBuf::from(entry?.file_name()));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
