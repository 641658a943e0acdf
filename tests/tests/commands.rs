//! Every command of the first light, with both clients.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use acceptance::{Client, Daemon, Terminal, wait_for, with_both_clients};

with_both_clients!(
    run_passes_what_it_is_given,
    files_and_devices_inside,
    default_security,
    volumes_and_mounts,
    exec_variants,
    logs_variants,
    log_rotation,
    attach_streams_and_stdin,
    list_filter_and_format,
    stop_kill_restart_wait_rename,
    restart_policies,
    auto_remove_and_cidfile,
    copy_in_and_out,
    top_stats_events_info_version,
    image_commands,
    networks_of_containers,
    a_closed_pipe_is_quiet,
    exec_on_a_terminal,
);

fn busybox() -> Daemon {
    let daemon = Daemon::start();
    daemon.load("busybox");
    daemon
}

fn run_passes_what_it_is_given(client: Client) {
    let daemon = busybox();
    let file = daemon.path("env");
    fs::write(&file, "FROM_FILE=1\n# comment\n").unwrap();
    let out = daemon.run(
        client,
        &[
            "run",
            "--rm",
            "-e",
            "A=b c",
            "--env-file",
            file.to_str().unwrap(),
            "-w",
            "/tmp",
            "-u",
            "1000:1001",
            "--hostname",
            "jar",
            "-l",
            "k=v",
            "--entrypoint",
            "/bin/sh",
            "busybox",
            "-c",
            "echo $A $FROM_FILE; pwd; id -u; id -g; hostname",
        ],
    );
    assert_eq!(out.ok().lines().collect::<Vec<_>>(), ["b c 1", "/tmp", "1000", "1001", "jar"]);
    let limits = daemon
        .run(
            client,
            &[
                "run",
                "--rm",
                "--ulimit",
                "nofile=77:88",
                "busybox",
                "sh",
                "-c",
                "ulimit -n; ulimit -Hn",
            ],
        )
        .ok();
    assert_eq!(limits.lines().collect::<Vec<_>>(), ["77", "88"]);
    let read_only = daemon.run(
        client,
        &[
            "run",
            "--rm",
            "--read-only",
            "--tmpfs",
            "/t:size=64k",
            "busybox",
            "sh",
            "-c",
            "touch /t/ok && touch /x",
        ],
    );
    assert_eq!(read_only.code, 1, "{read_only:?}");
    assert!(read_only.stderr.contains("Read-only file system"), "{read_only:?}");
    let init = daemon
        .run(
            client,
            &["run", "--rm", "--init", "busybox", "sh", "-c", "readlink /proc/1/exe; echo $$"],
        )
        .ok();
    assert!(!init.lines().any(|l| l == "1"), "the command is not PID 1 under --init: {init}");
}

fn files_and_devices_inside(client: Client) {
    let daemon = busybox();
    let host = daemon
        .run(
            client,
            &["run", "--rm", "--network", "none", "busybox", "cat", "/etc/hostname", "/etc/hosts"],
        )
        .ok();
    assert!(host.contains("127.0.0.1\tlocalhost"), "{host}");
    let devices = daemon.run(client, &["run", "--rm", "busybox", "ls", "/dev"]).ok();
    let devices: Vec<&str> = devices.split_whitespace().collect();
    for name in [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ] {
        assert!(devices.contains(&name), "{name}: {devices:?}");
    }
}

fn default_security(client: Client) {
    let daemon = busybox();
    let status = |args: &[&str]| {
        let mut words = vec!["run", "--rm"];
        words.extend(args);
        words.extend(["busybox", "cat", "/proc/self/status"]);
        daemon.run(client, &words).ok()
    };
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("{name}: {text}")).trim().to_owned()
    };
    let default = status(&[]);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(&default, set), "00000000a80425fb", "Docker's 14 capabilities");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(field(&default, set), "0000000000000000");
    }
    assert_eq!(field(&default, "Seccomp"), "2");
    assert_eq!(field(&status(&["--cap-drop", "ALL"]), "CapEff"), "0000000000000000");
    assert_eq!(
        field(&status(&["--cap-drop", "ALL", "--cap-add", "NET_RAW"]), "CapEff"),
        "0000000000002000"
    );
    assert_eq!(field(&status(&["--security-opt", "no-new-privileges"]), "NoNewPrivs"), "1");
    assert_eq!(field(&status(&["--security-opt", "seccomp=unconfined"]), "Seccomp"), "0");
    let privileged = status(&["--privileged"]);
    assert_eq!(field(&privileged, "Seccomp"), "0");
    assert_ne!(field(&privileged, "CapEff"), "00000000a80425fb");
    let masked = daemon.run(client, &["run", "--rm", "busybox", "sh", "-c", "cat /proc/kcore | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | wc -w; echo 1 > /proc/sys/kernel/panic || echo refused"]).ok();
    assert_eq!(masked.lines().collect::<Vec<_>>(), ["0", "0", "refused"]);
    let filtered = daemon.run(client, &["run", "--rm", "busybox", "unshare", "-U", "true"]);
    assert_ne!(filtered.code, 0, "the default seccomp profile refuses new user namespaces");
}

