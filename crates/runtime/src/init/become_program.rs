//! The last part of the way: from a process with the runtime's rights to the container's program.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use sys::clone::CStringArray;
use sys::cred::{self, Sets};
use sys::namespace::SchedulerAttributes;
use types::oci::runtime::Status;

use super::{Equipment, Message, Outcome, apply, failed, lookup};
use crate::error::InitFailure;
use crate::hooks;
use crate::plan::Program;

/// Does what is left, waits for `start`, and becomes the program.
///
/// The order is forced: the session before the terminal; limits and labels while their files may be written; the bounding set while
/// `CAP_SETPCAP` is there; groups before the user; the directory checked before the filter; the filter, which needs
/// `CAP_SYS_ADMIN` or no_new_privs, as late as possible; then nothing but capset, read and execve.
pub(super) fn run(
    program: Program,
    slave: Option<OwnedFd>,
    equipment: &mut Equipment,
) -> Outcome<Infallible> {
    session(&program, slave)?;
    limits(&program, &std::mem::take(&mut equipment.labels))?;
    if program.no_new_privileges {
        cred::set_no_new_privileges().map_err(failed("set no_new_privs"))?;
    }
    own_standard_streams(&program);
    close_descriptors(&program, equipment)?;
    identity(&program, equipment)?;
    let path = prepare_exec(&program)?;
    let env = environment(&program);
    if equipment.fifo.is_some() {
        // Until `start` comes nobody may have to use SIGKILL on it.
        sys::clone::end_on_requests();
    }
    if program.no_new_privileges || program.seccomp.is_none() {
        final_capabilities(&program)?;
        filter(&program, equipment)?;
    } else {
        filter(&program, equipment)?;
        final_capabilities(&program)?;
    }
    wait_for_start(equipment)?;
    if !program.start_hooks.is_empty() {
        let state = equipment.hook_state(Status::Created);
        hooks::run_all_inside("startContainer", &program.start_hooks, env.strings(), &state)
            .map_err(|why| {
                tell_start(equipment, &why);
                InitFailure::sentence(why)
            })?;
    }
    execute(&program, &path, &env)
}

/// `start` listens; after it has let the process go there is no other way to tell it.
fn tell_start(equipment: &Equipment, why: &str) {
    if let Some(report) = &equipment.report {
        // One write of at most PIPE_BUF arrives whole.
        let _ = rustix::io::write(report, &why.as_bytes()[..why.len().min(4096)]);
    }
}

fn session(program: &Program, slave: Option<OwnedFd>) -> Outcome<()> {
    // The runtime may have been started as a leader already; then there is nothing to do.
    let _ = rustix::process::setsid();
    if let Some(slave) = slave {
        sys::pty::make_controlling(&slave).map_err(failed("take the terminal"))?;
        rustix::stdio::dup2_stdin(&slave).map_err(failed("use the terminal"))?;
        rustix::stdio::dup2_stdout(&slave).map_err(failed("use the terminal"))?;
        rustix::stdio::dup2_stderr(&slave).map_err(failed("use the terminal"))?;
    }
    if let Some(name) = &program.keyring {
        match sys::namespace::join_session_keyring(name) {
            // Kernels without keyrings, and outer filters. With the quota of keys used up the program would get the caller's keyring.
            Ok(()) | Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => {}
            Err(error) => return Err(InitFailure::new("join a session keyring", error)),
        }
    }
    Ok(())
}

fn limits(program: &Program, labels: &[(OwnedFd, String)]) -> Outcome<()> {
    for (number, soft, hard) in &program.rlimits {
        let name = sys::rlimit::NAMES[*number as usize];
        let what = || format!("set RLIMIT_{name} to soft {soft}, hard {hard}");
        sys::rlimit::set(*number, *soft, *hard).map_err(|errno| failed(what())(errno))?;
    }
    for (file, label) in labels {
        rustix::io::write(file, label.as_bytes())
            .map_err(failed(format!("set the security label `{label}`")))?;
    }
    if let Some(domain) = program.personality {
        sys::namespace::set_personality(domain).map_err(failed("set the personality"))?;
    }
    if let Some(attributes) = program.scheduler {
        set_scheduler(attributes)?;
    }
    if let Some((class, level)) = program.io_priority {
        sys::namespace::set_io_priority(class, level).map_err(failed("set the io priority"))?;
    }
    if !program.affinity.last.is_empty() {
        let what = format!("set the final cpu affinity to {:?}", program.affinity.last);
        sys::namespace::set_affinity(&program.affinity.last).map_err(failed(what))?;
    }
    if let Some(policy) = &program.memory_policy {
        sys::namespace::set_memory_policy(policy.mode, &policy.nodes)
            .map_err(failed(format!("set_mempolicy to {}", policy.text)))?;
    }
    Ok(())
}

