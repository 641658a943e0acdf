//! `create` and `run`.

pub(super) mod restore;

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use sys::cgroup::{Cgroups, Group};
use types::oci::runtime::{Hooks, Linux, NamespaceKind, Resources, Spec, State, Status};

use super::{Globals, id, wait};
use crate::args::{Opt, Parsed, number, switch, valued};
use crate::cgroup::{self, Draft, path_for, scope};
use crate::error::{Error, Result, step};
use crate::inherit::{self, Inherited};
use crate::init::Message;
use crate::launch::{self, Kit, Launched, ListenerTarget};
use crate::plan::{self, ProgramContext, Request};
use crate::rootless::{self, Standing};
use crate::state::{Dir, Record, process_stat};
use crate::{config, hooks, log, rdt, root_mount};

/// The options of `create`.
pub(super) const OPTIONS: &[Opt] = &[
    valued("bundle", 'b', "the bundle's directory (default: the current one)"),
    valued("config", 'f', ""),
    valued("console-socket", '\0', "the Unix socket that receives the terminal's master end"),
    valued("pidfd-socket", '\0', "the Unix socket that receives a pidfd of the process"),
    valued("pid-file", '\0', "the file that the process's id is written to"),
    switch("no-pivot", '\0', "do not use pivot_root(2), for root file systems on a ramdisk"),
    switch("no-new-keyring", '\0', "keep the caller's session keyring instead of making a new one"),
    number(
        "preserve-fds",
        '\0',
        "pass N more descriptors on, after standard error and those of $LISTEN_FDS",
    ),
];

/// The options of `run`.
pub(super) const RUN_OPTIONS: &[Opt] = &[
    valued("bundle", 'b', "the bundle's directory (default: the current one)"),
    valued("config", 'f', ""),
    valued("console-socket", '\0', "the Unix socket that receives the terminal's master end"),
    valued("pidfd-socket", '\0', "the Unix socket that receives a pidfd of the process"),
    valued("pid-file", '\0', "the file that the process's id is written to"),
    switch("no-pivot", '\0', "do not use pivot_root(2), for root file systems on a ramdisk"),
    switch("no-new-keyring", '\0', "keep the caller's session keyring instead of making a new one"),
    number(
        "preserve-fds",
        '\0',
        "pass N more descriptors on, after standard error and those of $LISTEN_FDS",
    ),
    switch("detach", 'd', "do not wait for the end"),
    switch("keep", '\0', "leave the container there when it has ended"),
    switch("no-subreaper", '\0', "do not adopt the container's orphans"),
];

/// `create`: everything up to the program, which waits for `start`.
pub(super) fn create(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let mut made = Creation::prepare(globals, parsed, true)?;
    let fifo = made.dir().make_fifo()?;
    let (mut launched, _) = made.launch(Some(fifo), None)?;
    launched.release()?;
    launched.keep();
    made.keep();
    Ok(0)
}

/// `run`: `create` and `start` in one, and unless detached the wait for its end.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let detached = parsed.is_on("detach");
    let mut made = Creation::prepare(globals, parsed, detached)?;
    // Signals are taken before anything can end: a program that ends at once is not waited for in vain.
    let mut foreground = if detached {
        None
    } else {
        Some(wait::Foreground::prepare(made.terminal(), !parsed.is_on("no-subreaper"))?)
    };
    let console = foreground.as_ref().and_then(wait::Foreground::console_socket).transpose()?;
    let (mut launched, record) = made.launch(None, console)?;
    foreground.as_mut().map_or(Ok(()), wait::Foreground::receive_terminal)?;
    launched.release()?;
    launched.talk(&Message::End, &ListenerTarget::default(), || Ok(()))?;
    made.poststart(&record)?;
    launched.keep();
    finish(made, foreground, &launched, record)
}

/// Waits for the end unless detached, and removes the container then.
fn finish(
    made: Creation<'_>,
    foreground: Option<wait::Foreground>,
    launched: &Launched,
    mut record: Record,
) -> Result<u8> {
    let Some(foreground) = foreground else {
        made.keep();
        return Ok(0);
    };
    let code = foreground.wait(launched)?;
    if made.parsed.is_on("keep") {
        made.keep();
    } else {
        record.pid = 0;
        super::delete::teardown(made.dir(), &record)?;
        made.keep();
    }
    Ok(code)
}

