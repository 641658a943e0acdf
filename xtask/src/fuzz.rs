//! Builds and runs the fuzz targets with the stable toolchain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build, packages, shell};

/// What `-Z sanitizer` sets up on nightly, spelled in flags that stable takes: coverage for libFuzzer, no sanitizer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Ccodegen-units=4";

/// Builds every target and runs each for `seconds`.
pub fn all(seconds: u32) -> Result<()> {
    packages::ensure(packages::FUZZ)?;
    let dir = shell::root().join("fuzz");
    let programs = build_targets(&dir)?;
    let mut failed = Vec::new();
    for name in targets(&dir)? {
        if let Err(error) = run_target(&dir, &programs.join(&name), &name, seconds) {
            eprintln!("{error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("fuzz targets that failed: {}", failed.join(", "));
    }
    Ok(())
}

fn build_targets(dir: &Path) -> Result<PathBuf> {
    let triple = "x86_64-unknown-linux-gnu";
    let target = build::target_dir().join("fuzz");
    shell::run(
        shell::cargo()
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--target",
                triple,
                "--manifest-path",
            ])
            .arg(dir.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .env("RUSTFLAGS", FLAGS),
    )?;
    Ok(target.join(triple).join("release"))
}

fn targets(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir.join("targets")).context("read `fuzz/targets`")? {
        let path = entry?.path();
        if let (Some("rs"), Some(stem)) =
            (path.extension().and_then(|e| e.to_str()), path.file_stem().and_then(|s| s.to_str()))
        {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn run_target(dir: &Path, program: &Path, name: &str, seconds: u32) -> Result<()> {
    let corpus = build::target_dir().join("fuzz-corpus").join(name);
    let artifacts = build::target_dir().join("fuzz-artifacts").join(name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let seeds = dir.join("seeds").join(name);
    let mut command = Command::new(program);
    command.arg(&corpus);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    command
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    // The tar target writes trees; on a disk it would wait most of the time.
    if Path::new("/dev/shm").is_dir() {
        command.env("TMPDIR", "/dev/shm");
    }
    shell::run(&mut command).with_context(|| format!("fuzz target `{name}`"))
}

/// `cargo xtask fuzz [SECONDS]`.
pub fn run(args: &[String]) -> Result<()> {
    let seconds =
        args.first().map_or(Ok(10), |text| text.parse()).context("SECONDS is a number")?;
    all(seconds)
}
