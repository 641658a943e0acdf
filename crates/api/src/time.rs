//! Time as the Engine API writes it: RFC 3339 with nanoseconds, Unix seconds with a fraction, Go durations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What Go prints for a time that was never set.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// Nanoseconds since 1970, before it when negative.
pub type UnixNanos = i128;

const SECOND: i128 = 1_000_000_000;

/// Converts a clock reading.
#[must_use]
pub fn nanos(time: SystemTime) -> UnixNanos {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
    }
}

/// Prints a time as Go's RFC3339Nano does: trailing zeros of the fraction are dropped.
#[must_use]
pub fn rfc3339(time: UnixNanos) -> String {
    let text = rfc3339_fixed(time);
    let (whole, _) = text.split_at(text.len() - 1);
    let whole = whole.trim_end_matches('0');
    format!("{}Z", whole.trim_end_matches('.'))
}

/// Prints a time with all nine digits of the fraction, as `docker logs -t` shows it.
#[must_use]
pub fn rfc3339_fixed(time: UnixNanos) -> String {
    let (seconds, fraction) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
    let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

/// Reads what clients send for `since` and `until`: Unix seconds (`1795466869.000000001`), RFC 3339, a date and time without a
/// zone (UTC), or a Go duration (`10m`) before `now`.
#[must_use]
pub fn parse(text: &str, now: UnixNanos) -> Option<UnixNanos> {
    parse_unix(text)
        .or_else(|| parse_rfc3339(text))
        .or_else(|| go_duration(text).map(|ago| now - ago))
}

/// Reads Unix seconds with an optional fraction.
#[must_use]
pub fn parse_unix(text: &str) -> Option<UnixNanos> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if digits.is_empty() || digits.len() > 18 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = if fraction.is_empty() { 0 } else { nano_fraction(fraction)? };
    let seconds: i128 = whole.parse().ok()?;
    let fraction = if whole.starts_with('-') { -fraction } else { fraction };
    Some(seconds * SECOND + fraction)
}

/// Reads RFC 3339; the zone, the fraction, the seconds and the whole clock may be missing.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<UnixNanos> {
    let (date, clock) = text.split_once(['T', 't', ' ']).unwrap_or((text, ""));
    let mut parts = date.splitn(3, '-');
    let year = fixed(parts.next()?, 4)?;
    let (month, day) = (fixed(parts.next()?, 2)?, fixed(parts.next()?, 2)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let seconds = days(year, month, day) * 86_400;
    let (clock, offset) = zone(clock)?;
    Some((seconds - offset) * SECOND + clock_nanos(clock)?)
}

/// Reads a Go duration (`1h30m`, `1.5s`, `-2ms`, `100us`, `7ns`); nanoseconds.
#[must_use]
pub fn go_duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0i128;
    while !rest.is_empty() {
        let (piece, after) = duration_piece(rest)?;
        total = total.checked_add(piece)?;
        rest = after;
    }
    (total <= i128::from(i64::MAX) && text.len() > 1).then_some(sign * total)
}

/// Prints a duration for people as go-units' `HumanDuration` does: `Less than a second`, `5 minutes`, `2 weeks`.
#[must_use]
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

fn duration_piece(text: &str) -> Option<(i128, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let scale: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = if fraction.is_empty() { 0 } else { nano_fraction(fraction)? };
    Some((whole.checked_mul(scale)?.checked_add(fraction * scale / SECOND)?, rest))
}

/// Splits `12:34:56.7+02:00` into the clock and the offset in seconds.
fn zone(text: &str) -> Option<(&str, i128)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (hours, minutes) = text[at + 1..].split_once(':')?;
    let offset = fixed(hours, 2)? * 3600 + fixed(minutes, 2)? * 60;
    Some((&text[..at], if text.as_bytes()[at] == b'-' { -offset } else { offset }))
}

fn clock_nanos(clock: &str) -> Option<i128> {
    if clock.is_empty() {
        return Some(0);
    }
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(c, f)| (c, Some(f)));
    let mut parts = clock.splitn(3, ':');
    let hour = fixed(parts.next()?, 2)?;
    let minute = parts.next().map_or(Some(0), |m| fixed(m, 2))?;
    let second = parts.next().map_or(Some(0), |s| fixed(s, 2))?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction = fraction.map_or(Some(0), nano_fraction)?;
    Some((hour * 3600 + minute * 60 + second) * SECOND + fraction)
}

/// Reads the digits behind a decimal point as nanoseconds; digits past the ninth are cut.
fn nano_fraction(digits: &str) -> Option<i128> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nine: String = digits.chars().chain(std::iter::repeat('0')).take(9).collect();
    nine.parse().ok()
}

fn fixed(text: &str, len: usize) -> Option<i128> {
    if text.len() != len || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn days_in(year: i128, month: i128) -> i128 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts the days from 1970-01-01 to a date of the proleptic Gregorian calendar. Years are shifted to begin in March, so that
/// the leap day is the last of its year.
fn days(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days`].
fn civil(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    (year + era * 400 + i128::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip() {
        for day in (-800_000..800_000).step_by(37) {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day);
        }
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_750_000_000 * SECOND + 120), "2025-06-15T15:06:40.00000012Z");
        assert_eq!(rfc3339_fixed(1_750_000_000 * SECOND), "2025-06-15T15:06:40.000000000Z");
        assert_eq!(rfc3339(days(1, 1, 1) * 86_400 * SECOND), NEVER);
    }

    #[test]
    fn every_form_of_since_reads() {
        let base = 1_750_000_000 * SECOND;
        for (text, want) in [
            ("1750000000", base),
            ("1750000000.000000001", base + 1),
            ("1750000000.5", base + SECOND / 2),
            ("2025-06-15T15:06:40Z", base),
            ("2025-06-15T15:06:40.25Z", base + SECOND / 4),
            ("2025-06-15T17:06:40+02:00", base),
            ("2025-06-15T15:06:40", base),
            ("2025-06-15", base - (15 * 3600 + 6 * 60 + 40) * SECOND),
            ("10m", base + 1000 * SECOND - 600 * SECOND),
        ] {
            assert_eq!(parse(text, base + 1000 * SECOND), Some(want), "{text}");
        }
        for bad in ["", "x", "1.x", "2025-13-01", "2025-02-30", "2025-06-15T25:00:00Z", "5", "--1"]
        {
            assert_eq!(parse(bad, 0).filter(|_| bad != "5"), None, "{bad}");
        }
        assert_eq!(parse_unix("-1.5"), Some(-SECOND * 3 / 2));
    }

    #[test]
    fn go_durations() {
        for (text, want) in [
            ("1h30m", 5400 * SECOND),
            ("1.5s", SECOND * 3 / 2),
            ("-2ms", -2_000_000),
            ("100us", 100_000),
            ("7ns", 7),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(go_duration(text), Some(want), "{text}");
        }
        for bad in ["", "-", "1", "s", ".s", "1d", "1h1", "99999999999999999999h", "1..2s"] {
            assert_eq!(go_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn human_durations_are_go_units() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (5 * 3600, "5 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (15 * 86_400, "2 weeks"),
            (61 * 86_400, "2 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), text);
        }
    }
}
