//! Attacks by one who shares the root file system or a volume and exchanges names while containers are made: hundreds of creations
//! against threads that call renameat2(2) with `RENAME_EXCHANGE` as fast as they can.
//!
//! The line `Weakened:` of a test says with which defence taken away it was seen to fail.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::Bench;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use serde_json::json;

/// How long each race goes on.
const PATIENCE: Duration = Duration::from_secs(4);

/// Ends the racing thread when a test fails too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchanges each pair of names again and again while `work` runs, and returns how often.
fn racing(pairs: &[(PathBuf, PathBuf)], mut work: impl FnMut()) -> u64 {
    let (over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (a, b) in pairs {
                    if renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let _ends = Over(&over);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            work();
        }
    });
    count.load(Ordering::Relaxed)
}

struct Outside(PathBuf);

impl Outside {
    fn new(bench: &Bench) -> Self {
        let path = bench.dir.path().join("outside");
        fs::create_dir_all(path.join("sub")).unwrap();
        fs::write(path.join("file"), "untouched").unwrap();
        Self(path)
    }

    fn assert_untouched(&self) {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "sub"], "something was made outside");
        assert_eq!(fs::read_dir(self.0.join("sub")).unwrap().count(), 0, "made outside");
        assert_eq!(fs::read_to_string(self.0.join("file")).unwrap(), "untouched");
    }
}

/// CVE-2021-30465, CVE-2024-45310: the way to a mount point is a directory one moment and a link out the next.
/// Weakened: `RESOLVE_IN_ROOT` taken out of `inroot::open`.
#[test]
fn privileged_mount_points_in_an_exchanged_volume_stay_inside() {
    let Some(mut bench) = Bench::new("volume", &["true"]) else { return };
    let outside = Outside::new(&bench);
    let volume = bench.dir.path().join("volume");
    fs::create_dir_all(volume.join("a/sub")).unwrap();
    symlink(&outside.0, volume.join("b")).unwrap();
    fs::create_dir_all(volume.join("c")).unwrap();
    let up = "../".repeat(20);
    symlink(format!("{up}{}", outside.0.display()), volume.join("d")).unwrap();
    let source = bench.dir.path().join("source");
    fs::write(&source, "source").unwrap();
    bench.add_mount(
        json!({ "destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"] }),
    );
    for (at, target) in ["/volume/a/sub", "/volume/a/new", "/volume/c/x/y"].iter().enumerate() {
        bench.add_mount(json!({ "destination": target, "type": "tmpfs", "source": "x" }));
        let file = format!("{target}file{at}");
        bench.add_mount(
            json!({ "destination": file, "type": "bind", "source": source, "options": ["bind"] }),
        );
    }
    let pairs = [(volume.join("a"), volume.join("b")), (volume.join("c"), volume.join("d"))];
    let (mut good, mut bad) = (0, 0);
    let exchanges = racing(&pairs, || match bench.foreground() {
        (0, ..) => good += 1,
        (_, _, err) => {
            bad += 1;
            assert!(err.contains("/volume/"), "the error names no object: {err}");
        }
    });
    assert!(exchanges > 100 && good + bad > 3, "{exchanges} exchanges, {good} + {bad} runs");
    outside.assert_untouched();
    bench.assert_nothing_left();
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2026-41579: `/proc`, `/sys` and `/dev` themselves are exchanged with links.
/// Weakened: `Links::Refuse` taken as `Links::Follow`.
#[test]
fn privileged_system_directories_that_are_exchanged_are_never_others() {
    let script = "for p in /proc /proc2; do cd $p && [ -e self/stat ] && echo x > sysrq-trigger && echo wrote; done; \
        [ -e /fake/self ] && echo fake; exit 0";
    let Some(mut bench) = Bench::new("system", &["sh", "-c", script]) else { return };
    let outside = Outside::new(&bench);
    let rootfs = bench.rootfs();
    fs::create_dir(rootfs.join("fake")).unwrap();
    for name in ["proc", "sys", "dev"] {
        symlink("/fake", rootfs.join(format!("{name}2"))).unwrap();
    }
    let mounts = bench.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    bench.spec["linux"]["maskedPaths"] = json!([]);
    let pairs =
        ["proc", "sys", "dev"].map(|name| (rootfs.join(name), rootfs.join(format!("{name}2"))));
    let (mut good, mut bad) = (0, 0);
    let exchanges = racing(&pairs, || {
        let (code, out, err) = bench.foreground();
        if code == 0 {
            good += 1;
        } else {
            bad += 1;
        }
        assert!(!out.contains("wrote") && !out.contains("fake"), "{out}{err}");
    });
    assert!(exchanges > 100 && bad > 0, "{exchanges} exchanges, {good} + {bad} runs");
    assert_eq!(
        fs::read_dir(rootfs.join("fake"))
            .unwrap()
            .filter(|entry| {
                // Devices may be made in a directory that was /dev a moment ago, and nowhere else.
                entry.as_ref().is_ok_and(|entry| entry.file_name() == "self")
            })
            .count(),
        0
    );
    outside.assert_untouched();
}

