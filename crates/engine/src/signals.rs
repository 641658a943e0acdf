//! Signal names, as users write them.

use crate::{EngineError, Result};

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The C library keeps the two real-time signals below for itself.
const RT_MIN: i32 = 34;
const RT_MAX: i32 = 64;

/// SIGKILL.
pub(crate) const KILL: i32 = 9;
/// SIGTERM.
pub(crate) const TERM: i32 = 15;

/// Reads `KILL`, `SIGKILL`, `sigkill`, `9`, `RTMIN+3` or `RTMAX-1`.
///
/// # Errors
/// `Invalid`, with Docker's words.
pub(crate) fn parse(text: &str) -> Result<i32> {
    let unknown = || EngineError::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=RT_MAX).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(at + 1).map_err(|_| unknown());
    }
    let number = match name {
        "IOT" => 6,
        "CLD" => 17,
        "POLL" => 29,
        "RTMIN" => RT_MIN,
        "RTMAX" => RT_MAX,
        _ => real_time(name).ok_or_else(unknown)?,
    };
    Ok(number)
}

fn real_time(name: &str) -> Option<i32> {
    let number = match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
        (Some(above), _) => RT_MIN.checked_add(above.parse().ok()?)?,
        (_, Some(below)) => RT_MAX.checked_sub(below.parse().ok()?)?,
        _ => return None,
    };
    (RT_MIN..=RT_MAX).contains(&number).then_some(number)
}

/// The container's stop signal; SIGTERM when it says none.
pub(crate) fn stop_signal(configured: Option<&str>) -> i32 {
    configured.filter(|text| !text.is_empty()).and_then(|text| parse(text).ok()).unwrap_or(TERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_are_read() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("9", 9),
            ("SIGSYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
            ("SIGPOLL", 29),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_dockers_words() {
        for text in ["", "0", "65", "-1", "SIG", "FOO", "RTMIN+99", "RTMIN+-3", "RTMAX-x"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid signal: {text}"));
        }
    }

    #[test]
    fn no_stop_signal_is_sigterm() {
        assert_eq!(stop_signal(None), TERM);
        assert_eq!(stop_signal(Some("SIGQUIT")), 3);
    }
}
