//! The command line's words: usage, help, exit codes, versions and log lines are runc's.
#![allow(clippy::unwrap_used, reason = "a broken test stops")]

mod harness;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use harness::{Bench, PROGRAM};
use serde_json::{Value, json};

/// Runs the program as `/usr/bin/runc`.
fn runc(words: &[&str]) -> (i32, String, String) {
    ended(&Command::new(PROGRAM).arg0("/usr/bin/runc").args(words).output().unwrap())
}

fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The message of the one log line in a text.
fn message(text: &str) -> String {
    let (_, message) = text.trim_end().split_once(" level=error msg=").unwrap();
    message.to_owned()
}

#[test]
fn help_is_for_the_program_and_for_each_command() {
    let (code, out, err) = runc(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("NAME:\n   runc - Open Container Initiative runtime\n"), "{out}");
    assert_eq!(runc(&[]).1, out, "no command is a question for help");
    for name in [
        "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps", "resume",
        "run", "spec", "start", "state", "update",
    ] {
        assert!(out.contains(&format!("\n   {name} ")), "{name}: {out}");
        for words in [vec![name, "-h"], vec![name, "--help"], vec!["help", name]] {
            let (code, text, err) = runc(&words);
            assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
            assert!(text.starts_with(&format!("NAME:\n   runc {name} - ")), "{text}");
        }
    }
}