/// The kernel refuses a deadline to a process that may not run on every processor, sched_setattr(2); runc's words.
fn set_scheduler(attributes: SchedulerAttributes) -> Outcome<()> {
    const DEADLINE: u32 = 6;
    let deadline = attributes.policy == DEADLINE;
    sys::namespace::set_scheduler(attributes).map_err(|error| match error {
        Errno::PERM if deadline => InitFailure::new(
            "set the scheduler: process scheduler can't be used together with AllowedCPUs, or without CAP_SYS_NICE",
            error,
        ),
        error => InitFailure::new("set the scheduler", error),
    })
}

/// Opens the files of a process that take its security labels: through the host's procfs, before anything of the image is mounted or by
/// one who sees nothing of it, so that nothing can stand in for them (CVE-2019-16884, CVE-2025-52881). Only the process itself can write.
pub(crate) fn open_labels(program: &Program, process: &str) -> Outcome<Vec<(OwnedFd, String)>> {
    let mut labels = Vec::new();
    for (label, module) in program.labels().into_iter().zip(program.label_modules()) {
        let open = |module: &str| {
            let path = format!("/proc/{process}/attr/{module}exec");
            rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        };
        let file = match open(module) {
            // Older kernels have one file for all security modules.
            Err(Errno::NOENT) => open(""),
            other => other,
        };
        let file = file
            .and_then(apply::verified_proc)
            .map_err(failed(format!("open the file for the security label `{label}`")))?;
        labels.push((file, label));
    }
    Ok(labels)
}

/// Gives pipes and terminals to the user, as runc does: programs reopen `/dev/stdout`.
fn own_standard_streams(program: &Program) {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        let Ok(stat) = rustix::fs::fstat(stream) else { continue };
        if stat.st_uid == program.uid || stat.st_rdev == rustix::fs::makedev(1, 3) {
            continue;
        }
        // Read-only file systems and unmapped owners refuse; then the stream stays as it is.
        let _ = rustix::fs::fchown(
            stream,
            Some(Uid::from_raw(program.uid)),
            Some(Gid::from_raw(stat.st_gid)),
        );
    }
}

fn identity(program: &Program, equipment: &Equipment) -> Outcome<()> {
    // A directory that only root can enter is entered now; one that only the user can, below.
    let early = rustix::process::chdir(&program.cwd);
    cred::limit_bounding_set(program.capabilities.bounding)
        .map_err(failed("drop capabilities from the bounding set"))?;
    cred::keep_capabilities(true).map_err(failed("keep capabilities"))?;
    set_groups(program)?;
    cred::set_gid(program.gid).map_err(unmapped("gid", "group", program.gid))?;
    cred::set_uid(program.uid).map_err(unmapped("uid", "user", program.uid))?;
    cred::keep_capabilities(false).map_err(failed("keep capabilities"))?;
    equipment.hide()?;
    // The change of the user has cleared the effective set; the filter still needs it, and so does a directory of another user.
    let permitted = program.capabilities.permitted | cred::SYS_ADMIN | cred::SETPCAP;
    let own = cred::capability_sets().map_err(failed("read capabilities"))?.permitted;
    set_capabilities(
        permitted & own,
        program.capabilities.effective | cred::SYS_ADMIN | cred::SETPCAP,
        0,
    )?;
    if let Err(error) = early {
        let cwd = program.cwd.to_string_lossy();
        let late =
            if error == Errno::ACCESS { rustix::process::chdir(&program.cwd) } else { Err(error) };
        late.map_err(failed(format!("chdir to cwd ({cwd:?}) set in config.json failed")))?;
    }
    Ok(())
}

/// The kernel answers EINVAL for an id that the user namespace does not know. runc's words.
fn unmapped(
    id: &'static str,
    kind: &'static str,
    number: u32,
) -> impl FnOnce(Errno) -> InitFailure {
    move |errno| match errno {
        Errno::INVAL => {
            InitFailure::sentence(format!("cannot set {id} to unmapped user in user namespace"))
        }
        _ => failed(format!("become {kind} {number}"))(errno),
    }
}

fn set_groups(program: &Program) -> Outcome<()> {
    if program.keeps_groups {
        return Ok(());
    }
    match cred::set_groups(&program.groups) {
        // In a user namespace that denies setgroups(2) there are no groups to drop either.
        Err(Errno::PERM) if program.groups.is_empty() => Ok(()),
        Err(Errno::PERM | Errno::INVAL) => {
            Err(InitFailure::sentence("cannot set any additional groups in a rootless container"))
        }
        other => other.map_err(failed("set the groups")),
    }
}

