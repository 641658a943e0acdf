//! A copy of a directory tree by descriptors: nothing is followed, nothing is resolved twice.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};

/// Copies everything inside `from` into `to`, and owner, mode, times and attributes of `from` itself.
///
/// # Errors
/// The first step that the system refuses.
pub(crate) fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        copy_entry(from, to, name, &stat)?;
    }
    let stat = rustix::fs::fstat(from)?;
    dress(to, from, &stat)
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    stat: &Stat,
) -> io::Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner_from = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let inner_to = rustix::fs::openat(to, name, flags, Mode::empty())?;
            copy_directory(inner_from.as_fd(), inner_to.as_fd())
        }
        FileType::RegularFile => copy_file(from, to, name, stat),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), to, name)?;
            own(to, name, stat)
        }
        kind @ (FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice) => {
            rustix::fs::mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev)?;
            own(to, name, stat)
        }
        _ => Ok(()),
    }
}

fn own(to: BorrowedFd<'_>, name: &std::ffi::CStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    Ok(rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn copy_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    stat: &Stat,
) -> io::Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source: OwnedFd = rustix::fs::openat(from, name, read, Mode::empty())?;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target: OwnedFd = rustix::fs::openat(to, name, write, Mode::RUSR | Mode::WUSR)?;
    io::copy(
        &mut std::fs::File::from(source.try_clone()?),
        &mut std::fs::File::from(target.try_clone()?),
    )?;
    dress(target.as_fd(), source.as_fd(), stat)
}

/// Owner first: it clears set-id bits and capabilities, which come after it.
fn dress(to: BorrowedFd<'_>, from: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(uid), Some(gid))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    attributes(to, from);
    let time =
        |sec: i64, nsec: u64| Timespec { tv_sec: sec, tv_nsec: i64::try_from(nsec).unwrap_or(0) };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::futimens(to, &times)?)
}

/// Extended attributes, but for overlayfs' own; a file system without any is no error.
fn attributes(to: BorrowedFd<'_>, from: BorrowedFd<'_>) {
    let mut names = vec![0u8; 64 << 10];
    let Ok(count) = rustix::fs::flistxattr(from, &mut names) else { return };
    for name in names[..count].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0u8; 64 << 10];
        if let Ok(count) = rustix::fs::fgetxattr(from, name, &mut value) {
            let _ =
                rustix::fs::fsetxattr(to, name, &value[..count], rustix::fs::XattrFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn a_tree_is_copied_with_modes_and_links() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(a.path().join("d")).unwrap();
        std::fs::write(a.path().join("d/f"), "hello").unwrap();
        std::fs::set_permissions(a.path().join("d/f"), std::fs::Permissions::from_mode(0o4755))
            .unwrap();
        std::os::unix::fs::symlink("/etc/passwd", a.path().join("l")).unwrap();
        std::fs::set_permissions(a.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
        let (from, to) =
            (std::fs::File::open(a.path()).unwrap(), std::fs::File::open(b.path()).unwrap());
        copy_directory(from.as_fd(), to.as_fd()).unwrap();
        assert_eq!(std::fs::read_to_string(b.path().join("d/f")).unwrap(), "hello");
        assert_eq!(std::fs::metadata(b.path().join("d/f")).unwrap().mode() & 0o7777, 0o4755);
        assert_eq!(std::fs::read_link(b.path().join("l")).unwrap().to_str(), Some("/etc/passwd"));
        assert_eq!(std::fs::metadata(b.path()).unwrap().mode() & 0o7777, 0o1777);
    }
}
