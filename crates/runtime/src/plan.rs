//! A configuration as a list of small operations, made before the process exists.
//!
//! Everything that can be looked up, opened, compiled or refused is done here, by the runtime's own process in the host's namespaces;
//! the container's process then only applies the list. Bind mounts are opened here as detached trees, so no path of the host is
//! resolved inside.

mod dev;
mod host;
mod idmap;
mod memory;
mod mounts;
mod options;
mod program;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sys::clone::Namespaces;
use sys::mount::{Attr, Change, Propagation};
use types::oci::runtime::{Hook, IdMapping, Linux, NamespaceKind, Spec};

use crate::config;
use crate::error::{Error, Result, step};
use crate::rootless::Standing;

pub(crate) use dev::Node;
#[cfg(test)]
pub(crate) use memory::policy as memory_policy;
pub(crate) use memory::{FLAGS as MEMORY_POLICY_FLAGS, MODES as MEMORY_POLICY_MODES};
pub(crate) use mounts::{CgroupView, Inside, Links, MountOp, Source};
pub(crate) use options::Options;
pub(crate) use options::{known as mount_options, propagation};
pub(crate) use program::{Affinity, Program, ProgramContext, keeps_groups, of_process};

/// Everything that the container's process needs.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The namespaces that are made for it.
    pub(crate) new: Namespaces,
    /// The pid namespace to join: that is done before the process is made.
    pub(crate) join_pid: Option<OwnedFd>,
    /// The user namespace to join: the new namespaces are made in it.
    pub(crate) join_user: Option<OwnedFd>,
    /// Network devices of the host's that move to the container: their names there and here.
    pub(crate) net_devices: Vec<(String, String)>,
    /// The namespaces that it joins itself.
    pub(crate) joins: Vec<Join>,
    /// The time offsets, as lines of `/proc/PID/timens_offsets`; empty for none.
    pub(crate) time_offsets: String,
    /// The maps of user and of group ids of a new user namespace.
    pub(crate) maps: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
    /// What it does, in order; empty where it finds that out itself, see [`Standing::plans_inside`].
    pub(crate) ops: Vec<Op>,
    /// What the runtime may do.
    pub(crate) standing: Standing,
    /// What it becomes.
    pub(crate) program: Option<Program>,
}

/// A namespace to join, or with no kind a root to change to.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) kind: Namespaces,
    pub(crate) fd: OwnedFd,
    pub(crate) path: String,
}

/// What `exec` joins.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// Everything by one setns(2) with a pidfd, where that can be.
    pub(crate) whole: Option<(OwnedFd, Namespaces)>,
    /// The pid namespace by itself.
    pub(crate) pid: Option<OwnedFd>,
    /// The others one by one.
    pub(crate) joins: Vec<Join>,
}

/// One step. The order in which they stand is the order in which they are applied.
#[derive(Debug)]
pub(crate) enum Op {
    /// Cuts the copied mount table off from the host's: nothing below may travel back.
    Propagate(Propagation),
    /// Opens the root file system of a container that shares the host's mount namespace.
    OpenRoot(CString),
    /// Makes it the root.
    ChangeRoot,
    /// Puts the root file system, a detached tree, at its own path.
    AttachRoot { tree: OwnedFd, path: CString },
    /// One of `mounts`.
    Mount(Box<MountOp>),
    /// One of `mounts` that is a symbolic link (`copy-symlink`).
    Link { path: PathBuf, content: PathBuf },
    /// `mounts` of type `cgroup`.
    Cgroup(Box<CgroupView>),
    /// Device nodes, made relative to an open `/dev`.
    Nodes(Vec<Node>),
    /// `/dev/fd`, `/dev/stdin` and so on.
    Links,
    /// Opens the terminal and puts it at `/dev/console`.
    Console { rows: u16, columns: u16 },
    /// Lets the runtime run the hooks that belong between namespaces and pivot_root.
    AskForHooks,
    /// `createContainer` hooks: in the container's namespaces, before the root changes.
    Hooks(Vec<Hook>),
    /// `linux.sysctl`.
    Sysctl { key: String, value: String },
    /// `linux.maskedPaths`.
    Mask(Vec<String>),
    /// `linux.readonlyPaths`.
    ReadOnly(Vec<String>),
    /// Attributes that would have been in the way of earlier steps.
    Attributes { path: PathBuf, set: Attr },
    /// `process.cwd`, made if it is not there, as every runtime does.
    WorkDirectory(PathBuf),
    /// `root.readonly`.
    RootReadOnly,
    /// Makes the tree the root and lets go of the host's.
    Pivot,
    /// `--no-pivot`.
    MoveRoot,
    /// `linux.rootfsPropagation`, when it asks for more than "not shared".
    RootPropagation { recursive: bool, propagation: Propagation },
    /// `hostname`.
    HostName(String),
    /// `domainname`.
    DomainName(String),
}

