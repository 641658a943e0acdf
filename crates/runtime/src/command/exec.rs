//! `exec`: another process in a running container.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sys::cgroup::{Group, Place};
use sys::clone::Namespaces;
use types::oci::runtime::{Capabilities, Process, Spec, Status};

use super::create::{connect_console, tell_of_filter, write_pid_file};
use super::{Globals, id, wait};
use crate::args::{Opt, Parsed, number, switch, valued};
use crate::error::{Error, Result, step};
use crate::init::Message;
use crate::launch::{self, ListenerTarget};
use crate::plan::{self, Join, ProgramContext};
use crate::rootless;
use crate::state::{Dir, Record};
use crate::{config, log};

/// The options.
pub(super) const OPTIONS: &[Opt] = &[
    valued("console-socket", '\0', "the Unix socket that receives the terminal's master end"),
    valued("pidfd-socket", '\0', "the Unix socket that receives a pidfd of the process"),
    valued("cwd", '\0', "the working directory in the container"),
    valued("env", 'e', "add NAME=VALUE to the environment"),
    switch("tty", 't', "give the process a terminal"),
    valued("user", 'u', "the user: <uid>[:<gid>]"),
    number("additional-gids", 'g', "add a group"),
    valued("process", 'p', "the file that describes the process, instead of the options"),
    switch("detach", 'd', "do not wait for the end"),
    valued("pid-file", '\0', "the file that the process's id is written to"),
    valued("process-label", '\0', "the SELinux label of the process"),
    valued("apparmor", '\0', "the AppArmor profile of the process"),
    switch("no-new-privs", '\0', "forbid the process to gain privileges by execve(2)"),
    valued("cap", 'c', "add a capability"),
    number(
        "preserve-fds",
        '\0',
        "pass N more descriptors on, after standard error and those of $LISTEN_FDS",
    ),
    valued(
        "cgroup",
        '\0',
        "start in a group beneath the container's: [<controller>[,<controller>]:]<path>",
    ),
    switch("ignore-paused", '\0', "start the process even though the container is paused"),
];

/// Runs a process; in the foreground its code is that of the command.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(id(parsed)?)?;
    let record = dir.record()?;
    let status = dir.status(&record);
    match status {
        Status::Stopped => {
            return Err(Error::State("cannot exec in a stopped container".into()));
        }
        Status::Paused if !parsed.is_on("ignore-paused") => {
            let text = "cannot exec in a paused container (use --ignore-paused to override)";
            return Err(Error::State(text.into()));
        }
        _ => {}
    }
    let preserve = parsed.number::<u32>("preserve-fds")?.unwrap_or(0);
    sys::clone::close_on_exec_from(preserve.saturating_add(3))
        .map_err(step("close inherited descriptors"))?;
    let spec = config::load(&record.bundle, &record.config)?;
    let process = process(parsed, &spec)?;
    start(parsed, &dir, &record, &spec, &process).map_err(|error| match error {
        // runc's words, which clients compare.
        Error::Init { source } => Error::Exec { source },
        other => other,
    })
}

