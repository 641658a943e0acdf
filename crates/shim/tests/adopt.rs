//! A shim that is killed, and another that takes its container over.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test ends at the first surprise")]

mod harness;

use harness::*;
use shim_protocol::{ContainerPhase, Request, Response, Target};
use std::path::Path;

/// Kills the shim; the container's process goes to whoever adopts orphans here.
fn kill_shim(case: &Case) {
    let pid = case.shim_pid();
    sys::pidfd::kill_child(pid.unsigned_abs(), 9).unwrap();
    // The shim is no child of this test: it may stay a zombie where nobody reaps.
    let stat = format!("/proc/{pid}/stat");
    eventually("the shim's end", || {
        std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "))
    });
}

/// Whether this kernel tells the exit of a process that another has reaped.
fn knows_exits() -> bool {
    use std::os::fd::AsFd;
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pidfd = sys::pidfd::open(child.id()).unwrap();
    child.wait().unwrap();
    sys::pidfd::exit_of(pidfd.as_fd()).is_ok_and(|exit| exit.is_some())
}

fn adopt(case: &Case, init: u32) -> Daemon {
    assert!(case.spawn(&["--adopt", "--pid", &init.to_string()]));
    let mut daemon = Daemon::connect(&case.state());
    assert_eq!(daemon.ask(Request::Subscribe), Response::Ok);
    daemon
}

#[test]
fn a_container_survives_its_shim_and_the_next_one_hears_all_it_says() {
    let mut case = Case::new("");
    let fifo = case.dir.path().join("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .unwrap();
    case.set_script(&format!(
        "echo first; read x < {}; echo between; echo between >&2; sleep 1; echo last; exit 6",
        fifo.display()
    ));
    let mut daemon = case.shim();
    let init = case.run(&mut daemon);
    eventually("the first line", || case.log().len() == 1);
    drop(daemon);
    kill_shim(&case);
    // Nobody listens now: the process must not be ended by it, and what it says stays in its pipe.
    std::fs::write(&fifo, "x\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(Path::new(&format!("/proc/{init}")).exists());
    let mut daemon = adopt(&case, init);
    let Response::State(state) = daemon.ask(Request::State) else { panic!() };
    assert_eq!((state.phase, state.pid), (ContainerPhase::Running, Some(init)));
    let client = daemon.attach(attach_to(Target::Init));
    let (client_exec, response) = daemon.exec(exec("e1", &["echo", "exec"]));
    assert!(matches!(response, Response::ExecStarted { .. }), "{response:?}");
    assert_eq!(read_frames(&client_exec).0, b"exec\n");
    let exit = daemon.wait_exit();
    if knows_exits() {
        assert_eq!(exit.code, Some(6));
    } else {
        assert!(matches!(exit.code, Some(6) | None), "never an invented code: {exit:?}");
    }
    assert_eq!(case.exit_record().exit, exit);
    assert!(read_frames(&client).0.ends_with(b"last\n"));
    let mut log = case.log();
    log.sort();
    let line = |stream: &str, text: &str| (stream.to_owned(), format!("{text}\n"));
    assert_eq!(
        log,
        [
            line("stderr", "between"),
            line("stdout", "between"),
            line("stdout", "first"),
            line("stdout", "last")
        ]
    );
}

#[test]
fn an_adopted_container_is_signalled_and_its_end_is_told() {
    let case = Case::new("exec sleep 60");
    let mut daemon = case.shim();
    let init = case.run(&mut daemon);
    drop(daemon);
    kill_shim(&case);
    let mut daemon = adopt(&case, init);
    let signal = Request::Signal { target: Target::Init, signal: 9 };
    assert_eq!(daemon.ask(signal), Response::Ok);
    let exit = daemon.wait_exit();
    assert!(!knows_exits() || exit.code == Some(137), "{exit:?}");
    assert!(case.state().join("exit.json").exists());
}

#[test]
fn a_process_that_is_gone_is_not_adopted() {
    let case = Case::new("true");
    let mut daemon = case.shim();
    let init = case.run(&mut daemon);
    daemon.wait_exit();
    daemon.wait_gone();
    assert!(!case.spawn(&["--adopt", "--pid", &init.to_string()]));
    assert!(case.state().join("exit.json").exists(), "what is known stays");
}
