//! The container's first process, from its birth to execve(2).
//!
//! It runs in a copy of the runtime's memory, with one thread. It never returns: it becomes the program or reports what failed and ends.
//! Until the program runs it holds descriptors of the host, so nobody may look into it (`PR_SET_DUMPABLE`), and all of them are
//! close-on-exec.

mod apply;
mod become_program;
mod channel;
mod copy_up;
mod lookup;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use sys::cgroup::Group;
use sys::clone::{CloneRequest, Cloned, Namespaces, clone_process, exit_child};
use sys::cred;

use types::Chain;
use types::oci::runtime::{State, Status};

use crate::error::InitFailure;
use crate::log;
use crate::plan::{Affinity, Entrance, Join, Op, Plan, Program};

pub(crate) use become_program::open_labels;
pub(crate) use channel::{Channel, Message};

type Outcome<T> = std::result::Result<T, InitFailure>;

/// Names the failed step.
fn failed(step: impl Into<String>) -> impl FnOnce(Errno) -> InitFailure {
    move |errno| InitFailure::new(step, errno)
}

/// What the process gets from the runtime beside the plan.
#[derive(Debug)]
pub(crate) struct Equipment {
    /// The line to the runtime.
    pub(crate) channel: Channel,
    /// `exec.fifo`; without it the program runs at once.
    pub(crate) fifo: Option<OwnedFd>,
    /// `report.fifo`, for the failure of a `startContainer` hook.
    pub(crate) report: Option<OwnedFd>,
    /// Where the master of the terminal goes.
    pub(crate) console_socket: Option<OwnedFd>,
    /// Whether the runtime has to do something (maps of a user namespace) before the first step.
    pub(crate) waits: bool,
    /// The state document that `createContainer` and `startContainer` hooks read.
    pub(crate) hook_state: State,
    /// The groups to be in, unless that is done.
    pub(crate) group: Option<Group>,
    /// Whether the process was started in the version 2 group.
    pub(crate) in_unified: bool,
    /// Whether the process was started in the version 1 groups.
    pub(crate) in_version_1: bool,
    /// Whether the runtime has been told that the process is ready, and has let it go.
    pub(crate) settled: bool,
    /// Whether other processes of the user may look into this one.
    pub(crate) open: bool,
    /// Whether the process was started in the container's user namespace, as no user of it.
    pub(crate) in_user_namespace: bool,
    /// The files that take the security labels, and what is written there; opened by the process itself.
    pub(crate) labels: Vec<(OwnedFd, String)>,
}

impl Equipment {
    /// Lets nobody look into this process (CVE-2016-9962). The exception is the first process of a new user namespace that a user without privileges
    /// makes: its files in procfs would belong to root, and he could neither write its maps nor join it before the program runs. Nobody else is in
    /// the namespace, and who is in another one cannot look into it, ptrace(2).
    fn hide(&self) -> Outcome<()> {
        let result = if self.open { cred::set_dumpable() } else { cred::set_not_dumpable() };
        result.map_err(failed("become undumpable"))
    }

    /// The state for hooks that run inside: the pid is the one that is seen there.
    fn hook_state(&self, status: Status) -> String {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let state = State { status, pid, ..self.hook_state.clone() };
        serde_json::to_string(&state).unwrap_or_default()
    }
}

/// The life of the first process of a new container.
///
/// `operations` makes the list of what it does where the plan has none.
pub(crate) fn run(
    plan: Plan,
    operations: &dyn Fn() -> crate::error::Result<Vec<Op>>,
    mut equipment: Equipment,
) -> ! {
    let failure = match start(plan, operations, &mut equipment) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    // The container counts as started: a program that execve(2) refuses is told on its standard error, as by any shell, and ends.
    if equipment.settled && failure.about_program {
        equipment.channel.close();
    }
    end(&equipment.channel, failure)
}

