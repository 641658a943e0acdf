//! Links, addresses and routes by rtnetlink(7): the few requests that this room needs.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use sys::netlink::{Answer, CREATE, EXCLUSIVE, Error as NetlinkError, Message, Socket};

use crate::error::Error;
use crate::model::{Mac, Subnet};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFF_UP: u32 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u32 = 255;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

const AF_INET: u8 = 2;
const AF_INET6: u16 = 10;
const LOOPBACK_INDEX: u32 = 1;

/// Says on a bridge that we made it, `ip link` shows it. Only such a bridge is swept or deleted.
const OUR_ALIAS: &str = "belljar";

/// `struct ifinfomsg`; `up` asks for IFF_UP.
fn ifinfomsg(index: u32, up: bool) -> [u8; 16] {
    let flags = if up { IFF_UP } else { 0 };
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn failed<T>(
    step: &'static str,
    object: &str,
    result: Result<T, NetlinkError>,
) -> Result<T, Error> {
    result.map_err(|source| Error::Netlink { step, object: object.to_owned(), source })
}

/// What the kernel says of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) kind: Option<String>,
    pub(crate) master: Option<u32>,
    ours: bool,
}

impl Link {
    /// Tells whether this is a bridge that we made, not one that `--bridge` only names.
    pub(crate) fn is_our_bridge(&self) -> bool {
        self.ours && self.kind.as_deref() == Some("bridge")
    }

    fn read(answer: &Answer) -> Option<Self> {
        let field = |at: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(answer.payload.get(at..at + 4)?.try_into().ok()?))
        };
        let attrs = answer.attrs(16);
        let info = attrs.find(IFLA_LINKINFO).map(sys::netlink::attrs);
        Some(Self {
            index: field(4)?,
            up: field(8)? & IFF_UP != 0,
            name: attrs.find_str(IFLA_IFNAME)?.to_owned(),
            kind: info.and_then(|info| info.find_str(IFLA_INFO_KIND).map(str::to_owned)),
            master: attrs.find_u32(IFLA_MASTER),
            ours: attrs.find_str(IFLA_IFALIAS) == Some(OUR_ALIAS),
        })
    }
}

fn get_link(name: &str) -> Message {
    let mut message = Message::new(RTM_GETLINK, 0, &ifinfomsg(0, false));
    message.attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS).attr_str(IFLA_IFNAME, name);
    message
}

/// Finds a link by name.
pub(crate) fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>, Error> {
    match socket.request(&[get_link(name)]) {
        Ok(answers) => Ok(answers.iter().flatten().find_map(Link::read)),
        Err(error) if error.is(Errno::NODEV) => Ok(None),
        Err(source) => failed("look up link", name, Err(source)),
    }
}

/// Lists every link of the namespace.
pub(crate) fn list(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let mut message = Message::new(RTM_GETLINK, 0, &ifinfomsg(0, false));
    message.attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    let answers = failed("list links", "all", socket.dump(&message))?;
    Ok(answers.iter().filter_map(Link::read).collect())
}

/// Makes a bridge, with a fixed hardware address: without one it would take its lowest port's and change with every container.
pub(crate) fn create_bridge(
    socket: &mut Socket,
    name: &str,
    mac: Mac,
    mtu: u32,
) -> Result<(), Error> {
    let mut message = Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name).attr(IFLA_ADDRESS, &mac.octets());
    if mtu > 0 {
        message.attr_u32(IFLA_MTU, mtu);
    }
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, "bridge");
    });
    // The kernel takes no alias with a new link.
    let mut alias = Message::new(RTM_SETLINK, 0, &ifinfomsg(0, false));
    alias.attr_str(IFLA_IFNAME, name).attr(IFLA_IFALIAS, OUR_ALIAS.as_bytes());
    failed("create bridge", name, socket.request(&[message, alias])).map(drop)
}

/// Gives a link its address and brings it up.
pub(crate) fn address_and_up(
    socket: &mut Socket,
    link: &Link,
    ip: Ipv4Addr,
    subnet: Subnet,
) -> Result<(), Error> {
    let messages = [
        new_address(link.index, ip, subnet),
        Message::new(RTM_SETLINK, 0, &ifinfomsg(link.index, true)),
    ];
    failed("bring up", &link.name, socket.request(&messages)).map(drop)
}

