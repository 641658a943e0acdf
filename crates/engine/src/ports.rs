//! Ports as Docker writes them: `80/tcp`, and what a container wants published.

use network::{PortRequest, Protocol};
use types::container::{ContainerConfig, HostConfig, PortBinding};

use crate::{EngineError, Result};

/// Reads `80/tcp`; a missing protocol is tcp.
///
/// # Errors
/// `Invalid`.
pub(crate) fn parse(text: &str) -> Result<(u16, Protocol)> {
    let bad = || EngineError::invalid(format!("invalid port specification: {text:?}"));
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?;
    Ok((port, protocol.parse().map_err(|_| bad())?))
}

/// What a container wants published: its bindings, and with `-P` every other exposed port.
///
/// # Errors
/// `Invalid`.
pub(crate) fn wanted(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<PortRequest>> {
    let mut requests = Vec::new();
    let bindings = host.port_bindings.clone().unwrap_or_default();
    for (port, list) in &bindings {
        let (container_port, protocol) = parse(port)?;
        for binding in list.iter().flatten() {
            requests.extend(request(container_port, protocol, binding)?);
        }
    }
    if host.publish_all_ports {
        for port in config.exposed_ports.iter().flat_map(std::collections::BTreeMap::keys) {
            if !bindings.contains_key(port) {
                let (container_port, protocol) = parse(port)?;
                requests.push(PortRequest {
                    protocol,
                    container_port,
                    host_ip: None,
                    host_ports: None,
                });
            }
        }
    }
    Ok(requests)
}

fn request(
    container_port: u16,
    protocol: Protocol,
    binding: &PortBinding,
) -> Result<Option<PortRequest>> {
    let host_ip = match binding.host_ip.as_str() {
        "" | "0.0.0.0" => None,
        // IPv6 listeners come with IPv6 networks.
        ip if ip.contains(':') => return Ok(None),
        ip => Some(
            ip.parse().map_err(|_| EngineError::invalid(format!("invalid IP address: {ip}")))?,
        ),
    };
    let host_ports = match binding.host_port.as_str() {
        "" | "0" => None,
        text => {
            let bad = || EngineError::invalid(format!("invalid port specification: {text:?}"));
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            let (from, to): (u16, u16) =
                (from.parse().map_err(|_| bad())?, to.parse().map_err(|_| bad())?);
            if to < from {
                return Err(bad());
            }
            Some((from, to))
        }
    };
    Ok(Some(PortRequest { protocol, container_port, host_ip, host_ports }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_or_refused() {
        assert_eq!(parse("80/tcp").unwrap(), (80, Protocol::Tcp));
        assert_eq!(parse("53/udp").unwrap(), (53, Protocol::Udp));
        assert_eq!(parse("8080").unwrap(), (8080, Protocol::Tcp));
        for bad in ["", "0/tcp", "80/xyz", "99999", "-1", "a/tcp"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bindings_become_requests() {
        let binding =
            |ip: &str, port: &str| PortBinding { host_ip: ip.into(), host_port: port.into() };
        let host = HostConfig {
            port_bindings: Some(
                [(
                    "80/tcp".to_owned(),
                    Some(vec![binding("127.0.0.1", "8000-8010"), binding("::1", "1")]),
                )]
                .into(),
            ),
            ..HostConfig::default()
        };
        let got = wanted(&ContainerConfig::default(), &host).unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].host_ports, Some((8000, 8010)));
    }
}
