//! The Engine API as data: what crosses the socket between a client and the daemon.
//!
//! Pure serde types with Docker's field names and Docker's habits of `null`, missing and zero, the version table, and the small
//! codecs that are part of the protocol: `filters`, query strings, time stamps, the stream frames of attach and logs, the path
//! stat header and the registry credentials header. Both the daemon and the command line speak through this crate, so that what
//! one writes the other reads. What a user asks for in a container is in [`types::container`].
//!
//! Nothing here touches the system and nothing here logs. Everything that parses is total: hostile bytes give an error.
#![forbid(unsafe_code)]

pub mod auth;
pub mod container;
pub mod event;
pub mod exec;
pub mod filters;
pub mod image;
pub mod network;
pub mod pathstat;
pub mod progress;
pub mod query;
pub mod stats;
pub mod stdcopy;
pub mod system;
pub mod time;
pub mod version;
pub mod volume;

use serde::{Deserialize, Serialize};

/// The content type of framed streams (no terminal), since API 1.42.
pub const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";
/// The content type of unframed streams, and of every stream before API 1.42.
pub const RAW_STREAM: &str = "application/vnd.docker.raw-stream";

/// The body of every error answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// What went wrong, for people.
    pub message: String,
}

impl ErrorBody {
    /// Renders the body as it goes on the wire, with Docker's newline.
    #[must_use]
    pub fn render(message: &str) -> Vec<u8> {
        let body = Self { message: message.to_owned() };
        let mut bytes = serde_json::to_vec(&body).expect("a struct of one string serialises");
        bytes.push(b'\n');
        bytes
    }
}

/// An answer that only carries the id of what was made (`/containers/{id}/exec`, `/commit`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IdResponse {
    /// The id.
    pub id: String,
}

/// The layer directories of an image or container, by the storage driver's own names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GraphDriver {
    /// `LowerDir`, `UpperDir`, `WorkDir`, `MergedDir` for overlay2.
    pub data: Option<std::collections::BTreeMap<String, String>>,
    /// `overlay2`.
    pub name: String,
}
