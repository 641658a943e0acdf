//! Known ways out: procfs and sysfs that can be written, cgroup files, and what a careless runtime leaves open.

use std::fs;
use std::path::Path;

use super::{Check, Severity};
use crate::host::Host;
use crate::mounts::{self, Mount};
use crate::report::{Evidence, Reading};
use crate::subject::Subject;

/// What Docker masks in procfs and sysfs.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// What Docker makes read-only.
const PROTECTED: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn checks(host: &Host, subject: &Subject) -> Vec<Check> {
    let list = mounts::mounts(host, subject).ok();
    vec![
        masked(host, subject, list.as_deref()),
        protected(host, subject, list.as_deref()),
        sysfs(host, subject, list.as_deref()),
        cgroups(host, subject, list.as_deref()),
        directory(host, subject, list.as_deref()),
        descriptors(host, subject, list.as_deref()),
    ]
}

fn table(host: &Host, subject: &Subject) -> Evidence {
    let file = host.observe(&subject.label, subject.path(host, "mountinfo"));
    // The whole table is no evidence that anybody reads: its size is.
    let reading = match file.reading {
        Reading::Value(text) => Reading::Value(format!("{} mounts", text.lines().count())),
        unreadable => unreadable,
    };
    Evidence { reading, ..file }
}

fn masked(host: &Host, subject: &Subject, list: Option<&[Mount]>) -> Check {
    let root = subject.path(host, "root");
    let open: Option<Vec<&str>> = list.map(|list| {
        let there =
            |path: &&&str| root.join(path.trim_start_matches('/')).symlink_metadata().is_ok();
        let covered = |path: &str| list.iter().any(|mount| mount.at == Path::new(path));
        MASKED.iter().filter(there).copied().filter(|path| !covered(path)).collect()
    });
    // Only /proc/interrupts is not masked by older engines; it tells, and gives nothing.
    let serious: Option<Vec<&str>> =
        open.map(|open| open.into_iter().filter(|path| *path != "/proc/interrupts").collect());
    let finding = serious.as_ref().map_or(String::new(), |open| {
        if open.is_empty() {
            "each that exists is covered by a mount".into()
        } else {
            open.join(", ")
        }
    });
    Check::new(
        "proc.masked",
        Severity::Medium,
        "Files of the kernel that tell too much are masked",
        "CVE-2025-31133",
    )
    .seen([table(host, subject)])
    .passes(
        serious.map(|open| open.is_empty()),
        finding,
        "do not use --privileged or --security-opt systempaths=unconfined",
    )
}

fn protected(host: &Host, subject: &Subject, list: Option<&[Mount]>) -> Check {
    let root = subject.path(host, "root");
    let open: Option<Vec<&str>> = list.map(|list| {
        let there =
            |path: &&&str| root.join(path.trim_start_matches('/')).symlink_metadata().is_ok();
        let writable = |path: &str| {
            mounts::holding(list, Path::new(path)).is_some_and(|mount| !mount.is_read_only())
        };
        PROTECTED.iter().filter(there).copied().filter(|path| writable(path)).collect()
    });
    let finding = open.as_ref().map_or(String::new(), |open| {
        if open.is_empty() {
            "each is read-only".into()
        } else {
            format!("writable: {}", open.join(", "))
        }
    });
    Check::new(
        "proc.read_only",
        Severity::High,
        "Settings of the kernel cannot be written",
        "CVE-2025-52881",
    )
    .seen([table(host, subject)])
    .passes(
        open.map(|open| open.is_empty()),
        finding,
        "do not use --privileged or --security-opt systempaths=unconfined",
    )
}

fn sysfs(host: &Host, subject: &Subject, list: Option<&[Mount]>) -> Check {
    let writable: Option<Vec<String>> = list.map(|list| {
        let found = list.iter().filter(|mount| mount.kind == "sysfs" && !mount.is_read_only());
        found.map(|mount| mount.at.display().to_string()).collect()
    });
    let finding = writable.as_ref().map_or(String::new(), |found| {
        if found.is_empty() {
            "read-only or absent".into()
        } else {
            format!("writable at {}", found.join(", "))
        }
    });
    Check::new("sys.read_only", Severity::High, "sysfs cannot be written", "")
        .seen([table(host, subject)])
        .passes(writable.map(|found| found.is_empty()), finding, "do not use --privileged")
}

fn cgroups(host: &Host, subject: &Subject, list: Option<&[Mount]>) -> Check {
    let writable: Option<Vec<String>> = list.map(|list| {
        let kinds = ["cgroup", "cgroup2"];
        let found = list
            .iter()
            .filter(|mount| kinds.contains(&mount.kind.as_str()) && !mount.is_read_only());
        found.map(|mount| mount.at.display().to_string()).collect()
    });
    let finding = writable.as_ref().map_or(String::new(), |found| {
        if found.is_empty() {
            "read-only or absent".into()
        } else {
            format!("writable at {}", found.join(", "))
        }
    });
    Check::new("cgroup.read_only", Severity::High, "Its cgroup files cannot be written", "CVE-2022-0492")
        .seen([table(host, subject)])
        .passes(
            writable.map(|found| found.is_empty()),
            finding,
            "with version 1 and CAP_SYS_ADMIN release_agent runs a program on the host: mount them read-only",
        )
}

