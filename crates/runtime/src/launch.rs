//! Making the container's process: one clone3(2) with every new namespace, and the talk with it until it is ready.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use sys::cgroup::{Cgroups, Group};
use sys::clone::{CloneRequest, Cloned, Namespaces, clone_process, exit_child};
use sys::mount::{Attr, Change};
use sys::netdevice::Moved;
use types::oci::runtime::State;

use crate::cgroup::scope;
use crate::error::{Error, Result, cgroup_step, step};
use crate::init::{self, Between, Channel, Equipment, Message};
use crate::log;
use crate::plan::{Entrance, Op, Plan, Program};
use crate::rootless::{Standing, write_maps};
use crate::seccomp::Filter;

/// A process that was made. Dropped before [`Launched::keep`], it is killed and reaped.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    channel: Channel,
    devices: Option<Devices>,
    kept: bool,
}

impl Launched {
    /// Lets the process live on.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
        if let Some(devices) = self.devices.take() {
            devices.keep();
        }
    }

    /// A process that another program has made, and that nothing is said to.
    pub(crate) fn adopted(pid: Pid, pidfd: OwnedFd) -> Result<Self> {
        let (channel, _) = Channel::pair().map_err(step("make a socket pair"))?;
        Ok(Self { pid, pidfd, channel, devices: None, kept: false })
    }

    /// Lets it go on.
    pub(crate) fn release(&self) -> Result<()> {
        self.channel.send(&Message::Continue).map_err(step("release the container's process"))
    }

    /// Sends it the files that take its security labels, opened here: it sees the container's procfs only.
    fn send_labels(&self, program: &Program) -> Result<()> {
        let process = self.pid.as_raw_nonzero().to_string();
        let labels =
            init::open_labels(program, &process).map_err(|source| Error::Init { source })?;
        let files: Vec<_> = labels.iter().map(|(file, _)| file.as_fd()).collect();
        self.channel
            .send_with(&Message::Continue, &files)
            .map_err(step("send the files for the security labels"))
    }

    /// Listens until the process is ready, has become the program, or has failed. `hooks` is called when the process asks for it.
    pub(crate) fn talk(
        &self,
        until: &Message,
        listener: &ListenerTarget,
        mut hooks: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        loop {
            let (message, fds) =
                self.channel.receive().map_err(step("listen to the container's process"))?;
            match message {
                message if message == *until => return Ok(()),
                Message::Failed(source) => return Err(Error::Init { source }),
                Message::HooksPlease => hooks()?,
                Message::Listener => listener.send(&fds, self.pid)?,
                Message::MapPlease { recursive } => map_ids(&fds, recursive)?,
                Message::Ready | Message::Continue => continue,
                Message::End => return Err(self.ended_early()),
            }
            self.release()?;
        }
    }

    /// Why something could not be done for the process: it may have failed itself before.
    fn reason(&self, error: Error) -> Error {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let ended = sys::event::poll(&mut fds, Some(Duration::from_millis(50)));
        if !matches!(ended, Ok(count) if count > 0) {
            return error;
        }
        match self.channel.receive() {
            Ok((Message::Failed(source), _)) => Error::Init { source },
            _ => error,
        }
    }

    fn ended_early(&self) -> Error {
        let how = sys::pidfd::wait(self.pidfd.as_fd());
        let text = match how {
            Ok(ended) => format!("the process ended before it was ready: {ended:?}"),
            Err(_) => "the process ended before it was ready".to_owned(),
        };
        Error::Init { source: crate::error::InitFailure::sentence(text) }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if !self.kept {
            let _ = sys::pidfd::send_signal(self.pidfd.as_fd(), libc_sigkill());
            let _ = sys::pidfd::wait(self.pidfd.as_fd());
        }
    }
}

