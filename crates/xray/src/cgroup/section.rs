//! Experiments 5 and 6: the limits, and what happens at them.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Amount, Groups, Limit, Resource, limit};
use crate::host::Host;
use crate::report::{Claim, Evidence, Section, Table};
use crate::subject::Subject;
use crate::words::{bytes, percent, quoted};

/// Reports the limits of a process and what it uses.
#[must_use]
pub fn cgroup(host: &Host, subject: &Subject) -> Section {
    let mut section = Section::new("cgroup", "What it may use");
    let file = host.observe(&subject.label, subject.path(host, "cgroup"));
    let Ok(groups) = Groups::of(host, subject.pid) else {
        section.claims.push(membership(subject, file, None));
        return section;
    };
    section.claims.push(membership(subject, file, groups.path("memory")));
    for resource in Resource::ALL {
        let found = limit(host, &groups, resource);
        let claim = if resource == Resource::Swap {
            swap(host, &groups, &found)
        } else {
            limited(&groups, &found)
        };
        section.claims.push(claim);
    }
    section.tables.extend(memory_split(host, &groups));
    section
}

fn membership(subject: &Subject, file: Evidence, path: Option<&str>) -> Claim {
    let own = path.map(|path| path != "/");
    let finding = path.map_or(String::new(), |path| format!("its group is `{path}`"));
    Claim::new("cgroup.own", "It has a control group of its own")
        .seen(file)
        .holds(own, finding)
        .because(
            "Limits belong to groups, not to processes: every process in the group, and in groups below it, shares them.",
            format!("cat /proc/{}/cgroup", subject.pid),
        )
}

/// What a limit of a kind means.
fn meaning(resource: Resource) -> (&'static str, &'static str, &'static str) {
    match resource {
        Resource::Memory => (
            "cgroup.memory",
            "Its memory is limited",
            "The limit counts anonymous memory, page cache, shared memory and the kernel's own for these processes. Cache is given back first; \
             only when nothing is left to give back, a process of the group is killed.",
        ),
        Resource::Swap => (
            "cgroup.swap",
            "It cannot use swap beyond its memory",
            "Docker's default for a memory limit without a swap limit is as much swap again: \"256 MB\" then means up to 512 MB before anything is killed.",
        ),
        Resource::Cpu => (
            "cgroup.cpu",
            "Its processor time is limited",
            "A quota is time per period, summed over all threads: half a processor is 50 ms in each 100 ms, on any processor, not half of one. Many threads \
             use it up early and then all wait for the next period.",
        ),
        Resource::Pids => (
            "cgroup.pids",
            "The number of its processes is limited",
            "Threads count as well. At the limit fork and clone fail with EAGAIN inside; nobody is killed.",
        ),
    }
}

fn limited(groups: &Groups, found: &Limit) -> Claim {
    let (id, text, why) = meaning(found.resource);
    let evidence = found.steps.iter().flat_map(|step| step.evidence.clone());
    let (holds, finding) = match found.binding() {
        Some(step) => {
            let whose = whose(found, &step.directory);
            (Some(true), format!("at most {}, set by {whose}", amount(found.resource, step.amount)))
        }
        None if found.is_known() => {
            (Some(false), "no group on the way up sets a limit: the host's is the only one".into())
        }
        None => (None, unknown(groups, found.resource)),
    };
    Claim::new(id, text).all_seen(evidence).holds(holds, finding).because(why, check(found))
}

fn unknown(groups: &Groups, resource: Resource) -> String {
    let controller = resource.controller();
    match groups.directory(controller) {
        None => format!("its group for `{controller}` is not visible from here"),
        Some(directory) => {
            format!("`{controller}` is not counted in `{}`", directory.display())
        }
    }
}

fn whose(found: &Limit, directory: &Path) -> String {
    let own = found.steps.first().is_some_and(|first| first.directory == directory);
    let shown = directory.display();
    if own { format!("its own group `{shown}`") } else { format!("a group above it, `{shown}`") }
}

