//! The overlay mount of a container, by the new mount API where the kernel has it.
//!
//! Options: `index=off` (two containers share lower directories), `redirect_dir=off` and `metacopy=off` (the upper directory alone says
//! everything, so that it can be packed as a layer). Lower directories are named by their short links in `l/`, one call each
//! (`lowerdir+`, Linux 6.7); on older kernels all in one string, and when that does not fit a page, by descriptors.

use std::ffi::CString;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
};
use types::ContainerId;

use crate::{ContainerFs, Error, Store};

/// fsconfig(2) takes strings shorter than this.
const MOST_VALUE: usize = 255;
/// mount(2) takes one page of options.
const MOST_OPTIONS: usize = 4095;

impl Store {
    /// Mounts a container's file system at its `merged` directory and returns that; one that is mounted already is fine.
    ///
    /// # Errors
    /// `NotFound`; `Internal`, with the kernel's words, when the mount fails.
    pub fn mount(&self, id: &ContainerId) -> Result<PathBuf, Error> {
        let missing = || Error::NoContainer { id: id.clone() };
        let fs = self.container(id).ok_or_else(missing)?;
        let links = self.root().join("l");
        let lower: Vec<PathBuf> =
            self.lower_links(id).ok_or_else(missing)?.iter().map(|link| links.join(link)).collect();
        if is_mounted(&fs.merged).map_err(Error::at("stat", &fs.merged))? {
            return Ok(fs.merged);
        }
        let mounted = match mount_new(&lower, &fs) {
            // No fsopen (before 5.2, or a seccomp filter around us), no lowerdir+ (before 6.7), or a path too long for it.
            Err(first @ Refusal { errno: Errno::NOSYS | Errno::INVAL | Errno::PERM, .. }) => {
                mount_old(&lower, &fs).map_err(|second| first.or(second))
            }
            other => other,
        };
        mounted.map_err(|refusal| Error::Mount {
            path: fs.merged.clone(),
            said: refusal.said,
            source: refusal.errno.into(),
        })?;
        Ok(fs.merged)
    }

    /// Unmounts a container's file system lazily; one that is not mounted is fine.
    ///
    /// # Errors
    /// `NotFound`; `Internal` when the unmount fails.
    pub fn unmount(&self, id: &ContainerId) -> Result<(), Error> {
        let fs = self.container(id).ok_or_else(|| Error::NoContainer { id: id.clone() })?;
        loop {
            match rustix::mount::unmount(&fs.merged, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            {
                // Mounted twice by somebody: take all of it away.
                Ok(()) => {}
                Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(Error::at("unmount", &fs.merged)(errno)),
            }
        }
    }

    /// Tells whether a container's file system is mounted, asking the kernel.
    #[must_use]
    pub fn is_mounted(&self, id: &ContainerId) -> bool {
        self.container(id).is_some_and(|fs| is_mounted(&fs.merged).unwrap_or(false))
    }
}

/// Tells whether `path` is the root of a mount: statx(2) says so since Linux 5.8; before, device numbers differ.
fn is_mounted(path: &Path) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
    if stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    }
    let device = rustix::fs::lstat(path)?.st_dev;
    Ok(device != rustix::fs::lstat(path.parent().unwrap_or(path))?.st_dev)
}

/// Why the kernel would not mount.
struct Refusal {
    errno: Errno,
    said: String,
}

impl Refusal {
    /// Chooses between what the new and what the old way to mount answered: the new one has words, unless they are about the way itself.
    fn or(self, old: Self) -> Self {
        if self.said.is_empty() || self.said.contains("lowerdir+") { old } else { self }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, said: String::new() }
    }
}

fn mount_new(lower: &[PathBuf], fs: &ContainerFs) -> Result<(), Refusal> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let said = |errno| Refusal { errno, said: words(&context) };
    configure(context.as_fd(), lower, fs).map_err(said)?;
    let mount =
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .map_err(said)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&mount, "", CWD, &fs.merged, flags)?;
    Ok(())
}