fn start(
    parsed: &Parsed,
    dir: &Dir,
    record: &Record,
    spec: &Spec,
    process: &Process,
) -> Result<u8> {
    let context = ProgramContext {
        id: record.id.clone(),
        new_keyring: record.new_keyring,
        joins: true,
        new_user: Namespaces::from_bits_truncate(record.namespaces).contains(Namespaces::USER),
        keeps_groups: plan::keeps_groups(&spec.annotations),
        preserve_fds: parsed.number("preserve-fds")?.unwrap_or(0),
        ..ProgramContext::default()
    };
    let program = plan::of_process(process, spec.linux.as_ref(), &context)?;
    tell_of_filter(Some(&program));
    let listener = ListenerTarget::of(program.seccomp.as_ref(), dir.state(record));
    let detached = parsed.is_on("detach");
    let (master, slave) = terminal(parsed, record, process, detached)?;
    let foreground =
        if detached { None } else { Some(wait::Foreground::prepare(false)?.with_master(master)?) };
    let named = parsed.values("cgroup").next().is_some();
    let place =
        launch::ExecPlace { group: group(parsed, record)?, init: (!named).then_some(record.pid) };
    let (pid_namespace, joins) = namespaces(record)?;
    if !record.is_alive() {
        return Err(Error::State("cannot exec in a stopped container".into()));
    }
    let mut launched =
        launch::joined(joins, pid_namespace.as_ref(), program, slave, &place, dir.state(record))?;
    launched.talk(&Message::Ready, &listener, || Ok(()))?;
    log::debug("setns_init: about to exec");
    if let Some(path) = parsed.value("pidfd-socket") {
        launched.send_pidfd(path, "setns")?;
    }
    if let Some(file) = parsed.value("pid-file") {
        write_pid_file(Path::new(file), launched.pid.as_raw_nonzero().get())?;
    }
    launched.release()?;
    launched.talk(&Message::End, &listener, || Ok(()))?;
    launched.keep();
    match foreground {
        Some(foreground) => foreground.wait(&launched),
        None => Ok(0),
    }
}

/// The process of the document that was given, or that of the configuration with the options applied.
fn process(parsed: &Parsed, spec: &Spec) -> Result<Process> {
    if let Some(path) = parsed.value("process") {
        return config::load_process(Path::new(path));
    }
    let args = &parsed.words[1..];
    if args.is_empty() {
        return Err(Error::Usage("exec args cannot be empty".into()));
    }
    let mut process = spec.process.clone().unwrap_or_default();
    process.args = args.to_vec();
    process.terminal = parsed.is_on("tty");
    process.console_size = None;
    if let Some(cwd) = parsed.value("cwd") {
        process.cwd = cwd.to_owned();
    }
    if let Some(profile) = parsed.value("apparmor") {
        process.apparmor_profile = profile.to_owned();
    }
    if let Some(label) = parsed.value("process-label") {
        process.selinux_label = label.to_owned();
    }
    process.env.extend(parsed.values("env").map(str::to_owned));
    process.no_new_privileges |= parsed.is_on("no-new-privs");
    add_capabilities(parsed, &mut process);
    set_user(parsed, &mut process)?;
    config::validate_process(&process)?;
    Ok(process)
}

/// Added capabilities are never inheritable: a file's inheritable set would bring them back (CVE-2022-29162). Where the configuration
/// has inheritable ones, an added one that is among them becomes ambient too, as in runc.
fn add_capabilities(parsed: &Parsed, process: &mut Process) {
    let capabilities = process.capabilities.get_or_insert_with(Capabilities::default);
    for name in parsed.values("cap") {
        let inheritable = capabilities.inheritable.iter().any(|known| known == name);
        let sets =
            [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted];
        for set in sets.into_iter().chain(inheritable.then_some(&mut capabilities.ambient)) {
            if set.iter().all(|known| known != name) {
                set.push(name.to_owned());
            }
        }
    }
}

/// `--user UID[:GID]`: numbers only, and nothing after them (CVE-2026-30892).
fn set_user(parsed: &Parsed, process: &mut Process) -> Result<()> {
    if let Some(text) = parsed.value("user") {
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (text, None),
        };
        let number = |text: &str, what: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .then(|| text.parse::<u32>().ok())
                .flatten()
                .ok_or_else(|| Error::Usage(format!("parsing {text:?} as int for {what} failed")))
        };
        process.user.uid = number(uid, "uid")?;
        if let Some(gid) = gid {
            process.user.gid = number(gid, "gid")?;
        }
    }
    for text in parsed.values("additional-gids") {
        let gid = text.parse();
        let gid =
            gid.map_err(|_| Error::Usage(format!("parsing {text:?} as int for gid failed")))?;
        process.user.additional_gids.push(gid);
    }
    Ok(())
}

