//! A mount tree that only its holder sees: a root and what is mounted inside it, in a mount namespace where nobody lives.
//!
//! The tree is reached by its descriptor only. Nothing in it ever appears in the caller's namespace, and when the descriptors are
//! closed the kernel unmounts all of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::clone::{Namespaces, check};
use crate::mount::{Change, Propagation, pivot_to, set_path_attributes};

/// A held tree; see the module.
#[derive(Debug)]
pub struct MountTree {
    root: OwnedFd,
    /// Keeps the mounts inside attached to the root.
    _namespace: OwnedFd,
}

impl MountTree {
    /// Takes the mount at the host's path `root` into a new mount namespace, where `furnish` may attach mounts to it.
    ///
    /// `furnish` runs in a thread of its own that is in the new namespace and sees a copy of the caller's mounts.
    ///
    /// # Errors
    /// Those of unshare(2), mount_setattr(2) and open(2); those of `furnish`.
    pub fn build<E: From<Errno> + Send>(
        root: &Path,
        furnish: impl FnOnce(BorrowedFd<'_>) -> Result<(), E> + Send,
    ) -> Result<Self, E> {
        std::thread::scope(|scope| {
            let worker = std::thread::Builder::new()
                .name("mount-tree".to_owned())
                .spawn_scoped(scope, || build_here(root, furnish))
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl AsFd for MountTree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The thread's whole life; it must end with this function, since it is in another namespace than the process.
fn build_here<E: From<Errno>>(
    root: &Path,
    furnish: impl FnOnce(BorrowedFd<'_>) -> Result<(), E>,
) -> Result<MountTree, E> {
    leave_mount_namespace()?;
    // Before anything is attached: on a host with shared mounts it would otherwise appear there too.
    set_path_attributes(c"/", true, &Change::propagation(Propagation::Private))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::openat(CWD, c"/proc/thread-self/ns/mnt", flags, Mode::empty())?;
    let root = crate::inroot::open_root(root)?;
    furnish(root.as_fd())?;
    // Lets go of the copies of all other mounts, which would keep them busy. Where the root is an initramfs that cannot be left, they
    // stay until the tree is closed.
    let _ = pivot_to(&root);
    Ok(MountTree { root, _namespace: namespace })
}

/// unshare(2) `CLONE_NEWNS`, which also gives this thread a root and working directory of its own.
fn leave_mount_namespace() -> Result<(), Errno> {
    let flags = i32::try_from(Namespaces::MOUNT.bits()).map_err(|_| Errno::INVAL)?;
    // SAFETY: unshare(2) takes a flag word and no memory; a mount namespace changes what paths mean to this thread alone, and no
    // descriptor or memory of the process.
    // JUSTIFICATION: rustix's wrapper is unsafe for all flags.
    let result = unsafe { libc::unshare(flags) };
    check(libc::c_long::from(result)).map(drop)
}