fn volumes_and_mounts(client: Client) {
    let daemon = busybox();
    let dir = daemon.path("shared");
    fs::create_dir(&dir).unwrap();
    let bind = format!("{}:/data", dir.display());
    let _ = daemon
        .run(client, &["run", "--rm", "-v", &bind, "busybox", "sh", "-c", "echo in > /data/file"])
        .ok();
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "in\n");
    let read_only = daemon
        .run(client, &["run", "--rm", "-v", &format!("{bind}:ro"), "busybox", "touch", "/data/x"]);
    assert!(read_only.stderr.contains("Read-only"), "{read_only:?}");
    let _ = daemon
        .run(client, &["run", "--rm", "-v", "named:/v", "busybox", "sh", "-c", "echo kept > /v/f"])
        .ok();
    assert_eq!(
        daemon
            .run(
                client,
                &[
                    "run",
                    "--rm",
                    "--mount",
                    "type=volume,src=named,dst=/w",
                    "busybox",
                    "cat",
                    "/w/f"
                ]
            )
            .ok(),
        "kept"
    );
    let volumes = daemon.run(client, &["volume", "ls", "-q"]).ok();
    assert_eq!(volumes, "named");
    let _ = daemon.run(client, &["volume", "rm", "named"]).ok();
    let _ = daemon.run(client, &["run", "--name", "anon", "-v", "/anon", "busybox", "true"]).ok();
    assert_eq!(daemon.run(client, &["volume", "ls", "-q"]).ok().len(), 64);
    let _ = daemon.run(client, &["rm", "-v", "anon"]).ok();
    assert_eq!(daemon.run(client, &["volume", "ls", "-q"]).ok(), "");
    let copied = daemon
        .run(client, &["run", "--rm", "-v", "seeded:/etc", "busybox", "cat", "/etc/passwd"])
        .ok();
    assert!(copied.starts_with("root:"), "a new volume takes the image's content: {copied}");
}

fn exec_variants(client: Client) {
    let daemon = busybox();
    let _ = daemon.run(client, &["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).ok();
    let out = daemon.run(
        client,
        &[
            "exec",
            "-e",
            "X=1",
            "-u",
            "1000",
            "-w",
            "/tmp",
            "box",
            "sh",
            "-c",
            "echo $X; id -u; pwd; echo err >&2; exit 5",
        ],
    );
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.trim()), (5, "1\n1000\n/tmp\n", "err"));
    let cat = daemon.run_with_input(client, &["exec", "-i", "box", "cat"], b"through\n");
    assert_eq!(cat.ok(), "through");
    let _ = daemon.run(client, &["exec", "-d", "box", "sh", "-c", "echo done > /mark"]).ok();
    wait_for("the detached exec", || {
        daemon.run(client, &["exec", "box", "cat", "/mark"]).stdout == "done\n"
    });
    let big = vec![b'x'; 3_000_000];
    let back = daemon.run_with_input(client, &["exec", "-i", "box", "cat"], &big);
    assert_eq!(back.stdout.len(), big.len());
}

