//! `process` with every name resolved to a number and every text to a C string.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use sys::clone::CStringArray;
use sys::cred::{self, Capabilities as Bits};
use sys::namespace::SchedulerAttributes;
use types::oci::runtime::{Capabilities, Hook, IoPriority, Linux, Personality, Process, Scheduler};

use super::c_string;
use super::memory::Policy;
use crate::error::{Error, Result};
use crate::{log, seccomp};

/// The five sets of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapabilitySets {
    pub(crate) bounding: Bits,
    pub(crate) effective: Bits,
    pub(crate) permitted: Bits,
    pub(crate) inheritable: Bits,
    pub(crate) ambient: Bits,
}

/// What the process becomes.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) args: CStringArray,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: CString,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Whether the runtime's own groups stay instead.
    pub(crate) keeps_groups: bool,
    pub(crate) umask: u32,
    pub(crate) capabilities: CapabilitySets,
    pub(crate) no_new_privileges: bool,
    pub(crate) rlimits: Vec<(u32, u64, u64)>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) apparmor: String,
    pub(crate) selinux: String,
    pub(crate) personality: Option<u64>,
    pub(crate) scheduler: Option<SchedulerAttributes>,
    pub(crate) io_priority: Option<(u32, u32)>,
    pub(crate) affinity: Affinity,
    pub(crate) memory_policy: Option<Policy>,
    pub(crate) seccomp: Option<seccomp::Filter>,
    pub(crate) terminal: bool,
    pub(crate) keyring: Option<CString>,
    /// Descriptors 3.. that the program inherits.
    pub(crate) preserve_fds: u32,
    /// `startContainer` hooks.
    pub(crate) start_hooks: Vec<Hook>,
}

/// The processors of a process that joins a container; empty for no change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// Before it enters the container's cgroup.
    pub(crate) initial: Vec<usize>,
    /// After that.
    pub(crate) last: Vec<usize>,
}

impl Program {
    /// Tells whether there is a label of a security module to set.
    pub(crate) fn is_labelled(&self) -> bool {
        !self.apparmor.is_empty() || !self.selinux.is_empty()
    }

    /// What is written into `/proc/PID/attr`.
    pub(crate) fn labels(&self) -> Vec<String> {
        let apparmor = (!self.apparmor.is_empty()).then(|| format!("exec {}", self.apparmor));
        let selinux = (!self.selinux.is_empty()).then(|| self.selinux.clone());
        apparmor.into_iter().chain(selinux).collect()
    }

    /// The directories of [`Program::labels`] in `/proc/PID/attr`.
    pub(crate) fn label_modules(&self) -> Vec<&'static str> {
        let apparmor = (!self.apparmor.is_empty()).then_some("apparmor/");
        let selinux = (!self.selinux.is_empty()).then_some("");
        apparmor.into_iter().chain(selinux).collect()
    }
}

/// What a program depends on beside its document.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProgramContext {
    pub(crate) id: String,
    pub(crate) new_keyring: bool,
    /// Annotation `run.oci.keep_original_groups`: Podman's `--group-add keep-groups`.
    pub(crate) keeps_groups: bool,
    pub(crate) preserve_fds: u32,
    /// How many of them are sockets of systemd's, which the program is told.
    pub(crate) listen_fds: u32,
    pub(crate) start_hooks: Vec<Hook>,
    /// Whether the process is born into a user namespace other than the runtime's, in which it has every capability.
    pub(crate) new_user: bool,
    /// Whether the process joins a running container, for which alone `execCPUAffinity` is.
    pub(crate) joins: bool,
}

fn affinity(process: &Process) -> Result<Affinity> {
    let Some(given) = &process.exec_cpu_affinity else { return Ok(Affinity::default()) };
    Ok(Affinity {
        initial: processors("initial", &given.initial)?,
        last: processors("final", &given.last)?,
    })
}

