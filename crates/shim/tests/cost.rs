//! What a shim costs. Measurements of the release program: `BELLJAR_SHIM=…/belljar-shim cargo test -p shim --test cost -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test ends at the first surprise")]

mod harness;

use harness::*;
use shim_protocol::{LogDriver, Request, Response, Target};
use std::io::Read;
use std::time::Instant;

fn smaps(pid: i32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "a measurement"]
fn memory_of_twenty() {
    let cases: Vec<Case> = (0..20).map(|_| Case::new("seq 1 20000; exec sleep 60")).collect();
    let mut daemons: Vec<Daemon> = cases.iter().map(Case::shim).collect();
    for (case, daemon) in cases.iter().zip(&mut daemons) {
        case.run(daemon);
        let (client, _) = daemon.exec(exec("e1", &["echo", "x"]));
        read_frames(&client);
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    let pss: Vec<u64> = cases.iter().map(|case| smaps(case.shim_pid(), "Pss:")).collect();
    let anonymous: Vec<u64> =
        cases.iter().map(|case| smaps(case.shim_pid(), "Anonymous:")).collect();
    println!("pss KiB {pss:?}\nanonymous KiB {anonymous:?}");
    for daemon in &mut daemons {
        daemon.ask(Request::Signal { target: Target::Init, signal: 9 });
        daemon.wait_exit();
    }
    let mean = pss.iter().sum::<u64>() / 20;
    assert!(mean <= 300, "{mean} KiB each");
}

#[test]
#[ignore = "a measurement"]
fn a_hundred_megabytes() {
    for (driver, line) in
        [(LogDriver::JsonFile, 80), (LogDriver::None, 80), (LogDriver::JsonFile, 10)]
    {
        let text = "x".repeat(line - 1);
        let mut case = Case::new(&format!("yes {text} | head -c 100000000"));
        case.config.log.driver = driver;
        let mut daemon = case.shim();
        let mut client = daemon.attach(attach_to(Target::Init));
        case.run(&mut daemon);
        let start = Instant::now();
        let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            match client.read(&mut buffer).unwrap() {
                0 => break,
                len => total += len,
            }
        }
        println!("{driver:?}, lines of {line}: {total} bytes in {:?}", start.elapsed());
        assert!(matches!(daemon.ask(Request::State), Response::State(_)));
    }
}

#[test]
#[ignore = "a measurement"]
fn start_of_a_shim() {
    let case = Case::new("true");
    let mut times = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        assert!(case.spawn(&[]));
        times.push(start.elapsed());
        let mut daemon = Daemon::connect(&case.state());
        daemon.ask(Request::Shutdown);
        daemon.wait_gone();
    }
    times.sort();
    println!("spawn to listening: min {:?}, median {:?}", times[0], times[25]);
}
