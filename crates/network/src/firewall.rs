//! Our nf_tables table: masquerade, isolation between networks, published ports.
//!
//! ```text
//! table ip belljar {
//!   set bridges  { type ifname }                                            every bridge of ours
//!   map ports    { type inet_proto . inet_service : ipv4_addr . inet_service }               published on every address
//!   map ports_on { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }   published on one
//!   chain raw          prerouting -300   iifname @bridges ip daddr 127.0.0.0/8 drop
//!   chain prerouting   nat prerouting -100   fib daddr type local dnat to … map @ports_on; … map @ports
//!   chain output       nat output -100       the same, for the host's own processes
//!   chain postrouting  nat postrouting 100   per network: masquerade to the outside, of hairpins and of loopback sources
//!   chain forward      filter forward 0      internal networks; old and published traffic; inside a network; else drop into ours
//! }
//! ```
//! The maps make a published port cost one element, however many there are. The table is made in one batch, all or nothing. It
//! is judged by the ruleset's generation number: while that is the one our last batch made, nobody has changed anything; when it
//! is not, the table's rules are counted, and the table is made anew if one is missing (`nft flush ruleset`, a firewall's reload).
//! An `accept` here does not overrule a `drop` in somebody else's table: a foreign FORWARD policy can only be reported.

use std::net::Ipv4Addr;

use rustix::io::Errno;
use sys::netlink::{Error as NetlinkError, Message, Socket};

use crate::error::Error;
use crate::model::{Endpoint, NetworkInfo, PublishedPort, Subnet};
use crate::nft::{
    self, Chain, Ct, Element, Expr, Field, Hook, Meta, Register, Rule, Set, Table, Verdict,
    data_type,
};

const BRIDGES: Set = Set { name: "bridges", key: (data_type::IFNAME, 16), data: None };
const TARGET: (u32, u32) = (data_type::concat(data_type::ADDRESS, data_type::SERVICE), 8);
const PORTS: Set = Set {
    name: "ports",
    key: (data_type::concat(data_type::PROTOCOL, data_type::SERVICE), 8),
    data: Some(TARGET),
};
const PORTS_ON: Set = Set {
    name: "ports_on",
    key: (
        data_type::concat(
            data_type::concat(data_type::ADDRESS, data_type::PROTOCOL),
            data_type::SERVICE,
        ),
        12,
    ),
    data: Some(TARGET),
};

const RAW: Hook = Hook { kind: "filter", number: 0, priority: -300 };
const PREROUTING: Hook = Hook { kind: "nat", number: 0, priority: -100 };
const OUTPUT: Hook = Hook { kind: "nat", number: 3, priority: -100 };
const POSTROUTING: Hook = Hook { kind: "nat", number: 4, priority: 100 };
const FORWARD: Hook = Hook { kind: "filter", number: 2, priority: 0 };

/// A batch is refused when somebody changes the ruleset at the same time; then it is made again.
const ATTEMPTS: usize = 20;

/// What the firewall knows of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) bridge: String,
    pub(crate) subnet: Subnet,
    pub(crate) internal: bool,
}

impl Zone {
    pub(crate) fn of(network: &NetworkInfo) -> Option<Self> {
        let (bridge, subnet) = (network.bridge.clone()?, network.subnet?);
        Some(Self { bridge, subnet, internal: network.internal })
    }
}

/// Everything that the table is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ruleset {
    pub(crate) zones: Vec<Zone>,
    pub(crate) ports: Vec<(PublishedPort, Ipv4Addr)>,
}

/// The table's keeper. One thread at a time.
pub(crate) struct Firewall {
    table: String,
    socket: Option<Socket>,
    made: Option<Made>,
    /// Whether the table was made since [`Firewall::take_rebuilt`] was asked last.
    rebuilt: bool,
}

/// What is known of the table that our last batch left.
#[derive(Clone, Debug)]
struct Made {
    generation: u32,
    rules: usize,
    zones: Vec<Zone>,
    /// Whether the kernel took the rules for published ports.
    ports: bool,
}

impl Firewall {
    pub(crate) fn new(bridge: &str) -> Self {
        let table = match bridge {
            "belljar0" => "belljar".to_owned(),
            other => format!("belljar_{other}"),
        };
        Self { table, socket: None, made: None, rebuilt: false }
    }

    /// Returns the table's name.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// Tells whether the table stands, as far as this process knows.
    pub(crate) fn is_made(&self) -> bool {
        self.made.is_some()
    }

    /// Tells whether the table was made since the last question: then the surroundings are worth a look, too.
    pub(crate) fn take_rebuilt(&mut self) -> bool {
        std::mem::take(&mut self.rebuilt)
    }