/// A container on its way. Dropped before [`Creation::keep`], everything that was made is taken back.
struct Creation<'a> {
    parsed: &'a Parsed,
    spec: Spec,
    bundle: PathBuf,
    dir: Option<Dir>,
    draft: Option<Draft>,
    unit: String,
    root: Option<(PathBuf, u64)>,
    rdt: rdt::Made,
    cgroups: Cgroups,
    standing: Standing,
    /// The runtime's own groups, where the container may have none.
    hierarchies: Group,
    /// Whether there was a process: then the hooks that follow a container's end are due, even if it never came to its program.
    launched: bool,
    inherited: Inherited,
    pidfd_socket: Option<OwnedFd>,
    wrote_pid_file: bool,
    kept: bool,
}

impl<'a> Creation<'a> {
    fn prepare(globals: &Globals, parsed: &'a Parsed, detached: bool) -> Result<Self> {
        let id = id(parsed)?;
        crate::state::check_id(id)?;
        let inherited = Inherited::take(parsed, true)?;
        let bundle = bundle(parsed)?;
        let spec = load(&bundle, config_name(parsed))?;
        let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
        inherit::check_terminal(parsed, terminal, detached)?;
        // crun's callers ask by an annotation.
        let receiver = spec.annotations.get("run.oci.pidfd_receiver").map(String::as_str);
        let pidfd_socket = inherit::connect_pidfd_socket(parsed.text("pidfd-socket").or(receiver))?;
        let standing = Standing::find();
        if standing.is_unprivileged() {
            rootless::check(&spec)?;
        }
        let linux = linux(&spec)?;
        let scope = globals.systemd.then(|| scope::Place::parse(&linux.cgroups_path, id));
        let scope = scope.transpose()?;
        let path = match &scope {
            Some(place) => place.group()?,
            None => path_for(&linux.cgroups_path, id)?,
        };
        let lenient = standing.does_without_cgroups(globals.rootless);
        check_memory(linux)?;
        let cgroups = match Cgroups::detect() {
            Err(_) if lenient => Cgroups::default(),
            other => other.map_err(step("find the cgroup hierarchies"))?,
        };
        let own = || cgroups.group_of("self").map_err(step("find the own cgroup"));
        let foreign = standing.plans_inside() || globals.no_cgroups;
        let hierarchies = if foreign { own()? } else { Group::default() };
        let dir = Dir::make(globals.root_for_new()?, id)?;
        let mut creation = Self {
            parsed,
            spec,
            bundle,
            dir: Some(dir),
            draft: None,
            unit: String::new(),
            root: None,
            rdt: rdt::Made::default(),
            cgroups,
            standing,
            hierarchies,
            launched: false,
            inherited,
            pidfd_socket,
            wrote_pid_file: false,
            kept: false,
        };
        let (group, resources) = (creation.cgroups.group(&path), creation.resources());
        if !lenient && !globals.no_cgroups {
            creation.announce(&group, scope.as_ref().map_or("", |place| &place.unit))?;
        }
        creation.draft = Some(match &scope {
            Some(place) => {
                let annotations = &creation.spec.annotations;
                Draft::make_scope(group, &scope::Request { place, id, annotations }, &resources)?
            }
            None if globals.no_cgroups => Draft::without_group(&creation.cgroups, &resources)?,
            None if lenient => {
                let named = creation.spec.linux.as_ref().map_or("", |linux| &linux.cgroups_path);
                Draft::make_permitted(&creation.cgroups, named, id, &resources)?
            }
            None => Draft::make(group, &resources)?,
        });
        if let Some(uid) = cgroup::owner(&creation.spec)
            && standing == Standing::Privileged
        {
            creation.draft().delegate(uid)?;
        }
        creation.unit = scope.map(|place| place.unit).unwrap_or_default();
        Ok(creation)
    }

    fn dir(&self) -> &Dir {
        self.dir.as_ref().expect("set by prepare and kept until the end")
    }

