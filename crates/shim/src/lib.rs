//! The per-container shim: parent of the container's processes, owner of their streams, keeper of their exit statuses.
//!
//! It is the sole writer of its state directory (`shim.sock`, `shim.pid`, `init.pid`, `exit.json`) and of the container's log. It is
//! started by the daemon, detaches from it, and lives as long as its container; a daemon that dies and comes back finds it at its
//! socket and speaks [`shim_protocol`] with it. Attached clients are held by their own sockets, so that a terminal survives the
//! daemon.
//!
//! ```text
//!            Create            Start                    init ends
//!  Idle ──► Creating ──► Created ──► Running ──► Ended ──► output drained ──► log written ──► exit.json ──► Exited told ──► gone
//!    ▲──────────┘ failed                            └ the rest of the pipes goes to the clients and the log
//! ```
//!
//! One thread, one `poll(2)` loop: what is watched is worked out from the state before each wait ([`watch`]), what became possible is
//! done after it ([`settle`]). Memory is bounded: a client that does not take its bytes stops the reading of the process's
//! output (one chunk is queued at most), a process that does not read stops the reading of its clients. Buffers exist only while
//! bytes move.
//!
//! The shim never links the runtime; it runs any program with runc's command line.

#![forbid(unsafe_code)]

mod args;
mod client;
mod clock;
mod connection;
mod detach;
mod escape;
mod finish;
mod log;
mod process;
mod request;
mod runtime;
mod settle;
mod start;
mod stdio;
mod supervisor;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use types::{Chain, Kind};

/// Why a shim could not do something.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// An argument is unknown, missing or malformed.
    #[error("read argument `{argument}`")]
    Usage {
        /// Which one.
        argument: String,
    },
    /// The configuration in the bundle is no configuration.
    #[error("parse `{}`", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What the JSON parser says.
        #[source]
        err: serde_json::Error,
    },
    /// A system call failed.
    #[error("{verb} `{}`", object.display())]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        object: PathBuf,
        /// The cause.
        #[source]
        err: io::Error,
    },
}

impl ShimError {
    pub(crate) fn io(verb: &'static str, object: impl Into<PathBuf>, err: io::Error) -> ShimError {
        ShimError::Io { verb, object: object.into(), err }
    }

    /// What this means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            ShimError::Usage { .. } | ShimError::Config { .. } => Kind::Invalid,
            ShimError::Io { err, .. } if err.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            ShimError::Io { .. } => Kind::Internal,
        }
    }
}

/// The program: reads the arguments behind its name, listens, detaches, serves. Returns its exit code.
///
/// The calling process must have one thread. It returns as soon as the socket listens; the detached child returns when the
/// container is gone and nobody is owed anything.
pub fn main(args: impl Iterator<Item = OsString>) -> u8 {
    let result = match args::parse(args) {
        Ok(args::Command::Help) => return print(args::HELP),
        Ok(args::Command::Version) => {
            return print(concat!("belljar-shim version ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Ok(args::Command::Serve(args)) => start::run(args),
        Err(err) => Err(err),
    };
    match result {
        Ok(()) => 0,
        Err(err) => {
            // With standard error closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "belljar-shim: {}", Chain(&err));
            if err.kind() == Kind::Invalid { 2 } else { 1 }
        }
    }
}

fn print(text: &str) -> u8 {
    u8::from(io::stdout().write_all(text.as_bytes()).is_err())
}
