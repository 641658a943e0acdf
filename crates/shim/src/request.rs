//! What the daemon asks, and how it is answered.

use crate::ShimError;
use crate::client::Client;
use crate::connection::Asked;
use crate::process::{Life, Process};
use crate::runtime::{Reply, is_exec_id, own_failure};
use crate::start::PIPES_NAME;
use crate::stdio::{self, PipeInodes};
use crate::supervisor::Supervisor;
use shim_protocol::{
    Attach, ContainerPhase, ContainerState, Event, Exec, ExecState, Failure, Message, Request,
    Response, Target, VERSION,
};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

impl Supervisor {
    /// Reads and answers one connection.
    pub(crate) fn serve_connection(&mut self, id: u32, readable: bool) {
        let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) else { return };
        let alive = connection.flush() && (!readable || connection.read());
        while let Some(connection) = self.connections.iter_mut().find(|c| c.id == id)
            && let Some(asked) = connection.next_request()
        {
            self.serve_request(id, asked);
        }
        if !alive {
            self.connections.retain(|connection| connection.id != id);
            self.alone_since = Instant::now();
        }
    }

    fn serve_request(&mut self, connection: u32, (id, request, fds): Asked) {
        let reply = Reply { connection, request: id };
        let answer = match request {
            Request::Hello => Some(self.hello()),
            Request::Attach(attach) => Some(self.attach(attach, fds)),
            Request::Create => self.create(reply),
            Request::Start => self.start(reply),
            Request::Exec(exec) => self.exec(*exec, fds, reply),
            Request::Resize { target, height, width } => {
                Some(self.with_process(&target, |process| process.resize([height, width])))
            }
            Request::CloseStdin { target } => {
                Some(self.with_process(&target, Process::close_stdin))
            }
            Request::Signal { target, signal } => Some(self.signal(&target, signal)),
            Request::State => Some(Response::State(self.state())),
            Request::Subscribe => return self.subscribe(reply),
            Request::ExecSeen { exec_id } => {
                Some(self.with_process(&Target::Exec(exec_id), Process::seen))
            }
            Request::Shutdown => Some(self.shutdown()),
            Request::Unknown => Some(refused("answer", "request", "unknown request")),
        };
        if let Some(answer) = answer {
            self.answer(reply, answer);
        }
    }

    /// Sends an answer, if the one who asked is still there.
    pub(crate) fn answer(&mut self, reply: Reply, response: Response) {
        let message = Message::Response { id: reply.request, response };
        self.connections.retain_mut(|c| c.id != reply.connection || c.say(&message));
    }

    fn hello(&self) -> Response {
        Response::Hello {
            version: VERSION,
            pid: std::process::id(),
            container_id: self.runtime.id.to_string(),
        }
    }

    fn subscribe(&mut self, reply: Reply) {
        self.answer(reply, Response::Ok);
        let told = self.processes[0].announced.then(|| self.processes[0].exit()).flatten();
        let message = told.map(|exit| Message::Event { event: Event::Exited(exit) });
        self.connections.retain_mut(|connection| {
            if connection.id != reply.connection {
                return true;
            }
            connection.subscribed = true;
            message.as_ref().is_none_or(|message| connection.say(message))
        });
    }

    fn attach(&mut self, attach: Attach, fds: Vec<OwnedFd>) -> Response {
        let Some(socket) = fds.into_iter().next() else {
            return refused("attach", "client", "no descriptor came with the request");
        };
        let Some(process) = self.processes.iter().find(|p| p.target == attach.target) else {
            return refused("attach", "client", "no such process");
        };
        if process.exit().is_some() {
            return refused("attach", "client", "the process has ended");
        }
        let tty = process.tty;
        self.add_client(attach, socket, tty);
        Response::Ok
    }

    fn add_client(&mut self, attach: Attach, socket: OwnedFd, tty: bool) {
        let id = self.next_serial();
        let mut client = Client::new(id, attach, socket, tty);
        if !client.flush() {
            client.hang_up();
        }
        self.clients.push(client);
    }

    fn create(&mut self, reply: Reply) -> Option<Response> {
        let object = self.runtime.id.to_string();
        if self.phase != ContainerPhase::Idle {
            return Some(refused("create", &object, "it was created already"));
        }
        match self.begin_create(reply) {
            Ok(()) => None,
            Err(err) => {
                self.finish_clients(&Target::Init);
                Some(Response::Failed(own_failure("create", &object, &err)))
            }
        }
    }

    fn begin_create(&mut self, reply: Reply) -> Result<(), ShimError> {
        let state_dir = self.runtime.state_dir.clone();
        let (streams, child) = if self.runtime.config.tty {
            stdio::terminal(&state_dir, self.dir.as_fd(), "console.sock".to_owned())?
        } else {
            stdio::pipes(self.runtime.config.open_stdin, true)?
        };
        let pipes = serde_json::to_string(&PipeInodes::of(&streams)).unwrap_or_default();
        let path = state_dir.join(PIPES_NAME);
        std::fs::write(&path, pipes).map_err(|err| ShimError::io("write", path, err))?;
        let console = streams.console.as_ref().map(|console| console.path(self.dir.as_fd()));
        let job = self.runtime.create(child, console, reply)?;
        self.jobs.push(job);
        self.processes[0].streams = streams;
        self.phase = ContainerPhase::Creating;
        Ok(())
    }

    fn start(&mut self, reply: Reply) -> Option<Response> {
        let object = self.runtime.id.to_string();
        if self.phase != ContainerPhase::Created {
            return Some(refused("start", &object, "it is not in the state `created`"));
        }
        match self.runtime.start(reply) {
            Ok(job) => {
                self.jobs.push(job);
                None
            }
            Err(err) => Some(Response::Failed(own_failure("start", &object, &err))),
        }
    }

    fn exec(&mut self, exec: Exec, fds: Vec<OwnedFd>, reply: Reply) -> Option<Response> {
        let target = Target::Exec(exec.exec_id.clone());
        let refusal = if self.phase != ContainerPhase::Running {
            Some("the container is not running")
        } else if !is_exec_id(&exec.exec_id) {
            Some("the id is malformed")
        } else if self.processes.iter().any(|process| process.target == target) {
            Some("the id is in use")
        } else if exec.attach.is_some() != (fds.len() == 1) {
            Some("an attach and its descriptor come together")
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Some(refused("exec", &exec.exec_id, refusal));
        }
        let object = exec.exec_id.clone();
        match self.begin_exec(exec, fds.into_iter().next(), reply) {
            Ok(()) => None,
            Err(err) => Some(Response::Failed(own_failure("exec", &object, &err))),
        }
    }

    fn begin_exec(
        &mut self,
        mut exec: Exec,
        socket: Option<OwnedFd>,
        reply: Reply,
    ) -> Result<(), ShimError> {
        let serial = self.next_serial();
        let (streams, child) = if exec.tty {
            let name = format!("console-{serial}.sock");
            stdio::terminal(&self.runtime.state_dir, self.dir.as_fd(), name)?
        } else {
            stdio::pipes(exec.stdin, socket.is_some())?
        };
        let console = streams.console.as_ref().map(|console| console.path(self.dir.as_fd()));
        let job = self.runtime.exec(&exec, serial, child, console, reply)?;
        self.jobs.push(job);
        let target = Target::Exec(exec.exec_id);
        let mut process = Process::new(serial, target.clone(), exec.tty);
        process.streams = streams;
        process.closes_stdin = true;
        process.wants_stdin = exec.stdin;
        process.size = exec.console_size;
        self.processes.push(process);
        if let (Some(mut attach), Some(socket)) = (exec.attach.take(), socket) {
            attach.target = target;
            self.add_client(attach, socket, exec.tty);
        }
        Ok(())
    }

    fn with_process(&mut self, target: &Target, act: impl FnOnce(&mut Process)) -> Response {
        match self.processes.iter_mut().find(|process| process.target == *target) {
            Some(process) => {
                act(process);
                Response::Ok
            }
            None => refused("find", name_of(target), "no such process"),
        }
    }

    fn signal(&self, target: &Target, signal: i32) -> Response {
        let process = self.processes.iter().find(|process| process.target == *target);
        let Some((Life::Alive, Some(pid))) = process.map(|p| (p.life, p.pid)) else {
            return refused("signal", name_of(target), "the process is not running");
        };
        let result = match &self.adopted {
            Some(adopted) if *target == Target::Init => {
                sys::pidfd::send_signal(adopted.pidfd.as_fd(), signal)
            }
            _ => sys::pidfd::kill_child(pid, signal),
        };
        match result {
            Ok(()) => Response::Ok,
            Err(err) => {
                let err = ShimError::io("signal", name_of(target), err);
                Response::Failed(own_failure("signal", name_of(target), &err))
            }
        }
    }

    fn state(&self) -> ContainerState {
        let init = &self.processes[0];
        let execs = self.processes.iter().skip(1).map(|process| ExecState {
            exec_id: process.exec_id().to_owned(),
            pid: process.pid,
            exit: process.exit().filter(|_| process.announced),
        });
        ContainerState {
            phase: self.phase,
            pid: init.pid.filter(|_| init.exit().is_none()),
            exit: init.exit().filter(|_| init.announced),
            execs: execs.collect(),
            clients: u32::try_from(self.clients.len()).unwrap_or(u32::MAX),
        }
    }

    fn shutdown(&mut self) -> Response {
        match self.phase {
            ContainerPhase::Idle if self.jobs.is_empty() => {
                self.ending = true;
                Response::Ok
            }
            // It ends by itself as soon as nobody is owed anything.
            ContainerPhase::Exited => Response::Ok,
            _ => refused("shut down", self.runtime.id.as_str(), "the container is not over"),
        }
    }
}

fn name_of(target: &Target) -> &str {
    match target {
        Target::Init => "init",
        Target::Exec(id) => id,
    }
}

fn refused(step: &str, object: &str, reason: &str) -> Response {
    Response::Failed(Failure {
        step: step.to_owned(),
        object: object.to_owned(),
        chain: vec![reason.to_owned()],
        ..Failure::default()
    })
}
