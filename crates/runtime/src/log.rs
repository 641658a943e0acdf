//! The log that `--log` names, in runc's two formats: `{"level":…,"msg":…,"time":…}` a line, or `time=… level=… msg=…`.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Result, step};
use crate::sink;

struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

thread_local! {
    static LOG: RefCell<Log> = const { RefCell::new(Log { file: None, json: false, debug: false }) };
}

/// Opens the log; without a path it is standard error.
pub(crate) fn open(path: Option<&Path>, json: bool, debug: bool) -> Result<()> {
    let file = path
        .map(|path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(step(format!("open the log `{}`", path.display())))
        })
        .transpose()?;
    LOG.with_borrow_mut(|log| *log = Log { file, json, debug });
    Ok(())
}

/// Logs the error that ends the program, and says it on standard error too.
pub(crate) fn fatal(message: &str) {
    if write("error", message) {
        sink::err(message);
    }
}

/// Logs something that was left out.
pub(crate) fn warn(message: &str) {
    write("warning", message);
}

/// Logs a step, with `--debug` only.
pub(crate) fn debug(message: &str) {
    if LOG.with_borrow(|log| log.debug) {
        write("debug", message);
    }
}

/// Tells whether the line went to a file.
fn write(level: &str, message: &str) -> bool {
    LOG.with_borrow_mut(|log| {
        let time = now();
        let line = if log.json {
            serde_json::json!({ "level": level, "msg": message, "time": time }).to_string()
        } else {
            format!("time=\"{time}\" level={level} msg={message:?}")
        };
        match &mut log.file {
            Some(file) => {
                let _ = file.write_all(format!("{line}\n").as_bytes());
                true
            }
            None => {
                sink::err(&line);
                false
            }
        }
    })
}

/// RFC 3339 in UTC.
pub(crate) fn now() -> String {
    rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos())
}

/// RFC 3339 of nanoseconds since 1970; days to dates as in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
fn rfc3339(nanos: u128) -> String {
    let seconds = i64::try_from(nanos / 1_000_000_000).unwrap_or(0);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let nanos = nanos % 1_000_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(rfc3339(1_764_342_697_000_000_000), "2025-11-28T15:11:37.000000000Z");
    }
}
