//! What runc's integration suite expects beyond the specification, on real containers.

mod harness;

use harness::Bench;
use serde_json::json;

#[test]
fn privileged_the_callers_mask_of_processors_is_not_inherited() {
    let args = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let Some(bench) = Bench::new("affinity", &args) else { return };
    bench.applet("grep");
    bench.write_spec();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let all = own.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
    let first = all.split_whitespace().nth(1).unwrap().split(['-', ',']).next().unwrap();
    let run = ["run", "--bundle", bench.bundle().to_str().unwrap(), &bench.id].map(str::to_owned);
    let command = bench.command(&run.each_ref().map(String::as_str));
    let mut words = vec!["-c".to_owned(), first.to_owned()];
    words.push(command.get_program().to_str().unwrap().to_owned());
    words.extend(command.get_args().map(|word| word.to_str().unwrap().to_owned()));
    let output = std::process::Command::new("taskset").args(words).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), all, "{output:?}");
}

#[test]
fn privileged_a_created_process_holds_nothing_of_the_host() {
    let Some(bench) = Bench::new("fds", &["true"]) else { return };
    let created = bench.create(&[]);
    assert!(created.status.success(), "{created:?}");
    let pid = bench.state()["pid"].as_i64().unwrap();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    for entry in entries.map(Result::unwrap) {
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let target = std::fs::read_link(entry.path()).unwrap().display().to_string();
        let wanted = target.starts_with("socket:") || target.ends_with("/exec.fifo");
        assert!(number < 3 || wanted, "{number} is {target}");
    }
    assert!(bench.run(&["start", &bench.id]).status.success());
    bench.wait_for_status("stopped");
    assert!(bench.run(&["delete", &bench.id]).status.success());
    bench.assert_nothing_left();
}

#[test]
fn privileged_capabilities_become_ambient_as_in_runc() {
    let Some(mut bench) = Bench::new("ambient", &["sleep", "60"]) else { return };
    bench.applet("grep");
    let sets = &mut bench.spec["process"]["capabilities"];
    sets["inheritable"] = json!(["CAP_KILL"]);
    sets["ambient"] = json!(["CAP_KILL", "CAP_CHOWN"]);
    let created = bench.create(&[]);
    assert!(created.status.success(), "{created:?}");
    assert!(bench.log().contains("can't raise ambient capability CAP_CHOWN: "), "{}", bench.log());
    assert!(bench.run(&["start", &bench.id]).status.success());
    let exec = [
        "exec",
        "--cap",
        "CAP_SETUID",
        "--cap",
        "CAP_KILL",
        &bench.id,
        "grep",
        "Cap",
        "/proc/self/status",
    ];
    let text = String::from_utf8(bench.run(&exec).stdout).unwrap();
    assert!(text.contains("CapAmb:\t0000000000000020"), "{text}");
    assert!(text.contains("CapInh:\t0000000000000020"), "{text}");
}

#[test]
fn privileged_a_hook_of_the_container_stands_in_its_root() {
    let Some(mut bench) = Bench::new("hookroot", &["cat", "/tmp/made"]) else { return };
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo made > tmp/made"] });
    bench.spec["hooks"]["createContainer"] = json!([hook]);
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "made\n"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_exec_names_the_sub_group_that_is_not_there() {
    let Some(bench) = Bench::new("subgroup", &["sleep", "60"]) else { return };
    assert!(bench.create(&[]).status.success());
    assert!(bench.run(&["start", &bench.id]).status.success());
    for (group, words) in [
        ("nonexistent", "no such file or directory"),
        ("..", "bad sub cgroup path"),
        ("whaaat:/", "unknown controller whaaat"),
        (":/", "empty <controller> prefix"),
    ] {
        let output = bench.run(&["exec", "--cgroup", group, &bench.id, "true"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(words), "{group}: {text}");
    }
    assert!(bench.run(&["exec", "--cgroup", "/", &bench.id, "true"]).status.success());
}

#[test]
fn privileged_debug_tells_the_steps_in_runcs_words() {
    let Some(mut bench) = Bench::new("debug", &["true"]) else { return };
    bench.spec["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    bench.write_spec();
    let bundle = bench.bundle();
    let run = ["--debug", "run", "--bundle", bundle.to_str().unwrap(), &bench.id];
    let text = String::from_utf8(bench.run(&run).stderr).unwrap();
    for words in [
        "level=debug",
        "nsexec container setup",
        "child process in init()",
        "\"seccomp filter flags: 4\"",
        "init: closing the pipe to signal completion",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn privileged_an_empty_home_is_none() {
    let Some(mut bench) = Bench::new("home", &["sh", "-c", "echo $HOME"]) else { return };
    bench.spec["process"]["env"] = json!(["PATH=/bin", "HOME=/x", "HOME="]);
    assert_eq!(bench.foreground().1, "/root\n");
}
