//! Keeping the runtime's own file out of the container's reach (CVE-2019-5736).
//!
//! A container whose program is `/proc/self/exe` runs the runtime's file, and another process in it can then open that file and write
//! into it once it no longer runs. The file is therefore run from a read-only copy of its mount. Who starts the runtime from a
//! read-only mount has done it already and pays nothing; otherwise the runtime starts itself once more, from a detached one.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
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
    match restart(&own) {
        Ok(never) => match never {},
        // No right to clone mounts: then there is no right to make containers either, and that says it better.
        Err(error) => log::debug(&format!("the runtime runs from a writable mount: {error}")),
    }
}

fn restart(own: &File) -> Result<Infallible, Errno> {
    let tree = sys::mount::clone_tree_of(own, false)?;
    let change =
        Change { set: Attr::RDONLY, propagation: Some(Propagation::Private), ..Change::default() };
    sys::mount::set_attributes(&tree, false, &change)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&tree, c"", flags, Mode::empty());
    let file = file.as_ref().map_or(tree.as_fd(), AsFd::as_fd);
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
