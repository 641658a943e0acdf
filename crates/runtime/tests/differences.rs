//! What showed when the same bundles were run under other runtimes: small things that callers see.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::process::Command;

use harness::{Bench, PROGRAM};
use serde_json::json;

#[test]
fn privileged_signal_0_asks_whether_there_is_a_process() {
    let Some(bench) = Bench::new("signal-0", &["sleep", "1000"]) else { return };
    assert!(bench.create(&[]).status.success(), "{}", bench.output());
    assert!(bench.run(&["start", &bench.id]).status.success());
    assert!(bench.run(&["kill", &bench.id, "0"]).status.success());
    assert!(bench.run(&["kill", &bench.id, "KILL"]).status.success());
    bench.wait_for_status("stopped");
    assert!(!bench.run(&["kill", &bench.id, "0"]).status.success());
}

/// Where `/dev` is shared, a copy of a device's mount must not stay a peer of it: what the container mounts over it would arrive on
/// the host.
#[test]
fn privileged_devices_of_a_user_namespace_are_no_peers_of_the_hosts() {
    let Some(mut bench) = Bench::new("peers", &["cat", "/proc/self/mountinfo"]) else { return };
    let namespaces = bench.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({ "type": "user" }));
    for maps in ["uidMappings", "gidMappings"] {
        bench.spec["linux"][maps] =
            json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    }
    bench.write_spec();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "shared"]).arg(PROGRAM);
    command.arg("--root").arg(bench.root());
    command.args(["run", "--bundle"]).arg(bench.bundle()).arg(&bench.id);
    let output = command.output().unwrap();
    let mounts = String::from_utf8_lossy(&output.stdout);
    assert!(mounts.contains(" /dev/null "), "{mounts} {}", String::from_utf8_lossy(&output.stderr));
    assert!(!mounts.contains(" shared:"), "{mounts}");
}

/// On version 1 the runtime is in the group for a moment: it must not be what the kernel ends, for nobody would clean up.
#[test]
fn privileged_a_memory_limit_that_fits_no_process_is_refused() {
    let Some(mut bench) = Bench::new("too-low", &["true"]) else { return };
    bench.spec["linux"]["resources"] = json!({ "memory": { "limit": 4096 } });
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("memory limit too low"), "{err}");
    bench.assert_nothing_left();
}
