//! The nouns: networks, endpoints, addresses, published ports.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub(crate) fn random() -> std::io::Result<Self> {
                Ok(Self(crate::random::hex64()?))
            }

            /// Returns the whole id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the first 12 digits.
            #[must_use]
            pub fn short(&self) -> &str {
                self.0.get(..12).unwrap_or(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

hex_id! {
    /// The 64 hexadecimal digits that name a network.
    NetworkId
}
hex_id! {
    /// The 64 hexadecimal digits that name one end of a container in a network.
    EndpointId
}

/// A text that is not an address, a subnet or a hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} `{text}`")]
pub struct AddressError {
    what: &'static str,
    text: String,
}

impl AddressError {
    fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.chars().take(64).collect() }
    }
}

/// An IPv4 subnet; the address has no host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// Makes the subnet of `prefix` bits that `address` is in.
    ///
    /// # Errors
    /// A prefix of more than 32 bits.
    pub fn of(address: Ipv4Addr, prefix: u8) -> Result<Self, AddressError> {
        if prefix > 32 {
            return Err(AddressError::new("subnet", &format!("{address}/{prefix}")));
        }
        Ok(Self { base: Ipv4Addr::from(u32::from(address) & mask(prefix)), prefix })
    }

    /// Returns the first address: the network's own.
    #[must_use]
    pub fn base(&self) -> Ipv4Addr {
        self.base
    }

    /// Returns the length of the prefix in bits.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Returns the last address: the broadcast address.
    #[must_use]
    pub fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) | !mask(self.prefix))
    }

    /// Tells whether `address` is in the subnet.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == u32::from(self.base)
    }

    /// Tells whether the two subnets share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

/// Returns the net mask of `prefix` bits.
pub(crate) fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (address, prefix) =
            parse_cidr(text).ok_or_else(|| AddressError::new("subnet", text))?;
        Self::of(address, prefix)
    }
}

/// Reads `address/prefix`, keeping host bits: the form of `--bip`.
#[must_use]
pub fn parse_cidr(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|bits| *bits <= 32)?;
    Some((address.parse().ok()?, prefix))
}

impl TryFrom<String> for Subnet {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// Makes Docker's address for `ip`: `02:42` and the four bytes. The address follows the lease, so that a neighbour's ARP
    /// entry is still right when the next container gets the same IP.
    #[must_use]
    pub fn from_ip(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// Returns the six bytes.
    #[must_use]
    pub fn octets(&self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::new("hardware address", text);
        let mut bytes = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| (1..=2).contains(&p.len())).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        // A group address (lowest bit of the first byte) cannot be an interface's.
        if parts.next().is_some() || bytes[0] & 1 == 1 { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

/// Who builds a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of ours; containers are its ports.
    Bridge,
    /// The host's own network namespace.
    Host,
    /// A namespace with nothing but loopback.
    Null,
}

impl Driver {
    /// Returns Docker's name: `bridge`, `host`, `null`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
        }
    }
}

/// A network: what its record holds and `network inspect` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// The id.
    pub id: NetworkId,
    /// The name: `bridge`, `host`, `none` or a user's.
    pub name: String,
    /// Who builds it.
    pub driver: Driver,
    /// When the record was made.
    pub created: SystemTime,
    /// Whether it is one of `bridge`, `host`, `none`, which cannot be removed.
    #[serde(default)]
    pub predefined: bool,
    /// Whether containers in it cannot reach anything outside.
    #[serde(default)]
    pub internal: bool,
    /// As asked; it has no effect here, as with Docker outside a swarm.
    #[serde(default)]
    pub attachable: bool,
    /// The addresses; none for `host` and `none`.
    #[serde(default)]
    pub subnet: Option<Subnet>,
    /// The bridge's own address, the containers' default route.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// The bridge's link name.
    #[serde(default)]
    pub bridge: Option<String>,
    /// Bytes per frame; 0 is the kernel's default.
    #[serde(default)]
    pub mtu: u32,
    /// Whether the subnet or gateway was asked for, so that `inspect` shows it as given.
    #[serde(default)]
    pub subnet_asked: bool,
    /// Driver options as asked.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Labels as asked.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What a user asks for in a network; the fields of `POST /networks/create` that have an effect here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkRequest {
    /// The name.
    pub name: String,
    /// The driver's name; empty is `bridge`.
    pub driver: String,
    /// Whether the outside is unreachable.
    pub internal: bool,
    /// Kept and shown.
    pub attachable: bool,
    /// The addresses; chosen from the default pools when not given.
    pub subnet: Option<Subnet>,
    /// The bridge's address; the subnet's first when not given.
    pub gateway: Option<Ipv4Addr>,
    /// Driver options; `com.docker.network.bridge.name` and `com.docker.network.driver.mtu` have an effect.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// The transport of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Returns the IP protocol number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Returns `tcp`, `udp` or `sctp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" | "" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(AddressError::new("protocol", text)),
        }
    }
}

