//! Applies the operations of a plan, one after the other.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::inroot;
use sys::mount::{self, Attr, Change, Param};
use types::oci::runtime::{Hook, Status};

use super::{Equipment, Message, Outcome, copy_up, failed};
use crate::error::InitFailure;
use crate::hooks;
use crate::plan::{CgroupView, Inside, Links, MountOp, Node, Op, Source};

const DIR_MODE: Mode = Mode::from_raw_mode(0o755);
const PROC_MAGIC: i64 = 0x9fa0;

/// What the operations have made so far.
pub(super) struct Stage<'a> {
    equipment: &'a Equipment,
    root: Option<OwnedFd>,
    root_path: PathBuf,
    /// A procfs that this process has made itself and that no image can have touched (CVE-2025-52881).
    proc: Option<OwnedFd>,
    /// The procfs at `/proc` and the sysfs at `/sys` that were mounted.
    kernel: Vec<(PathBuf, OwnedFd)>,
    slave: Option<OwnedFd>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(equipment: &'a Equipment) -> Self {
        Self {
            equipment,
            root: None,
            root_path: PathBuf::new(),
            proc: None,
            kernel: Vec::new(),
            slave: None,
        }
    }

    /// Returns the terminal, if one was opened.
    pub(super) fn finish(self) -> Option<OwnedFd> {
        self.slave
    }

    fn root(&self) -> Outcome<&OwnedFd> {
        self.root.as_ref().ok_or_else(|| InitFailure::sentence("the root is not mounted"))
    }

    pub(super) fn apply(&mut self, op: Op) -> Outcome<()> {
        match op {
            Op::Propagate(kind) => {
                mount::set_path_attributes(c"/", true, &Change::propagation(kind))
                    .map_err(failed("cut the mounts off from the host"))
            }
            Op::OpenRoot(path) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let root = rustix::fs::open(&path, flags, Mode::empty());
                let what = format!("open the root `{}`", path.to_string_lossy());
                self.root = Some(root.map_err(failed(what))?);
                Ok(())
            }
            Op::ChangeRoot => super::change_root(self.root()?).map_err(failed("change the root")),
            Op::AttachRoot { tree, path } => {
                let attached = match mount::attach_at(&tree, &path) {
                    // The root of a user namespace may be kept out by a directory on the way; its own "/" is always in reach.
                    Err(Errno::ACCESS) => mount::attach_at(&tree, c"/"),
                    other => other,
                };
                attached
                    .map_err(failed(format!("mount the root at `{}`", path.to_string_lossy())))?;
                self.root = Some(tree);
                self.root_path = PathBuf::from(OsStr::from_bytes(path.to_bytes()));
                Ok(())
            }
            Op::Mount(op) => self.mount(*op),
            Op::Link { path, content } => self
                .link(&path, &content)
                .map_err(failed(format!("make the link `/{}`", path.display()))),
            Op::Cgroup(view) => self.cgroup(&view),
            Op::Nodes(nodes) => nodes.iter().try_for_each(|node| self.node(node)),
            Op::Links => self.links(),
            Op::Console { rows, columns } => self.console(rows, columns),
            Op::AskForHooks => self.ask_for_hooks(),
            Op::Hooks(list) => self.hooks(&list),
            Op::Sysctl { key, value } => self.sysctl(&key, &value),
            Op::Mask(paths) => self.mask(&paths),
            Op::ReadOnly(paths) => paths.iter().try_for_each(|path| self.read_only(path)),
            Op::Attributes { path, set } => {
                let what = format!("set the attributes of `/{}`", path.display());
                inroot::open(self.root()?, &path, OFlags::PATH, Mode::empty())
                    .and_then(|fd| mount::set_attributes(fd, false, &Change::set(set)))
                    .map_err(failed(what))
            }
            // What stands in the way is reported by the change to it.
            Op::WorkDirectory(path) => {
                let _ = inroot::mkdir_all(self.root()?, &path, DIR_MODE);
                Ok(())
            }
            Op::RootReadOnly => {
                mount::set_attributes(self.root()?, false, &Change::set(Attr::RDONLY))
                    .map_err(failed("make the root read-only"))
            }
            Op::Pivot => mount::pivot_to(self.root()?).map_err(failed("change the root")),
            Op::MoveRoot => {
                cover_hosts_kernel_files(&self.root_path)?;
                mount::move_and_chroot(self.root()?).map_err(failed("move the root"))
            }
            Op::RootPropagation { recursive, propagation } => {
                mount::set_path_attributes(c"/", recursive, &Change::propagation(propagation))
                    .map_err(failed("set the propagation of the root"))
            }
            Op::HostName(name) => {
                sys::namespace::set_host_name(&name).map_err(failed("set the host name"))
            }
            Op::DomainName(name) => {
                sys::namespace::set_domain_name(&name).map_err(failed("set the domain name"))
            }
        }
    }

    /// `createContainer` hooks, with the root as their directory, as in runc.
    fn hooks(&self, list: &[Hook]) -> Outcome<()> {
        rustix::process::fchdir(self.root()?).map_err(failed("chdir to the root"))?;
        let state = self.equipment.hook_state(Status::Creating);
        hooks::run_all("createContainer", list, &state).map_err(InitFailure::sentence)
    }

    fn ask_for_hooks(&self) -> Outcome<()> {
        use super::Message::{Continue, HooksPlease};
        let channel = &self.equipment.channel;
        channel
            .send(&HooksPlease)
            .map_err(|error| InitFailure::sentence(format!("ask for hooks: {error}")))?;
        channel.expect(&Continue)
    }

    /// Finds or makes the place for a mount.
    fn target(&self, op: &MountOp, is_dir: bool) -> Result<OwnedFd, Errno> {
        let root = self.root.as_ref().ok_or(Errno::BADF)?;
        if op.links == Links::NotLast {
            let (parent, name) = inroot::open_parent(root, &op.target)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&parent, &name, flags, Mode::empty()) {
                Err(Errno::NOENT) => {}
                Ok(target) => {
                    refuse_procfs(&target, &op.target)?;
                    return Ok(target);
                }
                Err(error) => return Err(error),
            }
        }
        if op.links == Links::Refuse {
            // An image with a link at /proc would send labels and masks elsewhere (CVE-2019-19921, CVE-2023-27561).
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let open = || inroot::open_no_symlinks(root, &op.target, flags, Mode::empty());
            return match open() {
                Err(Errno::NOENT) => {
                    inroot::mkdir_all(root, &op.target, DIR_MODE)?;
                    // Whoever shares the root may have put a link on the way meanwhile.
                    open()
                }
                other => other,
            };
        }
        let target = if is_dir {
            inroot::mkdir_all(root, &op.target, DIR_MODE)?
        } else {
            inroot::create_file(root, &op.target, DIR_MODE)?
        };
        refuse_procfs(&target, &op.target)?;
        Ok(target)
    }

    fn mount(&mut self, op: MountOp) -> Outcome<()> {
        let label = op.label.clone();
        self.kernel.retain(|(place, _)| !place.starts_with(&op.target));
        match &op.source {
            Source::Tree { tree, is_dir } => {
                let target = self.target(&op, *is_dir).map_err(failed(label.clone()))?;
                mount::attach(tree, target).map_err(failed(label))
            }
            Source::Inside(inside) => self.mount_inside(&op, inside).map_err(failed(label)),
            Source::New { kind, source, params, attributes, changes, copy_up } => {
                let new = NewMount { kind, source, params, attributes: *attributes, changes };
                self.mount_new(&op, &new, *copy_up).map_err(|errno| no_directory(&op, errno))
            }
            // This one covers nothing.
            Source::Present { params, changes } => {
                self.remount(&op.target, params, changes).map_err(failed(label))
            }
        }
    }

    /// A link that is there already must be the same.
    fn link(&self, path: &Path, content: &Path) -> Result<(), Errno> {
        let root = self.root.as_ref().ok_or(Errno::BADF)?;
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = inroot::mkdir_all(root, path.parent().unwrap_or(Path::new("")), DIR_MODE)?;
        match rustix::fs::symlinkat(content, &parent, name) {
            Err(Errno::EXIST) => {
                let found = rustix::fs::readlinkat(&parent, name, Vec::new())?;
                if found.as_bytes() == content.as_os_str().as_bytes() {
                    Ok(())
                } else {
                    Err(Errno::EXIST)
                }
            }
            other => other,
        }
    }

    fn mount_inside(&self, op: &MountOp, inside: &Inside) -> Result<(), Errno> {
        let root = self.root.as_ref().ok_or(Errno::BADF)?;
        let source = inroot::open(root, &inside.path, OFlags::PATH, Mode::empty())?;
        let own = (false, inside.flags.change(mount::attributes(&source)?)?);
        let tree = mount::clone_tree_of(&source, inside.recursive)?;
        for (recursive, change) in inside.before.iter().chain([&own]).chain(&inside.after) {
            if !change.is_empty() {
                mount::set_attributes(&tree, *recursive, change)?;
            }
        }
        if let Some((namespace, recursive)) = &inside.map {
            self.map_ids(&tree, namespace, *recursive)?;
        }
        let is_dir =
            FileType::from_raw_mode(rustix::fs::fstat(&tree)?.st_mode) == FileType::Directory;
        mount::attach(&tree, self.target(op, is_dir)?)
    }

    /// In a user namespace the process has no rights over the file system; the runtime has.
    fn map_ids(&self, tree: &OwnedFd, namespace: &OwnedFd, recursive: bool) -> Result<(), Errno> {
        let change =
            Change { set: Attr::IDMAP, userns: Some(namespace.as_fd()), ..Change::default() };
        match mount::set_attributes(tree, recursive, &change) {
            Err(Errno::PERM) => {}
            other => return other,
        }
        let message = Message::MapPlease { recursive };
        let sent = self.equipment.channel.send_with(&message, &[tree.as_fd(), namespace.as_fd()]);
        sent.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        self.equipment.channel.expect(&Message::Continue).map_err(|_| Errno::PERM)
    }

    fn remount(
        &self,
        target: &Path,
        params: &[(CString, Option<CString>)],
        changes: &[(bool, Change<'static>)],
    ) -> Result<(), Errno> {
        let root = self.root.as_ref().ok_or(Errno::BADF)?;
        let target = inroot::open(root, target, OFlags::PATH, Mode::empty())?;
        if !params.is_empty() {
            mount::reconfigure(&target, &borrowed(params))?;
        }
        changes
            .iter()
            .try_for_each(|(recursive, change)| mount::set_attributes(&target, *recursive, change))
    }

    fn mount_new(&mut self, op: &MountOp, new: &NewMount<'_>, copy: bool) -> Result<(), Errno> {
        let existed = self
            .root
            .as_ref()
            .map(|root| inroot::open(root, &op.target, OFlags::PATH, Mode::empty()));
        let target = self.target(op, true)?;
        let mut params = borrowed(new.params);
        // A tmpfs over a directory of the image takes its mode over, unless told otherwise.
        let mode = match existed {
            Some(Ok(found)) if new.kind.as_c_str() == c"tmpfs" => directory_mode(&found),
            _ => None,
        };
        if let Some(mode) = &mode
            && params.iter().all(|param| param.key != c"mode")
        {
            params.push(Param { key: c"mode", value: Some(mode) });
        }
        if mount::is_too_long(&params) {
            return self.mount_long(op, new, &params, &target);
        }
        let source = new.source.as_deref();
        // What is copied first is written.
        let late = if copy { new.attributes & Attr::RDONLY } else { Attr::empty() };
        let attributes = new.attributes - late;
        let tree = match mount::new_file_system(new.kind, source, &params, attributes) {
            Err(Errno::PERM) if new.kind.as_c_str() == c"sysfs" => hosts_sysfs(attributes)?,
            other => other?,
        };
        if copy {
            copy_up::copy(&target, &tree)?;
        }
        if !late.is_empty() {
            mount::set_attributes(&tree, false, &Change::set(late))?;
        }
        new.change(&tree)?;
        mount::attach(&tree, target)?;
        if op.links == Links::Refuse
            && ["proc", "sys"].iter().any(|name| op.target == Path::new(name))
        {
            self.kernel.push((op.target.clone(), tree));
        }
        Ok(())
    }

    fn mount_long(
        &self,
        op: &MountOp,
        new: &NewMount<'_>,
        params: &[Param<'_>],
        target: &OwnedFd,
    ) -> Result<(), Errno> {
        mount::mount_onto(target, new.kind, new.source.as_deref(), params, new.attributes)?;
        let root = self.root.as_ref().ok_or(Errno::BADF)?;
        new.change(&inroot::open(root, &op.target, OFlags::PATH, Mode::empty())?)
    }

    /// Version 1: a tmpfs, a directory for each hierarchy, then read-only if that was asked.
    fn cgroup(&self, view: &CgroupView) -> Outcome<()> {
        let what = || format!("mount the cgroups at `/{}`", view.target.display());
        self.cgroup_view(view).map_err(failed(what()))
    }

    fn cgroup_view(&self, view: &CgroupView) -> Result<(), Errno> {
        let root = self.root.as_ref().ok_or(Errno::BADF)?;
        let target = inroot::mkdir_all(root, &view.target, DIR_MODE)?;
        let mode = [Param { key: c"mode", value: Some(c"755") }];
        let attributes = view.attributes - Attr::RDONLY;
        let top = mount::new_file_system(c"tmpfs", Some(c"tmpfs"), &mode, attributes)?;
        mount::attach(&top, target)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for (name, tree) in &view.trees {
            rustix::fs::mkdirat(&top, name.as_str(), DIR_MODE)?;
            let place = rustix::fs::openat(&top, name.as_str(), flags, Mode::empty())?;
            mount::attach(tree, place)?;
        }
        for (link, target) in &view.links {
            rustix::fs::symlinkat(target.as_str(), &top, link.as_str())?;
        }
        if view.attributes.contains(Attr::RDONLY) {
            mount::set_attributes(&top, false, &Change::set(Attr::RDONLY))?;
        }
        Ok(())
    }

    /// Opens the root's `/dev`, which must not be a link: nodes would be made outside (CVE-2026-41579).
    fn dev(&self) -> Outcome<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = self.root()?;
        match inroot::open_no_symlinks(root, "dev", flags, Mode::empty()) {
            Err(Errno::NOENT) => inroot::mkdir_all(root, "dev", DIR_MODE),
            other => other,
        }
        .map_err(failed("open `/dev`"))
    }

    fn node(&self, node: &Node) -> Outcome<()> {
        let what = format!("make the device `/{}`", node.path.display());
        let (base, relative) = match node.path.strip_prefix("dev") {
            Ok(relative) => (self.dev()?, relative),
            Err(_) => {
                let root = self.root()?.try_clone();
                let root =
                    root.map_err(|error| InitFailure::sentence(format!("{what}: {error}")))?;
                (root, node.path.as_path())
            }
        };
        make_node(&base, relative, node).map_err(failed(what))
    }

    fn links(&self) -> Outcome<()> {
        let dev = self.dev()?;
        let mut links = vec![
            ("/proc/self/fd", "fd"),
            ("/proc/self/fd/0", "stdin"),
            ("/proc/self/fd/1", "stdout"),
            ("/proc/self/fd/2", "stderr"),
        ];
        if Path::new("/proc/kcore").exists() {
            links.push(("/proc/kcore", "core"));
        }
        // The container's own multiplexer; whatever the image has in its place goes.
        let _ = rustix::fs::unlinkat(&dev, "ptmx", AtFlags::empty());
        links.push(("pts/ptmx", "ptmx"));
        for (target, name) in links {
            match rustix::fs::symlinkat(target, &dev, name) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(InitFailure::new(format!("link `/dev/{name}`"), error)),
            }
        }
        Ok(())
    }

    /// The terminal comes from the devpts that was just mounted and reaches `/dev/console` by descriptor (CVE-2025-52565).
    fn console(&mut self, rows: u16, columns: u16) -> Outcome<()> {
        let pair = sys::pty::open_pair(self.root()?, "dev/pts/ptmx")
            .map_err(failed("open a terminal at `/dev/pts/ptmx`"))?;
        if rows > 0 && columns > 0 {
            sys::pty::set_size(&pair.master, rows, columns).map_err(failed("size the terminal"))?;
        }
        let dev = self.dev()?;
        let mounted = open_or_create(&dev, "console")
            .and_then(|target| mount::attach(mount::clone_tree_of(&pair.slave, false)?, target));
        mounted.map_err(failed("mount the terminal at `/dev/console`"))?;
        let socket = self.equipment.console_socket.as_ref();
        let socket = socket.ok_or_else(|| InitFailure::sentence("no console socket"))?;
        sys::scm::send_all(socket.as_fd(), b"/dev/ptmx", &[pair.master.as_fd()])
            .map_err(|error| InitFailure::sentence(format!("send the terminal: {error}")))?;
        self.slave = Some(pair.slave);
        Ok(())
    }

    fn proc(&mut self) -> Outcome<&OwnedFd> {
        if let Some((_, tree)) = self.kernel.iter().find(|(place, _)| place == Path::new("proc")) {
            return Ok(tree);
        }
        if self.proc.is_none() {
            let own = match mount::new_file_system(c"proc", Some(c"proc"), &[], Attr::empty()) {
                // In a user namespace with the host's pid namespace: the root has not changed yet, so this is the host's.
                Err(Errno::PERM) => host_proc(),
                other => other,
            };
            self.proc = Some(own.map_err(failed("make a private procfs"))?);
        }
        self.proc.as_ref().ok_or_else(|| InitFailure::sentence("no procfs"))
    }

    fn sysctl(&mut self, key: &str, value: &str) -> Outcome<()> {
        let what = format!("set the sysctl `{key}`");
        let path = PathBuf::from("sys").join(crate::config::sysctl_path(key));
        let file = inroot::open_same_mount(self.proc()?, &path, OFlags::WRONLY, Mode::empty())
            .and_then(verified_proc)
            .map_err(failed(what.clone()))?;
        rustix::io::write(&file, value.as_bytes()).map(|_| ()).map_err(failed(what))
    }

    /// Directories get one shared empty read-only tmpfs, files the null device that was made above, verified.
    fn mask(&self, paths: &[String]) -> Outcome<()> {
        let mut empty: Option<OwnedFd> = None;
        let mut null: Option<OwnedFd> = None;
        for path in paths {
            let what = || format!("mask `{path}`");
            let target = match self.covered(path) {
                Ok(target) => target,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(error) => return Err(InitFailure::new(what(), error)),
            };
            let tree = if inroot::is_dir(&target).map_err(failed(what()))? {
                match &empty {
                    Some(first) => mount::clone_tree_of(first, false).map_err(failed(what()))?,
                    None => {
                        let first = new_empty().map_err(failed(what()))?;
                        mount::attach(&first, &target).map_err(failed(what()))?;
                        empty = Some(first);
                        continue;
                    }
                }
            } else {
                let null = match &mut null {
                    Some(null) => null,
                    none => none.insert(self.null()?),
                };
                mount::clone_tree_of(null, false).map_err(failed(what()))?
            };
            mount::attach(tree, target).map_err(failed(what()))?;
        }
        Ok(())
    }

    /// Opens what is to be masked or made read-only. What lies in the procfs or sysfs that was mounted above is looked up from that
    /// mount: one who shares the root could move the directory that it is mounted on, and give the cover to a fake.
    fn covered(&self, path: &str) -> Result<OwnedFd, Errno> {
        let clean = inroot::clean(Path::new(path));
        for (place, tree) in &self.kernel {
            if let Ok(rest) = clean.strip_prefix(place) {
                return inroot::open(tree, rest, OFlags::PATH, Mode::empty());
            }
        }
        let root = self.root.as_ref().ok_or(Errno::BADF)?;
        inroot::open(root, path, OFlags::PATH, Mode::empty())
    }

    /// The container's null device: a character device 1:3 in a `/dev` that is no link (CVE-2025-31133).
    fn null(&self) -> Outcome<OwnedFd> {
        let what = "open `/dev/null`";
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let null = inroot::open_no_symlinks(self.root()?, "dev/null", flags, Mode::empty())
            .map_err(failed(what))?;
        let stat = rustix::fs::fstat(&null).map_err(failed(what))?;
        let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        if is_device && stat.st_rdev == rustix::fs::makedev(1, 3) {
            Ok(null)
        } else {
            Err(InitFailure::sentence("`/dev/null` is not the null device"))
        }
    }

    fn read_only(&self, path: &str) -> Outcome<()> {
        let apply = |target: OwnedFd| {
            let tree = mount::clone_tree_of(&target, true)?;
            mount::set_attributes(&tree, false, &Change::set(Attr::RDONLY))?;
            mount::attach(tree, target)
        };
        match self.covered(path) {
            Ok(target) => apply(target).map_err(failed(format!("make `{path}` read-only"))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(error) => Err(InitFailure::new(format!("make `{path}` read-only"), error)),
        }
    }
}

/// runc's words for a link or a file where procfs or sysfs belongs; callers look for them.
fn no_directory(op: &MountOp, errno: Errno) -> InitFailure {
    match (&op.source, errno) {
        (Source::New { kind, .. }, Errno::LOOP | Errno::NOTDIR) if op.links == Links::Refuse => {
            let kind = kind.to_string_lossy();
            let label = &op.label;
            InitFailure::sentence(format!(
                "{label}: filesystem {kind:?} must be mounted on ordinary directory"
            ))
        }
        _ => InitFailure::new(op.label.clone(), errno),
    }
}

/// In a user namespace sysfs cannot be mounted without a network namespace of its own; then it is the host's with all that is mounted
/// in it, read-only.
fn hosts_sysfs(attributes: Attr) -> Result<OwnedFd, Errno> {
    let tree = mount::clone_tree(c"/sys", true)?;
    mount::set_attributes(&tree, true, &Change::set(attributes | Attr::RDONLY))?;
    Ok(tree)
}

/// Takes the host's procfs and sysfs out of this mount namespace, or covers those that a user namespace may not unmount. A moved root
/// leaves them there, hidden but whole, and the kernel lets a user namespace inside mount new ones without any mask as long as it has
/// one whole instance (mount_namespaces(7)).
fn cover_hosts_kernel_files(root: &Path) -> Outcome<()> {
    let what = "read `/proc/self/mountinfo`";
    let table = std::fs::read("/proc/self/mountinfo").map_err(|error| {
        InitFailure::new(what, Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    for place in sys::procfs::mounts_of(&table, &["proc", "sysfs"]) {
        if place.starts_with(root) {
            continue;
        }
        let shown = place.display().to_string();
        let path = CString::new(place.into_os_string().into_encoded_bytes());
        let path = path.map_err(|_| InitFailure::sentence(what))?;
        match mount::detach(&path) {
            // Beneath one that was unmounted already.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::INVAL | Errno::PERM) => new_empty()
                .and_then(|empty| mount::attach_at(&empty, &path))
                .map_err(failed(format!("cover the host's `{shown}`")))?,
            Err(error) => return Err(failed(format!("unmount the host's `{shown}`"))(error)),
        }
    }
    Ok(())
}

struct NewMount<'a> {
    kind: &'a CString,
    source: &'a Option<CString>,
    params: &'a [(CString, Option<CString>)],
    attributes: Attr,
    changes: &'a [(bool, Change<'static>)],
}

impl NewMount<'_> {
    /// What can be set on a mount only once it is there.
    fn change(&self, tree: &OwnedFd) -> Result<(), Errno> {
        self.changes
            .iter()
            .try_for_each(|(recursive, change)| mount::set_attributes(tree, *recursive, change))
    }
}

