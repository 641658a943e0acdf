//! Parses anything as an image reference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::Reference;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else { return };
    let canonical: Reference = reference.to_string().parse().expect("what was printed parses");
    assert_eq!(canonical, reference);
    // Docker's short form is ambiguous where a path on Docker Hub begins with what looks like a host, or is what looks like an id.
    let short = reference.familiar();
    let first = reference.path().split('/').next().unwrap_or_default();
    let like_host = first.contains(['.', ':']) || first == "localhost";
    let like_id = short.len() == 64 && short.bytes().all(|b| b.is_ascii_hexdigit());
    if !like_host && !like_id {
        let familiar: Reference = short.parse().expect("the short form parses");
        assert_eq!(familiar, reference);
    }
    let tagged = reference.clone().with_default_tag();
    assert!(tagged.tag().is_some() || tagged.digest().is_some());
    assert_eq!(tagged.domain(), reference.domain());
});
