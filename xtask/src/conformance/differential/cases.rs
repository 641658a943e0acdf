//! The bundles: each is the same document with one thing changed.

use serde_json::{Value, json};

use super::bundle::Site;

/// How a case is driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Through its whole life: create, start, exec, pause, kill, delete.
    Life,
    /// The same with a terminal, whose other end is taken by a console socket.
    Terminal,
    /// `run` in the foreground: exit status and output.
    Run,
    /// `create`, which is expected to fail; what is left is looked at.
    Refused,
    /// `create` and `delete`, without a start.
    Created,
    /// Commands that do not fit the state of the container.
    Misuse,
}

/// A bundle.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// How it is driven.
    pub way: Way,
    /// What is changed.
    pub edit: fn(&mut Value, &Site),
}

const fn case(name: &'static str, way: Way, edit: fn(&mut Value, &Site)) -> Case {
    Case { name, way, edit }
}

/// Sets the value at a JSON pointer; what leads to it must be there.
fn set(spec: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    spec.pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .map(|object| object.insert(key.into(), value));
}

fn remove(spec: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    spec.pointer_mut(parent).and_then(Value::as_object_mut).map(|object| object.remove(key));
}

fn push(spec: &mut Value, pointer: &str, value: Value) {
    if spec.pointer(pointer).is_none() {
        set(spec, pointer, json!([]));
    }
    spec.pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .map(|array| array.push(value))
        .unwrap_or_default();
}

fn mount(spec: &mut Value, destination: &str, kind: &str, source: &str, options: &[&str]) {
    push(
        spec,
        "/mounts",
        json!({"destination": destination, "type": kind, "source": source, "options": options}),
    );
}

fn bind(spec: &mut Value, destination: &str, source: &str, options: &[&str]) {
    let options: Vec<&str> = ["bind"].iter().chain(options).copied().collect();
    mount(spec, destination, "bind", source, &options);
}

fn script(spec: &mut Value, text: &str) {
    set(spec, "/process/args", json!(["/bin/sh", "-c", text]));
}

/// Takes a namespace away, or gives it a path.
fn namespace(spec: &mut Value, kind: &str, path: Option<String>) {
    let Some(list) = spec.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut) else {
        return;
    };
    list.retain(|entry| entry["type"] != kind);
    if let Some(path) = path {
        list.push(json!({"type": kind, "path": path}));
    }
}

fn map_users(spec: &mut Value) {
    push(spec, "/linux/namespaces", json!({"type": "user"}));
    for list in ["/linux/uidMappings", "/linux/gidMappings"] {
        set(spec, list, json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]));
    }
}

fn hook(spec: &mut Value, site: &Site, kind: &str, code: &str) {
    let inside = kind == "startContainer";
    let (path, dir) = if inside {
        ("/hooks/hook".into(), "/hooks".into())
    } else {
        (site.path("hooks/hook"), site.path("hooks"))
    };
    let entry = json!({"path": path, "args": ["hook", kind, dir, code], "env": ["A=of the hook", "PATH=/bin:/usr/bin"]});
    if spec.get("hooks").is_none() {
        set(spec, "/hooks", json!({}));
    }
    push(spec, &format!("/hooks/{kind}"), entry);
}

fn resources(spec: &mut Value, value: &Value) {
    for (key, value) in value.as_object().into_iter().flatten() {
        set(spec, &format!("/linux/resources/{key}"), value.clone());
    }
}

/// Every bundle.
pub fn all() -> impl Iterator<Item = &'static Case> {
    PROCESS.iter().chain(MOUNTS).chain(KERNEL).chain(GROUPS).chain(RUNS).chain(REFUSED)
}

