//! Network interfaces with their addresses, by rtnetlink(7); default route and name servers by their files.

use std::net::{IpAddr, Ipv4Addr};

use sys::netlink::{Answer, Error, Message, Socket};

use crate::report::{Fact, Report, read};

const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;

pub(crate) fn look(report: &mut Report) {
    report.section("Network");
    match interfaces() {
        Ok(interfaces) if interfaces.is_empty() => report.add("interfaces", Fact::List(Vec::new())),
        Ok(interfaces) => {
            for (name, facts) in interfaces {
                report.add(name, Fact::Seen(facts));
            }
        }
        Err(error) => report.add("interfaces", Fact::Unreadable(in_words(&error))),
    }
    report.add("default route", Fact::of(read("/proc/net/route").map(|text| default_route(&text))));
    report.add(
        "name servers",
        match read("/etc/resolv.conf") {
            Ok(text) => Fact::Words(name_servers(&text)),
            Err(error) => Fact::of(Err(error)),
        },
    );
}

fn in_words(error: &Error) -> String {
    match error {
        Error::Socket(source) => format!("netlink: {}", crate::report::reason(source)),
        other => format!("netlink: {other}"),
    }
}

/// Name and description of every interface.
fn interfaces() -> Result<Vec<(String, String)>, Error> {
    let mut socket = Socket::open_route().map_err(Error::Socket)?;
    let links = socket.dump(&Message::new(RTM_GETLINK, 0, &[0; 16]))?;
    let addresses = socket.dump(&Message::new(RTM_GETADDR, 0, &[0; 8]))?;
    Ok(links.iter().filter_map(|link| describe(link, &addresses)).collect())
}

fn describe(link: &Answer, addresses: &[Answer]) -> Option<(String, String)> {
    let index = number(link, 4)?;
    let flags = number(link, 8)?;
    let attrs = link.attrs(16);
    let mut words = vec![if flags & IFF_UP != 0 { "up" } else { "down" }.to_owned()];
    words.extend(addresses.iter().filter_map(|answer| address_of(answer, index)));
    if flags & IFF_LOOPBACK == 0 {
        words.extend(attrs.find(IFLA_ADDRESS).map(hardware));
    }
    Some((attrs.find_str(IFLA_IFNAME)?.to_owned(), words.join(", ")))
}

/// A field of a header, in the machine's order.
fn number(answer: &Answer, at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(answer.payload.get(at..at + 4)?.try_into().ok()?))
}

/// `struct ifaddrmsg`: family, prefix, flags, scope, index.
fn address_of(answer: &Answer, index: u32) -> Option<String> {
    if number(answer, 4)? != index {
        return None;
    }
    let attrs = answer.attrs(8);
    let bytes = attrs.find(IFA_LOCAL).or_else(|| attrs.find(IFA_ADDRESS))?;
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(format!("{ip}/{}", answer.payload.get(1)?))
}

fn hardware(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// The first default route of `/proc/net/route`: interface, destination and gateway in the machine's order as hexadecimals.
fn default_route(text: &str) -> String {
    let route = text.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let interface = fields.next()?;
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        let gateway = Ipv4Addr::from(gateway.to_ne_bytes());
        (destination == "00000000").then(|| format!("via {gateway} on {interface}"))
    });
    route.unwrap_or_else(|| "none".to_owned())
}

fn name_servers(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_seen() {
        let found = interfaces().unwrap();
        assert!(found.iter().any(|(name, _)| name == "lo"), "{found:?}");
    }

    #[test]
    fn the_default_route_and_the_name_servers_are_read() {
        let hex = format!("{:08X}", u32::from_ne_bytes([172, 17, 0, 1]));
        let text = format!(
            "Iface\tDestination\tGateway\neth0\t000011AC\t00000000\neth0\t00000000\t{hex}\t0003\n"
        );
        assert_eq!(default_route(&text), "via 172.17.0.1 on eth0");
        assert_eq!(default_route("Iface\n"), "none");
        assert_eq!(
            name_servers("# nameserver 1.1.1.1\nnameserver 10.0.0.53 # x\nsearch a\n"),
            ["10.0.0.53"]
        );
    }
}
