//! Section `outside`: the suites of others, run from where the user unpacked and built them. None of their code is here; what is here
//! is how they are started, how their answers are read, and why a test that falls short does.

mod shortfalls;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::write_part;
use crate::build;

/// How long one file of a suite may take, in seconds.
const PATIENCE: &str = "600";

const HELP: &str = include_str!("outside/help.txt");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Pass,
    Fail,
    Skip,
}

/// What one test said: its name with that of its file before it.
struct Answer {
    verdict: Verdict,
    name: String,
}

/// A suite: what it is called here, and how one of its files is run.
struct Suite {
    name: &'static str,
    title: &'static str,
    files: fn(&Path) -> Result<Vec<PathBuf>>,
    run: fn(&Site, &Path) -> Result<Vec<Answer>>,
}

struct Site {
    runtime: PathBuf,
    source: PathBuf,
    work: PathBuf,
}

const SUITES: &[Suite] = &[
    Suite {
        name: "bats",
        title: "runc's integration tests",
        files: |dir| list(&dir.join("tests/integration"), "", ".bats"),
        run: bats,
    },
    Suite {
        name: "crun-tests",
        title: "crun's tests",
        files: |dir| list(&dir.join("tests"), "test_", ".py"),
        run: crun,
    },
    Suite {
        name: "runtime-tools",
        title: "runtime-tools' validation",
        files: programs,
        run: tools,
    },
];

/// Tells how the suites are run.
pub fn tell() -> Result<()> {
    print!("{HELP}");
    Ok(())
}

/// Runs one of the suites: `DIR [FILE...]`.
pub fn run(name: &str, args: &[String]) -> Result<()> {
    let suite = SUITES.iter().find(|suite| suite.name == name).context("an unknown suite")?;
    let Some((dir, only)) = args.split_first() else {
        bail!("{name}: the directory of its source is missing\n\n{HELP}")
    };
    let work = PathBuf::from(format!("/var/tmp/belljar-outside-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let source = fs::canonicalize(dir).with_context(|| format!("find `{dir}`"))?;
    let site = Site { runtime: build::runtime()?, source, work };
    let mut answers = Vec::new();
    for file in (suite.files)(&site.source)? {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !only.is_empty()
            && !only
                .iter()
                .any(|word| word.trim_end_matches(".bats").trim_end_matches(".py") == stem)
        {
            continue;
        }
        let found =
            (suite.run)(&site, &file).with_context(|| format!("run `{}`", file.display()))?;
        let count = |verdict| found.iter().filter(|answer| answer.verdict == verdict).count();
        println!(
            "{stem}: {} passed, {} failed, {} skipped",
            count(Verdict::Pass),
            count(Verdict::Fail),
            count(Verdict::Skip)
        );
        answers.extend(
            found
                .into_iter()
                .map(|answer| Answer { name: format!("{stem}: {}", answer.name), ..answer }),
        );
    }
    let _ = fs::remove_dir_all(&site.work);
    let text = report(suite, &answers);
    println!("{text}");
    if only.is_empty() {
        write_part(suite.name, &text)?;
    }
    let unexplained = answers
        .iter()
        .filter(|answer| {
            answer.verdict == Verdict::Fail && shortfalls::reason(name, &answer.name).is_none()
        })
        .count();
    if unexplained > 0 {
        bail!("{unexplained} tests of {} fail without a known reason", suite.title);
    }
    Ok(())
}

fn report(suite: &Suite, answers: &[Answer]) -> String {
    let count = |verdict| answers.iter().filter(|answer| answer.verdict == verdict).count();
    let mut text = format!(
        "### {}\n\n{} passed, {} failed, {} skipped (a test skips itself where the host lacks what it needs).\n",
        suite.title,
        count(Verdict::Pass),
        count(Verdict::Fail),
        count(Verdict::Skip)
    );
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for answer in answers.iter().filter(|answer| answer.verdict == Verdict::Fail) {
        by_reason
            .entry(shortfalls::reason(suite.name, &answer.name).unwrap_or("**not explained**"))
            .or_default()
            .push(&answer.name);
    }
    if !by_reason.is_empty() {
        text.push_str("\n| falls short | why |\n|---|---|\n");
    }
    for (reason, names) in by_reason {
        let _ = writeln!(text, "| {} | {reason} |", names.join("<br>").replace('|', "\\|"));
    }
    text
}

fn list(dir: &Path, prefix: &str, suffix: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("read `{}`", dir.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(suffix)
    });
    files.sort();
    Ok(files)
}

fn programs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in list(&dir.join("validation"), "", "")? {
        if entry.is_dir() {
            files.extend(list(&entry, "", ".t")?);
        }
    }
    if files.is_empty() {
        bail!(
            "no program `validation/*/*.t`: build them first (`cargo xtask conformance outside` tells how)"
        );
    }
    Ok(files)
}