/// The life of the process in between, and then of the one that joins a running container.
pub(crate) fn run_joined(
    entrance: Entrance,
    program: Program,
    slave: Option<OwnedFd>,
    mut equipment: Equipment,
    line: Channel,
) -> ! {
    let keep = [equipment.channel.descriptor(), line.descriptor(), slave.as_ref().map(AsFd::as_fd)];
    let keep: Vec<_> = keep.into_iter().flatten().collect();
    let group = equipment.group.take();
    let groups = (group.as_ref(), equipment.in_unified);
    match enter_container(entrance, &program, groups, &keep) {
        Ok(Cloned::Child { .. }) => {
            drop(line);
            let failure = match start_joined(program, slave, &mut equipment) {
                Ok(never) => match never {},
                Err(failure) => failure,
            };
            end(&equipment.channel, failure)
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            let _ = line.send_process(pid, &pidfd);
            exit_child(0)
        }
        Err(failure) => end(&line, failure),
    }
}

/// Joins everything by one call, or what cannot be joined so one by one.
fn enter_namespaces(entrance: Entrance) -> Outcome<()> {
    if let Some((pidfd, kinds)) = &entrance.whole
        && sys::namespace::join_of_process(pidfd, *kinds).is_ok()
    {
        return Ok(());
    }
    // Before the user namespace, which may not be the owner of this one; a user without privileges has only what is its own.
    let join_pid = || match &entrance.pid {
        Some(fd) => sys::namespace::join(fd, Namespaces::PID),
        None => Ok(()),
    };
    let early = join_pid();
    join(entrance.joins, || cred::set_not_dumpable().map_err(failed("become undumpable")))?;
    early.or_else(|_| join_pid()).map_err(failed("join the pid namespace"))
}

/// All but the pid namespace is this process's own from here on; only what it makes is in that one too.
fn enter_container(
    entrance: Entrance,
    program: &Program,
    (group, in_unified): (Option<&Group>, bool),
    keep: &[BorrowedFd<'_>],
) -> Outcome<Cloned> {
    // First, since the files in procfs of a process that is hidden belong to root.
    adjust_oom_score(program)?;
    cred::set_not_dumpable().map_err(failed("become undumpable"))?;
    sys::clone::reset_signals();
    enter_groups(group, in_unified, false)?;
    if program.affinity == Affinity::default() {
        reset_affinity();
    }
    enter_namespaces(entrance)?;
    log::close();
    sys::clone::close_from(program.preserve_fds.saturating_add(3), keep)
        .map_err(failed("close descriptors"))?;
    let request = CloneRequest { sibling: true, alone: true, ..CloneRequest::default() };
    clone_process(&request).map_err(failed("clone the process"))
}

/// What a process between the runtime and the container's does.
#[derive(Debug)]
pub(crate) struct Between<'a> {
    /// The user namespace to join.
    pub(crate) user: Option<&'a OwnedFd>,
    /// The time namespace to join.
    pub(crate) time: Option<&'a OwnedFd>,
    /// The pid namespace to join.
    pub(crate) pid: Option<&'a OwnedFd>,
    /// The other namespaces: those that can be joined before the user namespace are, and leave the list.
    pub(crate) joins: &'a mut Vec<Join>,
    /// The score to have before the files in procfs are root's.
    pub(crate) oom_score_adj: Option<i32>,
}

