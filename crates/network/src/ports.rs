//! Host ports: who of our containers has which, and a bound socket for each, so that no other process of the host takes it.
//!
//! The socket never carries a byte, the nf_tables map does the work before a packet gets to it. A daemon that is killed loses the
//! reservations but not the published ports; the next one reserves again.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::error::Error;
use crate::model::{PortRequest, Protocol, PublishedPort};

/// Docker's range for ports that nobody chose; the kernel's default `ip_local_port_range`.
const EPHEMERAL: (u16, u16) = (32768, 60999);

type Key = (Protocol, Ipv4Addr, u16);

/// The reserved host ports of one daemon.
#[derive(Debug, Default)]
pub(crate) struct HostPorts {
    taken: HashMap<Key, Option<OwnedFd>>,
    /// Where the search for an ephemeral port goes on, so that a port is not reused at once.
    next: u16,
}

impl HostPorts {
    /// Reserves everything that is asked, or nothing.
    pub(crate) fn reserve(&mut self, asks: &[PortRequest]) -> Result<Vec<PublishedPort>, Error> {
        let mut reserved = Vec::with_capacity(asks.len());
        for ask in asks {
            match self.reserve_one(ask) {
                Ok(port) => reserved.push(port),
                Err(error) => {
                    self.release(&reserved);
                    return Err(error);
                }
            }
        }
        Ok(reserved)
    }

    fn reserve_one(&mut self, ask: &PortRequest) -> Result<PublishedPort, Error> {
        let ip = ask.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let published = |host_port| PublishedPort {
            protocol: ask.protocol,
            container_port: ask.container_port,
            host_ip: ip,
            host_port,
        };
        let mut refusal = Error::PortTaken { ip, protocol: ask.protocol, port: 0 };
        for port in self.search(ask) {
            match self.take(ask.protocol, ip, port) {
                Ok(()) => {
                    if ask.host_ports.is_none() {
                        self.next = port.wrapping_add(1);
                    }
                    return Ok(published(port));
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// The ports to try, in order.
    fn search(&self, ask: &PortRequest) -> impl Iterator<Item = u16> + use<> {
        let (first, last) = ask.host_ports.unwrap_or(EPHEMERAL);
        let asked = ask.host_ports.is_some();
        let middle = if !asked && (first..=last).contains(&self.next) { self.next } else { first };
        (middle..=last).chain(first..middle)
    }

    fn take(&mut self, protocol: Protocol, ip: Ipv4Addr, port: u16) -> Result<(), Error> {
        if self.conflicts(protocol, ip, port) {
            return Err(Error::PortTaken { ip, protocol, port });
        }
        let socket = hold(protocol, ip, port).map_err(|errno| match errno {
            Errno::ADDRINUSE => Error::PortTaken { ip, protocol, port },
            other => Error::Port { ip, protocol, port, source: io::Error::from(other) },
        })?;
        self.taken.insert((protocol, ip, port), socket);
        Ok(())
    }

    fn conflicts(&self, protocol: Protocol, ip: Ipv4Addr, port: u16) -> bool {
        let mut taken = self.taken.keys();
        taken.any(|(other, at, number)| {
            (*other, *number) == (protocol, port)
                && (*at == ip || at.is_unspecified() || ip.is_unspecified())
        })
    }

    /// Takes over the ports of a container that runs already. A port that somebody took meanwhile stays published.
    pub(crate) fn adopt(&mut self, ports: &[PublishedPort]) -> Result<(), Error> {
        let mut result = Ok(());
        for port in ports {
            if let Err(error) = self.take(port.protocol, port.host_ip, port.host_port) {
                self.taken.entry((port.protocol, port.host_ip, port.host_port)).or_insert(None);
                result = Err(error);
            }
        }
        result
    }

    /// Gives ports back.
    pub(crate) fn release(&mut self, ports: &[PublishedPort]) {
        for port in ports {
            self.taken.remove(&(port.protocol, port.host_ip, port.host_port));
        }
    }
}

/// Binds the port without listening. `SO_REUSEADDR` comes second: it lets pass what an ended connection left behind, but would let
/// another process with the same option take the port from us.
fn hold(protocol: Protocol, ip: Ipv4Addr, port: u16) -> Result<Option<OwnedFd>, Errno> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
        // Few kernels have it, and binding would load its module.
        Protocol::Sctp => return Ok(None),
    };
    let address = SocketAddrV4::new(ip, port);
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => {
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &address)?;
        }
        other => other?,
    }
    Ok(Some(socket))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn ask(host_ip: Option<Ipv4Addr>, host_ports: Option<(u16, u16)>) -> PortRequest {
        PortRequest { protocol: Protocol::Tcp, container_port: 80, host_ip, host_ports }
    }

    #[test]
    fn a_port_is_reserved_once_and_free_after_release() {
        let mut ports = HostPorts::default();
        let got = ports.reserve(&[ask(Some(Ipv4Addr::LOCALHOST), None)]).unwrap();
        let port = got[0].host_port;
        assert!(port >= EPHEMERAL.0);
        let again = ask(None, Some((port, port)));
        let error = ports.reserve(&[again]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Bind for 0.0.0.0:{port} failed: port is already allocated")
        );
        // Another process of the host cannot have it either.
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err());
        ports.release(&got);
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn a_listener_of_the_host_is_respected_and_a_range_goes_on() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut ports = HostPorts::default();
        let ip = Some(Ipv4Addr::LOCALHOST);
        let error = ports.reserve(&[ask(ip, Some((port, port)))]).unwrap_err();
        assert!(matches!(error, Error::PortTaken { .. }), "{error:?}");
        if let Ok(got) = ports.reserve(&[ask(ip, Some((port, port.saturating_add(20))))]) {
            assert!(got[0].host_port > port);
        }
    }

    #[test]
    fn all_or_nothing() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let busy = socket.local_addr().unwrap().port();
        let mut ports = HostPorts::default();
        let free = ask(Some(Ipv4Addr::LOCALHOST), None);
        let udp = PortRequest { protocol: Protocol::Udp, host_ports: Some((busy, busy)), ..free };
        assert!(ports.reserve(&[free, udp]).is_err());
        assert!(ports.taken.is_empty());
    }
}
