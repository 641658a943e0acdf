//! `--filter name=value`.

use std::collections::{BTreeMap, BTreeSet};

/// One filter that was typed.
#[derive(Clone, Debug)]
pub(crate) struct Filter(String, String);

/// Reads `name=value`.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(text: &str) -> Result<Filter, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("bad format of filter (expected name=value)".into());
    };
    Ok(Filter(name.trim().to_lowercase(), value.trim().to_owned()))
}

/// The filters as the API takes them: `{"label":{"x":true}}`; empty when there are none.
pub(crate) fn encode(filters: &[Filter]) -> String {
    encode_pairs(filters.iter().map(|Filter(name, value)| (name.as_str(), value.as_str())))
}

/// The same of names and values.
pub(crate) fn encode_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in pairs {
        all.entry(name).or_default().insert(value);
    }
    if all.is_empty() {
        return String::new();
    }
    let map: BTreeMap<&str, BTreeMap<&str, bool>> = all
        .into_iter()
        .map(|(name, values)| (name, values.into_iter().map(|value| (value, true)).collect()))
        .collect();
    serde_json::to_string(&map).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_maps_of_maps() {
        let filters = [
            parse("label=a=b").unwrap(),
            parse("status=running").unwrap(),
            parse("label=x").unwrap(),
        ];
        assert_eq!(
            encode(&filters),
            r#"{"label":{"a=b":true,"x":true},"status":{"running":true}}"#
        );
        assert_eq!(encode(&[]), "");
        assert_eq!(parse("x").unwrap_err(), "bad format of filter (expected name=value)");
    }
}
