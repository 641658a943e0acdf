//! Network namespaces: open, make, enter.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Opens the network namespace of a process: `/proc/PID/ns/net`.
///
/// # Errors
/// The process is gone, or may not be looked at.
pub fn open_of(pid: u32) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/{pid}/ns/net"))?.into())
}

/// Opens the network namespace of the calling thread.
///
/// # Errors
/// procfs is not mounted.
pub fn current() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// `setns(fd, CLONE_NEWNET)`, then `work`, in a thread of its own, which ends with it; the caller's thread stays where it is.
/// Sockets that `work` opens and returns go on belonging to the namespace; `/proc/sys/net` shows it while `work` runs.
///
/// # Errors
/// No thread can be started; the namespace cannot be entered (`EPERM` without `CAP_SYS_ADMIN`, `EINVAL` for another kind).
pub fn inside<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    in_thread(move || {
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
        Ok(work())
    })
}

/// `unshare(CLONE_NEWNET)` in a thread of its own: a new, empty network namespace that lives as long as something refers to it.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOSPC` at the limit of namespaces.
pub fn create() -> io::Result<OwnedFd> {
    in_thread(|| {
        unshare_network()?;
        current()
    })
}

/// Makes a new network namespace and keeps it at `path` by a bind mount, so that it lives without a process. The file is made.
///
/// # Errors
/// As [`create`]; the file exists or cannot be made or mounted on.
pub fn create_at(path: &Path) -> io::Result<OwnedFd> {
    File::create_new(path)?;
    let bound = in_thread(|| {
        unshare_network()?;
        mount_bind("/proc/thread-self/ns/net", path)?;
        current()
    });
    if bound.is_err() {
        let _ = std::fs::remove_file(path);
    }
    bound
}

/// Removes a namespace that [`create_at`] made; it dies when nothing else refers to it. What is already gone is no failure.
///
/// # Errors
/// The mount or the file cannot be removed.
pub fn remove_at(path: &Path) -> io::Result<()> {
    match unmount(path, UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Runs `work` in a thread of its own and hands its panic on.
fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, work)?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn unshare_network() -> io::Result<()> {
    // SAFETY: CLONE_NEWNET changes only the calling thread's network namespace; the descriptor table, whose sharing the callee's
    // contract is about, is untouched (no CLONE_FILES).
    // JUSTIFICATION: rustix marks the call unsafe for CLONE_FILES alone and has no safe one for a single namespace.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn privileged_work_runs_inside_and_the_caller_stays_outside() {
        let inode = |fd: &OwnedFd| File::from(fd.try_clone().unwrap()).metadata().unwrap().ino();
        let outside = inode(&current().unwrap());
        let new = create().expect("CAP_SYS_ADMIN");
        let seen = inside(new.as_fd(), || inode(&current().unwrap())).unwrap();
        assert_eq!(seen, inode(&new));
        assert_ne!(seen, outside);
        assert_eq!(inode(&current().unwrap()), outside);
    }

    #[test]
    fn privileged_a_named_namespace_lives_until_it_is_removed() {
        let path = std::env::temp_dir().join(format!("netns-test-{}", std::process::id()));
        let made = create_at(&path).expect("CAP_SYS_ADMIN");
        let inode = |file: File| file.metadata().unwrap().ino();
        let number = inode(File::from(made));
        assert_eq!(inode(File::open(&path).unwrap()), number);
        assert!(create_at(&path).is_err());
        assert_eq!(inode(File::open(&path).unwrap()), number);
        remove_at(&path).unwrap();
        assert!(!path.exists());
        remove_at(&path).unwrap();
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let not_a_namespace = File::open("/proc/self/status").unwrap();
        let error = inside(not_a_namespace.as_fd(), || ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
