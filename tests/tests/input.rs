//! Bad input: clear errors that name the object, in the words that clients parse, and nothing left behind.
#![forbid(unsafe_code)]

use std::fs;
use std::process::{Command, Stdio};

use acceptance::{Client, Daemon, programs, with_both_clients};

with_both_clients!(
    unknown_image,
    names,
    missing_and_not_executable_commands,
    bind_sources,
    flag_values,
    a_volume_subpath_does_not_leave_the_volume,
    daemon_not_running,
    socket_without_permission,
    states,
);

fn busybox() -> Daemon {
    let daemon = Daemon::start();
    daemon.load("busybox");
    daemon
}

fn unknown_image(client: Client) {
    let daemon =
        Daemon::with(&["--registry-mirror", &format!("http://{}", acceptance::registry())]);
    let out = daemon.run(client, &["run", "no-such-image:1", "true"]);
    out.fails(125, "Unable to find image 'no-such-image:1' locally");
    assert!(out.stderr.contains("no-such-image"), "{}", out.stderr);
    daemon.run(client, &["inspect", "no-such-thing"]).fails(1, "no-such-thing");
    daemon.run(client, &["rmi", "no-such-image"]).fails(1, "No such image: no-such-image:latest");
    daemon.run(client, &["run", "Upper", "true"]).fails(125, "must be lowercase");
}

fn names(client: Client) {
    let daemon = busybox();
    let _ = daemon.run(client, &["create", "--name", "taken", "busybox"]).ok();
    daemon
        .run(client, &["create", "--name", "taken", "busybox"])
        .fails(1, "Conflict. The container name \"/taken\" is already in use");
    daemon
        .run(client, &["run", "--name", "taken", "busybox"])
        .fails(125, "is already in use by container");
    daemon
        .run(client, &["create", "--name", "-bad!", "busybox"])
        .fails(1, "Invalid container name (-bad!)");
    daemon.run(client, &["start", "nobody"]).fails(1, "No such container: nobody");
    daemon.run(client, &["logs", "nobody"]).fails(1, "No such container: nobody");
    daemon.run(client, &["exec", "nobody", "true"]).fails(1, "No such container: nobody");
}

