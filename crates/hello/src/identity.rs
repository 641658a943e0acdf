//! Who the process is and what it may do.

use std::io;

use crate::process::field;
use crate::report::{Fact, Report, read};

/// Capabilities by number, capabilities(7), Linux 5.9.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

pub(crate) fn look(report: &mut Report) {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    let status = read("/proc/self/status");
    report.section("User and privileges");
    let users = read("/etc/passwd").unwrap_or_default();
    let groups = read("/etc/group").unwrap_or_default();
    report.add("user", Fact::Seen(ids(&users, getuid().as_raw(), geteuid().as_raw())));
    report.add("group", Fact::Seen(ids(&groups, getgid().as_raw(), getegid().as_raw())));
    report.add("more groups", more_groups(&status, &groups));
    report.add("id map", Fact::of(read("/proc/self/uid_map").map(|map| describe_map(&map))));
    report.add("capabilities", capabilities(field(&status, "CapEff")));
    report.add("bounding set", bounding(&status));
    report.add("no new privileges", Fact::of(field(&status, "NoNewPrivs").map(|bit| yes_no(&bit))));
    report.add("seccomp", Fact::of(seccomp(&status)));
}

/// `0 (root)`, with the effective id when it differs.
fn ids(table: &str, real: u32, effective: u32) -> String {
    let one = |id: u32| match name(table, id) {
        Some(name) => format!("{id} ({name})"),
        None => id.to_string(),
    };
    if real == effective {
        one(real)
    } else {
        format!("{}, effective {}", one(real), one(effective))
    }
}

/// Finds a name in passwd(5) or group(5): both have the id in the third field.
fn name(table: &str, id: u32) -> Option<&str> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

fn more_groups(status: &io::Result<String>, groups: &str) -> Fact {
    let listed = |text: String| {
        let ids = text.split_whitespace().filter_map(|id| id.parse().ok());
        ids.map(|id| self::ids(groups, id, id)).collect()
    };
    match field(status, "Groups") {
        Ok(text) => Fact::Words(listed(text)),
        Err(error) => Fact::of(Err(error)),
    }
}

/// Says what a user namespace's map means, user_namespaces(7).
fn describe_map(map: &str) -> String {
    let words: Vec<&str> = map.split_whitespace().collect();
    match words.as_slice() {
        [] => "empty: no id of this namespace exists outside".to_owned(),
        ["0", "0", "4294967295"] => "the host's own ids (0 0 4294967295)".to_owned(),
        words => {
            let ranges = words.chunks(3).filter_map(|range| match range {
                [inside, outside, count] => {
                    Some(format!("{inside} is {outside} outside, {count} ids"))
                }
                _ => None,
            });
            ranges.collect::<Vec<_>>().join("; ")
        }
    }
}

fn decode(mask: &str) -> io::Result<Vec<String>> {
    let bits = u64::from_str_radix(mask, 16).map_err(io::Error::other)?;
    let set = (0..64usize).filter(|number| bits >> number & 1 == 1);
    let named = |number: usize| match CAPABILITIES.get(number) {
        Some(name) => (*name).to_owned(),
        None => format!("capability {number}"),
    };
    Ok(set.map(named).collect())
}

fn capabilities(mask: io::Result<String>) -> Fact {
    match mask.and_then(|mask| decode(&mask)) {
        Ok(names) if names.is_empty() => Fact::Words(names),
        Ok(names) => Fact::Counted(names),
        Err(error) => Fact::of(Err(error)),
    }
}

fn bounding(status: &io::Result<String>) -> Fact {
    match (field(status, "CapEff"), field(status, "CapBnd")) {
        (Ok(effective), Ok(bounding)) if effective == bounding => Fact::Seen("the same".to_owned()),
        (_, bounding) => capabilities(bounding),
    }
}

fn yes_no(bit: &str) -> String {
    if bit == "1" { "yes" } else { "no" }.to_owned()
}

fn seccomp(status: &io::Result<String>) -> io::Result<String> {
    let mode = field(status, "Seccomp")?;
    Ok(match mode.as_str() {
        "0" => "off".to_owned(),
        "1" => "strict".to_owned(),
        // The number of filters came with Linux 5.9.
        "2" => match field(status, "Seccomp_filters") {
            Ok(count) => format!(
                "filtering system calls, {count} filter{}",
                if count == "1" { "" } else { "s" }
            ),
            Err(_) => "filtering system calls".to_owned(),
        },
        other => format!("mode {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_capabilities_are_fourteen() {
        let names = decode("00000000a80425fb").unwrap();
        assert_eq!(names.len(), 14);
        assert_eq!((names[0].as_str(), names[13].as_str()), ("CHOWN", "SETFCAP"));
        assert_eq!(capabilities(Ok("0".to_owned())), Fact::Words(Vec::new()));
        assert_eq!(
            capabilities(Ok("4001".to_owned())),
            Fact::Counted(vec!["CHOWN".into(), "IPC_LOCK".into()])
        );
        assert!(matches!(capabilities(Ok("x".to_owned())), Fact::Unreadable(_)));
    }

    #[test]
    fn ids_have_names_where_the_image_knows_them() {
        let table = "root:x:0:0:root:/:/bin/hello\nbroken\nnobody:x:65534:65534::/:/\n";
        assert_eq!(ids(table, 0, 0), "0 (root)");
        assert_eq!(ids(table, 1000, 65534), "1000, effective 65534 (nobody)");
    }

    #[test]
    fn maps_and_filters_are_put_in_words() {
        assert_eq!(
            describe_map("         0          0 4294967295\n"),
            "the host's own ids (0 0 4294967295)"
        );
        assert_eq!(describe_map("0 100000 65536\n"), "0 is 100000 outside, 65536 ids");
        let status = Ok("Seccomp:\t2\nSeccomp_filters:\t1\n".to_owned());
        assert_eq!(seccomp(&status).unwrap(), "filtering system calls, 1 filter");
    }
}
