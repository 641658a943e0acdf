//! Mounts by descriptor: fsopen, fsconfig, fsmount, open_tree, move_mount and mount_setattr (Linux 5.2, mount_setattr 5.12).
//!
//! A mount is made detached with its final attributes, then attached onto an open target. Nothing is looked up by name in between,
//! and there is no second "remount" pass.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bitflags::bitflags;
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

bitflags! {
    /// The attributes of one mount, `MOUNT_ATTR_*` of mount_setattr(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Attr: u64 {
        /// Nothing is written through it.
        const RDONLY = 0x1;
        /// Set-user-ID bits and file capabilities have no effect.
        const NOSUID = 0x2;
        /// Device nodes cannot be opened.
        const NODEV = 0x4;
        /// Nothing is executed from it.
        const NOEXEC = 0x8;
        /// Access times are not kept.
        const NOATIME = 0x10;
        /// Access times are always kept.
        const STRICTATIME = 0x20;
        /// The mask of the access time field, in which `relatime` is zero.
        const ATIME = 0x70;
        /// Access times of directories are not kept.
        const NODIRATIME = 0x80;
        /// Ids are mapped through a user namespace.
        const IDMAP = 0x0010_0000;
        /// Symbolic links are not followed.
        const NOSYMFOLLOW = 0x0020_0000;
        /// Everything that `mount -o remount,bind` decides anew.
        const REMOUNT = 0x0020_00ff;
    }
}

/// How mount events travel between a mount and its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// From the master only.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and it cannot be bound.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// What mount_setattr(2) changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Attributes to set.
    pub set: Attr,
    /// Attributes to clear before.
    pub clear: Attr,
    /// The new propagation.
    pub propagation: Option<Propagation>,
    /// The user namespace whose maps an id-mapped mount uses.
    pub userns: Option<BorrowedFd<'a>>,
}

impl Change<'_> {
    /// A change of the propagation only.
    #[must_use]
    pub fn propagation(propagation: Propagation) -> Self {
        Self { propagation: Some(propagation), ..Self::default() }
    }

    /// Sets attributes only.
    #[must_use]
    pub fn set(set: Attr) -> Self {
        Self { set, ..Self::default() }
    }

    /// Tells whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.clear.is_empty() && self.propagation.is_none()
    }
}

/// fstatfs(2): the attributes of the mount that `mount` lies on. `RDONLY` is also told of a file system that is read-only as a whole.
///
/// # Errors
/// Those of fstatfs(2).
pub fn attributes(mount: impl AsFd) -> Result<Attr, Errno> {
    const NOSYMFOLLOW: u64 = 0x2000;
    let flags = rustix::fs::fstatvfs(mount)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::RDONLY, Attr::RDONLY),
        (StatVfsMountFlags::NOSUID, Attr::NOSUID),
        (StatVfsMountFlags::NODEV, Attr::NODEV),
        (StatVfsMountFlags::NOEXEC, Attr::NOEXEC),
        (StatVfsMountFlags::NOATIME, Attr::NOATIME),
        (StatVfsMountFlags::NODIRATIME, Attr::NODIRATIME),
        (StatVfsMountFlags::from_bits_retain(NOSYMFOLLOW), Attr::NOSYMFOLLOW),
    ];
    let found = pairs.into_iter().filter(|(flag, _)| flags.contains(*flag));
    let mut attributes = found.fold(Attr::empty(), |all, (_, one)| all | one);
    if !flags.intersects(StatVfsMountFlags::NOATIME | StatVfsMountFlags::RELATIME) {
        attributes |= Attr::STRICTATIME;
    }
    Ok(attributes)
}

/// mount_setattr(2) of the mount that `mount` is the root of; with `recursive` also of all beneath.
///
/// # Errors
/// Those of mount_setattr(2); `ENOSYS` before Linux 5.12.
pub fn set_attributes(mount: impl AsFd, recursive: bool, change: &Change<'_>) -> Result<(), Errno> {
    set_attributes_at(mount.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH, recursive, change)
}

/// mount_setattr(2) of the mount whose root is the path of the host `path`.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn set_path_attributes(path: &CStr, recursive: bool, change: &Change<'_>) -> Result<(), Errno> {
    set_attributes_at(libc::AT_FDCWD, path, 0, recursive, change)
}

fn set_attributes_at(
    dir: i32,
    path: &CStr,
    flags: i32,
    recursive: bool,
    change: &Change<'_>,
) -> Result<(), Errno> {
    const AT_RECURSIVE: i32 = 0x8000;
    // The access time is a field: a new value needs the whole field cleared.
    let atime = if change.set.intersects(Attr::ATIME) { Attr::ATIME } else { Attr::empty() };
    let attributes = libc::mount_attr {
        attr_set: change.set.bits(),
        attr_clr: (change.clear | atime).bits(),
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns_fd: change.userns.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    let flags = flags | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `path` is NUL-terminated and `attributes` is a live struct of the size given; the kernel only reads both.
    // `dir` is AT_FDCWD or a descriptor borrowed by the caller for the time of the call.
    // JUSTIFICATION: neither std nor rustix has mount_setattr(2).
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    crate::clone::check(result).map(|_| ())
}

/// open_tree(2) with `OPEN_TREE_CLONE`: a detached copy of the mount at the host's `path`.
///
/// # Errors
/// Those of open_tree(2).
pub fn clone_tree(path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(rustix::fs::CWD, path, flags)
}

/// [`clone_tree`] of the symbolic link itself where `path` is one (`AT_SYMLINK_NOFOLLOW`).
///
/// # Errors
/// Those of open_tree(2).
pub fn clone_tree_no_follow(path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(rustix::fs::CWD, path, flags)
}

/// open_tree(2) with `OPEN_TREE_CLONE | AT_EMPTY_PATH`: a detached copy of what `file` refers to.
///
/// # Errors
/// Those of open_tree(2).
pub fn clone_tree_of(file: impl AsFd, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(file, c"", flags)
}

/// One parameter of a new file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name, such as `mode`.
    pub key: &'a CStr,
    /// `None` for a flag.
    pub value: Option<&'a CStr>,
}