/// What the process in its user namespace may not do itself.
fn map_ids(fds: &[OwnedFd], recursive: bool) -> Result<()> {
    let [tree, namespace] = fds else {
        return Err(Error::State("the request to map ids lacks its descriptors".into()));
    };
    let change = Change { set: Attr::IDMAP, userns: Some(namespace.as_fd()), ..Change::default() };
    sys::mount::set_attributes(tree, recursive, &change)
        .map_err(step("map the ids of a mount of the root file system"))
}

fn libc_sigkill() -> i32 {
    rustix::process::Signal::KILL.as_raw()
}

/// Where a seccomp listener goes, and the document that goes with it.
#[derive(Debug, Default)]
pub(crate) struct ListenerTarget {
    pub(crate) path: String,
    pub(crate) metadata: String,
    pub(crate) state: Option<State>,
    /// Whether the container depends on a reader.
    pub(crate) needed: bool,
}

impl ListenerTarget {
    /// Who gets the listener of a filter.
    pub(crate) fn of(filter: Option<&Filter>, state: State) -> Self {
        Self {
            path: filter.map(|f| f.listener_path.clone()).unwrap_or_default(),
            metadata: filter.map(|f| f.listener_metadata.clone()).unwrap_or_default(),
            state: Some(state),
            needed: filter.is_some_and(|f| f.notifies),
        }
    }

    fn send(&self, fds: &[OwnedFd], pid: Pid) -> Result<()> {
        match self.send_state(fds, pid) {
            Err(error) if !self.needed => {
                crate::log::warn(&types::Chain(&error).to_string());
                Ok(())
            }
            other => other,
        }
    }

    /// OCI runtime-spec config-linux.md#containerprocessstate.
    fn send_state(&self, fds: &[OwnedFd], pid: Pid) -> Result<()> {
        let what = || format!("send the seccomp listener to `{}`", self.path);
        let socket = sys::scm::connect(self.path.as_ref()).map_err(step(format!(
            "failed to connect with seccomp agent specified in the seccomp profile: connect to `{}`",
            self.path
        )))?;
        let pid = pid.as_raw_nonzero().get();
        let state = self.state.clone().map(|state| State { pid, ..state });
        let document = serde_json::json!({
            "ociVersion": types::oci::runtime::SPEC_VERSION,
            "fds": ["seccompFd"],
            "pid": pid,
            "metadata": self.metadata,
            "state": state,
        });
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        sys::scm::send_all(socket.as_fd(), document.to_string().as_bytes(), &borrowed)
            .map_err(step(what()))
    }
}

/// What a new container's process gets beside its plan.
#[derive(Debug)]
pub(crate) struct Kit {
    pub(crate) fifo: Option<OwnedFd>,
    pub(crate) report: Option<OwnedFd>,
    pub(crate) console_socket: Option<OwnedFd>,
    pub(crate) hook_state: State,
    /// The systemd unit that the group is of; empty without the systemd driver.
    pub(crate) unit: String,
}

