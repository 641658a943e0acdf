//! Docker's `filters=` values.

use std::collections::BTreeMap;

use crate::{EngineError, Result};

/// Filter values by name. Several values of one name are alternatives, except for labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads both forms that clients send: `{"name":["a"]}` and `{"name":{"a":true}}`; an empty text is no filter.
    ///
    /// # Errors
    /// `Invalid`: not JSON of either form.
    pub fn parse(text: &str) -> Result<Self> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Values {
            Set(BTreeMap<String, bool>),
            List(Vec<String>),
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let raw: BTreeMap<String, Values> = serde_json::from_str(text)
            .map_err(|_| EngineError::invalid(format!("invalid filter '{}'", clip(text))))?;
        let values = |v| match v {
            Values::Set(set) => set.into_iter().filter(|(_, on)| *on).map(|(k, _)| k).collect(),
            Values::List(list) => list,
        };
        Ok(Self(raw.into_iter().map(|(name, v)| (name, values(v))).collect()))
    }

    /// Adds one value.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_default().push(value.to_owned());
    }

    /// The values of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether there is no filter at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(Vec::is_empty)
    }

    /// Whether `name` is given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// Refuses names that are not in `known`.
    ///
    /// # Errors
    /// `Invalid`, naming the first unknown filter.
    pub fn allow_only(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(EngineError::invalid(format!("invalid filter '{}'", clip(name)))),
        }
    }

    /// Whether one of the values of `name` satisfies `test`, or none is given.
    pub fn any(&self, name: &str, test: impl Fn(&str) -> bool) -> bool {
        let values = self.get(name);
        values.is_empty() || values.iter().any(|value| test(value))
    }

    /// Whether `labels` has every `key` or `key=value` of the filter `name`.
    #[must_use]
    pub fn labels(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(name).iter().all(|want| has_label(want, labels))
    }

    /// A boolean filter: none when absent.
    ///
    /// # Errors
    /// `Invalid`: neither true nor false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name).first() else { return Ok(None) };
        match value.as_str() {
            "1" | "true" | "True" | "TRUE" | "t" => Ok(Some(true)),
            "0" | "false" | "False" | "FALSE" | "f" => Ok(Some(false)),
            _ => Err(EngineError::invalid(format!("invalid filter '{name}={}'", clip(value)))),
        }
    }
}

fn has_label(want: &str, labels: &BTreeMap<String, String>) -> bool {
    match want.split_once('=') {
        None => labels.contains_key(want),
        Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
