//! `belljar-runtime`, see the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    runtime::main()
}
