//! The documents on disk: `shim.json` (written by the engine before the shim starts) and `exit.json` (written by the shim).
//!
//! Both are written to a temporary name and renamed; a reader sees all of one or nothing.

use crate::message::Exit;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `shim.json` in the bundle: how this container's shim behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimConfig {
    /// The runtime's program.
    pub runtime: PathBuf,
    /// Arguments before the subcommand.
    #[serde(default)]
    pub runtime_args: Vec<String>,
    /// Passed as `--root`.
    pub runtime_root: PathBuf,
    /// Passes `--systemd-cgroup`.
    #[serde(default)]
    pub systemd_cgroup: bool,
    /// The process has a terminal; `process.terminal` says the same.
    #[serde(default)]
    pub tty: bool,
    /// Standard input stays open; else it reads end of file at once.
    #[serde(default)]
    pub open_stdin: bool,
    /// Standard input closes when the first attached client closes its side.
    #[serde(default)]
    pub stdin_once: bool,
    /// Where the output goes.
    #[serde(default)]
    pub log: LogConfig,
    /// Rows and columns of the terminal at the start.
    #[serde(default)]
    pub console_size: Option<[u16; 2]>,
}

/// Where a container's output is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// The newest file; older ones are `path.1`, `path.2`, ….
    #[serde(default)]
    pub path: PathBuf,
    /// Which format.
    #[serde(default)]
    pub driver: LogDriver,
    /// Size at which a file is rotated away, in bytes; `None` or 0 never rotates.
    #[serde(default)]
    pub max_size: Option<u64>,
    /// How many files are kept, the newest included; at least 1.
    #[serde(default)]
    pub max_file: Option<u32>,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { path: PathBuf::new(), driver: LogDriver::None, max_size: None, max_file: None }
    }
}

/// Format of a container's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    /// Docker's `json-file`.
    #[default]
    #[serde(rename = "json-file")]
    JsonFile,
    /// Nothing is written.
    #[serde(rename = "none")]
    None,
    /// Docker's `local`; written as `json-file`.
    #[serde(rename = "local")]
    Local,
}

/// `exit.json` in the shim's state directory: how the container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The init process.
    pub pid: u32,
    /// How it ended.
    #[serde(flatten)]
    pub exit: Exit,
    /// Processes of the container that an OOM killer has killed.
    #[serde(default)]
    pub oom_kills: u64,
    /// How often the container's own limit of memory could not be kept; only cgroup v2 counts that.
    #[serde(default)]
    pub own_limit_hits: u64,
}
