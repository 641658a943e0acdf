//! `tmpcopyup`: what the image has in a directory appears in the tmpfs that covers it.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

/// Copies the directory `from` (`O_PATH`) into `to`, never following a link.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(from, ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&readable)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(&readable, name, to)?;
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, name: &std::ffi::CStr, to: &OwnedFd) -> Result<(), Errno> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            copy(&inner, &rustix::fs::openat(to, name, flags, Mode::empty())?)?;
        }
        FileType::RegularFile => copy_file(from, name, to, mode)?,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target, to, name)?;
        }
        kind => rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?,
    }
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // A change of the owner clears the set-user-ID bit.
        rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
    }
    Ok(())
}

/// Opens a regular file and never anything else: a device that took its place since the directory was read would be opened by root.
fn open_regular(from: impl AsFd, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = rustix::fs::openat(from, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&path)?.st_mode) != FileType::RegularFile {
        return Err(Errno::STALE);
    }
    sys::file::reopen(&path, OFlags::RDONLY)
}

fn copy_file(
    from: impl AsFd,
    name: &std::ffi::CStr,
    to: impl AsFd,
    mode: Mode,
) -> Result<(), Errno> {
    let mut source = std::fs::File::from(open_regular(from, name)?);
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut target = std::fs::File::from(rustix::fs::openat(to, name, write, mode)?);
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = source.read(&mut buffer).map_err(io)?;
        if count == 0 {
            return Ok(());
        }
        target.write_all(&buffer[..count]).map_err(io)?;
    }
}
