//! The nine experiments, typed with both clients on real distribution images, and seen from the host's kernel.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use acceptance::{
    Client, Daemon, Terminal, children_of, namespace, parent_of, proc_status, registry, wait_for,
    with_both_clients,
};

with_both_clients!(
    experiment_1_pull_prints_what_docker_prints,
    experiment_1_one_kernel_three_distributions,
    experiment_1_shell_on_a_real_terminal,
    experiment_2_one_process_two_pids,
    experiment_2_ancestry_is_shim_then_init,
    experiment_3_namespaces_compared,
    experiment_3_each_flag_changes_its_namespace,
    experiment_5_cgroup_assignment,
    experiment_6_oom_is_the_containers_own,
    experiment_6_quota_throttles,
    experiment_7_layers_on_the_host,
    experiment_7_stop_keeps_rm_removes,
    experiment_8_roles_are_distinct,
    experiment_9_isolated_and_shared_pid_namespace,
);

/// The namespaces that a default container has of its own.
const PRIVATE: &[&str] = &["pid", "net", "mnt", "uts", "ipc", "cgroup"];

fn daemon() -> Daemon {
    Daemon::with(&["--registry-mirror", &format!("http://{}", registry())])
}

fn busybox() -> Daemon {
    let daemon = Daemon::start();
    daemon.load("busybox");
    daemon
}

/// Starts a container that does nothing and returns its id.
fn idle(daemon: &Daemon, client: Client, args: &[&str]) -> String {
    let mut words = vec!["run", "-dit"];
    words.extend(args);
    words.extend(["busybox", "sleep", "1000"]);
    daemon.run(client, &words).ok()
}

fn experiment_1_pull_prints_what_docker_prints(client: Client) {
    let daemon = daemon();
    let out =
        daemon.run(client, &["run", "--name", "ubuntu-container", "ubuntu:22.04", "uname", "-r"]);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(out.ok(), release.trim());
    let text = out.stderr.replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "Unable to find image 'ubuntu:22.04' locally", "{text}");
    assert_eq!(lines[1], "22.04: Pulling from library/ubuntu", "{text}");
    let complete = lines
        .iter()
        .position(|l| l.ends_with(": Pull complete"))
        .unwrap_or_else(|| panic!("{text}"));
    let (id, _) = lines[complete].split_once(':').unwrap();
    assert!(id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{text}");
    assert!(lines[lines.len() - 2].starts_with("Digest: sha256:"), "{text}");
    assert_eq!(lines[lines.len() - 1], "Status: Downloaded newer image for ubuntu:22.04", "{text}");

    let again = daemon.run(client, &["pull", "ubuntu:22.04"]).ok();
    assert!(again.contains("Status: Image is up to date for ubuntu:22.04"), "{again}");
}

fn experiment_1_one_kernel_three_distributions(client: Client) {
    let daemon = daemon();
    let mut systems = BTreeSet::new();
    for image in ["debian:bookworm", "debian:trixie", "alpine:latest"] {
        let version = daemon.run(client, &["run", "--rm", image, "cat", "/proc/version"]);
        assert_eq!(version.stdout, fs::read_to_string("/proc/version").unwrap());
        systems.insert(daemon.run(client, &["run", "--rm", image, "cat", "/etc/os-release"]).ok());
    }
    assert_eq!(systems.len(), 3, "{systems:?}");
}