/// `RTM_NEWADDR` that is content with an address that is there already.
fn new_address(index: u32, ip: Ipv4Addr, subnet: Subnet) -> Message {
    const REPLACE: u16 = 0x100;
    let mut header = [AF_INET, subnet.prefix(), 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut message = Message::new(RTM_NEWADDR, CREATE | REPLACE, &header);
    message.attr(IFA_LOCAL, &ip.octets()).attr(IFA_ADDRESS, &ip.octets());
    // RFC 3021: /31 and /32 have no broadcast address.
    if subnet.prefix() < 31 {
        message.attr(IFA_BROADCAST, &subnet.last().octets());
    }
    message
}

fn default_route(gateway: Ipv4Addr, index: u32) -> Message {
    let header = [AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    let mut message = Message::new(RTM_NEWROUTE, CREATE | EXCLUSIVE, &header);
    message.attr(RTA_GATEWAY, &gateway.octets()).attr_u32(RTA_OIF, index);
    message
}

/// Returns the IPv4 addresses of a link with their prefixes.
pub(crate) fn addresses(socket: &mut Socket, link: &Link) -> Result<Vec<(Ipv4Addr, u8)>, Error> {
    let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0];
    let answers = failed(
        "list addresses of",
        &link.name,
        socket.dump(&Message::new(RTM_GETADDR, 0, &header)),
    )?;
    Ok(answers
        .iter()
        .filter_map(|answer| {
            let index = u32::from_ne_bytes(answer.payload.get(4..8)?.try_into().ok()?);
            let prefix = *answer.payload.get(1)?;
            let local: [u8; 4] = answer.attrs(8).find(IFA_LOCAL)?.try_into().ok()?;
            (index == link.index).then_some((Ipv4Addr::from(local), prefix))
        })
        .collect())
}

/// Returns the destinations that the host routes, but for the default route and for those through link `except`.
pub(crate) fn routed_subnets(
    socket: &mut Socket,
    except: Option<u32>,
) -> Result<Vec<Subnet>, Error> {
    let mut header = [0; 12];
    header[0] = AF_INET;
    let answers =
        failed("list routes", "all", socket.dump(&Message::new(RTM_GETROUTE, 0, &header)))?;
    Ok(answers
        .iter()
        .filter_map(|answer| {
            let attrs = answer.attrs(12);
            let table = attrs.find_u32(RTA_TABLE)?;
            let destination: [u8; 4] = attrs.find(RTA_DST)?.try_into().ok()?;
            if table == RT_TABLE_LOCAL || (except.is_some() && attrs.find_u32(RTA_OIF) == except) {
                return None;
            }
            Subnet::of(Ipv4Addr::from(destination), *answer.payload.get(1)?).ok()
        })
        .collect())
}

/// A veth pair to make: one end a port of a bridge, the other in a container's namespace.
pub(crate) struct Pair<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) bridge_index: u32,
    pub(crate) netns: BorrowedFd<'a>,
    pub(crate) inner_name: &'a str,
    pub(crate) mac: Mac,
    pub(crate) mtu: u32,
    /// Whether a frame may leave by the port it came in by: a container that reaches itself by its own published port. The
    /// rewriting happens inside the bridge when the host filters bridged frames (`bridge-nf-call-iptables`).
    pub(crate) hairpin: bool,
}

/// Makes the pair in one request: the peer is born inside the namespace under its final name, so that it never shows on the host
/// and nothing has to be moved or renamed; the host's end is born up and in the bridge.
pub(crate) fn create_pair(socket: &mut Socket, pair: &Pair<'_>) -> Result<(), Error> {
    let mut message = Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, &ifinfomsg(0, true));
    message.attr_str(IFLA_IFNAME, pair.host_name).attr_u32(IFLA_MASTER, pair.bridge_index);
    if pair.mtu > 0 {
        message.attr_u32(IFLA_MTU, pair.mtu);
    }
    message.nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_KIND, "veth");
        info.nest(IFLA_INFO_DATA, |data| {
            data.nest(VETH_INFO_PEER, |peer| {
                peer.raw(&ifinfomsg(0, false))
                    .attr_str(IFLA_IFNAME, pair.inner_name)
                    .attr(IFLA_ADDRESS, &pair.mac.octets())
                    .attr_fd(IFLA_NET_NS_FD, pair.netns);
                if pair.mtu > 0 {
                    peer.attr_u32(IFLA_MTU, pair.mtu);
                }
            });
        });
    });
    let mut messages = vec![message];
    messages.extend(pair.hairpin.then(|| hairpin(pair.host_name)));
    failed("create link", pair.host_name, socket.request(&messages)).map(drop)
}

