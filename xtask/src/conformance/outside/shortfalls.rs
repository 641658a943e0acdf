//! Why tests of others fall short; one that is not named here has no known reason.

/// A suite, a test (`file: name`, in which `*` at the end stands for the rest), and why it falls short.
const SHORTFALLS: &[(&str, &str, &str)] = &[
    (
        "bats",
        "checkpoint: *",
        "needs a criu that knows this kernel (3.17 says `vdso: Unexpected rt vDSO area bounds`); runc falls short too",
    ),
    (
        "bats",
        "cgroups: runc run (hugetlb limits)",
        "version 1 has no hugetlb controller here; runc falls short too",
    ),
    (
        "bats",
        "rlimits: *",
        "raises a hard limit in its preparation, which needs CAP_SYS_RESOURCE; runc falls short too",
    ),
    (
        "bats",
        "mounts_recursive: runc run [ check rbind,r*",
        "wants an option that this file system does not show; runc falls short too",
    ),
    ("bats", "spec: spec validator", "fetches a validator from the internet; runc falls short too"),
    (
        "bats",
        "delete: *",
        "the processes are zombies of the machine's first process, which reaps them after one to three seconds; the test waits two. Varies from run to run, also under runc",
    ),
    (
        "bats",
        "kill: kill KILL [host pidns*",
        "the processes are zombies of the machine's first process, which reaps them after one to three seconds; the test waits two. Varies from run to run, also under runc",
    ),
    (
        "bats",
        "host-mntns: *",
        "asks for a terminal and a read-only root without a mount namespace: refused by choice, because both would change the host",
    ),
    (
        "bats",
        "run: runc run [/proc/self/exe clone]",
        "looks for runc's debug message about its sealed overlay; ours runs from a read-only mount (CVE-2019-5736 is tested in `attacks`)",
    ),
    (
        "crun-tests",
        "test_delete: test_multiple_containers_delete",
        "wants `delete --regex`, which runc does not have",
    ),
    (
        "crun-tests",
        "test_delete: test_simple_delete",
        "a process in somebody else's frozen group of version 1 cannot die; it is reported",
    ),
    (
        "crun-tests",
        "test_exec: exec-root-netns-with-userns",
        "the namespaces of the machine's first process may not be read here; passes on version 2",
    ),
    (
        "crun-tests",
        "test_exec: exec_add_no_new_privileges",
        "wants `exec` to drop `noNewPrivileges` of the configuration; it stays, as with runc",
    ),
    ("crun-tests", "test_oci_features: *", "wants crun's own version in `features`"),
    ("crun-tests", "test_start: start", "reads crun's own status file"),
    (
        "crun-tests",
        "test_seccomp: seccomp-listener",
        "wants the listener's document of specification 0.2.0",
    ),
    ("crun-tests", "test_resources: resources-unified-invalid-*", "wants crun's words"),
    (
        "crun-tests",
        "test_resources: resources-v2-swap-disabled",
        "the guest's kernel does not count swap",
    ),
    (
        "runtime-tools",
        "linux_cgroups_*",
        "a controller (blkio, hugetlb, network, kernel memory) that the host has not; runc falls short too",
    ),
    ("runtime-tools", "linux_mount_label: *", "needs SELinux; runc falls short too"),
    ("runtime-tools", "linux_process_apparmor_profile: *", "needs AppArmor; runc falls short too"),
    (
        "runtime-tools",
        "process_capabilities*",
        "needs CAP_SYS_RESOURCE, or asserts an older specification; runc falls short too",
    ),
    (
        "runtime-tools",
        "process_rlimits: *",
        "raises a limit above the hard one; runc falls short too",
    ),
    ("runtime-tools", "delete: *", "asserts an older specification; runc falls short too"),
    ("runtime-tools", "hooks: *", "asserts an older specification; runc falls short too"),
    ("runtime-tools", "prestart: *", "asserts an older specification; runc falls short too"),
    ("runtime-tools", "misc_props: *", "asserts an older specification; runc falls short too"),
    (
        "runtime-tools",
        "poststart_fail: *",
        "specification 1.3 says that a failing poststart hook fails the start; runc falls short too",
    ),
    (
        "runtime-tools",
        "mounts: *",
        "wants the order of mounts in mountinfo; this kernel lists them by number, and bind mounts are cloned before the others are made. What is mounted over what is right",
    ),
    ("runtime-tools", "pidfile: *", "decided by timing: fails on a busy machine, also under runc"),
    ("runtime-tools", "killsig: *", "decided by timing: fails on a busy machine, also under runc"),
    (
        "runtime-tools",
        "poststart: *",
        "decided by timing: fails on a busy machine, also under runc",
    ),
    (
        "bats",
        "seccomp: runc run [seccomp] (SECCOMP_FILTER_FLAG_*",
        "this version of the test has no number for SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, which `features` names; newer ones leave it out",
    ),
    (
        "crun-tests",
        "test_mounts: mount-strictatime",
        "a user namespace may not change how access times of the host's mount are kept; refused, as with runc",
    ),
];

/// Finds the reason for a test that failed.
pub(super) fn reason(suite: &str, test: &str) -> Option<&'static str> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => test.starts_with(start),
        None => test == pattern,
    };
    SHORTFALLS
        .iter()
        .find(|(of, pattern, _)| *of == suite && fits(pattern))
        .map(|(_, _, reason)| *reason)
}
