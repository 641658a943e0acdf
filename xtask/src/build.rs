//! Builds the programs: the shim, the runtime and the image's program are static, the daemon and the client are not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{images, packages, shell};

/// How the daemon and the client are built; the static programs are always optimised.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build, for tests.
    Debug,
    /// What is installed.
    Release,
}

/// Builds everything and returns the directory with the programs and the embedded image.
pub fn build(profile: Profile) -> Result<PathBuf> {
    packages::ensure(packages::BUILD)?;
    let target = target_dir();
    let statics = build_static(&target)?;
    let dynamic = build_dynamic(&target, profile)?;
    let out = target.join("belljar");
    fs::create_dir_all(&out)?;
    for name in ["belljar-shim", "belljar-runtime", "belljar-init"] {
        install(&statics.join(name), &out.join(name))?;
    }
    for name in ["belljar", "belljard"] {
        install(&dynamic.join(name), &out.join(name))?;
    }
    images::write_hello(&statics.join("hello"), &out.join("belljar-hello.tar"))?;
    Ok(out)
}

pub fn build_static(target: &Path) -> Result<PathBuf> {
    let triple = host_triple()?;
    let dir = target.join("static");
    shell::run(
        shell::cargo()
            .args(["build", "--quiet", "--locked", "--profile", "static", "--target", &triple])
            .args(["-p", "runtime", "-p", "shim", "-p", "hello", "--bins", "--target-dir"])
            .arg(&dir)
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    Ok(dir.join(triple).join("static"))
}

/// Builds the runtime alone, as it is shipped, and returns its path.
pub fn runtime() -> Result<PathBuf> {
    packages::ensure(packages::BUILD)?;
    let triple = host_triple()?;
    let dir = target_dir().join("static");
    shell::run(
        shell::cargo()
            .args(["build", "--quiet", "--locked", "--profile", "static", "--target", &triple])
            .args(["-p", "runtime", "--bins", "--target-dir"])
            .arg(&dir)
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    Ok(dir.join(triple).join("static/belljar-runtime"))
}

fn build_dynamic(target: &Path, profile: Profile) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--quiet", "--locked", "-p", "daemon", "-p", "cli", "--bins"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    shell::run(&mut cargo)?;
    Ok(target.join(if profile == Profile::Release { "release" } else { "debug" }))
}

/// Copies by rename, so that a running program is never written to.
fn install(from: &Path, to: &Path) -> Result<()> {
    let part = to.with_extension("part");
    fs::copy(from, &part).with_context(|| format!("copy `{}`", from.display()))?;
    fs::rename(&part, to).with_context(|| format!("rename to `{}`", to.display()))
}

pub fn host_triple() -> Result<String> {
    let text = shell::output(Command::new("rustc").arg("-vV").current_dir(shell::root()))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

/// Returns cargo's target directory.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from)
}

/// `cargo xtask build`.
pub fn run(args: &[String]) -> Result<()> {
    let debug = args.iter().any(|arg| arg == "--debug");
    let out = build(if debug { Profile::Debug } else { Profile::Release })?;
    println!("{}", out.display());
    Ok(())
}
