//! The root of a container that shares the host's mount namespace: mounted onto itself on the host, as every runtime does it, so that
//! whoever looks or unmounts there finds a mount of the container's own. It goes with the container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use sys::mount::{Attr, Change, Propagation};

use crate::error::{Result, step};
use crate::plan::c_string;

/// statx(2) `STATX_MNT_ID_UNIQUE`, Linux 6.8: a number that no later mount gets.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// Makes a copy of the root's mount, for [`attach`], and returns the number by which [`remove`] knows it.
///
/// # Errors
/// Those of open_tree(2), mount_setattr(2) and statx(2).
pub(crate) fn copy(rootfs: &Path, read_only: bool) -> Result<(OwnedFd, u64)> {
    let what = || format!("copy the mount of `{}`", rootfs.display());
    let path = c_string(&rootfs.display().to_string())?;
    let tree = sys::mount::clone_tree(&path, true).map_err(step(what()))?;
    let private = Change::propagation(Propagation::Private);
    sys::mount::set_attributes(&tree, true, &private).map_err(step(what()))?;
    if read_only {
        let change = Change::set(Attr::RDONLY);
        sys::mount::set_attributes(&tree, false, &change).map_err(step(what()))?;
    }
    let id = id_of(&tree, Path::new(""), AtFlags::EMPTY_PATH).map_err(step(what()))?;
    Ok((tree, id))
}

/// Puts the copy in its place.
///
/// # Errors
/// Those of move_mount(2).
pub(crate) fn attach(tree: &OwnedFd, rootfs: &Path) -> Result<()> {
    let path = c_string(&rootfs.display().to_string())?;
    sys::mount::attach_at(tree, &path)
        .map_err(step(format!("mount the root at `{}`", rootfs.display())))
}

/// Unmounts the root, unless somebody has done so already: another mount there is not the container's.
///
/// # Errors
/// Those of umount2(2).
pub(crate) fn remove(rootfs: &Path, id: u64) -> Result<()> {
    if id == 0 || id_of(CWD, rootfs, AtFlags::SYMLINK_NOFOLLOW) != Ok(id) {
        return Ok(());
    }
    sys::mount::detach(&c_string(&rootfs.display().to_string())?)
        .map_err(step(format!("unmount the root `{}`", rootfs.display())))
}

fn id_of(dir: impl AsFd, path: &Path, flags: AtFlags) -> std::result::Result<u64, Errno> {
    Ok(rustix::fs::statx(dir, path, flags, MNT_ID_UNIQUE)?.stx_mnt_id)
}
