//! Everything that a shim holds, and its loop.

use crate::ShimError;
use crate::client::Client;
use crate::connection::Connection;
use crate::log::Log;
use crate::process::{Life, Process};
use crate::runtime::{Job, Runtime};
use crate::start;
use crate::stdio::PipeInodes;
use crate::watch::Source;
use shim_protocol::{ContainerPhase, Event, Exit, Message, Target};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use sys::cgroup::{Cgroups, OomWatch};
use sys::event::SignalFd;
use sys::pidfd::Ended;

/// Bytes read at once, and with it the longest frame.
const BUFFER: usize = 64 << 10;
/// Buffers are given back after this long without bytes.
const KEEP_BUFFER: Duration = Duration::from_millis(500);
/// A shim without a container and without a daemon ends after this long.
pub(crate) const UNWANTED: Duration = Duration::from_secs(30);
/// How often, and how long, the exit status of a process that is another's child is asked for after its end.
const ASK_EVERY: Duration = Duration::from_millis(10);
const ASK_FOR: Duration = Duration::from_secs(2);

/// A container that was taken over from a lost shim: its init process is not a child of this one.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) pidfd: OwnedFd,
    /// When it was first seen to have ended.
    pub(crate) ended: Option<Instant>,
}

/// The shim.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) runtime: Runtime,
    pub(crate) dir: File,
    pub(crate) listener: Option<UnixListener>,
    pub(crate) signals: SignalFd,
    pub(crate) log: Option<Log>,
    pub(crate) phase: ContainerPhase,
    pub(crate) adopted: Option<Adopted>,
    /// The counters of the container's memory: its group may be gone before anybody asks.
    pub(crate) memory: Option<OomWatch>,
    /// The init process first, then execs in their order.
    pub(crate) processes: Vec<Process>,
    pub(crate) clients: Vec<Client>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) jobs: Vec<Job>,
    /// Children that ended before their number was known to belong to somebody.
    pub(crate) strangers: Vec<(u32, Ended)>,
    pub(crate) buffer: Vec<u8>,
    pub(crate) buffer_used: Instant,
    /// When the last daemon went away, or the start.
    pub(crate) alone_since: Instant,
    /// When the container's end was told.
    pub(crate) over_since: Option<Instant>,
    pub(crate) ending: bool,
    serial: u32,
}

impl Supervisor {
    pub(crate) fn new(
        runtime: Runtime,
        dir: File,
        listener: UnixListener,
        signals: SignalFd,
        log: Option<Log>,
    ) -> Supervisor {
        let mut init = Process::new(0, Target::Init, runtime.config.tty);
        init.closes_stdin = runtime.config.stdin_once;
        init.wants_stdin = runtime.config.open_stdin;
        init.size = runtime.config.console_size;
        Supervisor {
            runtime,
            dir,
            listener: Some(listener),
            signals,
            log,
            phase: ContainerPhase::Idle,
            adopted: None,
            memory: None,
            processes: vec![init],
            clients: Vec::new(),
            connections: Vec::new(),
            jobs: Vec::new(),
            strangers: Vec::new(),
            buffer: Vec::new(),
            buffer_used: Instant::now(),
            alone_since: Instant::now(),
            over_since: None,
            ending: false,
            serial: 0,
        }
    }

    /// Takes over a running container: its pipes as far as they are still the ones its first shim made, and its end.
    pub(crate) fn adopt(&mut self, pid: u32, pidfd: OwnedFd, pipes: &PipeInodes) {
        let init = &mut self.processes[0];
        init.pid = Some(pid);
        init.streams = pipes.reopen(pid);
        init.life = Life::Alive;
        self.adopted = Some(Adopted { pidfd, ended: None });
        self.phase = ContainerPhase::Running;
        self.watch_memory(pid);
    }

    /// Serves until the container is gone and nobody is owed anything.
    pub(crate) fn serve(&mut self) -> Result<(), ShimError> {
        while !self.ending {
            let ready = self.wait().map_err(|err| {
                self.note(&format!("poll: {err}"));
                ShimError::io("poll", "descriptors", err)
            })?;
            for source in ready {
                self.handle(source);
            }
            self.settle();
        }
        self.leave();
        Ok(())
    }

