//! Container lifecycle: what the daemon's routes call.
//!
//! [`Engine::open`] is recovery: it reads the records, asks shims and the kernel what is still alive, and sweeps what a crash
//! left. Afterwards one actor per container owns its record and its state; a request goes to its mailbox, `transition` says
//! whether it is legal, and the actor carries it out. Readers never wait for an actor: they take published snapshots.
//!
//! ```text
//!            start ok                exit, no restart
//!  created ───────────▶ running ───────────────────────▶ exited ──▶ (removed)
//!     │ start failed     │  ▲ ▲                           │  ▲
//!     └─▶ created        │  │ └───────── start ───────────┘  │ stop
//!                  pause ▼  │ unpause                        │
//!                      paused          running ──exit──▶ restarting ──▶ running
//! ```
//!
//! The engine owns `R/containers`, `R/volumes` and `X/bundles`; image, snapshot, db and network own what is theirs, shims own
//! `X/containers`. It never talks HTTP and never links the runtime: it knows the path of a shim, the shim knows a runtime.
#![forbid(unsafe_code)]

mod actor;
mod archive;
mod attach;
mod copy;
mod create;
mod engine;
mod error;
mod events;
mod evidence;
mod exec;
mod filters;
mod health;
mod images;
mod launch;
mod lifecycle;
mod list;
mod logs;
mod merge;
mod mountpoint;
mod names;
mod networks;
mod options;
mod ports;
mod record;
mod recovery;
mod request;
mod rootfs;
mod roster;
mod sample;
mod shimlink;
mod signals;
mod spec;
mod stats;
mod top;
mod transition;
mod update;
mod validate;
mod view;
mod volumes;

pub use attach::AttachTicket;
pub use engine::Engine;
pub use error::{EngineError, Result};
pub use events::{Event, EventStream, Subject};
pub use exec::ExecTicket;
pub use image;
pub use jiff::Timestamp;
pub use lifecycle::Wait;
pub use options::*;
pub use request::*;
pub use sample::*;
pub use view::*;

/// Output of a container, ready for a client: stdcopy frames, or raw bytes with a terminal.
pub struct LogStream {
    /// Whether the bytes are raw (terminal) and not framed.
    pub tty: bool,
    /// Pieces in order; closed at the end.
    pub chunks: tokio::sync::mpsc::Receiver<bytes::Bytes>,
}