/// Makes the first process of a new container in its group, with every new namespace, by one clone3.
///
/// On version 2 the process starts in the group (`CLONE_INTO_CGROUP`), and the kernel makes that group the root of a new cgroup namespace (Linux
/// 5.7). On version 1 the root is the groups of the *caller*, so the runtime itself enters the groups, makes the process and goes back; each move is
/// one write of `0` to `tasks`, which takes no global lock. The process looks whether it sees the roots and makes a namespace of its own on a
/// kernel that does neither.
pub(crate) fn container(
    mut plan: Plan,
    operations: &dyn Fn() -> Result<Vec<Op>>,
    kit: Kit,
    cgroups: &Cgroups,
    group: &Group,
) -> Result<Launched> {
    let (ours, theirs) = Channel::pair().map_err(step("make a socket pair"))?;
    let standing = plan.standing;
    // Who is not root of the machine may enter a group that is his, but not go back.
    let visits = plan.new.contains(Namespaces::CGROUP)
        && !group.is_version_2()
        && standing == Standing::Privileged;
    let maps = plan.maps.take();
    let direct = plan.join_user.is_none()
        && (maps.is_none() || plan.joins.is_empty() || standing.is_unprivileged());
    let mut equipment = Equipment {
        channel: theirs,
        fifo: kit.fifo,
        report: kit.report,
        console_socket: kit.console_socket,
        waits: maps.is_some() || !plan.net_devices.is_empty(),
        hook_state: kit.hook_state,
        group: Some(group.clone()),
        in_unified: false,
        in_version_1: visits,
        settled: false,
        open: standing.is_unprivileged() && maps.is_some(),
        in_user_namespace: maps.is_some() || plan.join_user.is_some(),
        labels: Vec::new(),
    };
    let _place = visits.then(|| Visit::enter(cgroups, group)).transpose()?;
    // Without privileges the process makes it for itself, with those of its user namespace.
    let own_time = standing.is_unprivileged();
    let time = TimeNamespace::make(if own_time { "" } else { &plan.time_offsets })?;
    // Where namespaces must be joined before others are made, that is done by a process in between.
    let join_pid = plan.join_pid.take();
    let join_time = match plan.joins.iter().position(|join| join.kind == Namespaces::TIME) {
        Some(at) if !direct => Some(plan.joins.remove(at)),
        _ => None,
    };
    if join_pid.is_some() && direct {
        hide()?;
    }
    let back = join_pid.as_ref().filter(|_| direct).map(join_pid_namespace).transpose()?;
    let directory = group.open_unified().map_err(cgroup_step("open the cgroup"))?;
    let request = CloneRequest {
        namespaces: plan.new,
        cgroup: directory.as_ref().map(AsFd::as_fd),
        ..CloneRequest::default()
    };
    let cloned = if direct {
        clone_into(&request, group, &kit.unit)?
    } else {
        let between = Between {
            user: plan.join_user.as_ref(),
            time: join_time.as_ref().map(|join| &join.fd),
            pid: join_pid.as_ref(),
            joins: &mut plan.joins,
            oom_score_adj: plan.program.as_ref().and_then(|program| program.oom_score_adj),
        };
        clone_between(between, &request)?
    };
    match cloned {
        Cloned::Child { in_cgroup } => {
            drop(ours);
            equipment.in_unified = in_cgroup;
            init::run(plan, operations, equipment)
        }
        Cloned::Parent { pid, pidfd } => {
            let devices = std::mem::take(&mut plan.net_devices);
            let network = joined_network(&plan)?;
            drop((equipment, plan));
            let mut launched = Launched { pid, pidfd, channel: ours, devices: None, kept: false };
            tell_of(pid, &[]);
            if let Some(own) = back {
                return_pid_namespace(&own)?;
            }
            time.leave()?;
            let waits = maps.is_some() || !devices.is_empty();
            if let Some((uids, gids)) = maps {
                write_maps(pid, &uids, &gids, standing).map_err(|error| launched.reason(error))?;
            }
            launched.devices = Devices::attach(&devices, network, pid)?;
            if waits {
                // One that has failed already is heard in `talk`.
                let _ = launched.release();
            }
            Ok(launched)
        }
    }
}

/// Makes a process in a group.
fn clone_into(request: &CloneRequest<'_>, group: &Group, unit: &str) -> Result<Cloned> {
    match clone_process(request) {
        Err(Errno::ACCESS) if !unit.is_empty() => clone_from_scope(unit, request),
        other => other.map_err(|errno| not_cloned(group, errno)),
    }
}

