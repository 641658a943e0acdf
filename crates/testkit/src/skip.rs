//! How a test says that it cannot run on this machine.

use std::io::Write as _;

/// Notes that the running test is skipped, and why, in the file that `BELLJAR_SKIPS` names; the runner counts the lines and compares their number with the
/// expected one. Without that file it is said on standard error alone.
///
/// # Panics
/// When the file cannot be written: an unnoted skip would look like a pass.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    let line = format!("{name}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("BELLJAR_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("note the skip");
    }
}
