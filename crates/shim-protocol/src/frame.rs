//! The codec: frames to bytes and back, see the drawing in the crate's documentation.

use crate::message::Message;
use std::error::Error;
use std::fmt;
use types::Kind;

/// The protocol version that this crate speaks.
pub const VERSION: u8 = 1;
/// Length of a frame's header in bytes.
pub const HEADER_LEN: usize = 8;
/// The longest body in bytes. An exec's environment is the largest thing that is ever sent; the kernel's own limit is 2 MiB.
pub const MAX_BODY: usize = 8 << 20;
/// The most descriptors that come with one frame.
pub const MAX_DESCRIPTORS: u16 = 4;

const MAGIC: u8 = b'B';

/// Why bytes are no frame.
#[derive(Debug)]
pub enum FrameError {
    /// The first byte is not the magic one: the stream is out of step.
    Magic {
        /// What was found.
        found: u8,
    },
    /// A version that this crate does not speak.
    Version {
        /// What was found.
        found: u8,
    },
    /// A body longer than [`MAX_BODY`].
    TooLong {
        /// The length that the header claims.
        len: usize,
    },
    /// More descriptors than [`MAX_DESCRIPTORS`].
    TooManyDescriptors {
        /// The number that the header claims.
        count: u16,
    },
    /// A body that is no [`Message`].
    Body {
        /// What the JSON parser says.
        err: serde_json::Error,
    },
}

impl FrameError {
    /// What this means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Magic { found } => write!(f, "read frame: first byte is `{found:#04x}`"),
            FrameError::Version { found } => write!(f, "read frame: unknown version `{found}`"),
            FrameError::TooLong { len } => write!(f, "read frame: body of `{len}` bytes"),
            FrameError::TooManyDescriptors { count } => {
                write!(f, "read frame: `{count}` descriptors")
            }
            FrameError::Body { .. } => f.write_str("parse `message`"),
        }
    }
}

impl Error for FrameError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            FrameError::Body { err } => Some(err),
            _ => None,
        }
    }
}

/// The first eight bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Descriptors that came with the frame.
    pub descriptors: u16,
    /// Length of the body in bytes.
    pub body_len: usize,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// `Invalid`: not a header of this protocol, or over its limits.
    pub fn parse(bytes: [u8; HEADER_LEN]) -> Result<Header, FrameError> {
        let [magic, version, d0, d1, l0, l1, l2, l3] = bytes;
        if magic != MAGIC {
            return Err(FrameError::Magic { found: magic });
        }
        if version != VERSION {
            return Err(FrameError::Version { found: version });
        }
        let descriptors = u16::from_be_bytes([d0, d1]);
        if descriptors > MAX_DESCRIPTORS {
            return Err(FrameError::TooManyDescriptors { count: descriptors });
        }
        let body_len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if body_len > MAX_BODY {
            return Err(FrameError::TooLong { len: body_len });
        }
        Ok(Header { descriptors, body_len })
    }
}

/// Makes the bytes of one frame. `descriptors` of them must be sent together with the first byte.
///
/// # Errors
/// `Invalid`: the message is over the protocol's limits.
pub fn encode(message: &Message, descriptors: u16) -> Result<Vec<u8>, FrameError> {
    if descriptors > MAX_DESCRIPTORS {
        return Err(FrameError::TooManyDescriptors { count: descriptors });
    }
    let mut frame = vec![0; HEADER_LEN];
    serde_json::to_writer(&mut frame, message).map_err(|err| FrameError::Body { err })?;
    let len = frame.len() - HEADER_LEN;
    if len > MAX_BODY {
        return Err(FrameError::TooLong { len });
    }
    let [d0, d1] = descriptors.to_be_bytes();
    let [l0, l1, l2, l3] =
        u32::try_from(len).map_err(|_| FrameError::TooLong { len })?.to_be_bytes();
    frame[..HEADER_LEN].copy_from_slice(&[MAGIC, VERSION, d0, d1, l0, l1, l2, l3]);
    Ok(frame)
}

/// A frame found at the start of some bytes.
type Found = (Message, u16, usize);

/// Reads one frame from the start of `bytes`: the message, its number of descriptors and the frame's length. `None`: more bytes are
/// needed.
///
/// # Errors
/// `Invalid`: the bytes are no frame. [`FrameError::Body`] leaves the stream in step, everything else does not.
pub fn decode(bytes: &[u8]) -> Result<Option<Found>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        // Bytes that can never become a header are refused before the rest arrives.
        return match bytes.first() {
            Some(&found) if found != MAGIC => Err(FrameError::Magic { found }),
            _ => Ok(None),
        };
    };
    let header = Header::parse(*header)?;
    let Some(body) = rest.get(..header.body_len) else {
        return Ok(None);
    };
    let message = serde_json::from_slice(body).map_err(|err| FrameError::Body { err })?;
    Ok(Some((message, header.descriptors, HEADER_LEN + header.body_len)))
}

/// Collects bytes as they come from a stream and cuts them into messages.
///
/// Its memory is bounded by [`MAX_BODY`] and given back when everything was consumed.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Adds bytes read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next complete message and its number of descriptors.
    ///
    /// # Errors
    /// As [`decode`]. The connection is to be closed then.
    pub fn next_message(&mut self) -> Result<Option<(Message, u16)>, FrameError> {
        let Some((message, descriptors, len)) = decode(&self.bytes)? else {
            return Ok(None);
        };
        if len == self.bytes.len() {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..len);
        }
        Ok(Some((message, descriptors)))
    }
}

#[cfg(test)]
mod tests;
