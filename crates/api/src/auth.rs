//! Credentials for registries: `X-Registry-Auth` and `POST /auth`.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use types::container::null_default;

/// The header's name.
pub const HEADER: &str = "X-Registry-Auth";

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// What a client knows about an account at a registry.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// The user's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub username: String,
    /// The password.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub password: String,
    /// Unused since API 1.24.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub email: String,
    /// The registry.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub serveraddress: String,
    /// A token to exchange for another.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub identitytoken: String,
    /// A bearer token, sent as it is.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub registrytoken: String,
}

impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// Tells whether there is nothing to prove who asks.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.username.is_empty() && self.identitytoken.is_empty() && self.registrytoken.is_empty()
    }

    /// Renders the header's value; `e30=` for anonymous.
    #[must_use]
    pub fn encode(&self) -> String {
        base64::engine::general_purpose::URL_SAFE
            .encode(serde_json::to_vec(self).expect("strings serialise"))
    }

    /// Reads the header's value: base64 of JSON, in either alphabet, with or without padding.
    ///
    /// # Errors
    /// The value is not that.
    pub fn decode(value: &str) -> Result<Self, BadAuth> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(Self::default());
        }
        let json = GeneralPurpose::new(&URL_SAFE, LENIENT)
            .decode(value)
            .or_else(|_| GeneralPurpose::new(&STANDARD, LENIENT).decode(value))
            .map_err(|_| BadAuth)?;
        serde_json::from_slice(&json).map_err(|_| BadAuth)
    }
}

/// An `X-Registry-Auth` header that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAuth;

impl std::fmt::Display for BadAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("invalid X-Registry-Auth header")
    }
}

impl std::error::Error for BadAuth {}

/// The answer of `POST /auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AuthResponse {
    /// `Login Succeeded`.
    pub status: String,
    /// Replaces the password in the client's store when not empty.
    pub identity_token: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_is_the_empty_object() {
        assert_eq!(AuthConfig::default().encode(), "e30=");
        assert!(AuthConfig::decode("e30=").unwrap().is_anonymous());
        assert!(AuthConfig::decode("").unwrap().is_anonymous());
    }

    #[test]
    fn both_alphabets_and_missing_padding_read() {
        let auth = AuthConfig {
            username: "u>>?".into(),
            password: "p~~~???".into(),
            ..AuthConfig::default()
        };
        let url = auth.encode();
        let std = url.replace('-', "+").replace('_', "/");
        assert_ne!(url, std);
        for value in [url.as_str(), std.as_str(), url.trim_end_matches('=')] {
            assert_eq!(AuthConfig::decode(value).unwrap(), auth, "{value}");
        }
        assert_eq!(AuthConfig::decode("{}"), Err(BadAuth));
        assert!(!format!("{auth:?}").contains("p~~"), "a password is never printed");
    }
}
