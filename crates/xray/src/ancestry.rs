//! Experiment 8: who started it, and who stands above it now.

use sys::procfs::Stat;

use crate::host::Host;
use crate::report::{Claim, Evidence, Reading, Section, Table};
use crate::subject::Subject;

/// No chain is longer; one that seems to be is a loop that a changing /proc showed.
const LONGEST: usize = 64;

/// What a process is to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first process of the reader's namespace.
    Init,
    /// Answers API requests: its end must not end containers.
    Daemon,
    /// One per container: holds its streams and takes its exit status.
    Shim,
    /// Makes containers and ends.
    Runtime,
    /// A runtime's client, such as `docker`.
    Client,
    /// Anything else.
    Program,
}

impl Role {
    fn text(self) -> &'static str {
        match self {
            Role::Init => "first process of the host",
            Role::Daemon => "engine's daemon",
            Role::Shim => "shim: keeps the streams, takes the exit status",
            Role::Runtime => "low-level runtime: makes the container and ends",
            Role::Client => "client",
            Role::Program => "program",
        }
    }
}

/// Tells a role by a program's name.
#[must_use]
pub fn role(pid: u32, name: &str) -> Role {
    // The kernel keeps 15 bytes of a name.
    const DAEMONS: [&str; 6] = ["belljard", "dockerd", "containerd", "crio", "kubelet", "podman"];
    const SHIMS: [&str; 3] = ["belljar-shim", "containerd-shim", "conmon"];
    const RUNTIMES: [&str; 5] = ["belljar-runtime", "runc", "crun", "youki", "runsc"];
    const CLIENTS: [&str; 4] = ["belljar", "docker", "nerdctl", "ctr"];
    if pid == 1 {
        Role::Init
    } else if SHIMS.iter().any(|shim| name.starts_with(shim)) {
        Role::Shim
    } else if DAEMONS.contains(&name) {
        Role::Daemon
    } else if RUNTIMES.iter().any(|one| name == *one || name.starts_with(&format!("{one}:["))) {
        Role::Runtime
    } else if CLIENTS.contains(&name) {
        Role::Client
    } else {
        Role::Program
    }
}

/// One process of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its command line, shortened.
    pub command: String,
}

/// Reads the chain from a process up to the first; each step is the parent as it is now.
#[must_use]
pub fn chain(host: &Host, pid: u32) -> Vec<Ancestor> {
    let mut chain = Vec::new();
    let mut next = pid;
    while next != 0 && chain.len() < LONGEST {
        let directory = host.proc(next.to_string());
        let Ok(text) = host.text(directory.join("stat")) else { break };
        let Some(stat) = Stat::parse(text.as_bytes()) else { break };
        let command = host.text(directory.join("cmdline")).unwrap_or_default();
        let command = command.trim_end_matches('\0').replace('\0', " ");
        chain.push(Ancestor {
            pid: next,
            role: role(next, &stat.name),
            name: stat.name,
            command: command.chars().take(120).collect(),
        });
        next = stat.parent;
    }
    chain
}

