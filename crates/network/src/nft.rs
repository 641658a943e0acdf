//! The part of nf_tables that the firewall needs, as data and as netlink messages (linux/netfilter/nf_tables.h).
//!
//! Integers are in network order, registers hold values as the packet or the kernel has them; a name is compared over all 16 bytes
//! of an interface name.

use std::net::Ipv4Addr;

use sys::netlink::{APPEND, CREATE, Message};

use crate::model::Subnet;

/// `NFNL_SUBSYS_NFTABLES`
pub(crate) const SUBSYSTEM: u8 = 10;
const NFPROTO_IPV4: u8 = 2;
/// `struct nfgenmsg`: family, version, resource id.
const HEADER: [u8; 4] = [NFPROTO_IPV4, 0, 0, 0];
/// Length of [`HEADER`].
pub(crate) const HEADER_LEN: usize = HEADER.len();

const NEWTABLE: u8 = 0;
const GETTABLE: u8 = 1;
const DELTABLE: u8 = 2;
const NEWCHAIN: u8 = 3;
const GETCHAIN: u8 = 4;
const NEWRULE: u8 = 6;
const GETRULE: u8 = 7;
const NEWSET: u8 = 9;
const NEWSETELEM: u8 = 12;
const DELSETELEM: u8 = 14;
const GETGEN: u8 = 16;

/// A set element is about 60 bytes and an attribute ends at 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 500;

fn message(kind: u8, flags: u16) -> Message {
    Message::new(u16::from(SUBSYSTEM) << 8 | u16::from(kind), flags, &HEADER)
}

/// Where values are kept while a rule is evaluated. `R32_00` is the first quarter of the 16-byte register 1.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Register {
    R32_00 = 8,
    R32_01 = 9,
    R32_02 = 10,
    R1 = 1,
}

/// What a packet's metadata is asked for.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Meta {
    InName = 6,
    OutName = 7,
    Protocol = 16,
}

/// What its connection is asked for.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Ct {
    State = 0,
    Status = 2,
}

/// Established and related.
pub(crate) const STATE_OF_OLD: u32 = 2 | 4;
/// The destination was rewritten.
pub(crate) const STATUS_DNAT: u32 = 1 << 5;

/// A part of the packet's headers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    SourceAddress,
    DestinationAddress,
    DestinationPort,
}

impl Field {
    /// Base (network or transport header), offset, length.
    fn place(self) -> (u32, u32, u32) {
        match self {
            Self::SourceAddress => (1, 12, 4),
            Self::DestinationAddress => (1, 16, 4),
            Self::DestinationPort => (2, 2, 2),
        }
    }
}

/// How a rule ends.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Verdict {
    Drop = 0,
    Accept = 1,
}

/// One step of a rule.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    /// Loads metadata.
    Meta(Meta, Register),
    /// Loads a header field.
    Load(Field, Register),
    /// Loads a fact about the connection into register 1.
    Connection(Ct),
    /// Loads into register 1 whether the destination is the host's own address (`fib daddr type`).
    DestinationType,
    /// Keeps the bits of register 1 that are set in the mask.
    Mask(Vec<u8>),
    /// Goes on if register 1 equals the bytes.
    Is(Vec<u8>),
    /// Goes on if register 1 differs from the bytes.
    IsNot(Vec<u8>),
    /// Goes on if register 1 is in the set.
    In(&'static str),
    /// Goes on if the map has the key in register 1; its data goes to register 1.
    Map(&'static str),
    /// Rewrites the destination to the address and port in register 1.
    Dnat,
    /// Rewrites the source to the outgoing interface's address.
    Masquerade,
    /// Ends the chain.
    End(Verdict),
}

const R1: u32 = Register::R1 as u32;
const RTN_LOCAL: u32 = 2;

impl Expr {
    fn name(&self) -> &'static str {
        match self {
            Self::Meta(..) => "meta",
            Self::Load(..) => "payload",
            Self::Connection(..) => "ct",
            Self::DestinationType => "fib",
            Self::Mask(..) => "bitwise",
            Self::Is(..) | Self::IsNot(..) => "cmp",
            Self::In(..) | Self::Map(..) => "lookup",
            Self::Dnat => "nat",
            Self::Masquerade => "masq",
            Self::End(..) => "immediate",
        }
    }

    fn encode(&self, list: &mut Message) {
        list.nest(1, |element| {
            element.attr_str(1, self.name()).nest(2, |data| self.encode_data(data));
        });
    }

    /// The attributes are numbered per expression: `NFTA_META_*`, `NFTA_PAYLOAD_*`, and so on, in the order of the header file.
    fn encode_data(&self, data: &mut Message) {
        match self {
            Self::Meta(key, register) => {
                data.attr_be32(1, *register as u32).attr_be32(2, *key as u32);
            }
            Self::Load(field, register) => {
                let (base, offset, len) = field.place();
                data.attr_be32(1, *register as u32).attr_be32(2, base);
                data.attr_be32(3, offset).attr_be32(4, len);
            }
            Self::Connection(key) => {
                data.attr_be32(1, R1).attr_be32(2, *key as u32);
            }
            Self::DestinationType => {
                const RESULT_ADDRTYPE: u32 = 3;
                const OF_DESTINATION: u32 = 1 << 1;
                data.attr_be32(1, R1).attr_be32(2, RESULT_ADDRTYPE).attr_be32(3, OF_DESTINATION);
            }
            Self::Mask(mask) => {
                let len = u32::try_from(mask.len()).unwrap_or(0);
                data.attr_be32(1, R1).attr_be32(2, R1).attr_be32(3, len);
                value(data, 4, mask);
                value(data, 5, &vec![0; mask.len()]);
            }
            Self::Is(bytes) => {
                data.attr_be32(1, R1).attr_be32(2, 0);
                value(data, 3, bytes);
            }
            Self::IsNot(bytes) => {
                data.attr_be32(1, R1).attr_be32(2, 1);
                value(data, 3, bytes);
            }
            Self::In(set) => {
                data.attr_str(1, set).attr_be32(2, R1);
            }
            Self::Map(map) => {
                data.attr_str(1, map).attr_be32(2, R1).attr_be32(3, R1);
            }
            Self::Dnat => {
                const DESTINATION: u32 = 1;
                let port = Register::R32_01 as u32;
                data.attr_be32(1, DESTINATION).attr_be32(2, u32::from(NFPROTO_IPV4));
                data.attr_be32(3, R1).attr_be32(5, port);
            }
            Self::Masquerade => {}
            Self::End(verdict) => {
                data.attr_be32(1, 0).nest(2, |data| {
                    data.nest(2, |code| {
                        code.attr_be32(1, *verdict as u32);
                    });
                });
            }
        }
    }
}