    fn draft(&self) -> &Draft {
        self.draft.as_ref().expect("set by prepare and kept until the end")
    }

    fn draft_mut(&mut self) -> &mut Draft {
        self.draft.as_mut().expect("set by prepare and kept until the end")
    }

    fn resources(&self) -> Resources {
        let resources = self.spec.linux.as_ref().and_then(|linux| linux.resources.clone());
        resources.unwrap_or_default()
    }

    fn terminal(&self) -> bool {
        self.spec.process.as_ref().is_some_and(|process| process.terminal)
    }

    fn hooks(&self) -> Hooks {
        self.spec.hooks.clone().unwrap_or_default()
    }

    /// What the plan depends on.
    fn request<'b>(&'b self, rootfs: &'b Path) -> Result<Request<'b>> {
        let new_user = plan::has_user_namespace(&self.spec);
        let context = ProgramContext {
            id: self.dir().id().to_owned(),
            new_keyring: !self.parsed.is_on("no-new-keyring"),
            keeps_groups: plan::keeps_groups(&self.spec.annotations),
            preserve_fds: self.inherited.all,
            listen_fds: self.inherited.sockets,
            start_hooks: self.hooks().start_container,
            joins: false,
            new_user,
        };
        Ok(Request {
            bundle: &self.bundle,
            rootfs,
            no_pivot: self.parsed.is_on("no-pivot"),
            group: self.draft().group(),
            hierarchies: &self.hierarchies,
            standing: self.standing,
            context,
        })
    }

    fn state(&self, status: Status, pid: i32) -> State {
        State { id: self.dir().id().to_owned(), ..self.bare_state(status, pid) }
    }

    fn bare_state(&self, status: Status, pid: i32) -> State {
        State {
            oci_version: self.spec.oci_version.clone(),
            id: String::new(),
            status,
            pid,
            bundle: self.bundle.display().to_string(),
            annotations: self.spec.annotations.clone(),
        }
    }

    /// Makes the process and waits until it is ready, then writes down what there is.
    fn launch(
        &mut self,
        fifo: Option<OwnedFd>,
        inner: Option<OwnedFd>,
    ) -> Result<(Launched, Record)> {
        let mut record = self.record()?;
        self.mount_root(&mut record)?;
        let rootfs = record.rootfs.clone();
        let request = self.request(&rootfs)?;
        let plan = plan::build(&self.spec, &request)?;
        tell_of_filter(plan.program.as_ref());
        let listener = self.listener(&plan);
        let terminal = plan.program.as_ref().is_some_and(|program| program.terminal);
        let reports = fifo.is_some() && !self.hooks().start_container.is_empty();
        let kit = Kit {
            unit: self.unit.clone(),
            fifo,
            report: reports.then(|| self.dir().make_report()).transpose()?,
            console_socket: self.console_socket(terminal, inner)?,
            hook_state: self.state(Status::Creating, 0),
        };
        let operations = || plan::operations(&self.spec, &request);
        let group = self.draft().group();
        let launched = launch::container(plan, &operations, kit, &self.cgroups, group)?;
        self.launched = true;
        let pid = launched.pid.as_raw_nonzero().get();
        self.draft_mut().settled();
        self.assign_rdt(pid, &mut record)?;
        // While the process is at work; the file gets its name when the container is there.
        self.write_down(pid, &mut record)?;
        launched.talk(&Message::Ready, &listener, || self.runtime_hooks(pid))?;
        log::debug("init: closing the pipe to signal completion");
        self.settle(&launched)?;
        Ok((launched, record))
    }

    /// Writes down which process it is, under a name that nobody reads yet.
    fn write_down(&self, pid: i32, record: &mut Record) -> Result<()> {
        record.pid = pid;
        record.start_ticks = process_stat(pid)
            .ok_or_else(|| Error::State("the container's process has ended".into()))?
            .start_ticks;
        self.dir().save_draft(record).map(drop)
    }

