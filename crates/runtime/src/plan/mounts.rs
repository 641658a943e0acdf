//! `mounts` as operations.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use sys::mount::{Attr, Change};
use types::oci::runtime::{IdMapping, Linux, Mount, NamespaceKind, Spec};

use super::options::{BindFlags, Options};
use super::{Op, Request, base_propagation, c_string, host};
use crate::error::{Error, InitFailure, Result, step};
use crate::log;

const PROC_MAGIC: i64 = 0x9fa0;

/// One mount.
#[derive(Debug)]
pub(crate) struct MountOp {
    /// Where, relative to the root.
    pub(crate) target: PathBuf,
    pub(crate) source: Source,
    /// How the mount is named in messages.
    pub(crate) label: String,
    /// How symbolic links on the way to the target are taken.
    pub(crate) links: Links,
}

/// What happens to symbolic links in the path of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are followed inside the root.
    Follow,
    /// The last one is not followed (`dest-nofollow`).
    NotLast,
    /// They are refused: for `/proc` and `/sys`.
    Refuse,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum Source {
    /// A detached tree with its final attributes.
    Tree { tree: OwnedFd, is_dir: bool },
    /// A part of the root file system as earlier mounts have made it.
    Inside(Inside),
    /// A file system that can be made only inside.
    New {
        kind: CString,
        source: Option<CString>,
        params: Vec<(CString, Option<CString>)>,
        attributes: Attr,
        changes: Vec<(bool, Change<'static>)>,
        copy_up: bool,
    },
    /// Other parameters and attributes for what is mounted at the target (`remount`).
    Present { params: Vec<(CString, Option<CString>)>, changes: Vec<(bool, Change<'static>)> },
}

/// A bind mount whose source lies in the root file system, where earlier entries have mounted something.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Relative to the root.
    pub(crate) path: PathBuf,
    pub(crate) recursive: bool,
    pub(crate) flags: BindFlags,
    /// Recursive changes of attributes, before the flags.
    pub(crate) before: Vec<(bool, Change<'static>)>,
    /// Changes of propagation.
    pub(crate) after: Vec<(bool, Change<'static>)>,
    /// The user namespace whose maps the mount gets, and whether all beneath get them.
    pub(crate) map: Option<(OwnedFd, bool)>,
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
) -> Result<Vec<Op>> {
    let mut late = Vec::new();
    let mut maps = IdMaps::default();
    let root = request.rootfs;
    for mount in &spec.mounts {
        let target = sys::inroot::clean(strip_root(root, Path::new(&mount.destination)));
        let mut options = Options::parse(&mount.options);
        if target == Path::new("dev") && !options.bind && options.set.contains(Attr::RDONLY) {
            // Nodes and links are still to be made in it.
            options.set.remove(Attr::RDONLY);
            late.push(Op::Attributes { path: target.clone(), set: Attr::RDONLY });
        }
        let link = copied_link(mount, &target, &options, request);
        let op = if let Some(link) = link {
            link
        } else if options.remount {
            remount(target, &options)?
        } else if is_bind(mount, &options) {
            let place = Place { request, linux, root, ops };
            bind(mount, target, &options, &place, &mut maps)?
        } else if matches!(mount.kind.as_str(), "cgroup" | "cgroup2") {
            cgroup(target, &options, linux, request)?
        } else if host::needs_sysfs(mount, linux, request) {
            host::sysfs(target, &options)?
        } else {
            new(mount, target, &options, linux)?
        };
        ops.push(op);
    }
    Ok(late)
}

/// A destination may be given as the host sees it, as in runc.
fn strip_root<'a>(root: &Path, destination: &'a Path) -> &'a Path {
    match destination.strip_prefix(root) {
        Ok(inside) if root != Path::new("/") => inside,
        _ => destination,
    }
}

/// Where a bind mount stands: the configuration, the root file system, and what is mounted before it.
struct Place<'a> {
    request: &'a Request<'a>,
    linux: &'a Linux,
    root: &'a Path,
    ops: &'a [Op],
}

impl Place<'_> {
    /// The source as a path inside the root, if it shows something that was mounted before.
    fn inside(&self, source: &Path) -> Option<PathBuf> {
        let path = sys::inroot::clean(source.strip_prefix(self.root).ok()?);
        let covers = |op: &Op| match op {
            Op::Mount(mount) => path.starts_with(&mount.target) || mount.target.starts_with(&path),
            _ => false,
        };
        self.ops.iter().any(covers).then_some(path)
    }
}

