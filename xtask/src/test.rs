//! `cargo xtask test`: everything that can be shown on one machine.

use std::path::Path;

use anyhow::{Result, bail};

use crate::build::{self, Profile};
use crate::summary::Summary;
use crate::{check, conformance, fuzz, images, lab, packages, shell};

/// How long each fuzz target runs.
const FUZZ_SECONDS: u32 = 10;

/// `cargo xtask test [--unit | --lab] [FILTER]`.
pub fn run(args: &[String]) -> Result<()> {
    let mut summary = Summary::new(&build::target_dir().join("test-run"))?;
    if args.iter().any(|arg| arg == "--unit") {
        check::unit(&mut summary)?;
        return summary.close(check::EXPECTED_SKIPS);
    }
    if !shell::is_root() {
        bail!(
            "the privileged tests need root\n\ntype: sudo -E cargo xtask test\nor:   cargo xtask test --unit"
        );
    }
    if args.iter().any(|arg| arg == "--lab") {
        packages::ensure(packages::LAB)?;
        let expected = lab::run(&mut summary)?;
        return summary.close(expected);
    }
    packages::ensure(packages::TEST)?;
    packages::ensure(packages::FUZZ)?;
    let filter = args.iter().find(|arg| !arg.starts_with("--"));
    if filter.is_none() {
        check::steps(&mut summary)?;
    }
    privileged(&mut summary, filter.map(String::as_str))?;
    if filter.is_none() {
        conformance::short(&mut summary)?;
        summary.step("fuzz targets", fuzz::all(FUZZ_SECONDS));
        packages::ensure(packages::LAB)?;
        let in_guests = lab::reduced(&mut summary)?;
        return summary.close(check::EXPECTED_SKIPS + on_this_host() + in_guests);
    }
    summary.close(0)
}

/// How many of the crates' privileged tests need a systemd that runs this host: they are run in the lab's guest as well.
fn on_this_host() -> usize {
    usize::from(!Path::new("/run/systemd/system").exists())
}

/// Runs the tests that need root: those of the crates, then those against the built programs.
fn privileged(summary: &mut Summary, filter: Option<&str>) -> Result<()> {
    let programs = build::build(Profile::Debug)?;
    let images = images::test_images(&[])?;
    if filter.is_none() {
        let mut cargo = shell::cargo();
        cargo
            .args([
                "test",
                "--locked",
                "--workspace",
                "--exclude",
                "acceptance",
                "--no-fail-fast",
                "--",
                "privileged_",
            ])
            .arg("--test-threads=1")
            .env("BELLJAR_PROGRAMS", &programs)
            .env("BELLJAR_TEST_IMAGES", &images);
        summary.cargo_test("privileged tests of the crates", &mut cargo)?;
    }
    let mut cargo = shell::cargo();
    cargo.args(["test", "--locked", "-p", "acceptance", "--no-fail-fast", "--"]);
    cargo.args(["--skip", "architecture_", "--test-threads=1"]).args(filter);
    cargo.env("BELLJAR_PROGRAMS", &programs).env("BELLJAR_TEST_IMAGES", &images);
    summary.cargo_test("acceptance tests", &mut cargo)
}