#[test]
fn wrong_words_end_with_the_code_and_text_of_runc() {
    let cases: [(&[&str], i32, &str); 12] = [
        (&["foo"], 3, r#""No help topic for 'foo'""#),
        (&["help", "foo"], 3, r#""No help topic for 'foo'""#),
        (&["--nope"], 1, r#""flag provided but not defined: -nope""#),
        (&["state"], 1, r#""/usr/bin/runc: \"state\" requires exactly 1 argument(s)""#),
        (&["kill"], 1, r#""/usr/bin/runc: \"kill\" requires a minimum of 1 argument(s)""#),
        (
            &["kill", "a", "9", "b"],
            1,
            r#""/usr/bin/runc: \"kill\" requires a maximum of 2 argument(s)""#,
        ),
        (&["create", "-b"], 1, r#""flag needs an argument: -b""#),
        (
            &["create", "--preserve-fds", "x", "y"],
            1,
            r#""invalid value \"x\" for flag -preserve-fds: parse error""#,
        ),
        (
            &["list", "--quiet=maybe"],
            1,
            r#""invalid boolean value \"maybe\" for -quiet: parse error""#,
        ),
        (&["--log-format", "xml", "list"], 1, r#""invalid log-format: xml""#),
        (&["--root", "/tmp/..", "list"], 1, r#""Option --root argument should not be set to /""#),
        (&["list", "--format", "yaml"], 1, r#""invalid format option""#),
    ];
    for (words, code, text) in cases {
        let (got, out, err) = runc(words);
        assert_eq!((got, message(&err).as_str()), (code, text), "{words:?}");
        if code == 1
            && !text.contains("log-format")
            && !text.contains("Option")
            && !text.contains("format option")
        {
            assert!(out.starts_with("Incorrect Usage"), "{words:?}: {out}");
        }
    }
}

#[test]
fn an_unknown_container_is_named_as_runc_names_it() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    for name in ["state", "start", "kill", "delete", "pause", "resume", "ps", "update", "events"] {
        let (code, _, err) = runc(&["--root", root, name, "nobody"]);
        assert_eq!((code, message(&err).as_str()), (1, r#""container does not exist""#), "{name}");
    }
    let (code, _, err) = runc(&["--root", root, "exec", "nobody", "true"]);
    assert_eq!((code, message(&err).as_str()), (255, r#""exec failed: container does not exist""#));
    let (code, out, err) = runc(&["--root", root, "delete", "--force", "nobody"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    let (code, _, err) = runc(&["--root", root, "state", "../nobody"]);
    assert_eq!(code, 1);
    assert!(message(&err).contains("invalid container ID format"), "{err}");
}

#[test]
fn a_bundle_without_a_configuration_is_named_as_runc_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let root = root.to_str().unwrap();
    let bundle = dir.path().to_str().unwrap();
    for name in ["create", "run"] {
        let (code, _, err) = runc(&["--root", root, name, "--bundle", bundle, "x"]);
        assert_eq!(code, 1);
        let want =
            format!(r#""runc {name} failed: JSON specification file config.json not found""#);
        assert_eq!(message(&err), want);
        let (_, _, err) = runc(&["--root", root, name, "x", "--bundle", "/nonexistent"]);
        let want =
            format!(r#""runc {name} failed: chdir /nonexistent: no such file or directory""#);
        assert_eq!(message(&err), want);
    }
    assert!(!std::path::Path::new(root).exists(), "nothing is made for a bundle that is none");
}

#[test]
fn versions_are_three_lines() {
    for word in ["--version", "-v"] {
        let (code, out, err) = runc(&["--root", "/", word]);
        assert_eq!((code, err.as_str()), (0, ""));
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 3, "{out}");
        assert!(lines[0].starts_with("runc version "), "{out}");
        assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("spec: 1."), "{out}");
    }
    let (_, _, err) = runc(&["--criu", "/x", "--root", "/nonexistent", "list"]);
    assert!(err.starts_with("WARNING: --criu ignored"), "{err}");
}

#[test]
fn failures_reach_the_log_and_standard_error() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let log = log.to_str().unwrap();
    let (code, _, err) = runc(&["--log", log, "--log-format", "json", "state", "nobody"]);
    assert_eq!((code, err.as_str()), (1, "container does not exist\n"));
    let (_, _, err) = runc(&["--log", log, "state", "nobody"]);
    assert_eq!(err, "container does not exist\n");
    let text = fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].starts_with(r#"{"level":"error","msg":"container does not exist","time":""#),
        "{text}"
    );
    let line: Value = serde_json::from_str(lines[0]).unwrap();
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == "2026-01-01T00:00:00Z".len() && time.ends_with('Z'), "{time}");
    assert!(
        lines[1].starts_with("time=\"")
            && lines[1].ends_with(" level=error msg=\"container does not exist\"")
    );
}

#[test]
fn an_example_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    assert_eq!(runc(&["spec", "-b", at]).0, 0);
    let text = fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert!(text.contains("\n\t\"process\""), "tabs, as runc writes them: {text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["process"]["args"], json!(["sh"]));
    assert_eq!(document["linux"]["uidMappings"], Value::Null);
    let (code, _, err) = runc(&["spec", "--bundle", at]);
    assert_eq!(
        (code, message(&err).as_str()),
        (1, r#""File config.json exists. Remove it first""#)
    );
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert_eq!(runc(&["spec", "--rootless", "-b", at]).0, 0);
    let text = fs::read_to_string(dir.path().join("config.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["linux"]["uidMappings"][0]["size"], 1);
    assert_eq!(document["linux"]["resources"], Value::Null);
}

#[test]
fn privileged_a_failed_start_says_what_engines_look_for() {
    let Some(mut bench) = Bench::new("words", &["nope"]) else { return };
    symlink("loop", bench.rootfs().join("loop")).unwrap();
    for (program, words) in [
        ("nope", r#"exec: "nope": executable file not found in $PATH"#),
        ("/etc/passwd", r#"exec: "/etc/passwd": permission denied"#),
        ("/no/such", r#"exec: "/no/such": stat /no/such: no such file or directory"#),
    ] {
        bench.spec["process"]["args"] = json!([program]);
        let (code, _, err) = bench.foreground();
        let want = format!("runc run failed: unable to start container process: {words}");
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(&want.replace('"', "\\\"")), "{err}");
    }
    bench.spec["process"]["args"] = json!(["sleep", "1000"]);
    assert!(bench.create(&[]).status.success());
    let (code, _, err) = ended(&bench.run(&["exec", &bench.id, "nope"]));
    assert_eq!(code, 255);
    let want = r#"exec failed: unable to start container process: exec: "nope": executable file not found in $PATH"#;
    assert!(err.contains(&want.replace('"', "\\\"")), "{err}");
    let (code, _, err) = ended(&bench.run(&["exec", &bench.id]));
    assert_eq!(
        (code, message(&err).as_str()),
        (255, r#""exec failed: exec args cannot be empty""#)
    );
    assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
    bench.assert_nothing_left();
}
