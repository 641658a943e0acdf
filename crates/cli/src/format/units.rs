//! Sizes and times for people, as Docker's go-units and formatters print them.

use std::time::{Duration, SystemTime};

/// C's `%.{digits}g` for sizes: that many significant digits, no trailing zeros.
fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    #[expect(clippy::cast_possible_truncation, reason = "a decimal exponent is small")]
    let exponent = format!("{value:.*e}", digits.saturating_sub(1))
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i64>().ok())
        .unwrap_or(0) as i32;
    let limit = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        let text = format!("{value:.*e}", digits.saturating_sub(1));
        let (mantissa, _) = text.split_once('e').unwrap_or((&text, ""));
        let mantissa = if mantissa.contains('.') {
            mantissa.trim_end_matches('0').trim_end_matches('.')
        } else {
            mantissa
        };
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let decimals = usize::try_from(limit - 1 - exponent).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn scaled(mut size: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", significant(size, digits), units[unit])
}

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// go-units' `HumanSize`: `1.234MB`, four digits.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(crate) fn human_size(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 4)
}

/// go-units' `HumanSizeWithPrecision(size, 3)`: `1.23MB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn human_size_3(bytes: i64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 3)
}

/// go-units' `BytesSize`: `256MiB`, four digits.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(crate) fn bytes_size(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &BINARY, 4)
}

/// How long ago Unix second `created` was: `2 minutes ago`.
pub(crate) fn ago(created: i64) -> String {
    let then = u64::try_from(created)
        .map_or(SystemTime::UNIX_EPOCH, |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
    let elapsed = SystemTime::now().duration_since(then).unwrap_or_default();
    format!("{} ago", api::time::human_duration(elapsed))
}

/// Unix seconds as Go prints a time: `2026-11-28 15:11:38 +0000 UTC`.
pub(crate) fn go_time(seconds: i64) -> String {
    let stamp = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let zoned = jiff::ZonedDateTime::new(stamp, zone());
    let name = zoned.strftime("%Z").to_string();
    format!("{} {name}", zoned.strftime("%Y-%m-%d %H:%M:%S %z"))
}

/// The user's time zone: the one that `TZ` names, then `/etc/localtime`; UTC otherwise.
pub(crate) fn zone() -> jiff::tz::TimeZone {
    let named = std::env::var("TZ")
        .ok()
        .map(|name| format!("/usr/share/zoneinfo/{}", name.trim_start_matches(':')));
    let file = named.unwrap_or_else(|| "/etc/localtime".into());
    std::fs::read(&file)
        .ok()
        .and_then(|data| jiff::tz::TimeZone::tzif(&file, &data).ok())
        .unwrap_or(jiff::tz::TimeZone::UTC)
}

/// Shortens `text` to `length` characters, the last of which is `…`.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    if length <= 1 {
        return text.chars().take(length).collect();
    }
    text.chars().take(length - 1).chain(std::iter::once('…')).collect()
}

/// The first twelve characters of an id, without `sha256:`.
pub(crate) fn short_id(id: &str) -> &str {
    let id = id.split_once(':').map_or(id, |(_, hex)| hex);
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected strings: github.com/docker/go-units size_test.go and what docker 28.2.2 printed.
    #[test]
    fn sizes() {
        assert_eq!(human_size(1000), "1kB");
        assert_eq!(human_size(1024), "1.024kB");
        assert_eq!(human_size(1_000_000), "1MB");
        assert_eq!(human_size(1_048_576), "1.049MB");
        assert_eq!(human_size(3_420_000_000_000), "3.42TB");
        assert_eq!(human_size_3(4_270_000), "4.27MB");
        assert_eq!(human_size_3(116_532_000), "117MB");
        assert_eq!(human_size_3(0), "0B");
        assert_eq!(human_size_3(999), "999B");
        assert_eq!(bytes_size(1024), "1KiB");
        assert_eq!(bytes_size(268_435_456), "256MiB");
        assert_eq!(bytes_size(409_600), "400KiB");
        assert_eq!(bytes_size(3_900_000_000), "3.632GiB");
        assert_eq!(bytes_size(0), "0B");
    }

    #[test]
    fn ages() {
        let now = i64::try_from(
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(),
        )
        .unwrap();
        assert_eq!(ago(now - 5), "5 seconds ago");
        assert_eq!(ago(now - 75), "About a minute ago");
        assert_eq!(ago(now - 3 * 24 * 3600), "3 days ago");
        assert_eq!(go_time(1_795_466_869), "2026-11-23 20:47:49 +0000 UTC");
    }

    #[test]
    fn shortening() {
        assert_eq!(ellipsis("\"bash -c 'while true; do'\"", 20), "\"bash -c 'while tru…");
        assert_eq!(ellipsis("short", 20), "short");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("abc"), "abc");
    }
}
