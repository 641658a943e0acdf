//! The mounts of a spec: Docker's own, the files of `/etc`, and what the user asked for.

use types::oci::runtime::Mount;

use super::{INIT_PATH, Input, Share};
use crate::Result;
use crate::mountpoint::{MountKind, MountPoint};

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

/// Docker's mounts, in Docker's order: parents first.
fn defaults(input: &Input<'_>) -> Vec<Mount> {
    let writable = if input.host.privileged { "rw" } else { "ro" };
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", writable]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[writable, "nosuid", "noexec", "nodev"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    list.push(shm(input));
    list
}

fn shm(input: &Input<'_>) -> Mount {
    if input.namespaces.ipc == Share::Host {
        return mount("/dev/shm", "bind", "/dev/shm", &["rbind", "rprivate"]);
    }
    if let Some(shared) = &input.shm {
        return mount("/dev/shm", "bind", &shared.display().to_string(), &["rbind", "rprivate"]);
    }
    let bytes = u64::try_from(input.host.shm_size).ok().filter(|bytes| *bytes > 0);
    let size = format!("size={}", bytes.unwrap_or(input.default_shm_bytes));
    mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size])
}

/// Docker's own mounts unless the user mounts over them, the files of `/etc`, and the user's in the order of their depth.
pub(super) fn mounts(input: &Input<'_>) -> Result<Vec<Mount>> {
    let taken = |destination: &str| input.mounts.iter().any(|m| m.destination == destination);
    let hidden = |destination: &str| {
        input.mounts.iter().any(|m| m.destination == "/dev" && destination.starts_with("/dev/"))
    };
    let mut list: Vec<Mount> = defaults(input)
        .into_iter()
        .filter(|m| !taken(&m.destination) && !hidden(&m.destination))
        .collect();
    let mut user: Vec<Mount> = input.mounts.iter().map(user_mount).collect();
    if let Some(etc) = &input.etc {
        let access = if input.host.readonly_rootfs { "ro" } else { "rw" };
        for (destination, source) in [
            ("/etc/resolv.conf", &etc.resolv_conf),
            ("/etc/hostname", &etc.hostname),
            ("/etc/hosts", &etc.hosts),
        ] {
            if !taken(destination) {
                let source = source.display().to_string();
                user.push(mount(destination, "bind", &source, &["rbind", "rprivate", access]));
            }
        }
    }
    if let Some(init) = &input.init {
        user.push(mount(INIT_PATH, "bind", &init.display().to_string(), &["bind", "ro"]));
    }
    user.sort_by_key(|m| m.destination.split('/').count());
    list.extend(user);
    Ok(list)
}

fn user_mount(point: &MountPoint) -> Mount {
    if point.kind == MountKind::Tmpfs {
        let mut options: Vec<&str> = point.tmpfs.iter().map(String::as_str).collect();
        if !point.rw && !options.contains(&"ro") {
            options.push("ro");
        }
        return mount(&point.destination, "tmpfs", "tmpfs", &options);
    }
    let source = point.source.join(&point.subpath).display().to_string();
    let source = source.trim_end_matches('/');
    let propagation = if point.propagation.is_empty() { "rprivate" } else { &point.propagation };
    let bind = if point.non_recursive { "bind" } else { "rbind" };
    let access = if point.rw { "rw" } else { "ro" };
    let source = if source.is_empty() { "/" } else { source };
    mount(&point.destination, "bind", source, &[bind, propagation, access])
}

/// A shared or slave mount needs a root that passes mounts on.
pub(super) fn root_propagation(mounts: &[MountPoint]) -> String {
    let any = |names: [&str; 2]| mounts.iter().any(|m| names.contains(&m.propagation.as_str()));
    if any(["shared", "rshared"]) {
        "shared".to_owned()
    } else if any(["slave", "rslave"]) {
        "rslave".to_owned()
    } else {
        String::new()
    }
}
