//! HTTP to registries: resolve, fetch, authenticate. Never touches the disk.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// Credentials for one registry, as clients send them in `X-Registry-Auth`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
    /// An OAuth2 refresh token instead of a password.
    #[serde(rename = "identitytoken")]
    pub identity_token: String,
    /// A bearer token, used as it is.
    #[serde(rename = "registrytoken")]
    pub registry_token: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// `HOST[:PORT]` or CIDR: https is tried without verification, then http.
    pub insecure: Vec<String>,
    /// URLs that are asked before Docker Hub.
    pub mirrors: Vec<String>,
    /// The `User-Agent`; empty is `belljar/VERSION`.
    pub user_agent: String,
}

/// Talks to registries; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("registry")]
pub struct Error {}

impl Client {
    /// Makes a client.
    ///
    /// # Errors
    /// Internal, if the TLS roots cannot be used.
    pub fn new(_options: ClientOptions) -> Result<Self, Error> {
        Ok(Self {})
    }
}
