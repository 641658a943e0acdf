//! The process itself, the kernel under it, the image around it, and its namespaces.

use std::io;

use crate::report::{Fact, Report, read, reason};

pub(crate) fn look(report: &mut Report) {
    let status = read("/proc/self/status");
    report.section("Process");
    let own = std::process::id();
    report.add("pid", Fact::Seen(own.to_string()));
    report.add(
        "pid by namespace",
        Fact::of(field(&status, "NSpid").map(|pids| pids.replace('\t', " "))),
    );
    report.add("parent pid", Fact::Seen(parent()));
    report.add("command", Fact::of(read("/proc/self/cmdline").map(|text| command(&text))));

    report.section("System");
    let system = rustix::system::uname();
    report.add("hostname", Fact::Seen(system.nodename().to_string_lossy().into_owned()));
    report.add("kernel", Fact::Seen(system.release().to_string_lossy().into_owned()));
    report.add(
        "kernel build",
        Fact::of(read("/proc/version").map(|text| text.trim_end().to_owned())),
    );
    report.add("image", Fact::of(read("/etc/os-release").and_then(|text| pretty_name(&text))));
}

/// Returns a field of `/proc/self/status`, proc_pid_status(5).
pub(crate) fn field(status: &io::Result<String>, name: &str) -> io::Result<String> {
    let text = status.as_ref().map_err(|error| io::Error::new(error.kind(), reason(error)))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let missing = || io::Error::other(format!("this kernel's /proc/self/status has no {name}"));
    value.map(|value| value.trim().to_owned()).ok_or_else(missing)
}

fn parent() -> String {
    match rustix::process::getppid() {
        Some(pid) => pid.as_raw_nonzero().to_string(),
        None => "0 (outside of this pid namespace)".to_owned(),
    }
}

/// A command line as `/proc` has it, NUL after each word.
pub(crate) fn command(text: &str) -> String {
    text.trim_end_matches('\0').replace('\0', " ")
}

/// The image's name for itself, os-release(5).
fn pretty_name(text: &str) -> io::Result<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let missing = || io::Error::other("/etc/os-release has no PRETTY_NAME");
    value.map(|name| name.trim_matches(['"', '\'']).to_owned()).ok_or_else(missing)
}

pub(crate) fn look_at_namespaces(report: &mut Report) {
    report.section("Namespaces");
    let names = std::fs::read_dir("/proc/self/ns").map(|dir| {
        let mut names: Vec<String> =
            dir.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    });
    match names {
        Err(error) => {
            report.add("all", Fact::Unreadable(format!("/proc/self/ns: {}", reason(&error))));
        }
        Ok(names) => {
            for name in names {
                let link = std::fs::read_link(format!("/proc/self/ns/{name}"));
                report.add(name, Fact::of(link.map(|link| link.to_string_lossy().into_owned())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status =
            Ok("NStgid:\t9\nNSpid:\t812\t1\nSeccomp_filters:\t3\nSeccomp:\t2\n".to_owned());
        assert_eq!(field(&status, "NSpid").unwrap(), "812\t1");
        assert_eq!(field(&status, "Seccomp").unwrap(), "2");
        let words = field(&status, "CapEff").unwrap_err().to_string();
        assert_eq!(words, "this kernel's /proc/self/status has no CapEff");
    }

    #[test]
    fn the_image_names_itself() {
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"Belljar hello\"\n").unwrap(), "Belljar hello");
        assert!(pretty_name("ID=x\n").is_err());
        assert_eq!(command("/bin/hello\0sleep\0infinity\0"), "/bin/hello sleep infinity");
    }
}