fn amount(resource: Resource, amount: Option<Amount>) -> String {
    match (resource, amount) {
        (Resource::Memory | Resource::Swap, Some(Amount::Count(count))) => bytes(count),
        (_, Some(Amount::Count(count))) => count.to_string(),
        (_, Some(Amount::Cpus { quota, period })) => format!(
            "{} processors ({} ms of time in each {} ms)",
            quota as f64 / period.max(1) as f64,
            quota as f64 / 1e3,
            period as f64 / 1e3
        ),
        (_, Some(Amount::Unlimited)) => "without limit".into(),
        (_, None) => "unknown".into(),
    }
}

fn check(found: &Limit) -> String {
    let places = found.steps.iter().flat_map(|step| &step.evidence).map(|e| quoted(&e.place));
    format!("tail -n +1 {} 2>/dev/null", places.collect::<Vec<_>>().join(" "))
}

/// The swap trap: how much may be swapped out beside the memory limit.
fn swap(host: &Host, groups: &Groups, found: &Limit) -> Claim {
    let (id, text, why) = meaning(Resource::Swap);
    let total = host.observe("host", host.proc("swaps"));
    let has_swap = total.reading.value().map(|text| text.lines().count() > 1);
    let memory = limit(host, groups, Resource::Memory);
    let beyond = beyond(groups.version_2, found, &memory);
    let (holds, finding) = match (beyond, has_swap) {
        (Some(Some(0)), _) => (Some(true), "no swap is allowed".to_owned()),
        (Some(allowed), Some(false)) => {
            let allowed = allowed.map_or("any amount".into(), bytes);
            (Some(true), format!("{allowed} of swap would be allowed, but the host has none"))
        }
        (Some(Some(allowed)), _) => (
            Some(false),
            format!("{} of swap may be used beside the memory that is allowed", bytes(allowed)),
        ),
        (Some(None), _) => (Some(false), "any amount of swap may be used".into()),
        (None, Some(false)) => (Some(true), "the host has no swap".into()),
        (None, _) => (None, String::new()),
    };
    let evidence = found.steps.iter().flat_map(|step| step.evidence.clone());
    Claim::new(id, text)
        .all_seen(evidence)
        .seen(total)
        .holds(holds, finding)
        .because(why, check(found))
}

/// How many bytes of swap are allowed: `None` unknown, `Some(None)` any number.
fn beyond(version_2: bool, swap: &Limit, memory: &Limit) -> Option<Option<u64>> {
    if !swap.is_known() {
        return None;
    }
    let count = |limit: &Limit| match limit.binding().and_then(|step| step.amount) {
        Some(Amount::Count(count)) => Some(count),
        _ => None,
    };
    let Some(both) = count(swap) else { return Some(None) };
    // Version 1 limits the sum.
    Some(Some(if version_2 { both } else { both.saturating_sub(count(memory).unwrap_or(0)) }))
}

/// Reports what happened at the limits so far: waiting for processor time, pressure, kills.
#[must_use]
pub fn load(host: &Host, subject: &Subject) -> Section {
    let mut section = Section::new("load", "What happens at its limits");
    let Ok(groups) = Groups::of(host, subject.pid) else { return section };
    section.claims.extend(groups.directory("cpu").map(|dir| throttled(host, &dir)));
    section.claims.extend(groups.directory("memory").map(|dir| killed(host, &groups, &dir)));
    section.tables.extend(groups.directory("memory").and_then(|dir| pressure(host, &groups, &dir)));
    section
}

fn numbers(evidence: &Evidence) -> Option<BTreeMap<String, u64>> {
    let text = evidence.reading.value()?;
    let pairs = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    });
    Some(pairs.collect())
}

fn throttled(host: &Host, directory: &Path) -> Claim {
    let file = host.observe("own group", directory.join("cpu.stat"));
    let stat = numbers(&file);
    let get = |key: &str| stat.as_ref().and_then(|stat| stat.get(key).copied());
    let waited = get("throttled_usec").or(get("throttled_time").map(|ns| ns / 1000));
    let (holds, finding) = match (get("nr_periods"), get("nr_throttled"), waited) {
        (Some(0), ..) => (Some(false), "it never ran under a quota".into()),
        (Some(periods), Some(throttled), Some(waited)) => (
            Some(throttled > 0),
            format!(
                "it ran out of time in {throttled} of {periods} periods ({}); its threads waited {:.1} s in all",
                percent(throttled, periods),
                waited as f64 / 1e6
            ),
        ),
        _ => (None, String::new()),
    };
    let check = format!("cat {}", quoted(&file.place));
    Claim::new("load.throttled", "It has been held back by its quota")
        .seen(file)
        .holds(holds, finding)
        .because(
            "Periods are counted only while it wants to run, so the numbers of an idle container stand still: what counts is their growth. A process of many \
             threads can be held back although its average is far below the limit.",
            check,
        )
}

