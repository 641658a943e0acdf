//! Docker's multiplexed stream: each piece of output with a header of eight bytes.
//!
//! ```text
//!  0        1    2    3    4                       8
//! +--------+----+----+----+-----------------------+---------+
//! | stream | 0  | 0  | 0  | length, u32 big-endian| payload |
//! +--------+----+----+----+-----------------------+---------+
//! ```
//!
//! Source: Engine API, `POST /containers/{id}/attach`, "Stream format".

/// Length of a header in bytes.
pub const HEADER_LEN: usize = 8;

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stream {
    /// Standard input (never sent by a daemon).
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// An error of the daemon itself.
    System = 3,
}

impl Stream {
    /// The name used in `json-file` logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdin => "stdin",
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::System => "systemerr",
        }
    }
}

/// Makes the header of a frame.
#[must_use]
pub fn header(stream: Stream, payload_len: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = payload_len.to_be_bytes();
    [stream as u8, 0, 0, 0, a, b, c, d]
}

/// Reads a header; `None` if the stream byte is none of the four.
#[must_use]
pub fn parse_header(bytes: [u8; HEADER_LEN]) -> Option<(Stream, u32)> {
    let [stream, _, _, _, a, b, c, d] = bytes;
    let stream = match stream {
        0 => Stream::Stdin,
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        3 => Stream::System,
        _ => return None,
    };
    Some((stream, u32::from_be_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let bytes = header(Stream::Stderr, 0x0102_0304);
        assert_eq!(bytes, [2, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(parse_header(bytes), Some((Stream::Stderr, 0x0102_0304)));
        assert_eq!(parse_header([7, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
