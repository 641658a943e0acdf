//! `linux.memoryPolicy` (OCI runtime-spec config-linux.md#memory-policy) for set_mempolicy(2).

use types::oci::runtime::MemoryPolicy;

use super::program::number_list;
use crate::error::{Error, Result};

/// `MPOL_*`.
pub(crate) const MODES: [(&str, u32); 7] = [
    ("MPOL_BIND", 2),
    ("MPOL_DEFAULT", 0),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED", 1),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// `MPOL_F_*`.
pub(crate) const FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// What set_mempolicy(2) takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The mode and its flags.
    pub(crate) mode: u32,
    pub(crate) nodes: Vec<usize>,
    /// As it was given, for messages.
    pub(crate) text: String,
}

/// Resolves a policy. The words of refusal are runc's.
pub(crate) fn policy(given: &MemoryPolicy) -> Result<Policy> {
    let find = |table: &[(&str, u32)], name: &str| {
        table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    };
    let mut mode = find(&MODES, &given.mode)
        .ok_or_else(|| Error::Config(format!("invalid memory policy mode {:?}", given.mode)))?;
    for flag in &given.flags {
        mode |= find(&FLAGS, flag)
            .ok_or_else(|| Error::Config(format!("invalid memory policy flag {flag:?}")))?;
    }
    let nodes = number_list(&given.nodes)
        .ok_or_else(|| Error::Config(format!("invalid memory policy nodes {:?}", given.nodes)))?;
    Ok(Policy { mode, nodes, text: format!("{} {:?}", given.mode, given.nodes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(mode: &str, nodes: &str, flags: &[&str]) -> MemoryPolicy {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        MemoryPolicy { mode: mode.into(), nodes: nodes.into(), flags }
    }

    #[test]
    fn a_policy_is_resolved() {
        let policy = policy(&given("MPOL_BIND", "0-1,3", &["MPOL_F_STATIC_NODES"])).unwrap();
        assert_eq!((policy.mode, policy.nodes), (0x8002, vec![0, 1, 3]));
    }

    #[test]
    fn unknown_words_are_refused() {
        for (given, words) in [
            (given("INTERLEAVE", "0", &[]), "invalid memory policy mode"),
            (given("", "0", &[]), "invalid memory policy mode"),
            (given("MPOL_BIND", "0", &["badflag"]), "invalid memory policy flag"),
            (given("MPOL_BIND", "0-9876543210", &[]), "invalid memory policy node"),
        ] {
            let text = policy(&given).unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}