/// What a plan depends on beside the configuration.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) bundle: &'a Path,
    /// What [`rootfs`] has found.
    pub(crate) rootfs: &'a Path,
    pub(crate) no_pivot: bool,
    /// The container's own.
    pub(crate) group: &'a sys::cgroup::Group,
    /// That of the runtime, in every hierarchy; empty where it is not needed.
    pub(crate) hierarchies: &'a sys::cgroup::Group,
    pub(crate) standing: Standing,
    pub(crate) context: ProgramContext,
}

/// Makes the plan; without privileges it is left to the container's process to make the [`operations`].
pub(crate) fn build(spec: &Spec, request: &Request<'_>) -> Result<Plan> {
    let linux = spec.linux.as_ref().ok_or_else(|| Error::Config("linux must be set".into()))?;
    refuse_disabled(linux)?;
    let Spaces { new, join_pid, join_user, joins } = namespaces(linux)?;
    let inside = request.standing.plans_inside();
    let ops = if inside { Vec::new() } else { operations(spec, request)? };
    let program = spec
        .process
        .as_ref()
        .map(|process| of_process(process, Some(linux), &request.context))
        .transpose()?;
    Ok(Plan {
        new,
        join_pid,
        join_user,
        net_devices: net_devices(linux),
        joins,
        time_offsets: time_offsets(linux),
        maps: maps(linux),
        ops,
        standing: request.standing,
        program,
    })
}

/// Makes the list of what the container's process does, with everything opened that it needs.
pub(crate) fn operations(spec: &Spec, request: &Request<'_>) -> Result<Vec<Op>> {
    let linux = spec.linux.as_ref().ok_or_else(|| Error::Config("linux must be set".into()))?;
    let mut ops = Vec::with_capacity(spec.mounts.len() + 24);
    let mut late = Vec::new();
    let shares_mounts = !config::has_namespace(linux, NamespaceKind::Mount);
    if request.no_pivot
        && matches!(propagation(&linux.rootfs_propagation), Some((_, Propagation::Private)))
    {
        let text = "rootfsPropagation of [r]private is not safe without pivot_root";
        return Err(Error::Config(text.into()));
    }
    if shares_mounts {
        shared_mounts(spec, linux, request, &mut ops)?;
    } else {
        root_ops(linux, request, &mut ops)?;
        late = mounts::plan(spec, linux, request, &mut ops)?;
        dev::plan(spec, linux, request, &mut ops)?;
    }
    console_op(spec, &mut ops);
    ops.extend(late);
    hook_ops(spec, &mut ops);
    work_directory(spec, &mut ops);
    // Kernel settings and covers come after every mount and before the root changes, all by descriptors beneath it.
    for (key, value) in &linux.sysctl {
        ops.push(Op::Sysctl { key: key.clone(), value: value.clone() });
    }
    if !linux.readonly_paths.is_empty() {
        ops.push(Op::ReadOnly(linux.readonly_paths.clone()));
    }
    if !linux.masked_paths.is_empty() {
        ops.push(Op::Mask(linux.masked_paths.clone()));
    }
    if spec.root.as_ref().is_some_and(|root| root.readonly) && !shares_mounts {
        ops.push(Op::RootReadOnly);
    }
    ops.push(match (shares_mounts, request.no_pivot) {
        (true, _) => Op::ChangeRoot,
        (false, true) => Op::MoveRoot,
        (false, false) => Op::Pivot,
    });
    if let Some(op) = root_propagation(linux).filter(|_| !shares_mounts) {
        ops.push(op);
    }
    if !spec.hostname.is_empty() {
        ops.push(Op::HostName(spec.hostname.clone()));
    }
    if !spec.domainname.is_empty() {
        ops.push(Op::DomainName(spec.domainname.clone()));
    }
    Ok(ops)
}

