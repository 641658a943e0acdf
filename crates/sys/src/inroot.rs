//! Paths inside a root that nobody trusts: openat2(2) with `RESOLVE_IN_ROOT`, Linux 5.6.
//!
//! Whatever symbolic links and `..` a path holds, what is opened lies beneath the root that was given as a descriptor. Callers go on
//! with the descriptor and never with the name, because the name may mean something else a moment later (CVE-2021-30465, CVE-2024-45310).

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How many dangling symbolic links are followed while a missing path is made.
const MAX_LINKS: u32 = 40;

/// How often a lookup is repeated that raced with a rename (`EAGAIN`, openat2(2)).
const MAX_RETRIES: u32 = 128;

/// Opens the directory `path` of the host as a root: `O_PATH`, for the functions of this module.
///
/// # Errors
/// Those of open(2).
pub fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`; symbolic links are followed inside the root.
///
/// # Errors
/// Those of openat2(2).
pub fn open(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    resolve(root, path.as_ref(), flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS`: fails with `ELOOP` if any part of the path is a symbolic link.
///
/// # Errors
/// Those of openat2(2).
pub fn open_no_symlinks(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    resolve(root, path.as_ref(), flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

/// openat2(2) with `RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS`: for files of procfs and cgroupfs, so that no mount
/// that was put over them is taken for them.
///
/// # Errors
/// Those of openat2(2).
pub fn open_same_mount(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    resolve(root, path.as_ref(), flags, mode, how)
}

fn resolve(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    how: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut left = MAX_RETRIES;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, mode, how) {
            Err(Errno::AGAIN) if left > 0 => left -= 1,
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Removes `.`, empty parts and, as far as they go, `..` from a path and makes it relative. Purely textual.
#[must_use]
pub fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

/// Opens the directory `path` (`O_PATH`) and makes it and its parents with `mode` where they are missing.
///
/// # Errors
/// Those of openat2(2) and mkdirat(2); `ELOOP` after 40 dangling links.
pub fn mkdir_all(root: impl AsFd, path: impl AsRef<Path>, mode: Mode) -> Result<OwnedFd, Errno> {
    mkdir_within(&root, &clean(path.as_ref()), mode, &mut MAX_LINKS.clone())
}

fn mkdir_within(
    root: &impl AsFd,
    path: &Path,
    mode: Mode,
    links: &mut u32,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match open(root, path, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let (above, name) = split(path)?;
    let parent = mkdir_within(root, above, mode, links)?;
    match rustix::fs::mkdirat(&parent, name, mode) {
        Ok(()) => rustix::fs::openat(
            &parent,
            name,
            flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        ),
        Err(Errno::EXIST) => match next_link(&parent, above, name, links)? {
            Some(target) => mkdir_within(root, &target, mode, links),
            // Another process made it between the two calls.
            None => open(root, path, flags, Mode::empty()),
        },
        Err(error) => Err(error),
    }
}

/// Opens `path` (`O_PATH`) and makes it as an empty regular file with `mode`, and its parents with 0755, where they are missing.
///
/// # Errors
/// Those of openat2(2) and mkdirat(2); `ELOOP` after 40 dangling links.
pub fn create_file(root: impl AsFd, path: impl AsRef<Path>, mode: Mode) -> Result<OwnedFd, Errno> {
    let mut path = clean(path.as_ref());
    let mut links = MAX_LINKS;
    loop {
        match open(&root, &path, OFlags::PATH, Mode::empty()) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let (above, name) = split(&path)?;
        let parent = mkdir_within(&root, above, Mode::from_raw_mode(0o755), &mut links)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent, name, flags, mode) {
            Ok(file) => {
                drop(file);
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                return rustix::fs::openat(&parent, name, flags, Mode::empty());
            }
            Err(Errno::EXIST) => {
                if let Some(target) = next_link(&parent, above, name, &mut links)? {
                    path = target;
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens the directory that holds `path` (`O_PATH`, links followed inside the root) and returns the last name, which is not followed.
///
/// # Errors
/// Those of openat2(2); `EINVAL` for the root itself.
pub fn open_parent(root: impl AsFd, path: impl AsRef<Path>) -> Result<(OwnedFd, OsString), Errno> {
    let path = clean(path.as_ref());
    let (above, name) = split(&path)?;
    let parent = open(root, above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    Ok((parent, name.to_owned()))
}

/// Tells whether the open file is a directory.
///
/// # Errors
/// Those of fstat(2).
pub fn is_dir(fd: impl AsFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn split(path: &Path) -> Result<(&Path, &OsStr), Errno> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}

/// Reads the link `above/name`; `None` if it is no link.
fn next_link(
    parent: &OwnedFd,
    above: &Path,
    name: &OsStr,
    links: &mut u32,
) -> Result<Option<PathBuf>, Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Ok(None);
    }
    *links = links.checked_sub(1).ok_or(Errno::LOOP)?;
    let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
    let target = OsString::from_vec(target.into_bytes());
    let absolute = target.as_bytes().first() == Some(&b'/');
    let joined = if absolute { PathBuf::from(target) } else { above.join(target) };
    Ok(Some(clean(&joined)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> (Self, OwnedFd) {
            let path = std::env::temp_dir().join(format!("inroot-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("root")).unwrap();
            let root = open_root(&path.join("root")).unwrap();
            (Self(path), root)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn dotdot_and_links_stay_inside() {
        let (scratch, root) = Scratch::new("stay");
        symlink("/../../outside", scratch.0.join("root/abs")).unwrap();
        symlink("../../../outside2", scratch.0.join("root/rel")).unwrap();
        mkdir_all(&root, "abs/a", Mode::from_raw_mode(0o755)).unwrap();
        mkdir_all(&root, "/rel/b", Mode::from_raw_mode(0o755)).unwrap();
        create_file(&root, "abs/../../../f", Mode::from_raw_mode(0o644)).unwrap();
        assert!(scratch.0.join("root/outside/a").is_dir());
        assert!(scratch.0.join("root/outside2/b").is_dir());
        assert!(scratch.0.join("root/f").is_file());
        assert!(!scratch.0.join("outside").exists());
        assert!(!scratch.0.join("outside2").exists());
    }

    #[test]
    fn a_dangling_link_is_made_inside() {
        let (scratch, root) = Scratch::new("dangling");
        symlink("/etc/real", scratch.0.join("root/link")).unwrap();
        create_file(&root, "link", Mode::from_raw_mode(0o644)).unwrap();
        assert!(scratch.0.join("root/etc/real").is_file());
    }

    #[test]
    fn a_ring_of_links_is_an_error() {
        let (scratch, root) = Scratch::new("ring");
        symlink("b", scratch.0.join("root/a")).unwrap();
        symlink("a", scratch.0.join("root/b")).unwrap();
        assert_eq!(mkdir_all(&root, "a/x", Mode::empty()).unwrap_err(), Errno::LOOP);
        assert_eq!(create_file(&root, "a", Mode::empty()).unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let (scratch, root) = Scratch::new("file");
        fs::write(scratch.0.join("root/f"), "").unwrap();
        assert_eq!(mkdir_all(&root, "f/x", Mode::empty()).unwrap_err(), Errno::NOTDIR);
    }

    #[test]
    fn no_symlinks_refuses_a_link() {
        let (scratch, root) = Scratch::new("nolinks");
        symlink("/tmp", scratch.0.join("root/proc")).unwrap();
        let refused = open_no_symlinks(&root, "proc", OFlags::PATH, Mode::empty());
        assert_eq!(refused.unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn the_parent_is_opened_and_the_name_is_not() {
        let (scratch, root) = Scratch::new("parent");
        fs::create_dir(scratch.0.join("root/d")).unwrap();
        symlink("/etc", scratch.0.join("root/d/l")).unwrap();
        let (_, name) = open_parent(&root, "/d/l").unwrap();
        assert_eq!(name, "l");
        assert_eq!(open_parent(&root, "/").unwrap_err(), Errno::INVAL);
    }
}
