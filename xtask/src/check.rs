//! `cargo xtask check`: what must hold before every commit.

use anyhow::Result;

use crate::summary::Summary;
use crate::{build, shell};

/// Tests that are expected to be skipped: the three measurements of the shim (`crates/shim/tests/cost.rs`), which are run by hand.
pub const EXPECTED_SKIPS: usize = 3;

/// Runs formatting, clippy, docs and the tests that need no other program.
pub fn steps(summary: &mut Summary) -> Result<()> {
    summary.step("formatting", shell::run(shell::cargo().args(["fmt", "--all", "--check"])));
    summary.step(
        "clippy",
        shell::run(shell::cargo().args([
            "clippy",
            "--quiet",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])),
    );
    summary.step(
        "docs",
        shell::run(
            shell::cargo()
                .args(["doc", "--quiet", "--locked", "--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"),
        ),
    );
    unit(summary)
}

/// Runs every test of the crates; the architecture test among them.
pub fn unit(summary: &mut Summary) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args([
        "test",
        "--locked",
        "--workspace",
        "--exclude",
        "acceptance",
        "--no-fail-fast",
        "--",
        "--skip",
        "privileged_",
    ]);
    summary.cargo_test("unit tests", &mut cargo)?;
    let mut cargo = shell::cargo();
    cargo.args(["test", "--locked", "-p", "acceptance", "--test", "architecture"]);
    summary.cargo_test("architecture", &mut cargo)
}

/// `cargo xtask check`.
pub fn run(_args: &[String]) -> Result<()> {
    let mut summary = Summary::new(&build::target_dir().join("test-run"))?;
    steps(&mut summary)?;
    summary.close(EXPECTED_SKIPS)
}
