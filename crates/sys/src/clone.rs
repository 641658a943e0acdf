//! Making a process: clone3(2), execve(2), and what must happen between the two.
//!
//! The child of [`clone_process`] is a copy of a process that has one thread, so it may run ordinary code; it must end in
//! [`execute`] or [`exit_child`].

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bitflags::bitflags;
use rustix::io::Errno;
use rustix::process::Pid;

bitflags! {
    /// The namespaces that a new process gets for itself, `CLONE_NEW*` of clone(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Namespaces: u64 {
        /// Clocks.
        const TIME = 0x0000_0080;
        /// Mounts.
        const MOUNT = 0x0002_0000;
        /// The root of the cgroup tree.
        const CGROUP = 0x0200_0000;
        /// Host and domain name.
        const UTS = 0x0400_0000;
        /// System V IPC and POSIX message queues.
        const IPC = 0x0800_0000;
        /// User and group ids, capabilities.
        const USER = 0x1000_0000;
        /// Process ids.
        const PID = 0x2000_0000;
        /// Network.
        const NETWORK = 0x4000_0000;
    }
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a new process shall be.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneRequest<'a> {
    /// Its new namespaces.
    pub namespaces: Namespaces,
    /// The cgroup v2 directory in which it starts.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// It becomes a sibling of the caller instead of its child (`CLONE_PARENT`).
    pub sibling: bool,
    /// The caller was itself made by [`clone_process`] and has one thread; this is then not looked up in a procfs that may be the image's.
    pub alone: bool,
}

/// The two returns of one call.
#[derive(Debug)]
pub enum Cloned {
    /// In the new process.
    Child {
        /// Whether the process started in the cgroup that was asked for; if not, it enters it itself.
        in_cgroup: bool,
    },
    /// In the caller.
    Parent {
        /// The new process, as the caller's pid namespace numbers it.
        pid: Pid,
        /// A descriptor for it, close-on-exec.
        pidfd: OwnedFd,
    },
}

/// Turns the result of a raw system call into a `Result`.
pub(crate) fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

/// The errno that the last libc call of this thread left.
pub(crate) fn last_errno() -> Errno {
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Errno::from_raw_os_error(code)
}

/// clone3(2): makes a process with every new namespace in one call; falls back to clone(2) where clone3 is unknown or
/// filtered, and to no cgroup where the kernel cannot start a process in one.
///
/// # Errors
/// Those of clone3(2); `EBUSY` if the calling process has more than one thread.
pub fn clone_process(request: &CloneRequest<'_>) -> Result<Cloned, Errno> {
    if !request.alone {
        require_one_thread()?;
    }
    match clone3(request) {
        Err(Errno::NOSYS | Errno::PERM) if !request.namespaces.contains(Namespaces::TIME) => {
            clone_old(request)
        }
        // CLONE_INTO_CGROUP is younger (5.7) than clone3 (5.3).
        Err(Errno::TOOBIG | Errno::INVAL) if request.cgroup.is_some() => {
            clone3(&CloneRequest { cgroup: None, ..*request })
        }
        other => other,
    }
}

/// A copy of a process with several threads may find a lock held for ever.
fn require_one_thread() -> Result<(), Errno> {
    let stat = rustix::fs::stat(c"/proc/self/task")?;
    if stat.st_nlink > 3 { Err(Errno::BUSY) } else { Ok(()) }
}

fn clone3(request: &CloneRequest<'_>) -> Result<Cloned, Errno> {
    let mut pidfd: i32 = -1;
    let mut flags = request.namespaces.bits() | CLONE_PIDFD;
    let mut cgroup = 0;
    if let Some(fd) = request.cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = u64::from(fd.as_raw_fd().cast_unsigned());
    }
    if request.sibling {
        flags |= CLONE_PARENT;
    }
    let exit_signal = if request.sibling { 0 } else { libc::SIGCHLD.cast_unsigned() };
    let args = libc::clone_args {
        flags,
        pidfd: (&raw mut pidfd).addr() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(exit_signal),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup,
    };
    // Versions of the struct: without `cgroup` it ends at 80 bytes, which older kernels take.
    let size = if request.cgroup.is_some() { 88 } else { 80 };
    // SAFETY: `args` is a live struct of at least `size` bytes; no CLONE_VM and no stack are given, so the child runs on a copy
    // of this memory like after fork(2); the process has one thread (checked by the caller), so no lock is left held in the
    // copy; `pidfd` outlives the call.
    // JUSTIFICATION: no safe function makes namespaces and a pidfd and enters a cgroup in one step.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size) })?;
    cloned(pid, pidfd, request.cgroup.is_some())
}

fn clone_old(request: &CloneRequest<'_>) -> Result<Cloned, Errno> {
    let mut pidfd: i32 = -1;
    let mut flags = request.namespaces.bits() | CLONE_PIDFD;
    flags |= if request.sibling { CLONE_PARENT } else { u64::from(libc::SIGCHLD.cast_unsigned()) };
    // SAFETY: as for clone3: no CLONE_VM, a null stack means a copy of the caller's, one thread; with CLONE_PIDFD the third
    // argument is where the descriptor is written, on every architecture, and `pidfd` outlives the call.
    // JUSTIFICATION: the fallback for kernels and outer seccomp filters without clone3.
    let result =
        unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, &raw mut pidfd, 0usize, 0usize) };
    cloned(check(result)?, pidfd, false)
}

fn cloned(pid: libc::c_long, pidfd: i32, in_cgroup: bool) -> Result<Cloned, Errno> {
    if pid == 0 {
        return Ok(Cloned::Child { in_cgroup });
    }
    // SAFETY: with CLONE_PIDFD a successful call has stored a new descriptor that nobody else owns.
    // JUSTIFICATION: the kernel returns the descriptor as a number.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)?;
    Ok(Cloned::Parent { pid, pidfd })
}