    /// Limits what may not count the runtime itself, tells who asked about the process, and writes down that it is there.
    fn settle(&mut self, launched: &Launched) -> Result<()> {
        let pid = launched.pid.as_raw_nonzero().get();
        let resources = self.resources();
        self.draft_mut().limit_processes(&resources)?;
        inherit::send_pidfd(self.pidfd_socket.as_ref(), "standard", launched.pidfd.as_fd())?;
        if let Some(file) = self.parsed.text("pid-file") {
            write_pid_file(Path::new(file), pid)?;
            self.wrote_pid_file = true;
        }
        self.dir().publish()
    }

    /// Writes down what there will be, and mounts the root of a container that has no mount namespace to do that in.
    fn mount_root(&mut self, record: &mut Record) -> Result<()> {
        if config::has_namespace(linux(&self.spec)?, NamespaceKind::Mount) {
            return self.dir().save_draft(record).map(drop);
        }
        let read_only = self.spec.root.as_ref().is_some_and(|root| root.readonly);
        let (tree, id) = root_mount::copy(&record.rootfs, read_only)?;
        record.root_mount = id;
        self.dir().save_draft(record)?;
        self.root = Some((record.rootfs.clone(), id));
        root_mount::attach(&tree, &record.rootfs)
    }

    /// `linux.intelRdt`.
    fn assign_rdt(&mut self, pid: i32, record: &mut Record) -> Result<()> {
        let given = self.spec.linux.as_ref().and_then(|linux| linux.intel_rdt.as_ref());
        let Some(given) = given else { return Ok(()) };
        self.rdt = rdt::apply(&rdt::root()?, self.dir().id(), given, pid)?;
        record.rdt = self.rdt.paths().to_vec();
        Ok(())
    }

    fn listener(&self, plan: &plan::Plan) -> ListenerTarget {
        let filter = plan.program.as_ref().and_then(|program| program.seccomp.as_ref());
        ListenerTarget::of(filter, self.state(Status::Creating, 0))
    }

    fn console_socket(&self, terminal: bool, inner: Option<OwnedFd>) -> Result<Option<OwnedFd>> {
        match self.parsed.text("console-socket") {
            Some(path) if terminal => connect_console(path).map(Some),
            _ => Ok(inner),
        }
    }

    /// `prestart` and `createRuntime` hooks: in the host's namespaces, after the container's were made. To `prestart` the
    /// container is `created`, "after step 2 in the lifecycle", as it was when these hooks belonged to `start`.
    fn runtime_hooks(&self, pid: i32) -> Result<()> {
        let hooks = self.hooks();
        let created = state_text(&self.state(Status::Created, pid));
        let state = state_text(&self.state(Status::Creating, pid));
        hooks::run_all("prestart", &hooks.prestart, &created)
            .and_then(|()| hooks::run_all("createRuntime", &hooks.create_runtime, &state))
            .map_err(Error::State)
    }

    fn poststart(&self, record: &Record) -> Result<()> {
        let state = state_text(&self.state(Status::Running, record.pid));
        hooks::run_all("poststart", &self.hooks().poststart, &state).map_err(Error::State)
    }

    /// Writes down which group will be made, so that it can be removed should this process be killed before it has more to say. A group
    /// that others use is not this container's.
    fn announce(&self, group: &Group, unit: &str) -> Result<()> {
        cgroup::refuse_used(group)?;
        let record = Record {
            id: self.dir().id().to_owned(),
            oci_version: self.spec.oci_version.clone(),
            cgroup: group.places().iter().map(Into::into).collect(),
            unit: unit.to_owned(),
            ..Record::default()
        };
        self.dir().save_draft(&record).map(drop)
    }

    /// What is known before the process is there.
    fn record(&self) -> Result<Record> {
        let linux = linux(&self.spec)?;
        let namespaces = linux
            .namespaces
            .iter()
            .fold(sys::clone::Namespaces::empty(), |all, one| all | plan::flag(one.kind));
        Ok(Record {
            id: self.dir().id().to_owned(),
            oci_version: self.spec.oci_version.clone(),
            pid: 0,
            start_ticks: 0,
            bundle: self.bundle.clone(),
            config: config_name(self.parsed).to_owned(),
            rootfs: plan::rootfs(&self.spec, &self.bundle)?,
            root_mount: 0,
            created: log::now(),
            annotations: self.spec.annotations.clone(),
            cgroup: self.draft().group().places().iter().map(Into::into).collect(),
            unit: self.unit.clone(),
            rdt: Vec::new(),
            namespaces: namespaces.bits(),
            own_pid_namespace: config::has_new_namespace(linux, NamespaceKind::Pid),
            new_keyring: !self.parsed.is_on("no-new-keyring"),
            hooks: Hooks {
                poststart: self.hooks().poststart,
                poststop: self.hooks().poststop,
                ..Hooks::default()
            },
        })
    }

