//! `cp` with containers that fight it, that are read-only, paused or stopped.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use acceptance::{Client, Daemon, with_both_clients};

with_both_clients!(stopped_and_paused, read_only_targets);

fn busybox() -> Daemon {
    let daemon = Daemon::start();
    daemon.load("busybox");
    daemon
}

fn stopped_and_paused(client: Client) {
    let daemon = busybox();
    let from = daemon.path("from");
    fs::write(&from, "copied").unwrap();
    let from = from.to_str().unwrap();
    let read = |path: &str| daemon.run(client, &["exec", "box", "cat", path]).ok();
    let volume = ["create", "--name", "box", "-v", "seed:/data", "busybox", "sleep", "1000"];
    let _ = daemon.run(client, &volume).ok();
    let _ = daemon.run(client, &["cp", from, "box:/data/one"]).ok();
    let _ = daemon.run(client, &["cp", from, "box:/etc/two"]).ok();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let own = daemon.path("data/overlay2");
    assert!(!mounts.contains(own.to_str().unwrap()), "nothing stays mounted: {mounts}");
    assert_eq!(fs::read_to_string(daemon.path("data/volumes/seed/_data/one")).unwrap(), "copied");

    let _ = daemon.run(client, &["start", "box"]).ok();
    assert_eq!([read("/data/one"), read("/etc/two")], ["copied", "copied"]);
    let _ = daemon.run(client, &["pause", "box"]).ok();
    let _ = daemon.run(client, &["cp", from, "box:/dev/shm/three"]).ok();
    let back = daemon.path("back");
    let _ = daemon.run(client, &["cp", "box:/data/one", back.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(back).unwrap(), "copied");
    let _ = daemon.run(client, &["unpause", "box"]).ok();
    assert_eq!(read("/dev/shm/three"), "copied");
}

fn read_only_targets(client: Client) {
    let daemon = busybox();
    let from = daemon.path("from");
    fs::write(&from, "copied").unwrap();
    let from = from.to_str().unwrap();
    let create = ["create", "--name", "box", "--read-only", "-v", "seed:/rw", "-v", "seed:/ro:ro"];
    let _ = daemon.run(client, &[&create[..], &["busybox", "sleep", "1000"]].concat()).ok();
    for running in [false, true] {
        if running {
            let _ = daemon.run(client, &["start", "box"]).ok();
        }
        let copy = |to: &str| daemon.run(client, &["cp", from, to]);
        copy("box:/etc/").fails(1, "container rootfs is marked read-only");
        copy("box:/ro/").fails(1, "mounted volume is marked read-only");
        copy("box:/none/").fails(1, "no such directory");
        let _ = copy("box:/rw/").ok();
    }
}

/// A directory of the host that no container has.
struct Victim {
    dir: std::path::PathBuf,
}

impl Victim {
    fn new(daemon: &Daemon) -> Self {
        let dir = daemon.path("victim");
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("sub/secret"), "of the host").unwrap();
        Self { dir }
    }

    fn check(&self) {
        let names: Vec<_> =
            fs::read_dir(&self.dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["sub"], "something was copied to the host");
        assert!(!Path::new("/etc/belljar-copy-0").exists(), "something was copied to the host");
    }
}

/// A tar whose entries go to two directories by turns, so that neither is looked up once for all.
fn hostile_tar(daemon: &Daemon) -> Vec<u8> {
    let dir = daemon.path("tree");
    let mut names = Vec::new();
    for number in 0..60 {
        for place in ["d", "e"] {
            fs::create_dir_all(dir.join(place)).unwrap();
            let name = format!("{place}/belljar-copy-{number}");
            fs::write(dir.join(&name), "x").unwrap();
            names.push(name);
        }
    }
    let out = Command::new("tar").arg("-C").arg(&dir).arg("-c").args(&names).output().unwrap();
    assert!(out.status.success());
    out.stdout
}

#[test]
fn swapped_links_never_lead_to_the_host() {
    let daemon = busybox();
    let victim = Victim::new(&daemon);
    let up = "../".repeat(20);
    // Each round begins anew: what a copy left in the way must not end the fight.
    let script = format!(
        "mkdir -p /real/sub /w; echo inside > /real/sub/secret; cd /w; while :; do \
         rm -rf t; cp -r /real t; rm -rf d; ln -s {up}{victim} d; rm -f d; ln -s /etc d; rm -f d; mv t d; \
         usleep 5000; mv d/sub u; ln -s {up}{victim}/sub d/sub; rm -f d/sub; mv u d/sub; \
         usleep 5000; done 2>/dev/null",
        victim = victim.dir.display()
    );
    let _ = daemon.docker(&["run", "-d", "--name", "box", "busybox", "sh", "-c", &script]).ok();
    let tar = hostile_tar(&daemon);
    let out = daemon.path("out");
    let (mut read, mut written) = (0, 0);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(12) {
        for path in ["/w", "/w/d"] {
            let put =
                daemon.run_with_input(Client::Docker, &["cp", "-", &format!("box:{path}")], &tar);
            written += usize::from(put.code == 0);
            victim.check();
        }
        for path in ["box:/w/d/.", "box:/w/d/sub/secret"] {
            let _ = fs::remove_dir_all(&out);
            fs::create_dir(&out).unwrap();
            let _ = daemon.docker(&["cp", path, out.to_str().unwrap()]);
            let found = ["secret", "sub/secret"].map(|name| fs::read_to_string(out.join(name)));
            for text in found.iter().flatten() {
                assert_eq!(text, "inside\n", "a file of the host was copied");
                read += 1;
            }
        }
    }
    assert!(
        read > 0 && written > 0,
        "some copies must win the race: {read} read, {written} written"
    );
}
