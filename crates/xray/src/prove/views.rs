//! What it sees of the host: namespaces, mounts, devices, sockets.

use std::path::Path;

use super::{Check, Severity};
use crate::host::Host;
use crate::mounts::{self, Mount};
use crate::namespaces::{self, Kind};
use crate::report::{Evidence, Reading};
use crate::subject::Subject;

/// Sockets through which an engine or the host is commanded.
const SOCKETS: [&str; 9] = [
    "/run/belljar.sock",
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/systemd/private",
    "/run/dbus/system_bus_socket",
    "/var/run/dbus/system_bus_socket",
];

/// Directories of the host that must not be shown, least of all writable.
const SENSITIVE: [&str; 12] = [
    "/", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sys", "/usr", "/var/lib",
    "/var/run",
];

pub(super) fn checks(host: &Host, subject: &Subject) -> Vec<Check> {
    let mut checks: Vec<Check> = [
        (Kind::Pid, Severity::High, "CIS 5.16", "do not use --pid=host"),
        (Kind::Net, Severity::High, "CIS 5.10", "do not use --network=host"),
        (Kind::Ipc, Severity::Medium, "CIS 5.17", "do not use --ipc=host"),
        (Kind::Uts, Severity::Low, "CIS 5.21", "do not use --uts=host"),
        (Kind::Mnt, Severity::High, "", "start it with a mount namespace"),
        (Kind::Cgroup, Severity::Low, "CIS 5.25", "--cgroupns=private"),
    ]
    .into_iter()
    .map(|(kind, severity, reference, remedy)| {
        private(host, subject, kind, severity, reference, remedy)
    })
    .collect();
    let list = mounts::mounts(host, subject);
    let place = subject.path(host, "mountinfo");
    let seen = |finding: String| Evidence {
        of: subject.label.clone(),
        place: place.display().to_string(),
        reading: Reading::Value(finding),
    };
    match list {
        Ok(list) => {
            checks.push(exposed(&list, seen));
            checks.push(read_only_root(&list, seen));
        }
        Err(_) => {
            let check = Check::new("mounts.host", Severity::High, EXPOSED, "CIS 5.6");
            let file = host.observe(&subject.label, &place);
            checks.push(check.seen([file]).passes(None, "", ""));
        }
    }
    checks.push(sockets(host, subject));
    checks.push(devices(host, subject));
    checks
}

fn private(
    host: &Host,
    subject: &Subject,
    kind: Kind,
    severity: Severity,
    reference: &str,
    remedy: &str,
) -> Check {
    let own = namespaces::namespace(host, subject.pid, kind).ok();
    let first = namespaces::namespace(host, 1, kind).ok();
    let reader = namespaces::namespace_of_reader(host, kind).ok();
    let other = first.or(reader);
    let evidence = [
        namespaces::observe(host, &subject.label, subject.pid, kind),
        namespaces::observe_reader(host, kind),
    ];
    let (passes, finding) = match (own, other) {
        (Some(own), Some(other)) if own == other => (Some(false), "it is the host's"),
        (Some(_), Some(_)) => (Some(true), "its own"),
        _ => (None, ""),
    };
    let title = format!("Its {kind} namespace is not the host's");
    Check::new(&format!("ns.{kind}"), severity, &title, reference)
        .seen(evidence)
        .passes(passes, finding, remedy)
}

const EXPOSED: &str = "No sensitive directory of the host is mounted in it";

/// A mount of the host's own file systems: a part of one that also holds the host, or one with a disk behind it.
fn exposed(list: &[Mount], seen: impl Fn(String) -> Evidence) -> Check {
    const OWN: [&str; 4] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/console"];
    let from_host = |mount: &&Mount| {
        let disk = mount.source.starts_with("/dev/") && mount.kind != "devtmpfs";
        let own = OWN.iter().any(|path| mount.at == Path::new(path)) || mount.at == Path::new("/");
        let whole_proc = mount.kind == "proc"
            && mount.at != Path::new("/proc")
            && !mount.at.starts_with("/proc/");
        (disk && !own && sensitive(&mount.root)) || (mount.kind == "devtmpfs") || whole_proc
    };
    let found: Vec<String> = list
        .iter()
        .filter(from_host)
        .map(|mount| {
            let how = if mount.is_read_only() { "read-only" } else { "writable" };
            format!("{} at {} ({how})", mount.root.display(), mount.at.display())
        })
        .collect();
    let finding = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Check::new("mounts.host", Severity::High, EXPOSED, "CIS 5.6")
        .seen([seen(format!("{} mounts", list.len()))])
        .passes(
            Some(found.is_empty()),
            finding,
            "mount only what it needs, read-only where that is enough",
        )
}

fn sensitive(root: &Path) -> bool {
    SENSITIVE.iter().any(|dir| root == Path::new(dir))
}