    /// A number that no client, connection or process has had.
    pub(crate) fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Listener => self.accept(),
            Source::Adopted => self.ask_adopted(),
            Source::Memory => self.look_at_memory(),
            Source::Connection { id, readable } => self.serve_connection(id, readable),
            Source::Output { serial, index } => self.pump(serial, index),
            Source::Input { serial } => self.flush_input(serial),
            Source::Console { serial } => self.take_console(serial),
            Source::Client { id, readable, writable, gone } => {
                self.serve_client(id, readable, writable, gone);
            }
        }
    }

    fn accept(&mut self) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            if stream.set_nonblocking(true).is_ok() {
                let id = self.next_serial();
                self.connections.push(Connection::new(id, stream));
            }
        }
    }

    /// Opens the memory counters of a process's cgroup. A container without them is told of as one that nothing was killed in.
    pub(crate) fn watch_memory(&mut self, pid: u32) {
        let group = Cgroups::detect().and_then(|cgroups| cgroups.group_of(&pid.to_string()));
        match group.and_then(|group| OomWatch::open(&group)) {
            Ok(memory) => self.memory = Some(memory),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
            Err(err) => self.note(&format!("watch the memory of process {pid}: {err}")),
        }
    }

    pub(crate) fn look_at_memory(&mut self) {
        if let Some(memory) = &mut self.memory
            && memory.look()
        {
            let kills = memory.counts().oom_kill;
            self.tell(&Event::OutOfMemory { kills });
        }
    }

    fn take_signals(&mut self) {
        // Before anything else: an end may be that of the cgroup.
        self.look_at_memory();
        while let Ok(Some(signal)) = self.signals.take() {
            // SIGTERM and SIGINT end a shim only while it has no container to keep.
            if signal != 17 && self.phase == ContainerPhase::Idle && self.jobs.is_empty() {
                self.ending = true;
            }
        }
        self.reap();
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, ended))) = sys::pidfd::reap_any() {
            if let Some(at) = self.jobs.iter().position(|job| job.pid == pid) {
                let job = self.jobs.swap_remove(at);
                self.finish_job(&job, ended);
            } else if !self.end_process(pid, ended) && !self.jobs.is_empty() {
                self.strangers.push((pid, ended));
            }
        }
        if self.jobs.is_empty() {
            self.strangers = Vec::new();
        }
    }

    /// Notes the end of a container's process; `false` if `pid` is none of them.
    fn end_process(&mut self, pid: u32, ended: Ended) -> bool {
        let alive = |process: &&mut Process| process.pid == Some(pid) && process.exit().is_none();
        let Some(process) = self.processes.iter_mut().find(alive) else { return false };
        process.end(exit_of(ended), &mut self.clients);
        true
    }

    /// Notes that a process exists now, and its end if that came first.
    pub(crate) fn begin_process(&mut self, serial: u32, pid: u32) {
        if let Some(process) = self.processes.iter_mut().find(|p| p.serial == serial) {
            process.pid = Some(pid);
            process.life = Life::Alive;
        }
        if let Some(at) = self.strangers.iter().position(|(stranger, _)| *stranger == pid) {
            let (pid, ended) = self.strangers.swap_remove(at);
            self.end_process(pid, ended);
        }
    }

    /// Asks how an adopted init process ended; after a while nobody can know any more.
    pub(crate) fn ask_adopted(&mut self) {
        use std::os::fd::AsFd;
        self.look_at_memory();
        let Some(adopted) = &mut self.adopted else { return };
        let first = *adopted.ended.get_or_insert_with(Instant::now);
        // Until its parent reaps it, its number is its own: what /proc said holds if the descriptor still says "not reaped".
        let zombie = self.processes[0].pid.and_then(|pid| sys::pidfd::exit_of_zombie(pid).ok());
        let answer = sys::pidfd::exit_of(adopted.pidfd.as_fd());
        let exit = match (answer, zombie.flatten()) {
            (Ok(Some(ended)), _) | (Ok(None), Some(ended)) => exit_of(ended),
            (Ok(None), None) if first.elapsed() < ASK_FOR => return,
            _ => Exit {
                code: None,
                signal: None,
                finished_at_unix_nanos: crate::clock::now_unix_nanos(),
            },
        };
        self.adopted = None;
        self.processes[0].end(exit, &mut self.clients);
    }

    /// When the adopted process has to be asked again.
    pub(crate) fn adopted_deadline(&self) -> Option<Instant> {
        self.adopted.as_ref()?.ended.map(|_| Instant::now() + ASK_EVERY)
    }

    fn pump(&mut self, serial: u32, index: usize) {
        let Some(process) = self.processes.iter_mut().find(|p| p.serial == serial) else { return };
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
        }
        self.buffer_used = Instant::now();
        let log = if process.is_init() { self.log.as_mut() } else { None };
        let mut gone = Vec::new();
        process.pump(index, &mut self.clients, log, &mut self.buffer, &mut gone);
        for client in self.clients.iter_mut().filter(|client| gone.contains(&client.id)) {
            client.hang_up();
        }
        if let Some(err) = self.log.as_mut().and_then(Log::take_failure) {
            let path = self.runtime.config.log.path.display().to_string();
            self.note(&format!("log lines lost: write `{path}`: {err}"));
        }
    }

    fn flush_input(&mut self, serial: u32) {
        if let Some(process) = self.processes.iter_mut().find(|p| p.serial == serial)
            && let Some(input) = &mut process.streams.input
            && !input.flush()
        {
            process.streams.input = None;
        }
    }

    /// Sends an event to every connection that subscribed.
    pub(crate) fn tell(&mut self, event: &Event) {
        let message = Message::Event { event: event.clone() };
        self.connections
            .retain_mut(|connection| !connection.subscribed || connection.say(&message));
    }

    /// Gives memory back that nothing needs now.
    pub(crate) fn release_memory(&mut self) {
        self.buffer = Vec::new();
        if let Some(log) = &mut self.log {
            log.shrink();
        }
        for output in self.processes.iter_mut().flat_map(|p| p.streams.outputs.iter_mut().flatten())
        {
            output.cutter.shrink();
        }
        self.clients.shrink_to_fit();
        self.connections.shrink_to_fit();
        self.processes.shrink_to_fit();
        sys::event::trim_heap();
    }

    /// When buffers are to be given back.
    pub(crate) fn memory_deadline(&self) -> Option<Instant> {
        (!self.buffer.is_empty()).then_some(self.buffer_used + KEEP_BUFFER)
    }

    /// Makes sure that there is a buffer to read into, and tells when it was last used.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.buffer_used = Instant::now();
        if self.buffer.is_empty() {
            return vec![0; BUFFER];
        }
        std::mem::take(&mut self.buffer)
    }

    /// Writes a line to the shim's own log, which exists only if something went wrong.
    pub(crate) fn note(&self, text: &str) {
        start::append(&self.runtime.state_dir.join(start::LOG_NAME), text);
    }
}

/// The end of a process as the protocol tells it, finished now.
pub(crate) fn exit_of(ended: Ended) -> Exit {
    Exit {
        code: Some(ended.shell_code()),
        signal: ended.signal(),
        finished_at_unix_nanos: crate::clock::now_unix_nanos(),
    }
}
