//! `-p [ip:][host]:container[/proto]` and `--expose`, with ranges.

use std::collections::BTreeMap;

use types::container::{Empty, PortBinding};

/// Ports by `number/protocol`.
pub(super) type Exposed = BTreeMap<String, Empty>;
/// Where ports are published.
pub(super) type Bindings = BTreeMap<String, Option<Vec<PortBinding>>>;

fn number(text: &str) -> Result<u16, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let reason = if *error.kind() == std::num::IntErrorKind::PosOverflow {
            "value out of range"
        } else {
            "invalid syntax"
        };
        format!("strconv.ParseUint: parsing \"{text}\": {reason}")
    })
}

/// `80` or `80-90`.
fn range(text: &str) -> Result<(u16, u16), String> {
    if text.is_empty() {
        return Err("empty string specified for ports.".into());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((first, last))
}

fn protocol(text: &str) -> Result<(&str, String), String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_lowercase() };
    if ["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        Ok((ports, protocol))
    } else {
        Err(format!("invalid proto: {protocol}"))
    }
}

/// Splits `[::1]:80:80/tcp` into address, host ports and container ports.
fn split(text: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    let Some((address, host)) = rest.rsplit_once(':') else {
        return ("", rest, container);
    };
    (address, host, container)
}

fn check_address(address: &str) -> Result<&str, String> {
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare.is_empty() || bare.parse::<std::net::IpAddr>().is_ok() {
        Ok(bare)
    } else {
        Err(format!("invalid IP address: {bare}"))
    }
}

/// Reads every `-p`.
///
/// # Errors
/// Docker's words.
pub(super) fn published(flags: &[String]) -> Result<(Exposed, Bindings), String> {
    let mut exposed = Exposed::new();
    let mut bindings = Bindings::new();
    for text in flags {
        publish(text, &mut exposed, &mut bindings)?;
    }
    Ok((exposed, bindings))
}

fn publish(text: &str, exposed: &mut Exposed, bindings: &mut Bindings) -> Result<(), String> {
    let (address, host, container) = split(text);
    let (container, protocol) = protocol(container)?;
    let address = check_address(address)?;
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let (first, last) =
        range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let host_range = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    if let Some((host_first, host_last)) = host_range
        && host_last - host_first != last - first
        && first != last
    {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    for port in first..=last {
        let host_port = match host_range {
            None => String::new(),
            // One port of the container may be given a range of the host to choose from.
            Some((low, high)) if first == last && low != high => format!("{low}-{high}"),
            Some((low, _)) => (low + (port - first)).to_string(),
        };
        let key = format!("{port}/{protocol}");
        exposed.insert(key.clone(), Empty {});
        let binding = PortBinding { host_ip: address.to_owned(), host_port };
        bindings.entry(key).or_default().get_or_insert_default().push(binding);
    }
    Ok(())
}

/// Reads every `--expose` into `exposed`.
///
/// # Errors
/// Docker's words.
pub(super) fn expose(flags: &[String], exposed: &mut Exposed) -> Result<(), String> {
    for text in flags {
        if text.contains(':') {
            return Err(format!("invalid port format for --expose: {text}"));
        }
        let (ports, protocol) = protocol(text)?;
        let (first, last) = range(ports).map_err(|error| {
            format!("invalid range format for --expose: {text}, error: {error}")
        })?;
        exposed.extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty {})));
    }
    Ok(())
}
