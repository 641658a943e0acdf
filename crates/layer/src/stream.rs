//! From compressed bytes to a counted, hashed and bounded stream.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};
use types::Digest;

use crate::Error;

const CHUNK: usize = 128 * 1024;
/// 2^27 bytes: what zstd itself takes without `--long`; a larger window is a way to eat memory.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Decompresses `input` according to its first bytes: gzip (every member), zstd (every frame), or as it is.
///
/// # Errors
/// `Invalid` for bzip2 and xz, which are not supported, and when the first bytes cannot be read.
pub fn decompress<'a>(input: impl Read + 'a) -> Result<Box<dyn Read + 'a>, Error> {
    decompress_named(input, "stream")
}

pub(crate) fn decompress_named<'a>(
    mut input: impl Read + 'a,
    layer: &str,
) -> Result<Box<dyn Read + 'a>, Error> {
    let broken = |source| Error::Input { layer: layer.to_owned(), after: String::new(), source };
    let unsupported = |format| Err(Error::Compression { layer: layer.to_owned(), format });
    let mut magic = Vec::with_capacity(6);
    (&mut input).take(6).read_to_end(&mut magic).map_err(broken)?;
    let whole = Cursor::new(magic.clone()).chain(input);
    match magic.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(Gzip::new(BufReader::with_capacity(CHUNK, whole)))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let mut decoder = zstd::stream::read::Decoder::new(whole).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(broken)?;
            Ok(Box::new(decoder))
        }
        [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => unsupported("xz"),
        _ => Ok(Box::new(whole)),
    }
}

/// All members of a gzip stream one after the other; what follows the last one and is no member is ignored, as gzip(1) does.
struct Gzip<R: BufRead> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gzip<R> {
    fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.member = next_member(self.member.take())?;
        }
        Ok(0)
    }
}

fn next_member<R: BufRead>(done: Option<GzDecoder<R>>) -> io::Result<Option<GzDecoder<R>>> {
    let Some(done) = done else { return Ok(None) };
    let mut input = done.into_inner();
    let more = input.fill_buf()?.first() == Some(&0x1f);
    Ok(more.then(|| GzDecoder::new(input)))
}

/// A stream read in large pieces: every byte is counted and hashed once, and none beyond the limit is delivered.
pub(crate) struct Source<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    hash: Sha256,
    left: u64,
}

/// The words of the error that ends a stream longer than its limit.
pub(crate) const TOO_LONG: &str = "the stream is longer than the limit";

impl<R: Read> Source<R> {
    pub(crate) fn new(input: R, most_bytes: u64) -> Self {
        let buffer = vec![0; CHUNK].into_boxed_slice();
        Self { input, buffer, start: 0, end: 0, hash: Sha256::new(), left: most_bytes }
    }

    /// Returns what is buffered, reading when nothing is; empty at the end of the stream.
    pub(crate) fn fill(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end {
            match self.input.read(&mut self.buffer) {
                Ok(0) => return Ok(&[]),
                Ok(count) => {
                    let Some(left) = self.left.checked_sub(count as u64) else {
                        return Err(io::Error::other(TOO_LONG));
                    };
                    self.left = left;
                    self.hash.update(&self.buffer[..count]);
                    (self.start, self.end) = (0, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Fills as much of `block` as the stream still has; returns how much that is.
    pub(crate) fn read_block(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < block.len() {
            let chunk = self.fill()?;
            if chunk.is_empty() {
                break;
            }
            let count = chunk.len().min(block.len() - filled);
            block[filled..filled + count].copy_from_slice(&chunk[..count]);
            self.consume(count);
            filled += count;
        }
        Ok(filled)
    }

    /// Reads to the end and returns the digest of the whole stream.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        loop {
            let count = self.fill()?.len();
            if count == 0 {
                return Ok(Digest::from_sha256(&self.hash.finalize().into()));
            }
            self.consume(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(input: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        decompress(input).unwrap().read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn every_format_reads_back() {
        let text = b"some text ".repeat(1000);
        assert_eq!(read(&text).unwrap(), text);
        assert_eq!(read(&gzip(&text)).unwrap(), text);
        assert_eq!(read(&zstd::encode_all(&text[..], 1).unwrap()).unwrap(), text);
    }

    #[test]
    fn gzip_members_are_joined_and_garbage_behind_them_is_ignored() {
        let mut two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read(&two).unwrap(), b"one two");
        two.extend_from_slice(b"garbage");
        assert_eq!(read(&two).unwrap(), b"one two");
    }

    #[test]
    fn a_torn_gzip_is_an_error() {
        let whole = gzip(&b"some text ".repeat(1000));
        for length in [3, 12, whole.len() / 2, whole.len() - 1] {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn other_compressions_are_named() {
        let error = decompress(&b"BZh91AY"[..]).err().unwrap();
        assert_eq!(error.to_string(), "unpack `stream`: bzip2 compression is not supported");
        assert!(decompress(&b"\xfd7zXZ\0rest"[..]).is_err());
    }

    #[test]
    fn a_zstd_window_beyond_the_bound_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(30).unwrap();
        encoder.write_all(&vec![7; 1 << 20]).unwrap();
        assert!(read(&encoder.finish().unwrap()).is_err());
    }

    #[test]
    fn a_stream_beyond_its_limit_ends_in_an_error() {
        let source = Source::new(io::repeat(0).take(5000), 4999);
        assert_eq!(source.finish().unwrap_err().to_string(), TOO_LONG);
        let source = Source::new(&b"abc"[..], 3);
        assert_eq!(source.finish().unwrap(), Digest::of(b"abc"));
    }
}
