//! The Debian packages that tests, demo and bench need beside Rust.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// A program and the Debian package that brings it.
type Need = (&'static str, &'static str);

/// Needed to build: a C compiler for zstd and ring.
pub const BUILD: &[Need] = &[("cc", "gcc")];

/// Needed by the fuzz targets: libFuzzer is C++.
pub const FUZZ: &[Need] = &[("c++", "g++")];

/// Needed by the privileged tests.
pub const TEST: &[Need] = &[
    ("busybox", "busybox-static"),
    ("mmdebstrap", "mmdebstrap"),
    ("jq", "jq"),
    ("curl", "curl"),
    ("docker-registry", "docker-registry"),
    ("skopeo", "skopeo"),
    ("strace", "strace"),
    ("pstree", "psmisc"),
    ("ps", "procps"),
    ("ip", "iproute2"),
    ("lsns", "util-linux"),
    ("newuidmap", "uidmap"),
    ("docker", "docker.io"),
];

/// Needed by the lab: its root image, and what is shared with the guest.
pub const LAB: &[Need] = &[
    ("busybox", "busybox-static"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("setpriv", "util-linux"),
];

/// Needed by the bench: a private real Docker.
pub const BENCH: &[Need] = &[
    ("dockerd", "docker.io"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("docker", "docker.io"),
];

/// Needed by the bench of the runtime beside those.
pub const BENCH_RUNTIME: &[Need] =
    &[("crun", "crun"), ("strace", "strace"), ("time", "time"), ("unshare", "util-linux")];

/// Needed by `conformance`: the engines that take a runtime, and the runtimes that ours is compared with.
pub const CONFORMANCE: &[Need] = &[
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("docker-init", "docker.io"),
    ("tini", "tini"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("podman", "podman"),
    ("/usr/lib/podman/netavark", "netavark"),
    ("conmon", "conmon"),
    ("runc", "runc"),
    ("crun", "crun"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("script", "bsdutils"),
    ("busybox", "busybox-static"),
];

/// Installs (as root) or names what is missing of `needs`.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let mut missing: Vec<&str> = needs
        .iter()
        .filter(|(program, _)| !present(program))
        .map(|(_, package)| *package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if !shell::is_root() || !shell::has("apt-get") {
        bail!("missing Debian packages\n\ntype: sudo apt-get install {}", missing.join(" "));
    }
    eprintln!("installing {}", missing.join(" "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        // A package must not start its daemon here.
        command.env("RUNLEVEL", "1");
        shell::output(&mut command)
    };
    let install: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(missing).collect();
    if apt(&install).is_err() {
        apt(&["update"])?;
        apt(&install)?;
    }
    Ok(())
}

fn present(program: &str) -> bool {
    shell::has(program)
        || ["/usr/sbin", "/sbin"]
            .iter()
            .any(|dir| std::path::Path::new(dir).join(program).is_file())
}

/// `cargo xtask packages`.
pub fn run(_args: &[String]) -> Result<()> {
    for needs in [BUILD, FUZZ, TEST, LAB, BENCH, CONFORMANCE] {
        ensure(needs)?;
    }
    println!("every package is there");
    Ok(())
}
