//! Netlink: messages, attributes, sockets for `NETLINK_ROUTE` and `NETLINK_NETFILTER`.

use std::fmt;

/// Why a netlink request failed.
#[derive(Debug)]
pub enum Error {
    /// The socket failed.
    Socket(std::io::Error),
    /// The kernel refused a message.
    Refused {
        /// The errno, positive.
        errno: i32,
        /// The kernel's own words, when it gave any (extended ack).
        text: Option<String>,
        /// Which message of the batch it was, from 0.
        index: usize,
    },
    /// The kernel's answer is not a netlink message.
    Malformed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(_) => f.write_str("use the netlink socket"),
            Self::Refused { errno, text, .. } => {
                write!(f, "{}", std::io::Error::from_raw_os_error(*errno))?;
                text.as_ref().map_or(Ok(()), |text| write!(f, " ({text})"))
            }
            Self::Malformed => f.write_str("malformed netlink answer"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket(source) => Some(source),
            _ => None,
        }
    }
}
