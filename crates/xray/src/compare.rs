//! Experiments 3, 4 and 9: namespaces side by side, and how each came to be.

use crate::host::Host;
use crate::namespaces::{self, Kind, Namespace};
use crate::report::{Claim, Section, Table};
use crate::subject::Subject;

/// How a process came to be in a namespace, as far as it shows afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is the host's: nothing was made and nothing was called.
    NotCreated,
    /// It was made for this process or for an ancestor of it.
    Created,
    /// It is that of another container.
    Joined {
        /// A process of that container.
        pid: u32,
    },
    /// It cannot be read.
    Unreadable,
}

impl Origin {
    fn text(&self) -> String {
        match self {
            Origin::NotCreated => "not created: the host's own, no system call was needed".into(),
            Origin::Created => "created for it".into(),
            Origin::Joined { pid } => format!("joined: that of process {pid} (setns)"),
            Origin::Unreadable => "unreadable".into(),
        }
    }
}

/// Tells how a process came to be in its namespace of a kind.
///
/// A namespace that older processes outside the container's own cgroup are in was there before: it was joined.
#[must_use]
pub fn origin(host: &Host, subject: &Subject, kind: Kind) -> Origin {
    let Ok(own) = namespaces::namespace(host, subject.pid, kind) else { return Origin::Unreadable };
    if namespaces::namespace(host, 1, kind)
        .or_else(|_| namespaces::namespace_of_reader(host, kind))
        .is_ok_and(|first| first == own)
    {
        return Origin::NotCreated;
    }
    let members = namespaces::members(host, kind, own).unwrap_or_default();
    let older = members.into_iter().find(|pid| is_older_stranger(host, subject, *pid));
    older.map_or(Origin::Created, |pid| Origin::Joined { pid })
}

/// Whether a process started before the subject and belongs to another container.
fn is_older_stranger(host: &Host, subject: &Subject, pid: u32) -> bool {
    let Ok(other) = Subject::of_pid(host, pid) else { return false };
    let same = |a: &Subject, b: &Subject| {
        let id = |s: &Subject| s.container.as_ref().map(|c| c.id.clone());
        id(a) == id(b)
    };
    other.container.is_some() && other.start_ticks <= subject.start_ticks && !same(&other, subject)
}

/// Reports the namespaces of a process beside the host's.
#[must_use]
pub fn namespaces_section(host: &Host, subject: &Subject) -> Section {
    let mut section = Section::new("namespaces", "Which namespaces it has");
    section.claims.extend(Kind::ALL.map(|kind| private(host, subject, kind)));
    section.tables.push(side_by_side(host, &[subject]));
    section
}

fn private(host: &Host, subject: &Subject, kind: Kind) -> Claim {
    let own = namespaces::observe(host, &subject.label, subject.pid, kind);
    let first = host_namespace(host, kind);
    let evidence = if first.1 {
        namespaces::observe(host, "host (process 1)", 1, kind)
    } else {
        namespaces::observe_reader(host, kind)
    };
    let ids = (namespaces::namespace(host, subject.pid, kind).ok(), first.0);
    let (holds, finding) = match ids {
        (Some(own), Some(first)) if own == first => {
            (Some(false), "the same as the host's".to_owned())
        }
        (Some(own), Some(_)) => (Some(true), format!("{kind}:[{}]", own.inode)),
        _ => (None, String::new()),
    };
    Claim::new(&format!("namespaces.{kind}"), format!("Its {kind} namespace is not the host's"))
        .all_seen([own, evidence])
        .holds(holds, finding)
        .because(
            "Two processes share a namespace if and only if device and inode of these files are equal.",
            format!("stat -L -c '%d %i' /proc/1/ns/{kind} /proc/{}/ns/{kind}", subject.pid),
        )
}

/// The host's namespace, and whether process 1 could be asked: without rights the reader's own stands in for it.
fn host_namespace(host: &Host, kind: Kind) -> (Option<Namespace>, bool) {
    match namespaces::namespace(host, 1, kind) {
        Ok(found) => (Some(found), true),
        Err(_) => (namespaces::namespace_of_reader(host, kind).ok(), false),
    }
}

/// Namespaces of the host and of several subjects, one row for each kind.
#[must_use]
pub fn side_by_side(host: &Host, subjects: &[&Subject]) -> Table {
    let mut head = vec!["namespace".to_owned(), "host".to_owned()];
    head.extend(subjects.iter().map(|subject| subject.label.clone()));
    let rows = Kind::ALL.map(|kind| {
        let text =
            |ns: Option<Namespace>| ns.map_or("unreadable".into(), |ns| ns.inode.to_string());
        let first = host_namespace(host, kind).0;
        let mut row = vec![kind.to_string(), text(first)];
        let mut seen: Vec<(Option<Namespace>, &str)> = vec![(first, "host")];
        for subject in subjects {
            let own = namespaces::namespace(host, subject.pid, kind).ok();
            let same = seen.iter().find(|(other, _)| own.is_some() && *other == own);
            row.push(same.map_or(text(own), |(_, who)| format!("= {who}")));
            seen.push((own, &subject.label));
        }
        row
    });
    Table {
        title: "Side by side (inodes; = is the same namespace)".into(),
        head,
        rows: rows.to_vec(),
    }
}