/// CVE-2025-31133: the null device is exchanged with a link and with a file while the masks are made.
/// Weakened: the check of kind and number in `Stage::null`.
#[test]
fn privileged_a_null_device_that_is_exchanged_masks_nothing_else() {
    let script = "cat /proc/keys; cat /proc/timer_list; cat /proc/uptime2; exit 0";
    let Some(mut bench) = Bench::new("nullrace", &["sh", "-c", script]) else { return };
    let outside = Outside::new(&bench);
    let dev = bench.rootfs().join("dev");
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, dev.join("null"), FileType::CharacterDevice, mode, makedev(1, 3)).unwrap();
    symlink("/proc/uptime", dev.join("link")).unwrap();
    fs::write(dev.join("regular"), "fake\n").unwrap();
    let mounts = bench.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    let pairs = [(dev.join("null"), dev.join("link")), (dev.join("null"), dev.join("regular"))];
    let (mut good, mut bad) = (0, 0);
    let exchanges = racing(&pairs, || {
        let (code, out, err) = bench.foreground();
        assert_eq!(out, "", "a mask shows what it is not: {err}");
        if code == 0 {
            good += 1;
        } else {
            bad += 1;
            assert!(err.contains("/dev/null"), "the error names no object: {err}");
        }
    });
    assert!(exchanges > 100 && good > 0 && bad > 0, "{exchanges} exchanges, {good} + {bad} runs");
    outside.assert_untouched();
    bench.assert_nothing_left();
}

/// CVE-2025-52881: what covers `/proc/...` is put onto the real one, though its directory is moved away meanwhile.
/// Weakened: `covered` looks up by the root only.
#[test]
fn privileged_masks_are_put_onto_the_procfs_that_was_mounted() {
    let script = "for p in /proc /proc2; do cd $p && [ -e self/stat ] && echo procfs && cat keys; done; exit 0";
    let Some(mut bench) = Bench::new("masks", &["sh", "-c", script]) else { return };
    let rootfs = bench.rootfs();
    fs::create_dir_all(rootfs.join("proc2")).unwrap();
    fs::write(rootfs.join("proc2/keys"), "").unwrap();
    // Long lists give the race its time.
    let masked: Vec<String> = std::iter::repeat_n("/proc/keys".to_owned(), 40).collect();
    bench.spec["linux"]["maskedPaths"] = json!(masked);
    let pairs = [(rootfs.join("proc"), rootfs.join("proc2"))];
    let mut seen = 0;
    let exchanges = racing(&pairs, || {
        let (code, out, _) = bench.foreground();
        if code == 0 && !out.is_empty() {
            seen += 1;
        }
        assert!(!out.contains("keyring"), "an unmasked procfs: {out}");
    });
    assert!(exchanges > 100 && seen > 0, "{exchanges} exchanges, {seen} runs saw a procfs");
    bench.assert_nothing_left();
}

/// `tmpcopyup` of a directory whose entries are exchanged with links and devices.
/// Weakened: entries of `copy_up` opened with links followed.
#[test]
fn privileged_copy_up_of_exchanged_entries_copies_nothing_from_outside() {
    let Some(mut bench) =
        Bench::new("copyrace", &["sh", "-c", "cat /data/*/* /data/* 2>/dev/null; exit 0"])
    else {
        return;
    };
    let secret = bench.dir.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("inner"), "secret").unwrap();
    let data = bench.rootfs().join("data");
    fs::create_dir_all(data.join("directory")).unwrap();
    fs::write(data.join("file"), "").unwrap();
    symlink(&secret, data.join("link")).unwrap();
    symlink(secret.join("inner"), data.join("link2")).unwrap();
    bench.add_mount(
        json!({ "destination": "/data", "type": "tmpfs", "source": "x", "options": ["tmpcopyup"] }),
    );
    let pairs =
        [(data.join("directory"), data.join("link")), (data.join("file"), data.join("link2"))];
    let mut runs = 0;
    let exchanges = racing(&pairs, || {
        runs += 1;
        let (_, out, _) = bench.foreground();
        assert!(!out.contains("secret"), "{out}");
    });
    assert!(exchanges > 100 && runs > 3, "{exchanges} exchanges, {runs} runs");
    assert!(Path::new(&secret).join("inner").exists());
    bench.assert_nothing_left();
}