/// A port that a user wants published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest {
    /// The transport.
    pub protocol: Protocol,
    /// The port inside the container.
    pub container_port: u16,
    /// The host address to listen on; none is every IPv4 address.
    pub host_ip: Option<Ipv4Addr>,
    /// First and last acceptable host port, the first free one is taken; none takes one from the ephemeral range.
    pub host_ports: Option<(u16, u16)>,
}

/// A port that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The transport.
    pub protocol: Protocol,
    /// The port inside the container.
    pub container_port: u16,
    /// The host address; `0.0.0.0` is every IPv4 address.
    pub host_ip: Ipv4Addr,
    /// The host port.
    pub host_port: u16,
}

/// What a container asks of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointRequest {
    /// Name, id or id prefix of the network; empty and `default` are the default bridge.
    pub network: String,
    /// A wanted address.
    pub ipv4: Option<Ipv4Addr>,
    /// A wanted hardware address.
    pub mac: Option<Mac>,
    /// The interface's name inside.
    pub ifname: String,
    /// Whether the network's gateway becomes the default route.
    pub default_route: bool,
    /// Ports to publish.
    pub ports: Vec<PortRequest>,
}

impl Default for EndpointRequest {
    fn default() -> Self {
        Self {
            network: String::new(),
            ipv4: None,
            mac: None,
            ifname: "eth0".to_owned(),
            default_route: true,
            ports: Vec::new(),
        }
    }
}

/// One end of a container in a network; kept by the engine in the container's record and given back to `detach` and `reconcile`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The endpoint's id.
    pub endpoint_id: EndpointId,
    /// The network's id.
    pub network_id: NetworkId,
    /// The network's name.
    pub network_name: String,
    /// The container's address.
    pub ip: Ipv4Addr,
    /// The subnet's prefix in bits.
    pub prefix: u8,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The hardware address.
    pub mac: Mac,
    /// The interface's name inside.
    pub ifname: String,
    /// The link name of the host's end of the veth pair.
    pub host_ifname: String,
    /// What is published.
    pub ports: Vec<PublishedPort>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_know_their_bounds() {
        let net: Subnet = "172.17.3.4/16".parse().unwrap();
        assert_eq!(net.to_string(), "172.17.0.0/16");
        assert_eq!(net.last(), Ipv4Addr::new(172, 17, 255, 255));
        assert!(net.contains(Ipv4Addr::new(172, 17, 9, 9)));
        assert!(!net.contains(Ipv4Addr::new(172, 18, 0, 0)));
        let all: Subnet = "0.0.0.0/0".parse().unwrap();
        assert!(all.overlaps(&net) && net.overlaps(&all));
        assert!(!net.overlaps(&"172.18.0.0/16".parse().unwrap()));
        for bad in ["", "1.2.3.4", "1.2.3.4/33", "1.2.3/8", "a/8", "1.2.3.4/-1"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mac_follows_the_address_and_round_trips() {
        let mac = Mac::from_ip(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        for bad in
            ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "01:00:00:00:00:00", "zz:42:ac:11:00:02"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