/// `struct nft_data` with a value.
fn value(data: &mut Message, kind: u16, bytes: &[u8]) {
    data.nest(kind, |inner| {
        inner.attr(1, bytes);
    });
}

/// An interface name as a register holds it.
pub(crate) fn ifname(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.truncate(15);
    bytes.resize(16, 0);
    bytes
}

/// A rule: its steps in order.
pub(crate) type Rule = Vec<Expr>;

/// `iifname NAME`
pub(crate) fn comes_from(name: &str) -> Rule {
    vec![Expr::Meta(Meta::InName, Register::R1), Expr::Is(ifname(name))]
}

/// `iifname != NAME`
pub(crate) fn comes_not_from(name: &str) -> Rule {
    vec![Expr::Meta(Meta::InName, Register::R1), Expr::IsNot(ifname(name))]
}

/// `oifname NAME`
pub(crate) fn goes_to(name: &str) -> Rule {
    vec![Expr::Meta(Meta::OutName, Register::R1), Expr::Is(ifname(name))]
}

/// `oifname != NAME`
pub(crate) fn goes_not_to(name: &str) -> Rule {
    vec![Expr::Meta(Meta::OutName, Register::R1), Expr::IsNot(ifname(name))]
}

/// `ip saddr SUBNET` or `ip daddr SUBNET`
pub(crate) fn address_in(field: Field, subnet: Subnet) -> Rule {
    let mask = crate::model::mask(subnet.prefix()).to_be_bytes().to_vec();
    let base = subnet.base().octets().to_vec();
    vec![Expr::Load(field, Register::R1), Expr::Mask(mask), Expr::Is(base)]
}

/// `ct state` or `ct status` has one of the bits. Connection facts are in the machine's order.
pub(crate) fn connection_has(key: Ct, bits: u32) -> Rule {
    let zero = 0u32.to_ne_bytes().to_vec();
    vec![Expr::Connection(key), Expr::Mask(bits.to_ne_bytes().to_vec()), Expr::IsNot(zero)]
}

/// `fib daddr type local`
pub(crate) fn destination_is_local() -> Rule {
    vec![Expr::DestinationType, Expr::Is(RTN_LOCAL.to_ne_bytes().to_vec())]
}

/// Where a chain hooks in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// A base chain with its rules; its policy is accept.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) hook: Hook,
    pub(crate) rules: Vec<Rule>,
}

/// nft's numbers of data types: a concatenation is one number of six bits after the other.
pub(crate) mod data_type {
    pub(crate) const ADDRESS: u32 = 7;
    pub(crate) const PROTOCOL: u32 = 12;
    pub(crate) const SERVICE: u32 = 13;
    pub(crate) const IFNAME: u32 = 41;

