//! Mounts: the root file system, and where a cgroup hierarchy is mounted. proc_pid_mountinfo(5)

use std::io;

use crate::report::{Fact, Report, read};

/// One line of mountinfo:
/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS…] - TYPE SOURCE SUPER-OPTIONS`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount<'a> {
    pub(crate) root: &'a str,
    pub(crate) point: &'a str,
    pub(crate) options: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) source: &'a str,
    pub(crate) super_options: &'a str,
}

/// Reads mountinfo; lines that are not as documented are left out.
pub(crate) fn parse(text: &str) -> Vec<Mount<'_>> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let mut after = after.split(' ');
    Some(Mount {
        root: before.next()?,
        point: before.next()?,
        options: before.next()?,
        kind: after.next()?,
        source: after.next()?,
        super_options: after.next().unwrap_or(""),
    })
}

pub(crate) fn look(report: &mut Report) {
    report.section("Root file system");
    let text = read("/proc/self/mountinfo");
    let found = text.and_then(|text| {
        // Of mounts on top of each other the last one is seen.
        let mounts = parse(&text);
        let root = mounts.iter().rfind(|mount| mount.point == "/");
        root.map(facts).ok_or_else(|| io::Error::other("/proc/self/mountinfo has no line for /"))
    });
    match found {
        Ok(facts) => {
            for (label, value) in facts {
                report.add(label, Fact::Seen(value));
            }
        }
        Err(error) => report.add("type", Fact::of(Err(error))),
    }
}

fn facts(root: &Mount<'_>) -> Vec<(&'static str, String)> {
    let mut facts = vec![("type", root.kind.to_owned()), ("source", root.source.to_owned())];
    let read_only = root.options.split(',').any(|option| option == "ro");
    facts.push(("access", if read_only { "read-only" } else { "read-write" }.to_owned()));
    if root.kind == "overlay" {
        let (lower, upper) = layers(root.super_options);
        let s = if lower == 1 { "" } else { "s" };
        facts.push((
            "layers",
            format!("{lower} lower layer{s} of the image, {}", upper_in_words(upper)),
        ));
    }
    facts
}

fn upper_in_words(upper: bool) -> &'static str {
    if upper { "1 upper layer of the container" } else { "no upper layer" }
}

/// Counts an overlay's lower layers: one option with colons, or (new mount API) one option per layer.
fn layers(options: &str) -> (usize, bool) {
    let lowers = options.split(',').filter_map(|option| {
        let (key, value) = option.split_once('=')?;
        matches!(key, "lowerdir" | "lowerdir+")
            .then(|| value.split(':').filter(|part| !part.is_empty()).count())
    });
    (lowers.sum(), options.split(',').any(|option| option.starts_with("upperdir=")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "612 590 0:52 / / rw,relatime master:9 - overlay overlay \
                        rw,lowerdir=/l/A:/l/B:/l/C,upperdir=/u,workdir=/w";

    #[test]
    fn an_overlay_root_is_described() {
        let mounts = parse(LINE);
        let want = [
            ("type", "overlay"),
            ("source", "overlay"),
            ("access", "read-write"),
            ("layers", "3 lower layers of the image, 1 upper layer of the container"),
        ];
        assert_eq!(facts(&mounts[0]), want.map(|(label, value)| (label, value.to_owned())));
        assert_eq!(layers("ro,lowerdir+=/a,lowerdir+=/b"), (2, false));
        assert_eq!(parse("garbage\n\n1 2 3 - x"), []);
    }
}
