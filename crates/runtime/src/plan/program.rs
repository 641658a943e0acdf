//! `process` with every name resolved to a number and every text to a C string.

use std::ffi::CString;

use sys::clone::CStringArray;
use sys::cred::{self, Capabilities as Bits};
use sys::namespace::SchedulerAttributes;
use types::oci::runtime::{Capabilities, Hook, IoPriority, Process, Scheduler, Seccomp};

use super::c_string;
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
    pub(crate) affinity: Vec<usize>,
    pub(crate) seccomp: Option<seccomp::Filter>,
    pub(crate) terminal: bool,
    pub(crate) keyring: Option<CString>,
    /// Descriptors 3.. that the program inherits.
    pub(crate) preserve_fds: u32,
    /// `startContainer` hooks.
    pub(crate) start_hooks: Vec<Hook>,
}

/// What a program depends on beside its document.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProgramContext {
    pub(crate) id: String,
    pub(crate) new_keyring: bool,
    pub(crate) preserve_fds: u32,
    /// How many of them are sockets of systemd's, which the program is told.
    pub(crate) listen_fds: u32,
    pub(crate) start_hooks: Vec<Hook>,
}

/// Resolves a process.
pub(crate) fn of_process(
    process: &Process,
    seccomp: Option<&Seccomp>,
    context: &ProgramContext,
) -> Result<Program> {
    let strings = |list: &[String]| list.iter().map(|s| c_string(s)).collect::<Result<Vec<_>>>();
    let keyring = format!("_ses.{}", context.id);
    let mut env = strings(&process.env)?;
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
        umask: process.user.umask.unwrap_or(0o022),
        capabilities: capabilities(process.capabilities.as_ref())?,
        no_new_privileges: process.no_new_privileges,
        rlimits: process.rlimits.iter().map(rlimit).collect::<Result<_>>()?,
        oom_score_adj: process.oom_score_adj,
        apparmor: process.apparmor_profile.clone(),
        selinux: process.selinux_label.clone(),
        personality: None,
        scheduler: process.scheduler.as_ref().map(scheduler).transpose()?,
        io_priority: process.io_priority.as_ref().map(io_priority).transpose()?,
        affinity: process
            .exec_cpu_affinity
            .as_ref()
            .map_or(Ok(Vec::new()), |a| cpu_list(&a.last))?,
        seccomp: seccomp.map(seccomp::compile).transpose()?,
        terminal: process.terminal,
        keyring: context.new_keyring.then(|| c_string(&keyring)).transpose()?,
        preserve_fds: context.preserve_fds,
        start_hooks: context.start_hooks.clone(),
    })
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
fn capabilities(given: Option<&Capabilities>) -> Result<CapabilitySets> {
    let Some(given) = given else { return Ok(CapabilitySets::default()) };
    let own =
        cred::capability_sets().map_err(crate::error::step("read the own capabilities"))?.permitted;
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
    if lacking != 0 {
        log::warn(&format!("ignoring capabilities that the runtime lacks itself: {lacking:#x}"));
    }
    let sets = CapabilitySets {
        effective: sets.effective & permitted,
        // The kernel raises only what is both permitted and inheritable.
        ambient: sets.ambient & permitted & inheritable,
        ..sets
    };
    Ok(sets)
}

fn scheduler(given: &Scheduler) -> Result<SchedulerAttributes> {
    let policy = match given.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => return Err(Error::Config(format!("invalid scheduler policy: {other}"))),
    };
    let mut flags = 0;
    for flag in &given.flags {
        flags |= match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            other => return Err(Error::Config(format!("invalid scheduler flag: {other}"))),
        };
    }
    Ok(SchedulerAttributes {
        size: 0,
        policy,
        flags,
        nice: given.nice,
        priority: u32::try_from(given.priority).unwrap_or(0),
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

/// Numbers and ranges such as `0-3,7`.
fn cpu_list(text: &str) -> Result<Vec<usize>> {
    let bad = || Error::Config(format!("invalid list of processors {text:?}"));
    let mut list = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: usize = from.parse().map_err(|_| bad())?;
        let to: usize = to.parse().map_err(|_| bad())?;
        if from > to || to >= 4096 {
            return Err(bad());
        }
        list.extend(from..=to);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(cpu_list("0-2, 5").unwrap(), [0, 1, 2, 5]);
        assert!(cpu_list("").unwrap().is_empty());
        for bad in ["x", "3-1", "0-99999999999", "1-"] {
            assert!(cpu_list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_set_never_exceeds_what_it_depends_on() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let sets = capabilities(Some(&Capabilities {
            bounding: names(&["CAP_CHOWN", "CAP_KILL", "CAP_NONSENSE"]),
            effective: names(&["CAP_CHOWN", "CAP_KILL"]),
            permitted: names(&["CAP_CHOWN"]),
            inheritable: vec![],
            ambient: names(&["CAP_CHOWN"]),
        }))
        .unwrap();
        assert_eq!(sets.effective & !sets.permitted, 0);
        assert_eq!(sets.ambient, 0);
    }
}
