//! Where a repository is asked for: mirrors, https, and plain http where that is allowed.

use std::net::IpAddr;

use reqwest::Url;
use types::reference::DEFAULT_DOMAIN;

use crate::Error;

/// The host that serves Docker Hub's images.
const HUB: &str = "https://registry-1.docker.io";

/// How far a host is trusted with plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Verified https only.
    Secure,
    /// Unverified https or http: the user said so.
    Insecure,
    /// This machine: as insecure, and never through a proxy.
    Loopback,
}

/// One base address to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) base: Url,
    pub(crate) class: Class,
    /// A mirror is asked without the user's credentials, and left at its first failure.
    pub(crate) is_mirror: bool,
}

/// What the user allows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    hosts: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
    mirrors: Vec<Endpoint>,
}

impl Policy {
    pub(crate) fn new(insecure: &[String], mirrors: &[String]) -> Result<Self, Error> {
        let mut policy = Self::default();
        for entry in insecure {
            let entry = entry.trim_start_matches("http://").trim_start_matches("https://");
            match network(entry) {
                Some(network) => policy.networks.push(network),
                None => policy.hosts.push(entry.trim_end_matches('/').to_lowercase()),
            }
        }
        for mirror in mirrors {
            let endpoint = policy.mirror(mirror)?;
            policy.mirrors.push(endpoint);
        }
        Ok(policy)
    }

    fn mirror(&self, text: &str) -> Result<Endpoint, Error> {
        let invalid =
            |reason: &str| Error::Setup { reason: format!("invalid mirror {text:?}: {reason}") };
        let base = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(invalid("want http:// or https://"));
        }
        if base.query().is_some() || base.fragment().is_some() || !base.username().is_empty() {
            return Err(invalid("query, fragment and user are not allowed"));
        }
        // Who writes http:// here has allowed plain text to that mirror.
        let class = match self.class_of_url(&base) {
            Class::Secure if base.scheme() == "http" => Class::Insecure,
            class => class,
        };
        Ok(Endpoint { base, class, is_mirror: true })
    }

    /// Returns the addresses to ask for a repository of `domain`, in order.
    pub(crate) fn endpoints(&self, domain: &str) -> Result<Vec<Endpoint>, Error> {
        if domain == DEFAULT_DOMAIN {
            let mut all = self.mirrors.clone();
            all.push(endpoint(HUB, Class::Secure)?);
            return Ok(all);
        }
        let class = self.class(domain);
        let mut all = vec![endpoint(&format!("https://{domain}"), class)?];
        if class != Class::Secure {
            all.push(endpoint(&format!("http://{domain}"), class)?);
        }
        Ok(all)
    }

    /// Returns the class of `host[:port]`.
    pub(crate) fn class(&self, domain: &str) -> Class {
        let domain = domain.to_lowercase();
        let host = host_of(&domain);
        if is_loopback(host) {
            return Class::Loopback;
        }
        let listed = self.hosts.iter().any(|entry| *entry == domain || entry == host);
        let within = host.parse().is_ok_and(|address: IpAddr| {
            self.networks.iter().any(|network| contains(*network, address))
        });
        if listed || within { Class::Insecure } else { Class::Secure }
    }

    pub(crate) fn class_of_url(&self, url: &Url) -> Class {
        let host = url.host_str().unwrap_or_default();
        match url.port() {
            Some(port) => self.class(&format!("{host}:{port}")),
            None => self.class(host),
        }
    }

    /// Says why a URL given by a registry at `from` must not be followed; nothing if it may.
    pub(crate) fn objection(&self, from: &Endpoint, to: &Url) -> Option<&'static str> {
        let host = host_of(to.host_str().unwrap_or_default());
        match to.scheme() {
            "https" => {}
            "http" if from.class != Class::Secure => {}
            "http" => return Some("leads from https to plain http"),
            _ => return Some("leads to neither http nor https"),
        }
        if !to.username().is_empty() || to.password().is_some() {
            return Some("carries credentials");
        }
        if is_loopback(host) && from.class != Class::Loopback {
            return Some("leads into this machine");
        }
        if is_link_local(host) && from.base.host_str() != to.host_str() {
            return Some("leads to a link-local address");
        }
        None
    }
}

fn endpoint(base: &str, class: Class) -> Result<Endpoint, Error> {
    let base = Url::parse(base)
        .map_err(|error| Error::Protocol { url: base.to_owned(), reason: error.to_string() })?;
    Ok(Endpoint { base, class, is_mirror: false })
}

/// Strips the port, and the brackets of an IPv6 address.
fn host_of(domain: &str) -> &str {
    match domain.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if domain.matches(':').count() > 1 => domain,
        None => domain.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost")
        || host.to_lowercase().ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| canonical(address).is_loopback())
        || host.parse::<IpAddr>().is_ok_and(|address| canonical(address).is_unspecified())
}

fn is_link_local(host: &str) -> bool {
    match host.parse().map(canonical) {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_unicast_link_local(),
        Err(_) => false,
    }
}

/// `::ffff:127.0.0.1` is 127.0.0.1.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn network(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = entry.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits = bits.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let insecure = ["reg.lan:5000".to_owned(), "10.0.0.0/8".to_owned(), "plain.lan".to_owned()];
        Policy::new(&insecure, &["http://127.0.0.1:5001".to_owned()]).unwrap()
    }

    fn bases(domain: &str) -> Vec<String> {
        policy().endpoints(domain).unwrap().iter().map(|e| e.base.to_string()).collect()
    }

    #[test]
    fn hub_is_asked_after_its_mirrors() {
        assert_eq!(bases("docker.io"), ["http://127.0.0.1:5001/", "https://registry-1.docker.io/"]);
    }

    #[test]
    fn plain_http_is_for_loopback_and_the_list() {
        for open in [
            "localhost:5000",
            "127.1.2.3",
            "[::1]:5000",
            "reg.lan:5000",
            "10.1.2.3:80",
            "plain.lan:1",
        ] {
            assert_eq!(bases(open).len(), 2, "{open}");
        }
        for closed in ["quay.io", "reg.lan:5001", "11.0.0.1", "localhost.evil.com", "reg.lan"] {
            assert_eq!(bases(closed).len(), 1, "{closed}");
        }
    }

    #[test]
    fn a_registry_cannot_lead_into_the_machine() {
        let policy = policy();
        let from = &policy.endpoints("quay.io").unwrap()[0];
        let objection = |to: &str| policy.objection(from, &Url::parse(to).unwrap());
        assert_eq!(objection("https://cdn.quay.io/x"), None);
        for bad in [
            "http://cdn.quay.io/x",
            "https://localhost/x",
            "https://127.0.0.1:2375/x",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/latest",
            "https://0.0.0.0/",
            "file:///etc/passwd",
            "https://user:pw@cdn.quay.io/",
        ] {
            assert!(objection(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_mirror_is_checked_at_once() {
        for bad in ["ftp://x", "nonsense", "https://u:p@x", "https://x/?a=b"] {
            assert!(Policy::new(&[], &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