/// Opens a terminal of the container's devpts through its root, from outside: nothing inside can stand in its place.
fn terminal(
    parsed: &Parsed,
    record: &Record,
    process: &Process,
    detached: bool,
) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    let socket = parsed.value("console-socket");
    if !process.terminal {
        return match socket {
            Some(_) => Err(Error::Usage(
                "cannot use console socket if runc will not detach or allocate tty".into(),
            )),
            None => Ok((None, None)),
        };
    }
    if detached && socket.is_none() {
        return Err(Error::Usage(
            "cannot allocate tty if runc will detach without setting console socket".into(),
        ));
    }
    let root = rustix::fs::open(
        format!("/proc/{}/root", record.pid),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(step("open the container's root"))?;
    let pair = sys::pty::open_pair(&root, "dev/pts/ptmx").map_err(step("open a terminal"))?;
    if let Some(size) = process.console_size
        && let (Ok(rows), Ok(columns)) = (u16::try_from(size.height), u16::try_from(size.width))
        && rows > 0
    {
        sys::pty::set_size(&pair.master, rows, columns).map_err(step("size the terminal"))?;
    }
    give_away(&pair.slave, record, process.user.uid);
    let Some(socket) = socket else { return Ok((Some(pair.master), Some(pair.slave))) };
    let socket = connect_console(socket)?;
    let master = rustix::fd::AsFd::as_fd(&pair.master);
    sys::scm::send_all(rustix::fd::AsFd::as_fd(&socket), b"/dev/ptmx", &[master])
        .map_err(step("send the terminal"))?;
    Ok((None, Some(pair.slave)))
}

/// The terminal belongs to the one who opened it, who need not exist in the container's user namespace; there nobody could give it to the program's
/// user. Who has no right to do it here is the root of that namespace himself.
fn give_away(slave: &OwnedFd, record: &Record, uid: u32) {
    if !Namespaces::from_bits_truncate(record.namespaces).contains(Namespaces::USER) {
        return;
    }
    let maps = std::fs::read_to_string(format!("/proc/{}/uid_map", record.pid));
    let host = rootless::host_id(&rootless::parse(&maps.unwrap_or_default()), uid);
    if let Some(host) = host {
        let _ = rustix::fs::fchown(slave, Some(rustix::fs::Uid::from_raw(host)), None);
    }
}

/// The container's group, or with `--cgroup` one beneath it: `PATH` alone, or any number of `CONTROLLER[,…]:PATH`.
fn group(parsed: &Parsed, record: &Record) -> Result<Group> {
    let group = record.group();
    let wanted: Vec<&str> = parsed.values("cgroup").collect();
    let mut places = group.places().to_vec();
    match wanted.as_slice() {
        [] => return Ok(group),
        [path] if !path.contains(':') => {
            let relative = sub_path(path)?;
            places.iter_mut().for_each(|place| place.directory.push(relative));
        }
        list => list.iter().try_for_each(|entry| apply_sub_path(&mut places, entry))?,
    }
    for place in &mut places {
        // What was pushed may be empty, and then leaves a slash at the end.
        place.directory = place.directory.components().collect();
        std::fs::metadata(&place.directory).map_err(step(format!(
            "error adding pid {} to cgroups: open `{}`",
            std::process::id(),
            place.directory.join("cgroup.procs").display()
        )))?;
    }
    Ok(Group::from_places(places))
}

fn apply_sub_path(places: &mut [Place], entry: &str) -> Result<()> {
    let bad = |why: &str| Error::Usage(format!("invalid --cgroup argument: {entry}{why}"));
    let (controllers, path) =
        entry.split_once(':').ok_or_else(|| bad(" (missing <controller>: prefix)"))?;
    let relative = sub_path(path)?;
    for controller in controllers.split(',') {
        if controller.is_empty() {
            return Err(bad(" (empty <controller> prefix)"));
        }
        let place = places.iter_mut().find(|place| place.has(controller));
        let place = place.ok_or_else(|| {
            Error::Usage(format!("unknown controller {controller} in --cgroup {entry}"))
        })?;
        // Controllers that are mounted together have one directory.
        if !place.directory.ends_with(relative) || relative.is_empty() {
            place.directory.push(relative);
        }
    }
    Ok(())
}

