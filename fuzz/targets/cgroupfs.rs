//! Reads anything as the files of cgroupfs and procfs. The input is cut at NUL; each piece is one file's text.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sys::cgroup::{Group, Place, memberships, parse_mounts};

/// The files that are read of a group, on version 2 and on version 1.
const FILES: [&str; 24] = [
    "cgroup.procs",
    "cgroup.events",
    "cgroup.freeze",
    "freezer.state",
    "memory.events",
    "memory.current",
    "memory.max",
    "memory.peak",
    "memory.swap.current",
    "memory.stat",
    "cpu.stat",
    "pids.current",
    "pids.max",
    "io.stat",
    "memory.oom_control",
    "memory.usage_in_bytes",
    "memory.memsw.usage_in_bytes",
    "memory.limit_in_bytes",
    "memory.failcnt",
    "cpuacct.usage",
    "cpuacct.usage_percpu",
    "cpuacct.usage_user",
    "blkio.throttle.io_service_bytes",
    "blkio.throttle.io_serviced",
];

fn directory() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| tempfile::tempdir().expect("a temporary directory can be made").keep())
}

fn group(controllers: &[&str]) -> Group {
    let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
    let place =
        Place { controllers, mount: directory().to_owned(), directory: directory().to_owned() };
    Group::from_places(vec![place])
}

fn read_texts(data: &[u8]) {
    let _ = parse_mounts(data, 12);
    let _ = sys::procfs::mounts_of(data, &["proc", "sysfs"]);
    let Ok(text) = std::str::from_utf8(data) else { return };
    for (controllers, path) in memberships(text) {
        assert!(controllers.iter().all(|name| !name.contains(',')) && !path.contains('\n'));
    }
    let _ = runtime::state::parse_stat(text);
    let _ = sys::procfs::Status::parse(text);
}

fuzz_target!(|data: &[u8]| {
    read_texts(data);
    let mut pieces = data.split(|byte| *byte == 0);
    for name in FILES {
        let path = directory().join(name);
        match pieces.next() {
            Some(piece) => fs::write(path, piece).expect("a file can be written"),
            None => drop(fs::remove_file(path)),
        }
    }
    for group in [
        group(&[]),
        group(&["memory", "cpu", "cpuacct", "pids", "blkio", "freezer", "devices"]),
    ] {
        let stats = group.stats();
        if let Some(memory) = stats.memory {
            assert!(memory.limit.is_none_or(|limit| limit < 1 << 62));
        }
        let _ = (group.processes(), group.is_populated(), group.is_frozen(), group.exists());
    }
});
