//! The log that `--log` names, in runc's two formats (those of the Go library logrus): `{"level":…,"msg":…,"time":…}` a line, or
//! `time=… level=… msg=…`; on a terminal that is standard error a coloured short form.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::error::{Result, step};
use crate::sink;

struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
    closed: bool,
    opened: Option<Instant>,
}

thread_local! {
    static LOG: RefCell<Log> = const {
        RefCell::new(Log { file: None, json: false, debug: false, closed: false, opened: None })
    };
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
    LOG.with_borrow_mut(|log| {
        *log = Log { file, json, debug, closed: false, opened: Some(Instant::now()) }
    });
    Ok(())
}

/// Closes the log for good: nothing of it may reach the container's own output. The container's process does it before it closes every descriptor by its number.
pub(crate) fn close() {
    LOG.with_borrow_mut(|log| {
        log.file = None;
        log.closed = true;
    });
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

/// Tells whether [`debug`] writes anything, so that a text is not made in vain.
pub(crate) fn debugs() -> bool {
    LOG.with_borrow(|log| log.debug)
}

/// Tells whether the line went to a file.
fn write(level: &str, message: &str) -> bool {
    LOG.with_borrow_mut(|log| {
        if log.closed {
            return false;
        }
        let line = line(log, level, message);
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

fn line(log: &Log, level: &str, message: &str) -> String {
    let message = message.strip_suffix('\n').unwrap_or(message);
    let time = seconds(&now());
    if log.json {
        return json_line(level, message, &time);
    }
    if log.file.is_none() && is_terminal() {
        let since = log.opened.map_or(0, |opened| opened.elapsed().as_secs());
        return coloured_line(level, message, since);
    }
    text_line(level, message, &time)
}

fn is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Keys in alphabetical order; `<`, `>` and `&` are escaped, as Go does.
fn json_line(level: &str, message: &str, time: &str) -> String {
    let quoted = serde_json::Value::from(message).to_string();
    let quoted = quoted.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    format!("{{\"level\":\"{level}\",\"msg\":{quoted},\"time\":\"{time}\"}}")
}

fn text_line(level: &str, message: &str, time: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    let message = if message.chars().all(plain) { message.to_owned() } else { quoted(message) };
    format!("time=\"{time}\" level={level} msg={message}")
}

fn coloured_line(level: &str, message: &str, since: u64) -> String {
    let colour = match level {
        "error" => 31,
        "warning" => 33,
        _ => 37,
    };
    let short = level.get(..4).unwrap_or(level).to_ascii_uppercase();
    format!("\u{1b}[{colour}m{short}\u{1b}[0m[{since:04}] {message:<44} ")
}

/// Go's `%q`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// Takes the fractions of a second away.
fn seconds(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(whole, _)| format!("{whole}Z"))
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
    #[test]
    fn lines_are_those_of_logrus() {
        let time = seconds("2026-11-28T18:36:53.000000001Z");
        assert_eq!(
            json_line("error", "open <a>: \"b\"", &time),
            r#"{"level":"error","msg":"open \u003ca\u003e: \"b\"","time":"2026-11-28T18:36:53Z"}"#
        );
        assert_eq!(
            text_line("error", "container does \"not\"\texist", &time),
            r#"time="2026-11-28T18:36:53Z" level=error msg="container does \"not\"\texist""#
        );
        assert_eq!(
            text_line("debug", "a/b.c", &time),
            r#"time="2026-11-28T18:36:53Z" level=debug msg=a/b.c"#
        );
        assert_eq!(
            coloured_line("warning", "m", 7),
            format!("\u{1b}[33mWARN\u{1b}[0m[0007] {:<44} ", "m")
        );
        assert_eq!(quoted("\u{1}ä\\"), "\"\\x01ä\\\\\"");
    }
}
