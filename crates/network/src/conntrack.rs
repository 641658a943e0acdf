//! Old UDP flows, by ctnetlink (linux/netfilter/nfnetlink_conntrack.h).
//!
//! The kernel asks the nat chains once per flow. A UDP client that goes on sending from the same port keeps its flow alive: it would
//! go on talking to a container that is gone, or never reach one that was published after its first packet.

use std::net::Ipv4Addr;

use sys::netlink::{Answer, Attrs, Error as NetlinkError, Message, Socket, attrs};

use crate::model::{Endpoint, Protocol};

const SUBSYSTEM: u16 = 1;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;
/// `struct nfgenmsg` for IPv4.
const HEADER: [u8; 4] = [2, 0, 0, 0];

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;

/// Forgets the UDP flows that an endpoint's published ports concern: those that its address answers, and those to its host ports.
pub(crate) fn forget(endpoint: &Endpoint) -> Result<(), NetlinkError> {
    let udp = endpoint.ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let host_ports: Vec<u16> = udp.map(|port| port.host_port).collect();
    if host_ports.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::open_netfilter().map_err(NetlinkError::Socket)?;
    for flow in socket.dump(&Message::new(GET, 0, &HEADER))? {
        if let Some(original) = concerned(&flow, endpoint.ip, &host_ports) {
            let mut delete = Message::new(DELETE, 0, &HEADER);
            delete.nest(CTA_TUPLE_ORIG, |tuple| {
                tuple.raw(original);
            });
            // It may have ended by itself.
            let _ = socket.request(&[delete]);
        }
    }
    Ok(())
}

/// Returns the flow's original direction if it is a concerned one.
fn concerned<'a>(flow: &'a Answer, ip: Ipv4Addr, host_ports: &[u16]) -> Option<&'a [u8]> {
    let flow = flow.attrs(HEADER.len());
    let original = flow.find(CTA_TUPLE_ORIG)?;
    let protocol = nested(original, CTA_TUPLE_PROTO)?;
    if protocol.find(CTA_PROTO_NUM)? != [Protocol::Udp.number()] {
        return None;
    }
    let port = u16::from_be_bytes(protocol.find(CTA_PROTO_DST_PORT)?.try_into().ok()?);
    let answers = nested(flow.find(CTA_TUPLE_REPLY)?, CTA_TUPLE_IP)?.find(CTA_IP_V4_SRC);
    (host_ports.contains(&port) || answers == Some(&ip.octets())).then_some(original)
}

fn nested(tuple: &[u8], kind: u16) -> Option<Attrs<'_>> {
    attrs(tuple).find(kind).map(attrs)
}
