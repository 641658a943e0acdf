//! The `features` document (OCI runtime-spec features.md and features-linux.md).
//!
//! Every list is read from the table that the code itself goes by, so that the document cannot say anything else than what is done.

use serde_json::{Value, json};
use sys::cred::CAPABILITY_NAMES;
use sys::seccomp::FilterFlags;
use types::oci::runtime::{NamespaceKind, SPEC_VERSION};

use crate::{hooks, plan, seccomp};

/// Annotations of a configuration that change what this runtime does; who takes configurations from strangers filters them.
pub(crate) const UNSAFE_ANNOTATIONS: [&str; 2] = ["bundle", "org.systemd.property."];

/// Makes the document.
pub(crate) fn document() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": hooks::KINDS,
        "mountOptions": plan::mount_options().collect::<Vec<_>>(),
        "linux": linux(),
        "annotations": annotations(),
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    })
}

fn linux() -> Value {
    json!({
        "namespaces": NamespaceKind::ALL,
        "capabilities": &CAPABILITY_NAMES[..],
        "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": false, "rdma": true },
        "seccomp": seccomp(),
        "apparmor": { "enabled": true },
        "selinux": { "enabled": true },
        "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
        "memoryPolicy": {
            "modes": names(&plan::MEMORY_POLICY_MODES),
            "flags": names(&plan::MEMORY_POLICY_FLAGS),
        },
        "mountExtensions": { "idmap": { "enabled": true } },
        "netDevices": { "enabled": true },
    })
}

fn seccomp() -> Value {
    let supported: Vec<&str> = seccomp::FLAGS
        .iter()
        // Only together with a listener may a call wait killably.
        .filter(|(_, flags)| sys::seccomp::knows_flags(*flags | FilterFlags::NEW_LISTENER))
        .map(|(name, _)| *name)
        .collect();
    json!({
        "enabled": true,
        "actions": names(&seccomp::ACTIONS),
        "operators": names(&seccomp::OPERATORS),
        "archs": names(&seccomp::ARCHES),
        "knownFlags": names(&seccomp::FLAGS),
        "supportedFlags": supported,
    })
}

/// runc's keys are what engines look for: the first tells what can be checkpointed, the second which runtime answers.
fn annotations() -> Value {
    json!({
        "org.opencontainers.runc.checkpoint.enabled": "true",
        "org.opencontainers.runtime-spec.version": SPEC_VERSION,
        "io.belljar.runtime.version": env!("CARGO_PKG_VERSION"),
    })
}

fn names<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_part() {
        let document = document();
        for (pointer, count) in [
            ("/hooks", 6),
            ("/linux/namespaces", 8),
            ("/linux/capabilities", 41),
            ("/linux/seccomp/actions", 9),
            ("/linux/seccomp/operators", 7),
            ("/linux/seccomp/knownFlags", 4),
            ("/linux/memoryPolicy/modes", 7),
            ("/linux/memoryPolicy/flags", 3),
        ] {
            assert_eq!(
                document.pointer(pointer).unwrap().as_array().unwrap().len(),
                count,
                "{pointer}"
            );
        }
        assert_eq!(document["ociVersionMin"], "1.0.0");
        assert_eq!(document["ociVersionMax"], "1.3.0");
    }

    /// What the document names must be understood by the part that reads it.
    #[test]
    fn every_name_is_understood() {
        let document = document();
        let list = |pointer: &str| -> Vec<String> {
            serde_json::from_value(document.pointer(pointer).unwrap().clone()).unwrap()
        };
        let profile = |key: &str, value: Value| {
            let mut profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s" });
            profile[key] = value;
            let profile = serde_json::from_value(profile).unwrap();
            crate::seccomp::compile(&profile).unwrap();
        };
        profile("architectures", json!(list("/linux/seccomp/archs")));
        profile("flags", json!(list("/linux/seccomp/knownFlags")));
        for action in list("/linux/seccomp/actions") {
            profile("syscalls", json!([{ "names": ["read"], "action": action }]));
        }
        for op in list("/linux/seccomp/operators") {
            let args = json!([{ "index": 0, "value": 1, "op": op }]);
            let rule = json!([{ "names": ["read"], "action": "SCMP_ACT_LOG", "args": args }]);
            profile("syscalls", rule);
        }
        for name in list("/linux/capabilities") {
            assert!(sys::cred::capability(&name).is_some(), "{name}");
        }
        for kind in list("/linux/namespaces") {
            serde_json::from_value::<NamespaceKind>(json!(kind)).unwrap();
        }
        for mode in list("/linux/memoryPolicy/modes") {
            let policy = json!({ "mode": mode, "flags": list("/linux/memoryPolicy/flags") });
            plan::memory_policy(&serde_json::from_value(policy).unwrap()).unwrap();
        }
    }
}
