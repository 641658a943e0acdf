//! Wall-clock time as Docker's logs write it: RFC 3339 in UTC with up to nine digits, trailing zeros cut.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970. By std: rustix asks the vDSO for more than every kernel has (User Mode Linux), and panics.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Nanoseconds since 1970.
pub(crate) fn now_unix_nanos() -> i64 {
    i64::try_from(since_1970().as_nanos()).unwrap_or(i64::MAX)
}

/// Formats times; the calendar is worked out once a second.
#[derive(Debug)]
pub(crate) struct Stamp {
    second: i64,
    /// `2026-11-28T15:11:37`.
    text: [u8; 19],
}

impl Stamp {
    pub(crate) fn new() -> Stamp {
        Stamp { second: i64::MIN, text: [b'0'; 19] }
    }

    /// Appends the time now.
    pub(crate) fn push_now(&mut self, out: &mut Vec<u8>) {
        let now = since_1970();
        self.push(i64::try_from(now.as_secs()).unwrap_or(i64::MAX), now.subsec_nanos(), out);
    }

    fn push(&mut self, second: i64, nanos: u32, out: &mut Vec<u8>) {
        if second != self.second {
            self.second = second;
            self.text = calendar(second);
        }
        out.extend_from_slice(&self.text);
        if nanos > 0 {
            let mut digits = [0; 10];
            digits[0] = b'.';
            let mut rest = nanos;
            for place in digits[1..].iter_mut().rev() {
                *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
            let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1);
            out.extend_from_slice(&digits[..end]);
        }
        out.push(b'Z');
    }
}

/// Days to civil date after Howard Hinnant's `civil_from_days`, for the years 0 to 9999.
fn calendar(second: i64) -> [u8; 19] {
    let second = second.clamp(-62_167_219_200, 253_402_300_799);
    let (days, time) = (second.div_euclid(86_400), second.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);

    let mut text = *b"0000-00-00T00:00:00";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], time / 3_600);
    put(&mut text[14..16], time / 60 % 60);
    put(&mut text[17..19], time % 60);
    text
}

fn put(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(second: i64, nanos: u32) -> String {
        let mut out = Vec::new();
        Stamp::new().push(second, nanos, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_go_writes_rfc3339nano() {
        assert_eq!(stamp(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(stamp(951_782_399, 100_000_000), "2000-02-28T23:59:59.1Z");
        assert_eq!(stamp(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(stamp(1_795_878_697, 123_456_780), "2026-11-28T15:11:37.12345678Z");
        assert_eq!(stamp(253_402_300_799, 999_999_999), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(stamp(-1, 0), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn the_cached_second_is_renewed() {
        let (mut stamp, mut out) = (Stamp::new(), Vec::new());
        for second in [59, 59, 60] {
            stamp.push(second, 0, &mut out);
        }
        assert_eq!(out, b"1970-01-01T00:00:59Z1970-01-01T00:00:59Z1970-01-01T00:01:00Z");
    }
}
