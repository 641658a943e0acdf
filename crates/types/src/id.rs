use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The 64 lower-case hexadecimal digits that name a container or an exec.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdError {
    text: String,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid id `{}`: want 64 hexadecimal digits", self.text)
    }
}

impl std::error::Error for IdError {}

impl ContainerId {
    /// Makes an id from 32 random bytes.
    #[must_use]
    pub fn from_bytes(random: &[u8; 32]) -> Self {
        Self(crate::Digest::from_sha256(random).hex().to_owned())
    }

    /// Returns the whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first 12 digits: the default host name, and what `ps` shows.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError { text: text.chars().take(100).collect() })
        }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> String {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells whether `name` may name a container, network or volume: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, as Docker has it.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() >= 2
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["ab", "a.b-c_d", "0x", "A1"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", "a", "-ab", ".ab", "a/b", "a b", "ä1"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }

    #[test]
    fn ids_are_64_hex() {
        assert!("ab".repeat(32).parse::<ContainerId>().is_ok());
        assert!("AB".repeat(32).parse::<ContainerId>().is_err());
        assert!("ab".parse::<ContainerId>().is_err());
    }
}