/// A working directory on a mount that its mount namespace does not have is the trace of a leaked descriptor.
fn directory(host: &Host, subject: &Subject, list: Option<&[Mount]>) -> Check {
    let place = subject.path(host, "cwd");
    let link = host.observe_link(&subject.label, &place);
    let inside = list.and_then(|list| Some(is_inside(list, mounts::mount_of(&place).ok()?)));
    let path = link.reading.value().unwrap_or_default();
    let finding = match inside {
        Some(true) => format!("`{path}`, on a mount of its own"),
        Some(false) => format!("`{path}`, on a mount that its namespace does not have"),
        None => String::new(),
    };
    Check::new(
        "runtime.cwd",
        Severity::High,
        "Its working directory is inside its root",
        "CVE-2024-21626",
    )
    .seen([link, table(host, subject)])
    .passes(inside, finding, "update the runtime; do not set a working directory in /proc")
}

fn is_inside(list: &[Mount], id: u64) -> bool {
    list.iter().any(|mount| mount.id == id)
}

/// Directories that are open from before: a way to the host's files.
fn descriptors(host: &Host, subject: &Subject, list: Option<&[Mount]>) -> Check {
    let place = subject.path(host, "fd");
    let check = Check::new(
        "runtime.fds",
        Severity::High,
        "No directory of the host is open in it",
        "CVE-2016-9962, CVE-2024-21626",
    );
    let remedy = "update the runtime; do not pass descriptors with --preserve-fds";
    let (found, list) = match (fs::read_dir(&place), list) {
        (Ok(found), Some(list)) => (found, list),
        (Err(error), _) => {
            let reading = crate::host::reading(Err(error));
            let place = place.display().to_string();
            let seen = Evidence { of: subject.label.clone(), place, reading };
            return check.seen([seen]).passes(None, "", remedy);
        }
        (_, None) => return check.seen([table(host, subject)]).passes(None, "", remedy),
    };
    // A log file that was given as standard output is on the host's mount as well: only directories lead anywhere.
    let directories: Vec<_> =
        found.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    let leaked: Vec<Evidence> = directories
        .iter()
        .filter(|path| mounts::mount_of(path).is_ok_and(|id| !is_inside(list, id)))
        .map(|path| host.observe_link(&subject.label, path))
        .collect();
    let finding = if leaked.is_empty() {
        format!("{} directories are open, none of them outside its mounts", directories.len())
    } else {
        leaked.iter().map(|link| link.place.clone()).collect::<Vec<_>>().join(", ")
    };
    let passes = leaked.is_empty();
    check.seen([table(host, subject)]).seen(leaked).passes(Some(passes), finding, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::Outcome;
    use crate::testing::Fake;

    fn outcome(fake: &Fake, id: &str) -> Outcome {
        let checks = checks(&fake.host(), &fake.subject("web", 9));
        checks.into_iter().find(|check| check.id == id).unwrap().outcome
    }

    const GOOD: &str = "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 / /proc rw - proc p rw\n3 2 0:2 /sys /proc/sys ro - proc p rw\n\
        4 2 0:3 / /proc/kcore rw - tmpfs t rw\n5 1 0:4 / /sys ro - sysfs s ro\n6 5 0:5 / /sys/fs/cgroup ro - cgroup2 c rw\n";

    #[test]
    fn mounts_decide_what_can_be_written() {
        let fake = Fake::new(&[("proc/9/root/proc/kcore", ""), ("proc/9/root/proc/sys/x", "")]);
        fake.write("proc/9/mountinfo", GOOD);
        for id in ["proc.masked", "proc.read_only", "sys.read_only", "cgroup.read_only"] {
            assert_eq!(outcome(&fake, id), Outcome::Pass, "{id}");
        }
        let bad = "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 / /proc rw - proc p rw\n5 1 0:4 / /sys rw - sysfs s rw\n\
            6 5 0:5 / /sys/fs/cgroup rw - cgroup2 c rw\n";
        fake.write("proc/9/mountinfo", bad);
        for id in ["proc.masked", "proc.read_only", "sys.read_only", "cgroup.read_only"] {
            assert_eq!(outcome(&fake, id), Outcome::Fail, "{id}");
        }
        fake.remove("proc/9/mountinfo");
        for id in ["proc.masked", "proc.read_only", "sys.read_only", "cgroup.read_only"] {
            assert_eq!(outcome(&fake, id), Outcome::Unknown, "{id}");
        }
    }

    #[test]
    fn what_a_runtime_left_open_is_seen() {
        let fake = Fake::new(&[("proc/9/fd/0", "")]);
        let outside = fake.host().root("");
        let own = mounts::mount_of(&outside).unwrap();
        fake.link("proc/9/cwd", outside.to_str().unwrap());
        fake.link("proc/9/fd/7", outside.to_str().unwrap());
        fake.write("proc/9/mountinfo", &format!("{own} 0 0:1 / / rw - overlay o rw\n"));
        assert_eq!(outcome(&fake, "runtime.cwd"), Outcome::Pass);
        assert_eq!(outcome(&fake, "runtime.fds"), Outcome::Pass);
        fake.write("proc/9/mountinfo", &format!("{} 0 0:1 / / rw - overlay o rw\n", own + 1));
        assert_eq!(outcome(&fake, "runtime.cwd"), Outcome::Fail);
        assert_eq!(outcome(&fake, "runtime.fds"), Outcome::Fail);
        fake.remove("proc/9/fd/7");
        assert_eq!(outcome(&fake, "runtime.fds"), Outcome::Pass);
        fake.remove("proc/9/cwd");
        assert_eq!(outcome(&fake, "runtime.cwd"), Outcome::Unknown);
        fake.remove("proc/9/mountinfo");
        assert_eq!(outcome(&fake, "runtime.fds"), Outcome::Unknown);
    }
}