fn borrowed(params: &[(CString, Option<CString>)]) -> Vec<Param<'_>> {
    params
        .iter()
        .map(|(key, value)| Param { key: key.as_c_str(), value: value.as_deref() })
        .collect()
}

fn directory_mode(found: &OwnedFd) -> Option<CString> {
    let stat = rustix::fs::fstat(found).ok()?;
    CString::new(format!("{:04o}", stat.st_mode & 0o7777)).ok()
}

fn new_empty() -> Result<OwnedFd, Errno> {
    let params = [
        Param { key: c"mode", value: Some(c"555") },
        Param { key: c"nr_inodes", value: Some(c"1") },
        Param { key: c"size", value: Some(c"4096") },
    ];
    let attributes = Attr::RDONLY | Attr::NOSUID | Attr::NODEV | Attr::NOEXEC;
    mount::new_file_system(c"tmpfs", Some(c"tmpfs"), &params, attributes)
}

fn open_or_create(dir: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let create =
        OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::EXCL;
    match rustix::fs::openat(dir, name, create, Mode::from_raw_mode(0o620)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn make_node(base: &OwnedFd, relative: &Path, node: &Node) -> Result<(), Errno> {
    let name = relative.file_name().ok_or(Errno::INVAL)?;
    let above = relative.parent().unwrap_or(Path::new(""));
    let made;
    let parent = if above.as_os_str().is_empty() {
        base
    } else {
        made = inroot::mkdir_all(base, above, DIR_MODE)?;
        &made
    };
    if let Some(tree) = &node.bind {
        let name = name.to_str().ok_or(Errno::INVAL)?;
        return mount::attach(tree, open_or_create(parent, name)?);
    }
    match rustix::fs::mknodat(parent, name, node.kind, node.mode, node.device) {
        Ok(()) => {}
        // Over a default device something else may be mounted on purpose (`/dev/urandom` as `/dev/random`).
        Err(Errno::EXIST) if !node.configured || is_node(parent, name, node)? => return Ok(()),
        Err(error) => return Err(error),
    }
    if node.uid == 0 && node.gid == 0 {
        return Ok(());
    }
    let owner = rustix::fs::Uid::from_raw(node.uid);
    let group = rustix::fs::Gid::from_raw(node.gid);
    rustix::fs::chownat(parent, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
}

/// Refuses a target that a link of the image has led into procfs (CVE-2025-52881); what may be mounted there by its own name was
/// checked with the configuration.
fn refuse_procfs(target: &OwnedFd, name: &Path) -> Result<(), Errno> {
    if !name.starts_with("proc") && rustix::fs::fstatfs(target)?.f_type == PROC_MAGIC {
        return Err(Errno::LOOP);
    }
    Ok(())
}

/// Tells whether the file is the node that is wanted.
fn is_node(parent: &OwnedFd, name: &OsStr, node: &Node) -> Result<bool, Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let same_device = node.kind == FileType::Fifo || stat.st_rdev == node.device;
    Ok(FileType::from_raw_mode(stat.st_mode) == node.kind && same_device)
}

fn host_proc() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    verified_proc(rustix::fs::open(c"/proc", flags, Mode::empty())?)
}

/// Refuses a file that is not of procfs.
pub(super) fn verified_proc(file: OwnedFd) -> Result<OwnedFd, Errno> {
    if rustix::fs::fstatfs(&file)?.f_type == PROC_MAGIC { Ok(file) } else { Err(Errno::NODEV) }
}
