//! The low-level OCI runtime: it turns a bundle (a root file system and a `config.json`) into a container.
//!
//! Sole writer of its `--root` directory and of container cgroups. Called as a program, `belljar-runtime`, by the shim or by any engine
//! that knows runc's command line; nobody links it. It has one thread, lives for milliseconds, and leaves nothing of its own behind:
//! a start that fails removes the cgroup, the process and the directory that it made.
//!
//! ```text
//!            create              start                 (the process ends)
//!   (none) ---------> created ---------> running ------------------------> stopped
//!     ^                  |                 |  ^                               |
//!     |                  | kill     pause  v  | resume                        |
//!     |                  v                paused                              |
//!     +----------------- stopped <------------------- delete [--force] ------+
//! ```
//!
//! `create` goes through these steps, each in its module:
//! 1. [`config`] reads and checks the document;
//! 2. [`plan`] turns it into a list of small operations with every string, descriptor and filter ready;
//! 3. [`cgroup`] makes the groups and writes the limits;
//! 4. [`launch`] makes the process with all its new namespaces in one clone3(2);
//! 5. [`init`], in that process, applies the operations in order, waits for `start` and becomes the program;
//! 6. [`state`] writes down what was made.
#![forbid(unsafe_code)]

pub mod args;
pub mod cgroup;
mod command;
pub mod config;
mod console;
mod criu;
mod dbus;
pub mod doors;
pub mod error;
mod features;
mod hooks;
mod inherit;
mod init;
mod launch;
mod log;
mod plan;
mod rdt;
mod root_mount;
mod rootless;
pub mod seccomp;
mod sink;
pub mod state;

pub use command::main;
pub use error::{Error, Result};
