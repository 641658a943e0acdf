//! What follows when a runtime call has ended, when a terminal arrives, and when a client says something.

use crate::ShimError;
use crate::client::Heard;
use crate::clock::now_unix_nanos;
use crate::runtime::{Job, Step, own_failure};
use crate::stdio;
use crate::supervisor::Supervisor;
use shim_protocol::stdcopy::Stream;
use shim_protocol::{ContainerPhase, Event, Exit, Failure, Response, Target};
use std::io;
use sys::pidfd::Ended;

impl Supervisor {
    /// Takes in the end of a runtime call and answers the one who asked for it.
    pub(crate) fn finish_job(&mut self, job: &Job, ended: Ended) {
        let response = match &job.step {
            Step::Create => self.finish_create(job, ended),
            Step::Start => self.finish_start(job, ended),
            Step::Exec { serial, exec_id } => self.finish_exec(job, ended, *serial, exec_id),
        };
        job.remove_files();
        let created = match response {
            Response::Created { pid } => Some(pid),
            _ => None,
        };
        self.answer(job.reply, response);
        // Nobody waits for it.
        if let Some(pid) = created {
            self.watch_memory(pid);
        }
    }

    fn finish_create(&mut self, job: &Job, ended: Ended) -> Response {
        let object = self.runtime.id.to_string();
        match self.check(job, ended, 0, &object) {
            Ok(pid) => {
                self.phase = ContainerPhase::Created;
                self.begin_process(0, pid);
                Response::Created { pid }
            }
            Err(failure) => {
                self.phase = ContainerPhase::Idle;
                self.processes[0].streams = stdio::Streams::default();
                self.finish_clients(&Target::Init);
                Response::Failed(failure)
            }
        }
    }

    fn finish_start(&mut self, job: &Job, ended: Ended) -> Response {
        if ended == Ended::Code(0) {
            self.phase = ContainerPhase::Running;
            return Response::Started;
        }
        Response::Failed(job.failure(self.runtime.id.as_str(), ended, None))
    }

    fn finish_exec(&mut self, job: &Job, ended: Ended, serial: u32, exec_id: &str) -> Response {
        match self.check(job, ended, serial, exec_id) {
            Ok(pid) => {
                self.begin_process(serial, pid);
                Response::ExecStarted { pid }
            }
            Err(failure) => {
                self.fail_exec(serial, &failure);
                Response::Failed(failure)
            }
        }
    }

    /// Whether a call that makes a process has made it: its process id, and its terminal if it has one.
    fn check(
        &mut self,
        job: &Job,
        ended: Ended,
        serial: u32,
        object: &str,
    ) -> Result<u32, Failure> {
        self.take_console(serial);
        let Some(process) = self.processes.iter().find(|p| p.serial == serial) else {
            return Err(Failure { object: object.to_owned(), ..Failure::default() });
        };
        let [stdout, stderr] = &process.streams.outputs;
        if ended != Ended::Code(0) {
            return Err(job.failure(object, ended, stderr.as_ref().map(|stderr| &stderr.fd)));
        }
        if process.tty && stdout.is_none() {
            let err = ShimError::io("receive", "terminal", io::ErrorKind::NotFound.into());
            return Err(own_failure("receive terminal", object, &err));
        }
        job.read_pid().map_err(|err| own_failure("read pid", object, &err))
    }

    /// An exec that could not run: its client reads why, as from Docker, and its exit code is what a shell would give.
    fn fail_exec(&mut self, serial: u32, failure: &Failure) {
        let Some(process) = self.processes.iter_mut().find(|p| p.serial == serial) else { return };
        process.streams = stdio::Streams::default();
        let code = failure.exit_code.filter(|code| matches!(code, 126 | 127)).unwrap_or(126);
        let exit =
            Exit { code: Some(code), signal: None, finished_at_unix_nanos: now_unix_nanos() };
        process.end(exit, &mut self.clients);
        process.announce(true);
        let target = process.target.clone();
        let text = format!("OCI runtime exec failed: {}: unknown\r\n", failure.chain.join(": "));
        for client in self.clients.iter_mut().filter(|client| client.target == target) {
            if client.takes(Stream::Stdout) && !client.say(Stream::Stdout, text.as_bytes()) {
                client.hang_up();
            }
        }
    }

    /// Takes a terminal's master if the runtime has sent it.
    pub(crate) fn take_console(&mut self, serial: u32) {
        let Some(process) = self.processes.iter_mut().find(|p| p.serial == serial) else { return };
        let Some(console) = &mut process.streams.console else { return };
        let wants_stdin = process.wants_stdin;
        let taken = console
            .take()
            .and_then(|master| master.map(|m| stdio::from_master(m, wants_stdin)).transpose());
        match taken {
            Ok(None) => {}
            Ok(Some(streams)) => {
                process.streams = streams;
                if let Some(size) = process.size {
                    process.resize(size);
                }
            }
            Err(err) => {
                process.streams.console = None;
                self.note(&format!("receive terminal: {err}"));
            }
        }
    }

    /// Lets every client of a process go: there is nothing to attach to.
    pub(crate) fn finish_clients(&mut self, target: &Target) {
        for client in self.clients.iter_mut().filter(|client| client.target == *target) {
            client.finish();
        }
    }

    /// Sends to and hears one client.
    pub(crate) fn serve_client(&mut self, id: u32, readable: bool, writable: bool, gone: bool) {
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return };
        if (writable && !client.flush()) || gone {
            client.hang_up();
        }
        if readable {
            self.hear(id, false);
        } else if gone && self.may_hear(id) {
            self.drop_client(id);
        }
    }

    /// Passes on what a client had sent before it was handed over.
    pub(crate) fn hear_initial(&mut self, id: u32) {
        self.hear(id, true);
    }

    fn hear(&mut self, id: u32, initial: bool) {
        let mut buffer = self.take_buffer();
        let mut bytes = Vec::new();
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return };
        let target = client.target.clone();
        let heard = if initial {
            client.hear_initial(&mut bytes)
        } else {
            client.hear(&mut buffer, &mut bytes)
        };
        self.buffer = buffer;
        if !bytes.is_empty()
            && let Some(process) = self.processes.iter_mut().find(|p| p.target == target)
        {
            process.give(&bytes);
        }
        match heard {
            Heard::Nothing | Heard::Bytes => {}
            Heard::End => self.end_client_input(id, &target),
            Heard::Gone => self.drop_client(id),
            Heard::Detached => {
                // Leaving is no end of input: the process keeps its terminal.
                self.clients.retain(|client| client.id != id);
                self.tell(&Event::Detached { target });
            }
        }
    }

    /// A client will send nothing more: its half of the conversation is over, or all of it.
    fn end_client_input(&mut self, id: u32, target: &Target) {
        let Some(client) = self.clients.iter().find(|client| client.id == id) else { return };
        if client.is_hung_up() {
            return self.drop_client(id);
        }
        if client.stdin {
            self.end_input(target);
        }
    }
}
