//! A host of its own for each test: a network namespace, and another one as the world outside.

#![allow(unreachable_pub, reason = "a module of a test binary")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use network::{Endpoint, EndpointRequest, Error, Network, NetworkOptions, PortRequest, Protocol};
use sys::netlink::{CREATE, EXCLUSIVE, Message, Socket};
use sys::netns;
use tempfile::TempDir;
use types::ContainerId;

pub const HOST_IP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const OUTSIDE_IP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const PATIENCE: Duration = Duration::from_secs(3);
/// Long enough for a local handshake, short enough to wait for one that must not happen.
const IMPATIENCE: Duration = Duration::from_millis(300);

/// The host of a test.
pub struct Bed {
    pub host: OwnedFd,
    pub outside: OwnedFd,
    pub dir: TempDir,
}

/// A container, as far as the network is concerned.
pub struct Inmate {
    pub id: ContainerId,
    pub netns: OwnedFd,
}

pub fn inmate() -> Inmate {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_ne_bytes());
    Inmate { id: ContainerId::from_bytes(&seed), netns: netns::create().unwrap() }
}

impl Bed {
    /// Makes the bed; none without the right to make network namespaces (the precondition of every test here).
    pub fn new() -> Option<Self> {
        let Ok(host) = netns::create() else {
            testkit::skip("no permission to make a network namespace");
            return None;
        };
        let outside = netns::create().unwrap();
        netns::inside(host.as_fd(), || connect_outside(&outside)).unwrap();
        netns::inside(outside.as_fd(), || address("eth0", OUTSIDE_IP, 24)).unwrap();
        Some(Self { host, outside, dir: TempDir::new().unwrap() })
    }

    /// Runs as a process of the host.
    pub fn on_host<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::inside(self.host.as_fd(), work).unwrap()
    }

    pub fn outside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::inside(self.outside.as_fd(), work).unwrap()
    }

    pub fn options(&self) -> NetworkOptions {
        NetworkOptions::new(self.dir.path().join("network"))
    }

    pub fn open(&self) -> Network {
        self.on_host(|| Network::open(self.options())).unwrap()
    }

    pub fn attach(
        &self,
        network: &Network,
        inmate: &Inmate,
        ask: &EndpointRequest,
    ) -> Result<Endpoint, Error> {
        self.on_host(|| network.attach(&inmate.id, inmate.netns.as_fd(), ask))
    }

    pub fn detach(&self, network: &Network, inmate: &Inmate, endpoint: &Endpoint) {
        self.on_host(|| network.detach(&inmate.id, endpoint)).unwrap();
    }

    /// Names of the host's links.
    pub fn links(&self) -> Vec<String> {
        let dump = || Socket::open_route().unwrap().dump(&Message::new(18, 0, &[0; 16])).unwrap();
        let links = self.on_host(dump);
        links.iter().filter_map(|link| link.attrs(16).find_str(3).map(str::to_owned)).collect()
    }

    pub fn veths(&self) -> Vec<String> {
        self.links().into_iter().filter(|name| name.starts_with("veth")).collect()
    }

    /// `nft flush ruleset` or the deletion of one table: what other programs do to a host.
    pub fn delete_tables(&self, table: Option<&str>) {
        self.on_host(|| {
            let mut message = Message::new(10 << 8 | 2, 0, &[0, 0, 0, 0]);
            if let Some(name) = table {
                message = Message::new(10 << 8 | 2, 0, &[2, 0, 0, 0]);
                message.attr_str(1, name);
            }
            Socket::open_netfilter().unwrap().batch(10, None, &[message]).unwrap();
        });
    }

    /// Names of the host's nf_tables tables.
    pub fn tables(&self) -> Vec<String> {
        let list =
            || Socket::open_netfilter().unwrap().dump(&Message::new(10 << 8 | 1, 0, &[0; 4]));
        let tables = self.on_host(list).unwrap();
        tables.iter().filter_map(|table| table.attrs(4).find_str(1).map(str::to_owned)).collect()
    }
}

/// `ip link add eth0 type veth peer eth0 netns OUTSIDE; ip addr add …; ip link set up`
fn connect_outside(outside: &OwnedFd) {
    let mut message = Message::new(16, CREATE | EXCLUSIVE, &[0; 16]);
    message.attr_str(3, "eth0").nest(18, |info| {
        info.attr_str(1, "veth").nest(2, |data| {
            data.nest(1, |peer| {
                peer.raw(&[0; 16]).attr_str(3, "eth0").attr_fd(28, outside);
            });
        });
    });
    Socket::open_route().unwrap().request(&[message]).unwrap();
    address("eth0", HOST_IP, 24);
    up("lo");
}

pub fn up(name: &str) {
    let mut header = [0; 16];
    (header[8], header[12]) = (1, 1);
    let mut message = Message::new(19, 0, &header);
    message.attr_str(3, name);
    Socket::open_route().unwrap().request(&[message]).unwrap();
}

/// Gives an interface of the calling thread's namespace an address and brings it up.
pub fn address(name: &str, ip: Ipv4Addr, prefix: u8) {
    let mut socket = Socket::open_route().unwrap();
    let mut get = Message::new(18, 0, &[0; 16]);
    get.attr_str(3, name);
    let link = socket.request(&[get]).unwrap().remove(0).remove(0);
    let mut header = [2, prefix, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&link.payload[4..8]);
    let mut add = Message::new(20, CREATE, &header);
    add.attr(2, &ip.octets()).attr(1, &ip.octets());
    socket.request(&[add]).unwrap();
    up(name);
}

/// A TCP server that answers each client with the address it came from.
pub fn echo(place: &OwnedFd, port: u16) -> Arc<TcpListener> {
    let bind = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    let listener = Arc::new(netns::inside(place.as_fd(), bind).unwrap());
    let server = Arc::clone(&listener);
    thread::spawn(move || {
        while let Ok((mut client, from)) = server.accept() {
            let _ = client.write_all(from.ip().to_string().as_bytes());
        }
    });
    listener
}

/// Connects from a namespace to an [`echo`] and returns the address that it saw.
pub fn ask_from(place: &OwnedFd, ip: Ipv4Addr, port: u16) -> std::io::Result<Ipv4Addr> {
    ask_within(place, ip, port, PATIENCE)
}

/// Tells whether no connection comes about.
pub fn is_cut_off(place: &OwnedFd, ip: Ipv4Addr, port: u16) -> bool {
    ask_within(place, ip, port, IMPATIENCE).is_err()
}

fn ask_within(
    place: &OwnedFd,
    ip: Ipv4Addr,
    port: u16,
    wait: Duration,
) -> std::io::Result<Ipv4Addr> {
    let talk = || {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, port)), wait)?;
        stream.set_read_timeout(Some(wait))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        text.parse().map_err(std::io::Error::other)
    };
    netns::inside(place.as_fd(), talk)?
}

/// `-p PORT:CONTAINER`
pub fn published(host_port: u16, container_port: u16) -> EndpointRequest {
    let port = PortRequest {
        protocol: Protocol::Tcp,
        container_port,
        host_ip: None,
        host_ports: Some((host_port, host_port)),
    };
    EndpointRequest { ports: vec![port], ..EndpointRequest::default() }
}
