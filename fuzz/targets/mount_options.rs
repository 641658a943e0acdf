//! Reads anything as the options of a mount: nothing is set and cleared at once, nothing is lost, and the order of the words counts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::doors::mount_options;

/// The access time field of mount_setattr(2), in which a value is cleared by clearing the whole.
const ATIME: u64 = 0x70;

fuzz_target!(|text: &str| {
    let words: Vec<String> = text.split(',').map(str::to_owned).collect();
    let read = mount_options(&words);
    for (set, clear) in [read.own, read.recursive] {
        assert_eq!(set & clear & !ATIME, 0, "set and cleared: {words:?}");
        assert!(matches!(set & ATIME, 0 | 0x10 | 0x20), "two access times: {words:?}");
    }
    assert!(read.data.len() + read.propagations <= words.len());
    for (key, value) in &read.data {
        let whole = match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        };
        assert!(words.contains(&whole) || value.is_none(), "{whole} was not given: {words:?}");
    }
    // The last word counts.
    let with = |word: &str| mount_options(&[&words[..], &[word.to_owned()]].concat());
    for (word, bit) in [("ro", 1), ("nosuid", 2), ("nodev", 4), ("noexec", 8)] {
        assert_eq!(with(word).own.0 & bit, bit);
        assert_eq!(with(&format!("r{word}")).recursive.0 & bit, bit);
    }
    for (word, bit) in [("rw", 1), ("suid", 2), ("dev", 4), ("exec", 8)] {
        assert_eq!(with(word).own.0 & bit, 0);
        assert_eq!(with(&format!("r{word}")).recursive.0 & bit, 0);
    }
});
