//! What becomes possible after events: ends are told, clients let go, memory given back, the shim itself ends.

use crate::process::Life;
use crate::supervisor::{Supervisor, UNWANTED};
use shim_protocol::{ContainerPhase, Event, ExitRecord, Target};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;
use sys::cgroup::OomWatch;

/// Exits of execs are remembered for as many.
const KEPT_EXECS: usize = 256;

impl Supervisor {
    /// Does everything that the state allows now.
    pub(crate) fn settle(&mut self) {
        let now = Instant::now();
        if self.adopted_deadline().is_some() {
            self.ask_adopted();
        }
        if self.memory.as_ref().is_some_and(|memory| memory.again().is_some()) {
            self.look_at_memory();
        }
        self.hear_initial_bytes();
        self.give_up_held_pipes(now);
        self.announce_execs(now);
        self.announce_exit();
        self.let_clients_go(now);
        if self.memory_deadline().is_some_and(|at| now >= at) {
            self.release_memory();
        }
        self.end_if_done(now);
    }

    /// Passes on what clients had sent before they were handed over, once their process can read.
    fn hear_initial_bytes(&mut self) {
        let waiting = |client: &&crate::client::Client| !client.initial.is_empty();
        let ids: Vec<u32> = self.clients.iter().filter(waiting).map(|client| client.id).collect();
        for id in ids.into_iter().filter(|id| self.may_hear(*id)).collect::<Vec<_>>() {
            self.hear_initial(id);
        }
    }

    /// Closes pipes that other processes keep open after their process has ended.
    fn give_up_held_pipes(&mut self, now: Instant) {
        for at in 0..self.processes.len() {
            if self.processes[at].is_grace_over(now) {
                let process = &mut self.processes[at];
                let log = &mut self.log;
                for index in 0..2 {
                    let log = if process.is_init() { log.as_mut() } else { None };
                    process.close_output(index, log);
                }
            }
        }
    }

    /// Tells the end of each exec whose output was handed to its clients.
    fn announce_execs(&mut self, now: Instant) {
        for at in 1..self.processes.len() {
            let process = &self.processes[at];
            let Some(exit) = process.exit() else { continue };
            let owed = self
                .clients
                .iter()
                .any(|c| c.target == process.target && !c.is_flushed() && !c.is_overdue(true, now));
            if process.announced || !process.is_drained() || owed {
                continue;
            }
            let exec_id = process.exec_id().to_owned();
            let listeners = self.connections.iter().any(|connection| connection.subscribed);
            self.processes[at].announce(listeners);
            self.tell(&Event::ExecExited { exec_id, exit });
        }
        self.forget_old_execs();
    }

    fn forget_old_execs(&mut self) {
        if self.processes.len() <= KEPT_EXECS {
            return;
        }
        let clients = &self.clients;
        let done = |process: &crate::process::Process| {
            process.announced
                && !process.is_init()
                && !clients.iter().any(|client| client.target == process.target)
        };
        if let Some(at) = self.processes.iter().position(done) {
            self.processes.remove(at);
        }
    }

    /// Tells the container's end: first the log, then `exit.json`, then whoever listens.
    fn announce_exit(&mut self) {
        let init = &self.processes[0];
        let Some(exit) = init.exit() else { return };
        let at_work = self.jobs.iter().any(|job| !job.is_exec());
        if init.announced || !init.is_drained() || at_work {
            return;
        }
        if let Some(log) = &mut self.log {
            log.flush();
        }
        let memory = self.memory.as_ref().map(OomWatch::counts).unwrap_or_default();
        let record = ExitRecord {
            pid: init.pid.unwrap_or(0),
            exit,
            oom_kills: memory.oom_kill,
            own_limit_hits: memory.oom,
        };
        if let Err(err) = self.write_exit(&record) {
            self.note(&format!("write `exit.json`: {err}"));
        }
        self.stop_listening();
        self.phase = ContainerPhase::Exited;
        self.over_since = Some(Instant::now());
        self.processes[0].announce(true);
        self.kill_execs();
        self.tell(&Event::Exited(exit));
    }

    fn write_exit(&self, record: &ExitRecord) -> io::Result<()> {
        let path = self.runtime.state_dir.join(shim_protocol::EXIT_NAME);
        let draft = path.with_extension("json.tmp");
        let mut options = fs::OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(serde_json::to_string(record)?.as_bytes())?;
        fs::rename(&draft, &path)
    }

    /// After `exit.json` there is nothing left to ask; a new shim for the same container may take the names.
    fn stop_listening(&mut self) {
        self.listener = None;
        for name in [
            shim_protocol::SOCKET_NAME,
            shim_protocol::PID_NAME,
            shim_protocol::INIT_PID_NAME,
            crate::start::PIPES_NAME,
        ] {
            // What is not there need not be removed.
            let _ = fs::remove_file(self.runtime.state_dir.join(name));
        }
    }

    /// With a shared pid namespace execs outlive the init process; the container is over nevertheless.
    fn kill_execs(&mut self) {
        for process in self.processes.iter().skip(1) {
            if let (Life::Alive, Some(pid)) = (&process.life, process.pid) {
                // It may have ended a moment ago; it will be reaped either way.
                let _ = sys::pidfd::kill_child(pid, 9);
            }
        }
    }

    /// Ends the attach of clients that have got everything, and of those that take nothing.
    fn let_clients_go(&mut self, now: Instant) {
        for process in self.processes.iter().filter(|process| process.is_released(now)) {
            for client in self.clients.iter_mut() {
                if client.target == process.target && client.is_flushed() {
                    client.finish();
                }
            }
        }
        let overdue: Vec<u32> = self
            .clients
            .iter()
            .filter(|client| client.is_overdue(self.has_ended(client.id), now))
            .map(|client| client.id)
            .collect();
        for id in overdue {
            self.drop_client(id);
        }
    }

    fn end_if_done(&mut self, now: Instant) {
        if self.unwanted_deadline().is_some_and(|at| now >= at) {
            self.ending = true;
        }
        let Some(since) = self.over_since else { return };
        let told = self.connections.iter().all(|c| c.is_flushed() || c.is_overdue(now));
        let execs_done = self.processes.iter().all(|process| process.announced);
        let done = told && self.clients.is_empty() && self.jobs.is_empty() && execs_done;
        if done || now >= since + UNWANTED {
            self.ending = true;
        }
    }

    /// The last act. A shim that had no container leaves no names behind.
    pub(crate) fn leave(&mut self) {
        if self.over_since.is_none() {
            self.stop_listening();
        }
    }

    /// Removes a client. One that fed the standard input closes it, where that is wanted.
    pub(crate) fn drop_client(&mut self, id: u32) {
        let Some(at) = self.clients.iter().position(|client| client.id == id) else { return };
        let client = self.clients.remove(at);
        if client.stdin {
            self.end_input(&client.target);
        }
    }

    /// A client's input is over.
    pub(crate) fn end_input(&mut self, target: &Target) {
        if let Some(process) = self.processes.iter_mut().find(|p| p.target == *target)
            && process.closes_stdin
        {
            process.close_stdin();
        }
    }
}
