//! Joining namespaces and setting what belongs to them: setns(2), sethostname(2), setdomainname(2), personality(2), session keyrings.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

pub use crate::clone::Namespaces;

/// setns(2): moves this process into the namespace `fd`, which must be of the one kind given.
///
/// # Errors
/// Those of setns(2).
pub fn join(fd: impl AsFd, kind: Namespaces) -> Result<(), Errno> {
    setns(fd, kind.bits())
}

/// setns(2) with a pidfd: moves this process into several namespaces of another at once (Linux 5.8).
///
/// # Errors
/// Those of setns(2).
pub fn join_of_process(pidfd: impl AsFd, kinds: Namespaces) -> Result<(), Errno> {
    setns(pidfd, kinds.bits())
}

/// ioctl(2) `NS_GET_NSTYPE`: the kind of namespace that `fd` refers to.
///
/// # Errors
/// `ENOTTY` if it is no namespace.
pub fn kind_of(fd: impl AsFd) -> Result<Namespaces, Errno> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the request takes no argument and answers a number; on anything but a namespace it fails.
    // JUSTIFICATION: rustix has no wrapper of this request.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    let bits = crate::clone::check(libc::c_long::from(result))?;
    Ok(Namespaces::from_bits_retain(u64::try_from(bits).unwrap_or(0)))
}

fn setns(fd: impl AsFd, kinds: u64) -> Result<(), Errno> {
    let fd = fd.as_fd();
    let kinds = i32::try_from(kinds).map_err(|_| Errno::INVAL)?;
    // SAFETY: setns(2) takes a descriptor, borrowed for the call, and a flag word; no memory is passed.
    // JUSTIFICATION: rustix splits this call in two by the kind of descriptor and knows no TIME flag in one of them.
    let result = unsafe { libc::setns(fd.as_raw_fd(), kinds) };
    crate::clone::check(libc::c_long::from(result)).map(|_| ())
}

/// unshare(2) `CLONE_NEWTIME`: children of this process will be in a new time namespace, whose offsets may be written until the
/// first of them is born.
///
/// # Errors
/// Those of unshare(2).
pub fn new_time_namespace_for_children() -> Result<(), Errno> {
    unshare(Namespaces::TIME)
}

/// unshare(2) `CLONE_NEWCGROUP`: the groups in which this process is become the roots of those that it sees.
///
/// With clone3(2) they would be the groups of the process that called it, even where the new one starts in another.
///
/// # Errors
/// Those of unshare(2).
pub fn new_cgroup_namespace() -> Result<(), Errno> {
    unshare(Namespaces::CGROUP)
}

fn unshare(kind: Namespaces) -> Result<(), Errno> {
    let flags = i32::try_from(kind.bits()).map_err(|_| Errno::INVAL)?;
    // SAFETY: unshare(2) takes a flag word and no memory; a time or cgroup namespace changes nothing that this process's memory
    // or descriptors depend on.
    // JUSTIFICATION: rustix's wrapper is unsafe for all flags and knows no CLONE_NEWTIME.
    let result = unsafe { libc::unshare(flags) };
    crate::clone::check(libc::c_long::from(result)).map(|_| ())
}

/// sethostname(2).
///
/// # Errors
/// Those of sethostname(2).
pub fn set_host_name(name: &str) -> Result<(), Errno> {
    rustix::system::sethostname(name.as_bytes())
}

/// setdomainname(2).
///
/// # Errors
/// Those of setdomainname(2).
pub fn set_domain_name(name: &str) -> Result<(), Errno> {
    rustix::system::setdomainname(name.as_bytes())
}

/// personality(2).
///
/// # Errors
/// Those of personality(2).
pub fn set_personality(domain_and_flags: u64) -> Result<(), Errno> {
    // SAFETY: personality(2) takes one number and no memory.
    // JUSTIFICATION: neither std nor rustix has personality(2).
    let result = unsafe { libc::personality(domain_and_flags) };
    crate::clone::check(libc::c_long::from(result)).map(|_| ())
}

/// keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`: gives this process a session keyring of its own with the given name.
///
/// # Errors
/// Those of keyctl(2); `ENOSYS` without keyrings.
pub fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: `name` is NUL-terminated and only read.
    // JUSTIFICATION: neither std nor rustix has keyctl(2).
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    crate::clone::check(result).map(|_| ())
}

/// sched_setattr(2) of this process, with the whole `sched_attr` as the runtime-spec gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SchedulerAttributes {
    /// The size of this struct; set by [`set_scheduler`].
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub period: u64,
}

/// sched_setattr(2) of this process.
///
/// # Errors
/// Those of sched_setattr(2).
pub fn set_scheduler(attributes: SchedulerAttributes) -> Result<(), Errno> {
    let size = u32::try_from(size_of::<SchedulerAttributes>()).unwrap_or(0);
    let attributes = SchedulerAttributes { size, ..attributes };
    // SAFETY: `attributes` is a live struct whose first field is its size; the kernel only reads it.
    // JUSTIFICATION: neither std nor rustix has sched_setattr(2).
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    crate::clone::check(result).map(|_| ())
}

/// sched_setaffinity(2) of this process: it runs on the processors of the given numbers.
///
/// # Errors
/// Those of sched_setaffinity(2).
pub fn set_affinity(processors: &[usize]) -> Result<(), Errno> {
    let mut set = rustix::thread::CpuSet::new();
    for number in processors {
        if *number >= rustix::thread::CpuSet::MAX_CPU {
            return Err(Errno::INVAL);
        }
        set.set(*number);
    }
    rustix::thread::sched_setaffinity(None, &set)
}

/// sched_setaffinity(2) of this process with every bit set: it runs wherever its cpuset group lets it, whatever mask it was born with
/// (since Linux 6.2 a group's processors no longer replace the mask that was asked for before).
///
/// # Errors
/// Those of sched_setaffinity(2).
pub fn reset_affinity() -> Result<(), Errno> {
    // Longer than the mask of any kernel (8192 processors); what is over is ignored.
    const MASK: [u8; 1024] = [0xff; 1024];
    // SAFETY: the mask is MASK.len() bytes long and only read.
    // JUSTIFICATION: rustix's set ends at 1024 processors.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, MASK.len(), MASK.as_ptr()) };
    crate::clone::check(result).map(|_| ())
}

/// sched_getaffinity(2) of this process: the processors it may run on.
///
/// # Errors
/// Those of sched_getaffinity(2).
pub fn affinity() -> Result<Vec<usize>, Errno> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU).filter(|number| set.is_set(*number)).collect())
}

/// set_mempolicy(2) of this process: `mode` with its flags, and the nodes.
///
/// # Errors
/// Those of set_mempolicy(2); `ENOSYS` on a kernel without NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[usize]) -> Result<(), Errno> {
    const BITS: usize = libc::c_ulong::BITS as usize;
    let words = nodes.iter().max().map_or(0, |last| last / BITS + 1);
    let mut mask: Vec<libc::c_ulong> = vec![0; words];
    for node in nodes {
        mask[node / BITS] |= 1 << (node % BITS);
    }
    // The kernel takes one less than the number it is told.
    let bits = if words == 0 { 0 } else { words * BITS + 1 };
    let pointer = if words == 0 { std::ptr::null() } else { mask.as_ptr() };
    // SAFETY: `pointer` is null with no bits, or points to `words` words of `mask`, which hold the `bits - 1` bits that the kernel reads.
    // JUSTIFICATION: neither std nor rustix has set_mempolicy(2).
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) };
    crate::clone::check(result).map(|_| ())
}

/// ioprio_set(2) of this process: class (1 real-time, 2 best effort, 3 idle) and level.
///
/// # Errors
/// Those of ioprio_set(2).
pub fn set_io_priority(class: u32, level: u32) -> Result<(), Errno> {
    const WHO_PROCESS: libc::c_int = 1;
    let priority = (class << 13) | (level & 0x1fff);
    // SAFETY: ioprio_set(2) takes three numbers and no memory.
    // JUSTIFICATION: neither std nor rustix has ioprio_set(2).
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) };
    crate::clone::check(result).map(|_| ())
}