/// With `copy-symlink` a link as the source stands in the container as the same link, wherever it leads.
fn copied_link(
    mount: &Mount,
    target: &Path,
    options: &Options,
    request: &Request<'_>,
) -> Option<Op> {
    if !options.copy_symlink || !is_bind(mount, options) {
        return None;
    }
    let content = std::fs::read_link(request.bundle.join(&mount.source)).ok()?;
    Some(Op::Link { path: target.to_owned(), content })
}

fn is_bind(mount: &Mount, options: &Options) -> bool {
    options.bind || mount.kind == "bind"
}

/// As mount(2) with `MS_REMOUNT`: attributes that are not asked for go; the file system hears of it when there is something for it.
fn remount(target: PathBuf, options: &Options) -> Result<Op> {
    let label = format!("remount `/{}`", target.display());
    let mut params = params(&options.data)?;
    if !options.bind && options.set.contains(Attr::RDONLY) {
        params.push((c"ro".to_owned(), None));
    }
    let mut options = Options {
        set: options.set,
        clear: Attr::REMOUNT - options.set,
        recursive_set: options.recursive_set,
        recursive_clear: options.recursive_clear,
        propagation: options.propagation.clone(),
        ..Options::default()
    };
    if !options.set.intersects(Attr::ATIME) {
        options.clear |= Attr::ATIME;
    }
    let source = Source::Present { params, changes: options.changes() };
    Ok(Op::Mount(Box::new(MountOp { target, source, label, links: Links::Follow })))
}

fn params(data: &[(String, Option<String>)]) -> Result<Vec<(CString, Option<CString>)>> {
    let param = |(key, value): &(String, Option<String>)| {
        Ok((c_string(key)?, value.as_deref().map(c_string).transpose()?))
    };
    data.iter().map(param).collect()
}

/// Opens the source now, in the host's namespaces, and gives the copy its final attributes.
fn bind(
    mount: &Mount,
    target: PathBuf,
    options: &Options,
    place: &Place<'_>,
    maps: &mut IdMaps,
) -> Result<Op> {
    warn_of_data(mount, options);
    let source = place.request.bundle.join(&mount.source);
    let label = format!("mount `{}` at `/{}`", source.display(), target.display());
    let links = if options.target_no_follow { Links::NotLast } else { Links::Follow };
    let map = maps.of(mount, options, place.linux)?;
    let source = match place.inside(&source) {
        Some(path) => Source::Inside(inside(path, options, place, map)?),
        None => outside(mount, (&source, &target), options, place, map)?,
    };
    Ok(Op::Mount(Box::new(MountOp { target, source, label, links })))
}

fn inside(
    path: PathBuf,
    options: &Options,
    place: &Place<'_>,
    map: Option<&OwnedFd>,
) -> Result<Inside> {
    let map = map.map(OwnedFd::try_clone).transpose().map_err(step("keep a user namespace"))?;
    let base = Change::propagation(base_propagation(place.linux));
    Ok(Inside {
        path,
        recursive: options.recursive_bind,
        flags: options.bind_flags(host::is_confined(place.linux, place.request)),
        before: options.recursive_change().into_iter().collect(),
        after: std::iter::once((true, base)).chain(options.propagations()).collect(),
        map: map.map(|fd| (fd, options.recursive_id_map)),
    })
}

