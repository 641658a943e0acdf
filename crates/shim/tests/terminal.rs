//! Containers with a terminal: raw streams, size, detach keys, end.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test ends at the first surprise")]

mod harness;

use harness::*;
use shim_protocol::{Event, Request, Response, Target};
use std::io::Read;

fn terminal(script: &str) -> Case {
    let mut case = Case::new(script);
    case.config.tty = true;
    case.config.open_stdin = true;
    case.config.console_size = Some([24, 80]);
    case
}

#[test]
fn a_terminal_has_its_size_echoes_and_is_logged_as_stdout() {
    let case = terminal("stty size; read x; echo got $x; stty size >&2");
    let mut daemon = case.shim();
    let client = daemon.attach(attach_to(Target::Init));
    case.run(&mut daemon);
    let seen = read_until(&client, "24 80\r\n");
    assert_eq!(seen, "24 80\r\n", "raw, no frames");
    daemon.ask(Request::Resize { target: Target::Init, height: 50, width: 132 });
    type_into(&client, b"hello\n");
    let mut rest = String::new();
    (&client).read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello\r\ngot hello\r\n50 132\r\n");
    assert_eq!(daemon.wait_exit().code, Some(0));
    let log = case.log();
    assert!(log.iter().all(|(stream, _)| stream == "stdout"));
    assert_eq!(log.last().unwrap().1, "50 132\r\n");
}

#[test]
fn detach_keys_end_one_attach_and_leave_the_process() {
    let case = terminal("while read x; do echo \"<$x>\"; done");
    let mut daemon = case.shim();
    let first = daemon.attach(attach_to(Target::Init));
    let second = daemon.attach(attach_to(Target::Init));
    case.run(&mut daemon);
    type_into(&first, b"a\x10b\n");
    read_until(&first, "<a\x10b>");
    read_until(&second, "<a\x10b>");
    type_into(&first, b"\x10");
    type_into(&first, b"\x11");
    let mut rest = Vec::new();
    (&first).read_to_end(&mut rest).unwrap();
    assert_eq!(daemon.next_event(), Event::Detached { target: Target::Init });
    type_into(&second, b"still\n");
    read_until(&second, "<still>");
    type_into(&second, b"\x04");
    assert_eq!(daemon.wait_exit().code, Some(0));
}

#[test]
fn ctrl_c_reaches_the_foreground_process() {
    let case =
        terminal("trap 'echo trapped; exit 7' INT; echo ready; while :; do sleep 0.05; done");
    let mut daemon = case.shim();
    let client = daemon.attach(attach_to(Target::Init));
    case.run(&mut daemon);
    read_until(&client, "ready");
    type_into(&client, b"\x03");
    read_until(&client, "trapped");
    assert_eq!(daemon.wait_exit().code, Some(7));
}

#[test]
fn a_state_directory_with_a_long_name_is_no_obstacle() {
    let mut case = terminal("echo far; exit 2");
    let deep = case.dir.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    // Everything moves into the deep directory.
    let bundle = deep.join("bundle");
    std::fs::rename(case.dir.path().join("bundle"), &bundle).unwrap();
    std::fs::write(bundle.join("shim.json"), serde_json::to_string(&case.config).unwrap()).unwrap();
    let state = deep.join("state");
    let status = std::process::Command::new(shim_program())
        .args(["--id", &case.id, "--bundle"])
        .arg(&bundle)
        .arg("--state-dir")
        .arg(&state)
        .status()
        .unwrap();
    assert!(status.success());
    let mut daemon = Daemon::connect(&state);
    daemon.ask(Request::Subscribe);
    let client = daemon.attach(attach_to(Target::Init));
    let Response::Created { .. } = daemon.ask(Request::Create) else { panic!() };
    assert_eq!(daemon.ask(Request::Start), Response::Started);
    read_until(&client, "far\r\n");
    assert_eq!(daemon.wait_exit().code, Some(2));
    case.config.tty = false;
}