fn set_capabilities(permitted: u64, effective: u64, inheritable: u64) -> Outcome<()> {
    let sets = Sets { permitted, effective: effective & permitted, inheritable };
    cred::set_capability_sets(sets).map_err(failed("apply capabilities"))
}

fn final_capabilities(program: &Program) -> Outcome<()> {
    let sets = &program.capabilities;
    set_capabilities(sets.permitted, sets.effective, sets.inheritable)?;
    cred::set_ambient(sets.ambient).map_err(failed("apply ambient capabilities"))
}

/// Everything that needs names, done before the filter is on: the directory, the program, the mask.
fn prepare_exec(program: &Program) -> Outcome<CString> {
    // A directory that cannot be named lies outside of the root: a leaked descriptor of the host (CVE-2024-21626).
    let cwd =
        rustix::process::getcwd(Vec::new()).map_err(failed("verify the working directory"))?;
    if cwd.to_bytes().first() != Some(&b'/') {
        return Err(InitFailure::sentence(
            "current working directory is outside of container mount namespace root -- possible container breakout detected",
        ));
    }
    rustix::process::umask(Mode::from_raw_mode(program.umask));
    let name = program.args.strings().first();
    let name = name.ok_or_else(|| InitFailure::sentence("process.args must not be empty"))?;
    let path = program.env.iter().rev().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    lookup::program(name, path)
}

/// Closes whatever is left of the runtime and of its caller. To be close-on-exec is not enough: until then `/proc/self/fd/N` as the
/// directory or the program leads into the host (CVE-2024-21626).
fn close_descriptors(program: &Program, equipment: &mut Equipment) -> Outcome<()> {
    equipment.console_socket = None;
    crate::log::close();
    let fifos = equipment.fifo.iter().chain(&equipment.report).map(AsFd::as_fd);
    let keep = fifos.chain(equipment.channel.descriptor());
    let keep: Vec<_> = keep.collect();
    sys::clone::close_from(program.preserve_fds.saturating_add(3), &keep)
        .map_err(failed("close descriptors"))
}

fn filter(program: &Program, equipment: &Equipment) -> Outcome<()> {
    let Some(filter) = &program.seccomp else { return Ok(()) };
    let listener = sys::seccomp::load(&filter.program, filter.flags)
        .map_err(failed("load the seccomp filter"))?;
    if let Some(listener) = listener {
        equipment.channel.send_with(&Message::Listener, &[listener.as_fd()]).map_err(|error| {
            InitFailure::sentence(format!("send the seccomp listener: {error}"))
        })?;
        equipment.channel.expect(&Message::Continue)?;
    }
    Ok(())
}

/// Tells the runtime that all is well, waits until it has written everything down, and then reads one byte from `exec.fifo`, which
/// `start` writes. write(2) and read(2) are all that happens under the filter.
pub(super) fn wait_for_start(equipment: &mut Equipment) -> Outcome<()> {
    let ready = equipment.channel.send(&Message::Ready);
    ready.map_err(|error| InitFailure::sentence(format!("report to the runtime: {error}")))?;
    // Before the answer nothing is written down about this process: if the runtime dies, it must end.
    equipment.channel.wait()?;
    equipment.settled = true;
    let Some(fifo) = equipment.fifo.take() else { return Ok(()) };
    equipment.channel.close();
    let mut byte = [0];
    loop {
        match rustix::io::read(&fifo, &mut byte) {
            Ok(1) => {
                // It stays open until execve closes it: `start` sees by that when the program runs.
                equipment.fifo = Some(fifo);
                return Ok(());
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(InitFailure::new("wait for the start", error)),
        }
    }
}

fn environment(program: &Program) -> CStringArray {
    let mut env = program.env.clone();
    // An empty home counts as none, as in runc.
    env.retain(|entry| entry.to_bytes() != b"HOME=");
    if env.iter().all(|entry| !entry.to_bytes().starts_with(b"HOME=")) {
        let home = [b"HOME=", lookup::home(program.uid).to_bytes()].concat();
        env.extend(CString::new(home));
    }
    CStringArray::new(env)
}

fn execute(program: &Program, path: &CString, env: &CStringArray) -> Outcome<Infallible> {
    let error = match sys::clone::execute(path, &program.args, env) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let text = format!("exec {}: {}", path.to_string_lossy(), crate::error::describe(error));
    Err(InitFailure::program(text, error))
}
