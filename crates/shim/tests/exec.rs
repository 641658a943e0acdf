//! Execs: streams, exit codes, failures, terminals.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test ends at the first surprise")]

mod harness;

use harness::*;
use shim_protocol::{Event, Request, Response, Target};
use std::io::Read;
use std::net::Shutdown;
use std::time::{Duration, Instant};

fn running() -> (Case, Daemon) {
    let case = Case::new("exec sleep 60");
    let mut daemon = case.shim();
    case.run(&mut daemon);
    (case, daemon)
}

fn stop(daemon: &mut Daemon) {
    daemon.ask(Request::Signal { target: Target::Init, signal: 9 });
    assert_eq!(daemon.wait_exit().code, Some(137));
}

#[test]
fn an_exec_has_its_own_streams_and_code_and_ends_with_its_input() {
    let (_case, mut daemon) = running();
    let (client, response) = daemon.exec(exec("e1", &["sh", "-c", "cat; echo err >&2; exit 9"]));
    assert!(matches!(response, Response::ExecStarted { .. }), "{response:?}");
    type_into(&client, b"typed\n");
    client.shutdown(Shutdown::Write).unwrap();
    let Event::ExecExited { exec_id, exit } = daemon.next_event() else { panic!() };
    assert_eq!((exec_id.as_str(), exit.code), ("e1", Some(9)));
    let Response::State(state) = daemon.ask(Request::State) else { panic!() };
    assert_eq!(state.execs[0].exit, Some(exit));
    assert_eq!(daemon.ask(Request::ExecSeen { exec_id }), Response::Ok);
    assert_eq!(read_frames(&client), (b"typed\n".to_vec(), b"err\n".to_vec()));
    stop(&mut daemon);
}

#[test]
fn a_client_sees_the_end_only_after_the_daemon_has_taken_the_exit_in() {
    let (_case, mut daemon) = running();
    let (mut client, _) = daemon.exec(exec("e1", &["echo", "x"]));
    let Event::ExecExited { exec_id, .. } = daemon.next_event() else { panic!() };
    let mut buffer = [0; 64];
    assert_eq!(client.read(&mut buffer).unwrap(), 10);
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(client.read(&mut buffer).is_err(), "still open");
    let start = Instant::now();
    daemon.ask(Request::ExecSeen { exec_id });
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read(&mut buffer).unwrap(), 0);
    assert!(start.elapsed() < Duration::from_millis(100));
    // A daemon that never answers holds nobody up for long.
    let (client, _) = daemon.exec(exec("e2", &["true"]));
    let start = Instant::now();
    read_frames(&client);
    assert!(start.elapsed() < Duration::from_secs(2));
    stop(&mut daemon);
}

#[test]
fn an_exec_that_cannot_run_tells_its_client_and_the_daemon_why() {
    let (_case, mut daemon) = running();
    let (client, response) = daemon.exec(exec("e1", &["no-such-command"]));
    let Response::Failed(failure) = response else { panic!() };
    assert_eq!((failure.step.as_str(), failure.exit_code), ("runtime exec", Some(127)));
    let (out, _) = read_frames(&client);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("OCI runtime exec failed: exec failed: unable to start"), "{text}");
    assert!(text.ends_with("executable file not found in $PATH: unknown\r\n"), "{text}");
    let Response::State(state) = daemon.ask(Request::State) else { panic!() };
    assert_eq!(state.execs[0].exit.unwrap().code, Some(127));
    stop(&mut daemon);
}

#[test]
fn an_exec_without_a_client_runs_to_nowhere() {
    let (case, mut daemon) = running();
    let mark = case.dir.path().join("mark");
    let mut detached = exec("e1", &["sh", "-c", &format!("echo x; cat; touch {}", mark.display())]);
    detached.attach = None;
    detached.stdin = false;
    assert!(matches!(
        daemon.ask(Request::Exec(Box::new(detached.clone()))),
        Response::ExecStarted { .. }
    ));
    let Event::ExecExited { exit, .. } = daemon.next_event() else { panic!() };
    assert_eq!(exit.code, Some(0));
    assert!(mark.exists());
    assert!(
        matches!(daemon.ask(Request::Exec(Box::new(detached))), Response::Failed(_)),
        "id in use"
    );
    assert!(case.log().is_empty(), "execs are not logged");
    stop(&mut daemon);
}

#[test]
fn the_end_of_the_container_ends_its_execs() {
    let (_case, mut daemon) = running();
    let (client, _) = daemon.exec(exec("e1", &["sleep", "60"]));
    let start = Instant::now();
    stop(&mut daemon);
    assert_eq!(read_frames(&client), (vec![], vec![]));
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(client);
    daemon.wait_gone();
}

#[test]
fn a_hundred_execs_at_once_all_report() {
    let (_case, mut daemon) = running();
    let mut clients = Vec::new();
    for number in 0..100 {
        let id = format!("e{number}");
        let (client, response) =
            daemon.exec(exec(&id, &["sh", "-c", &format!("echo {id}; exit {number}")]));
        assert!(matches!(response, Response::ExecStarted { .. }), "{response:?}");
        clients.push((client, id));
    }
    for (client, id) in clients {
        assert_eq!(read_frames(&client).0, format!("{id}\n").into_bytes());
    }
    let mut codes = Vec::new();
    while codes.len() < 100 {
        let Event::ExecExited { exec_id, exit } = daemon.next_event() else { panic!() };
        assert_eq!(format!("e{}", exit.code.unwrap()), exec_id);
        codes.push(exit.code);
    }
    stop(&mut daemon);
}

#[test]
fn an_exec_gets_a_terminal_of_its_size() {
    let (_case, mut daemon) = running();
    let mut exec = exec("e1", &["sh", "-c", "stty size; read x; stty size; exit 3"]);
    exec.tty = true;
    exec.console_size = Some([33, 101]);
    let (client, response) = daemon.exec(exec);
    assert!(matches!(response, Response::ExecStarted { .. }), "{response:?}");
    read_until(&client, "33 101\r\n");
    let target = Target::Exec("e1".into());
    daemon.ask(Request::Resize { target, height: 44, width: 99 });
    type_into(&client, b"go\n");
    read_until(&client, "44 99\r\n");
    let Event::ExecExited { exit, .. } = daemon.next_event() else { panic!() };
    assert_eq!(exit.code, Some(3));
    stop(&mut daemon);
}