const PROCESS: &[Case] = &[
    case("plain", Way::Life, |_, _| {}),
    case("terminal", Way::Terminal, |spec, _| {
        set(spec, "/process/terminal", json!(true));
        set(spec, "/process/consoleSize", json!({"height": 40, "width": 120}));
    }),
    case("user with groups and umask", Way::Life, |spec, _| {
        set(
            spec,
            "/process/user",
            json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 55], "umask": 0o027}),
        );
    }),
    case("user that is in no list", Way::Life, |spec, _| {
        set(spec, "/process/user", json!({"uid": 4242, "gid": 4343}));
    }),
    case("HOME given", Way::Life, |spec, _| push(spec, "/process/env", json!("HOME=/given"))),
    case("environment: twice the same, an empty value", Way::Life, |spec, _| {
        set(spec, "/process/env", json!(["PATH=/bin", "A=1", "A=2", "E=", "B=x=y"]));
    }),
    case("environment: none", Way::Life, |spec, _| remove(spec, "/process/env")),
    case("capabilities: five sets", Way::Life, |spec, _| {
        let caps = |list: &[&str]| json!(list);
        set(spec, "/process/user", json!({"uid": 1000, "gid": 1000}));
        set(
            spec,
            "/process/capabilities",
            json!({
                "bounding": caps(&["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETUID"]), "permitted": caps(&["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]),
                "effective": caps(&["CAP_KILL", "CAP_NET_RAW"]), "inheritable": caps(&["CAP_NET_RAW", "CAP_KILL"]), "ambient": caps(&["CAP_NET_RAW"]),
            }),
        );
    }),
    case("capabilities: absent", Way::Life, |spec, _| remove(spec, "/process/capabilities")),
    case("capabilities: empty", Way::Life, |spec, _| set(spec, "/process/capabilities", json!({}))),
    case("capabilities: an unknown one", Way::Life, |spec, _| {
        push(spec, "/process/capabilities/bounding", json!("CAP_NOPE"));
    }),
    case("rlimits", Way::Life, |spec, _| {
        let limit =
            |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
        let limits = [
            limit("RLIMIT_NOFILE", 100, 200),
            limit("RLIMIT_CORE", 0, 0),
            limit("RLIMIT_STACK", 1 << 20, 1 << 22),
            limit("RLIMIT_NPROC", 300, 400),
        ];
        set(spec, "/process/rlimits", json!(limits));
    }),
    case("no_new_privs off", Way::Life, |spec, _| {
        set(spec, "/process/noNewPrivileges", json!(false))
    }),
    case("oomScoreAdj", Way::Life, |spec, _| set(spec, "/process/oomScoreAdj", json!(77))),
    case("working directory", Way::Life, |spec, _| set(spec, "/process/cwd", json!("/home/u"))),
    case("working directory that is not there", Way::Life, |spec, _| {
        set(spec, "/process/cwd", json!("/not/there"))
    }),
    case("personality", Way::Life, |spec, _| {
        set(spec, "/linux/personality", json!({"domain": "LINUX32"}))
    }),
    case("ioPriority", Way::Life, |spec, _| {
        set(spec, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    }),
    case("scheduler", Way::Life, |spec, _| {
        set(spec, "/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 3}));
    }),
    case("keyring seen", Way::Life, |spec, _| {
        set(spec, "/linux/maskedPaths", json!(["/proc/kcore"]))
    }),
    case("annotations", Way::Life, |spec, _| {
        set(spec, "/annotations", json!({"org.x": "y", "z": ""}))
    }),
    case("hostname and domainname", Way::Life, |spec, _| {
        set(spec, "/hostname", json!("a-host"));
        set(spec, "/domainname", json!("a.domain"));
    }),
];

const MOUNTS: &[Case] = &[
    case("root read-only", Way::Life, |spec, _| set(spec, "/root/readonly", json!(true))),
    case("bind: directory, file, options", Way::Life, |spec, site| {
        bind(spec, "/rw", &site.path("source"), &["rw"]);
        bind(spec, "/ro", &site.path("source"), &["ro", "nosuid", "nodev", "noexec"]);
        bind(spec, "/new/file", &site.path("source/file"), &["ro"]);
        bind(spec, "/new/dir", &site.path("source"), &["rbind", "rprivate", "noatime"]);
    }),
    case("bind: below a mount, a relative source", Way::Life, |spec, site| {
        mount(spec, "/t", "tmpfs", "tmpfs", &["size=1m"]);
        bind(spec, "/t/inner/dir", &site.path("source"), &["rbind"]);
        bind(spec, "/t/file", "source/file", &[]);
    }),
    case("bind: recursively read-only", Way::Life, |spec, site| {
        bind(spec, "/deep", &site.path("source"), &["rbind", "rro"]);
    }),
    case("bind: symlink as destination", Way::Life, |spec, site| {
        let _ = std::os::unix::fs::symlink("/home/u", site.rootfs().join("link"));
        let _ = std::os::unix::fs::symlink("../../../../tmp/esc", site.rootfs().join("escape"));
        bind(spec, "/link", &site.path("source"), &[]);
        bind(spec, "/escape", &site.path("source"), &[]);
    }),
    case("propagation of mounts", Way::Life, |spec, site| {
        bind(spec, "/rw", &site.path("source"), &["rbind", "rshared"]);
        bind(spec, "/ro", &site.path("source"), &["rbind", "rslave"]);
        bind(spec, "/deep", &site.path("source"), &["rbind", "unbindable"]);
        bind(spec, "/copied", &site.path("source"), &["rbind", "private"]);
    }),
    case("tmpfs: size, mode, owner, tmpcopyup", Way::Life, |spec, _| {
        mount(
            spec,
            "/t",
            "tmpfs",
            "tmpfs",
            &["nosuid", "nodev", "noexec", "size=1m", "mode=0700", "uid=1000", "nr_inodes=50"],
        );
        mount(spec, "/copied", "tmpfs", "tmpfs", &["tmpcopyup"]);
    }),
    case("proc with hidepid, sysfs read-write, devpts alone", Way::Life, |spec, _| {
        set(spec, "/mounts/0/options", json!(["hidepid=2", "nosuid", "noexec", "nodev"]));
        set(spec, "/mounts/5/options", json!(["nosuid", "noexec", "nodev"]));
    }),
    case("overlay", Way::Life, |spec, site| {
        for name in ["lower", "upper", "work"] {
            let _ = std::fs::create_dir_all(site.dir.join(name));
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            site.path("lower"),
            site.path("upper"),
            site.path("work")
        );
        mount(spec, "/t", "overlay", "overlay", &options.split(',').collect::<Vec<_>>());
    }),
    case("device directory of the host", Way::Life, |spec, _| {
        set(
            spec,
            "/mounts/1",
            json!({"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind", "rslave", "nosuid"]}),
        );
        spec.pointer_mut("/mounts")
            .and_then(Value::as_array_mut)
            .map(|list| list.drain(2..5).count())
            .unwrap_or_default();
        set(spec, "/process/args", json!(["/bin/sh", "-c", "echo READY; exec sleep 1000"]));
    }),
    case("no mount but proc", Way::Life, |spec, _| {
        set(spec, "/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    }),
    case("masked: file, directory, what is not there", Way::Life, |spec, _| {
        set(
            spec,
            "/linux/maskedPaths",
            json!(["/masked/file", "/masked/dir", "/not/there", "/proc/keys"]),
        );
    }),
    case("read-only paths: file, directory, what is not there", Way::Life, |spec, _| {
        set(spec, "/linux/readonlyPaths", json!(["/ro", "/etc/passwd", "/not/there", "/proc/sys"]));
    }),
    case("rootfsPropagation: shared", Way::Life, |spec, _| {
        set(spec, "/linux/rootfsPropagation", json!("shared"))
    }),
    case("rootfsPropagation: slave", Way::Life, |spec, _| {
        set(spec, "/linux/rootfsPropagation", json!("slave"))
    }),
    case("rootfsPropagation: rprivate", Way::Life, |spec, _| {
        set(spec, "/linux/rootfsPropagation", json!("rprivate"))
    }),
    case("rootfsPropagation: unbindable", Way::Life, |spec, _| {
        set(spec, "/linux/rootfsPropagation", json!("unbindable"))
    }),
];

const KERNEL: &[Case] = &[
    case("seccomp: errno, arguments", Way::Life, |spec, site| {
        set(
            spec,
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
                {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"},
                {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]},
            ]}),
        );
        let extra = "kill -USR1 $$ 2>/dev/null; say usr1 $?; kill -CONT $$; say cont $?; say mkdirs \"$(mkdir /made2 2>&1)\"\n";
        let _ = std::fs::write(site.rootfs().join("etc/extra"), extra);
    }),
    case("sysctl", Way::Life, |spec, _| {
        set(
            spec,
            "/linux/sysctl",
            json!({"net.ipv4.ip_forward": "1", "net.ipv4.ping_group_range": "0 5", "kernel.msgmax": "5000", "fs.mqueue.msg_max": "11"}),
        );
    }),
    case("devices", Way::Life, |spec, _| {
        set(
            spec,
            "/linux/devices",
            json!([
                {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 5, "gid": 6},
                {"path": "/dev/sub/plain", "type": "c", "major": 1, "minor": 7},
                {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
                {"path": "/dev/block", "type": "b", "major": 7, "minor": 1, "fileMode": 0o660},
            ]),
        );
    }),
    case("devices: rules", Way::Life, |spec, _| {
        let rule = |allow: bool, kind: &str, major: Value, minor: Value, access: &str| json!({"allow": allow, "type": kind, "major": major, "minor": minor, "access": access});
        let rules = json!([
            {"allow": false, "access": "rwm"},
            rule(true, "c", json!(1), json!(11), "rw"),
            rule(true, "b", json!(7), Value::Null, "m"),
            rule(true, "c", json!(10), json!(200), "rwm"),
        ]);
        set(spec, "/linux/resources/devices", rules);
    }),
    case("devices: everything allowed", Way::Life, |spec, _| {
        set(spec, "/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
    }),
    case("hooks", Way::Life, |spec, site| {
        bind(spec, "/hooks", &site.path("hooks"), &["rw"]);
        for kind in [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ] {
            hook(spec, site, kind, "0");
        }
        hook(spec, site, "poststop", "1");
        hook(spec, site, "poststop", "0");
    }),
    case("user namespace", Way::Life, |spec, _| map_users(spec)),
    case("user namespace: a user, read-only root", Way::Life, |spec, _| {
        map_users(spec);
        set(spec, "/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [55]}));
        set(spec, "/root/readonly", json!(true));
    }),
    case("user namespace: devices", Way::Life, |spec, _| {
        map_users(spec);
        set(
            spec,
            "/linux/devices",
            json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]),
        );
    }),
    case("namespaces of the host: network, IPC, UTS", Way::Life, |spec, _| {
        for kind in ["network", "ipc", "uts"] {
            namespace(spec, kind, None);
        }
        remove(spec, "/hostname");
    }),
    case("namespace of the host: PID", Way::Life, |spec, _| namespace(spec, "pid", None)),
    case("namespace of the host: cgroup", Way::Life, |spec, _| namespace(spec, "cgroup", None)),
    case("namespaces by path", Way::Life, |spec, site| {
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            namespace(spec, kind, Some(format!("/proc/{}/ns/{file}", site.other)));
        }
    }),
    case("mount namespace alone", Way::Life, |spec, _| {
        set(spec, "/linux/namespaces", json!([{"type": "mount"}]));
        remove(spec, "/hostname");
        spec.pointer_mut("/mounts")
            .and_then(Value::as_array_mut)
            .map(|list| list.remove(4))
            .unwrap_or_default();
    }),
];

const GROUPS: &[Case] = &[
    case("limits: memory", Way::Life, |spec, _| {
        resources(
            spec,
            &json!({"memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 128 << 20}}),
        );
    }),
    case("limits: memory without bound", Way::Life, |spec, _| {
        resources(spec, &json!({"memory": {"limit": -1, "swap": -1}}));
    }),
    case("limits: CPU", Way::Life, |spec, _| {
        resources(
            spec,
            &json!({"cpu": {"shares": 512, "quota": 30_000, "period": 60_000, "cpus": "0", "mems": "0"}}),
        );
    }),
    case("limits: pids", Way::Life, |spec, _| resources(spec, &json!({"pids": {"limit": 33}}))),
    case("limits: pids without bound", Way::Life, |spec, _| {
        resources(spec, &json!({"pids": {"limit": -1}}))
    }),
    case("limits: block I/O", Way::Life, |spec, _| {
        resources(
            spec,
            &json!({"blockIO": {"throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 1 << 20}],
            "throttleWriteIOPSDevice": [{"major": 7, "minor": 0, "rate": 100}]}}),
        );
    }),
    case("group: none named", Way::Life, |spec, _| remove(spec, "/linux/cgroupsPath")),
    case("group: relative", Way::Life, |spec, site| {
        set(spec, "/linux/cgroupsPath", json!(site.group.trim_start_matches('/')));
    }),
    case("group: writable inside", Way::Life, |spec, _| {
        set(spec, "/mounts/6/options", json!(["nosuid", "noexec", "nodev", "relatime", "rw"]));
    }),
];

const RUNS: &[Case] = &[
    case("run: status 0", Way::Run, |spec, _| script(spec, "echo out; echo err >&2")),
    case("run: status 7", Way::Run, |spec, _| script(spec, "exit 7")),
    case("run: ended by a signal", Way::Run, |spec, _| {
        namespace(spec, "pid", None);
        script(spec, "kill -9 $$");
    }),
    case("run: ended by seccomp", Way::Run, |spec, _| {
        set(
            spec,
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}),
        );
        script(spec, "mkdir /x; echo $?");
    }),
    case("run: program that is not there", Way::Run, |spec, _| {
        set(spec, "/process/args", json!(["/nope"]))
    }),
    case("run: program not in PATH", Way::Run, |spec, _| {
        set(spec, "/process/args", json!(["nope"]))
    }),
    case("run: program without the right", Way::Run, |spec, _| {
        set(spec, "/process/args", json!(["/plain"]))
    }),
    case("run: a directory", Way::Run, |spec, _| set(spec, "/process/args", json!(["/etc"]))),
    case("run: working directory closed to the user", Way::Run, |spec, _| {
        set(spec, "/process/cwd", json!("/closed"));
        set(spec, "/process/user", json!({"uid": 1000, "gid": 1000}));
        script(spec, "pwd");
    }),
    case("run: working directory is a file", Way::Run, |spec, _| {
        set(spec, "/process/cwd", json!("/plain"));
        script(spec, "pwd");
    }),
    case("run: out of memory", Way::Run, |spec, _| {
        resources(spec, &json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}}));
        set(
            spec,
            "/process/args",
            json!(["/bin/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]),
        );
    }),
    case("run: a hook that fails", Way::Run, |spec, site| {
        hook(spec, site, "createRuntime", "3");
        hook(spec, site, "poststop", "0");
        script(spec, "echo out");
    }),
    case("run: a start hook that fails", Way::Run, |spec, site| {
        bind(spec, "/hooks", &site.path("hooks"), &["rw"]);
        hook(spec, site, "startContainer", "3");
        hook(spec, site, "poststop", "0");
        script(spec, "echo out");
    }),
    case("run: fork bomb stopped", Way::Run, |spec, _| {
        resources(spec, &json!({"pids": {"limit": 5}}));
        script(spec, "for i in 1 2 3 4 5 6 7; do sleep 1 & done 2>/dev/null; echo $?");
    }),
];

const REFUSED: &[Case] = &[
    case("created, never started", Way::Created, |_, _| {}),
    case("misuse", Way::Misuse, |_, _| {}),
    case("refused: no args", Way::Refused, |spec, _| set(spec, "/process/args", json!([]))),
    case("refused: no root", Way::Refused, |spec, _| remove(spec, "/root")),
    case("refused: root that is not there", Way::Refused, |spec, _| {
        set(spec, "/root/path", json!("nope"))
    }),
    case("refused: relative working directory", Way::Refused, |spec, _| {
        set(spec, "/process/cwd", json!("tmp"))
    }),
    case("refused: source that is not there", Way::Refused, |spec, site| {
        bind(spec, "/rw", &site.path("nope"), &[])
    }),
    case("refused: unknown file system", Way::Refused, |spec, _| {
        mount(spec, "/t", "nopefs", "none", &[])
    }),
    case("refused: target cannot be made", Way::Refused, |spec, site| {
        bind(spec, "/plain/below", &site.path("source"), &[]);
    }),
    case("refused: namespace of an unknown kind", Way::Refused, |spec, _| {
        push(spec, "/linux/namespaces", json!({"type": "nope"}));
    }),
    case("refused: namespace twice", Way::Refused, |spec, _| {
        push(spec, "/linux/namespaces", json!({"type": "pid"}))
    }),
    case("refused: namespace path that is not there", Way::Refused, |spec, _| {
        namespace(spec, "network", Some("/proc/nope/ns/net".into()));
    }),
    case("refused: namespace path of another kind", Way::Refused, |spec, site| {
        namespace(spec, "network", Some(format!("/proc/{}/ns/uts", site.other)));
    }),
    case("refused: hostname without a UTS namespace", Way::Refused, |spec, _| {
        namespace(spec, "uts", None)
    }),
    case("refused: sysctl of the host", Way::Refused, |spec, _| {
        let now = std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap_or_default();
        set(spec, "/linux/sysctl", json!({"vm.swappiness": now.trim()}));
    }),
    case("refused: sysctl without its namespace", Way::Refused, |spec, _| {
        namespace(spec, "network", None);
        let now = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
        set(spec, "/linux/sysctl", json!({"net.ipv4.ip_forward": now.trim()}));
    }),
    case("refused: oomScoreAdj out of range", Way::Refused, |spec, _| {
        set(spec, "/process/oomScoreAdj", json!(2000))
    }),
    case("refused: unknown rlimit", Way::Refused, |spec, _| {
        set(spec, "/process/rlimits", json!([{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}]));
    }),
    case("refused: rlimit twice", Way::Refused, |spec, _| {
        let limit = json!({"type": "RLIMIT_CORE", "soft": 0, "hard": 0});
        set(spec, "/process/rlimits", json!([limit, limit]));
    }),
    case("refused: mapping without a user namespace", Way::Refused, |spec, _| {
        set(spec, "/linux/uidMappings", json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
    }),
    case("refused: unknown seccomp action", Way::Refused, |spec, _| {
        set(spec, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOPE"}));
    }),
    case("refused: unknown propagation", Way::Refused, |spec, _| {
        set(spec, "/linux/rootfsPropagation", json!("nope"))
    }),
    case("refused: terminal without a socket", Way::Refused, |spec, _| {
        set(spec, "/process/terminal", json!(true))
    }),
    case("refused: memory limit too small", Way::Refused, |spec, _| {
        resources(spec, &json!({"memory": {"limit": 4096}}));
    }),
    case("refused: cpuset that is not there", Way::Refused, |spec, _| {
        resources(spec, &json!({"cpu": {"cpus": "1000"}}))
    }),
    case("refused: a hook that fails", Way::Refused, |spec, site| {
        hook(spec, site, "createRuntime", "3");
        hook(spec, site, "poststop", "0");
    }),
    case("refused: a hook that is not there", Way::Refused, |spec, _| {
        set(spec, "/hooks", json!({"createRuntime": [{"path": "/nope/hook"}]}));
    }),
];
