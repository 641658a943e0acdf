//! A JSON document that keeps the order of its keys.
//!
//! `inspect` and `{{json .}}` must show an answer in the order in which the engine wrote it; a sorted map would not.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// One JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Document {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Document>),
    Map(Vec<(String, Document)>),
}

static NULL: Document = Document::Null;

impl Document {
    /// Parses `bytes`; what is not JSON is null.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// The member `key`; null when there is none. A dot separates levels.
    pub(crate) fn at(&self, path: &str) -> &Document {
        let mut here = self;
        for key in path.split('.') {
            here = here.member(key).unwrap_or(&NULL);
        }
        here
    }

    /// The member `key`, which may itself contain dots.
    pub(crate) fn member(&self, key: &str) -> Option<&Document> {
        match self {
            Self::Map(members) => {
                members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The string at `path`, or the empty string.
    pub(crate) fn text(&self, path: &str) -> &str {
        match self.at(path) {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// The number at `path`, or zero.
    pub(crate) fn int(&self, path: &str) -> i64 {
        self.at(path).as_int()
    }

    /// The number at `path` as an unsigned one, or zero.
    pub(crate) fn uint(&self, path: &str) -> u64 {
        match self.at(path) {
            Self::Uint(n) => *n,
            other => u64::try_from(other.as_int()).unwrap_or(0),
        }
    }

    /// This number, or zero.
    pub(crate) fn as_int(&self) -> i64 {
        match self {
            Self::Int(n) => *n,
            Self::Uint(n) => i64::try_from(*n).unwrap_or(i64::MAX),
            #[expect(clippy::cast_possible_truncation, reason = "a size written as a float")]
            Self::Float(n) => *n as i64,
            _ => 0,
        }
    }

    /// Whether `path` is true.
    pub(crate) fn flag(&self, path: &str) -> bool {
        matches!(self.at(path), Self::Bool(true))
    }

    /// The elements at `path`; none when it is not a list.
    pub(crate) fn list(&self, path: &str) -> &[Document] {
        self.at(path).items()
    }

    /// The elements of this list.
    pub(crate) fn items(&self) -> &[Document] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The members at `path`; none when it is not an object.
    pub(crate) fn members(&self, path: &str) -> &[(String, Document)] {
        match self.at(path) {
            Self::Map(members) => members,
            _ => &[],
        }
    }

    /// This string, or the empty one.
    pub(crate) fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// The strings of the list at `path`.
    pub(crate) fn texts(&self, path: &str) -> Vec<&str> {
        self.list(path).iter().map(Self::as_text).collect()
    }

    /// The document on one line.
    pub(crate) fn compact(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The document indented by four spaces.
    pub(crate) fn pretty(&self) -> String {
        let mut out = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, format);
        let _ = self.serialize(&mut serializer);
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => s.serialize_unit(),
            Self::Bool(value) => s.serialize_bool(*value),
            Self::Int(value) => s.serialize_i64(*value),
            Self::Uint(value) => s.serialize_u64(*value),
            Self::Float(value) => s.serialize_f64(*value),
            Self::Text(value) => s.serialize_str(value),
            Self::List(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Self::Map(members) => {
                let mut map = s.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(Document::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(Document::Int(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(i64::try_from(value).map_or(Document::Uint(value), Document::Int))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
        Ok(Document::Float(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(Document::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Document, E> {
        Ok(Document::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Document::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Document::Map(members))
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives() {
        let text = r#"{"b":1,"a":[true,null,{}],"c":{"z":"x","y":1.5}}"#;
        let document = Document::parse(text.as_bytes());
        assert_eq!(document.compact(), text);
        assert_eq!(document.text("c.z"), "x");
        assert_eq!(document.int("b"), 1);
        assert_eq!(document.at("nowhere.at.all"), &Document::Null);
        assert!(document.pretty().starts_with("{\n    \"b\": 1,\n    \"a\": [\n        true,"));
    }
}
