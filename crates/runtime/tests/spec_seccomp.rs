//! `linux.seccomp`: every action, comparison, flag and architecture as the kernel applies it, and the listener.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use harness::Bench;
use serde_json::{Value, json};

fn profile(action: &str, more: Value) -> Value {
    let mut rule = json!({ "names": ["getppid", "no_such_call_ever"], "action": action });
    if let Some(more) = more.as_object() {
        for (key, value) in more {
            rule[key] = value.clone();
        }
    }
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
}

/// A program without any library: it makes one call, and its exit code is the error number of that, or 0.
fn tiny(call: &[u8]) -> Vec<u8> {
    let mut code = call.to_vec();
    // xor edi,edi; test eax,eax; jns +4; neg eax; mov edi,eax; mov eax,60 (exit); syscall
    code.extend([0x31, 0xff, 0x85, 0xc0, 0x79, 0x04, 0xf7, 0xd8, 0x89, 0xc7]);
    code.extend([0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]);
    let (base, headers) = (0x40_0000_u64, 64 + 56_u64);
    let mut file =
        vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0];
    file.extend((base + headers).to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // One segment, readable and executable, of the whole file.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let length = headers + code.len() as u64;
    for word in [0, base, base, length, length, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

/// `mov eax, NUMBER; syscall`
fn native(number: u32) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes());
    code.extend([0x0f, 0x05]);
    code
}

/// `mov eax, NUMBER; int 0x80`: a call of i386 from a 64-bit program.
fn compatible(number: u32) -> Vec<u8> {
    let mut code = native(number);
    code.truncate(5);
    code.extend([0xcd, 0x80]);
    code
}

