//! The `filters` query parameter: `{"label":["a=b"]}` or, from Go clients, `{"label":{"a=b":true}}`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Filters by key; the values of one key are alternatives (all must hold for `label`), the keys must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

/// Why a `filters` parameter is refused; Display is Docker's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadFilter {
    /// It is not JSON of either form.
    Syntax {
        /// What was given, shortened.
        text: String,
    },
    /// The endpoint does not know the key.
    Key {
        /// The key.
        key: String,
    },
    /// The key does not take the value.
    Value {
        /// The key.
        key: String,
        /// The values.
        values: Vec<String>,
    },
}

impl std::fmt::Display for BadFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Syntax { .. } => f.write_str("invalid filter"),
            Self::Key { key } => write!(f, "invalid filter '{key}'"),
            Self::Value { key, values } => {
                write!(f, "invalid filter '{key}=[{}]'", values.join(" "))
            }
        }
    }
}

impl std::error::Error for BadFilter {}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Map(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl Filters {
    /// Reads the parameter; the empty string is no filter. A key with no value is kept: it matches nothing to compare with.
    ///
    /// # Errors
    /// The text is neither form.
    pub fn parse(text: &str) -> Result<Self, BadFilter> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let syntax = || BadFilter::Syntax { text: text.chars().take(100).collect() };
        let raw: BTreeMap<String, Option<Values>> =
            serde_json::from_str(text).map_err(|_| syntax())?;
        let values = |values| match values {
            Some(Values::Map(map)) => {
                map.into_iter().filter(|(_, on)| *on).map(|(v, _)| v).collect()
            }
            Some(Values::List(list)) => list.into_iter().collect(),
            None => BTreeSet::new(),
        };
        Ok(Self(raw.into_iter().map(|(key, v)| (key, values(v))).collect()))
    }

    /// Refuses keys that are not in `known`.
    ///
    /// # Errors
    /// The first unknown key.
    pub fn only(self, known: &[&str]) -> Result<Self, BadFilter> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(BadFilter::Key { key: key.clone() }),
            None => Ok(self),
        }
    }

    /// Adds a value.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().insert(value.to_owned());
    }

    /// Returns the values of `key`.
    pub fn get(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Tells whether `key` was given.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Tells whether nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns every key with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.0.iter().map(|(key, values)| (key.as_str(), values))
    }

    /// Tells whether `key` is absent or has exactly `value` among its values.
    #[must_use]
    pub fn exact(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_none_or(|values| values.is_empty() || values.contains(value))
    }

    /// Returns the boolean of `key`, written as Docker allows: `1 true t` and `0 false f`; none when absent.
    ///
    /// # Errors
    /// The key has no value, another one, or both.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, BadFilter> {
        let Some(values) = self.0.get(key) else { return Ok(None) };
        let yes =
            values.iter().any(|v| matches!(v.to_ascii_lowercase().as_str(), "1" | "t" | "true"));
        let no =
            values.iter().any(|v| matches!(v.to_ascii_lowercase().as_str(), "0" | "f" | "false"));
        if yes == no || values.len() > 1 {
            let values = values.iter().cloned().collect();
            return Err(BadFilter::Value { key: key.to_owned(), values });
        }
        Ok(Some(yes))
    }

    /// Tells whether `labels` satisfies every `label` filter (`name` or `name=value`) under `key`.
    #[must_use]
    pub fn labels_match(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key).all(|want| match want.split_once('=') {
            None => labels.contains_key(want),
            Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
        })
    }

    /// Renders the Go form, which every version reads; empty when there are no filters.
    #[must_use]
    pub fn render(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let map: BTreeMap<&str, BTreeMap<&str, bool>> = self
            .0
            .iter()
            .map(|(key, values)| {
                (key.as_str(), values.iter().map(|v| (v.as_str(), true)).collect())
            })
            .collect();
        serde_json::to_string(&map).expect("a map of strings serialises")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let go = Filters::parse(
            r#"{"label":{"a=b":true,"c":true,"no":false},"status":{"running":true}}"#,
        );
        let py = Filters::parse(r#"{"label":["a=b","c"],"status":["running"]}"#);
        assert_eq!(go, py);
        let go = go.unwrap();
        assert_eq!(Filters::parse(&go.render()), py);
        assert_eq!(go.get("label").collect::<Vec<_>>(), ["a=b", "c"]);
        assert!(go.exact("status", "running") && !go.exact("status", "exited"));
        assert!(Filters::parse("").unwrap().is_empty());
        assert!(Filters::parse("{}").unwrap().is_empty());
    }

    #[test]
    fn bad_filters_are_named() {
        for bad in ["{", "[]", "1", r#"{"a":1}"#, r#"{"a":{"b":1}}"#, r#"{"a":"b"}"#] {
            assert_eq!(Filters::parse(bad).unwrap_err().to_string(), "invalid filter", "{bad}");
        }
        let unknown = Filters::parse(r#"{"x":["1"]}"#).unwrap().only(&["label"]);
        assert_eq!(unknown.unwrap_err().to_string(), "invalid filter 'x'");
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Filters::parse(&deep).is_err());
    }

    #[test]
    fn booleans_and_labels() {
        let f = Filters::parse(r#"{"dangling":["true"],"b":["x"],"label":["k","n=v"]}"#).unwrap();
        assert_eq!(f.boolean("dangling"), Ok(Some(true)));
        assert_eq!(f.boolean("none"), Ok(None));
        assert_eq!(f.boolean("b").unwrap_err().to_string(), "invalid filter 'b=[x]'");
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        assert!(f.labels_match("label", &labels(&[("k", "1"), ("n", "v")])));
        assert!(!f.labels_match("label", &labels(&[("n", "v")])));
    }
}
