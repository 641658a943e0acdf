//! Seccomp: Docker's default profile as a table, and profiles in Docker's JSON.
//!
//! A rule may depend on the container's capabilities and on the machine; [`Profile::resolve`] makes the OCI form of what applies.

use serde::Deserialize;
use types::container::null_default;
use types::oci::runtime::{Seccomp, SeccompArg, SeccompRule};

use crate::{EngineError, Result};

const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// Every namespace flag of clone(2) but CLONE_NEWTIME, which clone(2) does not take.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
const AF_VSOCK: u64 = 40;
/// What `personality(2)` may be asked: Linux, Linux32, with or without UNAME26, and the question alone.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Allowed to everyone, everywhere. What is missing needs a capability (below) or is nobody's: io_uring, keyrings, userfaultfd,
/// nfsservctl, kexec, swapon, pivot_root and what the kernel no longer has.
const EVERYONE: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64
    clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark
    fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr
    fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
    getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32
    getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr
    getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr
    lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat
    mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep
    newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
    ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6
    pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64
    recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
    seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
    setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address
    setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn
    socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
    tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink
    unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Calls by the capability that opens them.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree \
         perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_PACCT", "acct"),
    (
        "CAP_SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// Calls by the machine that has them, in Rust's names.
const BY_MACHINE: &[(&[&str], &str)] = &[
    (&["x86_64", "x86"], "arch_prctl modify_ldt"),
    (
        &["aarch64", "arm"],
        "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    ),
    (&["powerpc64"], "swapcontext sync_file_range2"),
    (&["s390x"], "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    (&["riscv64"], "riscv_flush_icache riscv_hwprobe"),
];

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn allow(names: &str) -> SeccompRule {
    SeccompRule { names: words(names), action: ALLOW.into(), ..SeccompRule::default() }
}

fn allow_if(name: &str, index: u32, op: &str, value: u64, value_two: u64) -> SeccompRule {
    let args = vec![SeccompArg { index, value, value_two, op: op.into() }];
    SeccompRule { args, ..allow(name) }
}

/// The architectures of this machine, the native one first, as libseccomp names them.
fn architectures() -> Vec<String> {
    words(match std::env::consts::ARCH {
        "x86_64" => "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32",
        "aarch64" => "SCMP_ARCH_AARCH64 SCMP_ARCH_ARM",
        "riscv64" => "SCMP_ARCH_RISCV64",
        "s390x" => "SCMP_ARCH_S390X SCMP_ARCH_S390",
        "powerpc64" => "SCMP_ARCH_PPC64LE",
        _ => "",
    })
}

/// Docker's default profile for a process with `capabilities`.
pub(crate) fn default_profile(capabilities: &[String]) -> Seccomp {
    let has = |name: &str| capabilities.iter().any(|have| have == name);
    let mut syscalls = vec![
        allow(EVERYONE),
        // AF_VSOCK would reach the hypervisor, past every network namespace.
        allow_if("socket", 0, "SCMP_CMP_NE", AF_VSOCK, 0),
    ];
    for value in PERSONALITIES {
        syscalls.push(allow_if("personality", 0, "SCMP_CMP_EQ", value, 0));
    }
    for (machines, names) in BY_MACHINE {
        if machines.contains(&std::env::consts::ARCH) {
            syscalls.push(allow(names));
        }
    }
    for (capability, names) in BY_CAPABILITY {
        if has(capability) {
            syscalls.push(allow(names));
        }
    }
    if !has("CAP_SYS_ADMIN") {
        // clone(2) without any new namespace. clone3(2) hides its flags in memory that a filter cannot read: ENOSYS makes libc
        // fall back to clone(2).
        let flags = u32::from(std::env::consts::ARCH == "s390x");
        syscalls.push(allow_if("clone", flags, "SCMP_CMP_MASKED_EQ", CLONE_NAMESPACES, 0));
        let refused =
            SeccompRule { action: ERRNO.into(), errno_ret: Some(ENOSYS), ..allow("clone3") };
        syscalls.push(refused);
    }
    Seccomp {
        default_action: ERRNO.into(),
        default_errno_ret: Some(EPERM),
        architectures: architectures(),
        syscalls,
        ..Seccomp::default()
    }
}

/// A profile in Docker's JSON form (`--security-opt seccomp=FILE`, which clients send as its content).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Profile {
    #[serde(deserialize_with = "null_default")]
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(deserialize_with = "null_default")]
    architectures: Vec<String>,
    arch_map: Option<Vec<ArchMap>>,
    #[serde(deserialize_with = "null_default")]
    flags: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ArchMap {
    architecture: String,
    #[serde(deserialize_with = "null_default")]
    sub_architectures: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    #[serde(deserialize_with = "null_default")]
    name: String,
    #[serde(deserialize_with = "null_default")]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(deserialize_with = "null_default")]
    args: Vec<SeccompArg>,
    #[serde(deserialize_with = "null_default")]
    includes: Condition,
    #[serde(deserialize_with = "null_default")]
    excludes: Condition,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(deserialize_with = "null_default")]
    caps: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    arches: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    min_kernel: String,
}

/// What rules depend on.
pub(crate) struct Machine<'a> {
    pub(crate) capabilities: &'a [String],
    /// Major and minor version of the kernel.
    pub(crate) kernel: (u32, u32),
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// `Invalid`: not a profile.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let profile: Self = serde_json::from_str(text).map_err(|error| {
            EngineError::caused(types::Kind::Invalid, "decoding seccomp profile failed", error)
        })?;
        if profile.default_action.is_empty() {
            return Err(EngineError::invalid("seccomp profile has no defaultAction"));
        }
        if profile.arch_map.is_some() && !profile.architectures.is_empty() {
            return Err(EngineError::invalid(
                "both 'architectures' and 'archMap' are specified in the seccomp profile, use one of them",
            ));
        }
        Ok(profile)
    }

    /// Keeps what applies to a process on a machine.
    pub(crate) fn resolve(self, machine: &Machine<'_>) -> Seccomp {
        let native = architectures();
        let architectures = match self.arch_map {
            None => self.architectures,
            Some(map) => map
                .into_iter()
                .filter(|entry| native.first() == Some(&entry.architecture))
                .flat_map(|entry| {
                    std::iter::once(entry.architecture).chain(entry.sub_architectures)
                })
                .collect(),
        };
        let syscalls =
            self.syscalls.into_iter().filter(|r| r.applies(machine)).map(Rule::into_oci).collect();
        Seccomp {
            default_action: self.default_action,
            default_errno_ret: self.default_errno_ret,
            architectures,
            flags: (!self.flags.is_empty()).then_some(self.flags),
            syscalls,
            ..Seccomp::default()
        }
    }
}

