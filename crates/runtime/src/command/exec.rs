//! `exec`: another process in a running container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sys::cgroup::{Group, Place};
use sys::clone::Namespaces;
use types::oci::runtime::{Capabilities, Process, Spec, Status};

use super::create::{connect_console, tell_of_filter, write_pid_file};
use super::{Globals, id, wait};
use crate::args::{Opt, Parsed, number, switch, valued};
use crate::error::{Error, Result, step};
use crate::inherit::{self, Inherited};
use crate::init::Message;
use crate::launch::{self, ListenerTarget};
use crate::plan::{self, Entrance, Join, ProgramContext};
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
    let inherited = Inherited::take(parsed, false)?;
    let spec = config::load(&record.bundle, &record.config)?;
    let process = process(parsed, &spec)?;
    let pidfd_socket = inherit::connect_pidfd_socket(parsed.text("pidfd-socket"))?;
    let request = Request { parsed, spec: &spec, process: &process, inherited, pidfd_socket };
    start(&request, &dir, &record).map_err(|error| match error {
        // runc's words, which clients compare.
        Error::Init { source } => Error::Exec { source },
        other => other,
    })
}

/// What is asked for.
struct Request<'a> {
    parsed: &'a Parsed,
    spec: &'a Spec,
    process: &'a Process,
    inherited: Inherited,
    pidfd_socket: Option<OwnedFd>,
}

fn start(request: &Request<'_>, dir: &Dir, record: &Record) -> Result<u8> {
    let Request { parsed, spec, process, inherited, pidfd_socket } = request;
    let context = ProgramContext {
        id: record.id.clone(),
        new_keyring: record.new_keyring,
        joins: true,
        new_user: Namespaces::from_bits_truncate(record.namespaces).contains(Namespaces::USER),
        keeps_groups: plan::keeps_groups(&spec.annotations),
        preserve_fds: inherited.all,
        ..ProgramContext::default()
    };
    let program = plan::of_process(process, spec.linux.as_ref(), &context)?;
    tell_of_filter(Some(&program));
    let listener = ListenerTarget::of(program.seccomp.as_ref(), dir.state(record));
    let detached = parsed.is_on("detach");
    let (master, slave) = terminal(parsed, record, process, detached)?;
    let foreground = if detached {
        None
    } else {
        Some(wait::Foreground::prepare(false, false)?.with_master(master)?)
    };
    let named = parsed.values("cgroup").next().is_some();
    let place = launch::ExecPlace {
        group: group(parsed, record)?,
        init: (!named).then_some(record.pid),
        unit: record.unit.clone(),
    };
    let entrance = namespaces(record)?;
    if !record.is_alive() {
        return Err(Error::State("cannot exec in a stopped container".into()));
    }
    let mut launched = launch::joined(entrance, program, slave, &place, dir.state(record))?;
    launched.talk(&Message::Ready, &listener, || Ok(()))?;
    log::debug("setns_init: about to exec");
    inherit::send_pidfd(pidfd_socket.as_ref(), "setns", launched.pidfd.as_fd())?;
    if let Some(file) = parsed.text("pid-file") {
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
    if let Some(path) = parsed.text("process") {
        return config::load_process(Path::new(path));
    }
    let args = &parsed.words[1..];
    if args.is_empty() {
        return Err(Error::Usage("exec args cannot be empty".into()));
    }
    let mut process = spec.process.clone().unwrap_or_default();
    process.args = args.to_vec();
    process.terminal = parsed.is_on("tty");
    if let Some(cwd) = parsed.text("cwd") {
        process.cwd = cwd.to_owned();
    }
    if let Some(profile) = parsed.text("apparmor") {
        process.apparmor_profile = profile.to_owned();
    }
    if let Some(label) = parsed.text("process-label") {
        process.selinux_label = label.to_owned();
    }
    process.env.extend(parsed.values("env").map(str::to_owned));
    if parsed.value("no-new-privs").is_some() {
        process.no_new_privileges = parsed.is_on("no-new-privs");
    }
    add_capabilities(parsed, &mut process);
    set_user(parsed, &mut process)?;
    config::validate_process(&process)?;
    Ok(process)
}

/// Added capabilities are never inheritable: a file's inheritable set would bring them back (CVE-2022-29162). They are ambient, as
/// with runc, where the configuration has inheritable ones; of those the kernel takes only what is inheritable already.
fn add_capabilities(parsed: &Parsed, process: &mut Process) {
    let capabilities = process.capabilities.get_or_insert_with(Capabilities::default);
    let ambient = !capabilities.inheritable.is_empty();
    let Capabilities { bounding, effective, permitted, ambient: ambient_set, .. } = capabilities;
    for name in parsed.values("cap") {
        let mut sets = vec![&mut *bounding, &mut *effective, &mut *permitted];
        if ambient {
            sets.push(&mut *ambient_set);
        }
        for set in sets {
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
        if let Some(gid) = gid {
            process.user.gid = identity(gid, "gid")?;
        }
        process.user.uid = identity(uid, "uid")?;
    }
    for text in parsed.values("additional-gids") {
        let gid = text.parse();
        let gid = gid.map_err(|_| {
            Error::Usage(format!("additional-gids must be a positive number {text}"))
        })?;
        process.user.additional_gids.push(gid);
    }
    Ok(())
}

/// Digits; -1 as an unsigned number means "unchanged" to the kernel and is no one's id.
fn identity(text: &str, what: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse::<u32>().ok()).flatten();
    number.filter(|number| *number != u32::MAX).ok_or_else(|| {
        Error::Usage(format!("bad {what}: strconv.Atoi: parsing {text:?}: invalid syntax"))
    })
}

/// Opens a terminal of the container's devpts through its root, from outside: nothing inside can stand in its place.
fn terminal(
    parsed: &Parsed,
    record: &Record,
    process: &Process,
    detached: bool,
) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    let socket = parsed.text("console-socket");
    inherit::check_terminal(parsed, process.terminal, detached)?;
    if !process.terminal {
        return Ok((None, None));
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

/// The container's group, or with `--cgroup` one beneath it: `PATH`, or on version 1 several `CONTROLLER[,…]:PATH`.
fn group(parsed: &Parsed, record: &Record) -> Result<Group> {
    let group = record.group();
    let wanted: Vec<&str> = parsed.values("cgroup").collect();
    let mut places = group.places().to_vec();
    for (controller, path) in sub_groups(&wanted)? {
        if path.split('/').any(|part| part == "..") {
            return Err(Error::Usage(format!("bad sub cgroup path: {path}")));
        }
        let path = path.trim_matches('/');
        let mut found = false;
        for place in places.iter_mut().filter(|p| controller.is_none_or(|name| p.has(name))) {
            found = true;
            // Controllers that are mounted together have one directory, and get the path once.
            let done = controller.is_some() && place.directory.ends_with(path);
            if !path.is_empty() && !done {
                place.directory.push(path);
            }
        }
        if let Some(name) = controller.filter(|_| !found) {
            return Err(Error::Usage(format!("unknown controller {name} in SubCgroupPaths")));
        }
    }
    if !wanted.is_empty() {
        places.iter().try_for_each(is_there)?;
    }
    Ok(Group::from_places(places))
}

fn is_there(place: &Place) -> Result<()> {
    let file = place.directory.join("cgroup.procs");
    let pid = std::process::id();
    std::fs::metadata(&place.directory)
        .map(drop)
        .map_err(step(format!("error adding pid {pid} to cgroups: open `{}`", file.display())))
}

/// Takes `--cgroup` values apart, in runc's words: one path for everything, or each controller once.
fn sub_groups<'a>(values: &[&'a str]) -> Result<Vec<(Option<&'a str>, &'a str)>> {
    let mut found: Vec<(Option<&str>, &str)> = Vec::new();
    let bad = |value: &str, why: &str| {
        Error::Usage(format!("invalid --cgroup argument: {value} ({why})"))
    };
    for value in values {
        let Some((controllers, path)) = value.split_once(':') else {
            if values.len() > 1 {
                return Err(bad(value, "missing <controller>: prefix"));
            }
            return Ok(vec![(None, *value)]);
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(bad(value, "empty <controller> prefix"));
            }
            if found.iter().any(|(known, _)| *known == Some(controller)) {
                return Err(Error::Usage(format!(
                    "invalid --cgroup argument(s): controller {controller} specified multiple times"
                )));
            }
            found.push((Some(controller), path));
        }
    }
    Ok(found)
}

