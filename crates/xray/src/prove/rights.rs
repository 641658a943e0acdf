//! Who it is and what it may do: ids, capabilities, filters, labels, limits.

use sys::cred::{CAPABILITY_NAMES, capability};

use super::{Check, Severity};
use crate::cgroup::{Groups, Resource, limit};
use crate::host::Host;
use crate::report::Evidence;
use crate::subject::Subject;

/// What each of these lets a process do to the host.
const DANGEROUS: [&str; 15] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_MODULE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_BOOT",
    "CAP_SYS_TIME",
    "CAP_DAC_READ_SEARCH",
    "CAP_NET_ADMIN",
    "CAP_BPF",
    "CAP_PERFMON",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_SYSLOG",
    "CAP_CHECKPOINT_RESTORE",
];

pub(super) fn checks(host: &Host, subject: &Subject) -> Vec<Check> {
    vec![
        dangerous(host, subject),
        inherited(host, subject),
        no_new_privileges(host, subject),
        filtered(host, subject),
        root(host, subject),
        mapped(host, subject),
        labelled(host, subject),
        limited(host, subject, Resource::Memory, "CIS 5.11"),
        limited(host, subject, Resource::Pids, "CIS 5.29"),
        limited(host, subject, Resource::Cpu, "CIS 5.12"),
    ]
}

fn bits(evidence: &Evidence) -> Option<u64> {
    u64::from_str_radix(evidence.reading.value()?, 16).ok()
}

fn names(set: u64) -> Vec<&'static str> {
    let known = CAPABILITY_NAMES.iter().enumerate();
    known.filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, name)| *name).collect()
}

fn dangerous(host: &Host, subject: &Subject) -> Check {
    let effective = host.observe_status(&subject.label, subject.pid, "CapEff");
    let bounding = host.observe_status(&subject.label, subject.pid, "CapBnd");
    let wanted = DANGEROUS.iter().filter_map(|name| capability(name)).fold(0, |all, bit| all | bit);
    let found = bits(&effective).zip(bits(&bounding)).map(|(a, b)| (a | b) & wanted);
    let finding = match found {
        Some(0) => "none".to_owned(),
        Some(found) => names(found).join(", "),
        None => String::new(),
    };
    Check::new(
        "caps.dangerous",
        Severity::High,
        "It has no capability over the host",
        "CIS 5.4, 5.5",
    )
    .seen([effective, bounding])
    .passes(
        found.map(|found| found == 0),
        finding,
        "drop them: --cap-drop, and no --privileged",
    )
}

fn inherited(host: &Host, subject: &Subject) -> Check {
    let sets =
        ["CapInh", "CapAmb"].map(|key| host.observe_status(&subject.label, subject.pid, key));
    let found: Option<u64> = sets.iter().map(bits).try_fold(0, |all, one| Some(all | one?));
    let finding = match found {
        Some(0) => "both sets are empty".to_owned(),
        Some(found) => names(found).join(", "),
        None => String::new(),
    };
    Check::new(
        "caps.inherited",
        Severity::Low,
        "It passes no capabilities on by inheritance",
        "CVE-2022-29162",
    )
    .seen(sets)
    .passes(
        found.map(|found| found == 0),
        finding,
        "start it with a runtime that leaves the inheritable set empty",
    )
}

fn no_new_privileges(host: &Host, subject: &Subject) -> Check {
    let line = host.observe_status(&subject.label, subject.pid, "NoNewPrivs");
    let passes = line.reading.value().map(|value| value == "1");
    let finding = match passes {
        Some(true) => "no_new_privs is set",
        Some(false) => "setuid programs inside give their owner's rights",
        None => "",
    };
    Check::new(
        "no_new_privs",
        Severity::Medium,
        "It cannot gain rights by setuid programs",
        "CIS 5.26",
    )
    .seen([line])
    .passes(passes, finding, "--security-opt no-new-privileges")
}

fn filtered(host: &Host, subject: &Subject) -> Check {
    let mode = host.observe_status(&subject.label, subject.pid, "Seccomp");
    let count = host.observe_status(&subject.label, subject.pid, "Seccomp_filters");
    let passes = mode.reading.value().map(|value| value == "2" || value == "1");
    let finding = match (passes, count.reading.value()) {
        (Some(true), Some(count)) => format!("{count} filter(s) decide on every system call"),
        (Some(true), None) => "a filter decides on every system call".into(),
        (Some(false), _) => "every system call reaches the kernel".into(),
        (None, _) => String::new(),
    };
    Check::new("seccomp", Severity::High, "Its system calls are filtered", "CIS 5.22")
        .seen([mode, count])
        .passes(passes, finding, "do not use --security-opt seccomp=unconfined or --privileged")
}

fn root(host: &Host, subject: &Subject) -> Check {
    let line = host.observe_status(&subject.label, subject.pid, "Uid");
    let uid = line.reading.value().and_then(|v| v.split_whitespace().nth(1)?.parse::<u32>().ok());
    let finding = uid.map_or(String::new(), |uid| format!("on the host its user is {uid}"));
    Check::new("user.root", Severity::Medium, "To the host it is not root", "CIS 4.1, 5.31")
        .seen([line])
        .passes(uid.map(|uid| uid != 0), finding, "--user, USER in the image, or a user namespace")
}

