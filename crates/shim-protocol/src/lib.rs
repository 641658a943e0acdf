//! The language between `belljard` and `belljar-shim`: versioned frames and the two documents that outlive both.
//!
//! A shim is usually older than the daemon that talks to it, so each frame carries a version, unknown fields are ignored and an
//! unknown request is answered with [`Response::Failed`] instead of a closed connection.
//!
//! One frame on the wire (integers big-endian):
//!
//! ```text
//!  0        1        2               4                       8
//! +--------+--------+---------------+-----------------------+----------------------+
//! | 'B'    | version| descriptors   | length of the body    | body: JSON, one      |
//! | 0x42   | 0x01   | u16           | u32, at most MAX_BODY | Message              |
//! +--------+--------+---------------+-----------------------+----------------------+
//! ```
//!
//! `descriptors` says how many file descriptors (`SCM_RIGHTS`) were sent together with the frame's bytes. They belong to the
//! request in the body: the client's own socket for [`Request::Attach`] and [`Request::Exec`].
//!
//! A connection of the daemon is a dialogue: `Message::Request{id}` is answered by one `Message::Response{id}`; answers may come in
//! another order than the requests. After [`Request::Subscribe`] the connection also receives `Message::Event`.
//!
//! This crate does no I/O. It never panics on hostile bytes; [`decode`] is fuzzed.

#![forbid(unsafe_code)]

mod bytes;
mod document;
mod frame;
mod message;
pub mod stdcopy;

pub use document::{ExitRecord, LogConfig, LogDriver, ShimConfig};
pub use frame::{
    Decoder, FrameError, HEADER_LEN, Header, MAX_BODY, MAX_DESCRIPTORS, VERSION, decode, encode,
};
pub use message::{
    Attach, ContainerPhase, ContainerState, Event, Exec, ExecState, Exit, Failure, Message,
    Request, Response, Target,
};

/// Name of the control socket inside the shim's state directory.
pub const SOCKET_NAME: &str = "shim.sock";
/// Name of the exit record inside the shim's state directory.
pub const EXIT_NAME: &str = "exit.json";
/// Name of the file with the shim's own process id (decimal, one line) inside its state directory.
pub const PID_NAME: &str = "shim.pid";
/// Name of the file with the container's init process id (decimal) inside the shim's state directory.
pub const INIT_PID_NAME: &str = "init.pid";
/// Name of the shim's configuration inside the bundle.
pub const CONFIG_NAME: &str = "shim.json";
