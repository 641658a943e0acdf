//! The program inside the embedded image `belljar/hello`: prints what a container looks like from inside.
//!
//! ```text
//! hello [--json]            what is seen: process, user, namespaces, limits, root file system, network
//! hello sleep N|infinity    stays alive quietly; ends on SIGTERM, also as PID 1
//! hello ps                  the processes that are visible
//! hello env                 the environment
//! ```
//! Under the names `sleep`, `ps` and `env` it does what the name says. What cannot be read is said to be unreadable, with the reason;
//! nothing is guessed.
#![forbid(unsafe_code)]

mod cgroup;
mod identity;
mod mounts;
mod net;
mod process;
mod ps;
mod report;
mod sleep;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: hello [--json] | sleep SECONDS|infinity | ps | env\n";
const WRONG_USAGE: u8 = 2;

const GREETING: &str = "\
Hello from Belljar!

This message comes from a small program inside a container. That you can read it shows that the image
was unpacked, the namespaces made, the limits set, and the program started as what the container sees as
its first process. Below is the view from under the jar.
";

const FAREWELL: &str = "
The same container from outside: `belljar ps`, `belljar inspect NAME`, and `/proc/PID/ns` on the host.
";

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let own_name = args.first().map(|path| Path::new(path).file_name().map(OsString::from));
    let applet = own_name.flatten().filter(|name| name == "sleep" || name == "ps" || name == "env");
    args.splice(..args.len().min(1), applet);
    match run(&args, &mut io::stdout().lock()) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&format!("hello: {error}\n"), ExitCode::FAILURE),
    }
}

fn complain(words: &str, code: ExitCode) -> ExitCode {
    // Nobody is left to tell when stderr is closed.
    let _ = io::stderr().write_all(words.as_bytes());
    code
}

fn run(args: &[OsString], out: &mut impl Write) -> io::Result<ExitCode> {
    let args: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap_or("\u{fffd}")).collect();
    match args.as_slice() {
        [] => {
            out.write_all(GREETING.as_bytes())?;
            write!(out, "{}", look().text())?;
            out.write_all(FAREWELL.as_bytes())?;
        }
        ["--json"] => writeln!(out, "{}", look().json())?,
        ["ps"] => ps::print(out)?,
        ["env"] => print_environment(out)?,
        ["sleep", time] => return sleep::sleep(time),
        ["--help" | "-h" | "help"] => out.write_all(USAGE.as_bytes())?,
        _ => return Ok(complain(USAGE, ExitCode::from(WRONG_USAGE))),
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Takes everything in.
fn look() -> report::Report {
    let mut report = report::Report::default();
    process::look(&mut report);
    identity::look(&mut report);
    process::look_at_namespaces(&mut report);
    cgroup::look(&mut report);
    mounts::look(&mut report);
    net::look(&mut report);
    report
}

fn print_environment(out: &mut impl Write) -> io::Result<()> {
    for (name, value) in std::env::vars_os() {
        out.write_all(&[name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat())?;
    }
    Ok(())
}