/// Resolves a process, with what `linux` says about every process of the container.
pub(crate) fn of_process(
    process: &Process,
    linux: Option<&Linux>,
    context: &ProgramContext,
) -> Result<Program> {
    let seccomp = linux.and_then(|linux| linux.seccomp.as_ref());
    let policy = linux.and_then(|linux| linux.memory_policy.as_ref());
    let persona = linux.and_then(|linux| linux.personality.as_ref());
    refuse_labels(process)?;
    let strings = |list: &[String]| list.iter().map(|s| c_string(s)).collect::<Result<Vec<_>>>();
    let keyring = format!("_ses.{}", context.id);
    let mut env = strings(&last_of_each(&process.env))?;
    if context.listen_fds > 0 {
        env.push(c_string(&format!("LISTEN_FDS={}", context.listen_fds))?);
        env.push(c"LISTEN_PID=1".to_owned());
    }
    Ok(Program {
        args: CStringArray::new(strings(&process.args)?),
        env,
        cwd: c_string(&process.cwd)?,
        uid: process.user.uid,
        gid: process.user.gid,
        groups: process.user.additional_gids.clone(),
        keeps_groups: context.keeps_groups,
        umask: process.user.umask.unwrap_or(0o022),
        capabilities: capabilities(process.capabilities.as_ref(), context.new_user)?,
        no_new_privileges: process.no_new_privileges,
        rlimits: process.rlimits.iter().map(rlimit).collect::<Result<_>>()?,
        oom_score_adj: process.oom_score_adj,
        apparmor: process.apparmor_profile.clone(),
        selinux: process.selinux_label.clone(),
        personality: persona.map(personality).transpose()?,
        memory_policy: policy.map(super::memory::policy).transpose()?,
        scheduler: process.scheduler.as_ref().map(scheduler).transpose()?,
        io_priority: process.io_priority.as_ref().map(io_priority).transpose()?,
        affinity: context.joins.then(|| affinity(process)).transpose()?.unwrap_or_default(),
        seccomp: seccomp.map(seccomp::compile).transpose()?,
        terminal: process.terminal,
        keyring: context.new_keyring.then(|| c_string(&keyring)).transpose()?,
        preserve_fds: context.preserve_fds,
        start_hooks: context.start_hooks.clone(),
    })
}

/// Labels without the security module that reads them are refused, in runc's words.
fn refuse_labels(process: &Process) -> Result<()> {
    if !process.apparmor_profile.is_empty() && !apparmor_is_enabled() {
        return Err(Error::Config(format!(
            "process.apparmorProfile {:?}: unable to apply apparmor profile: apparmor: config provided but apparmor not supported",
            process.apparmor_profile
        )));
    }
    if !process.selinux_label.is_empty() && !selinux_is_enabled() {
        return Err(Error::Config(format!(
            "process.selinuxLabel {:?}: selinux label is specified in config, but selinux is disabled or not supported",
            process.selinux_label
        )));
    }
    Ok(())
}

fn apparmor_is_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
}

/// SELinux is on where its file system is mounted, selinux(8).
pub(super) fn selinux_is_enabled() -> bool {
    const SELINUX_MAGIC: i64 = 0xf97c_ff8c;
    rustix::fs::statfs("/sys/fs/selinux").is_ok_and(|stat| stat.f_type == SELINUX_MAGIC)
}

/// Tells whether annotations ask for the runtime's own supplementary groups to stay.
pub(crate) fn keeps_groups(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get("run.oci.keep_original_groups").is_some_and(|value| value != "0")
}

/// Of variables that are given twice the last counts; getenv(3) would find the first.
fn last_of_each(env: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<String> = env
        .iter()
        .rev()
        .filter(|entry| seen.insert(entry.split_once('=').map_or(entry.as_str(), |(name, _)| name)))
        .cloned()
        .collect();
    kept.reverse();
    kept
}

/// Rows and columns; none is zero.
pub(super) fn console_size(process: &Process) -> (u16, u16) {
    let size = process.console_size.unwrap_or_default();
    let short = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    (short(size.height), short(size.width))
}

