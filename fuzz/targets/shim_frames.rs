//! Decodes anything as a stream of shim frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shim_protocol::{Decoder, Message, decode, encode};

/// Feeds pieces of `step` bytes; returns the messages and whether the stream broke.
fn messages(data: &[u8], step: usize) -> (Vec<(Message, u16)>, bool) {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for piece in data.chunks(step) {
        decoder.push(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

fuzz_target!(|data: &[u8]| {
    let (whole, broken) = messages(data, data.len().max(1));
    let (pieces, pieces_broken) = messages(data, 3);
    assert_eq!((format!("{whole:?}"), broken), (format!("{pieces:?}"), pieces_broken));
    for (message, descriptors) in whole {
        let bytes = encode(&message, descriptors).expect("what was decoded can be encoded");
        let (again, count, length) = decode(&bytes).expect("a frame").expect("a whole one");
        assert_eq!((count, length), (descriptors, bytes.len()));
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
    }
});
