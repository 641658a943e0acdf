//! The user namespace whose maps an id-mapped mount uses (mount_setattr(2), `MOUNT_ATTR_IDMAP`, Linux 5.12).

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};

use sys::clone::{CloneRequest, Cloned, Namespaces, clone_process, exit_child};
use types::oci::runtime::IdMapping;

use crate::error::{Result, step};
use crate::rootless::lines;

/// Makes a user namespace with the given maps: a process is born into it, the maps are written, and it ends; the descriptor
/// keeps the namespace.
pub(super) fn user_namespace(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    let what = "make a user namespace for an id-mapped mount";
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(step(what))?;
    let request = CloneRequest { namespaces: Namespaces::USER, ..CloneRequest::default() };
    match clone_process(&request).map_err(step(what))? {
        Cloned::Child { .. } => {
            drop(writer);
            // Until the runtime closes its end, or is gone.
            let _ = rustix::io::read(&reader, &mut [0; 1]);
            exit_child(0)
        }
        Cloned::Parent { pid, pidfd } => {
            let directory = format!("/proc/{}", pid.as_raw_nonzero());
            let made = fs::write(format!("{directory}/uid_map"), lines(uids))
                .and_then(|()| fs::write(format!("{directory}/gid_map"), lines(gids)))
                .and_then(|()| File::open(format!("{directory}/ns/user")));
            drop(writer);
            let _ = sys::pidfd::wait(pidfd.as_fd());
            made.map(OwnedFd::from).map_err(step(what))
        }
    }
}