fn hairpin(name: &str) -> Message {
    let mut message = Message::new(RTM_NEWLINK, 0, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |info| {
        info.attr_str(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |port| {
            port.attr_u8(IFLA_BRPORT_MODE, 1);
        });
    });
    message
}

/// Makes a link a port of a bridge again.
pub(crate) fn enslave(
    socket: &mut Socket,
    link: &Link,
    bridge_index: u32,
    with_hairpin: bool,
) -> Result<(), Error> {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(link.index, true));
    message.attr_u32(IFLA_MASTER, bridge_index);
    let mut messages = vec![message];
    messages.extend(with_hairpin.then(|| hairpin(&link.name)));
    failed("put into the bridge", &link.name, socket.request(&messages)).map(drop)
}

/// Deletes a link; one that is gone already is no failure. Returns whether there was one.
pub(crate) fn delete(socket: &mut Socket, name: &str) -> Result<bool, Error> {
    let mut message = Message::new(RTM_DELLINK, 0, &ifinfomsg(0, false));
    message.attr_str(IFLA_IFNAME, name);
    match socket.request(&[message]) {
        Ok(_) => Ok(true),
        Err(error) if error.is(Errno::NODEV) => Ok(false),
        Err(source) => failed("delete link", name, Err(source)),
    }
}

/// Deletes a bridge of ours; one that is not ours stays.
pub(crate) fn delete_our_bridge(socket: &mut Socket, name: &str) -> Result<(), Error> {
    match find(socket, name)? {
        Some(link) if link.is_our_bridge() => delete(socket, name).map(drop),
        _ => Ok(()),
    }
}

/// How the inside of a namespace is to look.
pub(crate) struct Inside<'a> {
    pub(crate) name: &'a str,
    pub(crate) ip: Ipv4Addr,
    pub(crate) subnet: Subnet,
    pub(crate) gateway: Option<Ipv4Addr>,
}

/// Brings up loopback and the interface, gives it its address and the default route. `socket` belongs to the namespace.
pub(crate) fn configure_inside(socket: &mut Socket, inside: &Inside<'_>) -> Result<(), Error> {
    // No IPv6 on an IPv4 network: without a link-local address there is no duplicate address detection either. The mode must be
    // set before the interface is up, which is when the kernel makes the address.
    let mut no_ipv6 = Message::new(RTM_SETLINK, 0, &ifinfomsg(0, false));
    no_ipv6.attr_str(IFLA_IFNAME, inside.name).nest(IFLA_AF_SPEC, |families| {
        families.nest(AF_INET6, |inet6| {
            inet6.attr_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
        });
    });
    // A kernel without IPv6 answers EAFNOSUPPORT; it has nothing to switch off.
    if let Err(error) = socket.request(&[no_ipv6, loopback()])
        && !error.is(Errno::AFNOSUPPORT)
    {
        return failed("set up", inside.name, Err(error));
    }
    let mut interface = Message::new(RTM_SETLINK, 0, &ifinfomsg(0, true));
    interface.attr_str(IFLA_IFNAME, inside.name);
    let answers =
        failed("bring up", inside.name, socket.request(&[interface, get_link(inside.name)]))?;
    let index = answers.iter().flatten().find_map(Link::read).map_or(0, |link| link.index);
    let mut messages = vec![new_address(index, inside.ip, inside.subnet)];
    messages.extend(inside.gateway.map(|gateway| default_route(gateway, index)));
    failed("set address and route of", inside.name, socket.request(&messages)).map(drop)
}

fn loopback() -> Message {
    Message::new(RTM_SETLINK, 0, &ifinfomsg(LOOPBACK_INDEX, true))
}

/// Brings up loopback. `socket` belongs to the namespace.
pub(crate) fn loopback_up(socket: &mut Socket) -> Result<(), Error> {
    failed("bring up", "lo", socket.request(&[loopback()])).map(drop)
}