fn rlimit(limit: &types::oci::runtime::Rlimit) -> Result<(u32, u64, u64)> {
    let number = sys::rlimit::number(&limit.kind)
        .ok_or_else(|| Error::Config(format!("invalid rlimit type: {}", limit.kind)))?;
    Ok((number, limit.soft, limit.hard))
}

/// Turns names into bits. An unknown name is left out with a warning, and so is what this process does not have itself: nobody can
/// give away more than he has.
fn capabilities(given: Option<&Capabilities>, every: bool) -> Result<CapabilitySets> {
    let Some(given) = given else { return Ok(CapabilitySets::default()) };
    let own = if every {
        Bits::MAX >> (63 - cred::last_capability())
    } else {
        cred::capability_sets().map_err(crate::error::step("read the own capabilities"))?.permitted
    };
    let mut unknown: Vec<String> = Vec::new();
    let mut lacking: Bits = 0;
    let mut bits = |names: &[String]| -> Bits {
        let mut set = 0;
        for name in names {
            match cred::capability(name) {
                Some(bit) => set |= bit,
                None => unknown.push(name.clone()),
            }
        }
        lacking |= set & !own;
        set & own
    };
    let sets = CapabilitySets {
        bounding: bits(&given.bounding),
        effective: bits(&given.effective),
        permitted: bits(&given.permitted),
        inheritable: bits(&given.inheritable),
        ambient: bits(&given.ambient),
    };
    let (permitted, inheritable) = (sets.permitted, sets.inheritable);
    unknown.dedup();
    if !unknown.is_empty() {
        log::warn(&format!("ignoring unknown or unavailable capabilities: {unknown:?}"));
    }
    let raised = permitted & inheritable;
    for name in &given.ambient {
        if cred::capability(name).is_some_and(|bit| bit & !raised != 0) {
            log::warn(&format!("can't raise ambient capability {name}: operation not permitted"));
        }
    }
    if lacking != 0 {
        log::warn(&format!("ignoring capabilities that the runtime lacks itself: {lacking:#x}"));
    }
    let sets = CapabilitySets {
        effective: sets.effective & permitted,
        // The kernel raises only what is both permitted and inheritable.
        ambient: sets.ambient & raised,
        ..sets
    };
    Ok(sets)
}

const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

const SCHEDULER_FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// The words of refusal are runc's.
fn scheduler(given: &Scheduler) -> Result<SchedulerAttributes> {
    let invalid = |text: String| Err(Error::Config(text));
    if given.policy.is_empty() {
        return invalid("scheduler policy is required".into());
    }
    let Some((_, policy)) = POLICIES.iter().find(|(name, _)| *name == given.policy) else {
        return invalid(format!("invalid scheduler policy: {}", given.policy));
    };
    let mut flags = 0;
    for flag in &given.flags {
        match SCHEDULER_FLAGS.iter().find(|(name, _)| name == flag) {
            Some((_, bit)) => flags |= bit,
            None => return invalid(format!("invalid scheduler flag: {flag}")),
        }
    }
    if !(-20..=19).contains(&given.nice) {
        return invalid(format!("invalid scheduler.nice: {}", given.nice));
    }
    let realtime = matches!(given.policy.as_str(), "SCHED_FIFO" | "SCHED_RR");
    let priority = u32::try_from(given.priority).ok().filter(|priority| *priority < 100);
    let Some(priority) = priority.filter(|priority| *priority == 0 || realtime) else {
        let text = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy";
        return invalid(text.into());
    };
    let times = given.runtime != 0 || given.deadline != 0 || given.period != 0;
    if times && given.policy != "SCHED_DEADLINE" {
        let text =
            "scheduler runtime/deadline/period can only be specified for SchedDeadline policy";
        return invalid(text.into());
    }
    Ok(SchedulerAttributes {
        size: 0,
        policy: *policy,
        flags,
        nice: given.nice,
        priority,
        runtime: given.runtime,
        deadline: given.deadline,
        period: given.period,
    })
}

