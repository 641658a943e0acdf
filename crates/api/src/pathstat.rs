//! The `X-Docker-Container-Path-Stat` header of `/containers/{id}/archive`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The header's name.
pub const HEADER: &str = "X-Docker-Container-Path-Stat";

const GO_DIR: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_PIPE: u32 = 1 << 25;
const GO_SOCKET: u32 = 1 << 24;
const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_CHAR: u32 = 1 << 21;
const GO_STICKY: u32 = 1 << 20;

/// What is at a path in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathStat {
    /// The last part of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode`.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a symbolic link points; else empty.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

impl PathStat {
    /// Renders the header's value.
    #[must_use]
    pub fn encode(&self) -> String {
        STANDARD.encode(serde_json::to_vec(self).expect("strings and numbers serialise"))
    }

    /// Reads the header's value; none when it is not one.
    #[must_use]
    pub fn decode(value: &str) -> Option<Self> {
        serde_json::from_slice(&STANDARD.decode(value.trim()).ok()?).ok()
    }

    /// Tells whether the path is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.mode & GO_DIR != 0
    }

    /// Tells whether the path is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.mode & GO_SYMLINK != 0
    }
}

/// Converts `st_mode` (inode(7)) to Go's `os.FileMode`.
#[must_use]
pub fn go_mode(st_mode: u32) -> u32 {
    let kind = match st_mode & 0o170_000 {
        0o040_000 => GO_DIR,
        0o120_000 => GO_SYMLINK,
        0o060_000 => GO_DEVICE,
        0o020_000 => GO_DEVICE | GO_CHAR,
        0o010_000 => GO_PIPE,
        0o140_000 => GO_SOCKET,
        _ => 0,
    };
    let special = [(0o4000, GO_SETUID), (0o2000, GO_SETGID), (0o1000, GO_STICKY)];
    special
        .iter()
        .filter(|(bit, _)| st_mode & bit != 0)
        .fold(kind | (st_mode & 0o777), |mode, (_, go)| mode | go)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o041_777), 2_148_532_735);
        assert_eq!(go_mode(0o100_644), 420);
        assert_eq!(go_mode(0o120_777), GO_SYMLINK | 0o777);
        assert_eq!(go_mode(0o104_755), GO_SETUID | 0o755);
    }

    #[test]
    fn the_recorded_header_reads_and_renders() {
        let recorded = "eyJuYW1lIjoidG1wIiwic2l6ZSI6NDA5NiwibW9kZSI6MjE0ODUzMjczNSwibXRpbWUiOiIyMDI1LTA2LTE1VDE1OjA2OjQwWiIsImxpbmtUYXJnZXQiOiIifQ==";
        let stat = PathStat::decode(recorded).unwrap();
        assert!(stat.is_dir() && !stat.is_symlink());
        assert_eq!((stat.name.as_str(), stat.size), ("tmp", 4096));
        assert_eq!(stat.encode(), recorded);
        assert_eq!(PathStat::decode("!!"), None);
    }
}
