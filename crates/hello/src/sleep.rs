//! Staying alive quietly, as a container's first process should: it ends on SIGTERM and takes in orphans.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Signal, WaitOptions, wait};
use sys::event::{SignalFd, poll};

/// Exit code of a process that a signal ended, as shells count.
const BY_SIGNAL: u8 = 128;
/// In seconds.
const CENTURY: u64 = 3_155_760_000;

/// Sleeps for `time` seconds, or until SIGTERM or SIGINT. The kernel drops signals for PID 1 that it neither handles nor blocks,
/// so that `stop` would have to wait for its time limit; here they arrive by a descriptor.
pub(crate) fn sleep(time: &str) -> io::Result<ExitCode> {
    let end = parse(time)?.map(|duration| Instant::now() + duration);
    let watched = [Signal::TERM, Signal::INT, Signal::CHILD].map(Signal::as_raw);
    let signals = SignalFd::new(&watched)?;
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(ExitCode::SUCCESS);
        }
        poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], left)?;
        while let Some(signal) = signals.take()? {
            if signal != Signal::CHILD.as_raw() {
                return Ok(ExitCode::from(BY_SIGNAL + u8::try_from(signal).unwrap_or(0)));
            }
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        }
    }
}

/// Reads seconds, with a fraction if wanted, or `infinity`.
fn parse(time: &str) -> io::Result<Option<Duration>> {
    if matches!(time, "infinity" | "inf") {
        return Ok(None);
    }
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("invalid time `{time}`"));
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    // Too many for a number, or for the clock, is for ever.
    let Some(seconds) = whole.parse().ok().filter(|seconds| *seconds < CENTURY) else {
        return Ok(None);
    };
    let nanos = format!("{fraction:0<9.9}").parse().map_err(|_| wrong())?;
    Ok(Some(Duration::new(seconds, nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_for_ever() {
        assert_eq!(parse("infinity").unwrap(), None);
        assert_eq!(parse("1.5").unwrap(), Some(Duration::from_millis(1500)));
        assert_eq!(parse("3").unwrap(), Some(Duration::from_secs(3)));
        assert_eq!(parse("0.0000000019").unwrap(), Some(Duration::from_nanos(1)));
        assert_eq!(parse("99999999999999999999999").unwrap(), None);
        for bad in ["", "-1", "x", "NaN", "1.", ".5", "+1", "1e3"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