fn experiment_1_shell_on_a_real_terminal(client: Client) {
    let daemon = daemon();
    let _ = daemon.run(client, &["pull", "debian:bookworm"]).ok();
    let mut command = daemon.command(client);
    command.args(["run", "-it", "--name", "shell", "debian:bookworm", "bash"]);
    let mut terminal = Terminal::start(&command, 33, 101);
    terminal.expect(":/#");
    let id = daemon.docker(&["inspect", "-f", "{{.Id}}", "shell"]).ok();
    terminal.expect(&format!("root@{}:/#", &id[..12]));
    assert!(terminal.is_raw(), "the client's terminal is in raw mode");

    terminal.type_in("stty size\n");
    terminal.expect("33 101");
    terminal.resize(44, 77);
    wait_for("the new size inside", || {
        terminal.type_in("stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        terminal.screen().contains("44 77")
    });
    terminal.type_in("sleep 1000; echo woken $?\n");
    wait_for("sleep inside", || {
        !daemon
            .docker(&["top", "shell"])
            .stdout
            .matches("sleep 1000")
            .next()
            .is_none_or(str::is_empty)
    });
    terminal.type_in("\u{3}");
    terminal.expect("\r\n");
    terminal.type_in("echo pid-$$\n");
    terminal.expect("pid-1");

    terminal.type_in("\u{10}\u{11}");
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert_eq!(daemon.docker(&["inspect", "-f", "{{.State.Running}}", "shell"]).ok(), "true");
    assert!(!terminal.is_raw(), "the terminal is restored after the detach");

    let mut command = daemon.command(client);
    command.args(["attach", "shell"]);
    let mut terminal = Terminal::start(&command, 33, 101);
    terminal.type_in("\n");
    terminal.expect(":/#");
    terminal.type_in("exit 7\n");
    assert_eq!(terminal.exit_code(), 7, "{}", terminal.screen());
    assert_eq!(daemon.docker(&["inspect", "-f", "{{.State.ExitCode}}", "shell"]).ok(), "7");
}

fn experiment_2_one_process_two_pids(client: Client) {
    let daemon = daemon();
    let _ = daemon.run(client, &["run", "-dit", "--name", "two", "debian:bookworm", "bash"]).ok();
    let pid = daemon.run(client, &["inspect", "-f", "{{.State.Pid}}", "two"]).ok();
    let both = proc_status(&pid, "NSpid");
    assert_eq!(both.split_whitespace().collect::<Vec<_>>(), [pid.as_str(), "1"]);
    assert_eq!(
        daemon.run(client, &["exec", "two", "sh", "-c", "readlink /proc/1/exe"]).ok(),
        "/usr/bin/bash"
    );
    assert_eq!(
        daemon.run(client, &["run", "--rm", "debian:bookworm", "bash", "-c", "echo $$"]).ok(),
        "1"
    );
    let inside = daemon.run(client, &["exec", "two", "ps", "aux"]);
    assert_eq!(inside.ok().lines().count(), 3, "header, bash, ps: {}", inside.stdout);
}

fn experiment_2_ancestry_is_shim_then_init(client: Client) {
    let daemon = busybox();
    let id = idle(&daemon, client, &["--name", "chain"]);
    let pid = daemon.pid_of("chain");
    let shim = parent_of(&pid);
    assert_eq!(shim, daemon.shim_of(&id), "the parent of the container's init is its shim");
    assert_eq!(parent_of(&shim), "1", "the shim outlives the daemon");
    let line = fs::read_to_string(format!("/proc/{shim}/cmdline")).unwrap();
    assert!(line.contains(&id), "the shim's command line has the whole id: {line}");
    assert!(children_of(&daemon.pid()).is_empty(), "the daemon has no children");
    let tree = Command::new("pstree").args(["-a", "-p", "-s", &pid]).output().unwrap();
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert_eq!(tree.lines().count(), 3, "init, shim, sleep:\n{tree}");
}

fn experiment_3_namespaces_compared(client: Client) {
    let daemon = busybox();
    idle(&daemon, client, &["--name", "aa"]);
    idle(&daemon, client, &["--name", "bb"]);
    idle(&daemon, client, &["--name", "cc", "--network", "container:aa"]);
    let [a, b, c] = ["aa", "bb", "cc"].map(|name| daemon.pid_of(name));
    for kind in PRIVATE {
        let three: BTreeSet<String> =
            ["self", &a, &b].iter().map(|pid| namespace(pid, kind)).collect();
        assert_eq!(three.len(), 3, "{kind} differs between host, A and B");
        assert_eq!(
            namespace(&a, kind) == namespace(&c, kind),
            *kind == "net",
            "C shares only net with A: {kind}"
        );
    }
    for kind in ["user", "time"] {
        assert_eq!(namespace("self", kind), namespace(&a, kind), "{kind} is the host's");
    }
    let listed = Command::new("lsns").args(["-p", &a, "-o", "TYPE,PID", "-n"]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for kind in PRIVATE {
        let holder = listed.lines().find(|l| l.split_whitespace().next() == Some(kind)).unwrap();
        assert_eq!(holder.split_whitespace().nth(1), Some(a.as_str()), "{listed}");
    }
}

/// Tells which of the namespaces of `pid` are those of `other`.
fn shared(pid: &str, other: &str) -> Vec<&'static str> {
    PRIVATE.iter().copied().filter(|kind| namespace(pid, kind) == namespace(other, kind)).collect()
}

fn experiment_3_each_flag_changes_its_namespace(client: Client) {
    let daemon = busybox();
    idle(&daemon, client, &["--name", "target", "--ipc", "shareable"]);
    let target = daemon.pid_of("target");
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("--pid", "container:target", &target, &["pid"]),
        ("--ipc", "container:target", &target, &["ipc"]),
        ("--network", "container:target", &target, &["net"]),
        ("--pid", "host", "self", &["pid"]),
        ("--ipc", "host", "self", &["ipc"]),
        ("--uts", "host", "self", &["uts"]),
        ("--network", "host", "self", &["net"]),
        ("--cgroupns", "host", "self", &["cgroup"]),
        ("--network", "none", "self", &[]),
        ("--cgroupns", "private", "self", &[]),
        ("--userns", "host", "self", &[]),
    ];
    for (n, (flag, value, other, want)) in cases.iter().enumerate() {
        let name = format!("case{n}");
        idle(&daemon, client, &["--name", &name, flag, value]);
        let pid = daemon.pid_of(&name);
        assert_eq!(shared(&pid, other), *want, "{flag} {value}");
        if *other != "self" {
            assert_eq!(
                shared(&pid, "self"),
                Vec::<&str>::new(),
                "{flag} {value} shares nothing with the host"
            );
        }
    }
    let links = daemon.run(client, &["exec", "case8", "ls", "/sys/class/net"]).ok();
    assert_eq!(links, "lo", "--network none has loopback only");
}

