//! Parses anything as every image document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::oci::image::{ImageConfig, Index, Manifest};

fn round_trip<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(document) = serde_json::from_slice::<T>(data) else { return };
    let printed = serde_json::to_vec(&document).expect("what was read can be printed");
    let again: T = serde_json::from_slice(&printed).expect("what was printed can be read");
    assert_eq!(serde_json::to_vec(&again).expect("and printed"), printed);
}

fuzz_target!(|data: &[u8]| {
    round_trip::<Manifest>(data);
    round_trip::<Index>(data);
    round_trip::<ImageConfig>(data);
});