    fn keep(mut self) {
        self.kept = true;
        std::mem::take(&mut self.rdt).keep();
        if let Some(draft) = self.draft.take() {
            draft.keep();
        }
    }
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.draft = None;
        if let Some((rootfs, id)) = &self.root {
            let _ = root_mount::remove(rootfs, *id);
        }
        if let Some(file) = self.parsed.text("pid-file").filter(|_| self.wrote_pid_file) {
            let _ = fs::remove_file(file);
        }
        let Some(dir) = self.dir.take() else { return };
        let _ = dir.remove();
        let hooks = self.hooks().poststop;
        if self.launched && !hooks.is_empty() {
            let state = State { id: dir.id().to_owned(), ..self.bare_state(Status::Stopped, 0) };
            for failure in hooks::run_each("poststop", &hooks, &state_text(&state)) {
                log::warn(&failure);
            }
        }
    }
}

/// Says with `--debug`, as runc does, which flags go to seccomp(2).
pub(super) fn tell_of_filter(program: Option<&plan::Program>) {
    if let Some(filter) =
        program.and_then(|program| program.seccomp.as_ref()).filter(|_| log::debugs())
    {
        log::debug(&format!("seccomp filter flags: {}", filter.flags.bits()));
    }
}

/// The bundle's directory without symbolic links.
fn bundle(parsed: &Parsed) -> Result<PathBuf> {
    let given = parsed.text("bundle").unwrap_or(".");
    Path::new(given).canonicalize().map_err(step(format!("chdir {given}")))
}

/// Reads the bundle's configuration; that there is none is said in runc's words.
fn load(bundle: &Path, name: &str) -> Result<Spec> {
    config::load(bundle, name).map_err(|error| match error {
        Error::Step { source, .. } if source.kind() == ErrorKind::NotFound => {
            Error::Config(format!("JSON specification file {name} not found"))
        }
        other => other,
    })
}

/// The configuration's file, seen from the bundle: crun's `--config`.
fn config_name(parsed: &Parsed) -> &str {
    parsed.value("config").unwrap_or("config.json")
}

/// Below this a process cannot even be made. On version 1 the runtime is in the group while it makes it, and would be what the
/// kernel ends.
const LEAST_MEMORY: i64 = 128 << 10;

/// Refuses what would end in the middle, with the words that engines know from runc.
fn check_memory(linux: &Linux) -> Result<()> {
    let memory = linux.resources.as_ref().and_then(|resources| resources.memory.as_ref());
    match memory.and_then(|memory| memory.limit) {
        Some(limit) if (1..LEAST_MEMORY).contains(&limit) => {
            Err(Error::State("container init was OOM-killed (memory limit too low?)".into()))
        }
        _ => Ok(()),
    }
}

fn linux(spec: &Spec) -> Result<&Linux> {
    spec.linux.as_ref().ok_or_else(|| Error::Config("linux must be set".into()))
}

/// The JSON text of a state, as hooks read it.
pub(super) fn state_text(state: &State) -> String {
    serde_json::to_string(state).unwrap_or_default()
}

/// Connects to the socket that takes the terminal.
pub(super) fn connect_console(path: &str) -> Result<OwnedFd> {
    sys::scm::connect(path.as_ref())
        .map(OwnedFd::from)
        .map_err(step(format!("connect to the console socket `{path}`")))
}

/// Writes a pid, complete or not at all: engines watch for the file. A link that was put in the draft's place is not followed.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}"));
    // In a directory of everybody a name may be a link that somebody has planted: the draft is always a new file.
    let _ = fs::remove_file(&draft);
    fs::File::create_new(&draft)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| fs::rename(&draft, path))
        .map_err(step(format!("write the pid file `{}`", path.display())))
}
