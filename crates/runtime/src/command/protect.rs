//! Keeping the runtime's own file out of the container's reach (CVE-2019-5736).
//!
//! A container whose program is `/proc/self/exe` runs the runtime's file, and another process in it can then open that file and write
//! into it once it no longer runs. The file is therefore run from a read-only copy of its mount, or by a user who may not copy mounts and to whom
//! the file belongs from a copy in memory. Who starts the runtime from a
//! read-only mount has done it already and pays nothing; otherwise the runtime starts itself once more, from a detached one.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{Access, AtFlags, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use sys::clone::CStringArray;
use sys::mount::{Attr, Change, Propagation};

use crate::log;

/// Makes sure that the running file cannot be written through `/proc/self/exe`.
pub(super) fn run() {
    let Ok(own) = File::open("/proc/self/exe") else { return };
    let read_only = rustix::fs::fstatvfs(&own)
        .is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    if read_only {
        return;
    }
    let restarted = match restart(&own) {
        // No right to clone mounts: a user without privileges, to whom the file may belong.
        Err(_) if may_be_changed(&own) => restart_copy(&own),
        other => other,
    };
    match restarted {
        Ok(never) => match never {},
        Err(error) => log::debug(&format!("the runtime runs from a writable mount: {error}")),
    }
}

/// Whether this user could write into the file or allow it to himself. A sealed copy cannot be changed by anybody.
fn may_be_changed(own: &File) -> bool {
    let uid = rustix::process::geteuid();
    let owned = rustix::fs::fstat(own).is_ok_and(|stat| stat.st_uid == uid.as_raw());
    let writable = || {
        let path = c"/proc/self/exe";
        rustix::fs::accessat(rustix::fs::CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    };
    let sealed =
        || rustix::fs::fcntl_get_seals(own).is_ok_and(|seals| seals.contains(SealFlags::WRITE));
    (owned || writable()) && !sealed()
}

/// Starts a copy in memory that is sealed against all change, memfd_create(2).
fn restart_copy(own: &File) -> Result<Infallible, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = File::from(rustix::fs::memfd_create("belljar-runtime", flags)?);
    let broken = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    std::io::copy(&mut &*own, &mut &copy).map_err(broken)?;
    rustix::fs::fchmod(&copy, Mode::from_raw_mode(0o555))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    execute(copy.as_fd())
}

fn restart(own: &File) -> Result<Infallible, Errno> {
    let tree = sys::mount::clone_tree_of(own, false)?;
    let change =
        Change { set: Attr::RDONLY, propagation: Some(Propagation::Private), ..Change::default() };
    sys::mount::set_attributes(&tree, false, &change)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&tree, c"", flags, Mode::empty());
    let file = file.as_ref().map_or(tree.as_fd(), AsFd::as_fd);
    execute(file)
}

/// Runs the open file with the arguments and the environment of this process.
fn execute(file: BorrowedFd<'_>) -> Result<Infallible, Errno> {
    let strings =
        |list: Vec<Vec<u8>>| list.into_iter().filter_map(|s| CString::new(s).ok()).collect();
    let args: Vec<CString> = strings(std::env::args_os().map(OsStringExt::into_vec).collect());
    let env: Vec<CString> = strings(
        std::env::vars_os()
            .map(|(key, value)| [key.into_vec(), b"=".to_vec(), value.into_vec()].concat())
            .collect(),
    );
    sys::clone::execute_file(file, &CStringArray::new(args), &CStringArray::new(env))
}
