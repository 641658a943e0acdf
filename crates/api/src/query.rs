//! Query strings: `a=b&c=%20d`, with Docker's rule for booleans.

/// The decoded pairs of a query string, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Splits and decodes a query string (without `?`). Broken escapes stay as they are.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (unescape(name, true), unescape(value, true))
                })
                .collect(),
        )
    }

    /// Returns the first value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Returns the first value of `name`, or the empty string, which Docker takes for absence.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Returns every value of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Returns the boolean `name`: false when absent.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_true)
    }

    /// Returns the boolean `name`, or `default` when absent.
    #[must_use]
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, is_true)
    }

    /// Returns the number `name`; none when absent or empty.
    ///
    /// # Errors
    /// The value is not a number; the message names it.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        match self.get(name).map(str::trim) {
            None | Some("") => Ok(None),
            Some(value) => value
                .parse()
                .map(Some)
                .map_err(|_| format!("invalid value for `{name}`: `{value}` is not a number")),
        }
    }
}

/// Reads a boolean as Docker does: everything but ``, `0`, `no`, `false` and `none` is true.
#[must_use]
pub fn is_true(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
}

/// Decodes `%41` escapes, and `+` as a space when `form`; bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn unescape(text: &str, form: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => match hex_pair(bytes.get(at + 1..at + 3)) {
                Some(byte) => {
                    out.push(byte);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            b'+' if form => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Encodes what is not a letter, digit or one of `-_.~` as `%41` escapes.
#[must_use]
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes every write");
        }
        out
    })
}

fn hex_pair(pair: Option<&[u8]>) -> Option<u8> {
    let &[high, low] = pair? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_follow_docker() {
        let query = Query::parse("a=1&b=0&c=False&d&e=&f=no&g=yes&h=none&i=TRUE");
        let flags: Vec<bool> =
            "abcdefghi".chars().map(|name| query.flag(&name.to_string())).collect();
        assert_eq!(flags, [true, false, false, false, false, false, true, false, true]);
        assert!(query.flag_or("zz", true) && !query.flag("zz"));
    }

    #[test]
    fn pairs_decode_and_broken_escapes_stay() {
        let query = Query::parse("names=a&names=b%2Fc&x=1+2%20&y=%zz%4&filters=%7B%7D&&=v");
        assert_eq!(query.all("names").collect::<Vec<_>>(), ["a", "b/c"]);
        assert_eq!(query.text("x"), "1 2 ");
        assert_eq!(query.text("y"), "%zz%4");
        assert_eq!(query.text("filters"), "{}");
        assert_eq!(query.text(""), "v");
        assert_eq!(
            Query::parse("t=x").number::<i64>("t").unwrap_err(),
            "invalid value for `t`: `x` is not a number"
        );
        assert_eq!(Query::parse("t=-1").number("t"), Ok(Some(-1)));
        assert_eq!(Query::parse("t=").number::<i64>("t"), Ok(None));
    }

    #[test]
    fn escape_and_unescape_are_inverse() {
        for text in ["", "a b+c", "ü/%&=?#", "{\"label\":{\"a=b\":true}}"] {
            assert_eq!(unescape(&escape(text), true), text);
        }
    }
}
