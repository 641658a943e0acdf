//! The few `/proc/sys/net` switches that routing containers takes. They show the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Lets the host route between its interfaces.
pub(crate) fn forward() -> Result<(), Error> {
    switch_on(PathBuf::from("/proc/sys/net/ipv4/ip_forward"))
}

/// Lets a bridge carry packets from 127.0.0.0/8, so that a published port answers on `localhost`.
pub(crate) fn route_localnet(bridge: &str) -> Result<(), Error> {
    switch_on(Path::new("/proc/sys/net/ipv4/conf").join(bridge).join("route_localnet"))
}

/// Writes `1`, unless it is there: a read-only `/proc/sys` is good enough when the value is right.
fn switch_on(path: PathBuf) -> Result<(), Error> {
    let on = || -> io::Result<()> {
        if fs::read(&path)?.first() == Some(&b'1') {
            return Ok(());
        }
        fs::write(&path, b"1")
    };
    on().map_err(|source| Error::File { step: "switch on", path: path.clone(), source })
}