/// Reads a file of the container's cgroup in the v1 hierarchy `controller`, or in v2.
fn cgroup_file(pid: &str, controller: &str, v1: &str, v2: &str) -> String {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let named = table.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        names.split(',').any(|n| n == controller).then(|| path.to_owned())
    });
    let path = match named {
        Some(path) => PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}/{v1}")),
        None => {
            let path = table.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
            PathBuf::from(format!("/sys/fs/cgroup{path}/{v2}"))
        }
    };
    fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .trim()
        .to_owned()
}

fn experiment_5_cgroup_assignment(client: Client) {
    let daemon = daemon();
    let id = daemon
        .run(
            client,
            &[
                "run",
                "-dit",
                "--name",
                "cgroup-test",
                "--cpus=0.5",
                "--memory=256m",
                "ubuntu:22.04",
                "bash",
                "-c",
                "while true; do echo test > /dev/null; done",
            ],
        )
        .ok();
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let pid = daemon.pid_of("cgroup-test");
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for line in table.lines().filter(|line| !line.starts_with("0::")) {
        assert!(line.ends_with(&format!("/belljar/{id}")), "{line}");
    }
    assert_eq!(
        cgroup_file(&pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split(' ').next(),
        Some("50000")
    );
    assert_eq!(cgroup_file(&pid, "memory", "memory.limit_in_bytes", "memory.max"), "268435456");
    let inside = daemon.run(client, &["exec", "cgroup-test", "cat", "/proc/self/cgroup"]).ok();
    assert!(inside.lines().all(|line| line.ends_with(":/")), "{inside}");

    let stats = daemon.run(client, &["stats", "cgroup-test", "--no-stream"]);
    let text = stats.ok();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let titles = "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS";
    assert_eq!(header.join(" "), titles);
    let row = lines.next().unwrap();
    let cpu: f64 = row.split_whitespace().nth(2).unwrap().trim_end_matches('%').parse().unwrap();
    assert!((40.0..60.0).contains(&cpu), "half a core: {row}");
    assert!(row.contains("/ 256MiB"), "{row}");

    assert_eq!(daemon.run(client, &["inspect", "-f", "{{.Id}}", "cgroup-test"]).ok(), id);
    let _ =
        daemon.run(client, &["inspect", "-f", "{{.HostConfig.CgroupParent}}", "cgroup-test"]).ok();
    let json = daemon.run(client, &["inspect", "-f", "{{json .HostConfig}}", "cgroup-test"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["Memory"], 268_435_456);
    assert_eq!(json["NanoCpus"], 500_000_000);
    let none = daemon
        .run(client, &["inspect", "-f", "{{range .Mounts}}{{.Source}}{{end}}", "cgroup-test"])
        .ok();
    assert_eq!(none, "");
}

fn experiment_6_oom_is_the_containers_own(client: Client) {
    let daemon = busybox();
    idle(&daemon, client, &["--name", "bystander"]);
    let bystander = daemon.pid_of("bystander");
    let out = daemon.run(
        client,
        &[
            "run",
            "--name",
            "eater",
            "--memory",
            "32m",
            "--memory-swap",
            "32m",
            "busybox",
            "sh",
            "-c",
            "exec tail -c 200m /dev/zero",
        ],
    );
    assert_eq!(out.code, 137, "{out:?}");
    assert_eq!(daemon.docker(&["inspect", "-f", "{{.State.OOMKilled}}", "eater"]).ok(), "true");
    assert!(acceptance::pid_alive(&bystander));
    assert_eq!(
        daemon
            .docker(&["inspect", "-f", "{{.State.Running}} {{.State.OOMKilled}}", "bystander"])
            .ok(),
        "true false"
    );
    // The client sends `--until` in whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let events =
        daemon.docker(&["events", "--since", "10m", "--until", "0s", "--filter", "event=oom"]).ok();
    assert!(events.contains("container oom"), "{events}");
}

fn experiment_6_quota_throttles(client: Client) {
    let daemon = daemon();
    let _ = daemon
        .run(
            client,
            &[
                "run",
                "-dit",
                "--name",
                "stress-test",
                "--cpus=0.5",
                "--memory=512m",
                "--memory-swap=512m",
                "debian:bookworm",
                "bash",
            ],
        )
        .ok();
    let pid = daemon.pid_of("stress-test");
    let _ = daemon
        .run(
            client,
            &[
                "exec",
                "stress-test",
                "stress-ng",
                "--cpu",
                "2",
                "--timeout",
                "3s",
                "--metrics-brief",
            ],
        )
        .ok();
    let stat = cgroup_file(&pid, "cpu", "cpu.stat", "cpu.stat");
    let field = |name: &str| -> u64 {
        let line = stat.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{stat}"));
        line.split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert!(field("nr_periods") > 0, "{stat}");
    assert!(field("nr_throttled") > 0, "two workers on half a core are throttled: {stat}");
}

fn graph(daemon: &Daemon, client: Client, name: &str, key: &str) -> String {
    daemon.run(client, &["inspect", "-f", &format!("{{{{.GraphDriver.Data.{key}}}}}"), name]).ok()
}

fn experiment_7_layers_on_the_host(client: Client) {
    let daemon = daemon();
    let _ = daemon
        .run(client, &["run", "-dit", "--name", "layer-test", "debian:bookworm", "bash"])
        .ok();
    assert_eq!(
        daemon.run(client, &["inspect", "-f", "{{.GraphDriver.Name}}", "layer-test"]).ok(),
        "overlay2"
    );
    let [lower, upper, merged, work] = ["LowerDir", "UpperDir", "MergedDir", "WorkDir"]
        .map(|key| graph(&daemon, client, "layer-test", key));
    let lowers: Vec<&str> = lower.split(':').collect();
    assert!(lowers[0].contains("-init/diff"), "the init layer comes first: {lower}");
    for dir in lowers.iter().copied().chain([upper.as_str(), &merged, &work]) {
        assert!(Path::new(dir).is_dir(), "{dir}");
        assert!(dir.starts_with(daemon.path("data/overlay2").to_str().unwrap()), "{dir}");
    }
    let layers =
        daemon.run(client, &["inspect", "-f", "{{json .RootFS.Layers}}", "debian:bookworm"]).ok();
    let layers: Vec<String> = serde_json::from_str(&layers).unwrap();
    assert_eq!(layers.len(), lowers.len() - 1);

    let before = tree_digest(lowers[lowers.len() - 1]);
    let script = "echo hello > /test-file.txt; mkdir /mydata; echo data > /mydata/data.txt; echo x >> /etc/bash.bashrc; rm /etc/debian_version";
    let _ = daemon.run(client, &["exec", "layer-test", "bash", "-c", script]).ok();
    assert_eq!(fs::read_to_string(format!("{upper}/test-file.txt")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(format!("{upper}/mydata/data.txt")).unwrap(), "data\n");
    assert!(
        fs::read_to_string(format!("{upper}/etc/bash.bashrc")).unwrap().ends_with("x\n"),
        "copied up"
    );
    let whiteout = fs::symlink_metadata(format!("{upper}/etc/debian_version")).unwrap();
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    assert!(
        whiteout.file_type().is_char_device() && whiteout.rdev() == 0,
        "a 0:0 device is the whiteout"
    );
    assert_eq!(tree_digest(lowers[lowers.len() - 1]), before, "the image's layer did not change");

    let mut diff: Vec<String> =
        daemon.run(client, &["diff", "layer-test"]).ok().lines().map(str::to_owned).collect();
    diff.sort();
    assert_eq!(
        diff,
        [
            "A /mydata",
            "A /mydata/data.txt",
            "A /test-file.txt",
            "C /etc",
            "C /etc/bash.bashrc",
            "D /etc/debian_version"
        ]
    );
}

/// A digest over names, modes, owners, sizes and bytes of a tree.
fn tree_digest(dir: &str) -> String {
    let script = format!("tar --sort=name --numeric-owner -C '{dir}' -cf - . | sha256sum");
    let out = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(out.status.success());
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn experiment_7_stop_keeps_rm_removes(client: Client) {
    let daemon = busybox();
    let id = idle(&daemon, client, &["--name", "layer-test"]);
    let _ = idle(&daemon, client, &["--name", "other"]);
    let upper = graph(&daemon, client, "layer-test", "UpperDir");
    let lowers = [
        graph(&daemon, client, "layer-test", "LowerDir"),
        graph(&daemon, client, "other", "LowerDir"),
    ];
    let image = |lower: &str| lower.split(':').skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(image(&lowers[0]), image(&lowers[1]), "the image's layers are shared");
    assert_ne!(lowers[0], lowers[1], "the init layers are not");
    let _ = daemon.run(client, &["exec", "layer-test", "sh", "-c", "echo kept > /kept"]).ok();
    let _ = daemon.run(client, &["stop", "-t", "1", "layer-test"]).ok();
    let row = daemon.run(client, &["ps", "-a", "--filter", "name=layer-test"]).ok();
    assert!(row.contains("Exited (137)"), "sleep as PID 1 has no handler for SIGTERM: {row}");
    assert_eq!(fs::read_to_string(format!("{upper}/kept")).unwrap(), "kept\n");
    let _ = daemon.run(client, &["rm", "layer-test"]).ok();
    assert!(!Path::new(&upper).exists(), "rm removes the upper directory");
    assert!(!daemon.path(&format!("data/overlay2/{id}-init")).exists());
    for dir in image(&lowers[0]) {
        assert!(Path::new(&dir).is_dir(), "the image's layers stay: {dir}");
    }
    let header = daemon.run(client, &["ps", "-a", "--filter", "name=layer-test"]).ok();
    assert_eq!(header.lines().count(), 1, "{header}");
}

fn experiment_8_roles_are_distinct(client: Client) {
    let daemon = busybox();
    let id = idle(&daemon, client, &["--name", "roles"]);
    let pid = daemon.pid_of("roles");
    let exe = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let name = |pid: &str| exe(pid).file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(name(&daemon.pid()), "belljard");
    assert_eq!(name(&daemon.shim_of(&id)), "belljar-shim");
    let state = daemon.path("run").to_string_lossy().into_owned();
    let runtimes = acceptance::with_pid(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.split('\0').next().is_some_and(|p| p.ends_with("belljar-runtime"))
            && line.contains(&state)
            && *pid != *daemon.shim_of(&id)
    });
    assert!(runtimes.is_empty(), "the low-level runtime is gone after the start: {runtimes:?}");
    assert_ne!(pid, daemon.pid());
    let info = daemon.run(client, &["info"]).ok();
    assert!(info.contains("Runtimes:") && info.contains("Default Runtime:"), "{info}");
    let runtime = acceptance::programs().join("belljar-runtime");
    let version = Command::new(runtime).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains("spec: 1."), "{version:?}");
}

fn experiment_9_isolated_and_shared_pid_namespace(client: Client) {
    let daemon = daemon();
    let _ = daemon
        .run(
            client,
            &["run", "-dit", "--name", "isolated-container", "ubuntu", "sleep", "infinity"],
        )
        .ok();
    let _ = daemon
        .run(
            client,
            &[
                "run",
                "-dit",
                "--name",
                "shared-pid-container",
                "--pid=host",
                "ubuntu",
                "sleep",
                "infinity",
            ],
        )
        .ok();
    let [isolated, sharing] =
        ["isolated-container", "shared-pid-container"].map(|name| daemon.pid_of(name));
    assert_eq!(shared(&isolated, "self"), Vec::<&str>::new());
    assert_eq!(shared(&sharing, "self"), ["pid"]);
    let own = daemon.run(client, &["exec", "isolated-container", "ps", "aux"]).ok();
    assert_eq!(own.lines().count(), 3, "header, sleep, ps: {own}");
    let all =
        daemon.run(client, &["exec", "shared-pid-container", "ps", "-e", "-o", "pid,comm"]).ok();
    let init = fs::read_to_string("/proc/1/comm").unwrap();
    assert!(
        all.lines().any(|l| l.split_whitespace().collect::<Vec<_>>() == ["1", init.trim()]),
        "{all}"
    );
    assert!(all.contains("belljard"), "the host's processes are visible: {all}");
}

/// Attaches strace to the daemon, lets `act` happen, and returns the traced namespace calls.
fn traced(daemon: &Daemon, act: impl FnOnce()) -> String {
    let log = daemon.path("strace");
    let mut strace = Command::new("strace")
        .args([
            "-f",
            "-e",
            "trace=clone,clone3,unshare,setns,vfork,fork",
            "-p",
            &daemon.pid(),
            "-o",
        ])
        .arg(&log)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("strace to attach", || proc_status(&daemon.pid(), "TracerPid") != "0");
    act();
    let _ = Command::new("kill").args(["-INT", &strace.id().to_string()]).status();
    let _ = strace.wait();
    fs::read_to_string(&log).unwrap()
}

#[test]
fn experiment_4_all_namespaces_in_one_clone3() {
    let daemon = busybox();
    let trace = traced(&daemon, || {
        let _ = daemon.docker(&["run", "--rm", "--network", "none", "busybox", "true"]).ok();
    });
    // The one `setns` is the daemon's own thread, which enters the new network namespace to set its links up.
    let joined = |line: &&str| line.contains("setns(");
    assert!(trace.lines().filter(joined).all(|line| line.contains("CLONE_NEWNET")), "{trace}");
    let creations: Vec<&str> =
        trace.lines().filter(|line| line.contains("CLONE_NEW") && !joined(line)).collect();
    assert_eq!(creations.len(), 1, "one call creates them all:\n{}", creations.join("\n"));
    assert!(creations[0].contains("clone3("), "{}", creations[0]);
    for flag in [
        "CLONE_NEWNS",
        "CLONE_NEWCGROUP",
        "CLONE_NEWUTS",
        "CLONE_NEWIPC",
        "CLONE_NEWPID",
        "CLONE_NEWNET",
    ] {
        assert!(creations[0].contains(flag), "{flag}: {}", creations[0]);
    }
    assert!(!trace.contains("unshare("), "{trace}");
}

#[test]
fn experiment_9_host_pid_is_not_created_and_exec_joins() {
    let daemon = busybox();
    let trace = traced(&daemon, || {
        let _ = daemon
            .docker(&[
                "run",
                "-d",
                "--network",
                "none",
                "--pid=host",
                "--name",
                "host-pid",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
    });
    let creation =
        trace.lines().find(|l| l.contains("CLONE_NEW") && !l.contains("setns(")).unwrap();
    assert!(!creation.contains("CLONE_NEWPID"), "{creation}");
    let mut joined = trace.lines().filter(|line| line.contains("setns("));
    assert!(
        joined.all(|line| line.contains("CLONE_NEWNET")),
        "but for the daemon's thread that sets links up, nothing is joined: {trace}"
    );
    let shim = parent_of(&daemon.pid_of("host-pid"));
    let log = daemon.path("strace-exec");
    let mut strace = Command::new("strace")
        .args(["-f", "-e", "trace=setns,unshare", "-p", &shim, "-o"])
        .arg(&log)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("strace to attach", || proc_status(&shim, "TracerPid") != "0");
    let _ = daemon.docker(&["exec", "host-pid", "true"]).ok();
    let _ = Command::new("kill").args(["-INT", &strace.id().to_string()]).status();
    let _ = strace.wait();
    let trace = fs::read_to_string(&log).unwrap();
    assert!(trace.contains("setns("), "exec joins: {trace}");
}
