//! The whole walk with the real shim and the real runtime: create, attach, wait, start, exec, stop, remove, recover.
//!
//! Needs root, the programs beside the test (`cargo build -p shim -p runtime`), and a static `busybox` on the host, of which an image
//! is made. Where one is missing the test says so on its first line and passes: the privileged run counts these.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::*;
use types::Kind;
use types::container::{ContainerConfig, HostConfig, RestartPolicy};

/// A private engine; everything of it is taken away at the end.
struct Bench {
    root: tempfile::TempDir,
    options: EngineOptions,
}

fn programs() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let dir = own.ancestors().nth(2)?.to_owned();
    let there = |name: &str| dir.join(name).exists();
    (there("belljar-shim") && there("belljar-runtime")).then_some(dir)
}

fn options(programs: &Path, root: &Path) -> EngineOptions {
    let mut options = EngineOptions::new(programs);
    options.data_root = root.join("data");
    options.exec_root = root.join("run");
    options.bridge.name = "none".into();
    let name = root.file_name().unwrap().to_str().unwrap();
    options.cgroup_parent = format!("/{}", name.replace('.', "-"));
    options
}

/// `/bin/busybox` with some links, as a tar.
fn busybox_tar() -> Option<Vec<u8>> {
    let busybox = std::fs::read("/bin/busybox").ok()?;
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, data: &[u8], link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(data.len() as u64);
        if let Some(link) = link {
            header.set_link_name(link).unwrap();
        }
        tar.append_data(&mut header, path, data).unwrap();
    };
    for dir in ["bin/", "etc/", "tmp/", "root/", "data/"] {
        add(dir, tar::EntryType::Directory, 0o755, b"", None);
    }
    add("bin/busybox", tar::EntryType::Regular, 0o755, &busybox, None);
    for name in [
        "sh", "sleep", "cat", "true", "id", "ls", "kill", "hostname", "mount", "head", "tail",
        "tr", "echo",
    ] {
        add(&format!("bin/{name}"), tar::EntryType::Symlink, 0o777, b"", Some("busybox"));
    }
    add(
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n",
        None,
    );
    add("etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\nwheel:x:10:u\n", None);
    add("etc/secret", tar::EntryType::Regular, 0o644, b"not executable", None);
    add("data/file", tar::EntryType::Regular, 0o644, b"from the image", None);
    Some(tar.into_inner().unwrap())
}

impl Bench {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("needs root");
            return None;
        }
        let Some(programs) = programs() else {
            testkit::skip("needs belljar-shim and belljar-runtime beside the test");
            return None;
        };
        let root = tempfile::Builder::new().prefix("belljar-engine-").tempdir().unwrap();
        let options = options(&programs, root.path());
        Some(Self { root, options })
    }

    async fn open(&self) -> Arc<Engine> {
        Engine::open(self.options.clone()).await.unwrap()
    }

    async fn with_image(&self) -> Option<Arc<Engine>> {
        let Some(tar) = busybox_tar() else {
            testkit::skip("needs a static /bin/busybox");
            return None;
        };
        let engine = self.open().await;
        let request = image::ImportRequest {
            reference: Some("box:latest".parse().unwrap()),
            changes: vec!["CMD [\"sh\"]".into()],
            ..image::ImportRequest::default()
        };
        engine.import(std::io::Cursor::new(tar), request).await.unwrap();
        Some(engine)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Nothing may be mounted any more when the directory goes; what is, is a leak that the test has not seen.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let root = self.root.path().display().to_string();
        for line in mounts.lines().filter(|line| line.contains(&root)) {
            if let Some(point) = line.split(' ').nth(4) {
                let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
            }
        }
        let parent = self.options.cgroup_parent.trim_start_matches('/');
        for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(entry.path().join(parent));
        }
        let _ = std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(parent));
    }
}

fn words(text: &str) -> Option<Vec<String>> {
    Some(text.split(' ').map(str::to_owned).collect())
}