/// Makes a process in a scope by one in between that systemd has moved there: a user may not make one from a group that is another's
/// (cgroups(7)), such as that of his login.
fn clone_from_scope(unit: &str, request: &CloneRequest<'_>) -> Result<Cloned> {
    let (ours, theirs) = Channel::pair().map_err(step("make a socket pair"))?;
    let plain = CloneRequest::default();
    match clone_process(&plain).map_err(step("clone a process for the scope"))? {
        Cloned::Child { .. } => {
            drop(ours);
            match init::beside(&theirs, request) {
                Ok(child @ Cloned::Child { .. }) => Ok(child),
                Ok(Cloned::Parent { pid, pidfd }) => {
                    let _ = theirs.send_process(pid, &pidfd);
                    exit_child(0)
                }
                Err(failure) => init::end(&theirs, failure),
            }
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let moved = scope::attach(unit, pid.as_raw_nonzero().get().unsigned_abs());
            let received = moved.and_then(|()| {
                let go = ours.send(&Message::Continue);
                go.map_err(step("release the process for the scope"))?;
                ours.receive_process().map_err(|source| Error::Init { source })
            });
            drop(ours);
            let _ = sys::pidfd::wait(pidfd.as_fd());
            let (pid, pidfd) = received?;
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// Makes a process with new namespaces that belong to a user namespace which is joined, or one that takes joined namespaces into a new user namespace.
///
/// Who joins a user namespace cannot come back; so a process in between does, and makes the container's process as its own sibling. It
/// keeps the user id of the host, by which it may enter the cgroup.
fn clone_between(between: Between<'_>, request: &CloneRequest<'_>) -> Result<Cloned> {
    let (ours, theirs) = Channel::pair().map_err(step("make a socket pair"))?;
    let plain = CloneRequest::default();
    match clone_process(&plain).map_err(step("clone a process that joins the namespaces"))? {
        Cloned::Child { .. } => {
            drop(ours);
            match init::between(between, request) {
                Ok(child @ Cloned::Child { .. }) => Ok(child),
                Ok(Cloned::Parent { pid, pidfd }) => {
                    let _ = theirs.send_process(pid, &pidfd);
                    exit_child(0)
                }
                Err(failure) => init::end(&theirs, failure),
            }
        }
        Cloned::Parent { pidfd, .. } => {
            drop(theirs);
            let received = ours.receive_process();
            let _ = sys::pidfd::wait(pidfd.as_fd());
            let (pid, pidfd) = received.map_err(|source| Error::Init { source })?;
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

fn joined_network(plan: &Plan) -> Result<Option<OwnedFd>> {
    let joined = plan.joins.iter().find(|join| join.kind == Namespaces::NETWORK);
    let network = joined.map(|join| join.fd.try_clone()).transpose();
    network.map_err(step("keep the network namespace"))
}

/// Network devices in the container. Dropped before [`Devices::keep`], they come back.
#[derive(Debug)]
struct Devices {
    network: OwnedFd,
    moved: Vec<Moved>,
}

impl Devices {
    /// `linux.netDevices`, before the process goes on and before any hook.
    fn attach(
        devices: &[(String, String)],
        joined: Option<OwnedFd>,
        pid: Pid,
    ) -> Result<Option<Self>> {
        if devices.is_empty() {
            return Ok(None);
        }
        let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
        let network = match joined {
            Some(joined) => joined,
            None => fs::File::open(&path).map_err(step(format!("open `{path}`")))?.into(),
        };
        let mut attached = Self { network, moved: Vec::new() };
        for (name, inside) in devices {
            let moved = sys::netdevice::move_to(name, inside, attached.network.as_fd());
            attached.moved.push(moved.map_err(|error| {
                let what = format!("move the network device `{name}`: {}", error.step);
                step(what)(error.source)
            })?);
        }
        Ok(Some(attached))
    }

    fn keep(mut self) {
        self.moved.clear();
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        for moved in self.moved.iter().rev() {
            if let Err(error) = moved.back(self.network.as_fd()) {
                let text = format!("move a network device back: {error}: {}", error.source);
                crate::log::warn(&text);
            }
        }
    }
}

/// Says why the kernel makes no process in a group, where that is for the group's place in the tree.
fn not_cloned(group: &Group, errno: Errno) -> Error {
    let what = "clone the container's process";
    // A user may move a process only between groups of his own, cgroups(7): the runtime itself must be in one already.
    if errno == Errno::ACCESS && group.unified().is_some() && !rustix::process::geteuid().is_root()
    {
        let hint = "the caller's own cgroup is another user's; `systemd-run --user --scope` starts a program in one of the user's";
        return step(format!("{what} ({hint})"))(errno);
    }
    match group.why_closed() {
        Some(why) if matches!(errno, Errno::BUSY | Errno::OPNOTSUPP) => {
            Error::State(format!("{what}: {why}"))
        }
        _ => step(what)(errno),
    }
}

/// Where a process that joins a container is to run.
#[derive(Debug)]
pub(crate) struct ExecPlace {
    /// The group.
    pub(crate) group: Group,
    /// The container's first process, if the group is not one that was asked for by name.
    pub(crate) init: Option<i32>,
    /// The systemd unit that the container's group is of; empty without the systemd driver.
    pub(crate) unit: String,
}

impl ExecPlace {
    /// Makes the process in the group of the container's first process: that of the container cannot hold any once a service manager
    /// inside has handed controllers on and moved beneath ("no internal processes", cgroups(7)).
    fn beside_init(&self, request: &CloneRequest<'_>, errno: Errno) -> Result<Cloned> {
        let Some(pid) = self.init else { return Err(not_cloned(&self.group, errno)) };
        let found = Cgroups::detect().and_then(|cgroups| cgroups.group_of(&pid.to_string()));
        let group = found.map_err(step("find the cgroup of the container's process"))?;
        let directory = group.open_unified().map_err(cgroup_step("open the cgroup"))?;
        let request = CloneRequest { cgroup: directory.as_ref().map(AsFd::as_fd), ..*request };
        clone_process(&request).map_err(|errno| not_cloned(&group, errno))
    }
}

/// Makes a process that joins a running container.
///
/// A process in between enters the group and the namespaces and lets go of all that is the host's; then it makes the process as its own
/// sibling. So whoever lives in the container's pid namespace never sees one that still has the host's root, directory or descriptors,
/// not even with `CAP_SYS_PTRACE` (CVE-2016-9962).
pub(crate) fn joined(
    entrance: Entrance,
    program: Program,
    slave: Option<OwnedFd>,
    place: &ExecPlace,
    hook_state: State,
) -> Result<Launched> {
    let (ours, theirs) = Channel::pair().map_err(step("make a socket pair"))?;
    let (line, its_line) = Channel::pair().map_err(step("make a socket pair"))?;
    let group = &place.group;
    let mut equipment = Equipment {
        channel: theirs,
        fifo: None,
        report: None,
        console_socket: None,
        waits: program.is_labelled(),
        hook_state,
        group: Some(group.clone()),
        in_unified: false,
        in_version_1: false,
        settled: false,
        open: false,
        in_user_namespace: false,
        labels: Vec::new(),
    };
    // A user without privileges could write nothing in the procfs of a process that is born hidden.
    if rustix::process::geteuid().is_root() {
        hide()?;
    }
    let directory = group.open_unified().map_err(cgroup_step("open the cgroup"))?;
    let affinity = InitialAffinity::take(&program.affinity.initial)?;
    let request =
        CloneRequest { cgroup: directory.as_ref().map(AsFd::as_fd), ..CloneRequest::default() };
    let cloned = match clone_process(&request) {
        Err(errno @ (Errno::BUSY | Errno::OPNOTSUPP)) => place.beside_init(&request, errno),
        Err(Errno::ACCESS) if !place.unit.is_empty() => clone_from_scope(&place.unit, &request),
        other => other.map_err(|errno| not_cloned(&place.group, errno)),
    };
    match cloned? {
        Cloned::Child { in_cgroup } => {
            drop((ours, line));
            equipment.in_unified = in_cgroup;
            init::run_joined(entrance, program, slave, equipment, its_line)
        }
        Cloned::Parent { pidfd: between, .. } => {
            drop((equipment, entrance, slave, its_line));
            let received = line.receive_process();
            let _ = sys::pidfd::wait(between.as_fd());
            let (pid, pidfd) = received.map_err(|source| Error::Init { source })?;
            tell_of(pid, &affinity.wanted);
            let launched = Launched { pid, pidfd, channel: ours, devices: None, kept: false };
            affinity.leave()?;
            if program.is_labelled() {
                launched.send_labels(&program)?;
            }
            Ok(launched)
        }
    }
}

/// `execCPUAffinity.initial`: the runtime's own while it makes the process, which inherits it before it enters the container's cgroup.
struct InitialAffinity {
    wanted: Vec<usize>,
    own: Vec<usize>,
}

impl InitialAffinity {
    fn take(wanted: &[usize]) -> Result<Self> {
        if wanted.is_empty() {
            return Ok(Self { wanted: Vec::new(), own: Vec::new() });
        }
        let what = || format!("set the initial cpu affinity to {wanted:?}");
        let own = sys::namespace::affinity().map_err(step(what()))?;
        sys::namespace::set_affinity(wanted).map_err(step(what()))?;
        Ok(Self { wanted: wanted.to_vec(), own })
    }

    fn leave(self) -> Result<()> {
        if self.own.is_empty() {
            return Ok(());
        }
        sys::namespace::set_affinity(&self.own).map_err(step("restore the own cpu affinity"))
    }
}

/// What `--debug` says about a new process, in runc's words, in which its users look for the steps.
fn tell_of(pid: Pid, affinity: &[usize]) {
    if !log::debugs() {
        return;
    }
    let nsexec = format!("nsexec[{}]", pid.as_raw_nonzero());
    log::debug(&format!("{nsexec}: => nsexec container setup"));
    if !affinity.is_empty() {
        let mask =
            affinity.iter().filter(|number| **number < 128).fold(0, |mask: u128, n| mask | 1 << n);
        log::debug(&format!("{nsexec}: affinity: {mask:#x}"));
    }
    log::debug("child process in init()");
}

/// A stay of the runtime in the container's version 1 groups.
struct Visit {
    home: Group,
}

impl Visit {
    fn enter(cgroups: &Cgroups, group: &Group) -> Result<Self> {
        let home = cgroups.group_of("self").map_err(step("find the own cgroup"))?;
        let visit = Self { home };
        group.enter_version_1().map_err(cgroup_step("enter the cgroup"))?;
        Ok(visit)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Err(error) = self.home.enter_version_1() {
            crate::log::warn(&format!("return to the own cgroup: {error}: {}", error.source));
        }
    }
}

/// Before a process is made in a pid namespace where others live already: it is born hidden from them (CVE-2016-9962).
fn hide() -> Result<()> {
    sys::cred::set_not_dumpable().map_err(step("become undumpable"))
}

/// A joined pid namespace counts for children only; returns the way back.
fn join_pid_namespace(fd: &OwnedFd) -> Result<OwnedFd> {
    let own = fs::File::open("/proc/self/ns/pid").map_err(step("open the own pid namespace"))?;
    sys::namespace::join(fd, Namespaces::PID).map_err(step("join the pid namespace"))?;
    Ok(own.into())
}

fn return_pid_namespace(own: &OwnedFd) -> Result<()> {
    sys::namespace::join(own, Namespaces::PID).map_err(step("return to the own pid namespace"))
}

/// A time namespace with offsets. They can be written only before the first process runs in it, and clone3(2) starts one at once;
/// so the namespace is made for this process's children first, time_namespaces(7).
struct TimeNamespace {
    own: Option<OwnedFd>,
}

impl TimeNamespace {
    fn make(offsets: &str) -> Result<Self> {
        if offsets.is_empty() {
            return Ok(Self { own: None });
        }
        let what = "make a time namespace with offsets";
        let own = fs::File::open("/proc/self/ns/time").map_err(step(what))?;
        sys::namespace::new_time_namespace_for_children().map_err(step(what))?;
        fs::write("/proc/self/timens_offsets", offsets).map_err(step("write the time offsets"))?;
        Ok(Self { own: Some(own.into()) })
    }

    fn leave(self) -> Result<()> {
        match self.own {
            Some(own) => sys::namespace::join(own, Namespaces::TIME)
                .map_err(step("return to the own time namespace")),
            None => Ok(()),
        }
    }
}
