//! Bytes as the inside of a JSON string, exactly as Docker's `json-file` driver writes them.
//!
//! `"`, `\`, newline and carriage return get their short escapes, other control characters and `<`, `>`, `&` become `\u00xx`, each
//! byte that is no valid UTF-8 becomes `\ufffd`, U+2028 and U+2029 are escaped; everything else stays as it is.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes that stay as they are: ASCII without the escaped ones.
const PLAIN: [bool; 256] = plain();

const fn plain() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        table[byte] = !matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&');
        byte += 1;
    }
    table
}

/// How many bytes are escaped at a time.
const PIECE: usize = 64;

/// An escape: the first `len` bytes of `text`.
#[derive(Clone, Copy)]
struct Escape {
    text: [u8; 6],
    len: usize,
}

/// The escape of each byte of ASCII.
const ESCAPES: [Escape; 128] = escapes();

const fn escapes() -> [Escape; 128] {
    let mut table = [Escape { text: *b"\\u0000", len: 6 }; 128];
    let mut byte = 0;
    while byte < 128 {
        table[byte].text[4] = HEX[byte >> 4];
        table[byte].text[5] = HEX[byte & 15];
        byte += 1;
    }
    table[b'"' as usize] = Escape { text: *b"\\\"    ", len: 2 };
    table[b'\\' as usize] = Escape { text: *b"\\\\    ", len: 2 };
    table[b'\n' as usize] = Escape { text: *b"\\n    ", len: 2 };
    table[b'\r' as usize] = Escape { text: *b"\\r    ", len: 2 };
    table
}

/// Appends `bytes` to `out`, escaped.
pub(crate) fn push(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(stop) = bytes.iter().position(|byte| !PLAIN[usize::from(*byte)]) {
        let (run, rest) = bytes.split_at(stop);
        out.extend_from_slice(run);
        bytes = if rest[0] < 0x80 { ascii(rest, out) } else { wide(rest, out) };
    }
    out.extend_from_slice(bytes);
}

/// One run of ASCII that does not stay as it is.
fn ascii<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let special = |byte: &u8| *byte < 0x80 && !PLAIN[usize::from(*byte)];
    let end = bytes.iter().position(|byte| !special(byte)).unwrap_or(bytes.len());
    let (run, rest) = bytes.split_at(end);
    // Collected in pieces: a container may write a device's zeros, six bytes each here.
    for piece in run.chunks(PIECE) {
        let mut text = [0; PIECE * 6];
        let mut len = 0;
        for &byte in piece {
            let escape = &ESCAPES[usize::from(byte & 0x7f)];
            text[len..len + 6].copy_from_slice(&escape.text);
            len += escape.len;
        }
        out.extend_from_slice(&text[..len]);
    }
    rest
}

/// One run of bytes from 0x80 on.
fn wide<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let end = bytes.iter().position(|byte| *byte < 0x80).unwrap_or(bytes.len());
    let (run, rest) = bytes.split_at(end);
    for chunk in run.utf8_chunks() {
        let valid = chunk.valid();
        if valid.contains(['\u{2028}', '\u{2029}']) {
            separators(valid, out);
        } else {
            out.extend_from_slice(valid.as_bytes());
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    rest
}

fn separators(text: &str, out: &mut Vec<u8>) {
    for letter in text.chars() {
        match letter {
            '\u{2028}' => out.extend_from_slice(b"\\u2028"),
            '\u{2029}' => out.extend_from_slice(b"\\u2029"),
            _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ascii_is_escaped_as_docker_does() {
        assert_eq!(escaped(b"plain text ~\x7f"), "plain text ~\x7f");
        assert_eq!(escaped(b"a\"b\\c\n\r\t\x00\x1b"), r#"a\"b\\c\n\r\u0009\u0000\u001b"#);
        assert_eq!(escaped(b"<a href=\"x\">&"), r#"\u003ca href=\"x\"\u003e\u0026"#);
    }

    #[test]
    fn every_invalid_byte_is_replaced_by_itself() {
        assert_eq!(escaped("grün \u{1F980}".as_bytes()), "grün \u{1F980}");
        assert_eq!(escaped(b"\xff\xfea"), r"\ufffd\ufffda");
        assert_eq!(escaped(b"\xe2\x82a"), r"\ufffd\ufffda", "a cut sequence: each byte");
        assert_eq!(escaped(b"\xed\xa0\x80"), r"\ufffd\ufffd\ufffd", "a surrogate");
        assert_eq!(escaped("\u{2028}x\u{2029}ü".as_bytes()), "\\u2028x\\u2029ü");
    }

    #[test]
    fn any_bytes_give_json_that_reads_back() {
        let mut state = 1u32;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(20_000)
        .collect();
        let json = format!("\"{}\"", escaped(&bytes));
        let back: String = serde_json::from_str(&json).unwrap();
        let lossy_per_byte: String = bytes
            .utf8_chunks()
            .map(|chunk| format!("{}{}", chunk.valid(), "\u{fffd}".repeat(chunk.invalid().len())))
            .collect();
        assert_eq!(back, lossy_per_byte);
    }
}