fn outside(
    mount: &Mount,
    (source, target): (&Path, &Path),
    options: &Options,
    place: &Place<'_>,
    map: Option<&OwnedFd>,
) -> Result<Source> {
    let label = format!("mount `{}` at `/{}`", source.display(), target.display());
    let failed = || step(label.clone());
    let path = c_string(&source.display().to_string())?;
    let clone = if options.source_no_follow {
        sys::mount::clone_tree_no_follow
    } else {
        sys::mount::clone_tree
    };
    let tree = clone(&path, options.recursive_bind).map_err(failed())?;
    let base = Change::propagation(base_propagation(place.linux));
    let base = (base.propagation != Some(sys::mount::Propagation::Shared)).then_some((true, base));
    let flags = options.bind_flags(host::is_confined(place.linux, place.request));
    let own = sys::mount::attributes(&tree).and_then(|now| flags.change(now));
    let own = own.map_err(|error| not_changeable(mount, error))?;
    let own = (!own.is_empty()).then_some((false, own));
    let changes = base.into_iter().chain(options.recursive_change()).chain(own);
    for (recursive, change) in changes.chain(options.propagations()) {
        sys::mount::set_attributes(&tree, recursive, &change).map_err(failed())?;
    }
    if host::is_read_only_sys(source, options, place.request) {
        host::protect(&tree).map_err(failed())?;
    }
    if let Some(namespace) = map {
        let change =
            Change { set: Attr::IDMAP, userns: Some(namespace.as_fd()), ..Change::default() };
        let what = format!("map the ids of the mount at `{}`", mount.destination);
        sys::mount::set_attributes(&tree, options.recursive_id_map, &change).map_err(step(what))?;
    }
    if target == Path::new("proc")
        && rustix::fs::fstatfs(&tree).map_err(failed())?.f_type != PROC_MAGIC
    {
        return Err(not_proc(mount));
    }
    let stat = rustix::fs::fstat(&tree).map_err(failed())?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(Source::Tree { tree, is_dir })
}

/// runc's words for attributes that a user namespace may not clear.
fn not_changeable(mount: &Mount, error: rustix::io::Errno) -> Error {
    let text = format!("error mounting {:?} to rootfs at {:?}", mount.source, mount.destination);
    Error::Init { source: InitFailure::new(text, error) }
}

/// A fake of procfs would take labels and settings that are meant for the kernel (CVE-2019-16884). runc's words.
fn not_proc(mount: &Mount) -> Error {
    let target = &mount.destination;
    Error::Config(format!("{target:?} cannot be mounted because it is not of type proc"))
}

/// A bind mount has no parameters: mount(2) drops them without a word.
fn warn_of_data(mount: &Mount, options: &Options) {
    for (key, _) in &options.data {
        log::warn(&format!(
            "mount option {key:?} has no effect on the bind mount at {:?}",
            mount.destination
        ));
    }
}

/// User namespaces for id-mapped mounts, one for each pair of maps.
#[derive(Default)]
struct IdMaps(Vec<(Vec<IdMapping>, Vec<IdMapping>, OwnedFd)>, Option<OwnedFd>);

impl IdMaps {
    /// The user namespace by whose maps the owners of files are mapped: the mount's own maps, or else those of the container's.
    fn of(&mut self, mount: &Mount, options: &Options, linux: &Linux) -> Result<Option<&OwnedFd>> {
        let own = !mount.uid_mappings.is_empty() && !mount.gid_mappings.is_empty();
        if !options.id_mapped && mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty() {
            return Ok(None);
        }
        let joined = linux
            .namespaces
            .iter()
            .find(|ns| ns.kind == NamespaceKind::User && !ns.path.is_empty());
        let what = || format!("map the ids of the mount at `{}`", mount.destination);
        match joined {
            Some(joined) if !own => {
                let opened = File::open(&joined.path).map_err(step(what()))?.into();
                Ok(Some(self.1.insert(opened)))
            }
            _ if own => self.namespace(&mount.uid_mappings, &mount.gid_mappings).map(Some),
            _ if linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty() => {
                let text = format!(
                    "the id-mapped mount at {:?} needs uid and gid mappings",
                    mount.destination
                );
                Err(Error::Config(text))
            }
            _ => self.namespace(&linux.uid_mappings, &linux.gid_mappings).map(Some),
        }
    }

