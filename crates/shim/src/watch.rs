//! What the shim waits for: worked out from its state before every wait.

use crate::connection::Connection;
use crate::process::Life;
use crate::supervisor::{Supervisor, UNWANTED};
use rustix::event::PollFd;
use shim_protocol::ContainerPhase;
use std::io;
use std::time::{Duration, Instant};
use sys::cgroup::OomWatch;
use sys::event::PollFlags;

/// Which descriptor is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Signals,
    Listener,
    Adopted,
    Memory,
    Connection { id: u32, readable: bool },
    Output { serial: u32, index: usize },
    Input { serial: u32 },
    Console { serial: u32 },
    Client { id: u32, readable: bool, writable: bool, gone: bool },
}

impl Source {
    fn with(self, flags: PollFlags) -> Source {
        let broken = flags.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
        match self {
            Source::Connection { id, .. } => {
                Source::Connection { id, readable: broken || flags.intersects(PollFlags::IN) }
            }
            Source::Client { id, .. } => Source::Client {
                id,
                readable: flags.intersects(PollFlags::IN),
                writable: flags.intersects(PollFlags::OUT),
                gone: broken,
            },
            other => other,
        }
    }
}

impl Supervisor {
    /// Waits until something is ready or a deadline passes.
    pub(crate) fn wait(&self) -> io::Result<Vec<Source>> {
        let (mut sources, mut fds) = (Vec::new(), Vec::new());
        self.watch(&mut sources, &mut fds);
        let now = Instant::now();
        let timeout = self.deadline().map(|at| {
            // Rounded up: a wait that ends just before its deadline would spin.
            at.saturating_duration_since(now) + Duration::from_micros(100)
        });
        if sys::event::poll(&mut fds, timeout)? == 0 {
            return Ok(Vec::new());
        }
        let ready = sources.into_iter().zip(&fds);
        Ok(ready
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(source, fd)| source.with(fd.revents()))
            .collect())
    }

    fn watch<'a>(&'a self, sources: &mut Vec<Source>, fds: &mut Vec<PollFd<'a>>) {
        let mut add = |source, fd| {
            sources.push(source);
            fds.push(fd);
        };
        add(Source::Signals, PollFd::new(&self.signals, PollFlags::IN));
        if let Some(listener) = &self.listener {
            add(Source::Listener, PollFd::new(listener, PollFlags::IN));
        }
        if let Some(adopted) = self.adopted.as_ref().filter(|adopted| adopted.ended.is_none()) {
            add(Source::Adopted, PollFd::new(&adopted.pidfd, PollFlags::IN));
        }
        if let Some(fd) = self.memory.as_ref().and_then(OomWatch::watched) {
            add(Source::Memory, fd);
        }
        for connection in &self.connections {
            let out = if connection.is_flushed() { PollFlags::empty() } else { PollFlags::OUT };
            let source = Source::Connection { id: connection.id, readable: false };
            add(source, PollFd::new(connection.stream(), PollFlags::IN | out));
        }
        self.watch_processes(&mut add);
        self.watch_clients(&mut add);
    }

    /// A stream that may not be read now is left out altogether: a hang-up would be reported without end.
    fn watch_processes<'a>(&'a self, add: &mut impl FnMut(Source, PollFd<'a>)) {
        for process in &self.processes {
            let serial = process.serial;
            for (index, output) in process.streams.outputs.iter().enumerate() {
                if let Some(output) = output
                    && process.may_read(output.stream, &self.clients)
                {
                    add(Source::Output { serial, index }, PollFd::new(&output.fd, PollFlags::IN));
                }
            }
            if let Some(input) = process.streams.input.as_ref().filter(|i| i.wants_to_write()) {
                add(Source::Input { serial }, PollFd::new(&input.fd, PollFlags::OUT));
            }
            if let Some(console) = &process.streams.console {
                let fd = PollFd::from_borrowed_fd(console.watched(), PollFlags::IN);
                add(Source::Console { serial }, fd);
            }
        }
    }

    fn watch_clients<'a>(&'a self, add: &mut impl FnMut(Source, PollFd<'a>)) {
        for client in &self.clients {
            let mut flags = PollFlags::empty();
            if client.is_heard() && client.initial.is_empty() && self.may_hear(client.id) {
                flags |= PollFlags::IN;
            } else if client.is_hung_up() {
                continue;
            }
            if !client.is_flushed() {
                flags |= PollFlags::OUT;
            }
            let source =
                Source::Client { id: client.id, readable: false, writable: false, gone: false };
            add(source, PollFd::new(client.fd(), flags));
        }
    }

    /// Whether a client's bytes can go somewhere now.
    pub(crate) fn may_hear(&self, id: u32) -> bool {
        let Some(client) = self.clients.iter().find(|client| client.id == id) else { return false };
        if client.is_closing() || !client.stdin {
            return true;
        }
        match self.processes.iter().find(|process| process.target == client.target) {
            Some(process) => process.takes_input(),
            None => true,
        }
    }

    /// The next moment at which something has to be done without an event.
    fn deadline(&self) -> Option<Instant> {
        let processes = self.processes.iter().filter_map(|process| {
            process.deadline(
                self.clients
                    .iter()
                    .any(|c| c.target == process.target && !c.is_closing() && c.is_flushed()),
            )
        });
        let clients =
            self.clients.iter().filter_map(|client| client.deadline(self.has_ended(client.id)));
        let connections = self
            .over_since
            .into_iter()
            .flat_map(|_| self.connections.iter().filter_map(Connection::deadline));
        processes
            .chain(clients)
            .chain(connections)
            .chain(self.adopted_deadline())
            .chain(self.memory_deadline())
            .chain(self.memory.as_ref().and_then(OomWatch::again).map(|time| Instant::now() + time))
            .chain(self.unwanted_deadline())
            .chain(self.over_since.map(|at| at + UNWANTED))
            .min()
    }

    /// Whether a client's process has ended.
    pub(crate) fn has_ended(&self, id: u32) -> bool {
        let target = self.clients.iter().find(|client| client.id == id).map(|c| &c.target);
        self.processes
            .iter()
            .filter(|process| Some(&process.target) == target)
            .all(|process| matches!(process.life, Life::Ended { .. }))
    }

    /// When a shim that never got a container gives up waiting for a daemon.
    pub(crate) fn unwanted_deadline(&self) -> Option<Instant> {
        let idle = self.phase == ContainerPhase::Idle && self.connections.is_empty();
        (idle && self.jobs.is_empty()).then_some(self.alone_since + UNWANTED)
    }
}
