//! Belljar's own commands: `cargo xtask <command>`.
//!
//! `check` and `test` are what continuous integration runs; `demo` is what a newcomer runs first; `bench` regenerates
//! `docs/performance.md`. What a command needs from Debian it installs as root, or names.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod check;
mod conformance;
mod demo;
mod fuzz;
mod images;
mod lab;
mod packages;
mod peer;
mod shell;
mod summary;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

  build [--debug]        builds the four programs and the embedded image into target/belljar/
  demo                   builds, starts a private daemon, runs a container, shows the evidence, cleans up
  test [FILTER]          everything: check, privileged tests, fuzz targets (root; installs what is missing)
  test --unit            only what needs neither root nor other programs
  test --lab             the suites in guests with pure cgroup v2: without, beside and through systemd (root, x86-64)
  check                  formatting, clippy, architecture, unit tests, docs
  bench [SECTION...]     Belljar and a private real Docker, alternating; writes docs/performance.md
  bench runtime          belljar-runtime, runc, crun and the kernel's own price; writes docs/performance-runtime.md
  conformance [SECTION]  the runtime under Docker, Podman and containerd, and beside runc and crun; writes docs/conformance.md
                         (`cargo xtask conformance help` names the sections)
  fuzz [SECONDS]         builds and runs every fuzz target (default 10 s each)
  images                 builds the test images into target/test-images/
  packages               names (and as root installs) the Debian packages that tests and bench need
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("build") => build::run(rest),
        Some("demo") => demo::run(rest),
        Some("test") => test::run(rest),
        Some("check") => check::run(rest),
        Some("bench") => bench::run(rest),
        Some("conformance") => conformance::run(rest),
        Some("fuzz") => fuzz::run(rest),
        Some("images") => images::run(rest),
        Some("packages") => packages::run(rest),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("xtask: unknown command `{other}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
