//! Decodes anything as an attach stream.
#![no_main]

use api::stdcopy::{Decoder, Stream};
use libfuzzer_sys::fuzz_target;

/// Feeds pieces of `step` bytes; returns the bytes of each stream in order, and whether the stream broke.
fn payloads(data: &[u8], step: usize) -> (Vec<(Stream, u8)>, Option<u8>, bool) {
    let mut decoder = Decoder::new();
    let mut bytes = Vec::new();
    for piece in data.chunks(step) {
        let fed = decoder.feed(piece, |stream, payload| {
            bytes.extend(payload.iter().map(|byte| (stream, *byte)));
        });
        if let Err(bad) = fed {
            return (bytes, Some(bad.stream), false);
        }
    }
    (bytes, None, decoder.at_boundary())
}

fuzz_target!(|data: &[u8]| {
    let whole = payloads(data, data.len().max(1));
    assert!(whole.0.len() <= data.len());
    assert_eq!(whole, payloads(data, 1));
    assert_eq!(whole, payloads(data, 5));
});