fn mapped(host: &Host, subject: &Subject) -> Check {
    let map = host.observe(&subject.label, subject.path(host, "uid_map"));
    let outside = map.reading.value().and_then(|text| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some("0"))?;
        line.split_whitespace().nth(1)?.parse::<u32>().ok()
    });
    let readable = map.reading.value().is_some();
    let (passes, finding) = match outside {
        Some(0) => (Some(false), "root inside is root outside".to_owned()),
        Some(uid) => (Some(true), format!("root inside is user {uid} outside")),
        None if readable => (Some(true), "root inside is nobody outside".into()),
        None => (None, String::new()),
    };
    Check::new("user.mapped", Severity::Medium, "Root inside is another user outside", "CIS 2.9")
        .seen([map])
        .passes(
            passes,
            finding,
            "a user namespace: userns-remap, rootless, or --userns with mappings",
        )
}

fn labelled(host: &Host, subject: &Subject) -> Check {
    let label = host.observe(&subject.label, subject.path(host, "attr/current"));
    let value = label.reading.value().map(|value| value.trim_end_matches('\0').trim().to_owned());
    let (passes, finding) = match value.as_deref() {
        Some("" | "unconfined") => (Some(false), "unconfined".to_owned()),
        Some(value) => (Some(!value.starts_with("unconfined")), value.to_owned()),
        None => (Some(false), "this kernel runs no security module that labels processes".into()),
    };
    Check::new("lsm", Severity::Low, "A security module confines it", "CIS 5.1, 5.2")
        .seen([label])
        .passes(passes, finding, "run a host with AppArmor or SELinux, and do not switch it off")
}

fn limited(host: &Host, subject: &Subject, resource: Resource, reference: &str) -> Check {
    let (id, title, remedy) = match resource {
        Resource::Memory => ("limit.memory", "Its memory is limited", "--memory"),
        Resource::Pids => ("limit.pids", "It cannot exhaust the host's processes", "--pids-limit"),
        Resource::Cpu => ("limit.cpu", "Its processor time is limited", "--cpus"),
        Resource::Swap => ("limit.swap", "Its swap is limited", "--memory-swap"),
    };
    let severity = if resource == Resource::Cpu { Severity::Low } else { Severity::Medium };
    let check = Check::new(id, severity, title, reference);
    let Ok(groups) = Groups::of(host, subject.pid) else {
        return check
            .seen([host.observe(&subject.label, subject.path(host, "cgroup"))])
            .passes(None, "", remedy);
    };
    let found = limit(host, &groups, resource);
    let evidence: Vec<Evidence> =
        found.steps.iter().flat_map(|step| step.evidence.clone()).collect();
    let (passes, finding) = match found.binding() {
        Some(step) => (Some(true), format!("by `{}`", step.directory.display())),
        None if found.is_known() => (Some(false), "by no group on the way up".into()),
        None => (None, format!("`{}` is not counted in its group", resource.controller())),
    };
    check.seen(evidence).passes(passes, finding, remedy)
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

    fn status(caps: &str, nnp: &str, seccomp: &str, uid: u32) -> String {
        format!(
            "Uid:\t{uid}\t{uid}\t0\t0\nCapInh:\t0\nCapEff:\t{caps}\nCapBnd:\t{caps}\nCapAmb:\t0\nNoNewPrivs:\t{nnp}\nSeccomp:\t{seccomp}\n"
        )
    }

    #[test]
    fn each_right_changes_its_answer() {
        let fake = Fake::new(&[("proc/9/uid_map", "0 100000 65536\n")]);
        fake.write("proc/9/status", &status("00000000a80425fb", "1", "2", 1000));
        for id in [
            "caps.dangerous",
            "caps.inherited",
            "no_new_privs",
            "seccomp",
            "user.root",
            "user.mapped",
        ] {
            assert_eq!(outcome(&fake, id), Outcome::Pass, "{id}");
        }
        fake.write("proc/9/status", &status("000001ffffffffff", "0", "0", 0));
        fake.write("proc/9/uid_map", "0 0 4294967295\n");
        for id in ["caps.dangerous", "no_new_privs", "seccomp", "user.root", "user.mapped"] {
            assert_eq!(outcome(&fake, id), Outcome::Fail, "{id}");
        }
        fake.write("proc/9/status", "Name:\tx\nCapInh:\t1\nCapAmb:\t0\n");
        assert_eq!(outcome(&fake, "caps.inherited"), Outcome::Fail);
        for id in ["caps.dangerous", "no_new_privs", "seccomp", "user.root"] {
            assert_eq!(outcome(&fake, id), Outcome::Unknown, "{id}");
        }
    }

    #[test]
    fn limits_count_wherever_they_are() {
        let fake = Fake::new(&[
            ("proc/9/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/cgroup.controllers", "memory\n"),
            ("sys/fs/cgroup/a/memory.max", "1000000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/pids.max", "max\n"),
        ]);
        assert_eq!(outcome(&fake, "limit.memory"), Outcome::Pass);
        assert_eq!(outcome(&fake, "limit.pids"), Outcome::Fail);
        assert_eq!(outcome(&fake, "limit.cpu"), Outcome::Unknown);
    }
}
