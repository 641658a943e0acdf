//! Running without privileges: what the runtime may do here, where it keeps containers then, and what a configuration cannot ask for.
//!
//! Without privileges nothing of the host can be mounted, copied or entered; all of that is done by the container's first process, which has
//! every capability in its new user namespace. So the plan of its mounts is made there, see [`Standing::plans_inside`].

mod maps;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use types::oci::runtime::{IdMapping, Linux, NamespaceKind, Spec};

use crate::config;
use crate::error::{Error, Result, step};

pub(crate) use maps::{lines, parse, write_maps};

/// The inode of the first user namespace in nsfs, `PROC_USER_INIT_INO`.
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// What this process is on its machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Root of the machine.
    #[default]
    Privileged,
    /// Root of a user namespace only, as with `unshare -r` and rootless Podman.
    RootInside,
    /// Any other user.
    Unprivileged,
}

impl Standing {
    /// Looks.
    pub(crate) fn find() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::Unprivileged;
        }
        match fs::metadata("/proc/self/ns/user") {
            Ok(namespace) if namespace.ino() != FIRST_USER_NAMESPACE => Self::RootInside,
            _ => Self::Privileged,
        }
    }

    /// Whether the effective user is not root: runc's "rootless" for everything but cgroups.
    pub(crate) fn is_unprivileged(self) -> bool {
        self == Self::Unprivileged
    }

    /// Whether the mounts are planned by the container's process: here they can be neither copied nor opened, since the mount namespace may belong to
    /// a user namespace above.
    pub(crate) fn plans_inside(self) -> bool {
        self != Self::Privileged
    }

    /// Whether cgroups may be out of reach, as `--rootless` says or, by default, whenever this is not root of the machine.
    pub(crate) fn does_without_cgroups(self, option: Option<bool>) -> bool {
        option.unwrap_or(self != Self::Privileged)
    }

    /// Returns where containers are kept without `--root`, and whether that is in `XDG_RUNTIME_DIR`; `None` if a user has no such directory.
    pub(crate) fn root(self, default: &str, name: &str) -> Option<(PathBuf, bool)> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let honoured = match self {
            Self::Privileged => false,
            // Podman runs as root of its namespace in the environment of the user.
            Self::RootInside => std::env::var_os("USER").is_none_or(|user| user != "root"),
            Self::Unprivileged => true,
        };
        match set("XDG_RUNTIME_DIR").filter(|_| honoured) {
            Some(directory) => Some((Path::new(&directory).join(name), true)),
            None if self.is_unprivileged() => None,
            None => Some((PathBuf::from(default), false)),
        }
    }
}

/// Makes the directory in `XDG_RUNTIME_DIR`. Its sticky bit keeps it from being tidied away (XDG Base Directory Specification).
pub(crate) fn make_root(path: &Path) -> Result<()> {
    let what = || format!("create `{}`", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(step(what()))?;
    fs::set_permissions(path, Permissions::from_mode(0o1700)).map_err(step(what()))
}

/// Refuses what a user without privileges cannot have. The words are runc's.
///
/// # Errors
/// `Invalid`.
pub(crate) fn check(spec: &Spec) -> Result<()> {
    let Some(linux) = &spec.linux else { return Ok(()) };
    if !config::has_namespace(linux, NamespaceKind::User) {
        return Err(Error::Config("rootless container requires user namespaces".into()));
    }
    if !config::has_new_namespace(linux, NamespaceKind::User) {
        return Ok(());
    }
    for (what, maps) in [("UID", &linux.uid_mappings), ("GID", &linux.gid_mappings)] {
        if maps.is_empty() {
            let text = format!("rootless containers requires at least one {what} mapping");
            return Err(Error::Config(text));
        }
    }
    let options = spec.mounts.iter().flat_map(|mount| &mount.options);
    options.flat_map(|option| option.split(',')).try_for_each(|option| check_option(option, linux))
}

/// `uid=` and `gid=` of a mount must be mapped.
fn check_option(option: &str, linux: &Linux) -> Result<()> {
    let (text, maps, missing) = match option.split_once('=') {
        Some(("uid", text)) => (text, &linux.uid_mappings, "user"),
        Some(("gid", text)) => (text, &linux.gid_mappings, "group"),
        _ => return Ok(()),
    };
    // What is no number is the file system's to refuse.
    let Ok(id) = text.parse::<u32>() else { return Ok(()) };
    if host_id(maps, id).is_some() {
        return Ok(());
    }
    Err(Error::Config(format!(
        "cannot specify {option} mount option for rootless container: user namespaces enabled, but no {missing} mapping found"
    )))
}

/// Returns what an id of the container is outside.
pub(crate) fn host_id(maps: &[IdMapping], id: u32) -> Option<u32> {
    maps.iter().find_map(|map| {
        let offset = id.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
        map.host_id.checked_add(offset)
    })
}