/// The life of a process that joins namespaces only to make another one in them.
///
/// Root of the host may enter any namespace; other users, and whoever is in a user namespace, only those that belong to it. So what can be joined
/// is joined before the user namespace and the rest after it.
pub(crate) fn between(between: Between<'_>, request: &CloneRequest<'_>) -> Outcome<Cloned> {
    if let Some(score) = between.oom_score_adj {
        set_oom_score(score)?;
    }
    cred::set_not_dumpable().map_err(failed("become undumpable"))?;
    let join_pid = || match between.pid {
        Some(fd) => sys::namespace::join(fd, Namespaces::PID),
        None => Ok(()),
    };
    let early = join_pid();
    between.joins.retain(|join| {
        // In another mount namespace the paths of the host are gone.
        join.kind == Namespaces::MOUNT || sys::namespace::join(&join.fd, join.kind).is_err()
    });
    let early_time =
        between.time.is_some_and(|fd| sys::namespace::join(fd, Namespaces::TIME).is_ok());
    if let Some(user) = between.user {
        sys::namespace::join(user, Namespaces::USER).map_err(failed("join the user namespace"))?;
    }
    if let Some(fd) = between.time.filter(|_| !early_time) {
        sys::namespace::join(fd, Namespaces::TIME).map_err(failed("join the time namespace"))?;
    }
    early.or_else(|_| join_pid()).map_err(failed("join the pid namespace"))?;
    let request = CloneRequest { sibling: true, ..*request };
    clone_process(&request).map_err(failed("clone the container's process"))
}

/// The life of a process that waits until it has been moved and then makes another one beside itself.
pub(crate) fn beside(channel: &Channel, request: &CloneRequest<'_>) -> Outcome<Cloned> {
    channel.expect(&Message::Continue)?;
    let request = CloneRequest { sibling: true, ..*request };
    clone_process(&request).map_err(failed("clone the container's process"))
}

/// Reports a failure and ends.
pub(crate) fn end(channel: &Channel, failure: InitFailure) -> ! {
    // After `Ready` nobody listens any more; then the container's own standard error is the place to say it, as runc does.
    if channel.send(&Message::Failed(failure.clone())).is_err() {
        crate::sink::err(&failure.to_string());
    }
    exit_child(255)
}