    /// Concatenates.
    pub(crate) const fn concat(first: u32, second: u32) -> u32 {
        first << 6 | second
    }
}

/// A set, or a map when it has data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    /// Type and bytes of the key.
    pub(crate) key: (u32, u32),
    /// Type and bytes of the data.
    pub(crate) data: Option<(u32, u32)>,
}

/// An element: key, data.
pub(crate) type Element = (Vec<u8>, Option<Vec<u8>>);

/// Encodes what a published port's key and data are made of: every part padded to four bytes.
pub(crate) fn concat_key(ip: Option<Ipv4Addr>, protocol: u8, port: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(12);
    key.extend(ip.iter().flat_map(Ipv4Addr::octets));
    key.extend_from_slice(&[protocol, 0, 0, 0]);
    key.extend_from_slice(&port.to_be_bytes());
    key.extend_from_slice(&[0, 0]);
    key
}

/// Encodes an address and a port.
pub(crate) fn concat_target(ip: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut data = ip.octets().to_vec();
    data.extend_from_slice(&port.to_be_bytes());
    data.extend_from_slice(&[0, 0]);
    data
}

/// Requests about one table.
pub(crate) struct Table<'a>(pub(crate) &'a str);

impl Table<'_> {
    pub(crate) fn add(&self) -> Message {
        let mut add = message(NEWTABLE, CREATE);
        add.attr_str(1, self.0);
        add
    }

    pub(crate) fn delete(&self) -> Message {
        let mut delete = message(DELTABLE, 0);
        delete.attr_str(1, self.0);
        delete
    }

    pub(crate) fn get(&self) -> Message {
        let mut get = message(GETTABLE, 0);
        get.attr_str(1, self.0);
        get
    }

    pub(crate) fn add_chain(&self, chain: &Chain) -> Message {
        let mut add = message(NEWCHAIN, CREATE);
        add.attr_str(1, self.0).attr_str(3, chain.name).attr_str(7, chain.hook.kind);
        add.nest(4, |hook| {
            hook.attr_be32(1, chain.hook.number);
            hook.attr_be32(2, chain.hook.priority.cast_unsigned());
        });
        add
    }

    pub(crate) fn get_chain(&self, name: &str) -> Message {
        let mut get = message(GETCHAIN, 0);
        get.attr_str(1, self.0).attr_str(3, name);
        get
    }

    pub(crate) fn add_rule(&self, chain: &str, rule: &[Expr]) -> Message {
        let mut add = message(NEWRULE, CREATE | APPEND);
        add.attr_str(1, self.0).attr_str(2, chain).nest(4, |list| {
            for expr in rule {
                expr.encode(list);
            }
        });
        add
    }

    /// Dump request of the table's rules.
    pub(crate) fn list_rules(&self) -> Message {
        let mut list = message(GETRULE, 0);
        list.attr_str(1, self.0);
        list
    }

    pub(crate) fn add_set(&self, set: &Set, id: u32) -> Message {
        const IS_MAP: u32 = 8;
        let mut add = message(NEWSET, CREATE);
        add.attr_str(1, self.0).attr_str(2, set.name).attr_be32(10, id);
        add.attr_be32(3, if set.data.is_some() { IS_MAP } else { 0 });
        add.attr_be32(4, set.key.0).attr_be32(5, set.key.1);
        if set.key.0 == data_type::IFNAME {
            // nft's own note, only so that `nft list` prints the names: key byte order (type 0, 4 bytes) is the host's (1).
            let [a, b, c, d] = 1u32.to_ne_bytes();
            add.attr(13, &[0, 4, a, b, c, d]);
        }
        if let Some((kind, len)) = set.data {
            add.attr_be32(6, kind).attr_be32(7, len);
        }
        add
    }

    pub(crate) fn add_elements(&self, set: &str, elements: &[Element]) -> Vec<Message> {
        self.elements(NEWSETELEM, CREATE, set, elements)
    }

    pub(crate) fn delete_elements(&self, set: &str, elements: &[Element]) -> Vec<Message> {
        self.elements(DELSETELEM, 0, set, elements)
    }

    fn elements(&self, kind: u8, flags: u16, set: &str, elements: &[Element]) -> Vec<Message> {
        let encode = |part: &[Element]| {
            let mut change = message(kind, flags);
            change.attr_str(1, self.0).attr_str(2, set).nest(3, |list| {
                for (key, data) in part {
                    list.nest(1, |element| {
                        value(element, 1, key);
                        if let Some(data) = data {
                            value(element, 2, data);
                        }
                    });
                }
            });
            change
        };
        elements.chunks(ELEMENTS_PER_MESSAGE).map(encode).collect()
    }
}

/// Asks for the ruleset's generation: a number that changes with every change anybody makes.
pub(crate) fn get_generation() -> Message {
    message(GETGEN, 0)
}
