//! Waiting for many descriptors at once, and signals as one of them.

use rustix::event::{PollFd, Timespec};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

pub use rustix::event::PollFlags;

/// `poll(fds, timeout)`: waits until one descriptor is ready and tells how many are; 0 after `timeout`. An interrupted wait counts
/// as 0 ready.
///
/// # Errors
/// `EINVAL`: more descriptors than `RLIMIT_NOFILE`. `ENOMEM`.
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    match rustix::event::poll(fds, timeout.as_ref()) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        other => Ok(other?),
    }
}

/// Signals that arrive by a descriptor instead of interrupting the program. They stay blocked for this thread; programs
/// started by `std::process::Command` get an empty signal mask again.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` in this thread and opens a `signalfd(2)` for them.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; `EINVAL` for a number that is no signal.
    pub fn new(signals: &[i32]) -> io::Result<SignalFd> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` wants memory for one sigset_t, which `set` is; it initialises all of it.
        // JUSTIFICATION: rustix and std offer neither signal sets nor signalfd.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: `sigemptyset` just initialised it; it cannot fail for a valid pointer.
        // JUSTIFICATION: as above.
        let mut set = unsafe { set.assume_init() };
        for signal in signals {
            // SAFETY: `sigaddset` wants an initialised set; any number is allowed and a wrong one answers EINVAL.
            // JUSTIFICATION: as above.
            if unsafe { libc::sigaddset(&raw mut set, *signal) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: `pthread_sigmask` reads one initialised set; a null old set is allowed.
        // JUSTIFICATION: as above.
        let result =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        // SAFETY: `signalfd` reads one initialised set; -1 asks for a new descriptor.
        // JUSTIFICATION: as above.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made `fd`; nobody else owns it.
        // JUSTIFICATION: the only way from a number to an OwnedFd.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes one pending signal's number; `None` if there is none.
    ///
    /// # Errors
    /// Any of `read(2)` but `EAGAIN`.
    pub fn take(&self) -> io::Result<Option<i32>> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut info)) {
            Ok(len) if len == info.len() => {
                let [a, b, c, d, ..] = info;
                // `ssi_signo` is the first member, a u32.
                Ok(i32::try_from(u32::from_ne_bytes([a, b, c, d])).ok())
            }
            Ok(_) => Ok(None),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The old process; carries the child's id.
    Parent(u32),
    /// The new process.
    Child,
}

/// `fork()` for a process with one thread.
///
/// # Errors
/// `EBUSY`: the process has more than one thread. `EAGAIN`, `ENOMEM` as fork(2).
pub fn fork_single_threaded() -> io::Result<Fork> {
    // The link count of the task directory is two plus the number of threads.
    let links = rustix::fs::stat("/proc/self/task")?.st_nlink;
    if links != 3 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: after `fork` in a program with several threads only async-signal-safe functions may be called; this program has one
    // (checked above), and nobody else can start another meanwhile.
    // JUSTIFICATION: std cannot fork without exec, and a second exec would double the start time of a shim.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        child if child > 0 => Ok(Fork::Parent(child.unsigned_abs())),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Tells the C library's allocator to take blocks from 32 KiB on directly from the kernel and to give them back when freed, so
/// that a resident program's size returns to what it was before a burst.
pub fn keep_heap_small() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: `mallopt` takes two integers and touches only the allocator's own settings.
        // JUSTIFICATION: the allocator's defaults grow with use and never shrink below 128 KiB.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 10) };
        // SAFETY: as above.
        // JUSTIFICATION: as above.
        unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, 16 << 10) };
        // SAFETY: as above.
        // JUSTIFICATION: as above.
        unsafe { libc::mallopt(libc::M_TOP_PAD, 0) };
    }
}

/// Gives free heap pages back to the kernel: `malloc_trim(0)`.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` takes one integer and touches only memory that the allocator holds free.
    // JUSTIFICATION: no safe call does it.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// `ioctl(fd, FIONREAD)`: bytes that can be read now.
///
/// # Errors
/// `ENOTTY`: the file has no such notion.
pub fn readable_bytes(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, for which `count` is; `fd` is open.
    // JUSTIFICATION: rustix hides it behind a feature that this workspace does not enable.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_reports_what_is_ready_and_times_out() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut fds = [PollFd::new(&read, PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(Duration::from_millis(5))).unwrap(), 0);
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(poll(&mut fds, None).unwrap(), 1);
        assert_eq!(readable_bytes(read.as_fd()).unwrap(), 1);
    }

    #[test]
    fn a_blocked_signal_is_read_from_the_descriptor() {
        // In its own thread: the mask is the thread's, and the signal is sent to that thread only.
        std::thread::spawn(|| {
            let signals = SignalFd::new(&[libc::SIGUSR2]).unwrap();
            assert_eq!(signals.take().unwrap(), None);
            // SAFETY: `pthread_self` has no conditions.
            // JUSTIFICATION: nothing else sends a signal to one thread.
            let thread = unsafe { libc::pthread_self() };
            // SAFETY: `thread` is the calling thread, which lives; SIGUSR2 is blocked in it.
            // JUSTIFICATION: as above.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
            assert_eq!(signals.take().unwrap(), Some(libc::SIGUSR2));
            assert_eq!(signals.take().unwrap(), None);
        })
        .join()
        .unwrap();
        assert!(SignalFd::new(&[-1]).is_err());
    }

    #[test]
    fn a_program_with_threads_is_not_forked() {
        // The test harness runs this beside others, in a thread of its own.
        assert_eq!(fork_single_threaded().unwrap_err().raw_os_error(), Some(libc::EBUSY));
    }
}
