//! API versions: which are spoken, and how a request's is checked.

use std::fmt;
use std::str::FromStr;

/// A version of the Engine API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Always 1 so far.
    pub major: u16,
    /// Grows with each change.
    pub minor: u16,
}

/// The newest version spoken; an unversioned path means this one.
pub const MAX: ApiVersion = ApiVersion::new(1, 51);
/// The oldest version spoken.
pub const MIN: ApiVersion = ApiVersion::new(1, 24);

impl ApiVersion {
    /// Names a version.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Tells whether this version is `1.minor` or newer.
    #[must_use]
    pub const fn at_least(self, minor: u16) -> bool {
        self.major > 1 || (self.major == 1 && self.minor >= minor)
    }

    /// Says why a daemon that speaks [`MIN`] to [`MAX`] refuses this version, in Docker's words; none when it is spoken.
    #[must_use]
    pub fn refusal(self) -> Option<String> {
        if self < MIN {
            Some(format!(
                "client version {self} is too old. Minimum supported API version is {MIN}, please upgrade your client to a newer version"
            ))
        } else if self > MAX {
            Some(format!(
                "client version {self} is too new. Maximum supported API version is {MAX}"
            ))
        } else {
            None
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is not `MAJOR.MINOR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadVersion;

impl fmt::Display for BadVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("want an API version like 1.43")
    }
}

impl std::error::Error for BadVersion {}

impl FromStr for ApiVersion {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let (major, minor) = text.split_once('.').ok_or(BadVersion)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

fn number(text: &str) -> Result<u16, BadVersion> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadVersion);
    }
    text.parse().map_err(|_| BadVersion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_by_number_not_by_text() {
        let v = |t: &str| t.parse::<ApiVersion>().unwrap();
        assert!(v("1.9") < v("1.24"));
        assert!(v("1.51").at_least(44) && !v("1.43").at_least(44) && v("2.0").at_least(44));
        for bad in ["", "1", "1.", ".1", "a.b", "1.2.3", "1.+2", "1.99999999"] {
            assert_eq!(bad.parse::<ApiVersion>(), Err(BadVersion), "{bad}");
        }
    }

    #[test]
    fn refusals_use_dockers_words() {
        assert_eq!(MAX.refusal(), None);
        assert_eq!(MIN.refusal(), None);
        assert_eq!(
            ApiVersion::new(1, 99).refusal().unwrap(),
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
        assert_eq!(
            ApiVersion::new(1, 12).refusal().unwrap(),
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
    }
}
