//! The frames of attach, exec and logs without a terminal.
//!
//! ```text
//!  0        1   2   3    4               8                8+n
//! +--------+---+---+---+-----------------+------------------+
//! | stream | 0 | 0 | 0 | n, big-endian   | n bytes          |
//! +--------+---+---+---+-----------------+------------------+
//! ```
//! A header is never split by the writer; a reader may see it in pieces.

/// Where the bytes of a frame come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard input (never sent by a daemon).
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// The daemon itself failed; the payload is its message.
    System = 3,
}

/// The bytes of a frame's head.
pub const HEADER: usize = 8;

/// Makes the head of a frame of `len` bytes.
#[must_use]
pub fn header(stream: Stream, len: u32) -> [u8; HEADER] {
    let n = len.to_be_bytes();
    [stream as u8, 0, 0, 0, n[0], n[1], n[2], n[3]]
}

/// Makes a whole frame.
///
/// # Panics
/// When `payload` has 4 GiB or more.
#[must_use]
pub fn frame(stream: Stream, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a frame is shorter than 4 GiB");
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&header(stream, len));
    bytes.extend_from_slice(payload);
    bytes
}

/// A frame that names no known stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// The first byte of the frame.
    pub stream: u8,
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unrecognized input header: {}", self.stream)
    }
}

impl std::error::Error for BadFrame {}

/// Splits a byte stream into the payloads of its frames, without holding whole frames: memory use does not depend on what a
/// header claims.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    head: [u8; HEADER],
    have: usize,
    left: u32,
}

impl Decoder {
    /// Starts at a frame's boundary.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Feeds `input` and calls `sink` for each piece of payload, in order.
    ///
    /// # Errors
    /// A frame names no known stream; the pieces before it were delivered.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        mut sink: impl FnMut(Stream, &[u8]),
    ) -> Result<(), BadFrame> {
        while !input.is_empty() {
            if self.have < HEADER {
                input = self.take_head(input);
                if self.have < HEADER {
                    break;
                }
                stream_of(self.head[0])?;
            }
            let n = input.len().min(self.left as usize);
            let (piece, rest) = input.split_at(n);
            if n > 0 {
                sink(stream_of(self.head[0])?, piece);
            }
            self.left -= u32::try_from(n).expect("n is at most `left`, a u32");
            input = rest;
            if self.left == 0 {
                self.have = 0;
            }
        }
        Ok(())
    }

    /// Tells whether the input so far ends at a frame's boundary.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.have == 0
    }

    fn take_head<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let n = input.len().min(HEADER - self.have);
        let (piece, rest) = input.split_at(n);
        self.head[self.have..self.have + n].copy_from_slice(piece);
        self.have += n;
        if self.have == HEADER {
            self.left =
                u32::from_be_bytes([self.head[4], self.head[5], self.head[6], self.head[7]]);
        }
        rest
    }
}

fn stream_of(byte: u8) -> Result<Stream, BadFrame> {
    match byte {
        0 => Ok(Stream::Stdin),
        1 => Ok(Stream::Stdout),
        2 => Ok(Stream::Stderr),
        3 => Ok(Stream::System),
        stream => Err(BadFrame { stream }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], step: usize) -> Result<Vec<(Stream, Vec<u8>)>, BadFrame> {
        let mut out: Vec<(Stream, Vec<u8>)> = Vec::new();
        let mut decoder = Decoder::new();
        for piece in bytes.chunks(step) {
            decoder.feed(piece, |stream, data| match out.last_mut() {
                Some((last, have)) if *last == stream => have.extend_from_slice(data),
                _ => out.push((stream, data.to_vec())),
            })?;
        }
        assert!(decoder.at_boundary());
        Ok(out)
    }

    #[test]
    fn frames_survive_any_split() {
        let mut bytes = frame(Stream::Stdout, b"hello\n");
        bytes.extend(frame(Stream::Stderr, b"oops"));
        bytes.extend(frame(Stream::Stdout, b""));
        bytes.extend(frame(Stream::Stdout, &[0; 300]));
        let want = vec![
            (Stream::Stdout, b"hello\n".to_vec()),
            (Stream::Stderr, b"oops".to_vec()),
            (Stream::Stdout, vec![0; 300]),
        ];
        for step in 1..bytes.len() {
            assert_eq!(decode(&bytes, step).unwrap(), want, "step {step}");
        }
    }

    #[test]
    fn an_unknown_stream_is_an_error_and_a_huge_length_costs_nothing() {
        assert_eq!(decode(&[9, 0, 0, 0, 0, 0, 0, 1, b'x'], 3), Err(BadFrame { stream: 9 }));
        let mut decoder = Decoder::new();
        let mut seen = 0;
        decoder
            .feed(&[1, 0, 0, 0, 255, 255, 255, 255, b'x'], |_, data| seen += data.len())
            .unwrap();
        assert_eq!((seen, decoder.at_boundary()), (1, false));
    }
}
