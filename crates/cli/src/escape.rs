//! The keys that detach a terminal from its container.

/// Ctrl-P Ctrl-Q.
const DEFAULT: [u8; 2] = [16, 17];

/// Reads `ctrl-p,ctrl-q` or `a,b`; the empty string is the default.
///
/// # Errors
/// Docker's words for a key that does not exist.
pub(crate) fn parse(keys: &str) -> Result<Vec<u8>, String> {
    if keys.is_empty() {
        return Ok(DEFAULT.to_vec());
    }
    keys.split(',').map(key).collect()
}

fn key(text: &str) -> Result<u8, String> {
    let control = |c: u8| match c {
        b'a'..=b'z' => Some(c - b'a' + 1),
        b'@' => Some(0),
        b'[' => Some(27),
        b'\\' => Some(28),
        b']' => Some(29),
        b'^' => Some(30),
        b'_' => Some(31),
        _ => None,
    };
    let code = match (text.len(), text.strip_prefix("ctrl-").map(str::as_bytes)) {
        (1, _) => Some(text.as_bytes()[0]),
        (_, Some([c])) => control(*c),
        _ => None,
    };
    code.ok_or_else(|| format!("invalid detach keys ({text}): Unknown character: '{text}'"))
}

/// Watches typed bytes for the sequence.
#[derive(Debug)]
pub(crate) struct Watch {
    keys: Vec<u8>,
    matched: usize,
}

/// What to do with typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// They go on.
    Pass(Vec<u8>),
    /// These go on, and then the terminal is detached.
    Detach(Vec<u8>),
}

impl Watch {
    /// Watches for `keys`.
    pub(crate) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Takes typed bytes; a beginning of the sequence is held back until it is clear that it is none.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Typed {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.keys.get(self.matched) != Some(&byte) {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
            } else {
                out.push(byte);
            }
            if self.matched > 0 && self.matched == self.keys.len() {
                return Typed::Detach(out);
            }
        }
        Typed::Pass(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        assert_eq!(parse("").unwrap(), [16, 17]);
        assert_eq!(parse("ctrl-a,x,ctrl-]").unwrap(), [1, b'x', 29]);
        assert!(parse("ctrl-ä").is_err());
        assert!(parse("foo").is_err());
    }

    #[test]
    fn the_sequence_detaches_across_reads() {
        let mut watch = Watch::new(parse("").unwrap());
        assert_eq!(watch.feed(b"ls\x10"), Typed::Pass(b"ls".to_vec()));
        assert_eq!(watch.feed(b"\x11rest"), Typed::Detach(Vec::new()));
    }

    #[test]
    fn a_half_sequence_is_passed_on() {
        let mut watch = Watch::new(parse("").unwrap());
        assert_eq!(watch.feed(b"\x10"), Typed::Pass(Vec::new()));
        assert_eq!(watch.feed(b"x\x10\x10"), Typed::Pass(b"\x10x\x10".to_vec()));
        assert_eq!(watch.feed(b"\x11"), Typed::Detach(Vec::new()));
    }
}