fn bench(name: &str, call: &[u8]) -> Option<Bench> {
    if !cfg!(target_arch = "x86_64") {
        testkit::skip(&format!("{name}: the program is one of x86-64"));
        return None;
    }
    let bench = Bench::new(name, &["/tiny"])?;
    let path = bench.rootfs().join("tiny");
    fs::write(&path, tiny(call)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    Some(bench)
}

const GETPPID: u32 = 110;
const SIGSYS: i32 = 31;

#[test]
fn privileged_every_action_does_what_it_says() {
    let Some(mut bench) = bench("actions", &native(GETPPID)) else { return };
    let none = Value::Null;
    for (action, more, code) in [
        ("SCMP_ACT_ALLOW", none.clone(), 0),
        ("SCMP_ACT_LOG", none.clone(), 0),
        ("SCMP_ACT_ERRNO", none.clone(), 1),
        ("SCMP_ACT_ERRNO", json!({ "errnoRet": 77 }), 77),
        ("SCMP_ACT_KILL", none.clone(), 128 + SIGSYS),
        ("SCMP_ACT_KILL_THREAD", none.clone(), 128 + SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", none.clone(), 128 + SIGSYS),
        ("SCMP_ACT_TRAP", none.clone(), 128 + SIGSYS),
        // Without a tracer there is no such call: ENOSYS.
        ("SCMP_ACT_TRACE", json!({ "errnoRet": 5 }), 38),
    ] {
        bench.spec["linux"]["seccomp"] = profile(action, more);
        let (found, _, err) = bench.foreground();
        assert_eq!(found, code, "{action}: {err}");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_the_default_action_has_its_error_number() {
    let Some(mut bench) = bench("default", &native(GETPPID)) else { return };
    let needed = json!([
        "read",
        "write",
        "close",
        "execve",
        "exit",
        "exit_group",
        "capset",
        "prctl",
        "futex",
        "fcntl",
        "close_range",
        "brk",
        "mmap",
        "munmap",
        "sigaltstack",
        "rt_sigaction",
        "rt_sigprocmask",
        "recvmsg",
        "sendmsg"
    ]);
    for (number, code) in [(Value::Null, 1), (json!(99), 99)] {
        bench.spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": number,
            "syscalls": [{ "names": needed, "action": "SCMP_ACT_ALLOW" }, { "names": ["setns"], "action": "SCMP_ACT_ALLOW" }],
        });
        bench.spec["process"]["noNewPrivileges"] = json!(true);
        let (found, _, err) = bench.foreground();
        assert_eq!(found, code, "{err}");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_every_comparison_holds_when_it_should() {
    // The second argument of kill(2) is the signal: 0, 18 (CONT) and 28 (WINCH) do nothing to a shell.
    let script = "for s in 0 18 28; do kill -$s $$ 2>/dev/null && echo $s; done; true";
    let Some(mut bench) = Bench::new("operators", &["sh", "-c", script]) else { return };
    for (op, value, two, allowed) in [
        ("SCMP_CMP_EQ", 18_u64, 0_u64, "0\n28\n"),
        ("SCMP_CMP_NE", 18, 0, "18\n"),
        ("SCMP_CMP_LT", 18, 0, "18\n28\n"),
        ("SCMP_CMP_LE", 18, 0, "28\n"),
        ("SCMP_CMP_GT", 18, 0, "0\n18\n"),
        ("SCMP_CMP_GE", 18, 0, "0\n"),
        // 18 and 28 share the bit 16.
        ("SCMP_CMP_MASKED_EQ", 16, 16, "0\n"),
        ("SCMP_CMP_MASKED_EQ", 8, 8, "0\n18\n"),
        ("SCMP_CMP_EQ", 1 << 32, 0, "0\n18\n28\n"),
    ] {
        let args = json!([{ "index": 1, "value": value, "valueTwo": two, "op": op }]);
        bench.spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": args }],
        });
        let (code, out, err) = bench.foreground();
        assert_eq!((code, out.as_str()), (0, allowed), "{op} {value}: {err}");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_other_architectures_are_filtered_or_killed() {
    // getppid of i386 is 64, of x32 that of x86-64 with a bit.
    for (name, call, arch) in [
        ("i386", compatible(64), "SCMP_ARCH_X86"),
        ("x32", native(0x4000_0000 | GETPPID), "SCMP_ARCH_X32"),
    ] {
        let Some(mut bench) = bench(name, &call) else { return };
        // User Mode Linux, and kernels without the emulation, do not run calls of i386.
        if name == "i386" && bench.foreground().0 != 0 {
            testkit::skip("seccomp: this kernel has no calls of i386");
            continue;
        }
        let mut profile = profile("SCMP_ACT_ERRNO", json!({ "errnoRet": 77 }));
        bench.spec["linux"]["seccomp"] = profile.clone();
        let (code, _, _) = bench.foreground();
        assert_eq!(code, 128 + SIGSYS, "{name} is not in the profile");
        profile["architectures"] = json!(["SCMP_ARCH_X86_64", arch, "SCMP_ARCH_MIPS"]);
        bench.spec["linux"]["seccomp"] = profile;
        assert_eq!(bench.foreground().0, 77, "{name}");
        bench.assert_nothing_left();
    }
}

#[test]
fn privileged_flags_reach_the_kernel() {
    let Some(mut bench) = Bench::new("flags", &["cat", "/proc/self/status"]) else { return };
    let mut all = profile("SCMP_ACT_ERRNO", Value::Null);
    all["flags"] = json!([
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ]);
    for nothing_new in [false, true] {
        bench.spec["process"]["noNewPrivileges"] = json!(nothing_new);
        bench.spec["linux"]["seccomp"] = all.clone();
        let (code, out, err) = bench.foreground();
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("Seccomp:\t2"), "{out}");
    }
    all["flags"] = json!(["SECCOMP_FILTER_FLAG_X"]);
    bench.spec["linux"]["seccomp"] = all;
    assert!(bench.foreground().2.contains("seccomp flag \\\"SECCOMP_FILTER_FLAG_X\\\" is unknown"));
    bench.assert_nothing_left();
}

#[test]
fn privileged_wrong_profiles_are_named() {
    let Some(mut bench) = Bench::new("badseccomp", &["true"]) else { return };
    let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let args =
        |arg: Value| rule(json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [arg] }));
    for (profile, words) in [
        (json!({ "defaultAction": "SCMP_ACT_X" }), "seccomp action \\\"SCMP_ACT_X\\\" is unknown"),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 3 }),
            "does not take an errnoRet",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X"] }),
            "architecture \\\"SCMP_ARCH_X\\\" is unknown",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }),
            "listenerMetadata without listenerPath",
        ),
        (json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "cannot be used as default action"),
        (
            rule(json!({ "names": [], "action": "SCMP_ACT_ERRNO" })),
            "needs at least one system call",
        ),
        (rule(json!({ "names": ["read"], "action": "SCMP_ACT_NOTIFY" })), "needs a listenerPath"),
        (
            args(json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" })),
            "argument index 6 is above 5",
        ),
        (
            args(json!({ "index": 1, "value": 1, "op": "SCMP_CMP_X" })),
            "operator \\\"SCMP_CMP_X\\\" is unknown",
        ),
    ] {
        bench.spec["linux"]["seccomp"] = profile;
        let (code, _, err) = bench.foreground();
        assert_eq!(code, 1);
        assert!(err.contains(words), "{words}: {err}");
    }
    bench.assert_nothing_left();
}