/// _exit(2): ends the child of [`clone_process`] without running what the parent registered with atexit(3).
pub fn exit_child(code: i32) -> ! {
    // SAFETY: _exit(2) takes any number, has no other condition and does not return.
    // JUSTIFICATION: std has only exit(3), which runs handlers and flushes buffers that belong to the parent.
    unsafe { libc::_exit(code) }
}

/// The arguments or the environment of a program, ready for execve(2).
#[derive(Debug)]
pub struct CStringArray {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl CStringArray {
    /// Takes the strings and lays out the array of pointers.
    #[must_use]
    pub fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { strings, pointers }
    }

    /// Returns the strings.
    #[must_use]
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// execve(2): returns only if it failed.
///
/// # Errors
/// Those of execve(2).
pub fn execute(
    path: &CStr,
    arguments: &CStringArray,
    environment: &CStringArray,
) -> Result<Infallible, Errno> {
    // SAFETY: `path` is NUL-terminated; both arrays end with a null pointer and point to NUL-terminated strings that
    // `CStringArray` owns and never changes.
    // JUSTIFICATION: std's `exec` searches the PATH, changes signal masks and allocates after the seccomp filter is on.
    unsafe {
        libc::execve(path.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr())
    };
    Err(last_errno())
}

/// execveat(2) with `AT_EMPTY_PATH`: runs the open file; returns only if it failed.
///
/// # Errors
/// Those of execveat(2).
pub fn execute_file(
    file: BorrowedFd<'_>,
    arguments: &CStringArray,
    environment: &CStringArray,
) -> Result<Infallible, Errno> {
    // SAFETY: the path is a NUL-terminated literal; the arrays are as for `execute`; the descriptor is borrowed for the call.
    // JUSTIFICATION: std has no execveat(2).
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(last_errno())
}

/// close_range(2) with `CLOSE_RANGE_CLOEXEC`: no descriptor from `first` on outlives the next execve(2).
///
/// # Errors
/// Those of close_range(2).
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: only flags of descriptors change, none is closed, so no owner is left with a closed one.
    // JUSTIFICATION: neither std nor rustix has close_range(2).
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    match check(result) {
        Err(Errno::NOSYS | Errno::INVAL) => close_on_exec_each(first),
        other => other.map(|_| ()),
    }
}

/// Before Linux 5.11: one fcntl(2) for each open descriptor.
fn close_on_exec_each(first: u32) -> Result<(), Errno> {
    let listing = std::fs::read_dir("/proc/self/fd").map_err(|_| Errno::NOSYS)?;
    for entry in listing.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(number) = number.filter(|n| n.cast_unsigned() >= first) else { continue };
        // SAFETY: fcntl(F_SETFD) takes any number and answers EBADF for one that is not open; only a flag changes.
        // JUSTIFICATION: the descriptors are known by number only.
        let _ = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// close_range(2): closes every descriptor from `first` on but those in `keep`.
///
/// For the last moments before execve(2), in a process that uses no other descriptor any more: whoever in this process still owns one
/// of those closed must neither use nor drop it.
///
/// # Errors
/// Those of close_range(2).
pub fn close_from(first: u32, keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    kept.retain(|number| *number >= first);
    kept.sort_unstable();
    let mut from = first;
    for number in kept {
        if number > from {
            close_range(from, number - 1)?;
        }
        from = number.saturating_add(1);
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: the kernel takes any range and no memory. The caller has promised, see `close_from`, that no owner of a descriptor in
    // the range acts on it again, so none can hit a number that was given away anew.
    // JUSTIFICATION: neither std nor rustix has close_range(2), and descriptors that were inherited have no owner to drop.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    check(result).map(|_| ())
}

/// Lets descriptor `number` outlive the next execve(2). `EBADF` if it is not open.
///
/// # Errors
/// Those of fcntl(2).
pub fn keep_on_exec(number: i32) -> Result<(), Errno> {
    // SAFETY: fcntl(F_SETFD) takes any number and answers EBADF for one that is not open; only a flag changes.
    // JUSTIFICATION: inherited descriptors (`--preserve-fds`, LISTEN_FDS) are known by number only.
    let result = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    check(libc::c_long::from(result)).map(|_| ())
}

/// sigaction(2): lets the process end with 128 and the signal's number on those with which one asks a process to end, until execve(2).
///
/// The first process of a pid namespace gets only signals for which it has a handler, pid_namespaces(7).
pub fn end_on_requests() {
    for number in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        let handler: extern "C" fn(libc::c_int) = end;
        // SAFETY: the handler calls nothing but _exit(2), which is async-signal-safe; the numbers are those of signals that can be caught.
        // JUSTIFICATION: std has no signal handlers.
        unsafe { libc::signal(number, handler as *const () as libc::sighandler_t) };
    }
}

extern "C" fn end(signal: libc::c_int) {
    exit_child(128 + signal)
}

/// sigprocmask(2) and signal(2): gives the child the default action for every standard signal and an empty mask.
pub fn reset_signals() {
    for number in 1..=31 {
        // SAFETY: signal(2) with SIG_DFL installs no code; for signals that cannot be changed it answers EINVAL.
        // JUSTIFICATION: ignored signals are inherited over execve(2); std resets only SIGPIPE.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // SAFETY: a zeroed sigset_t is a valid value that sigemptyset then defines.
    // JUSTIFICATION: the type is opaque.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is a live sigset_t.
    // JUSTIFICATION: std has no signal masks.
    unsafe { libc::sigemptyset(&raw mut none) };
    // SAFETY: `none` is initialised and the old mask is not asked for.
    // JUSTIFICATION: std has no signal masks.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}