fn io_priority(given: &IoPriority) -> Result<(u32, u32)> {
    let class = match given.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => return Err(Error::Config(format!("invalid ioPriority class: {other}"))),
    };
    let level = u32::try_from(given.priority).ok().filter(|level| *level < 8);
    let level = level
        .ok_or_else(|| Error::Config(format!("invalid ioPriority priority: {}", given.priority)))?;
    Ok((class, level))
}

/// Numbers and ranges such as `0-3,7`, as sets of processors and of memory nodes are written.
pub(super) fn number_list(text: &str) -> Option<Vec<usize>> {
    let mut list = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: usize = from.trim().parse().ok()?;
        let to: usize = to.trim().parse().ok()?;
        // The sum is bounded too: a few megabytes of text could ask for many gigabytes of numbers.
        if from > to || to >= 4096 || list.len() > 8192 {
            return None;
        }
        list.extend(from..=to);
    }
    Some(list)
}

fn processors(field: &str, text: &str) -> Result<Vec<usize>> {
    number_list(text).ok_or_else(|| {
        Error::Config(format!(
            "process.execCPUAffinity.{field}: invalid list of processors {text:?}"
        ))
    })
}

/// The domains of personality(2).
const DOMAINS: [(&str, u64); 2] = [("LINUX", 0), ("LINUX32", 8)];

/// The flags of personality(2), under the kernel's names.
const PERSONALITY_FLAGS: [(&str, u64); 11] = [
    ("ADDR_COMPAT_LAYOUT", 0x020_0000),
    ("ADDR_LIMIT_32BIT", 0x080_0000),
    ("ADDR_LIMIT_3GB", 0x800_0000),
    ("ADDR_NO_RANDOMIZE", 0x004_0000),
    ("FDPIC_FUNCPTRS", 0x008_0000),
    ("MMAP_PAGE_ZERO", 0x010_0000),
    ("READ_IMPLIES_EXEC", 0x040_0000),
    ("SHORT_INODE", 0x100_0000),
    ("STICKY_TIMEOUTS", 0x400_0000),
    ("UNAME26", 0x002_0000),
    ("WHOLE_SECONDS", 0x200_0000),
];

fn personality(given: &Personality) -> Result<u64> {
    let find = |table: &[(&str, u64)], name: &str| {
        table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    };
    let domain = given.domain.strip_prefix("PER_").unwrap_or(&given.domain);
    let mut value = find(&DOMAINS, domain).ok_or_else(|| {
        Error::Config(format!("invalid linux.personality.domain {:?}", given.domain))
    })?;
    for flag in &given.flags {
        value |= find(&PERSONALITY_FLAGS, flag).ok_or_else(|| {
            Error::Config(format!("invalid linux.personality.flags entry {flag:?}"))
        })?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_variable_the_last_value_counts() {
        let env = ["PATH=/a", "B=1", "PATH=/b=c", "plain", "B="].map(str::to_owned);
        assert_eq!(last_of_each(&env), ["PATH=/b=c", "plain", "B="]);
    }

    #[test]
    fn lists_of_processors() {
        assert_eq!(number_list("0-2, 5").unwrap(), [0, 1, 2, 5]);
        assert!(number_list("").unwrap().is_empty());
        for bad in ["x", "3-1", "0-99999999999", "1-"] {
            assert!(number_list(bad).is_none(), "{bad}");
        }
        assert!(number_list(&"0-4095,".repeat(1000)).is_none(), "text that grows in memory");
    }

    #[test]
    fn a_set_never_exceeds_what_it_depends_on() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let given = Capabilities {
            bounding: names(&["CAP_CHOWN", "CAP_KILL", "CAP_NONSENSE"]),
            effective: names(&["CAP_CHOWN", "CAP_KILL"]),
            permitted: names(&["CAP_CHOWN"]),
            inheritable: vec![],
            ambient: names(&["CAP_CHOWN"]),
        };
        let sets = capabilities(Some(&given), false).unwrap();
        assert_eq!(sets.effective & !sets.permitted, 0);
        assert_eq!(sets.ambient, 0);
    }
}
