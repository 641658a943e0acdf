//! Who a process is and what it may do: ids, groups, capabilities, and the prctl(2) switches around them.
//!
//! All calls act on the calling thread; they are for a process with one thread.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Pid, Signal, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The capabilities in the order of their numbers, capabilities(7).
pub const CAPABILITY_NAMES: [&str; 41] = [
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

/// A set of capabilities: bit n is capability number n.
pub type Capabilities = u64;

/// The bit of `CAP_SYS_ADMIN`.
pub const SYS_ADMIN: Capabilities = 1 << 21;
/// The bit of `CAP_SETPCAP`.
pub const SETPCAP: Capabilities = 1 << 8;

/// Returns the bit of a capability by its name, with or without `CAP_`, in any case.
#[must_use]
pub fn capability(name: &str) -> Option<Capabilities> {
    let name = name.to_ascii_uppercase();
    let bare = name.strip_prefix("CAP_").unwrap_or(&name);
    CAPABILITY_NAMES.iter().position(|known| &known[4..] == bare).map(|at| 1 << at)
}

/// Returns the number of the last capability that the kernel knows, `/proc/sys/kernel/cap_last_cap`, found by asking prctl(2).
#[must_use]
pub fn last_capability() -> u32 {
    let mut last = 40;
    while last < 63 && in_bounding_set(last + 1) {
        last += 1;
    }
    while last > 0 && !is_known(last) {
        last -= 1;
    }
    last
}

fn bounding_read(number: u32) -> i32 {
    // SAFETY: PR_CAPBSET_READ takes one number and no memory.
    // JUSTIFICATION: rustix's wrapper knows only the capabilities of its own list.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number), 0, 0, 0) }
}

fn in_bounding_set(number: u32) -> bool {
    bounding_read(number) == 1
}

fn is_known(number: u32) -> bool {
    bounding_read(number) >= 0
}

/// prctl(2) `PR_CAPBSET_DROP` for every capability that is not in `keep`.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn limit_bounding_set(keep: Capabilities) -> Result<(), Errno> {
    for number in 0..64 {
        if keep & (1 << number) != 0 {
            continue;
        }
        // SAFETY: PR_CAPBSET_DROP takes one number and no memory.
        // JUSTIFICATION: rustix's wrapper knows only the capabilities of its own list.
        let result = unsafe {
            libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number as u32), 0, 0, 0)
        };
        match crate::clone::check(libc::c_long::from(result)) {
            // The first number that the kernel does not know.
            Err(Errno::INVAL) => break,
            other => other?,
        };
    }
    Ok(())
}

/// The three sets that capset(2) sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// In force.
    pub effective: Capabilities,
    /// May be put in force.
    pub permitted: Capabilities,
    /// Kept over execve(2) by files that ask for it.
    pub inheritable: Capabilities,
}

/// capget(2).
///
/// # Errors
/// Those of capget(2).
pub fn capability_sets() -> Result<Sets, Errno> {
    let sets = rustix::thread::capabilities(None)?;
    Ok(Sets {
        effective: sets.effective.bits(),
        permitted: sets.permitted.bits(),
        inheritable: sets.inheritable.bits(),
    })
}

/// capset(2).
///
/// # Errors
/// Those of capset(2).
pub fn set_capability_sets(sets: Sets) -> Result<(), Errno> {
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::from_bits_retain(sets.effective),
            permitted: CapabilitySet::from_bits_retain(sets.permitted),
            inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
        },
    )
}

/// prctl(2) `PR_CAP_AMBIENT`: clears the ambient set and raises the capabilities of `set` in it.
///
/// # Errors
/// `EPERM` for a capability that is not both permitted and inheritable.
pub fn set_ambient(set: Capabilities) -> Result<(), Errno> {
    rustix::thread::clear_ambient_capability_set()?;
    for number in (0..64).filter(|number| set & (1 << number) != 0) {
        // SAFETY: PR_CAP_AMBIENT_RAISE takes numbers and no memory.
        // JUSTIFICATION: rustix's wrapper knows only the capabilities of its own list.
        let result = unsafe {
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE,
                number as libc::c_ulong,
                0,
                0,
            )
        };
        crate::clone::check(libc::c_long::from(result))?;
    }
    Ok(())
}

/// prctl(2) `PR_SET_KEEPCAPS`: whether the permitted set outlives a change of the user id.
///
/// # Errors
/// Those of prctl(2).
pub fn keep_capabilities(keep: bool) -> Result<(), Errno> {
    rustix::thread::set_keep_capabilities(keep)
}

/// prctl(2) `PR_SET_NO_NEW_PRIVS`: no execve(2) will ever add privileges.
///
/// # Errors
/// Those of prctl(2).
pub fn set_no_new_privileges() -> Result<(), Errno> {
    rustix::thread::set_no_new_privs(true)
}

/// prctl(2) `PR_SET_DUMPABLE` 0: other processes of the same user cannot look into this one (CVE-2016-9962).
///
/// # Errors
/// Those of prctl(2).
pub fn set_not_dumpable() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// prctl(2) `PR_SET_DUMPABLE` 1: the opposite of [`set_not_dumpable`], which a change of ids may have brought about.
///
/// # Errors
/// Those of prctl(2).
pub fn set_dumpable() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
}

/// prctl(2) `PR_SET_CHILD_SUBREAPER`: orphaned descendants become children of this process.
///
/// # Errors
/// Those of prctl(2).
pub fn become_subreaper() -> Result<(), Errno> {
    rustix::process::set_child_subreaper(Some(Pid::INIT))
}

/// prctl(2) `PR_SET_PDEATHSIG`: the signal that this process gets when its parent ends; `None` for none.
///
/// # Errors
/// Those of prctl(2).
pub fn set_parent_death_signal(signal: Option<Signal>) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(signal)
}

/// setgroups(2).
///
/// # Errors
/// Those of setgroups(2).
pub fn set_groups(gids: &[u32]) -> Result<(), Errno> {
    let gids: Vec<Gid> = gids.iter().copied().map(Gid::from_raw).collect();
    rustix::thread::set_thread_groups(&gids)
}

/// setresgid(2) with the same id three times.
///
/// # Errors
/// Those of setresgid(2).
pub fn set_gid(gid: u32) -> Result<(), Errno> {
    let gid = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
}

/// setresuid(2) with the same id three times.
///
/// # Errors
/// Those of setresuid(2).
pub fn set_uid(uid: u32) -> Result<(), Errno> {
    let uid = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bits() {
        assert_eq!(capability("CAP_CHOWN"), Some(1));
        assert_eq!(capability("sys_admin"), Some(SYS_ADMIN));
        assert_eq!(capability("cap_setpcap"), Some(SETPCAP));
        assert_eq!(capability("CAP_CHECKPOINT_RESTORE"), Some(1 << 40));
        assert_eq!(capability("CAP_NONSENSE"), None);
    }

    #[test]
    fn the_last_capability_is_the_kernels() {
        let told = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(last_capability(), told.trim().parse::<u32>().unwrap());
    }
}