fn configure(
    context: BorrowedFd<'_>,
    lower: &[PathBuf],
    fs: &ContainerFs,
) -> rustix::io::Result<()> {
    let set = |key: &str, value: &Path| {
        if value.as_os_str().len() > MOST_VALUE {
            return Err(Errno::INVAL);
        }
        rustix::mount::fsconfig_set_string(context, key, value)
    };
    rustix::mount::fsconfig_set_string(context, "source", "overlay")?;
    for path in lower {
        set("lowerdir+", path)?;
    }
    set("upperdir", &fs.upper)?;
    set("workdir", &fs.work)?;
    for key in ["index", "redirect_dir", "metacopy"] {
        rustix::mount::fsconfig_set_string(context, key, "off")?;
    }
    rustix::mount::fsconfig_create(context)
}

/// Reads what the kernel says about a mount that failed (fsopen(2): messages are read from the context).
fn words(context: &OwnedFd) -> String {
    let mut said = String::new();
    let Ok(copy) = context.try_clone() else { return said };
    let mut file = std::fs::File::from(copy);
    let mut line = [0; 512];
    // One message per read, the errors among them marked by `e `.
    while let Ok(count @ 1..) = file.read(&mut line) {
        let text = String::from_utf8_lossy(&line[..count]);
        if let Some(text) = text.trim_end().strip_prefix("e ") {
            said.push_str(": ");
            said.push_str(text);
        }
    }
    said
}

fn mount_old(lower: &[PathBuf], fs: &ContainerFs) -> Result<(), Refusal> {
    let own = [fs.upper.clone(), fs.work.clone()];
    let plain = lower.iter().chain(&own).all(|path| is_plain(path));
    let named = options(lower, &own, "index=off,redirect_dir=off,metacopy=off");
    let (options, _held) = if plain && named.as_bytes().len() <= MOST_OPTIONS {
        (named, Vec::new())
    } else {
        by_descriptor(lower, &own)?
    };
    let mounted = mount_with(&options, &fs.merged);
    // Kernels before 4.13 do not know all of the switches.
    if mounted == Err(Errno::INVAL) && plain {
        let bare = self::options(lower, &own, "");
        if bare.as_bytes().len() <= MOST_OPTIONS {
            return mount_with(&bare, &fs.merged).map_err(Refusal::from);
        }
    }
    mounted.map_err(Refusal::from)
}

fn mount_with(options: &CString, at: &Path) -> rustix::io::Result<()> {
    rustix::mount::mount("overlay", at, "overlay", MountFlags::empty(), options.as_c_str())
}

/// Tells whether a path can stand in an option string without quoting.
fn is_plain(path: &Path) -> bool {
    !path.as_os_str().as_bytes().iter().any(|b| matches!(b, b':' | b',' | b'\\'))
}

/// Names every directory by a descriptor of ours: short, whatever its path.
fn by_descriptor(lower: &[PathBuf], own: &[PathBuf]) -> Result<(CString, Vec<OwnedFd>), Refusal> {
    let mut held = Vec::new();
    let mut name = |path: &PathBuf| -> rustix::io::Result<PathBuf> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let name = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        held.push(fd);
        Ok(name)
    };
    let lower = lower.iter().map(&mut name).collect::<Result<Vec<_>, _>>()?;
    let own = own.iter().map(&mut name).collect::<Result<Vec<_>, _>>()?;
    Ok((options(&lower, &own, "index=off"), held))
}

fn options(lower: &[PathBuf], own: &[PathBuf], switches: &str) -> CString {
    let mut options = b"lowerdir=".to_vec();
    for (at, path) in lower.iter().enumerate() {
        if at > 0 {
            options.push(b':');
        }
        options.extend_from_slice(path.as_os_str().as_bytes());
    }
    for (key, path) in [",upperdir=", ",workdir="].iter().zip(own) {
        options.extend_from_slice(key.as_bytes());
        options.extend_from_slice(path.as_os_str().as_bytes());
    }
    if !switches.is_empty() {
        options.push(b',');
        options.extend_from_slice(switches.as_bytes());
    }
    CString::new(options).unwrap_or_default()
}
