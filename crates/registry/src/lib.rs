//! HTTP to registries: resolve, fetch, authenticate (OCI distribution-spec 1.1, Docker Registry HTTP API v2).
//!
//! Owns connections, tokens and retries, in memory only: never touches the disk, never parses a manifest. Called by the image room.
//!
//! ```text
//! request --> endpoint 1 (mirror) --x--> endpoint 2 (the registry, https) --x--> endpoint 3 (http, only if insecure)
//!               |
//!               +-- connect error, 429, 5xx -> wait (Retry-After or backoff) -> again, a few times
//!               +-- 401 -> challenge -> token or basic -> again, once
//!               +-- 3xx -> followed by hand, without credentials once the origin changes, never from https to http
//! blob stream --x-- dropped --> the same request with Range from where it broke
//! ```
//!
//! What is answered is hostile: bodies are bounded, a manifest's digest is computed here and a blob's by its reader; the header
//! `Docker-Content-Digest` is not looked at. URLs that a registry gives (redirects, token realms) may not lead into the machine or
//! to the link-local metadata services unless the registry itself is there; `urls` of foreign layers are never followed.
#![forbid(unsafe_code)]

mod auth;
mod blob;
mod challenge;
mod client;
mod endpoint;
mod error;
mod http;
mod token;

pub use auth::Auth;
pub use blob::BlobStream;
pub use client::{Client, ClientOptions, MAX_MANIFEST_BYTES, Resolved};
pub use error::{Error, Refusal};
