//! Docker's framing of two streams in one.
//!
//! ```text
//! byte   0        1 2 3   4 5 6 7          8 …
//!        stream   0 0 0   length (BE u32)  payload
//!        0 stdin, 1 stdout, 2 stderr, 3 an error of the engine itself
//! ```
//!
//! A frame never splits its header from the client's view: headers and payloads may be cut anywhere by the socket, so the
//! splitter keeps what it has seen of a header and how much of a payload is missing.

use std::io;

/// Where a piece belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Cuts a framed byte stream into pieces.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    header: [u8; 8],
    seen: usize,
    missing: usize,
}

impl Splitter {
    /// Calls `piece` for every part of `bytes` that is payload.
    ///
    /// # Errors
    /// What `piece` answers, or a stream number that does not exist.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut piece: impl FnMut(Stream, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.missing == 0 {
                let take = (8 - self.seen).min(bytes.len());
                self.header[self.seen..self.seen + take].copy_from_slice(&bytes[..take]);
                self.seen += take;
                bytes = &bytes[take..];
                if self.seen < 8 {
                    return Ok(());
                }
                let [_, _, _, _, a, b, c, d] = self.header;
                self.missing = u32::from_be_bytes([a, b, c, d]) as usize;
                self.seen = if self.missing == 0 { 0 } else { 8 };
                continue;
            }
            let stream = stream_of(self.header[0])?;
            let take = self.missing.min(bytes.len());
            piece(stream, &bytes[..take])?;
            self.missing -= take;
            bytes = &bytes[take..];
            if self.missing == 0 {
                self.seen = 0;
            }
        }
        Ok(())
    }
}

fn stream_of(number: u8) -> io::Result<Stream> {
    match number {
        0 | 1 => Ok(Stream::Out),
        2 | 3 => Ok(Stream::Err),
        other => Err(io::Error::other(format!("unrecognized stream: {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, payload].concat()
    }

    fn split(pieces: impl Iterator<Item = Vec<u8>>) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut splitter = Splitter::default();
        for bytes in pieces {
            splitter.feed(&bytes, |stream, payload| {
                match stream {
                    Stream::Out => out.extend_from_slice(payload),
                    Stream::Err => err.extend_from_slice(payload),
                }
                Ok(())
            })?;
        }
        Ok((out, err))
    }

    #[test]
    fn every_cut_gives_the_same_streams() {
        let bytes =
            [frame(1, b"hello "), frame(2, b"oops"), frame(1, b""), frame(1, b"world")].concat();
        for size in 1..=bytes.len() {
            let (out, err) = split(bytes.chunks(size).map(<[u8]>::to_vec)).unwrap();
            assert_eq!(
                (out.as_slice(), err.as_slice()),
                (&b"hello world"[..], &b"oops"[..]),
                "cut by {size}"
            );
        }
    }

    #[test]
    fn unknown_streams_are_refused() {
        assert!(split(std::iter::once(frame(9, b"x"))).is_err());
    }
}
