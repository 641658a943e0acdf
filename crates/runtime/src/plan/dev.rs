//! `/dev`: the default nodes (OCI runtime-spec config-linux.md#default-devices) and `linux.devices`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dev, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use sys::mount::{Attr, Change, Propagation};
use types::oci::runtime::{Device, IdMapping, Linux, Spec};

use super::{Op, Request, c_string, host};
use crate::error::{Error, Result, step};

/// One device node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Relative to the root.
    pub(crate) path: PathBuf,
    pub(crate) kind: FileType,
    pub(crate) device: Dev,
    pub(crate) mode: Mode,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether it is one of `linux.devices`: another file in its place is an error then.
    pub(crate) configured: bool,
    /// The host's node, where nodes cannot be made: in a user namespace.
    pub(crate) bind: Option<OwnedFd>,
}

const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// The part that opens nothing.
pub(super) fn rehearse(linux: &Linux) {
    let _ = linux.devices.iter().map(configured).count();
}

pub(super) fn plan(
    spec: &Spec,
    linux: &Linux,
    request: &Request<'_>,
    ops: &mut Vec<Op>,
) -> Result<()> {
    let is_hosts = |mount: &types::oci::runtime::Mount| {
        let has = |word: &str| mount.options.iter().any(|option| option == word);
        let bind = (mount.kind == "bind" || has("bind") || has("rbind")) && !has("remount");
        bind && sys::inroot::clean(Path::new(&mount.destination)) == Path::new("dev")
    };
    let bound = spec.mounts.iter().any(is_hosts);
    let mut nodes: Vec<Node> = linux.devices.iter().map(configured).collect();
    if bound {
        // Nothing is made in a /dev of the host's.
        nodes.retain(|node| !node.path.starts_with("dev"));
    }
    for (name, major, minor) in DEFAULT.into_iter().filter(|_| !bound) {
        let path = Path::new("dev").join(name);
        if nodes.iter().all(|node| node.path != path) {
            nodes.push(Node {
                path,
                kind: FileType::CharacterDevice,
                device: rustix::fs::makedev(major, minor),
                mode: Mode::from_raw_mode(0o666),
                uid: 0,
                gid: 0,
                configured: false,
                bind: None,
            });
        }
    }
    if host::is_confined(linux, request) {
        nodes.iter_mut().try_for_each(|node| bind_hosts(node, linux))?;
    }
    if !nodes.is_empty() {
        ops.push(Op::Nodes(nodes));
    }
    if !bound {
        ops.push(Op::Links);
    }
    Ok(())
}

fn configured(device: &Device) -> Node {
    let number = |value: i64| u32::try_from(value).unwrap_or(0);
    Node {
        path: sys::inroot::clean(Path::new(&device.path)),
        kind: match device.kind.as_str() {
            "b" => FileType::BlockDevice,
            "p" => FileType::Fifo,
            _ => FileType::CharacterDevice,
        },
        device: rustix::fs::makedev(number(device.major), number(device.minor)),
        mode: Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777),
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        configured: true,
        bind: None,
    }
}

/// A node that the host has not: it is made in a small file system that is mounted nowhere, with the host's rights and ids, and
/// a copy of the node's mount goes into the container (copies of what is mounted nowhere: Linux 6.15).
fn made_elsewhere(node: &Node, linux: &Linux) -> std::result::Result<OwnedFd, Errno> {
    let tree = sys::mount::new_file_system(c"tmpfs", Some(c"dev"), &[], Attr::empty())?;
    rustix::fs::mknodat(&tree, "node", node.kind, Mode::empty(), node.device)?;
    let owner = Uid::from_raw(host_id(&linux.uid_mappings, node.uid));
    let group = Gid::from_raw(host_id(&linux.gid_mappings, node.gid));
    rustix::fs::chownat(&tree, "node", Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::chmodat(&tree, "node", node.mode, AtFlags::empty())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&tree, "node", flags, Mode::empty())?;
    sys::mount::clone_tree_of(&made, false)
}

/// The host's number for an id of the container; what is mapped to nobody belongs to root.
fn host_id(maps: &[IdMapping], id: u32) -> u32 {
    let offset = |map: &IdMapping| id.checked_sub(map.container_id).filter(|at| *at < map.size);
    maps.iter().find_map(|map| map.host_id.checked_add(offset(map)?)).unwrap_or(0)
}

fn bind_hosts(node: &mut Node, linux: &Linux) -> Result<()> {
    if node.kind == FileType::Fifo {
        return Ok(());
    }
    let path = format!("/{}", node.path.display());
    let tree = match sys::mount::clone_tree(&c_string(&path)?, false) {
        Err(Errno::NOENT) => made_elsewhere(node, linux),
        other => other,
    };
    let tree = tree.map_err(step(format!("open the device `{path}`")))?;
    // A peer of the host's mount would hand on what the container mounts over its device.
    let private = Change::propagation(Propagation::Private);
    sys::mount::set_attributes(&tree, false, &private)
        .map_err(step(format!("set the propagation of the device `{path}`")))?;
    let stat = rustix::fs::fstat(&tree).map_err(step(format!("look at the device `{path}`")))?;
    if FileType::from_raw_mode(stat.st_mode) != node.kind || stat.st_rdev != node.device {
        let (major, minor) = (rustix::fs::major(node.device), rustix::fs::minor(node.device));
        let text = format!("`{path}` is not the device {major}:{minor} that linux.devices says");
        return Err(Error::Config(text));
    }
    node.bind = Some(tree);
    Ok(())
}
