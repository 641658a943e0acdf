//! What happened: `GET /events`. Engine API v1.51, tag System.
#![expect(missing_docs, reason = "the fields mirror the Engine API's, where they are described")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::container::null_default;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// The action once more; until API 1.51, only for containers and images.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The actor's id once more; until API 1.51, only for containers and images.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The container's image; until API 1.51.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    #[serde(rename = "Type")]
    pub r#type: String,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    pub scope: String,
    /// Unix seconds.
    pub time: i64,
    /// Unix nanoseconds.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes", deserialize_with = "null_default")]
    pub attributes: BTreeMap<String, String>,
}
