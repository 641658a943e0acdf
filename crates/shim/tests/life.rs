//! A container's life from `Create` to `exit.json`, with the streams of clients that are attached meanwhile.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test ends at the first surprise")]

mod harness;

use harness::*;
use shim_protocol::{ContainerPhase, Event, Request, Response, Target};
use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

#[test]
fn output_reaches_client_and_log_and_the_exit_is_recorded_before_it_is_told() {
    let case = Case::new("echo out; echo err >&2; printf tail; exit 3");
    let mut daemon = case.shim();
    let Response::Hello { version, pid, container_id } = daemon.ask(Request::Hello) else {
        panic!()
    };
    assert_eq!((version, container_id), (1, case.id.clone()));
    assert_eq!(pid as i32, case.shim_pid());
    let cmdline = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(cmdline.contains(&case.id));
    let client = daemon.attach(attach_to(Target::Init));
    let init = case.run(&mut daemon);
    let exit = daemon.wait_exit();
    assert_eq!((exit.code, exit.signal), (Some(3), None));
    let record = case.exit_record();
    assert_eq!((record.pid, record.exit), (init, exit));
    assert!(!case.state().join("shim.sock").exists());
    let (out, err) = read_frames(&client);
    assert_eq!((out.as_slice(), err.as_slice()), (&b"out\ntail"[..], &b"err\n"[..]));
    drop(client);
    daemon.wait_gone();
    let mut log = case.log();
    log.sort();
    let line = |stream: &str, text: &str| (stream.to_owned(), text.to_owned());
    assert_eq!(log, [line("stderr", "err\n"), line("stdout", "out\n"), line("stdout", "tail")]);
    eventually("the shim's end", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_signal_ends_as_128_plus_its_number() {
    let case = Case::new("kill -9 $$");
    let mut daemon = case.shim();
    case.run(&mut daemon);
    let exit = daemon.wait_exit();
    assert_eq!((exit.code, exit.signal), (Some(137), Some(9)));
}

#[test]
fn a_command_that_is_missing_fails_create_and_create_may_be_tried_again() {
    let case = Case::with_args(&["no-such-command"]);
    let mut daemon = case.shim();
    let client = daemon.attach(attach_to(Target::Init));
    for _ in 0..2 {
        let Response::Failed(failure) = daemon.ask(Request::Create) else { panic!() };
        assert_eq!((failure.step.as_str(), failure.exit_code), ("runtime create", Some(127)));
        assert!(failure.chain[0].contains("executable file not found in $PATH"), "{failure:?}");
    }
    assert_eq!(read_frames(&client), (vec![], vec![]), "the client is let go without a word");
    assert_eq!(daemon.ask(Request::Shutdown), Response::Ok);
    daemon.wait_gone();
    assert!(!case.state().join("shim.sock").exists() && !case.state().join("exit.json").exists());
}

#[test]
fn a_runtime_that_is_missing_is_named() {
    let mut case = Case::new("true");
    case.config.runtime = "/no/such/runtime".into();
    let mut daemon = case.shim();
    let Response::Failed(failure) = daemon.ask(Request::Create) else { panic!() };
    assert_eq!(failure.errno, Some(2));
    assert!(failure.chain[0].starts_with("run `/no/such/runtime`"), "{failure:?}");
}

#[test]
fn requests_out_of_order_are_refused_and_leave_the_shim_well() {
    let case = Case::new("sleep 60");
    let mut daemon = case.shim();
    assert!(matches!(daemon.ask(Request::Start), Response::Failed(_)));
    assert!(matches!(daemon.ask(Request::Unknown), Response::Failed(_)));
    let exec = Request::Exec(Box::new(exec("e", &["true"])));
    assert!(matches!(daemon.ask(exec), Response::Failed(_)));
    case.run(&mut daemon);
    assert!(matches!(daemon.ask(Request::Create), Response::Failed(_)));
    assert!(matches!(daemon.ask(Request::Start), Response::Failed(_)));
    assert!(matches!(daemon.ask(Request::Shutdown), Response::Failed(_)));
    let absent = Target::Exec("nobody".into());
    let signal = Request::Signal { target: absent, signal: 9 };
    assert!(matches!(daemon.ask(signal), Response::Failed(_)));
    let signal = |signal| Request::Signal { target: Target::Init, signal };
    assert!(matches!(daemon.ask(signal(4_711)), Response::Failed(_)));
    assert_eq!(daemon.ask(signal(15)), Response::Ok);
    assert_eq!(daemon.wait_exit().signal, Some(15));
}

#[test]
fn bytes_that_are_no_frame_end_that_connection_only() {
    let case = Case::new("true");
    let mut daemon = case.shim();
    let mut hostile = sys::scm::connect(&case.state().join("shim.sock")).unwrap();
    type_into(&hostile, b"GET / HTTP/1.1\r\n\r\n");
    let mut rest = Vec::new();
    let _ = hostile.read_to_end(&mut rest);
    assert!(rest.is_empty());
    case.run(&mut daemon);
    assert_eq!(daemon.wait_exit().code, Some(0));
}

#[test]
fn a_daemon_that_comes_back_finds_everything() {
    let case = Case::new("read x; echo $x; exit 5");
    let case = Case {
        config: shim_protocol::ShimConfig { open_stdin: true, ..case.config.clone() },
        ..case
    };
    let mut first = case.shim();
    let client = first.attach(attach_to(Target::Init));
    let init = case.run(&mut first);
    drop(first);
    let mut second = Daemon::connect(&case.state());
    let Response::State(state) = second.ask(Request::State) else { panic!() };
    assert_eq!((state.phase, state.pid, state.clients), (ContainerPhase::Running, Some(init), 1));
    drop(second);
    type_into(&client, b"alone\n");
    let (out, _) = read_frames(&client);
    assert_eq!(out, b"alone\n", "the client never noticed");
    eventually("exit.json", || case.state().join("exit.json").exists());
    assert_eq!(case.exit_record().exit.code, Some(5));
    drop(client);
}

#[test]
fn a_late_subscriber_hears_of_the_end_at_once() {
    let case = Case::new("echo x");
    let mut daemon = case.shim();
    let mut late = Daemon::connect(&case.state());
    let _ = late.ask(Request::Hello);
    // A client that never reads keeps the shim for a while.
    let _client = daemon.attach(attach_to(Target::Init));
    case.run(&mut daemon);
    daemon.wait_exit();
    assert_eq!(late.ask(Request::Subscribe), Response::Ok);
    assert!(matches!(late.next_event(), Event::Exited(_)));
}

#[test]
fn standard_input_is_passed_on_and_ends_with_the_client_if_so_configured() {
    let mut case = Case::new("cat; echo end");
    case.config.open_stdin = true;
    case.config.stdin_once = true;
    let mut daemon = case.shim();
    let mut attach = attach_to(Target::Init);
    attach.initial = b"early ".to_vec();
    attach.preface = b"HTTP/1.1 101 UPGRADED\r\n\r\n".to_vec();
    let mut client = daemon.attach(attach);
    let mut head = [0; 25];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101 UPGRADED\r\n\r\n");
    type_into(&client, b"late\n");
    client.shutdown(Shutdown::Write).unwrap();
    case.run(&mut daemon);
    let (out, _) = read_frames(&client);
    assert_eq!(out, b"early late\nend\n");
    assert_eq!(daemon.wait_exit().code, Some(0));
}

#[test]
fn without_stdin_once_a_client_that_leaves_takes_no_input_away() {
    let mut case = Case::new("cat");
    case.config.open_stdin = true;
    let mut daemon = case.shim();
    case.run(&mut daemon);
    let client = daemon.attach(attach_to(Target::Init));
    type_into(&client, b"one\n");
    read_until(&client, "one");
    client.shutdown(Shutdown::Write).unwrap();
    drop(client);
    let client = daemon.attach(attach_to(Target::Init));
    type_into(&client, b"two\n");
    read_until(&client, "two");
    assert_eq!(daemon.ask(Request::CloseStdin { target: Target::Init }), Response::Ok);
    assert_eq!(daemon.wait_exit().code, Some(0));
}

#[test]
fn a_megabyte_goes_in_and_out_unchanged() {
    let mut case = Case::new("exec cat");
    case.config.open_stdin = true;
    case.config.stdin_once = true;
    case.config.log.driver = shim_protocol::LogDriver::None;
    let mut daemon = case.shim();
    let client = daemon.attach(attach_to(Target::Init));
    case.run(&mut daemon);
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let (writer, sent) = (client.try_clone().unwrap(), bytes.clone());
    let thread = std::thread::spawn(move || {
        type_into(&writer, &sent);
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let (out, _) = read_frames(&client);
    thread.join().unwrap();
    assert!(out == bytes, "{} bytes came back", out.len());
}

#[test]
fn a_client_that_does_not_read_holds_the_output_back_and_nobody_else_up() {
    let mut case =
        Case::new("i=0; while [ $i -lt 100000 ]; do echo line $i; i=$((i+1)); done; echo done >&2");
    case.config.log.driver = shim_protocol::LogDriver::None;
    let mut daemon = case.shim();
    let slow = daemon.attach(attach_to(Target::Init));
    let mut only_err = attach_to(Target::Init);
    only_err.stdout = false;
    let other = daemon.attach(only_err);
    case.run(&mut daemon);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let Response::State(state) = daemon.ask(Request::State) else { panic!() };
    assert_eq!(state.phase, ContainerPhase::Running, "back-pressure holds the process");
    let (client, response) = daemon.exec(exec("e1", &["echo", "through"]));
    assert!(matches!(response, Response::ExecStarted { .. }));
    assert_eq!(read_frames(&client).0, b"through\n");
    let (out, _) = read_frames(&slow);
    assert!(out.ends_with(b"line 99999\n"));
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 100_000);
    assert_eq!(read_frames(&other), (vec![], b"done\n".to_vec()));
    daemon.wait_exit();
}

#[test]
fn a_client_that_vanishes_lets_the_output_flow_again() {
    let mut case = Case::new("head -c 3000000 /dev/zero; echo; exit 4");
    case.config.log.max_size = Some(100_000);
    let mut daemon = case.shim();
    let client: UnixStream = daemon.attach(attach_to(Target::Init));
    case.run(&mut daemon);
    std::thread::sleep(std::time::Duration::from_millis(200));
    drop(client);
    assert_eq!(daemon.wait_exit().code, Some(4));
}

#[test]
fn output_that_a_survivor_holds_open_is_given_up_after_a_moment() {
    let case = Case::new("(sleep 30; echo never) & echo now");
    let mut daemon = case.shim();
    case.run(&mut daemon);
    let start = std::time::Instant::now();
    assert_eq!(daemon.wait_exit().code, Some(0));
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!(case.log(), [("stdout".to_owned(), "now\n".to_owned())]);
}