fn killed(host: &Host, groups: &Groups, directory: &Path) -> Claim {
    let name = if groups.version_2 { "memory.events" } else { "memory.oom_control" };
    let file = host.observe("own group", directory.join(name));
    let events = numbers(&file);
    let get = |key: &str| events.as_ref().and_then(|events| events.get(key).copied());
    let (holds, finding) = match (get("oom_kill"), get("oom")) {
        (Some(0), _) => (Some(false), "no process of the group was killed for memory".into()),
        (Some(kills), Some(0)) => (
            Some(true),
            format!(
                "{kills} killed, though the group never reached its own limit: a group above it or the host had none left"
            ),
        ),
        (Some(kills), _) => (Some(true), format!("{kills} killed")),
        (None, _) => (None, String::new()),
    };
    let check = format!("cat {}; dmesg | grep -i oom", quoted(&file.place));
    Claim::new("load.oom", "A process of its group has been killed for want of memory")
        .seen(file)
        .holds(holds, finding)
        .because(
            "The kernel kills a process of the group, not the container: 137 is the container's code only if its first process was the victim or passes on such \
             an end of a child. The count includes kills because of a limit above, and of the whole host.",
            check,
        )
}

fn memory_split(host: &Host, groups: &Groups) -> Option<Table> {
    let directory = groups.directory("memory")?;
    let stat = numbers(&host.observe("own group", directory.join("memory.stat")))?;
    let keys: &[(&str, &str)] = if groups.version_2 {
        &[
            ("anon", "anonymous: heap, stack"),
            ("file", "page cache, shared memory included"),
            ("shmem", "of it shared memory and tmpfs: not given back without swap"),
            ("inactive_file", "of it given back first"),
            ("kernel", "the kernel's own for these processes"),
            ("sock", "buffers of connections"),
        ]
    } else {
        &[
            ("total_rss", "anonymous: heap, stack"),
            ("total_cache", "page cache, shared memory included"),
            ("total_shmem", "of it shared memory and tmpfs: not given back without swap"),
            ("total_inactive_file", "of it given back first"),
        ]
    };
    let rows = keys.iter().filter_map(|(key, text)| {
        Some(vec![(*text).to_owned(), bytes(*stat.get(*key)?), (*key).to_owned()])
    });
    Some(Table {
        title: "Memory in use".into(),
        head: vec!["what".into(), "bytes".into(), "key in memory.stat".into()],
        rows: rows.collect(),
    })
}