fn ask(name: &str, command: &[&str]) -> CreateRequest {
    CreateRequest {
        name: Some(name.into()),
        config: ContainerConfig {
            image: "box".into(),
            cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
            attach_stdout: true,
            ..ContainerConfig::default()
        },
        host_config: HostConfig { network_mode: "none".into(), ..HostConfig::default() },
        ..CreateRequest::default()
    }
}

/// Attaches to stdout and stderr; the other end gives all output when the container has ended.
async fn attach(engine: &Engine, name: &str, stdin: bool) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let request = AttachRequest {
        stdin,
        stdout: true,
        stderr: true,
        stream: true,
        ..AttachRequest::default()
    };
    let ticket = engine.attach(name, request).await.unwrap();
    ticket.connect(theirs.into(), Vec::new()).await.unwrap();
    ours
}

/// Reads stdcopy frames until the end: stdout and stderr.
async fn output(mut stream: UnixStream) -> (String, String) {
    let read = move || {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut rest = &bytes[..];
        while rest.len() >= 8 {
            let length = u32::from_be_bytes([rest[4], rest[5], rest[6], rest[7]]) as usize;
            let sink = if rest[0] == 2 { &mut err } else { &mut out };
            sink.extend_from_slice(&rest[8..8 + length]);
            rest = &rest[8 + length..];
        }
        (String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Runs a command to its end: exit code, stdout, stderr.
async fn run(engine: &Engine, request: CreateRequest) -> (i64, String, String) {
    let name = request.name.clone().unwrap();
    engine.create(request).await.unwrap();
    let stream = attach(engine, &name, false).await;
    let wait = engine.wait(&name, WaitCondition::NextExit).await.unwrap();
    engine.start(&name).await.unwrap();
    let (out, err) = output(stream).await;
    let code =
        tokio::time::timeout(Duration::from_secs(20), wait.outcome()).await.unwrap().status_code;
    (code, out, err)
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_container_runs_and_leaves_nothing() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    let script = "echo out; echo err >&2; hostname; echo $$; id -u; exit 7";
    let (code, out, err) = run(&engine, ask("one", &["sh", "-c", script])).await;
    let view = engine.inspect("one").unwrap();
    assert_eq!((code, err.as_str()), (7, "err\n"));
    assert_eq!(out, format!("out\n{}\n1\n0\n", view.id.short()));
    let view = engine.inspect(view.id.short()).unwrap();
    assert_eq!((view.state.status, view.state.exit_code), (Status::Exited, 7));
    // The next request waits for the teardown, so after it nothing may be left.
    engine.remove("one", RemoveRequest::default()).await.unwrap();
    assert_eq!(engine.inspect("one").unwrap_err().kind(), Kind::NotFound);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(view.id.as_str()), "{mounts}");
    assert!(!view.graph.upper.exists() && !view.hosts_path.exists());
    for entry in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let dir = entry.path().join(view.cgroup_path.trim_start_matches('/'));
        assert!(!dir.exists(), "{}", dir.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_failed_starts_say_what_dockers_client_looks_for() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    for (name, command, code, text) in [
        ("missing", "nope", 127, "executable file not found in $PATH"),
        ("absent", "/no/such", 127, "no such file or directory"),
        ("denied", "/etc/secret", 126, "permission denied"),
    ] {
        engine.create(ask(name, &[command])).await.unwrap();
        let error = engine.start(name).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(error.chain().contains(text), "{}", error.chain());
        let state = engine.inspect(name).unwrap().state.clone();
        assert_eq!((state.status, state.exit_code), (Status::Created, code), "{}", state.error);
        assert!(state.error.contains(text));
        engine.remove(name, RemoveRequest::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_exec_stop_kill_pause_and_rename() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    engine.create(ask("work", &["sleep", "1000"])).await.unwrap();
    engine.start("work").await.unwrap();
    assert_eq!(engine.start("work").await.unwrap_err().kind(), Kind::NotModified);

    let config = ExecConfig {
        attach_stdout: true,
        attach_stderr: true,
        cmd: words("id").unwrap(),
        user: "u".into(),
        ..ExecConfig::default()
    };
    let exec = engine.exec_create("work", config.clone()).await.unwrap();
    let ticket = engine.exec_attach(&exec, ExecStart::default()).await.unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    ticket.start(theirs.into(), Vec::new()).await.unwrap();
    let (out, _) = output(ours).await;
    assert!(out.contains("uid=1000(u) gid=1000") && out.contains("10(wheel)"), "{out}");
    let seen = engine.exec_inspect(&exec).unwrap();
    assert_eq!(
        (seen.running, seen.exit_code),
        (false, Some(0)),
        "known as soon as the stream ends"
    );

    let exec = engine
        .exec_create("work", ExecConfig { cmd: words("nope").unwrap(), ..config.clone() })
        .await
        .unwrap();
    let error = engine.exec_detached(&exec).await.unwrap_err();
    assert!(error.chain().contains("executable file not found"), "{}", error.chain());
    assert_eq!(engine.exec_inspect(&exec).unwrap().exit_code, Some(127));

    engine.pause("work").await.unwrap();
    assert_eq!(engine.inspect("work").unwrap().state.status, Status::Paused);
    assert_eq!(engine.exec_create("work", config).await.unwrap_err().kind(), Kind::Conflict);
    engine.unpause("work").await.unwrap();

    engine.rename("work", "play").await.unwrap();
    assert_eq!(
        engine.remove("play", RemoveRequest::default()).await.unwrap_err().kind(),
        Kind::Conflict
    );
    // sleep is process 1 and has no handler for SIGTERM.
    engine.stop("play", StopRequest { timeout: Some(0), ..StopRequest::default() }).await.unwrap();
    let state = engine.inspect("play").unwrap().state.clone();
    assert_eq!((state.status, state.exit_code), (Status::Exited, 137));
    assert!(state.death.unwrap().by_engine);
    assert_eq!(engine.kill("play", "TERM").await.unwrap_err().kind(), Kind::Conflict);
    engine.start("play").await.unwrap();
    engine.remove("play", RemoveRequest { force: true, volumes: true }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_volumes_hold_the_images_content_and_outlive_containers() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    let mut request = ask("vol", &["sh", "-c", "cat /data/file; echo new > /data/two; ls /host"]);
    let host = bench.root.path().join("host-dir");
    request.host_config.binds =
        Some(vec!["keep:/data".into(), format!("{}:/host:ro", host.display())]);
    let (code, out, err) = run(&engine, request).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "from the image", ""));
    assert!(host.is_dir(), "-v makes a missing directory");
    assert_eq!(engine.volume_remove("keep", false).await.unwrap_err().kind(), Kind::Conflict);
    engine.remove("vol", RemoveRequest::default()).await.unwrap();
    let mut request = ask("vol2", &["cat", "/data/two"]);
    request.host_config.binds = Some(vec!["keep:/data".into()]);
    assert_eq!(run(&engine, request).await.1, "new\n");
    engine.remove("vol2", RemoveRequest::default()).await.unwrap();
    engine.volume_remove("keep", false).await.unwrap();
    assert_eq!(engine.volume_inspect("keep").unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_stdin_reaches_the_process_and_auto_remove_removes() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    let mut request = ask("cat", &["cat"]);
    request.config.open_stdin = true;
    request.config.stdin_once = true;
    request.host_config.auto_remove = true;
    engine.create(request).await.unwrap();
    let mut stream = attach(&engine, "cat", true).await;
    let wait = engine.wait("cat", WaitCondition::Removed).await.unwrap();
    engine.start("cat").await.unwrap();
    stream.write_all(b"through\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(output(stream).await.0, "through\n");
    let outcome = tokio::time::timeout(Duration::from_secs(10), wait.outcome()).await.unwrap();
    assert_eq!(outcome, WaitOutcome::default());
    assert_eq!(engine.inspect("cat").unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_second_engine_finds_what_the_first_left() {
    let Some(bench) = Bench::new() else { return };
    let Some(first) = bench.with_image().await else { return };
    for (name, command) in [("long", "sleep 1000"), ("short", "sleep 1"), ("orphan", "sleep 1001")]
    {
        first.create(ask(name, &command.split(' ').collect::<Vec<_>>())).await.unwrap();
        first.start(name).await.unwrap();
    }
    let orphan = first.inspect("orphan").unwrap();
    // The first engine is as good as killed: nobody reads its mailboxes' news any more in this test.
    let shim = bench.options.exec_root.join("containers").join(orphan.id.as_str()).join("shim.pid");
    let shim: u32 = std::fs::read_to_string(shim).unwrap().trim().parse().unwrap();
    sys::pidfd::send_signal(std::os::fd::AsFd::as_fd(&sys::pidfd::open(shim).unwrap()), 9).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let state = first.inspect("orphan").unwrap().state.clone();
    assert_eq!((state.status, state.pid), (Status::Running, orphan.state.pid));
    assert!(!state.shim_lost, "another shim has adopted it");
    let config = ExecConfig { cmd: vec!["true".into()], ..ExecConfig::default() };
    let exec = first.exec_create("orphan", config).await.unwrap();
    first.exec_detached(&exec).await.unwrap();

    let second = bench.open().await;
    assert_eq!(second.inspect("long").unwrap().state.status, Status::Running);
    assert_eq!(second.inspect("orphan").unwrap().state.status, Status::Running);
    let wait = second.wait("short", WaitCondition::NotRunning).await.unwrap();
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(10), wait.outcome()).await.unwrap().status_code,
        0
    );
    let stop = StopRequest { timeout: Some(0), ..StopRequest::default() };
    second.stop("long", stop.clone()).await.unwrap();
    assert_eq!(second.inspect("long").unwrap().state.exit_code, 137);
    second.stop("orphan", stop).await.unwrap();
    let state = second.inspect("orphan").unwrap().state.clone();
    assert_eq!(state.status, Status::Exited);
    assert!(
        state.exit_code == 137 || (state.exit_code == 255 && state.error.contains("unknown")),
        "{state:?}"
    );
    for name in ["long", "short", "orphan"] {
        second.remove(name, RemoveRequest::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_the_restart_policy_restarts_and_a_stop_ends_it() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    let mut request = ask("again", &["sh", "-c", "exit 3"]);
    request.host_config.restart_policy =
        RestartPolicy { name: "on-failure".into(), maximum_retry_count: 2 };
    engine.create(request).await.unwrap();
    engine.start("again").await.unwrap();
    let wait = engine.wait("again", WaitCondition::NotRunning).await.unwrap();
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(20), wait.outcome()).await.unwrap().status_code,
        3
    );
    assert_eq!(engine.inspect("again").unwrap().restart_count, 2);

    let mut request = ask("ever", &["sh", "-c", "sleep 0.1"]);
    request.host_config.restart_policy =
        RestartPolicy { name: "always".into(), maximum_retry_count: 0 };
    engine.create(request).await.unwrap();
    engine.start("ever").await.unwrap();
    while engine.inspect("ever").unwrap().restart_count < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    engine.stop("ever", StopRequest { timeout: Some(0), ..StopRequest::default() }).await.unwrap();
    let count = engine.inspect("ever").unwrap().restart_count;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let view = engine.inspect("ever").unwrap();
    assert_eq!((view.state.status, view.restart_count), (Status::Exited, count));
    for name in ["again", "ever"] {
        engine.remove(name, RemoveRequest::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_bad_requests_have_dockers_words() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    let say = async |request: CreateRequest| {
        let error = engine.create(request).await.unwrap_err();
        (error.kind(), error.chain())
    };
    let mut request = ask("x1", &["true"]);
    request.config.image = "absent".into();
    assert_eq!(say(request).await, (Kind::NotFound, "No such image: absent:latest".into()));
    engine.create(ask("taken", &["true"])).await.unwrap();
    let (kind, text) = say(ask("taken", &["true"])).await;
    assert_eq!(kind, Kind::Conflict);
    assert!(
        text.starts_with(
            "Conflict. The container name \"/taken\" is already in use by container \""
        ),
        "{text}"
    );
    assert_eq!(say(ask("-bad", &["true"])).await.0, Kind::Invalid);
    let mut request = ask("x2", &["true"]);
    request.host_config.memory = 1024;
    assert_eq!(say(request).await, (Kind::Invalid, "Minimum memory limit allowed is 6MB".into()));
    let mut request = ask("x3", &["true"]);
    request.host_config.mounts = Some(vec![types::container::Mount {
        r#type: "bind".into(),
        source: "/no/such/dir".into(),
        target: "/x".into(),
        ..types::container::Mount::default()
    }]);
    let words =
        "invalid mount config for type \"bind\": bind source path does not exist: /no/such/dir";
    assert_eq!(say(request).await, (Kind::Invalid, words.into()));
    // Nothing of the refused ones is left.
    let list = engine.list(ListRequest { all: true, ..ListRequest::default() }).await.unwrap();
    assert_eq!(list.len(), 1);
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let mut request = ask("labelled", &["true"]);
    request.config.labels = Some(labels);
    engine.create(request).await.unwrap();
    let filters = Filters::parse(r#"{"label":{"a=b":true},"status":["created"]}"#).unwrap();
    let list = engine.list(ListRequest { filters, ..ListRequest::default() }).await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].view.name, "labelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_lost_shim_is_replaced() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    engine
        .create(ask("alone", &["sh", "-c", "sleep 1; echo still heard; exec sleep 1000"]))
        .await
        .unwrap();
    engine.start("alone").await.unwrap();
    let view = engine.inspect("alone").unwrap();
    let shim = bench.options.exec_root.join("containers").join(view.id.as_str()).join("shim.pid");
    let shim: u32 = std::fs::read_to_string(shim).unwrap().trim().parse().unwrap();
    sys::pidfd::send_signal(std::os::fd::AsFd::as_fd(&sys::pidfd::open(shim).unwrap()), 9).unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let state = engine.inspect("alone").unwrap().state.clone();
    assert_eq!(
        (state.status, state.pid, state.shim_lost),
        (Status::Running, view.state.pid, false)
    );
    let log = std::fs::read_to_string(view.log_path.clone().unwrap()).unwrap();
    assert!(log.contains("still heard"), "{log}");
    engine.stop("alone", StopRequest { timeout: Some(0), ..StopRequest::default() }).await.unwrap();
    let state = engine.inspect("alone").unwrap().state.clone();
    assert!(
        state.exit_code == 137 || (state.exit_code == 255 && state.error.contains("unknown")),
        "{state:?}"
    );
    engine.remove("alone", RemoveRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_out_of_memory_is_told_and_remembered() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    let mut events = engine.events(EventsRequest::default()).unwrap();
    let mut request = ask("hungry", &["sh", "-c", "head -c 200000000 /dev/zero | tail; exit $?"]);
    request.host_config.memory = 16 << 20;
    request.host_config.memory_swap = 16 << 20;
    let (code, _, _) = run(&engine, request).await;
    let state = engine.inspect("hungry").unwrap().state.clone();
    assert_eq!((code, state.oom_killed), (137, true), "{state:?}");
    let death = state.death.unwrap();
    assert!(death.oom_kills >= 1 && death.signal.is_none(), "the shell lived to tell: {death:?}");
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("die") {
        let event =
            tokio::time::timeout(Duration::from_secs(5), events.next()).await.unwrap().unwrap();
        seen.push(event.action.clone());
    }
    assert_eq!(seen, ["create", "attach", "start", "oom", "die"]);
    engine.remove("hungry", RemoveRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_health_is_checked() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    let mut request = ask("well", &["sleep", "1000"]);
    request.config.healthcheck = Some(types::container::Healthcheck {
        test: Some(vec!["CMD-SHELL".into(), "echo looked; ls /tmp/sick && exit 1; exit 0".into()]),
        interval: 100_000_000,
        retries: 2,
        ..types::container::Healthcheck::default()
    });
    engine.create(request).await.unwrap();
    engine.start("well").await.unwrap();
    let health = async |wanted: &str| {
        for _ in 0..200 {
            let health = engine.inspect("well").unwrap().state.health.clone().unwrap();
            if health.status == wanted {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never {wanted}: {:?}", engine.inspect("well").unwrap().state.health);
    };
    let seen = health("healthy").await;
    assert!(seen.log[0].output.contains("looked"), "{seen:?}");
    let config = ExecConfig {
        cmd: words("sh -c")
            .map(|mut c| {
                c.push("echo > /tmp/sick".into());
                c
            })
            .unwrap(),
        ..ExecConfig::default()
    };
    let exec = engine.exec_create("well", config).await.unwrap();
    engine.exec_detached(&exec).await.unwrap();
    health("unhealthy").await;
    engine.remove("well", RemoveRequest { force: true, volumes: true }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_options_reach_the_kernel() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    let script = "touch /x 2>/dev/null || echo readonly; touch /scratch/y && echo tmpfs; grep -E '^(CapEff|NoNewPrivs|Seccomp):' \
        /proc/self/status; echo $A $HOSTNAME $HOME; cat /proc/self/oom_score_adj; id -u; grep 'open files' /proc/self/limits; \
        stat -f -c %b /dev/shm";
    let mut request = ask("options", &["sh", "-c", script]);
    request.config.env = Some(vec!["A=b".into()]);
    request.config.user = "u:wheel".into();
    let host = &mut request.host_config;
    host.readonly_rootfs = true;
    host.tmpfs = Some(BTreeMap::from([("/scratch".into(), "mode=1777".into())]));
    host.cap_drop = Some(vec!["ALL".into()]);
    host.security_opt = Some(vec!["no-new-privileges".into()]);
    host.oom_score_adj = 77;
    host.shm_size = 8 << 20;
    host.ulimits =
        Some(vec![types::container::Ulimit { name: "nofile".into(), soft: 99, hard: 100 }]);
    let (code, out, err) = run(&engine, request).await;
    let short = engine.inspect("options").unwrap().id.short().to_owned();
    let lines: Vec<&str> = out.lines().collect();
    let want = [
        "readonly",
        "tmpfs",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        &format!("b {short} /home/u"),
        "77",
        "1000",
        "Max open files            99                   100                  files     ",
        "2048",
    ];
    assert_eq!((code, lines), (0, want.to_vec()), "{err}");
    engine.remove("options", RemoveRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_namespaces_are_shared_as_asked() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    let mut request = ask("donor", &["sleep", "1000"]);
    request.host_config.ipc_mode = "shareable".into();
    engine.create(request).await.unwrap();
    engine.start("donor").await.unwrap();
    let inodes = |name: &str| {
        let pid = engine.inspect(name).unwrap().state.pid;
        ["net", "pid", "ipc", "uts", "mnt", "cgroup"]
            .map(|ns| std::fs::read_link(format!("/proc/{pid}/ns/{ns}")).unwrap())
    };
    let host = ["net", "pid", "ipc", "uts", "mnt", "cgroup"]
        .map(|ns| std::fs::read_link(format!("/proc/self/ns/{ns}")).unwrap());
    let donor = inodes("donor");
    assert!((0..6).all(|at| donor[at] != host[at]), "{donor:?}");
    let mut request = ask("guest", &["sleep", "1000"]);
    request.host_config.network_mode = "container:donor".into();
    request.host_config.ipc_mode = "container:donor".into();
    request.host_config.pid_mode = "container:donor".into();
    request.host_config.uts_mode = "host".into();
    engine.create(request).await.unwrap();
    engine.start("guest").await.unwrap();
    let guest = inodes("guest");
    assert_eq!([&guest[0], &guest[1], &guest[2]], [&donor[0], &donor[1], &donor[2]]);
    assert_eq!(guest[3], host[3]);
    assert!(guest[4] != donor[4] && guest[5] != donor[5]);
    let limits = UpdateRequest {
        resources: HostConfig { memory: 32 << 20, ..HostConfig::default() },
        restart_policy: None,
    };
    engine.update("donor", limits).await.unwrap();
    let view = engine.inspect("donor").unwrap();
    assert_eq!(view.host_config.memory_swap, 64 << 20);
    let file = format!("/sys/fs/cgroup/memory{}/memory.limit_in_bytes", view.cgroup_path);
    if let Ok(limit) = std::fs::read_to_string(file) {
        assert_eq!(limit.trim(), (32 << 20).to_string());
    }
    for name in ["guest", "donor"] {
        engine.remove(name, RemoveRequest { force: true, volumes: true }).await.unwrap();
    }
}

/// Not a test of its own: the victim of the one below, which kills it.
#[tokio::test(flavor = "multi_thread")]
async fn victim() {
    let Some(root) = std::env::var_os("BELLJAR_VICTIM_ROOT") else { return };
    let Some(programs) = programs() else { return };
    let engine = Engine::open(options(&programs, Path::new(&root))).await.unwrap();
    for round in 0.. {
        let name = format!("r{}-{round}", std::process::id());
        engine.create(ask(&name, &["sleep", "1000"])).await.unwrap();
        engine.start(&name).await.unwrap();
        if round % 3 == 0 {
            continue;
        }
        let stop = StopRequest { timeout: Some(0), ..StopRequest::default() };
        engine.stop(&name, stop).await.unwrap();
        engine.remove(&name, RemoveRequest::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_an_engine_killed_at_any_moment_leaves_no_lie_and_no_orphan() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    drop(engine);
    for round in 0..12u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env("BELLJAR_VICTIM_ROOT", bench.root.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // From the middle of its first start to some containers later.
        tokio::time::sleep(Duration::from_millis(30 + round * 37)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let engine = bench.open().await;
        let list = engine.list(ListRequest { all: true, ..ListRequest::default() }).await.unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        for container in &list {
            let view = &container.view;
            let command =
                std::fs::read(format!("/proc/{}/cmdline", view.state.pid)).unwrap_or_default();
            let mounted = mounts.contains(&format!("{}", view.graph.merged.display()));
            match view.state.status {
                Status::Running => {
                    assert!(command.starts_with(b"sleep\0") && mounted, "{round}: {view:?}");
                }
                _ => assert!(!mounted && view.state.pid == 0, "{round}: {view:?}"),
            }
        }
        let ids: Vec<String> = list.iter().map(|container| container.view.id.to_string()).collect();
        for dir in ["data/containers", "run/bundles", "run/containers", "run/runtime"] {
            for entry in
                std::fs::read_dir(bench.root.path().join(dir)).into_iter().flatten().flatten()
            {
                let name = entry.file_name().into_string().unwrap();
                assert!(name.len() != 64 || ids.contains(&name), "{round}: orphan {dir}/{name}");
            }
        }
        if round % 4 == 3 {
            for id in &ids {
                engine.remove(id, RemoveRequest { force: true, volumes: true }).await.unwrap();
            }
            for dir in ["data/containers", "run/bundles", "run/containers", "run/runtime"] {
                let left =
                    std::fs::read_dir(bench.root.path().join(dir)).into_iter().flatten().flatten();
                let left: Vec<_> = left
                    .map(|e| e.path())
                    .filter(|p| p.file_name().is_some_and(|n| n.len() == 64))
                    .collect();
                assert!(left.is_empty(), "{round}: {left:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_export_packs_the_root_and_leaves_no_mount() {
    let Some(bench) = Bench::new() else { return };
    let Some(engine) = bench.with_image().await else { return };
    engine.create(ask("pack", &["sleep", "1000"])).await.unwrap();
    let merged = engine.inspect("pack").unwrap().graph.merged.display().to_string();
    let mounted = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&merged);
    let names = async || {
        let mut chunks = engine.export("pack").await.unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        let mut tar = tar::Archive::new(&bytes[..]);
        let paths =
            tar.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string());
        paths.collect::<Vec<_>>()
    };
    assert!(names().await.iter().any(|name| name.trim_start_matches("./") == "bin/busybox"));
    for _ in 0..100 {
        if !mounted() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!mounted(), "a reader's mount ends with the reader");
    engine.start("pack").await.unwrap();
    assert!(names().await.len() > 10);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(mounted(), "a run's mount stays");
    engine.remove("pack", RemoveRequest { force: true, volumes: true }).await.unwrap();
    assert!(!mounted());
}