fn logs_variants(client: Client) {
    let daemon = busybox();
    let script = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; sleep 0.05; done";
    let _ = daemon.run(client, &["run", "--name", "talks", "busybox", "sh", "-c", script]).ok();
    let all = daemon.run(client, &["logs", "talks"]);
    assert_eq!(all.stdout.lines().count(), 5);
    assert_eq!(all.stderr.lines().count(), 5, "the streams stay apart");
    let tail = daemon.run(client, &["logs", "--tail", "2", "talks"]);
    assert_eq!((tail.stdout.as_str(), tail.stderr.as_str()), ("out 5\n", "err 5\n"));
    let stamped = daemon.run(client, &["logs", "-t", "talks"]).stdout;
    let times: Vec<&str> = stamped.lines().map(|l| l.split(' ').next().unwrap()).collect();
    assert!(times[0].len() == 30 && times[0].ends_with('Z'), "{times:?}");
    let since = daemon.run(client, &["logs", "--since", times[3], "talks"]).stdout;
    assert_eq!(since, "out 4\nout 5\n");
    let until = daemon.run(client, &["logs", "--until", times[1], "talks"]).stdout;
    assert_eq!(until, "out 1\nout 2\n");

    let _ = daemon
        .run(
            client,
            &["run", "-d", "--name", "later", "busybox", "sh", "-c", "echo one; sleep 1; echo two"],
        )
        .ok();
    let began = Instant::now();
    let followed = daemon.run(client, &["logs", "-f", "later"]);
    assert_eq!(followed.ok(), "one\ntwo");
    assert!(began.elapsed() < Duration::from_secs(10), "follow ends with the container");
    let long = daemon.run(
        client,
        &[
            "run",
            "--name",
            "long",
            "busybox",
            "sh",
            "-c",
            "head -c 50000 /dev/zero | tr '\\0' a; echo",
        ],
    );
    assert_eq!(long.stdout.len(), 50_001);
    assert_eq!(
        daemon.run(client, &["logs", "long"]).stdout,
        long.stdout,
        "a long line is joined again"
    );
}

fn log_rotation(client: Client) {
    let daemon = busybox();
    let id = daemon
        .run(
            client,
            &[
                "run",
                "-d",
                "--log-opt",
                "max-size=100k",
                "--log-opt",
                "max-file=2",
                "busybox",
                "sh",
                "-c",
                "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done",
            ],
        )
        .ok();
    assert_eq!(daemon.run(client, &["wait", &id]).ok(), "0");
    let bytes: u64 = fs::read_dir(daemon.path(&format!("data/containers/{id}")))
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().contains("-json.log"))
        .map(|e| e.metadata().unwrap().len())
        .sum();
    assert!(bytes > 0 && bytes <= 2 * 110 * 1024, "{bytes} bytes in two files of 100k");
    assert!(daemon.run(client, &["logs", "--tail", "1", &id]).stdout.contains("line 19999"));
}

fn attach_streams_and_stdin(client: Client) {
    let daemon = busybox();
    let out = daemon.run_with_input(
        client,
        &["run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo end >&2"],
        b"typed\n",
    );
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (0, "typed\n", "end\n"));
    let megabytes =
        daemon.run(client, &["run", "--rm", "busybox", "sh", "-c", "head -c 20000000 /dev/zero"]);
    assert_eq!(megabytes.stdout.len(), 20_000_000);
    let _ = daemon.run(client, &["run", "-dit", "--name", "cat", "busybox", "cat"]).ok();
    let mut command = daemon.command(client);
    command.args(["attach", "cat"]);
    let mut terminal = Terminal::start(&command, 24, 80);
    terminal.type_in("hello\n");
    terminal.expect("hello\r\nhello");
    terminal.type_in("\u{10}\u{11}");
    assert_eq!(terminal.exit_code(), 1, "{}", terminal.screen());
    terminal.expect("read escape sequence");
    assert_eq!(daemon.docker(&["inspect", "-f", "{{.State.Running}}", "cat"]).ok(), "true");
}

