//! What a container shows of the host where a user namespace may not mount the file system anew: `/sys` without a
//! network namespace of its own, and cgroups in which it has no group.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sys::cgroup::{Group, Place};
use sys::mount::{Attr, Change, Propagation};
use types::oci::runtime::{Linux, Mount, NamespaceKind};

use super::mounts::{Links, MountOp, Source};
use super::options::Options;
use super::{Op, Request};
use crate::config;
use crate::error::{Result, step};

/// Whether the container's mounts belong to a user namespace that is not the first one.
pub(super) fn is_confined(linux: &Linux, request: &Request<'_>) -> bool {
    request.standing.plans_inside() || config::has_namespace(linux, NamespaceKind::User)
}

/// A sysfs shows the devices of a network namespace, and only who owns that may mount it.
pub(super) fn needs_sysfs(mount: &Mount, linux: &Linux, request: &Request<'_>) -> bool {
    mount.kind == "sysfs"
        && is_confined(linux, request)
        && !config::has_namespace(linux, NamespaceKind::Network)
}

/// A copy of the host's `/sys` with all beneath.
pub(super) fn sysfs(target: PathBuf, options: &Options) -> Result<Op> {
    let label = format!("mount `/sys` at `/{}`", target.display());
    let tree = sys::mount::clone_tree(c"/sys", true).map_err(step(label.clone()))?;
    let change =
        Change { set: options.set, propagation: Some(Propagation::Private), ..Change::default() };
    sys::mount::set_attributes(&tree, true, &change).map_err(step(label.clone()))?;
    let source = Source::Tree { tree, is_dir: true };
    Ok(Op::Mount(Box::new(MountOp { target, source, label, links: Links::Refuse })))
}

/// Whether the mount is the copy of the host's `/sys` that stands for a sysfs without privileges (`spec --rootless`) and may not be written.
pub(super) fn is_read_only_sys(source: &Path, options: &Options, request: &Request<'_>) -> bool {
    request.standing.plans_inside()
        && source == Path::new("/sys")
        && options.recursive_bind
        && options.set.contains(Attr::RDONLY)
}

/// Makes all of a tree read-only: `ro` alone would leave `/sys/fs/cgroup` beneath `/sys` as it is (CVE-2023-25809).
pub(super) fn protect(tree: &OwnedFd) -> std::result::Result<(), rustix::io::Errno> {
    sys::mount::set_attributes(tree, true, &Change::set(Attr::RDONLY))
}

/// The version 1 hierarchies in which the container has no group of its own: it is where the runtime is, and sees that, read-only.
pub(super) fn foreign<'a>(
    group: &'a Group,
    hierarchies: &'a Group,
) -> impl Iterator<Item = &'a Place> {
    let own =
        |place: &&Place| group.places().iter().any(|own| own.controllers == place.controllers);
    hierarchies.places().iter().filter(move |place| !place.is_unified() && !own(place))
}
