//! `cargo xtask test --lab`: the suite of `tests/lab` in guests with pure cgroup v2.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::build::{self, Profile};
use crate::summary::Summary;
use crate::{images, shell};

/// How long one guest may run, in seconds.
const PATIENCE: &str = "900";

/// The guests: a name, what `vm-run` is told, what the suite is told.
const GUESTS: &[(&str, &[&str], &[&str])] = &[
    ("cgroup v2", &[], &[]),
    ("cgroup v2 beside systemd", &["--systemd"], &[]),
    ("cgroup v2 through systemd", &["--systemd"], &["--driver", "systemd"]),
];

/// Runs the suite in every guest and counts its checks.
pub fn run(summary: &mut Summary) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the lab's guest exists for x86-64 only");
    }
    let programs = build::build(Profile::Debug)?;
    let images = images::test_images(&["busybox"])?;
    let share = share(&programs, &images)?;
    for (name, guest, suite) in GUESTS {
        eprintln!("== {name}");
        let mut command = Command::new(shell::root().join("tests/lab/vm-run"));
        command.args(*guest).args(["--timeout", PATIENCE, "--share"]).arg(&share);
        command.arg("--").arg(share.join("suite")).args(*suite);
        command.arg(share.join("belljar")).arg(share.join("busybox.tar"));
        one(summary, name, &mut command)?;
    }
    Ok(())
}

/// Puts everything that the guest needs into one directory: it sees no other of the host.
fn share(programs: &Path, images: &Path) -> Result<PathBuf> {
    let share = build::target_dir().join("lab");
    let inside = share.join("belljar");
    fs::create_dir_all(&inside).with_context(|| format!("create `{}`", inside.display()))?;
    for entry in fs::read_dir(programs)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("belljar") {
            copy(&entry.path(), &inside.join(entry.file_name()))?;
        }
    }
    copy(&images.join("busybox.tar"), &share.join("busybox.tar"))?;
    copy(&shell::root().join("tests/lab/suite"), &share.join("suite"))?;
    share.canonicalize().with_context(|| format!("find `{}`", share.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy `{}`", from.display()))?;
    Ok(())
}

/// Shows what one run prints and counts its lines `ok NAME` and `FAILED NAME`.
fn one(summary: &mut Summary, guest: &str, command: &mut Command) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start `tests/lab/vm-run`")?;
    let out = child.stdout.take().context("a piped stdout")?;
    let mut failed = 0;
    let mut complete = false;
    for line in BufReader::new(out).lines() {
        let line = line?;
        println!("{line}");
        if let Some(check) = line.strip_prefix("ok ") {
            summary.step(&format!("{guest}: {check}"), Ok(()));
        } else if let Some(check) = line.strip_prefix("FAILED ") {
            failed += 1;
            summary.failure(format!("{guest}: {check}"));
        }
        complete |= line.ends_with(&format!(" passed, {failed} failed"));
    }
    let status = child.wait()?;
    if !complete || status.code() != Some(failed) {
        summary.failure(format!("{guest}: the guest ended with {status}"));
    }
    Ok(())
}