    /// Makes sure that the table stands and has these zones. Returns whether ports can be published.
    pub(crate) fn ensure(&mut self, wanted: impl Fn() -> Ruleset) -> Result<bool, NetlinkError> {
        for _ in 0..ATTEMPTS {
            let generation = self.generation()?;
            let zones = wanted().zones;
            if self.is_intact(generation, &zones)? {
                break;
            }
            match self.rebuild(generation, &wanted()) {
                Ok(()) => break,
                Err(error) if error.is(Errno::from_raw_os_error(RESTART)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.made.as_ref().is_some_and(|made| made.ports))
    }

    /// Adds an endpoint's ports to the maps.
    pub(crate) fn publish(&mut self, endpoint: &Endpoint) -> Result<(), NetlinkError> {
        let table = Table(&self.table);
        let (any, one) = elements(endpoint.ports.iter().map(|port| (*port, endpoint.ip)));
        let mut messages = table.add_elements(PORTS.name, &any);
        messages.extend(table.add_elements(PORTS_ON.name, &one));
        self.change(&messages)
    }

    /// Takes an endpoint's ports out of the maps; what is gone already is no failure.
    pub(crate) fn withdraw(&mut self, endpoint: &Endpoint) -> Result<(), NetlinkError> {
        for (port, ip) in endpoint.ports.iter().map(|port| (*port, endpoint.ip)) {
            let table = Table(&self.table);
            let (any, one) = elements(std::iter::once((port, ip)));
            let mut messages = table.delete_elements(PORTS.name, &any);
            messages.extend(table.delete_elements(PORTS_ON.name, &one));
            match self.change(&messages) {
                Err(error) if !error.is(Errno::NOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes the table anew, or only removes a stale one when there is nothing to keep.
    pub(crate) fn reset(&mut self, ruleset: &Ruleset, keep: bool) -> Result<(), NetlinkError> {
        self.made = None;
        let get = Table(&self.table).get();
        let exists = match self.socket()?.request(&[get]) {
            Ok(_) => true,
            Err(error) if error.is(Errno::NOENT) => false,
            Err(error) => return Err(error),
        };
        if keep {
            return self.ensure(|| ruleset.clone()).map(drop);
        }
        if exists {
            let delete = Table(&self.table).delete();
            self.socket()?.batch(nft::SUBSYSTEM, None, &[delete])?;
        }
        Ok(())
    }

    /// Tells whether a chain of iptables' filter table drops by default what is forwarded, which no table of ours can undo.
    pub(crate) fn foreign_forward_drops(&mut self) -> bool {
        const NFTA_CHAIN_POLICY: u16 = 5;
        const DROP: u32 = 0;
        let get = Table("filter").get_chain("FORWARD");
        let Ok(socket) = self.socket() else { return false };
        socket.request(&[get]).is_ok_and(|answers| {
            let mut chains = answers.iter().flatten();
            chains.any(|chain| {
                chain.attrs(nft::HEADER_LEN).find_be32(NFTA_CHAIN_POLICY) == Some(DROP)
            })
        })
    }

    fn socket(&mut self) -> Result<&mut Socket, NetlinkError> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::open_netfilter().map_err(NetlinkError::Socket)?,
        };
        Ok(self.socket.insert(socket))
    }

    fn generation(&mut self) -> Result<u32, NetlinkError> {
        const NFTA_GEN_ID: u16 = 1;
        let answers = self.socket()?.request(&[nft::get_generation()])?;
        let mut found = answers.iter().flatten();
        found
            .find_map(|answer| answer.attrs(nft::HEADER_LEN).find_be32(NFTA_GEN_ID))
            .ok_or(NetlinkError::Malformed)
    }

    /// Tells whether the table is as our last batch left it.
    fn is_intact(&mut self, generation: u32, zones: &[Zone]) -> Result<bool, NetlinkError> {
        let Some(made) = self.made.clone().filter(|made| made.zones == zones) else {
            return Ok(false);
        };
        if made.generation == generation {
            return Ok(true);
        }
        let list = Table(&self.table).list_rules();
        let intact = self.socket()?.dump(&list)?.len() == made.rules;
        self.made = intact.then_some(Made { generation, ..made });
        Ok(intact)
    }

    /// Makes the table anew; without the rules for ports when the kernel lacks what they need.
    fn rebuild(&mut self, generation: u32, ruleset: &Ruleset) -> Result<(), NetlinkError> {
        let mut ports = true;
        let mut chains = chains(&ruleset.zones, ports);
        let mut messages = batch(&self.table, ruleset, &chains, ports);
        let mut result = self.socket()?.batch(nft::SUBSYSTEM, Some(generation), &messages);
        if result.as_ref().is_err_and(is_unknown_expression) {
            ports = false;
            chains = self::chains(&ruleset.zones, ports);
            messages = batch(&self.table, ruleset, &chains, ports);
            result = self.socket()?.batch(nft::SUBSYSTEM, Some(generation), &messages);
        }
        result?;
        self.rebuilt = true;
        self.made = Some(Made {
            // The kernel counts up by one per batch, skipping zero.
            generation: generation.wrapping_add(1).max(1),
            rules: chains.iter().map(|chain| chain.rules.len()).sum(),
            zones: ruleset.zones.clone(),
            ports,
        });
        Ok(())
    }

    /// Applies a small change. The generation it makes is only remembered when nobody else came between.
    fn change(&mut self, messages: &[Message]) -> Result<(), NetlinkError> {
        if messages.is_empty() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let generation = self.generation()?;
            match self.socket()?.batch(nft::SUBSYSTEM, Some(generation), messages) {
                Err(error) if error.is(Errno::from_raw_os_error(RESTART)) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    if let Some(made) = self.made.as_mut().filter(|m| m.generation == generation) {
                        made.generation = generation.wrapping_add(1).max(1);
                    }
                    return Ok(());
                }
            }
        }
        self.socket()?.batch(nft::SUBSYSTEM, None, messages)
    }
}

/// `ERESTART`, which the kernel otherwise keeps to itself.
const RESTART: i32 = 85;

/// The kernel has nf_tables but not the expression (`ENOENT`), or not in this family (`EOPNOTSUPP`).
fn is_unknown_expression(error: &NetlinkError) -> bool {
    matches!(error, NetlinkError::Refused { .. })
        && (error.is(Errno::NOENT) || error.is(Errno::OPNOTSUPP))
}

/// The whole table as one batch: created so that it can be deleted, deleted, created.
fn batch(name: &str, ruleset: &Ruleset, chains: &[Chain], with_ports: bool) -> Vec<Message> {
    let table = Table(name);
    let mut messages = vec![table.add(), table.delete(), table.add(), table.add_set(&BRIDGES, 1)];
    let bridges: Vec<Element> =
        ruleset.zones.iter().map(|zone| (nft::ifname(&zone.bridge), None)).collect();
    messages.extend(table.add_elements(BRIDGES.name, &bridges));
    if with_ports {
        let (any, one) = elements(ruleset.ports.iter().copied());
        messages.push(table.add_set(&PORTS, 2));
        messages.push(table.add_set(&PORTS_ON, 3));
        messages.extend(table.add_elements(PORTS.name, &any));
        messages.extend(table.add_elements(PORTS_ON.name, &one));
    }
    for chain in chains {
        messages.push(table.add_chain(chain));
        messages.extend(chain.rules.iter().map(|rule| table.add_rule(chain.name, rule)));
    }
    messages
}

/// Sorts ports to the two maps.
fn elements(
    ports: impl Iterator<Item = (PublishedPort, Ipv4Addr)>,
) -> (Vec<Element>, Vec<Element>) {
    let mut any = Vec::new();
    let mut one = Vec::new();
    for (port, ip) in ports {
        let target = Some(nft::concat_target(ip, port.container_port));
        let number = port.protocol.number();
        if port.host_ip.is_unspecified() {
            any.push((nft::concat_key(None, number, port.host_port), target));
        } else {
            one.push((nft::concat_key(Some(port.host_ip), number, port.host_port), target));
        }
    }
    (any, one)
}

fn chains(zones: &[Zone], with_ports: bool) -> Vec<Chain> {
    let mut chains = vec![
        Chain { name: "raw", hook: RAW, rules: vec![no_loopback_from_inside()] },
        Chain { name: "postrouting", hook: POSTROUTING, rules: postrouting(zones) },
        Chain { name: "forward", hook: FORWARD, rules: forward(zones) },
    ];
    if with_ports {
        let rules = vec![dnat_on_one_address(), dnat_on_every_address()];
        chains.push(Chain { name: "prerouting", hook: PREROUTING, rules: rules.clone() });
        chains.push(Chain { name: "output", hook: OUTPUT, rules });
    }
    chains
}

fn loopback() -> Subnet {
    Subnet::of(Ipv4Addr::LOCALHOST, 8).expect("8 is at most 32")
}

/// A bridge accepts 127.0.0.0/8 (`route_localnet`), so that `localhost:PORT` reaches a published port. The price is this rule: no
/// container may reach the host's own loopback services by sending such a packet (the class of CVE-2020-8558).
fn no_loopback_from_inside() -> Rule {
    let mut rule = vec![Expr::Meta(Meta::InName, Register::R1), Expr::In(BRIDGES.name)];
    rule.extend(nft::address_in(Field::DestinationAddress, loopback()));
    rule.push(Expr::End(Verdict::Drop));
    rule
}

fn dnat_on_every_address() -> Rule {
    let mut rule = nft::destination_is_local();
    rule.extend([
        Expr::Meta(Meta::Protocol, Register::R1),
        Expr::Load(Field::DestinationPort, Register::R32_01),
        Expr::Map(PORTS.name),
        Expr::Dnat,
    ]);
    rule
}

fn dnat_on_one_address() -> Rule {
    let mut rule = nft::destination_is_local();
    rule.extend([
        Expr::Load(Field::DestinationAddress, Register::R32_00),
        Expr::Meta(Meta::Protocol, Register::R32_01),
        Expr::Load(Field::DestinationPort, Register::R32_02),
        Expr::Map(PORTS_ON.name),
        Expr::Dnat,
    ]);
    rule
}

fn postrouting(zones: &[Zone]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for zone in zones {
        let from_zone = || nft::address_in(Field::SourceAddress, zone.subnet);
        let ends = || vec![Expr::Masquerade];
        if !zone.internal {
            rules.push([from_zone(), nft::goes_not_to(&zone.bridge), ends()].concat());
        }
        // A container that reaches a neighbour by its published port must get the answer through us, not directly.
        let published = nft::connection_has(Ct::Status, nft::STATUS_DNAT);
        rules.push([from_zone(), nft::goes_to(&zone.bridge), published, ends()].concat());
        let from_host = nft::address_in(Field::SourceAddress, loopback());
        rules.push([from_host, nft::goes_to(&zone.bridge), ends()].concat());
    }
    rules
}

fn forward(zones: &[Zone]) -> Vec<Rule> {
    let end = |verdict| vec![Expr::End(verdict)];
    let mut rules = Vec::new();
    for zone in zones.iter().filter(|zone| zone.internal) {
        let (into, out) = (nft::goes_to(&zone.bridge), nft::comes_from(&zone.bridge));
        rules.push([out, nft::goes_not_to(&zone.bridge), end(Verdict::Drop)].concat());
        rules.push([into, nft::comes_not_from(&zone.bridge), end(Verdict::Drop)].concat());
    }
    let old = nft::connection_has(Ct::State, nft::STATE_OF_OLD);
    rules.push([old, end(Verdict::Accept)].concat());
    let published = nft::connection_has(Ct::Status, nft::STATUS_DNAT);
    rules.push([published, end(Verdict::Accept)].concat());
    for zone in zones {
        let (out, into) = (nft::comes_from(&zone.bridge), nft::goes_to(&zone.bridge));
        rules.push([out, into, end(Verdict::Accept)].concat());
    }
    let into_ours = vec![Expr::Meta(Meta::OutName, Register::R1), Expr::In(BRIDGES.name)];
    rules.push([into_ours, end(Verdict::Drop)].concat());
    rules
}

/// Names the failure to publish.
pub(crate) fn cannot_publish(source: NetlinkError) -> Error {
    Error::NoNat { source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn published(host_ip: [u8; 4], host_port: u16) -> (PublishedPort, Ipv4Addr) {
        let port = PublishedPort {
            protocol: Protocol::Udp,
            container_port: 53,
            host_ip: host_ip.into(),
            host_port,
        };
        (port, Ipv4Addr::new(172, 17, 0, 2))
    }

    #[test]
    fn a_port_is_one_element_of_the_map_for_its_address() {
        let (any, one) =
            elements([published([0; 4], 5353), published([127, 0, 0, 1], 54)].into_iter());
        // protocol . port : address . port, each padded to four bytes
        let target = Some(vec![172, 17, 0, 2, 0, 53, 0, 0]);
        assert_eq!(any, [(vec![17, 0, 0, 0, 0x14, 0xe9, 0, 0], target.clone())]);
        assert_eq!(one, [(vec![127, 0, 0, 1, 17, 0, 0, 0, 0, 54, 0, 0], target)]);
    }

    #[test]
    fn thousands_of_ports_are_a_few_messages_and_no_rule() {
        let ports: Vec<_> = (1..=5000).map(|port| published([0; 4], port)).collect();
        let none = Ruleset::default();
        let many = Ruleset { ports, ..Ruleset::default() };
        let count =
            |ruleset: &Ruleset| batch("t", ruleset, &chains(&ruleset.zones, true), true).len();
        assert_eq!(count(&many) - count(&none), 10);
    }

    #[test]
    fn each_daemon_has_its_own_table() {
        assert_eq!(Firewall::new("belljar0").table(), "belljar");
        assert_eq!(Firewall::new("bj1").table(), "belljar_bj1");
    }
}