fn sub_path(path: &str) -> Result<&str> {
    if path.split('/').any(|part| part == "..") {
        return Err(Error::Usage(format!("bad sub cgroup path: {path}")));
    }
    Ok(path.trim_matches('/'))
}

/// The namespaces of the container that are not the runtime's own, opened by the first process's entries in procfs.
fn namespaces(record: &Record) -> Result<(Option<OwnedFd>, Vec<Join>)> {
    let recorded = Namespaces::from_bits_truncate(record.namespaces);
    let kinds = [
        (Namespaces::USER, "user"),
        (Namespaces::IPC, "ipc"),
        (Namespaces::UTS, "uts"),
        (Namespaces::NETWORK, "net"),
        (Namespaces::PID, "pid"),
        (Namespaces::CGROUP, "cgroup"),
        (Namespaces::TIME, "time"),
        // Last: after it the paths of the host are gone.
        (Namespaces::MOUNT, "mnt"),
    ];
    let (mut pid, mut joins) = (None, Vec::new());
    for (kind, name) in kinds {
        if !recorded.contains(kind) {
            continue;
        }
        let path = format!("/proc/{}/ns/{name}", record.pid);
        let what = format!("open the namespace `{path}`");
        let fd = OwnedFd::from(std::fs::File::open(&path).map_err(step(what))?);
        if kind == Namespaces::PID {
            pid = Some(fd);
        } else if !is_own(&fd, name) {
            joins.push(Join { kind, fd, path });
        }
    }
    if !recorded.contains(Namespaces::MOUNT) {
        // The container is only a changed root.
        let path = format!("/proc/{}/root", record.pid);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(step(format!("open the root `{path}`")))?;
        joins.push(Join { kind: Namespaces::empty(), fd, path });
    }
    Ok((pid, joins))
}

/// A user namespace cannot be joined by one who is in it.
fn is_own(fd: &OwnedFd, name: &str) -> bool {
    let own = rustix::fs::stat(format!("/proc/self/ns/{name}"));
    let theirs = rustix::fs::fstat(fd);
    matches!((own, theirs), (Ok(a), Ok(b)) if a.st_ino == b.st_ino && a.st_dev == b.st_dev)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Words, parse};

    fn parsed(line: &str) -> Parsed {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(OPTIONS, &words, Words::First).unwrap()
    }

    fn spec() -> Spec {
        let process = Process { cwd: "/".into(), env: vec!["A=1".into()], ..Process::default() };
        Spec { process: Some(process), ..Spec::default() }
    }

    #[test]
    fn options_change_the_configured_process() {
        let parsed = parsed("-t -u 5:6 -e B=2 --cap CAP_KILL --cwd /tmp x ls -l");
        let process = process(&parsed, &spec()).unwrap();
        assert_eq!(process.args, ["ls", "-l"]);
        assert_eq!((process.user.uid, process.user.gid), (5, 6));
        assert_eq!(process.env, ["A=1", "B=2"]);
        assert_eq!(process.cwd, "/tmp");
        let capabilities = process.capabilities.unwrap();
        assert_eq!(capabilities.bounding, ["CAP_KILL"]);
        assert!(capabilities.inheritable.is_empty() && capabilities.ambient.is_empty());
    }

    #[test]
    fn a_user_is_a_number_and_nothing_else() {
        for bad in ["-u 5x x ls", "-u +5 x ls", "-u 5: x ls", "-u root x ls", "-u 4294967296 x ls"]
        {
            assert!(process(&parsed(bad), &spec()).is_err(), "{bad}");
        }
        assert!(process(&parsed("x"), &spec()).is_err());
    }

    #[test]
    fn a_sub_cgroup_stays_beneath() {
        assert!(group(&parsed("--cgroup ../x id ls"), &Record::default()).is_err());
        assert!(group(&parsed("--cgroup cpu:/a/../../x id ls"), &Record::default()).is_err());
    }
}
