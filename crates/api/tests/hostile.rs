//! Whatever a client sends, the parsers answer; what they print, they read.

use api::auth::AuthConfig;
use api::filters::Filters;
use api::pathstat::PathStat;
use api::query::{Query, escape, unescape};
use api::stdcopy::{Decoder, Stream, frame};
use api::version::ApiVersion;
use proptest::prelude::*;

fn stream() -> impl Strategy<Value = Stream> {
    prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        let _ = Filters::parse(&text);
        let _ = AuthConfig::decode(&text);
        let _ = PathStat::decode(&text);
        let _ = text.parse::<ApiVersion>();
        let _ = api::time::parse(&text, 0);
        let query = Query::parse(&text);
        let _ = query.number::<i64>("t");
    }

    #[test]
    fn times_that_almost_fit_are_read_or_refused(
        text in "[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}([T ][0-9:.]{0,14}(Z|[+-][0-9:]{0,6}|é)?)?|[0-9.hmsnuµ+-]{0,24}"
    ) {
        let _ = api::time::parse(&text, 1 << 60);
    }

    #[test]
    fn times_that_are_printed_read_back(nanos in -60_000_000_000_000_000_000i128..200_000_000_000_000_000_000) {
        prop_assert_eq!(api::time::parse_rfc3339(&api::time::rfc3339(nanos)), Some(nanos));
        prop_assert_eq!(api::time::parse_rfc3339(&api::time::rfc3339_fixed(nanos)), Some(nanos));
    }

    #[test]
    fn queries_keep_what_was_escaped(text in any::<String>()) {
        prop_assert_eq!(unescape(&escape(&text), true), text.clone());
        let pair = format!("a=1&x={}&b=2", escape(&text));
        let query = Query::parse(&pair);
        prop_assert_eq!(query.get("x"), Some(text.as_str()));
    }

    #[test]
    fn filters_keep_what_was_rendered(pairs in prop::collection::vec(("[a-z]{1,8}", any::<String>()), 0..8)) {
        let mut filters = Filters::default();
        for (key, value) in &pairs {
            filters.add(key, value);
        }
        prop_assert_eq!(Filters::parse(&filters.render()), Ok(filters));
    }

    #[test]
    fn frames_survive_any_cut(
        frames in prop::collection::vec((stream(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        cuts in prop::collection::vec(1usize..20, 1..40),
    ) {
        let mut wire: Vec<u8> = frames.iter().flat_map(|(s, data)| frame(*s, data)).collect();
        let mut decoder = Decoder::new();
        let mut heard = Vec::new();
        for cut in cuts.iter().cycle() {
            if wire.is_empty() {
                break;
            }
            let rest = wire.split_off((*cut).min(wire.len()));
            let fed = decoder.feed(&wire, |s, data| heard.extend(data.iter().map(|b| (s, *b))));
            prop_assert_eq!(fed, Ok(()));
            wire = rest;
        }
        let sent: Vec<_> = frames.iter().flat_map(|(s, d)| d.iter().map(|b| (*s, *b))).collect();
        prop_assert_eq!(heard, sent);
        prop_assert!(decoder.at_boundary());
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::new();
        let mut total = 0;
        let _ = decoder.feed(&bytes, |_, data| total += data.len());
        prop_assert!(total <= bytes.len());
    }
}
