//! Which controllers a version 2 group has: handing them down, and saying why one is missing.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::{CgroupError, because, write_file};

/// Enables every available controller for the groups beneath `directory`, and tells whether all of them are. One that cannot be (a
/// process in the way, a threaded group) is left out: the limit that needs it fails later and says why, [`why_missing`].
pub(super) fn enable(directory: &Path) -> Result<bool, CgroupError> {
    let available =
        crate::file::kernel_text(directory.join("cgroup.controllers")).unwrap_or_default();
    let file = directory.join("cgroup.subtree_control");
    let enabled = crate::file::kernel_text(&file).map_err(because("read", &file))?;
    let enabled: Vec<&str> = enabled.split_whitespace().collect();
    let missing: Vec<String> = available
        .split_whitespace()
        .filter(|name| !enabled.contains(name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() || write_file(&file, &missing.join(" ")).is_ok() {
        return Ok(true);
    }
    let mut all = true;
    for one in &missing {
        all &= write_file(&file, one).is_ok();
    }
    Ok(all)
}

fn lists(directory: &Path, file: &str, controller: &str) -> bool {
    crate::file::kernel_text(directory.join(file))
        .is_ok_and(|text| text.split_whitespace().any(|name| name == controller))
}

fn has_processes(group: &Path) -> bool {
    crate::file::kernel_text(group.join("cgroup.procs")).is_ok_and(|text| !text.is_empty())
}

/// The kind of a group, `cgroup.type`: `domain`, `threaded`, `domain threaded` or `domain invalid`; empty for the root.
pub(super) fn kind(directory: &Path) -> String {
    crate::file::kernel_text(directory.join("cgroup.type")).unwrap_or_default().trim().to_owned()
}

/// Says why the group `directory` has no `controller`: looks downwards from `mount` for the first group that does not hand it on.
pub(super) fn why_missing(mount: &Path, directory: &Path, controller: &str) -> String {
    let mut way: Vec<&Path> =
        directory.ancestors().take_while(|path| path.starts_with(mount)).collect();
    way.reverse();
    let Some((last, above)) = way.split_last() else { return "there is no such group".into() };
    for group in above {
        let at = group.display();
        if !lists(group, "cgroup.controllers", controller) {
            return format!("`{at}` does not have it");
        }
        if lists(group, "cgroup.subtree_control", controller) {
            continue;
        }
        let file = group.join("cgroup.subtree_control");
        return match write_file(&file, &format!("+{controller}")) {
            Ok(()) => format!("`{at}` has handed it on only now"),
            Err(error) => match error.errno() {
                // With processes of its own a group that hands on what threaded groups may have is one of them.
                Some(Errno::BUSY | Errno::OPNOTSUPP | Errno::INVAL) if has_processes(group) => {
                    format!("`{at}` holds processes itself, so it cannot hand it on")
                }
                Some(Errno::OPNOTSUPP | Errno::INVAL) => {
                    format!("`{at}` is a threaded group, which cannot hand it on")
                }
                _ => format!("`{at}` cannot hand it on: {}", error.source),
            },
        };
    }
    match kind(last).as_str() {
        "threaded" | "domain threaded" => format!("`{}` is a threaded group", last.display()),
        "domain invalid" => format!("`{}` lies beneath a threaded group", last.display()),
        // As the kernel says it: this one has not got the file.
        _ => "no such file or directory".into(),
    }
}

/// Says why no process may enter the group, if that is for its place in the tree.
pub(super) fn why_closed(directory: &Path) -> Option<String> {
    let at = directory.display();
    let enabled =
        crate::file::kernel_text(directory.join("cgroup.subtree_control")).unwrap_or_default();
    match kind(directory).as_str() {
        "domain invalid" => {
            Some(format!("`{at}` is in an invalid state: it lies beneath a threaded group"))
        }
        "domain" if !enabled.trim().is_empty() => Some(format!(
            "`{at}` has handed its controllers ({}) on to the groups beneath it and may hold no processes itself",
            enabled.trim()
        )),
        _ => None,
    }
}

/// Keeps the error number's kind and says which value was refused.
pub(super) fn refused(value: &str, errno: Errno) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), Refused { text: format!("value `{value}`: {error}"), errno })
}

/// What [`refused`] wraps, so that the number is not lost.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    text: String,
    pub(super) errno: Errno,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refused {}
