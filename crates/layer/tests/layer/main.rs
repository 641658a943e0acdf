//! The public surface of the layer room, against hostile and ordinary tars.
#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod archive;
mod changes;
mod common;
mod hostile;
mod ordinary;
mod round_trip;