/// Goes through everything of [`build`] that opens nothing and needs no rights. It says nothing: a hostile document would fill the log.
pub(crate) fn rehearse(spec: &Spec) -> Result<()> {
    crate::log::close();
    let linux = spec.linux.as_ref().ok_or_else(|| Error::Config("linux must be set".into()))?;
    for mount in &spec.mounts {
        let _ = Options::parse(&mount.options).changes();
    }
    let _ = (time_offsets(linux), maps(linux), root_propagation(linux), base_propagation(linux));
    let mut ops = Vec::new();
    dev::rehearse(linux);
    console_op(spec, &mut ops);
    hook_ops(spec, &mut ops);
    let context = ProgramContext { id: "id".to_owned(), new_keyring: true, ..Default::default() };
    if let Some(process) = &spec.process {
        of_process(process, Some(linux), &context)?;
    }
    Ok(())
}

/// The flag of clone(2) for a kind of namespace.
pub(crate) fn flag(kind: NamespaceKind) -> Namespaces {
    match kind {
        NamespaceKind::Pid => Namespaces::PID,
        NamespaceKind::Network => Namespaces::NETWORK,
        NamespaceKind::Mount => Namespaces::MOUNT,
        NamespaceKind::Ipc => Namespaces::IPC,
        NamespaceKind::Uts => Namespaces::UTS,
        NamespaceKind::User => Namespaces::USER,
        NamespaceKind::Cgroup => Namespaces::CGROUP,
        NamespaceKind::Time => Namespaces::TIME,
    }
}

/// `linux.namespaces`, sorted by what is done with them.
#[derive(Default)]
struct Spaces {
    new: Namespaces,
    join_pid: Option<OwnedFd>,
    join_user: Option<OwnedFd>,
    joins: Vec<Join>,
}

fn namespaces(linux: &Linux) -> Result<Spaces> {
    let mut spaces = Spaces::default();
    for namespace in &linux.namespaces {
        let kind = flag(namespace.kind);
        if namespace.path.is_empty() {
            spaces.new |= kind;
            continue;
        }
        let what = format!("open the namespace `{}`", namespace.path);
        let fd = OwnedFd::from(File::open(&namespace.path).map_err(step(what.clone()))?);
        let found = sys::namespace::kind_of(&fd).map_err(step(what))?;
        if found != kind {
            let text =
                format!("`{}` is not a {} namespace", namespace.path, namespace.kind.as_str());
            return Err(Error::Config(text));
        }
        match kind {
            Namespaces::PID => spaces.join_pid = Some(fd),
            Namespaces::USER => spaces.join_user = Some(fd),
            _ => spaces.joins.push(Join { kind, fd, path: namespace.path.clone() }),
        }
    }
    // Last, since after it the paths of the host are gone.
    spaces.joins.sort_by_key(|join| join.kind == Namespaces::MOUNT);
    if !linux.time_offsets.is_empty() {
        // With clone3(2) the offsets of a new time namespace are zero and stay so: it is made before, see `launch`.
        spaces.new.remove(Namespaces::TIME);
    }
    Ok(spaces)
}

fn net_devices(linux: &Linux) -> Vec<(String, String)> {
    let name = |(host, device): (&String, &types::oci::runtime::NetDevice)| {
        let inside = if device.name.is_empty() { host } else { &device.name };
        (host.clone(), inside.clone())
    };
    linux.net_devices.iter().map(name).collect()
}

/// Labels need their security module, resctrl its file system: what cannot be done is not left out silently. The words are runc's.
fn refuse_disabled(linux: &Linux) -> Result<()> {
    if !linux.mount_label.is_empty() && !program::selinux_is_enabled() {
        let text =
            "linux.mountLabel is specified in config, but selinux is disabled or not supported";
        return Err(Error::Config(text.into()));
    }
    if linux.intel_rdt.is_some() {
        crate::rdt::root()?;
    }
    Ok(())
}

fn time_offsets(linux: &Linux) -> String {
    let line = |(clock, offset): (&String, &types::oci::runtime::TimeOffset)| {
        format!("{clock} {} {}\n", offset.secs, offset.nanosecs)
    };
    linux.time_offsets.iter().map(line).collect()
}

/// Tells whether the container has a user namespace, new or joined.
pub(crate) fn has_user_namespace(spec: &Spec) -> bool {
    spec.linux.as_ref().is_some_and(|linux| config::has_namespace(linux, NamespaceKind::User))
}