impl Rule {
    fn applies(&self, machine: &Machine<'_>) -> bool {
        let arch = go_arch();
        let has = |cap: &String| machine.capabilities.contains(cap);
        let kernel = |min: &str| kernel_at_least(machine.kernel, min);
        let (yes, no) = (&self.includes, &self.excludes);
        let included = (yes.arches.is_empty() || yes.arches.iter().any(|a| a == arch))
            && yes.caps.iter().all(has)
            && (yes.min_kernel.is_empty() || kernel(&yes.min_kernel));
        let excluded = no.arches.iter().any(|a| a == arch)
            || no.caps.iter().any(has)
            || (!no.min_kernel.is_empty() && kernel(&no.min_kernel));
        included && !excluded
    }

    fn into_oci(self) -> SeccompRule {
        let mut names = self.names;
        if !self.name.is_empty() {
            names.push(self.name);
        }
        SeccompRule { names, action: self.action, errno_ret: self.errno_ret, args: self.args }
    }
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn kernel_at_least(have: (u32, u32), min: &str) -> bool {
    let mut parts = min.split('.').map(|part| part.parse().unwrap_or(0));
    have >= (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_caps() -> Vec<String> {
        super::super::capabilities::DEFAULT.iter().map(|c| (*c).to_owned()).collect()
    }

    fn allowed<'a>(profile: &'a Seccomp, name: &str) -> Vec<&'a SeccompRule> {
        profile.syscalls.iter().filter(|rule| rule.names.iter().any(|n| n == name)).collect()
    }

    #[test]
    fn the_table_is_sorted_enough_to_have_no_doubles() {
        let mut names = words(EVERYONE);
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(count > 330, "{count}");
    }

    #[test]
    fn dangerous_calls_are_not_in_the_default() {
        let profile = default_profile(&default_caps());
        assert_eq!(profile.default_action, ERRNO);
        for name in [
            "mount",
            "umount2",
            "unshare",
            "setns",
            "bpf",
            "keyctl",
            "add_key",
            "request_key",
            "io_uring_setup",
            "userfaultfd",
            "kexec_load",
            "init_module",
            "reboot",
            "swapon",
            "pivot_root",
            "open_by_handle_at",
            "settimeofday",
            "perf_event_open",
            "quotactl",
        ] {
            assert!(allowed(&profile, name).is_empty(), "{name}");
        }
        for name in ["read", "execve", "clone", "socket", "chroot", "personality", "ptrace"] {
            assert!(!allowed(&profile, name).is_empty(), "{name}");
        }
    }

    #[test]
    fn clone3_says_it_does_not_exist_without_sys_admin() {
        let profile = default_profile(&default_caps());
        let rules = allowed(&profile, "clone3");
        assert_eq!(rules.len(), 1);
        assert_eq!((rules[0].action.as_str(), rules[0].errno_ret), (ERRNO, Some(ENOSYS)));
        let clone = allowed(&profile, "clone")[0];
        assert_eq!(clone.args[0].value, 2_114_060_288);
        assert_eq!(clone.args[0].op, "SCMP_CMP_MASKED_EQ");
    }

    #[test]
    fn sys_admin_opens_mount_and_clone3() {
        let profile = default_profile(&["CAP_SYS_ADMIN".to_owned()]);
        for name in ["mount", "clone3", "unshare", "clone"] {
            let rules = allowed(&profile, name);
            assert!(rules.iter().all(|r| r.action == ALLOW && r.args.is_empty()), "{name}");
            assert_eq!(rules.len(), 1, "{name}");
        }
        assert!(allowed(&profile, "chroot").is_empty());
    }

    #[test]
    fn a_docker_profile_is_resolved_for_the_machine() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[
            {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
            {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":null}],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":null,"includes":{},"excludes":null},
            {"name":"write","action":"SCMP_ACT_ALLOW"},
            {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.1"}},
            {"names":["kcmp"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"4.8"}}]}"#;
        let machine = Machine { capabilities: &[], kernel: (6, 1) };
        let profile = Profile::parse(text).unwrap().resolve(&machine);
        let names: Vec<_> = profile.syscalls.iter().flat_map(|r| r.names.clone()).collect();
        assert_eq!(names, ["read", "write"]);
        assert_eq!(profile.architectures[0], architectures()[0]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Profile::parse("{").is_err());
        assert!(Profile::parse("{}").is_err());
    }
}
