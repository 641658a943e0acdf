//! What daemon and shim say to each other.

use serde::{Deserialize, Serialize};

/// The body of one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// Daemon to shim.
    Request {
        /// Chosen by the daemon; the answer repeats it.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// Shim to daemon.
    Response {
        /// The request that this answers.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// Shim to a subscribed daemon.
    Event {
        /// What happened.
        event: Event,
    },
}

/// What the daemon may ask of a shim, and when it is legal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Always; answered by [`Response::Hello`].
    Hello,
    /// Before `Create` and while the container lives. One descriptor: the client's socket. [`Response::Ok`] means that the
    /// client sees every byte written from then on.
    Attach(Attach),
    /// Once. Makes the container with the runtime; answered by [`Response::Created`].
    Create,
    /// Once, after `Create`. Answered by [`Response::Started`].
    Start,
    /// While the container runs. No descriptor or one: the client's socket. Answered by [`Response::ExecStarted`].
    Exec(Box<Exec>),
    /// While the target lives. Sets the size of its terminal; [`Response::Ok`], also for a target without a terminal.
    Resize {
        /// Whose terminal.
        target: Target,
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
    },
    /// While the target lives. Closes its standard input after what is already queued.
    CloseStdin {
        /// Whose standard input.
        target: Target,
    },
    /// While the target lives. Sends a signal to the target's first process.
    Signal {
        /// Whose process.
        target: Target,
        /// Signal number.
        signal: i32,
    },
    /// Always; answered by [`Response::State`].
    State,
    /// Always. From then on this connection receives events; if the container has already ended, `Exited` follows at once.
    Subscribe,
    /// Tells that the event [`Event::ExecExited`] was taken in. The shim closes the exec's attached clients only then, so that a
    /// client which asks for the exit code after its stream ended finds it. Waits at most 200 ms for it. Answered by `Ok`.
    ExecSeen {
        /// The exec of the event.
        exec_id: String,
    },
    /// Legal while no container runs: the shim ends after the answer. Else [`Response::Failed`].
    Shutdown,
    /// A request that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Whose streams or process are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The container's init process.
    Init,
    /// An exec by its id.
    Exec(String),
}

/// How a client's socket is tied to a process's streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Whose streams.
    pub target: Target,
    /// Bytes from the client go to the process's standard input.
    #[serde(default)]
    pub stdin: bool,
    /// The client receives standard output (with a terminal: everything).
    #[serde(default)]
    pub stdout: bool,
    /// The client receives standard error.
    #[serde(default)]
    pub stderr: bool,
    /// Key sequence that ends this attach and nothing else; empty switches it off.
    #[serde(default, with = "crate::bytes")]
    pub detach_keys: Vec<u8>,
    /// Bytes of the client that the daemon has already read behind the HTTP request.
    #[serde(default, with = "crate::bytes")]
    pub initial: Vec<u8>,
    /// Bytes that the client receives before anything else, for instance the HTTP response head.
    #[serde(default, with = "crate::bytes")]
    pub preface: Vec<u8>,
}

/// A process to run inside the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Chosen by the daemon, unique within the container's life.
    pub exec_id: String,
    /// The OCI `process` object, passed to `runtime exec --process` as it is.
    pub process: serde_json::Value,
    /// The process gets a terminal; `process.terminal` says the same.
    #[serde(default)]
    pub tty: bool,
    /// The process gets a standard input (else it reads end of file at once).
    #[serde(default)]
    pub stdin: bool,
    /// Rows and columns of the terminal at the start.
    #[serde(default)]
    pub console_size: Option<[u16; 2]>,
    /// The client whose socket comes with this request. Its `target` is ignored. `None` discards the output.
    #[serde(default)]
    pub attach: Option<Attach>,
    /// Arguments for the runtime before `exec`'s own, for instance `--cgroup`.
    #[serde(default)]
    pub runtime_args: Vec<String>,
}

/// A shim's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    /// Done.
    Ok,
    /// To `Hello`.
    Hello {
        /// The protocol version of the shim.
        version: u8,
        /// The shim's process id.
        pid: u32,
        /// The container it serves.
        container_id: String,
    },
    /// To `Create`: the container waits before its first instruction.
    Created {
        /// Its init process, seen from the shim's pid namespace.
        pid: u32,
    },
    /// To `Start`.
    Started,
    /// To `Exec`.
    ExecStarted {
        /// The process, seen from the shim's pid namespace.
        pid: u32,
    },
    /// To `State`.
    State(ContainerState),
    /// The request was not done.
    Failed(Failure),
}

/// Why a request was not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was attempted, for instance `runtime create`.
    pub step: String,
    /// Its object.
    pub object: String,
    /// The error number, if a system call was the cause.
    #[serde(default)]
    pub errno: Option<i32>,
    /// The error and its causes, outermost first. For a runtime's failure: its own message.
    #[serde(default)]
    pub chain: Vec<String>,
    /// What the runtime wrote to its log and standard error, as it is, at most 64 KiB.
    #[serde(default)]
    pub log: String,
    /// For an exec or a create that failed in the runtime: what a shell would exit with (126, 127), else the runtime's exit code.
    #[serde(default)]
    pub exit_code: Option<i32>,
}

/// What a shim knows about its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// How far the container is.
    pub phase: ContainerPhase,
    /// The init process while there is one.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Its end, if it has ended.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// Every exec that was started.
    #[serde(default)]
    pub execs: Vec<ExecState>,
    /// Attached clients.
    #[serde(default)]
    pub clients: u32,
}

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerPhase {
    /// Nothing was created yet, or `Create` failed.
    Idle,
    /// The runtime is at `Create`.
    Creating,
    /// Created, not started.
    Created,
    /// Started.
    Running,
    /// The init process has ended.
    Exited,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// What it returned; 128 + n when signal n ended it. `None`: nobody can know (a shim was lost).
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// When, in nanoseconds since 1970.
    pub finished_at_unix_nanos: i64,
}

/// One exec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecState {
    /// Its id.
    pub exec_id: String,
    /// Its process, once started.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Its end.
    #[serde(default)]
    pub exit: Option<Exit>,
}

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The container's init process has ended; output, log and `exit.json` are written.
    Exited(Exit),
    /// An exec has ended and its output was handed to its clients. Answer with [`Request::ExecSeen`].
    ExecExited {
        /// Its id.
        exec_id: String,
        /// How it ended.
        exit: Exit,
    },
    /// A client left by its detach keys.
    Detached {
        /// Whose client.
        target: Target,
    },
    /// The kernel has killed processes of the container for want of memory.
    OutOfMemory {
        /// How many so far.
        kills: u64,
    },
    /// An event that this version does not know.
    #[serde(other)]
    Unknown,
}