/// fsopen(2) to fsmount(2): makes a detached mount of a new file system.
///
/// # Errors
/// Those of fsopen(2), fsconfig(2) and fsmount(2).
pub fn new_file_system(
    kind: &CStr,
    source: Option<&CStr>,
    params: &[Param<'_>],
    attributes: Attr,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some(source) = source {
        rustix::mount::fsconfig_set_string(&context, c"source", source)?;
    }
    set_params(&context, params)?;
    rustix::mount::fsconfig_create(&context)?;
    // fsmount(2) takes the low attributes only; they are the same bits.
    let attributes =
        MountAttrFlags::from_bits_retain(u32::try_from(attributes.bits()).unwrap_or(0));
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Tells whether a parameter is longer than fsconfig(2) takes (255 bytes), so that only [`mount_onto`] is left: overlay has such ones.
#[must_use]
pub fn is_too_long(params: &[Param<'_>]) -> bool {
    params.iter().any(|param| param.value.is_some_and(|value| value.count_bytes() > 255))
}

/// mount(2) of a new file system onto the open directory `target`, with all parameters in one text of at most a page.
///
/// # Errors
/// Those of mount(2).
pub fn mount_onto(
    target: impl AsFd,
    kind: &CStr,
    source: Option<&CStr>,
    params: &[Param<'_>],
    attributes: Attr,
) -> Result<(), Errno> {
    let mut data = Vec::new();
    for param in params {
        if !data.is_empty() {
            data.push(b',');
        }
        data.extend(param.key.to_bytes());
        if let Some(value) = param.value {
            data.push(b'=');
            data.extend(value.to_bytes());
        }
    }
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    let mut flags = MountFlags::empty();
    for (attribute, flag) in [
        (Attr::RDONLY, MountFlags::RDONLY),
        (Attr::NOSUID, MountFlags::NOSUID),
        (Attr::NODEV, MountFlags::NODEV),
        (Attr::NOEXEC, MountFlags::NOEXEC),
        (Attr::NOATIME, MountFlags::NOATIME),
        (Attr::STRICTATIME, MountFlags::STRICTATIME),
        (Attr::NODIRATIME, MountFlags::NODIRATIME),
    ] {
        flags.set(flag, attributes.contains(attribute));
    }
    let path = format!("/proc/self/fd/{}", target.as_fd().as_raw_fd());
    rustix::mount::mount(source.unwrap_or(c"none"), path, kind, flags, &*data)
}

/// fspick(2) and `FSCONFIG_CMD_RECONFIGURE`: changes the parameters of the file system that `mount` is the root of (`mount -o remount`).
///
/// # Errors
/// Those of fspick(2) and fsconfig(2); `EINVAL` if `mount` is not the root of one.
pub fn reconfigure(mount: impl AsFd, params: &[Param<'_>]) -> Result<(), Errno> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = rustix::mount::fspick(mount, c"", flags)?;
    set_params(&context, params)?;
    rustix::mount::fsconfig_reconfigure(&context)
}

fn set_params(context: &OwnedFd, params: &[Param<'_>]) -> Result<(), Errno> {
    params.iter().try_for_each(|param| match param.value {
        Some(value) => rustix::mount::fsconfig_set_string(context, param.key, value),
        None => rustix::mount::fsconfig_set_flag(context, param.key),
    })
}

/// move_mount(2) of the detached mount `tree` onto the open file or directory `target`.
///
/// # Errors
/// Those of move_mount(2).
pub fn attach(tree: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", target, c"", flags)
}

/// move_mount(2) of the detached mount `tree` onto the host's `path`.
///
/// # Errors
/// Those of move_mount(2).
pub fn attach_at(tree: impl AsFd, path: &CStr) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", rustix::fs::CWD, path, flags)
}

/// pivot_root(2) `(".", ".")`: makes `root`, the root of a mount, the root of this mount namespace and lets go of the old one.
///
/// # Errors
/// Those of fchdir(2), pivot_root(2) and umount2(2).
pub fn pivot_to(root: impl AsFd) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open(c"/", flags, Mode::empty())?;
    rustix::process::fchdir(&root)?;
    // Both on the same directory: the old root is then stacked over the new one and needs no directory of its own.
    rustix::process::pivot_root(c".", c".")?;
    rustix::process::fchdir(&old)?;
    // The old tree must not carry our unmounting to the host: it has been made private or slave before.
    set_path_attributes(c".", true, &Change::propagation(Propagation::Slave))?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

/// mount(2) with `MS_MOVE` and chroot(2): what pivot_root(2) cannot do when the root is a ramfs. Everything else stays mounted, hidden.
///
/// # Errors
/// Those of fchdir(2), mount(2) and chroot(2).
pub fn move_and_chroot(root: impl AsFd) -> Result<(), Errno> {
    rustix::process::fchdir(&root)?;
    rustix::mount::mount_move(c".", c"/")?;
    rustix::process::chroot(c".")?;
    rustix::process::chdir(c"/")
}

/// umount2(2) with `MNT_DETACH`.
///
/// # Errors
/// Those of umount2(2).
pub fn detach(path: &CStr) -> Result<(), Errno> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}
