//! Loading a seccomp filter: seccomp(2). Compiling one is the runtime's work.

use std::os::fd::{FromRawFd, OwnedFd};

use bitflags::bitflags;
use rustix::io::Errno;

bitflags! {
    /// `SECCOMP_FILTER_FLAG_*` of seccomp(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FilterFlags: u64 {
        /// All threads.
        const TSYNC = 1;
        /// Every action but allow is logged.
        const LOG = 2;
        /// No speculative store bypass mitigation.
        const SPEC_ALLOW = 4;
        /// Returns a listener for user notification.
        const NEW_LISTENER = 8;
        /// A notified system call waits killably once received.
        const WAIT_KILLABLE_RECV = 32;
    }
}

/// One instruction of classic BPF, `struct sock_filter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip if the test is true.
    pub jt: u8,
    /// How many instructions to skip if it is false.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// seccomp(2) `SECCOMP_SET_MODE_FILTER`: from now on every system call of this thread passes through `program`. Returns the
/// listener if the flags ask for one.
///
/// # Errors
/// `EINVAL` for a program that the kernel refuses; `EACCES` without both `CAP_SYS_ADMIN` and no_new_privs.
pub fn load(program: &[Instruction], flags: FilterFlags) -> Result<Option<OwnedFd>, Errno> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `header` is live; its pointer and length describe `program`, whose `repr(C)` elements have the layout of
    // `struct sock_filter`; the kernel copies them and changes nothing.
    // JUSTIFICATION: neither std nor rustix loads filters.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags.bits(), &raw const header)
    };
    let result = crate::clone::check(result)?;
    if !flags.contains(FilterFlags::NEW_LISTENER) {
        return Ok(None);
    }
    let number = i32::try_from(result).map_err(|_| Errno::INVAL)?;
    // SAFETY: with NEW_LISTENER a successful call returns a new descriptor that nobody else owns.
    // JUSTIFICATION: the kernel returns the descriptor as a number.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// seccomp(2) `SECCOMP_GET_ACTION_AVAIL`: whether the kernel knows the action.
#[must_use]
pub fn knows_action(action: u32) -> bool {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    // SAFETY: `action` is a live u32 that the kernel only reads.
    // JUSTIFICATION: neither std nor rustix has seccomp(2).
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) };
    result == 0
}

/// Asks the kernel whether it knows all of the flags: with them and no program seccomp(2) answers `EFAULT`, else `EINVAL`.
#[must_use]
pub fn knows_flags(flags: FilterFlags) -> bool {
    const SET_MODE_FILTER: libc::c_uint = 1;
    // SAFETY: the null program cannot be read, so that no filter is ever loaded; no memory is passed.
    // JUSTIFICATION: neither std nor rustix has seccomp(2).
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            flags.bits(),
            std::ptr::null::<libc::sock_fprog>(),
        )
    };
    crate::clone::check(result) == Err(Errno::FAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_have_the_kernels_layout() {
        assert_eq!(size_of::<Instruction>(), size_of::<libc::sock_filter>());
        assert_eq!(align_of::<Instruction>(), align_of::<libc::sock_filter>());
    }

    #[test]
    fn an_empty_program_is_refused() {
        assert_eq!(load(&[], FilterFlags::empty()).unwrap_err(), Errno::INVAL);
    }

    #[test]
    fn the_kernel_knows_errno_and_not_nonsense() {
        assert!(knows_action(0x0005_0000));
        assert!(!knows_action(0x0123_0000));
    }

    #[test]
    fn the_kernel_knows_old_flags_and_no_nonsense() {
        assert!(knows_flags(FilterFlags::LOG));
        assert!(!knows_flags(FilterFlags::from_bits_retain(0x4000_0000)));
    }
}
