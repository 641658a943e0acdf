//! The `belljard` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::main(std::env::args_os())
}
