//! `--network NAME` and `--network name=NAME,ip=…,alias=…`.

use std::collections::BTreeMap;

use types::container::{EndpointIpam, EndpointSettings, NetworkingConfig};

use super::ContainerOptions;
use super::devices::csv;

/// One network to join.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attachment {
    target: String,
    aliases: Vec<String>,
    links: Vec<String>,
    link_local: Vec<String>,
    driver_options: BTreeMap<String, String>,
    ipv4: String,
    ipv6: String,
    mac: String,
    priority: i64,
}

/// Reads one `--network`.
///
/// # Errors
/// Docker's words.
pub(super) fn parse(text: &str) -> Result<Attachment, String> {
    let mut attachment = Attachment::default();
    let advanced = text.contains('=') && !text.starts_with("container:");
    if !advanced {
        attachment.target = text.to_owned();
        return Ok(attachment);
    }
    for field in csv(text) {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field {field}"))?;
        match key.trim().to_lowercase().as_str() {
            "name" => attachment.target = value.into(),
            "alias" => attachment.aliases.push(value.into()),
            "ip" => attachment.ipv4 = value.into(),
            "ip6" => attachment.ipv6 = value.into(),
            "mac-address" => attachment.mac = value.into(),
            "link-local-ip" => attachment.link_local.push(value.into()),
            "driver-opt" => {
                let (name, value) = driver_option(value)?;
                attachment.driver_options.insert(name, value);
            }
            "gw-priority" => {
                attachment.priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            key => return Err(format!("invalid field key {key}")),
        }
    }
    if attachment.target.is_empty() {
        return Err("network name/id is not specified".into());
    }
    Ok(attachment)
}

/// Reads `key=value` of a driver option.
pub(crate) fn driver_option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
    Ok((name.trim().to_lowercase(), value.trim().to_owned()))
}

fn is_user_defined(target: &str) -> bool {
    !["default", "bridge", "host", "none", ""].contains(&target)
        && !target.starts_with("container:")
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    parts.len() == 6
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// What the options ask of networks: the mode and one endpoint for each.
///
/// # Errors
/// Docker's words for what does not go together.
pub(super) fn plan(options: &ContainerOptions) -> Result<(String, NetworkingConfig), String> {
    let mut networks = options.network.clone();
    if networks.is_empty() {
        networks.push(Attachment { target: "default".into(), ..Attachment::default() });
    }
    let mode = networks[0].target.clone();
    apply_options(&mut networks[0], options)?;
    let defined = networks.iter().filter(|network| is_user_defined(&network.target)).count();
    if defined != 0 && defined != networks.len() {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes".into()
        );
    }
    let mut endpoints = BTreeMap::new();
    for network in networks {
        let target = network.target.clone();
        if endpoints.insert(target.clone(), Some(endpoint(network)?)).is_some() {
            return Err(format!(
                "conflicting options: cannot attach to network \"{target}\" more than once"
            ));
        }
    }
    Ok((mode, NetworkingConfig { endpoints_config: endpoints }))
}

/// The flags that stand beside `--network` belong to the first one.
fn apply_options(first: &mut Attachment, options: &ContainerOptions) -> Result<(), String> {
    let clash = |given: bool, own: bool, flag: &str, what: &str| {
        if given && own {
            Err(format!("conflicting options: cannot specify both --{flag} and per-network {what}"))
        } else {
            Ok(())
        }
    };
    clash(!options.network_alias.is_empty(), !first.aliases.is_empty(), "network-alias", "alias")?;
    clash(!options.link.is_empty(), !first.links.is_empty(), "link", "links")?;
    clash(options.ip.is_some(), !first.ipv4.is_empty(), "ip", "IPv4 address")?;
    clash(options.ip6.is_some(), !first.ipv6.is_empty(), "ip6", "IPv6 address")?;
    clash(options.mac_address.is_some(), !first.mac.is_empty(), "mac-address", "MAC address")?;
    first.aliases.extend(options.network_alias.iter().cloned());
    first.links.extend(options.link.iter().cloned());
    first.link_local.extend(options.link_local_ip.iter().cloned());
    first.ipv4.push_str(options.ip.as_deref().unwrap_or_default());
    first.ipv6.push_str(options.ip6.as_deref().unwrap_or_default());
    first.mac.push_str(options.mac_address.as_deref().unwrap_or_default());
    Ok(())
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn endpoint(network: Attachment) -> Result<EndpointSettings, String> {
    if !network.mac.is_empty() && !is_mac(&network.mac) {
        return Err(format!("{} is not a valid mac address", network.mac));
    }
    let addressed =
        !network.ipv4.is_empty() || !network.ipv6.is_empty() || !network.link_local.is_empty();
    Ok(EndpointSettings {
        ipam_config: addressed.then(|| EndpointIpam {
            ipv4_address: network.ipv4,
            ipv6_address: network.ipv6,
            link_local_ips: some(network.link_local),
        }),
        links: some(network.links),
        aliases: some(network.aliases),
        mac_address: network.mac,
        driver_opts: (!network.driver_options.is_empty()).then_some(network.driver_options),
        gw_priority: network.priority,
        ..EndpointSettings::default()
    })
}
