//! What the shim tells of a want of memory: a real one, in a cgroup of the test.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test ends at the first surprise")]

mod harness;

use harness::*;
use shim_protocol::Event;
use sys::cgroup::{Cgroups, Group};

/// Takes memory until it is killed, and asks to be the one: the shim is in the same group here.
const GREEDY: &str =
    "echo 900 > /proc/self/oom_score_adj; x=0123456789abcdef; while :; do x=$x$x; done";

/// A cgroup with a limit of memory; it goes when it is dropped.
struct Narrow(Group);

impl Narrow {
    fn new(name: &str) -> Narrow {
        let path = format!("/belljar-test-shim-{name}-{}", std::process::id());
        let group = Cgroups::detect().unwrap().group(&path);
        group.create().unwrap();
        let files = ["memory.max", "memory.swap.max"];
        let old = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
        for (file, value) in
            if group.is_version_2() { files } else { old }.into_iter().zip(["33554432", "33554432"])
        {
            // Without swap there is no second file.
            let written = group.write("memory", file, value);
            assert!(written.is_ok() || file.contains("sw"), "{written:?}");
        }
        if group.is_version_2() {
            let _ = group.write("memory", "memory.swap.max", "0");
        }
        Narrow(group)
    }

    /// Takes a process, and with it all that it makes.
    fn take(&self, pid: i32) {
        for place in self.0.places() {
            std::fs::write(place.directory.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.remove();
    }
}

#[test]
fn privileged_a_kill_for_want_of_memory_is_told_and_recorded() {
    let narrow = Narrow::new("child");
    // The greedy child is killed, the first process goes on and ends by itself.
    let case = Case::new(&format!("sh -c '{GREEDY}'; echo \"status $?\"; exit 5"));
    let mut daemon = case.shim();
    narrow.take(case.shim_pid());
    case.run(&mut daemon);
    // The end comes after it.
    assert_eq!(daemon.next_event(), Event::OutOfMemory { kills: 1 });
    assert_eq!(daemon.wait_exit().code, Some(5));
    assert!(case.log().iter().any(|(_, line)| line == "status 137\n"), "{:?}", case.log());
    let record = case.exit_record();
    assert_eq!(record.oom_kills, 1);
    assert_eq!(record.own_limit_hits > 0, narrow.0.is_version_2());
}

#[test]
fn privileged_an_end_for_want_of_memory_is_recorded() {
    let narrow = Narrow::new("init");
    let case = Case::new(GREEDY);
    let mut daemon = case.shim();
    narrow.take(case.shim_pid());
    case.run(&mut daemon);
    let exit = daemon.wait_exit();
    assert_eq!((exit.code, exit.signal), (Some(137), Some(9)));
    assert_eq!(case.exit_record().oom_kills, 1);
}

#[test]
fn privileged_enough_memory_is_recorded_too() {
    let narrow = Narrow::new("enough");
    let case = Case::new("exit 0");
    let mut daemon = case.shim();
    narrow.take(case.shim_pid());
    case.run(&mut daemon);
    assert!(matches!(daemon.next_event(), Event::Exited(exit) if exit.code == Some(0)));
    assert_eq!(case.exit_record().oom_kills, 0);
}