/// The namespaces of the container that are not the runtime's own, opened by the first process's entries in procfs.
fn namespaces(record: &Record) -> Result<Entrance> {
    let whole = whole(record);
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
    Ok(Entrance { whole, pid, joins })
}

/// A descriptor of the container's first process and all that can be joined by it in one call (Linux 5.8): a user namespace has to be joined
/// apart, because the rights for the others come with it.
fn whole(record: &Record) -> Option<(OwnedFd, Namespaces)> {
    let kinds = Namespaces::from_bits_truncate(record.namespaces);
    if kinds.contains(Namespaces::USER) || !kinds.contains(Namespaces::MOUNT) {
        return None;
    }
    let pidfd = sys::pidfd::open(u32::try_from(record.pid).ok()?).ok()?;
    Some((pidfd, kinds))
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
    fn capabilities_become_ambient_beside_inheritable_ones() {
        let mut spec = spec();
        let given =
            Capabilities { inheritable: vec!["CAP_CHOWN".into()], ..Capabilities::default() };
        spec.process.as_mut().unwrap().capabilities = Some(given);
        let capabilities =
            process(&parsed("--cap CAP_KILL x ls"), &spec).unwrap().capabilities.unwrap();
        assert_eq!(capabilities.ambient, ["CAP_KILL"]);
        assert_eq!(capabilities.inheritable, ["CAP_CHOWN"]);
    }

    #[test]
    fn a_sub_cgroup_stays_beneath() {
        for bad in ["--cgroup ../x id ls", "--cgroup cpu:/a/../../x id ls", "--cgroup cpu:a id ls"]
        {
            assert!(group(&parsed(bad), &Record::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn sub_cgroups_are_for_all_controllers_or_for_each_once() {
        assert_eq!(sub_groups(&["a"]).unwrap(), [(None, "a")]);
        assert_eq!(
            sub_groups(&["cpu,cpuacct:a", "pids:b"]).unwrap(),
            [(Some("cpu"), "a"), (Some("cpuacct"), "a"), (Some("pids"), "b")]
        );
        for (values, want) in [
            (vec!["a", "cpu:b"], "invalid --cgroup argument: a (missing <controller>: prefix)"),
            (vec![",cpu:b"], "invalid --cgroup argument: ,cpu:b (empty <controller> prefix)"),
            (
                vec!["cpu:a", "cpu:b"],
                "invalid --cgroup argument(s): controller cpu specified multiple times",
            ),
        ] {
            assert_eq!(sub_groups(&values).unwrap_err().to_string(), want);
        }
    }
}