/// Reports the ancestors of a process and what follows from them.
#[must_use]
pub fn ancestry(host: &Host, subject: &Subject) -> Section {
    let mut section = Section::new("ancestry", "Who stands above it");
    let chain = chain(host, subject.pid);
    let complete = chain.last().is_some_and(|last| last.pid == 1);
    let above = chain.get(1..).unwrap_or_default();
    let evidence: Vec<Evidence> = chain.iter().map(|one| parent(host, one)).collect();
    let known = |holds: bool| complete.then_some(holds);
    let check = format!("pstree -a -p -s {}", subject.pid);
    let has = |role| above.iter().find(|one| one.role == role);
    section.claims.push(
        Claim::new("ancestry.no_daemon", "No daemon stands above it")
            .all_seen(evidence.clone())
            .holds(known(has(Role::Daemon).is_none()), named(has(Role::Daemon), "none in the chain"))
            .because(
                "The daemon asked for the container, but is not its parent: whoever serves the API can end or be replaced while the container goes on.",
                check.clone(),
            ),
    );
    section.claims.push(
        Claim::new("ancestry.shim", "A shim holds it")
            .all_seen(evidence.clone())
            .holds(known(has(Role::Shim).is_some()), named(has(Role::Shim), "none in the chain"))
            .because(
                "The shim outlives the daemon, adopts what the container leaves behind (PR_SET_CHILD_SUBREAPER) and is the only one whom the kernel tells how it ended.",
                check.clone(),
            ),
    );
    section.claims.push(
        Claim::new("ancestry.runtime_gone", "The low-level runtime has gone")
            .all_seen(evidence)
            .holds(known(has(Role::Runtime).is_none()), named(has(Role::Runtime), "none in the chain"))
            .because(
                "It makes the container and ends; the kernel gives its child to the next subreaper above, the shim. It can be seen only while it works.",
                check,
            ),
    );
    section.tables.push(table(&chain));
    section
}

fn parent(host: &Host, one: &Ancestor) -> Evidence {
    let line = host.observe_status(&one.name, one.pid, "PPid");
    // A status without the line is one of a test; the stat that was read has it too.
    match line.reading {
        Reading::Value(_) => line,
        Reading::Unreadable(_) => host.observe(&one.name, host.proc(format!("{}/stat", one.pid))),
    }
}

fn named(found: Option<&Ancestor>, otherwise: &str) -> String {
    found.map_or(otherwise.into(), |one| format!("{} is `{}`", one.pid, one.name))
}

fn table(chain: &[Ancestor]) -> Table {
    let rows = chain.iter().rev().enumerate().map(|(depth, one)| {
        let indent = "  ".repeat(depth);
        vec![
            one.pid.to_string(),
            format!("{indent}{}", one.name),
            one.role.text().into(),
            one.command.clone(),
        ]
    });
    Table {
        title: "From the first process down".into(),
        head: ["pid", "name", "role", "command"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;
    use crate::testing::Fake;

    fn verdicts(fake: &Fake) -> Vec<Verdict> {
        let section = ancestry(&fake.host(), &fake.subject("web", 9));
        section.claims.into_iter().map(|claim| claim.verdict).collect()
    }

    #[test]
    fn roles_are_told_by_names() {
        for (name, expected) in [
            ("belljar-shim", Role::Shim),
            ("containerd-shim", Role::Shim),
            ("conmon", Role::Shim),
            ("containerd", Role::Daemon),
            ("belljard", Role::Daemon),
            ("runc:[2:INIT]", Role::Runtime),
            ("belljar-runtime", Role::Runtime),
            ("runcible", Role::Program),
        ] {
            assert_eq!(role(5, name), expected, "{name}");
        }
        assert_eq!(role(1, "runc"), Role::Init);
    }

    #[test]
    fn the_chain_decides() {
        use Verdict::{False, True, Unknown};
        let fake = Fake::new(&[]);
        fake.process(1, 0, "systemd", "1");
        fake.process(5, 1, "belljar-shim", "5");
        fake.process(9, 5, "web (x) 1 2", "9\t1");
        assert_eq!(verdicts(&fake), [True, True, True]);
        let chain = chain(&fake.host(), 9);
        assert_eq!(chain.iter().map(|one| one.pid).collect::<Vec<_>>(), [9, 5, 1]);
        fake.process(5, 1, "dockerd", "5");
        assert_eq!(verdicts(&fake), [False, False, True]);
        fake.process(5, 1, "runc", "5");
        assert_eq!(verdicts(&fake), [True, False, False]);
        fake.process(5, 77, "belljar-shim", "5");
        assert_eq!(verdicts(&fake), [Unknown, Unknown, Unknown]);
        fake.process(5, 9, "belljar-shim", "5");
        assert_eq!(verdicts(&fake), [Unknown, Unknown, Unknown]);
    }
}
