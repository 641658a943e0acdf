//! Resource limits: prlimit64(2).

use rustix::io::Errno;

/// The limits in the order of their numbers on every architecture but MIPS and SPARC, setrlimit(2).
pub const NAMES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

/// Returns the number of a limit by its name, with or without `RLIMIT_`.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    let bare = name.strip_prefix("RLIMIT_").unwrap_or(name);
    NAMES.iter().position(|known| *known == bare).and_then(|at| u32::try_from(at).ok())
}

/// prlimit64(2) of this process; `u64::MAX` is unlimited.
///
/// # Errors
/// `EPERM` for a hard limit above the present one without `CAP_SYS_RESOURCE`, `EINVAL` for a soft limit above the hard one.
pub fn set(number: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: pid 0 is this process; `limit` is live and only read; no old value is asked for.
    // JUSTIFICATION: rustix's typed wrapper has no way from a number and maps `u64::MAX` differently.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            number,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    crate::clone::check(result).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(number("RLIMIT_NOFILE"), Some(libc::RLIMIT_NOFILE));
        assert_eq!(number("CORE"), Some(libc::RLIMIT_CORE));
        assert_eq!(number("RLIMIT_RTTIME"), Some(libc::RLIMIT_RTTIME));
        assert_eq!(number("RLIMIT_X"), None);
    }

    #[test]
    fn a_soft_limit_above_the_hard_one_is_refused() {
        assert_eq!(set(libc::RLIMIT_CORE, 2, 1), Err(Errno::INVAL));
    }
}
