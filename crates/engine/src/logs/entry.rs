//! One entry of the log.

use shim_protocol::stdcopy::Stream;

/// The length of a piece of a line that goes on in the next entry. A shorter one without a line feed is the end of a stream.
const PIECE: usize = 16 << 10;
/// `2026-11-28T15:11:37.123456789Z`
const TIME: usize = 30;

/// A moment as text, always 30 bytes: texts compare as the moments do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time([u8; TIME]);

impl Time {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads RFC 3339, at once if it is in UTC with up to nine digits, as the shim writes it.
    fn parse(text: &[u8]) -> Option<Self> {
        const SHAPE: &[u8; TIME] = b"0000-00-00T00:00:00.000000000Z";
        let (body, zone) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let fits = |(byte, shape): (&u8, &u8)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        };
        let short = body.len() == 19 || (21..TIME).contains(&body.len());
        if zone != b"Z" || !short || !body.iter().zip(SHAPE).all(fits) {
            return std::str::from_utf8(text).ok()?.parse::<jiff::Timestamp>().ok().map(Self::from);
        }
        let mut time = Self(*SHAPE);
        time.0[..body.len()].copy_from_slice(body);
        Some(time)
    }
}

impl From<jiff::Timestamp> for Time {
    fn from(moment: jiff::Timestamp) -> Self {
        let text = format!("{moment:.9}");
        // Only years before 0 are written in another length, and no log has them.
        Self(text.as_bytes().try_into().unwrap_or(*b"0000-00-00T00:00:00.000000000Z"))
    }
}

/// An entry; its text is in the buffer that it was parsed into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stream: Stream,
    pub(super) time: Time,
    /// The line goes on in the stream's next entry.
    pub(super) goes_on: bool,
}

/// Reads one entry and puts its text into `text`; none if it is not a whole one.
pub(super) fn parse(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    text.clear();
    if let Some(entry) = fast(line, text) {
        return Some(entry);
    }
    text.clear();
    slow(line, text)
}

/// The members in the order and without the spaces that the shim and Docker write.
fn fast(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let body = line.strip_prefix(b"{\"log\":\"")?.strip_suffix(b"\"}")?;
    const KEY: &[u8] = b"\",\"time\":\"";
    // The time is 20 to 30 bytes long; look no further.
    let (from, to) = (body.len().checked_sub(TIME + KEY.len())?, body.len().checked_sub(20)?);
    let at = (from..to).find(|at| body[*at..].starts_with(KEY))?;
    let time = Time::parse(&body[at + KEY.len()..])?;
    let body = &body[..at];
    let (stream, body) = match body.strip_suffix(b"\",\"stream\":\"stdout") {
        Some(body) => (Stream::Stdout, body),
        None => (Stream::Stderr, body.strip_suffix(b"\",\"stream\":\"stderr")?),
    };
    unescape(body, text)?;
    Some(Entry { stream, time, goes_on: goes_on(text) })
}

fn goes_on(text: &[u8]) -> bool {
    text.len() >= PIECE && !text.ends_with(b"\n")
}

/// Any JSON with these members.
fn slow(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    let member = |key| value.get(key).and_then(serde_json::Value::as_str);
    let stream = match member("stream")? {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    let time = Time::parse(member("time")?.as_bytes())?;
    text.extend_from_slice(member("log")?.as_bytes());
    Some(Entry { stream, time, goes_on: goes_on(text) })
}

/// Takes JSON's escapes out; none where the string ends or an escape is none.
fn unescape(mut from: &[u8], to: &mut Vec<u8>) -> Option<()> {
    while let Some(stop) = from.iter().position(|byte| matches!(byte, b'\\' | b'"')) {
        to.extend_from_slice(&from[..stop]);
        if from[stop] == b'"' {
            return None;
        }
        let (kind, rest) = from[stop + 1..].split_first()?;
        from = rest;
        match kind {
            b'n' => to.push(b'\n'),
            b'r' => to.push(b'\r'),
            b't' => to.push(b'\t'),
            b'b' => to.push(8),
            b'f' => to.push(12),
            b'"' | b'\\' | b'/' => to.push(*kind),
            b'u' => from = unicode(from, to)?,
            _ => return None,
        }
    }
    to.extend_from_slice(from);
    Some(())
}

/// Four hexadecimal digits; twice for what lies outside of the basic plane. Half of a pair is U+FFFD.
fn unicode<'a>(from: &'a [u8], to: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (high, mut from) = unit(from)?;
    let mut code = u32::from(high);
    if (0xd800..0xdc00).contains(&high)
        && let Some((low @ 0xdc00..0xe000, rest)) = from.strip_prefix(b"\\u").and_then(unit)
    {
        code = 0x10000 + ((code - 0xd800) << 10) + (u32::from(low) - 0xdc00);
        from = rest;
    }
    let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    to.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    Some(from)
}

fn unit(from: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = from.split_at_checked(4)?;
    let digits = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}