/// Takes one connection of a listener: the document and the descriptors that came with it.
fn accept(listener: &UnixListener) -> (Value, Vec<OwnedFd>) {
    let (stream, _) = listener.accept().unwrap();
    let (mut text, mut fds, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = sys::scm::receive(stream.as_fd(), &mut buffer, &mut fds) {
        text.extend(&buffer[..count]);
    }
    (serde_json::from_slice(&text).unwrap(), fds)
}

#[test]
fn privileged_a_listener_is_sent_with_the_state() {
    for nothing_new in [false, true] {
        let Some(mut bench) = bench("notify", &native(GETPPID)) else { return };
        let socket = bench.dir.path().join("listener");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut profile = profile("SCMP_ACT_NOTIFY", Value::Null);
        profile["listenerPath"] = json!(socket);
        profile["listenerMetadata"] = json!("meta");
        profile["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
        bench.spec["linux"]["seccomp"] = profile;
        bench.spec["process"]["noNewPrivileges"] = json!(nothing_new);
        bench.spec["annotations"] = json!({ "key": "value" });
        let (found, document, fds) = std::thread::scope(|scope| {
            let run = scope.spawn(|| bench.foreground());
            let (document, fds) = accept(&listener);
            // The call ends with ENOSYS when nobody listens any more.
            let count = fds.len();
            drop(fds);
            (run.join().unwrap(), document, count)
        });
        assert_eq!((found.0, fds), (38, 1), "{}", found.2);
        assert_eq!(document["ociVersion"], "1.3.0");
        assert_eq!(document["fds"], json!(["seccompFd"]));
        assert_eq!(document["metadata"], "meta");
        assert_eq!(document["state"]["id"], json!(bench.id));
        assert_eq!(document["state"]["status"], "creating");
        assert_eq!(document["state"]["pid"], document["pid"]);
        assert_eq!(document["state"]["annotations"]["key"], "value");
        bench.assert_nothing_left();
    }
}

#[test]
fn privileged_a_listener_that_is_not_there_is_an_error() {
    let Some(mut bench) = bench("nolistener", &native(GETPPID)) else { return };
    let mut profile = profile("SCMP_ACT_NOTIFY", Value::Null);
    profile["listenerPath"] = json!("/no/such/socket");
    bench.spec["linux"]["seccomp"] = profile;
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    let words = "failed to connect with seccomp agent specified in the seccomp profile: connect to `/no/such/socket`";
    assert!(err.contains(words), "{err}");
    bench.assert_nothing_left();
}
