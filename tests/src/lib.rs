//! What the acceptance tests stand on: a private daemon, the two clients, a loopback registry, a real terminal.
//!
//! Every test has a daemon of its own with its own directories, socket and bridge, so that it passes beside a running Docker or a running
//! Belljar, and takes everything away again when it ends or panics. What a test claims is read from the kernel, not from the engine.
#![forbid(unsafe_code)]

mod daemon;
mod host;
mod out;
mod registry;
mod tap;
mod terminal;

pub use daemon::{Client, Daemon};
pub use host::{
    cgroup_dirs, children_of, namespace, parent_of, pid_alive, proc_status, wait_for, with_pid,
};
pub use out::Out;
pub use registry::registry;
pub use tap::{Exchange, Tap};
pub use terminal::Terminal;

use std::path::PathBuf;

/// Returns the directory with the built programs.
#[must_use]
pub fn programs() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/belljar");
    let dir = std::env::var_os("BELLJAR_PROGRAMS").map_or_else(default, PathBuf::from);
    assert!(
        dir.join("belljard").exists(),
        "no programs in `{}`: run cargo xtask test",
        dir.display()
    );
    dir
}

/// Returns the tar of a test image.
#[must_use]
pub fn image_tar(name: &str) -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/test-images");
    let dir = std::env::var_os("BELLJAR_TEST_IMAGES").map_or_else(default, PathBuf::from);
    let tar = dir.join(format!("{name}.tar"));
    assert!(tar.exists(), "no `{}`: run cargo xtask images", tar.display());
    tar
}

/// Makes a test per client out of one function that takes a [`Client`].
#[macro_export]
macro_rules! with_both_clients {
    ($($name:ident),* $(,)?) => {
        mod docker {
            $(#[test] fn $name() { super::$name($crate::Client::Docker); })*
        }
        mod belljar {
            $(#[test] fn $name() { super::$name($crate::Client::Belljar); })*
        }
    };
}
