//! `mounts` as operations.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use sys::mount::{Attr, Change};
use types::oci::runtime::{Linux, Mount, Spec};

use super::options::Options;
use super::{Op, Request, base_propagation, c_string};
use crate::error::{Error, Result, step};

/// One mount.
#[derive(Debug)]
pub(crate) struct MountOp {
    /// Where, relative to the root.
    pub(crate) target: PathBuf,
    pub(crate) source: Source,
    /// How the mount is named in messages.
    pub(crate) label: String,
    /// Whether a symbolic link on the way to the target is refused: for `/proc` and `/sys`.
    pub(crate) no_symlinks: bool,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum Source {
    /// A detached tree with its final attributes.
    Tree { tree: OwnedFd, is_dir: bool },
    /// A file system that can be made only inside.
    New {
        kind: CString,
        source: Option<CString>,
        params: Vec<(CString, Option<CString>)>,
        attributes: Attr,
        changes: Vec<(bool, Change<'static>)>,
        copy_up: bool,
    },
}

/// `/sys/fs/cgroup` on version 1: a small tmpfs with one directory per hierarchy, each showing the container's own group.
#[derive(Debug)]
pub(crate) struct CgroupView {
    pub(crate) target: PathBuf,
    pub(crate) trees: Vec<(String, OwnedFd)>,
    pub(crate) links: Vec<(String, String)>,
    pub(crate) attributes: Attr,
}

pub(super) fn plan(
    spec: &Spec,
    linux: &Linux,
    request: &Request<'_>,
    ops: &mut Vec<Op>,
) -> Result<()> {
    let mut late = Vec::new();
    for mount in &spec.mounts {
        let target = sys::inroot::clean(Path::new(&mount.destination));
        let mut options = Options::parse(&mount.options);
        if target == Path::new("dev") && !options.bind && options.set.contains(Attr::RDONLY) {
            // Nodes and links are still to be made in it.
            options.set.remove(Attr::RDONLY);
            late.push(Op::Attributes { path: target.clone(), set: Attr::RDONLY });
        }
        let is_bind = options.bind || mount.kind == "bind";
        let op = if is_bind {
            bind(mount, target, &options, linux, request.bundle)?
        } else if matches!(mount.kind.as_str(), "cgroup" | "cgroup2") {
            cgroup(target, &options, request)?
        } else {
            new(mount, target, &options, linux)?
        };
        ops.push(op);
    }
    ops.extend(late);
    Ok(())
}

/// Opens the source now, in the host's namespaces, and gives the copy its final attributes.
fn bind(
    mount: &Mount,
    target: PathBuf,
    options: &Options,
    linux: &Linux,
    bundle: &Path,
) -> Result<Op> {
    let source = bundle.join(&mount.source);
    let label = format!("mount `{}` at `/{}`", source.display(), target.display());
    let tree =
        sys::mount::clone_tree(&c_string(&source.display().to_string())?, options.recursive_bind)
            .map_err(step(label.clone()))?;
    let base = Change::propagation(base_propagation(linux));
    let base = (base.propagation != Some(sys::mount::Propagation::Shared)).then_some((true, base));
    for (recursive, change) in base.into_iter().chain(options.changes()) {
        sys::mount::set_attributes(&tree, recursive, &change).map_err(step(label.clone()))?;
    }
    if options.id_mapped || !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        id_map(&tree, mount, options, linux)?;
    }
    let stat = rustix::fs::fstat(&tree).map_err(step(label.clone()))?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let source = Source::Tree { tree, is_dir };
    Ok(Op::Mount(Box::new(MountOp { target, source, label, no_symlinks: false })))
}

/// Maps the owners of files: by the mount's own maps, or else by those of the container.
fn id_map(tree: &OwnedFd, mount: &Mount, options: &Options, linux: &Linux) -> Result<()> {
    let own = !mount.uid_mappings.is_empty() && !mount.gid_mappings.is_empty();
    let (uids, gids) = if own {
        (&mount.uid_mappings, &mount.gid_mappings)
    } else {
        (&linux.uid_mappings, &linux.gid_mappings)
    };
    if uids.is_empty() || gids.is_empty() {
        let text =
            format!("the id-mapped mount at {:?} needs uid and gid mappings", mount.destination);
        return Err(Error::Config(text));
    }
    let namespace = super::idmap::user_namespace(uids, gids)?;
    let change = Change { set: Attr::IDMAP, userns: Some(namespace.as_fd()), ..Change::default() };
    sys::mount::set_attributes(tree, options.recursive_id_map, &change)
        .map_err(step(format!("map the ids of the mount at `{}`", mount.destination)))
}

fn new(mount: &Mount, target: PathBuf, options: &Options, linux: &Linux) -> Result<Op> {
    let label = format!("mount `{}` at `/{}`", mount.kind, target.display());
    if mount.kind.is_empty() {
        return Err(Error::Config(format!("the mount at {:?} has no type", mount.destination)));
    }
    let mut params = Vec::new();
    for (key, value) in &options.data {
        let value = value.as_deref().map(c_string).transpose()?;
        params.push((c_string(key)?, value));
    }
    let labelled = !matches!(mount.kind.as_str(), "proc" | "sysfs" | "mqueue");
    if !linux.mount_label.is_empty() && labelled {
        params.push((c"context".to_owned(), Some(c_string(&linux.mount_label)?)));
    }
    let source = if mount.source.is_empty() { &mount.kind } else { &mount.source };
    // fsmount(2) knows the low attributes only; the others are set on the new mount.
    let high = Attr::NOSYMFOLLOW;
    let later = Options {
        set: options.set & high,
        propagation: options.propagation.clone(),
        ..Options::default()
    };
    let mut changes = later.changes();
    let recursive =
        Change { set: options.recursive_set, clear: options.recursive_clear, ..Change::default() };
    if !recursive.is_empty() {
        changes.insert(0, (true, recursive));
    }
    Ok(Op::Mount(Box::new(MountOp {
        no_symlinks: matches!(mount.kind.as_str(), "proc" | "sysfs"),
        source: Source::New {
            kind: c_string(&mount.kind)?,
            source: Some(c_string(source)?),
            params,
            attributes: options.set - high,
            changes,
            copy_up: options.copy_up && mount.kind == "tmpfs",
        },
        target,
        label,
    })))
}

fn cgroup(target: PathBuf, options: &Options, request: &Request<'_>) -> Result<Op> {
    if request.group.is_version_2() {
        let label = format!("mount `cgroup2` at `/{}`", target.display());
        return Ok(Op::Mount(Box::new(MountOp {
            target,
            label,
            no_symlinks: false,
            source: Source::New {
                kind: c"cgroup2".to_owned(),
                source: Some(c"cgroup".to_owned()),
                params: Vec::new(),
                attributes: options.set,
                changes: Vec::new(),
                copy_up: false,
            },
        })));
    }
    let mut view =
        CgroupView { target, trees: Vec::new(), links: Vec::new(), attributes: options.set };
    for place in request.group.places().iter().filter(|place| !place.is_unified()) {
        add_hierarchy(place, options, &mut view)?;
    }
    Ok(Op::Cgroup(Box::new(view)))
}

/// A copy of the group's own directory shows the same as a new mount of the hierarchy in the container's cgroup namespace, for
/// one system call instead of five.
fn add_hierarchy(
    place: &sys::cgroup::Place,
    options: &Options,
    view: &mut CgroupView,
) -> Result<()> {
    let what = format!("open the cgroup `{}`", place.directory.display());
    let path = c_string(&place.directory.display().to_string())?;
    let tree = sys::mount::clone_tree(&path, false).map_err(step(what.clone()))?;
    let private = Change {
        set: options.set,
        propagation: Some(sys::mount::Propagation::Private),
        ..Change::default()
    };
    sys::mount::set_attributes(&tree, true, &private).map_err(step(what))?;
    let name = place.mount.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| place.controllers.join(","));
    if place.controllers.len() > 1 {
        let links = place.controllers.iter().filter(|controller| **controller != name);
        view.links.extend(links.map(|controller| (controller.clone(), name.clone())));
    }
    view.trees.push((name, tree));
    Ok(())
}
