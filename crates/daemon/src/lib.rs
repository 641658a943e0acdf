//! `belljard`: the Engine API on sockets, in front of the engine.
//!
//! Owns the listening sockets, the pid file and the HTTP connections; reads `daemon.json`. It converts between the API's JSON and the
//! engine's values and decides nothing about containers. Ending it ends nothing else: containers and attached terminals live on in
//! their shims, and the next start is recovery.
//!
//! ```text
//! flags + daemon.json -> settings -> listeners -> Engine::open -> accept
//!
//! accept -> Socket (sees hijackable heads) -> hyper -> router -> handler -> engine
//!                                               |
//!            attach, exec start: 101 ---------> the client's own socket goes to the shim
//! ```
#![forbid(unsafe_code)]

mod body;
mod call;
mod config;
mod embedded;
mod failure;
mod feed;
mod flags;
mod hijack;
mod host;
mod listen;
mod logging;
mod notify;
mod pidfile;
mod router;
mod routes;
mod select;
mod server;
mod settings;
mod show;
mod socket;
mod start;

pub use server::{App, serve};
pub use settings::Address;
pub use settings::Settings;
pub use socket::Stream;
pub use start::main;
