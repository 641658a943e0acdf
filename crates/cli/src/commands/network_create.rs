//! `network create`.

use std::collections::BTreeMap;

use api::network::{ConfigFrom, NetworkCreate};
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::CommandError;
use crate::options::{files, values};
use crate::ui::Ui;

/// Create a network
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Enable manual container attachment
    #[arg(long)]
    attachable: bool,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver
    #[arg(long, value_name = "map", action = clap::ArgAction::Append)]
    aux_address: Vec<String>,
    /// The network from which to copy the configuration
    #[arg(long, value_name = "string")]
    config_from: Option<String>,
    /// Create a configuration only network
    #[arg(long)]
    config_only: bool,
    /// Driver to manage the Network
    #[arg(short, long, value_name = "string", default_value = "bridge")]
    driver: String,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long, value_name = "strings", action = clap::ArgAction::Append, value_delimiter = ',')]
    gateway: Vec<String>,
    /// Create swarm routing-mesh network
    #[arg(long)]
    ingress: bool,
    /// Restrict external access to the network
    #[arg(long)]
    internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_name = "strings", action = clap::ArgAction::Append, value_delimiter = ',')]
    ip_range: Vec<String>,
    /// IP Address Management Driver
    #[arg(long, value_name = "string", default_value = "default")]
    ipam_driver: String,
    /// Set IPAM driver specific options
    #[arg(long, value_name = "map", action = clap::ArgAction::Append)]
    ipam_opt: Vec<String>,
    /// Enable or disable IPv4 address assignment
    #[arg(long, default_value = "true", num_args = 0..=1, action = clap::ArgAction::Set)]
    ipv4: bool,
    /// Enable or disable IPv6 address assignment
    #[arg(long)]
    ipv6: bool,
    /// Set metadata on a network
    #[arg(long, value_name = "list", action = clap::ArgAction::Append, value_parser = values::label)]
    label: Vec<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map", action = clap::ArgAction::Append)]
    opt: Vec<String>,
    /// Control the network's scope
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    scope: String,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "strings", action = clap::ArgAction::Append, value_delimiter = ',')]
    subnet: Vec<String>,
    #[arg(hide = true)]
    name: String,
}

/// A network in CIDR notation.
struct Subnet {
    bits: u128,
    prefix: u32,
    width: u32,
}

impl Subnet {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let bad = || CommandError::plain(format!("invalid CIDR address: {text}"));
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let (bits, width) = address_bits(address).ok_or_else(bad)?;
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= width).ok_or_else(bad)?;
        Ok(Self { bits, prefix, width })
    }

    fn contains(&self, address: &str) -> bool {
        let bare = address.split('/').next().unwrap_or_default();
        let shift = self.width - self.prefix;
        address_bits(bare).is_some_and(|(bits, width)| {
            width == self.width
                && (shift >= 128 || bits.checked_shr(shift) == self.bits.checked_shr(shift))
        })
    }
}

fn address_bits(text: &str) -> Option<(u128, u32)> {
    match text.parse().ok()? {
        std::net::IpAddr::V4(address) => Some((u128::from(u32::from(address)), 32)),
        std::net::IpAddr::V6(address) => Some((u128::from(address), 128)),
    }
}

impl Args {
    /// One entry for each subnet, with the ranges, gateways and addresses that lie in it.
    fn ipam(&self) -> Result<Value, CommandError> {
        if self.subnet.len() < self.ip_range.len() || self.subnet.len() < self.gateway.len() {
            return Err(CommandError::plain(
                "every ip-range or gateway must have a corresponding subnet",
            ));
        }
        let mut config = Vec::new();
        for text in &self.subnet {
            let subnet = Subnet::parse(text)?;
            let mut entry = json!({ "Subnet": text });
            if let Some(range) = self.ip_range.iter().find(|range| subnet.contains(range)) {
                entry["IPRange"] = range.as_str().into();
            }
            if let Some(gateway) = self.gateway.iter().find(|gateway| subnet.contains(gateway)) {
                entry["Gateway"] = gateway.as_str().into();
            }
            for (name, address) in self.aux_address.iter().map(|flag| files::pair(flag)) {
                if subnet.contains(&address) {
                    entry["AuxiliaryAddresses"][name] = address.into();
                }
            }
            config.push(entry);
        }
        self.check_homes()?;
        Ok(
            json!({ "Driver": self.ipam_driver, "Options": pairs(&self.ipam_opt), "Config": config }),
        )
    }

    fn check_homes(&self) -> Result<(), CommandError> {
        let subnets: Vec<Subnet> =
            self.subnet.iter().map(|text| Subnet::parse(text)).collect::<Result<_, _>>()?;
        let lost = |list: &[String]| {
            list.iter().find(|one| !subnets.iter().any(|subnet| subnet.contains(one))).cloned()
        };
        match (lost(&self.ip_range), lost(&self.gateway)) {
            (Some(range), _) => {
                Err(CommandError::plain(format!("no matching subnet for range {range}")))
            }
            (_, Some(gateway)) => {
                Err(CommandError::plain(format!("no matching subnet for gateway {gateway}")))
            }
            _ => Ok(()),
        }
    }
}

fn pairs(flags: &[String]) -> BTreeMap<String, String> {
    flags.iter().map(|flag| files::pair(flag)).collect()
}

/// Prints the id of the network.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let request = NetworkCreate {
        name: args.name.clone(),
        driver: args.driver.clone(),
        scope: args.scope.clone(),
        enable_ipv4: Some(args.ipv4),
        enable_ipv6: Some(args.ipv6),
        internal: args.internal,
        attachable: args.attachable,
        ingress: args.ingress,
        config_only: args.config_only,
        config_from: args
            .config_from
            .as_ref()
            .map(|network| ConfigFrom { network: network.clone() }),
        options: pairs(&args.opt),
        labels: pairs(&args.label),
        ..NetworkCreate::default()
    };
    let mut body =
        serde_json::to_value(request).map_err(|error| CommandError::plain(error.to_string()))?;
    body["IPAM"] = args.ipam()?;
    let made = client.post_json("/networks/create", &body).await?;
    if !made.text("Warning").is_empty() {
        ui.complain(format_args!("WARNING: {}", made.text("Warning")));
    }
    ui.line(made.text("Id"))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_know_their_addresses() {
        let subnet = Subnet::parse("172.30.0.0/16").unwrap();
        assert!(subnet.contains("172.30.9.1"));
        assert!(subnet.contains("172.30.9.0/24"));
        assert!(!subnet.contains("172.31.0.1"));
        assert!(Subnet::parse("::/0").unwrap().contains("fe80::1"));
        assert!(Subnet::parse("172.30.0.0").is_err());
    }
}
