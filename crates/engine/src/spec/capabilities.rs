//! Capability names and Docker's rules for `--cap-add`, `--cap-drop` and `--privileged`.

use std::collections::BTreeSet;

use crate::{EngineError, Result};

/// capabilities(7), in the order of their numbers.
pub(crate) const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The fourteen that Docker gives by default.
pub(crate) const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Reads `net_admin`, `CAP_NET_ADMIN` or `ALL`.
fn normalise(name: &str) -> Result<String> {
    let upper = name.trim().to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(upper);
    }
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    if ALL.contains(&full.as_str()) {
        Ok(full)
    } else {
        Err(EngineError::invalid(format!("invalid capability: {name:?}")))
    }
}

fn normalise_all(names: Option<&Vec<String>>) -> Result<BTreeSet<String>> {
    names.into_iter().flatten().map(|name| normalise(name)).collect()
}

/// What the host's kernel knows and we hold ourselves: more than that cannot be given.
pub(crate) fn of_host() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    ALL.iter().enumerate().filter(|(bit, _)| bounding >> bit & 1 == 1).map(|(_, n)| *n).collect()
}

/// Applies `--cap-add` and `--cap-drop` to the defaults.
///
/// Docker's order of precedence: privileged gives everything; a dropped ALL leaves what is added; an added ALL gives everything
/// but what is dropped; else defaults minus dropped plus added.
///
/// # Errors
/// `Invalid`: an unknown name.
pub(crate) fn resolve(
    add: Option<&Vec<String>>,
    drop: Option<&Vec<String>>,
    privileged: bool,
    host: &[&'static str],
) -> Result<Vec<String>> {
    let (add, drop) = (normalise_all(add)?, normalise_all(drop)?);
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    if privileged {
        return Ok(own(host));
    }
    let base = match (add.contains("ALL"), drop.contains("ALL")) {
        (true, _) => own(host),
        (false, true) => Vec::new(),
        (false, false) => own(&DEFAULT),
    };
    let mut chosen: Vec<String> = base.into_iter().filter(|name| !drop.contains(name)).collect();
    for name in add {
        let wanted = name != "ALL" && !chosen.contains(&name);
        if wanted && (drop.contains("ALL") || !drop.contains(&name)) {
            chosen.push(name);
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn run(add: &[&str], drop: &[&str]) -> Vec<String> {
        resolve(Some(&names(add)), Some(&names(drop)), false, &ALL).unwrap()
    }

    #[test]
    fn defaults_are_fourteen() {
        assert_eq!(run(&[], &[]), names(&DEFAULT));
    }

    #[test]
    fn add_and_drop_take_both_spellings() {
        let got = run(&["net_admin"], &["CAP_MKNOD", "chown"]);
        assert!(got.contains(&"CAP_NET_ADMIN".to_owned()));
        assert!(!got.contains(&"CAP_MKNOD".to_owned()) && !got.contains(&"CAP_CHOWN".to_owned()));
        assert_eq!(got.len(), 13);
    }

    #[test]
    fn all_has_its_rules() {
        assert_eq!(run(&["ALL"], &[]).len(), 41);
        assert_eq!(run(&["ALL"], &["MKNOD"]).len(), 40);
        assert!(run(&[], &["ALL"]).is_empty());
        assert_eq!(run(&["CHOWN"], &["ALL"]), names(&["CAP_CHOWN"]));
    }

    #[test]
    fn unknown_names_are_refused_and_named() {
        let error = resolve(Some(&names(&["FLY"])), None, false, &ALL).unwrap_err();
        assert_eq!(error.to_string(), "invalid capability: \"FLY\"");
        assert_eq!(error.kind(), types::Kind::Invalid);
    }

    #[test]
    fn privileged_has_what_the_host_has() {
        assert_eq!(resolve(None, None, true, &ALL[..5]).unwrap().len(), 5);
    }
}
