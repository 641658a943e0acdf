//! `cargo xtask test --lab`: the engine's suite and the runtime's privileged tests in guests with pure cgroup v2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::build::{self, Profile};
use crate::summary::Summary;
use crate::{images, shell};

/// How long one guest may run, in seconds.
const PATIENCE: &str = "900";

/// One run in a guest.
struct Guest {
    name: &'static str,
    systemd: bool,
    driver: &'static str,
    /// Tests of the runtime that say that they cannot run there.
    skips: usize,
    /// Whether it is part of `cargo xtask test`.
    everywhere: bool,
}

const GUESTS: &[Guest] = &[
    // And no user has a systemd of his own.
    Guest {
        name: "cgroup v2",
        systemd: false,
        driver: "cgroupfs",
        skips: SKIPS + 1,
        everywhere: true,
    },
    Guest {
        name: "cgroup v2 beside systemd",
        systemd: true,
        driver: "cgroupfs",
        skips: SKIPS,
        everywhere: false,
    },
    Guest {
        name: "cgroup v2 through systemd",
        systemd: true,
        driver: "systemd",
        skips: 0,
        everywhere: true,
    },
];

/// The guest's kernel has no `numa_maps` (memoryPolicy) and no system calls of i386 (seccomp).
const SKIPS: usize = 2;

/// Runs both suites in every guest and returns how many skips are expected of them.
pub fn run(summary: &mut Summary) -> Result<usize> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the lab's guest exists for x86-64 only");
    }
    let programs = build::build(Profile::Debug)?;
    let images = images::test_images(&["busybox"])?;
    let share = Share::fill(&programs, Some(&images))?;
    for guest in GUESTS {
        share.engine(summary, guest)?;
        share.runtime(summary, guest, false)?;
    }
    Ok(GUESTS.iter().map(|guest| guest.skips).sum())
}

/// Runs the runtime's tests without systemd and through it, which takes about two minutes, and returns how many skips are expected of
/// them. A machine on which no guest boots (it needs x86-64 and ptrace or seccomp) skips them all, and says so.
pub fn reduced(summary: &mut Summary) -> Result<usize> {
    let boots = Command::new(shell::root().join("tests/lab/vm-run"))
        .args(["--timeout", "120", "--", "true"])
        .stdin(Stdio::null())
        .output()
        .context("start `tests/lab/vm-run`")?;
    if !boots.status.success() {
        let said = String::from_utf8_lossy(&boots.stderr);
        let why = said.lines().next_back().unwrap_or_default();
        summary.skip(&format!("lab: no guest boots here: {} {why}", boots.status));
        return Ok(1);
    }
    let share = Share::fill(&build::build(Profile::Debug)?, None)?;
    let guests = GUESTS.iter().filter(|guest| guest.everywhere);
    let mut skips = 0;
    for guest in guests {
        share.runtime(summary, guest, true)?;
        skips += guest.skips;
    }
    Ok(skips)
}

/// The one directory of the host that a guest sees.
struct Share {
    path: PathBuf,
}

impl Share {
    fn fill(programs: &Path, images: Option<&Path>) -> Result<Self> {
        let path = build::target_dir().join("lab");
        for directory in ["belljar", "tests"] {
            let directory = path.join(directory);
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory)
                .with_context(|| format!("create `{}`", directory.display()))?;
        }
        for entry in fs::read_dir(programs)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("belljar") {
                copy(&entry.path(), &path.join("belljar").join(entry.file_name()))?;
            }
        }
        for (name, file) in test_binaries()? {
            copy(&file, &path.join("tests").join(name))?;
        }
        if let Some(images) = images {
            copy(&images.join("busybox.tar"), &path.join("busybox.tar"))?;
        }
        copy(&busybox()?, &path.join("busybox"))?;
        for script in ["suite", "runtime-suite"] {
            copy(&shell::root().join("tests/lab").join(script), &path.join(script))?;
        }
        let path = path.canonicalize().with_context(|| format!("find `{}`", path.display()))?;
        Ok(Self { path })
    }

    /// A command in a new guest.
    fn command(&self, guest: &Guest, script: &str) -> Command {
        let mut command = Command::new(shell::root().join("tests/lab/vm-run"));
        command.args(guest.systemd.then_some("--systemd"));
        command.args(["--timeout", PATIENCE, "--share"]).arg(&self.path);
        command.arg("--").arg(self.path.join(script)).args(["--driver", guest.driver]);
        command.stdin(Stdio::null());
        command
    }

    /// The engine's suite: lines `ok NAME` and `FAILED NAME`, at the end the counts.
    fn engine(&self, summary: &mut Summary, guest: &Guest) -> Result<()> {
        let name = guest.name;
        let mut command = self.command(guest, "suite");
        command.arg(self.path.join("belljar")).arg(self.path.join("busybox.tar"));
        let mut failed = 0;
        let mut complete = false;
        let status = summary.watch(name, &mut command, |summary, line| {
            if let Some(check) = line.strip_prefix("ok ") {
                summary.step(&format!("{name}: {check}"), Ok(()));
            } else if let Some(check) = line.strip_prefix("FAILED ") {
                failed += 1;
                summary.failure(format!("{name}: {check}"));
            }
            complete |= line.ends_with(&format!(" passed, {failed} failed"));
        })?;
        if !complete || status.code() != Some(failed) {
            summary.failure(format!("{name}: the guest ended with {status}"));
        }
        Ok(())
    }

    /// The runtime's privileged tests, as their runner counts them.
    fn runtime(&self, summary: &mut Summary, guest: &Guest, reduced: bool) -> Result<()> {
        let name = format!("{}: runtime", guest.name);
        let skips = self.path.join("skips");
        fs::write(&skips, "").with_context(|| format!("write `{}`", skips.display()))?;
        let mut command = self.command(guest, "runtime-suite");
        command.args(reduced.then_some("--reduced"));
        summary.cargo_test(&name, &mut command)?;
        summary.read_skips(&name, &skips)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy `{}`", from.display()))?;
    Ok(())
}

fn busybox() -> Result<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .context("find a static busybox")
}

/// Builds the tests of the runtime and of the room below it, without running them, and returns their names and files.
fn test_binaries() -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--locked", "--no-run", "--quiet", "--message-format=json"]);
    cargo.args(["-p", "runtime", "--tests"]);
    let text = shell::output(&mut cargo)?;
    let found: Vec<(String, PathBuf)> = text.lines().filter_map(test_binary).collect();
    if found.is_empty() {
        bail!("cargo has built no tests of the runtime");
    }
    Ok(found)
}

/// Reads one of cargo's messages: `Some` for the artifact of a test in `tests/`.
fn test_binary(line: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_test = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "test");
    let file = message["executable"].as_str().filter(|_| is_test)?;
    Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_among_cargos_messages() {
        let of = |kind: &str| {
            format!(r#"{{"target":{{"kind":["{kind}"],"name":"x"}},"executable":"/t/x-1"}}"#)
        };
        assert_eq!(test_binary(&of("test")), Some(("x".into(), "/t/x-1".into())));
        assert_eq!(test_binary(&of("lib")), None);
        assert_eq!(test_binary("warning: unused"), None);
    }
}