fn missing_and_not_executable_commands(client: Client) {
    let daemon = busybox();
    daemon
        .run(client, &["run", "--name", "none", "busybox", "nope"])
        .fails(127, "exec: \"nope\": executable file not found in $PATH");
    assert_eq!(
        daemon.docker(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "none"]).ok(),
        "created 127"
    );
    daemon
        .run(client, &["run", "--rm", "busybox", "/no/such"])
        .fails(127, "no such file or directory");
    daemon.run(client, &["run", "--rm", "busybox", "/etc/passwd"]).fails(126, "permission denied");
    let _ = daemon.run(client, &["run", "-d", "--name", "up", "busybox", "sleep", "1000"]).ok();
    let out = daemon.run(client, &["exec", "up", "nope"]);
    assert_eq!(out.code, 127, "{out:?}");
    let out = daemon.run(client, &["exec", "up", "/etc/passwd"]);
    assert_eq!(out.code, 126, "{out:?}");
    assert_eq!(daemon.run(client, &["run", "--rm", "busybox", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(
        daemon
            .run(client, &["run", "--rm", "busybox", "sh", "-c", "kill -9 $$; sleep 1; exit 3"])
            .code,
        3,
        "PID 1 cannot kill itself"
    );
    assert_eq!(daemon.run(client, &["exec", "up", "sh", "-c", "kill -9 $$"]).code, 137);
}

fn bind_sources(client: Client) {
    let daemon = busybox();
    let missing = daemon.path("missing");
    let mount = format!("type=bind,src={},dst=/x", missing.display());
    daemon
        .run(client, &["run", "--rm", "--mount", &mount, "busybox", "true"])
        .fails(125, "bind source path does not exist");
    let bind = format!("{}:/x", missing.display());
    let _ = daemon.run(client, &["run", "--rm", "-v", &bind, "busybox", "true"]).ok();
    assert!(missing.is_dir(), "-v makes the missing directory");
    daemon
        .run(client, &["run", "--rm", "-v", "/a:relative", "busybox", "true"])
        .fails(125, "relative");
}

fn a_volume_subpath_does_not_leave_the_volume(client: Client) {
    let daemon = busybox();
    let _ = daemon
        .run(
            client,
            &[
                "run",
                "--rm",
                "-v",
                "vol:/v",
                "busybox",
                "sh",
                "-c",
                "mkdir /v/in; ln -s /etc /v/out",
            ],
        )
        .ok();
    let mount = |sub: &str| format!("type=volume,src=vol,dst=/x,volume-subpath={sub}");
    let _ =
        daemon.run(client, &["run", "--rm", "--mount", &mount("in"), "busybox", "ls", "/x"]).ok();
    daemon
        .run(client, &["run", "--rm", "--mount", &mount("out"), "busybox", "ls", "/x"])
        .fails(125, "cannot access path");
    daemon
        .run(client, &["run", "--rm", "--mount", &mount("../.."), "busybox", "ls", "/x"])
        .fails(125, "subpath");
}

fn flag_values(client: Client) {
    let daemon = busybox();
    daemon.run(client, &["run", "-m", "lots", "busybox"]).fails(125, "invalid size: 'lots'");
    daemon
        .run(client, &["run", "-m", "1m", "busybox"])
        .fails(125, "Minimum memory limit allowed is 6MB");
    daemon
        .run(client, &["run", "--cpus", "4096", "busybox"])
        .fails(125, "ange of CPUs is from 0.01 to");
    daemon
        .run(client, &["run", "--network", "nowhere", "busybox"])
        .fails(125, "network nowhere not found");
    daemon.run(client, &["run", "--restart", "sometimes", "busybox"]).fails(125, "sometimes");
    daemon.run(client, &["run", "--cap-add", "NONSENSE", "busybox"]).fails(125, "NONSENSE");
    daemon.run(client, &["run", "--no-such-flag", "busybox"]).fails(125, "--no-such-flag");
    daemon.run(client, &["run", "--stop-signal", "SIGNOPE", "busybox"]).fails(125, "SIGNOPE");
    daemon
        .run(client, &["run", "-u", "nobody-here", "busybox"])
        .fails(125, "unable to find user nobody-here");
    daemon.run(client, &["kill", "-s", "NOPE", "x"]).fails(1, "nvalid signal: NOPE");
    assert_eq!(daemon.docker(&["ps", "-aq", "--filter", "status=running"]).ok(), "");
}

fn daemon_not_running(client: Client) {
    let daemon = Daemon::prepare(&[]);
    let out = daemon.run(client, &["ps"]);
    out.fails(1, "Cannot connect to the");
    assert!(out.stderr.contains(&daemon.host()), "{}", out.stderr);
}

fn socket_without_permission(client: Client) {
    let daemon = Daemon::start();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(daemon.path("sock")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o660, "the socket is root's and its group's");
    let program = match client {
        Client::Docker => "/usr/local/bin/docker".to_owned(),
        Client::Belljar => daemon.path("belljar").display().to_string(),
    };
    if client == Client::Belljar {
        fs::copy(programs().join("belljar"), &program).unwrap();
    } else if !std::path::Path::new(&program).exists() {
        return socket_without_permission(Client::Belljar);
    }
    let out = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", &program, "ps"])
        .env("DOCKER_HOST", daemon.host())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("permission denied"), "{text}");
}

fn states(client: Client) {
    let daemon = busybox();
    let _ = daemon.run(client, &["create", "--name", "idle", "busybox", "sleep", "1000"]).ok();
    daemon.run(client, &["exec", "idle", "true"]).fails(1, "is not running");
    daemon.run(client, &["kill", "idle"]).fails(1, "is not running");
    let _ = daemon.run(client, &["stop", "idle"]).ok();
    let _ = daemon.run(client, &["start", "idle"]).ok();
    let _ = daemon.run(client, &["start", "idle"]).ok();
    daemon
        .run(client, &["rm", "idle"])
        .fails(1, "container is running: stop the container before removing or force remove");
    let _ = daemon.run(client, &["rm", "-f", "idle"]).ok();
    daemon.run(client, &["rm", "idle"]).fails(1, "No such container: idle");
}

#[test]
fn state_directory_on_a_read_only_file_system() {
    let daemon = Daemon::prepare(&[]);
    let data = daemon.path("data");
    fs::create_dir_all(&data).unwrap();
    let mount =
        |args: &[&str]| assert!(Command::new("mount").args(args).status().unwrap().success());
    mount(&["-t", "tmpfs", "-o", "ro", "tmpfs", data.to_str().unwrap()]);
    let out = Command::new(programs().join("belljard"))
        .args([
            "--data-root",
            data.to_str().unwrap(),
            "--exec-root",
            daemon.path("run").to_str().unwrap(),
        ])
        .args(["--host", &daemon.host(), "--pidfile", daemon.path("pid").to_str().unwrap()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success());
    assert!(
        text.contains(data.to_str().unwrap()) && text.contains("Read-only file system"),
        "{text}"
    );
}

#[test]
fn state_directory_on_a_full_file_system() {
    let mut daemon = Daemon::prepare(&[]);
    let data = daemon.path("data");
    fs::create_dir_all(&data).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs", data.to_str().unwrap()])
        .status()
        .unwrap();
    assert!(mounted.success());
    daemon.restart();
    daemon.load("busybox");
    let tar = acceptance::image_tar("debian-trixie");
    let out = daemon.docker(&["load", "-i", tar.to_str().unwrap()]);
    assert_ne!(out.code, 0);
    assert!(
        format!("{}{}", out.stdout, out.stderr).to_lowercase().contains("no space left on device"),
        "{out:?}"
    );
    let images = daemon.docker(&["images", "--format", "{{.Repository}}"]).ok();
    assert!(!images.contains("debian"), "{images}");
    assert_eq!(daemon.docker(&["run", "--rm", "busybox", "echo", "still here"]).ok(), "still here");
}