fn read_only_root(list: &[Mount], seen: impl Fn(String) -> Evidence) -> Check {
    let root = list.iter().rfind(|mount| mount.at == Path::new("/"));
    let passes = root.map(Mount::is_read_only);
    let finding = match passes {
        Some(true) => "nothing can be written outside of mounts",
        Some(false) => "programs inside can be changed",
        None => "it has no mount on /",
    };
    let line = root.map_or(String::new(), |root| root.options.join(","));
    Check::new("root.read_only", Severity::Low, "Its root file system is read-only", "CIS 5.13")
        .seen([seen(line)])
        .passes(passes, finding, "--read-only, with --tmpfs for what must be written")
}

fn sockets(host: &Host, subject: &Subject) -> Check {
    let check = Check::new(
        "sockets",
        Severity::High,
        "No socket that commands the host is in it",
        "CIS 5.32",
    );
    let remedy = "do not mount an engine's socket: whoever can write to it is root on the host";
    let root = subject.path(host, "root");
    let Ok(root) = sys::inroot::open_root(&root) else {
        let seen = host.observe_link(&subject.label, subject.path(host, "root"));
        return check.seen([seen]).passes(None, "its root cannot be opened: root may", remedy);
    };
    let found: Vec<&str> = SOCKETS
        .iter()
        .copied()
        .filter(|path| is(&root, path, rustix::fs::FileType::Socket))
        .collect();
    let finding = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    check.passes(Some(found.is_empty()), finding, remedy)
}

fn is(root: &std::os::fd::OwnedFd, path: &str, kind: rustix::fs::FileType) -> bool {
    let flags = rustix::fs::OFlags::PATH;
    let Ok(file) = sys::inroot::open(root, path, flags, rustix::fs::Mode::empty()) else {
        return false;
    };
    rustix::fs::fstat(&file)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == kind)
}

/// Nodes in its /dev beside those that every container has.
fn devices(host: &Host, subject: &Subject) -> Check {
    const USUAL: [(u32, u32); 8] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];
    let check = Check::new("devices", Severity::High, "It has no device of the host", "CIS 5.18");
    let remedy = "do not use --privileged; give single devices with --device";
    let directory = subject.path(host, "root/dev");
    let list = match std::fs::read_dir(&directory) {
        Ok(list) => list,
        Err(error) => {
            let place = directory.display().to_string();
            let reading = crate::host::reading(Err(error));
            let seen = Evidence { of: subject.label.clone(), place, reading };
            return check.seen([seen]).passes(None, "", remedy);
        }
    };
    let mut found: Vec<String> = list
        .flatten()
        .filter(|entry| {
            use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
            let Ok(meta) = entry.metadata() else { return false };
            let kind = meta.file_type();
            let number = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
            // Terminals of its own devpts have major numbers 136 to 143.
            kind.is_block_device()
                || (kind.is_char_device()
                    && !USUAL.contains(&number)
                    && !(136..=143).contains(&number.0))
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    let finding = match found.len() {
        0 => "only those that every container has".to_owned(),
        1..=8 => found.join(", "),
        more => format!("{} and {} more", found[..8].join(", "), more - 8),
    };
    let place = directory.display().to_string();
    let reading = Reading::Value(finding.clone());
    check.seen([Evidence { of: subject.label.clone(), place, reading }]).passes(
        Some(found.is_empty()),
        finding,
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::Outcome;
    use crate::testing::Fake;

    fn check(fake: &Fake, id: &str) -> Check {
        let checks = checks(&fake.host(), &fake.subject("web", 9));
        checks.into_iter().find(|check| check.id == id).unwrap()
    }

    #[test]
    fn mounts_of_the_host_are_named() {
        let fake = Fake::new(&[]);
        fake.write(
            "proc/9/mountinfo",
            "1 0 0:1 / / rw - overlay o rw\n2 1 8:1 /srv/data /data rw - ext4 /dev/sda1 rw\n",
        );
        assert_eq!(check(&fake, "mounts.host").outcome, Outcome::Pass);
        assert_eq!(check(&fake, "root.read_only").outcome, Outcome::Fail);
        fake.write(
            "proc/9/mountinfo",
            "1 0 0:1 / / ro - overlay o rw\n2 1 8:1 / /host ro - ext4 /dev/sda1 rw\n",
        );
        let found = check(&fake, "mounts.host");
        assert_eq!(
            (found.outcome, found.finding.as_str()),
            (Outcome::Fail, "/ at /host (read-only)")
        );
        assert_eq!(check(&fake, "root.read_only").outcome, Outcome::Pass);
        fake.remove("proc/9/mountinfo");
        assert_eq!(check(&fake, "mounts.host").outcome, Outcome::Unknown);
    }

    #[test]
    fn sockets_inside_are_found_behind_links() {
        let fake = Fake::new(&[("proc/9/root/dev/x", "")]);
        assert_eq!(check(&fake, "sockets").outcome, Outcome::Pass);
        let path = fake.host().proc("9/root/run/docker.sock");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        fake.link("proc/9/root/var/run", "/run");
        let found = check(&fake, "sockets");
        assert_eq!(
            (found.outcome, found.finding.as_str()),
            (Outcome::Fail, "/run/docker.sock, /var/run/docker.sock")
        );
    }
}