    fn namespace(&mut self, uids: &[IdMapping], gids: &[IdMapping]) -> Result<&OwnedFd> {
        let known = self.0.iter().position(|(u, g, _)| u == uids && g == gids);
        let at = match known {
            Some(at) => at,
            None => {
                let made = super::idmap::user_namespace(uids, gids)?;
                self.0.push((uids.to_vec(), gids.to_vec(), made));
                self.0.len() - 1
            }
        };
        Ok(&self.0[at].2)
    }
}

fn new(mount: &Mount, target: PathBuf, options: &Options, linux: &Linux) -> Result<Op> {
    let label = format!("mount `{}` at `/{}`", mount.kind, target.display());
    if mount.kind.is_empty() {
        return Err(Error::Config(format!("the mount at {:?} has no type", mount.destination)));
    }
    if target == Path::new("proc") && mount.kind != "proc" {
        return Err(not_proc(mount));
    }
    if options.id_mapped || !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        let text = format!(
            "uidMappings and gidMappings are supported only for bind mounts, not for {:?}",
            mount.destination
        );
        return Err(Error::Config(text));
    }
    let mut params = params(&options.data)?;
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
        links: if matches!(mount.kind.as_str(), "proc" | "sysfs") {
            Links::Refuse
        } else {
            Links::Follow
        },
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

fn cgroup(target: PathBuf, options: &Options, linux: &Linux, request: &Request<'_>) -> Result<Op> {
    if request.group.is_version_2() || request.hierarchies.is_version_2() {
        let label = format!("mount `cgroup2` at `/{}`", target.display());
        let has = |kind| crate::config::has_namespace(linux, kind);
        if host::is_confined(linux, request) && !has(NamespaceKind::Cgroup) {
            return own_group(target, label, options, request);
        }
        // Without a group of its own the container would see the caller's.
        let foreign = request.group.places().is_empty();
        let read_only = if foreign { Attr::RDONLY } else { Attr::empty() };
        return Ok(Op::Mount(Box::new(MountOp {
            target,
            label,
            links: Links::Follow,
            source: Source::New {
                kind: c"cgroup2".to_owned(),
                source: Some(c"cgroup".to_owned()),
                params: Vec::new(),
                attributes: options.set | read_only,
                changes: Vec::new(),
                copy_up: false,
            },
        })));
    }
    let mut view =
        CgroupView { target, trees: Vec::new(), links: Vec::new(), attributes: options.set };
    for place in request.group.places().iter().filter(|place| !place.is_unified()) {
        add_hierarchy(place, options.set, &mut view)?;
    }
    for place in host::foreign(request.group, request.hierarchies) {
        add_hierarchy(place, options.set | Attr::RDONLY, &mut view)?;
    }
    Ok(Op::Cgroup(Box::new(view)))
}

/// Root of a user namespace could write into every group that the owner of the namespace may write into, if it saw them
/// (CVE-2023-25809): without a cgroup namespace it gets its own group, read-only.
fn own_group(
    target: PathBuf,
    label: String,
    options: &Options,
    request: &Request<'_>,
) -> Result<Op> {
    let directory = request.group.unified().or(request.hierarchies.unified());
    let directory = directory.unwrap_or(Path::new("/sys/fs/cgroup"));
    let tree = sys::mount::clone_tree(&c_string(&directory.display().to_string())?, false)
        .map_err(step(label.clone()))?;
    let change = Change {
        set: options.set | Attr::RDONLY,
        propagation: Some(sys::mount::Propagation::Private),
        ..Change::default()
    };
    sys::mount::set_attributes(&tree, true, &change).map_err(step(label.clone()))?;
    let source = Source::Tree { tree, is_dir: true };
    Ok(Op::Mount(Box::new(MountOp { target, source, label, links: Links::Follow })))
}

/// A copy of the group's own directory shows the same as a new mount of the hierarchy in the container's cgroup namespace, for
/// one system call instead of five.
fn add_hierarchy(
    place: &sys::cgroup::Place,
    attributes: Attr,
    view: &mut CgroupView,
) -> Result<()> {
    let what = format!("open the cgroup `{}`", place.directory.display());
    let path = c_string(&place.directory.display().to_string())?;
    let tree = sys::mount::clone_tree(&path, false).map_err(step(what.clone()))?;
    let private = Change {
        set: attributes,
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
