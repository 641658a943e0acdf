//! Experiment 2: one process, several numbers.

use sys::procfs::Status;

use crate::host::Host;
use crate::namespaces::{self, Kind};
use crate::report::{Claim, Section};
use crate::subject::Subject;

/// Reports the numbers of a process in every pid namespace that sees it, and what it sees.
#[must_use]
pub fn pids(host: &Host, subject: &Subject) -> Section {
    let mut section = Section::new("pids", "One process, several numbers");
    section.claims.push(levels(host, subject));
    section.claims.push(first(host, subject));
    section.claims.push(sees(host, subject));
    section
}

fn numbers(host: &Host, pid: u32) -> Option<Vec<u32>> {
    let text = host.text(host.proc(pid.to_string()).join("status")).ok()?;
    Status::parse(&text).map(|status| status.ns_pids).filter(|numbers| !numbers.is_empty())
}

fn levels(host: &Host, subject: &Subject) -> Claim {
    let line = host.observe_status(&subject.label, subject.pid, "NSpid");
    let (holds, finding) = match numbers(host, subject.pid).as_deref() {
        Some([only]) => (
            Some(false),
            format!("it is {only} to everybody: no pid namespace below the reader's holds it"),
        ),
        Some([outer, .., inner]) => (
            Some(true),
            format!(
                "{outer} here and {inner} in its own namespace: the same task, with one number for each namespace that sees it"
            ),
        ),
        _ => (None, String::new()),
    };
    Claim::new("pids.levels", "It has one number outside and another inside")
        .seen(line)
        .holds(holds, finding)
        .because(
            "Nothing is translated and nothing is copied: a task has one number in each pid namespace from its own up to the first one. The list begins with the \
             namespace of whoever reads it.",
            format!("grep NSpid /proc/{}/status", subject.pid),
        )
}

fn first(host: &Host, subject: &Subject) -> Claim {
    let line = host.observe_status(&subject.label, subject.pid, "NSpid");
    let inner = numbers(host, subject.pid).and_then(|list| list.last().copied());
    let holds = inner.map(|inner| inner == 1);
    let finding = inner.map_or(String::new(), |inner| format!("its innermost number is {inner}"));
    Claim::new("pids.first", "It is the first process of its pid namespace")
        .seen(line)
        .holds(holds, finding)
        .because(
            "Number 1 gets only signals for which it has a handler, except SIGKILL and SIGSTOP from a namespace above. When it ends the kernel kills every process in \
             its namespace.",
            format!("grep -E 'NSpid|SigCgt' /proc/{}/status", subject.pid),
        )
}

fn sees(host: &Host, subject: &Subject) -> Claim {
    let own = namespaces::observe(host, &subject.label, subject.pid, Kind::Pid);
    let reader = namespaces::observe_reader(host, Kind::Pid);
    let claim = Claim::new("pids.hidden", "It cannot see the host's processes");
    let check = format!("readlink /proc/self/ns/pid /proc/{}/ns/pid", subject.pid);
    let why = "A process sees its own pid namespace and those below. With `--pid=host` no namespace is made: it stays in the one it was born in, and nothing had to \
               be called for that.";
    let ids = (
        namespaces::namespace(host, subject.pid, Kind::Pid),
        namespaces::namespace_of_reader(host, Kind::Pid),
    );
    let (holds, finding) = match ids {
        (Ok(own), Ok(reader)) if own == reader => (
            Some(false),
            "it is in the reader's own pid namespace and sees every process of it".into(),
        ),
        (Ok(own), Ok(_)) => {
            let (inside, all) = counts(host, own);
            (Some(true), format!("processes in its namespace: {inside}; visible here: {all}"))
        }
        _ => (None, String::new()),
    };
    claim.all_seen([own, reader]).holds(holds, finding).because(why, check)
}

/// How many processes a pid namespace holds itself, and how many there are here.
fn counts(host: &Host, of: namespaces::Namespace) -> (usize, usize) {
    let all = host.pids().unwrap_or_default();
    let inside = namespaces::members(host, Kind::Pid, of).unwrap_or_default();
    (inside.len(), all.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;
    use crate::testing::Fake;

    fn claim(fake: &Fake, id: &str) -> Claim {
        let section = pids(&fake.host(), &fake.subject("web", 9));
        section.claims.into_iter().find(|claim| claim.id == id).unwrap()
    }

    #[test]
    fn every_level_has_a_number() {
        let fake = Fake::new(&[]);
        fake.process(9, 1, "web", "9\t1");
        assert_eq!(claim(&fake, "pids.levels").verdict, Verdict::True);
        assert_eq!(claim(&fake, "pids.first").verdict, Verdict::True);
        fake.process(9, 1, "web", "9\t40\t7");
        let levels = claim(&fake, "pids.levels");
        assert!(levels.finding.starts_with("9 here and 7 in its own"), "{}", levels.finding);
        assert_eq!(claim(&fake, "pids.first").verdict, Verdict::False);
        fake.process(9, 1, "web", "9");
        assert_eq!(claim(&fake, "pids.levels").verdict, Verdict::False);
        fake.remove("proc/9/status");
        assert_eq!(claim(&fake, "pids.levels").verdict, Verdict::Unknown);
    }

    #[test]
    fn a_shared_namespace_hides_nothing() {
        let fake = Fake::new(&[("proc/self/ns/pid", "a"), ("proc/9/ns/pid", "b")]);
        fake.process(9, 1, "web", "9\t1");
        assert_eq!(claim(&fake, "pids.hidden").verdict, Verdict::True);
        fake.remove("proc/9/ns/pid");
        fake.link("proc/9/ns/pid", "../../self/ns/pid");
        assert_eq!(claim(&fake, "pids.hidden").verdict, Verdict::False);
    }
}