/// Reports how each namespace of a process came to be.
#[must_use]
pub fn creation(host: &Host, subject: &Subject) -> Section {
    let mut section = Section::new("creation", "How its namespaces came to be");
    let origins = Kind::ALL.map(|kind| (kind, origin(host, subject, kind)));
    let rows = origins.iter().map(|(kind, origin)| vec![kind.to_string(), origin.text()]);
    section.tables.push(Table {
        title: "Each namespace".into(),
        head: vec!["namespace".into(), "how".into()],
        rows: rows.collect(),
    });
    let created = origins.iter().filter(|(_, origin)| *origin == Origin::Created).count();
    let readable = origins.iter().filter(|(_, origin)| *origin != Origin::Unreadable).count();
    let evidence =
        Kind::ALL.map(|kind| namespaces::observe(host, &subject.label, subject.pid, kind));
    let holds = (readable > 0).then_some(created > 0);
    section.claims.push(
        Claim::new("creation.made", "Namespaces were made for it")
            .all_seen(evidence)
            .holds(holds, if readable > 0 { format!("{created} of {readable}") } else { String::new() })
            .because(
                "A namespace is made by clone, clone3 or unshare, and joined by setns. A kind that is shared with the host was not made, and nothing was called for \
                 it: `--pid=host` is no setns. Which call made the others shows only while it happens.",
                "belljar trace run --rm IMAGE true",
            ),
    );
    section
}

/// Reports what two containers share.
#[must_use]
pub fn compare(host: &Host, a: &Subject, b: &Subject) -> Section {
    let mut section = Section::new("compare", "What two of them share");
    for kind in Kind::ALL {
        let ids = (
            namespaces::namespace(host, a.pid, kind).ok(),
            namespaces::namespace(host, b.pid, kind).ok(),
        );
        let (holds, finding) = match ids {
            (Some(x), Some(y)) if x == y => {
                let with_host = host_namespace(host, kind).0 == Some(x);
                let whose = if with_host {
                    "both have the host's"
                } else {
                    "one namespace, not the host's"
                };
                (Some(true), whose.to_owned())
            }
            (Some(_), Some(_)) => (Some(false), "two namespaces".into()),
            _ => (None, String::new()),
        };
        section.claims.push(
            Claim::new(
                &format!("compare.{kind}"),
                format!("{} and {} share their {kind} namespace", a.label, b.label),
            )
            .seen(namespaces::observe(host, &a.label, a.pid, kind))
            .seen(namespaces::observe(host, &b.label, b.pid, kind))
            .holds(holds, finding)
            .because(
                "What is shared is seen and changed by both: addresses and ports (net), processes and signals (pid), queues and shared memory (ipc).",
                format!("stat -L -c '%d %i' /proc/{}/ns/{kind} /proc/{}/ns/{kind}", a.pid, b.pid),
            ),
        );
    }
    section.tables.push(side_by_side(host, &[a, b]));
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;
    use crate::testing::Fake;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    /// Process 1, and two containers' processes 8 and 9 with namespaces of their own; 8 is older.
    fn fake() -> Fake {
        let fake = Fake::new(&[
            ("proc/8/cgroup", &format!("0::/belljar/{A}\n")),
            ("proc/9/cgroup", &format!("0::/belljar/{B}\n")),
            ("proc/1/cgroup", "0::/\n"),
        ]);
        for (pid, parent, numbers) in [(1, 0, "1"), (8, 1, "8\t1"), (9, 1, "9\t1")] {
            fake.process(pid, parent, "x", numbers);
            for kind in Kind::ALL {
                fake.write(&format!("proc/{pid}/ns/{kind}"), "");
            }
        }
        fake
    }

    fn share(fake: &Fake, kind: Kind, with: u32) {
        fake.remove(&format!("proc/9/ns/{kind}"));
        fake.link(&format!("proc/9/ns/{kind}"), &format!("../../{with}/ns/{kind}"));
    }

    #[test]
    fn origins_are_told_apart() {
        let fake = fake();
        let (host, subject) = (fake.host(), fake.subject("b", 9));
        let subject = Subject {
            start_ticks: 200,
            ..Subject { container: crate::subject::membership_of(&host, 9), ..subject }
        };
        assert_eq!(origin(&host, &subject, Kind::Net), Origin::Created);
        share(&fake, Kind::Net, 8);
        assert_eq!(origin(&host, &subject, Kind::Net), Origin::Joined { pid: 8 });
        share(&fake, Kind::User, 1);
        assert_eq!(origin(&host, &subject, Kind::User), Origin::NotCreated);
        fake.remove("proc/9/ns/time");
        assert_eq!(origin(&host, &subject, Kind::Time), Origin::Unreadable);
    }

    #[test]
    fn what_two_share_is_seen() {
        let fake = fake();
        let (host, a, b) = (fake.host(), fake.subject("a", 8), fake.subject("b", 9));
        let verdict = |kind: Kind| {
            let section = compare(&host, &a, &b);
            let id = format!("compare.{kind}");
            section.claims.into_iter().find(|claim| claim.id == id).unwrap().verdict
        };
        assert_eq!(verdict(Kind::Net), Verdict::False);
        share(&fake, Kind::Net, 8);
        assert_eq!(verdict(Kind::Net), Verdict::True);
        assert_eq!(verdict(Kind::Ipc), Verdict::False);
        fake.remove("proc/9/ns/ipc");
        assert_eq!(verdict(Kind::Ipc), Verdict::Unknown);
        let table = side_by_side(&host, &[&a, &b]);
        let net = table.rows.iter().find(|row| row[0] == "net").unwrap();
        assert_eq!(net[3], "= a");
    }

    #[test]
    fn a_private_namespace_is_not_the_hosts() {
        let fake = fake();
        let (host, subject) = (fake.host(), fake.subject("b", 9));
        let verdict = || {
            let section = namespaces_section(&host, &subject);
            section.claims.into_iter().find(|claim| claim.id == "namespaces.user").unwrap().verdict
        };
        assert_eq!(verdict(), Verdict::True);
        share(&fake, Kind::User, 1);
        assert_eq!(verdict(), Verdict::False);
    }
}