fn list_filter_and_format(client: Client) {
    let daemon = busybox();
    let up = daemon
        .run(client, &["run", "-d", "--name", "up", "-l", "team=a", "busybox", "sleep", "1000"])
        .ok();
    let _ = daemon
        .run(client, &["run", "--name", "down", "-l", "team=b", "busybox", "sh", "-c", "exit 3"]);
    let ids = daemon.run(client, &["ps", "-q", "--no-trunc"]).ok();
    assert_eq!(ids, up);
    let table = daemon.run(client, &["ps", "-a"]).ok();
    assert!(table.starts_with("CONTAINER ID   IMAGE     COMMAND"), "{table}");
    assert!(table.contains("Exited (3)"), "{table}");
    let names = |args: &[&str]| {
        let mut words = vec!["ps", "-a", "--format", "{{.Names}}"];
        words.extend(args);
        daemon.run(client, &words).ok()
    };
    assert_eq!(names(&["--filter", "status=exited"]), "down");
    assert_eq!(names(&["--filter", "label=team=a"]), "up");
    assert_eq!(names(&["--filter", "exited=3"]), "down");
    assert_eq!(names(&["--filter", "name=^/up$"]), "up");
    assert_eq!(names(&["--filter", "ancestor=busybox"]), "down\nup");
    let json = daemon.run(client, &["ps", "--format", "json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["Names"], "up");
    let row =
        daemon.run(client, &["ps", "--format", "table {{.ID}}\t{{.Names}}\t{{.Status}}"]).ok();
    assert!(row.starts_with("CONTAINER ID   NAMES     STATUS"), "{row}");
    let bad = daemon.run(client, &["ps", "--filter", "nonsense=1"]);
    assert!(bad.stderr.contains("invalid filter 'nonsense'"), "{bad:?}");
}

fn stop_kill_restart_wait_rename(client: Client) {
    let daemon = busybox();
    let trap = "trap 'exit 12' TERM; trap 'echo usr' USR1; while :; do sleep 0.05; done";
    let _ = daemon.run(client, &["run", "-d", "--name", "traps", "busybox", "sh", "-c", trap]).ok();
    let _ = daemon.run(client, &["kill", "-s", "USR1", "traps"]).ok();
    wait_for("the trap", || daemon.run(client, &["logs", "traps"]).stdout.contains("usr"));
    let _ = daemon.run(client, &["stop", "traps"]).ok();
    assert_eq!(daemon.run(client, &["wait", "traps"]).ok(), "12");
    let _ = daemon.run(client, &["restart", "-t", "0", "traps"]).ok();
    assert_eq!(daemon.docker(&["inspect", "-f", "{{.State.Running}}", "traps"]).ok(), "true");
    let _ = daemon.run(client, &["rename", "traps", "renamed"]).ok();
    let began = Instant::now();
    let _ = daemon.run(client, &["kill", "renamed"]).ok();
    assert_eq!(daemon.run(client, &["wait", "renamed"]).ok(), "137");
    assert!(began.elapsed() < Duration::from_secs(5));
    let _ = daemon
        .run(
            client,
            &[
                "run",
                "-d",
                "--name",
                "quick",
                "--stop-signal",
                "USR1",
                "busybox",
                "sh",
                "-c",
                "trap 'exit 4' USR1; while :; do sleep 0.05; done",
            ],
        )
        .ok();
    std::thread::sleep(Duration::from_millis(200));
    let _ = daemon.run(client, &["stop", "quick"]).ok();
    assert_eq!(daemon.docker(&["inspect", "-f", "{{.State.ExitCode}}", "quick"]).ok(), "4");
    let _ = daemon.run(client, &["pause", "quick"]).code;
}

fn restart_policies(client: Client) {
    let daemon = busybox();
    let _ = daemon
        .run(
            client,
            &[
                "run",
                "-d",
                "--name",
                "thrice",
                "--restart",
                "on-failure:2",
                "busybox",
                "sh",
                "-c",
                "echo try; exit 1",
            ],
        )
        .ok();
    wait_for("the retries", || {
        daemon.docker(&["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "thrice"]).ok()
            == "2 exited"
    });
    assert_eq!(daemon.run(client, &["logs", "thrice"]).stdout.lines().count(), 3);
    let _ = daemon
        .run(
            client,
            &["run", "-d", "--name", "again", "--restart", "always", "busybox", "sleep", "0.2"],
        )
        .ok();
    wait_for("a restart", || {
        daemon.docker(&["inspect", "-f", "{{.RestartCount}}", "again"]).ok() != "0"
    });
    let _ = daemon.run(client, &["stop", "again"]).ok();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(
        daemon.docker(&["inspect", "-f", "{{.State.Status}}", "again"]).ok(),
        "exited",
        "a stop ends the restarts"
    );
}

fn auto_remove_and_cidfile(client: Client) {
    let daemon = busybox();
    let file = daemon.path("cid");
    let id = daemon
        .run(
            client,
            &["run", "-d", "--rm", "--cidfile", file.to_str().unwrap(), "busybox", "sleep", "0.3"],
        )
        .ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), id);
    wait_for("the removal", || daemon.docker(&["ps", "-aq", "--no-trunc"]).ok().is_empty());
    assert!(!daemon.path(&format!("data/containers/{id}")).exists());
}

fn copy_in_and_out(client: Client) {
    let daemon = busybox();
    let _ = daemon.run(client, &["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).ok();
    let (from, to) = (daemon.path("from"), daemon.path("to"));
    fs::write(&from, "copied").unwrap();
    let _ = daemon.run(client, &["cp", from.to_str().unwrap(), "box:/tmp/in"]).ok();
    assert_eq!(daemon.run(client, &["exec", "box", "cat", "/tmp/in"]).ok(), "copied");
    let _ = daemon.run(client, &["cp", "box:/tmp/in", to.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&to).unwrap(), "copied");
    let _ = daemon
        .run(
            client,
            &[
                "exec",
                "box",
                "sh",
                "-c",
                "mkdir -p /d/e; echo 1 > /d/e/f; ln -s /etc/passwd /d/link",
            ],
        )
        .ok();
    let _ = daemon.run(client, &["cp", "box:/d", daemon.path("tree").to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(daemon.path("tree/e/f")).unwrap(), "1\n");
    let _ =
        daemon.run(client, &["exec", "box", "ln", "-s", "/../../../../../../etc", "/escape"]).ok();
    let _ =
        daemon.run(client, &["cp", from.to_str().unwrap(), "box:/escape/belljar-test-escape"]).ok();
    assert!(
        !std::path::Path::new("/etc/belljar-test-escape").exists(),
        "a link inside does not lead outside"
    );
    assert_eq!(
        daemon.run(client, &["exec", "box", "cat", "/etc/belljar-test-escape"]).ok(),
        "copied"
    );
    let _ = daemon.run(client, &["stop", "-t", "0", "box"]).ok();
    let _ = daemon.run(client, &["cp", "box:/tmp/in", to.to_str().unwrap()]).ok();
    assert_eq!(daemon.run(client, &["cp", "box:/none", "/tmp/"]).code, 1);
}

fn top_stats_events_info_version(client: Client) {
    let daemon = busybox();
    let mut command = daemon.command(client);
    let mut events =
        command.args(["events", "--format", "{{.Action}}"]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let _ =
        daemon.run(client, &["run", "-d", "--name", "watched", "busybox", "sleep", "1000"]).ok();
    let top = daemon.run(client, &["top", "watched"]).ok();
    assert!(top.contains("PID") && top.contains("sleep 1000"), "{top}");
    let stats = daemon
        .run(client, &["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "watched"])
        .ok();
    assert_eq!(stats, "watched 1");
    let _ = daemon.run(client, &["kill", "watched"]).ok();
    let _ = daemon.run(client, &["rm", "watched"]).ok();
    std::thread::sleep(Duration::from_millis(300));
    events.kill().unwrap();
    let mut text = String::new();
    events.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let _ = events.wait();
    let actions: Vec<&str> = text.lines().collect();
    let mut at = 0;
    for wanted in ["create", "start", "kill", "die", "destroy"] {
        at += actions[at..]
            .iter()
            .position(|a| *a == wanted)
            .unwrap_or_else(|| panic!("{wanted} in {actions:?}"));
    }
    let info = daemon
        .run(client, &["info", "--format", "{{.Driver}} {{.CgroupDriver}} {{.DefaultRuntime}}"])
        .ok();
    assert!(info.starts_with("overlay2 cgroupfs "), "{info}");
    let version = daemon.run(client, &["version", "--format", "{{.Server.APIVersion}}"]).ok();
    assert!(version.starts_with("1."), "{version}");
}

fn image_commands(client: Client) {
    let daemon = busybox();
    let list = daemon.run(client, &["images"]).ok();
    assert!(list.starts_with("REPOSITORY") && list.contains("busybox"), "{list}");
    let _ = daemon.run(client, &["tag", "busybox", "mine:1"]).ok();
    assert_eq!(daemon.run(client, &["images", "--format", "{{.Tag}}", "mine"]).ok(), "1");
    let history = daemon.run(client, &["history", "mine:1"]).ok();
    assert!(history.contains("make-images busybox"), "{history}");
    let removed = daemon.run(client, &["rmi", "mine:1"]).ok();
    assert_eq!(removed, "Untagged: mine:1");
    let _ = daemon.run(client, &["create", "--name", "user", "busybox"]).ok();
    let refused = daemon.run(client, &["rmi", "busybox"]);
    assert!(refused.stderr.contains("is using its referenced image"), "{refused:?}");
    let archive = daemon.path("saved.tar");
    let _ = daemon.run(client, &["save", "-o", archive.to_str().unwrap(), "busybox"]).ok();
    let _ = daemon.run(client, &["rm", "user"]).ok();
    assert!(daemon.run(client, &["rmi", "busybox"]).ok().contains("Deleted: sha256:"));
    let loaded = daemon.run(client, &["load", "-i", archive.to_str().unwrap()]).ok();
    assert!(loaded.contains("Loaded image: busybox:latest"), "{loaded}");
    assert_eq!(daemon.run(client, &["run", "--rm", "busybox", "echo", "again"]).ok(), "again");
    let _ = daemon
        .run(client, &["run", "--name", "source", "busybox", "sh", "-c", "echo changed > /file"])
        .ok();
    let _ = daemon
        .run(client, &["export", "-o", daemon.path("export.tar").to_str().unwrap(), "source"])
        .ok();
    let _ = daemon
        .run(client, &["import", daemon.path("export.tar").to_str().unwrap(), "imported:1"])
        .ok();
    assert_eq!(daemon.run(client, &["run", "--rm", "imported:1", "cat", "/file"]).ok(), "changed");
    let _ = daemon.run(client, &["commit", "source", "committed:1"]).ok();
    assert_eq!(daemon.run(client, &["run", "--rm", "committed:1", "cat", "/file"]).ok(), "changed");
}

fn networks_of_containers(client: Client) {
    let daemon = busybox();
    let _ = daemon
        .run(
            client,
            &[
                "run",
                "-d",
                "--name",
                "server",
                "busybox",
                "sh",
                "-c",
                "echo page > /tmp/p; exec httpd -f -p 80 -h /tmp",
            ],
        )
        .ok();
    let address = daemon
        .run(
            client,
            &[
                "inspect",
                "-f",
                "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
                "server",
            ],
        )
        .ok();
    let fetch = format!("wget -q -O - http://{address}/p");
    wait_for("the server", || {
        daemon.run(client, &["run", "--rm", "busybox", "sh", "-c", &fetch]).stdout == "page\n"
    });
    let same = daemon.run(
        client,
        &[
            "run",
            "--rm",
            "--network",
            "container:server",
            "busybox",
            "wget",
            "-q",
            "-O",
            "-",
            "http://127.0.0.1/p",
        ],
    );
    assert_eq!(same.ok(), "page");
    let route = daemon.run(client, &["exec", "server", "ip", "route"]).ok();
    assert!(route.contains("default via"), "{route}");
    let resolver = daemon.run(client, &["exec", "server", "cat", "/etc/resolv.conf"]).ok();
    assert!(resolver.contains("nameserver"), "{resolver}");
    let hosts = daemon.run(client, &["exec", "server", "cat", "/etc/hosts"]).ok();
    assert!(hosts.contains(&address), "{hosts}");
    let networks = daemon.run(client, &["network", "ls", "--format", "{{.Name}}"]).ok();
    let mut networks: Vec<&str> = networks.lines().collect();
    networks.sort_unstable();
    assert_eq!(networks, ["bridge", "host", "none"]);
}

fn a_closed_pipe_is_quiet(client: Client) {
    let daemon = busybox();
    let _ = daemon
        .run(client, &["run", "--name", "chatty", "busybox", "sh", "-c", "yes | head -c 1000000"])
        .code;
    let mut child = daemon
        .command(client)
        .args(["logs", "chatty"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0_u8; 2];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    if client == Client::Belljar {
        assert_eq!(text, "");
    }
}

fn exec_on_a_terminal(client: Client) {
    let daemon = busybox();
    let _ = daemon.run(client, &["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).ok();
    let mut command = daemon.command(client);
    command.args(["exec", "-it", "box", "sh"]);
    let mut terminal = Terminal::start(&command, 21, 66);
    terminal.expect("/ #");
    wait_for("the size of the terminal inside", || {
        terminal.type_in("stty size\n");
        std::thread::sleep(Duration::from_millis(100));
        terminal.screen().contains("21 66")
    });
    terminal.type_in("exit 6\n");
    assert_eq!(terminal.exit_code(), 6, "{}", terminal.screen());
}
