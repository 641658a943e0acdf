use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A `sha256:<64 lower-case hex>` content digest (OCI image-spec descriptor.md#digests).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestError {
    text: String,
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid digest `{}`: want sha256:<64 hex>", self.text)
    }
}

impl std::error::Error for DigestError {}

impl Digest {
    /// Computes the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_sha256(&Sha256::digest(bytes).into())
    }

    /// Wraps a finished SHA-256 state.
    #[must_use]
    pub fn from_sha256(hash: &[u8; 32]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hash {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        Self(text)
    }

    /// Returns the 64 hexadecimal digits after `sha256:`.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0[7..]
    }

    /// Returns the first 12 hexadecimal digits, as shown to users.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[7..19]
    }

    /// Returns the whole text, `sha256:` included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("sha256:").filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        match hex {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(DigestError { text: text.chars().take(100).collect() }),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! digest_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// Returns the digest's 64 hexadecimal digits.
            #[must_use]
            pub fn hex(&self) -> &str {
                self.0.hex()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                text.parse().map(Self)
            }
        }
    };
}

digest_newtype!(
    /// The digest of an image's config document; what `docker images` calls IMAGE ID.
    ImageId
);
digest_newtype!(
    /// The digest of one uncompressed layer tar (OCI image-spec config.md#layer-diffid).
    DiffId
);
digest_newtype!(
    /// The digest of a stack of layers (OCI image-spec config.md#layer-chainid).
    ChainId
);

impl ChainId {
    /// Computes the chain id of `diff` on top of `parent`.
    #[must_use]
    pub fn on(parent: Option<&ChainId>, diff: &DiffId) -> Self {
        match parent {
            None => Self(diff.0.clone()),
            Some(parent) => Self(Digest::of(format!("{parent} {diff}").as_bytes())),
        }
    }

    /// Computes the chain ids of every prefix of `diffs`, lowest first.
    #[must_use]
    pub fn stack(diffs: &[DiffId]) -> Vec<Self> {
        let mut chain: Vec<Self> = Vec::with_capacity(diffs.len());
        for diff in diffs {
            let next = Self::on(chain.last(), diff);
            chain.push(next);
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_prints_what_it_parsed() {
        let text = format!("sha256:{}", "0f".repeat(32));
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest.short(), "0f0f0f0f0f0f");
    }

    #[test]
    fn wrong_digests_are_refused() {
        for bad in
            ["", "sha256:", "sha512:00", &format!("sha256:{}", "0F".repeat(32)), &"0".repeat(64)]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let known = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), known);
    }

    #[test]
    fn chain_ids_hash_the_parent_and_the_diff() {
        let a = DiffId(Digest::of(b"a"));
        let b = DiffId(Digest::of(b"b"));
        let chain = ChainId::stack(&[a.clone(), b.clone()]);
        assert_eq!(chain[0].0, a.0);
        assert_eq!(chain[1].0, Digest::of(format!("{a} {b}").as_bytes()));
    }
}