/// Runs a command to its end and returns its output; what it writes to standard error is shown only where it matters.
fn output(command: &mut Command) -> Result<(String, bool)> {
    // The input never ends: some tests would take its end for a hang-up of their terminal.
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let open = child.stdin.take();
    let output = child.wait_with_output()?;
    drop(open);
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
}

/// One file under a terminal of its own, as the suite expects.
fn bats(site: &Site, file: &Path) -> Result<Vec<Answer>> {
    let line = format!("bats -t '{}'", file.display());
    let mut command = Command::new("timeout");
    command.args(["-k", "5", PATIENCE, "script", "-qec", &line, "/dev/null"]);
    command
        .env("RUNC", &site.runtime)
        .env("TMPDIR", &site.work)
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm");
    command.current_dir(site.source.join("tests/integration"));
    let (text, _) = output(&mut command)?;
    Ok(tap(&text))
}

/// In a mount namespace of its own: what a test leaves mounted goes with it.
fn crun(site: &Site, file: &Path) -> Result<Vec<Answer>> {
    let tests = site.source.join("tests");
    let mut command = Command::new("timeout");
    command
        .args(["-k", "5", PATIENCE, "unshare", "-m", "--propagation", "private", "python3", "-B"])
        .arg(file);
    command
        .env("OCI_RUNTIME", &site.runtime)
        .env("INIT", tests.join("init"))
        .env("PYTHONPATH", &tests)
        .env("LANG", "C");
    command.current_dir(&site.work);
    let (text, complete) = output(&mut command)?;
    let mut answers = tap(&text);
    if !complete && !answers.iter().any(|answer| answer.verdict == Verdict::Fail) {
        answers.push(Answer { verdict: Verdict::Fail, name: "did not come to its end".into() });
    }
    Ok(answers)
}

/// One program is one test: it passes if all of its assertions do.
fn tools(site: &Site, file: &Path) -> Result<Vec<Answer>> {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "60", "unshare", "-m", "--propagation", "private"]).arg(file);
    command.env("RUNTIME", &site.runtime).current_dir(&site.source);
    let (text, complete) = output(&mut command)?;
    let all = tap(&text);
    let failed =
        |answer: &Answer| answer.verdict == Verdict::Fail && !answer.name.contains("# TODO");
    let broken =
        !complete || all.iter().any(failed) || (all.is_empty() && text.contains("\"error\""));
    let verdict = match broken {
        true => Verdict::Fail,
        false if !all.is_empty() && all.iter().all(|answer| answer.verdict == Verdict::Skip) => {
            Verdict::Skip
        }
        false => Verdict::Pass,
    };
    Ok(vec![Answer { verdict, name: "all assertions".into() }])
}

/// Reads lines of the Test Anything Protocol: `ok 3 - name # skip why`.
fn tap(text: &str) -> Vec<Answer> {
    let answers = text.lines().filter_map(|line| {
        let line = line.trim_end();
        let (passed, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ")?),
        };
        let (_, name) = rest.split_once(' ')?;
        let name = name.trim_start_matches("- ");
        let lower = name.to_lowercase();
        let verdict = match (passed, lower.contains("# skip") || lower.contains("#skip")) {
            (true, true) => Verdict::Skip,
            (true, false) => Verdict::Pass,
            (false, _) => Verdict::Fail,
        };
        let name = if verdict == Verdict::Skip {
            name.split('#').next().unwrap_or_default().trim()
        } else {
            name
        };
        Some(Answer { verdict, name: name.to_owned() })
    });
    answers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let text = "1..4\nok 1 runc run\r\nok 2 runc x # skip test requires rootless\nnot ok 3 - cwd\nok 4 - hooks #SKIP\n# note\n";
        let found: Vec<(Verdict, String)> =
            tap(text).into_iter().map(|answer| (answer.verdict, answer.name)).collect();
        let wanted = [
            (Verdict::Pass, "runc run"),
            (Verdict::Skip, "runc x"),
            (Verdict::Fail, "cwd"),
            (Verdict::Skip, "hooks"),
        ];
        assert_eq!(found, wanted.map(|(verdict, name)| (verdict, name.to_owned())));
    }
}
