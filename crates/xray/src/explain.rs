//! The nine experiments as one report.

use crate::host::Host;
use crate::report::{Report, Section};
use crate::subject::Subject;
use crate::{ancestry, cgroup, compare, kernel, layers, pids};

/// The sections by their names on the command line, in the order of the story.
pub const SECTIONS: [&str; 9] =
    ["kernel", "pids", "namespaces", "creation", "cgroup", "load", "layers", "ancestry", "compare"];

/// Reports on a subject; `wanted` names sections, none means all that apply. `compare` needs a second subject.
#[must_use]
pub fn explain(
    host: &Host,
    subject: &Subject,
    second: Option<&Subject>,
    wanted: &[&str],
) -> Report {
    let asked = |name: &str| wanted.is_empty() || wanted.contains(&name);
    let sections = SECTIONS.into_iter().filter(|name| asked(name));
    let kernel = host.text(host.proc("sys/kernel/osrelease")).unwrap_or_default();
    Report {
        subject: subject.label.clone(),
        kernel: kernel.trim().to_owned(),
        sections: sections.filter_map(|name| section(host, subject, second, name)).collect(),
    }
}

fn section(
    host: &Host,
    subject: &Subject,
    second: Option<&Subject>,
    name: &str,
) -> Option<Section> {
    Some(match name {
        "kernel" => kernel::kernel(host, subject),
        "pids" => pids::pids(host, subject),
        "namespaces" => compare::namespaces_section(host, subject),
        "creation" => compare::creation(host, subject),
        "cgroup" => cgroup::cgroup(host, subject),
        "load" => cgroup::load(host, subject),
        "layers" => layers::layers(host, subject),
        "ancestry" => ancestry::ancestry(host, subject),
        "compare" => compare::compare(host, subject, second?),
        _ => return None,
    })
}