/// Pressure stall information: the share of the last 10, 60, 300 seconds in which somebody waited.
fn pressure(host: &Host, groups: &Groups, directory: &Path) -> Option<Table> {
    if !groups.version_2 {
        return None;
    }
    let rows: Vec<Vec<String>> = ["cpu", "memory", "io"]
        .iter()
        .filter_map(|name| {
            let file = host.observe("own group", directory.join(format!("{name}.pressure")));
            let line =
                file.reading.value()?.lines().find(|line| line.starts_with("some"))?.to_owned();
            let value = |key: &str| {
                let found = line.split(' ').find_map(|word| word.strip_prefix(key));
                found.map_or("-".into(), |value| format!("{value} %"))
            };
            Some(vec![(*name).to_owned(), value("avg10="), value("avg60="), value("avg300=")])
        })
        .collect();
    (!rows.is_empty()).then(|| Table {
        title: "Pressure: share of time in which some task waited".into(),
        head: vec!["for".into(), "10 s".into(), "60 s".into(), "300 s".into()],
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;
    use std::fs;

    struct Fake {
        dir: tempfile::TempDir,
    }

    impl Fake {
        fn new(files: &[(&str, &str)]) -> (Self, Host, Subject) {
            let fake = Self { dir: tempfile::tempdir().unwrap() };
            fake.write("proc/9/cgroup", "0::/pod/web\n");
            fake.write("proc/swaps", "Filename Type Size\n/swap file 9\n");
            fake.write("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
            for (name, text) in files {
                fake.write(name, text);
            }
            let host = Host::beneath(fake.dir.path());
            let subject = Subject { label: "web".into(), pid: 9, start_ticks: 1, container: None };
            (fake, host, subject)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn claim<'a>(section: &'a Section, id: &str) -> &'a Claim {
        section.claims.iter().find(|claim| claim.id == id).unwrap()
    }

    const OWN: &str = "sys/fs/cgroup/pod/web/";

    #[test]
    fn whose_limit_binds_is_said() {
        let own = format!("{OWN}memory.max");
        let (fake, host, subject) = Fake::new(&[(&own, "268435456\n")]);
        let found = cgroup(&host, &subject);
        let memory = claim(&found, "cgroup.memory");
        assert_eq!(memory.verdict, Verdict::True);
        assert!(
            memory.finding.starts_with("at most 256 MiB, set by its own group"),
            "{}",
            memory.finding
        );
        fake.write("sys/fs/cgroup/pod/memory.max", "1048576\n");
        let found = cgroup(&host, &subject);
        let memory = claim(&found, "cgroup.memory");
        assert!(
            memory.finding.starts_with("at most 1 MiB, set by a group above"),
            "{}",
            memory.finding
        );
        fake.write("sys/fs/cgroup/pod/memory.max", "max\n");
        fake.write(&own, "max\n");
        assert_eq!(claim(&cgroup(&host, &subject), "cgroup.memory").verdict, Verdict::False);
        assert_eq!(claim(&cgroup(&host, &subject), "cgroup.pids").verdict, Verdict::Unknown);
    }

    #[test]
    fn the_swap_trap_is_named() {
        let (max, swap) = (format!("{OWN}memory.max"), format!("{OWN}memory.swap.max"));
        let (fake, host, subject) = Fake::new(&[(&max, "268435456\n"), (&swap, "268435456\n")]);
        let section = cgroup(&host, &subject);
        let found = claim(&section, "cgroup.swap");
        assert_eq!(found.verdict, Verdict::False);
        assert!(found.finding.contains("256 MiB of swap may be used"), "{}", found.finding);
        fake.write(&swap, "0\n");
        assert_eq!(claim(&cgroup(&host, &subject), "cgroup.swap").verdict, Verdict::True);
        fake.write(&swap, "max\n");
        assert_eq!(claim(&cgroup(&host, &subject), "cgroup.swap").verdict, Verdict::False);
        fake.write("proc/swaps", "Filename Type Size\n");
        assert_eq!(claim(&cgroup(&host, &subject), "cgroup.swap").verdict, Verdict::True);
    }

    #[test]
    fn kills_by_the_own_limit_and_by_others_differ() {
        let events = format!("{OWN}memory.events");
        let (fake, host, subject) = Fake::new(&[(&events, "oom 0\noom_kill 0\n")]);
        assert_eq!(claim(&load(&host, &subject), "load.oom").verdict, Verdict::False);
        fake.write(&events, "oom 0\noom_kill 1\n");
        let section = load(&host, &subject);
        let found = claim(&section, "load.oom");
        assert!(found.finding.contains("never reached its own limit"), "{}", found.finding);
        fake.write(&events, "oom 1\noom_kill 1\n");
        assert_eq!(claim(&load(&host, &subject), "load.oom").finding, "1 killed");
    }

    #[test]
    fn being_held_back_is_counted() {
        let stat = format!("{OWN}cpu.stat");
        let text = "nr_periods 200\nnr_throttled 50\nthrottled_usec 1500000\n";
        let (fake, host, subject) = Fake::new(&[(&stat, text)]);
        let section = load(&host, &subject);
        let found = claim(&section, "load.throttled");
        assert_eq!(found.verdict, Verdict::True);
        assert!(
            found.finding.contains("50 of 200 periods (25 %)") || found.finding.contains("25.0 %")
        );
        fake.write(&stat, "nr_periods 200\nnr_throttled 0\nthrottled_usec 0\n");
        assert_eq!(claim(&load(&host, &subject), "load.throttled").verdict, Verdict::False);
    }
}