fn maps(linux: &Linux) -> Option<(Vec<IdMapping>, Vec<IdMapping>)> {
    if !config::has_new_namespace(linux, NamespaceKind::User) {
        return None;
    }
    if linux.uid_mappings.is_empty() && linux.gid_mappings.is_empty() {
        // Nobody but the caller, who is root inside: what an unprivileged user could have as well.
        let own = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
        return Some((
            own(rustix::process::geteuid().as_raw()),
            own(rustix::process::getegid().as_raw()),
        ));
    }
    Some((linux.uid_mappings.clone(), linux.gid_mappings.clone()))
}

/// How the copied mount table, the root and the bind mounts follow the host: runc's default is "slave".
fn base_propagation(linux: &Linux) -> Propagation {
    match propagation(&linux.rootfs_propagation) {
        Some((_, Propagation::Private | Propagation::Unbindable)) => Propagation::Private,
        Some((_, Propagation::Shared)) => Propagation::Shared,
        _ => Propagation::Slave,
    }
}

fn root_propagation(linux: &Linux) -> Option<Op> {
    match propagation(&linux.rootfs_propagation)? {
        (recursive, propagation @ (Propagation::Shared | Propagation::Unbindable)) => {
            Some(Op::RootPropagation { recursive, propagation })
        }
        _ => None,
    }
}

/// Returns the absolute path of the root file system.
pub(crate) fn rootfs(spec: &Spec, bundle: &Path) -> Result<PathBuf> {
    let given = spec.root.as_ref().map_or("", |root| &root.path);
    let path = bundle.join(given);
    path.canonicalize().map_err(step(format!("find the root file system `{}`", path.display())))
}

fn root_ops(linux: &Linux, request: &Request<'_>, ops: &mut Vec<Op>) -> Result<()> {
    let rootfs = request.rootfs;
    let path = c_string(&rootfs.display().to_string())?;
    let what = format!("open the root file system `{}`", rootfs.display());
    let tree = sys::mount::clone_tree(&path, true).map_err(step(what.clone()))?;
    // pivot_root(2) refuses shared mounts; what was asked for is set after it.
    let own = match base_propagation(linux) {
        Propagation::Shared => Propagation::Private,
        other => other,
    };
    let change = Change::propagation(own);
    sys::mount::set_attributes(&tree, true, &change).map_err(step(what))?;
    ops.push(Op::Propagate(own));
    ops.push(Op::AttachRoot { tree, path });
    Ok(())
}

/// Without a mount namespace the container is a changed root and nothing is mounted: that would be done to the host.
fn shared_mounts(
    spec: &Spec,
    linux: &Linux,
    request: &Request<'_>,
    ops: &mut Vec<Op>,
) -> Result<()> {
    if !linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty() {
        let text = "unable to restrict sys entries without a private MNT namespace";
        return Err(Error::Config(text.into()));
    }
    let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
    let refused = [(terminal, "process.terminal"), (!linux.devices.is_empty(), "linux.devices")];
    if let Some((_, what)) = refused.iter().find(|(given, _)| *given) {
        return Err(Error::Config(format!("`{what}` needs a mount namespace")));
    }
    if !spec.mounts.is_empty() {
        crate::log::warn("ignoring `mounts`: the container shares the host's mount namespace");
    }
    ops.push(Op::OpenRoot(c_string(&request.rootfs.display().to_string())?));
    Ok(())
}

fn console_op(spec: &Spec, ops: &mut Vec<Op>) {
    let Some(process) = spec.process.as_ref().filter(|process| process.terminal) else { return };
    let (rows, columns) = program::console_size(process);
    ops.push(Op::Console { rows, columns });
}

fn work_directory(spec: &Spec, ops: &mut Vec<Op>) {
    let Some(process) = &spec.process else { return };
    let path = sys::inroot::clean(Path::new(&process.cwd));
    if !path.as_os_str().is_empty() && path != Path::new(".") {
        ops.push(Op::WorkDirectory(path));
    }
}

fn hook_ops(spec: &Spec, ops: &mut Vec<Op>) {
    let Some(hooks) = &spec.hooks else { return };
    if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
        ops.push(Op::AskForHooks);
    }
    if !hooks.create_container.is_empty() {
        ops.push(Op::Hooks(hooks.create_container.clone()));
    }
}

/// Makes a C string of a text of the configuration.
pub(crate) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Config(format!("{text:?} contains NUL")))
}
