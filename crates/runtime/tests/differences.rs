//! What showed when the same bundles were run under other runtimes: small things that callers see.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use harness::Bench;

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