fn start(
    plan: Plan,
    operations: &dyn Fn() -> crate::error::Result<Vec<Op>>,
    equipment: &mut Equipment,
) -> Outcome<Infallible> {
    equipment.hide()?;
    sys::clone::reset_signals();
    rustix::process::umask(rustix::fs::Mode::empty());
    let group = equipment.group.take();
    enter_groups(group.as_ref(), equipment.in_unified, equipment.in_version_1)?;
    reset_affinity();
    prepare_proc_files(plan.program.as_ref(), equipment)?;
    if equipment.waits {
        equipment.channel.expect(&Message::Continue)?;
    }
    let ops = match plan.standing.plans_inside() {
        false => plan.ops,
        true => operations().map_err(|error| InitFailure::sentence(Chain(&error).to_string()))?,
    };
    if plan.standing.is_unprivileged() && !plan.time_offsets.is_empty() {
        enter_time_namespace(&plan.time_offsets)?;
    }
    if equipment.in_user_namespace {
        become_mapped_root(|| equipment.hide())?;
    }
    if plan.new.contains(Namespaces::CGROUP) && !sees_group_roots() {
        sys::namespace::new_cgroup_namespace().map_err(failed("make a cgroup namespace"))?;
    }
    join(plan.joins, || equipment.hide())?;
    if plan.new.contains(Namespaces::NETWORK) {
        sys::netdevice::loopback_up().map_err(|error| {
            failed("set the loopback device up")(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
    }
    let mut stage = apply::Stage::new(equipment);
    for op in ops {
        stage.apply(op)?;
    }
    let slave = stage.finish();
    match plan.program {
        Some(program) => become_program::run(program, slave, equipment),
        // Such a container can be created; it has nothing to start.
        None => {
            sys::clone::end_on_requests();
            become_program::wait_for_start(equipment)?;
            Err(InitFailure::sentence("process must be set"))
        }
    }
}

fn start_joined(
    program: Program,
    slave: Option<OwnedFd>,
    equipment: &mut Equipment,
) -> Outcome<Infallible> {
    if equipment.waits {
        let files = equipment.channel.expect_files(&Message::Continue)?;
        equipment.labels = files.into_iter().zip(program.labels()).collect();
    }
    become_program::run(program, slave, equipment)
}

fn enter_groups(group: Option<&Group>, in_unified: bool, in_version_1: bool) -> Outcome<()> {
    let Some(group) = group else { return Ok(()) };
    let unified = if in_unified { Ok(()) } else { group.enter_unified() };
    let version_1 = || if in_version_1 { Ok(()) } else { group.enter_version_1() };
    unified.and_then(|()| version_1()).map_err(|error| {
        InitFailure::sentence(format!("enter the cgroup: {error}: {}", error.source))
    })
}

/// The mask of whoever called the runtime is none of the container's business: in its group it has every processor of the group.
/// Where that is denied (an outer filter), it stays as it is.
fn reset_affinity() {
    let _ = sys::namespace::reset_affinity();
}

/// Makes a time namespace as for children and, once it has its offsets, enters it, time_namespaces(7).
fn enter_time_namespace(offsets: &str) -> Outcome<()> {
    let because = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let what = || failed("make a time namespace with offsets");
    sys::namespace::new_time_namespace_for_children().map_err(what())?;
    std::fs::write("/proc/self/timens_offsets", offsets)
        .map_err(because)
        .map_err(failed("write the time offsets"))?;
    let own = std::fs::File::open("/proc/self/ns/time_for_children").map_err(because);
    let joined = own.and_then(|own| sys::namespace::join(&own, Namespaces::TIME));
    joined.map_err(what())
}

/// Whether clone3 made the container's groups the roots of the cgroup namespace: every line of `/proc/self/cgroup` ends in `:/`.
fn sees_group_roots() -> bool {
    std::fs::read_to_string("/proc/self/cgroup")
        .is_ok_and(|text| text.lines().all(|line| line.ends_with(":/")))
}

/// While `/proc` is still the host's: nothing of the image has been mounted.
fn prepare_proc_files(program: Option<&Program>, equipment: &mut Equipment) -> Outcome<()> {
    let Some(program) = program else { return Ok(()) };
    equipment.labels = open_labels(program, "thread-self")?;
    adjust_oom_score(program)
}

fn adjust_oom_score(program: &Program) -> Outcome<()> {
    program.oom_score_adj.map_or(Ok(()), set_oom_score)
}

fn set_oom_score(score: i32) -> Outcome<()> {
    let path = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if now == Some(score) {
        return Ok(());
    }
    std::fs::write(path, score.to_string()).map_err(|error| {
        InitFailure::new(
            format!("set oom_score_adj to {score}"),
            Errno::from_io_error(&error).unwrap_or(Errno::IO),
        )
    })
}

/// In a new user namespace the process has all capabilities but no mapped id; it takes those of the namespace's root.
/// Where root is not mapped (EINVAL) it stays who it is.
fn become_mapped_root(hide: impl Fn() -> Outcome<()>) -> Outcome<()> {
    let mapped = |result| if result == Err(Errno::INVAL) { Ok(()) } else { result };
    mapped(cred::set_gid(0)).map_err(failed("become group 0 of the user namespace"))?;
    mapped(cred::set_uid(0)).map_err(failed("become user 0 of the user namespace"))?;
    // A change of ids makes the process dumpable or not by a host setting.
    hide()
}

fn change_root(root: &OwnedFd) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(c".")?;
    rustix::process::chdir(c"/")
}

fn join(mut joins: Vec<Join>, hide: impl Fn() -> Outcome<()>) -> Outcome<()> {
    // A time namespace with offsets belongs to the user namespace of the runtime that made it, or to the container's: it is joined while
    // this process has the rights of the one, or after it has got those of the other.
    joins.retain(|join| {
        join.kind != Namespaces::TIME || sys::namespace::join(&join.fd, join.kind).is_err()
    });
    for join in joins {
        if join.kind.is_empty() {
            change_root(&join.fd).map_err(failed(format!("change the root to `{}`", join.path)))?;
            continue;
        }
        sys::namespace::join(&join.fd, join.kind)
            .map_err(failed(format!("join the namespace `{}`", join.path)))?;
        if join.kind == Namespaces::USER {
            become_mapped_root(&hide)?;
        }
    }
    Ok(())
}
