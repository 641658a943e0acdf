//! Reads anything as the runtime's `state.json`; what can be read is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::state::Record;

fuzz_target!(|data: &[u8]| {
    let Ok(record) = serde_json::from_slice::<Record>(data) else { return };
    let written = serde_json::to_vec(&record).expect("a record can be written");
    let again: Record = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("a record can be written"), written);
    let group = record.group();
    let _ = (group.unified(), group.is_version_2(), group.directory("memory"));
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = runtime::state::parse_stat(text);
        let _ = runtime::state::check_id(text).map(|()| assert!(!text.contains(['/', '\0'])));
    }
});
