//! Networks of containers.
//!
//! Owns: the bridges it makes (`belljar0` and `br-<id>`), the veth pairs on them, one nf_tables table (`belljar`, or
//! `belljar_<bridge>` for a daemon with another bridge), the address leases, reserved host ports, and the files under
//! `<data>/network` (one record per network). Called by the engine only. Everything is said to the kernel by netlink.
//!
//! Never does: run a program, touch a bridge, table or rule that it did not make, wait for a container.
//!
//! Leases are not written to disk: the engine keeps each [`Endpoint`] in its container's record and hands the living ones to
//! [`Network::reconcile`] at start, before the first [`Network::attach`]. What the kernel has beyond them is swept.
//!
//! ```text
//! attach:  bridge and table stand? → lease, ports → veth pair (one request) → inside: address, route → map elements
//! detach:  map elements → veth pair → lease, ports        (an address is free only when nothing answers to it any more)
//! ```
#![forbid(unsafe_code)]

mod attach;
mod conntrack;
mod error;
mod firewall;
mod hosts;
mod lease;
mod link;
mod manage;
mod model;
mod nft;
mod pool;
mod ports;
mod random;
mod reconcile;
mod record;
mod resolv;
mod state;
mod sysctl;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use parking_lot::Mutex;
use types::ContainerId;

use firewall::Firewall;
use record::Records;
use state::State;

pub use error::Error;
pub use hosts::{HostsRequest, hosts_file};
pub use model::{
    AddressError, Driver, Endpoint, EndpointId, EndpointRequest, Mac, NetworkId, NetworkInfo,
    NetworkRequest, PortRequest, Protocol, PublishedPort, Subnet, parse_cidr,
};
pub use resolv::{ResolvConf, ResolverRequest, host_resolv_conf, resolv_conf};

/// Where the room keeps its records and how the default bridge looks.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// Directory of the network records, `<data-root>/network`; made when missing.
    pub data_dir: PathBuf,
    /// Link name of the default bridge (`--bridge`); `none` switches the default network off.
    pub bridge: String,
    /// The bridge's address and prefix (`--bip`); none chooses a free default pool.
    pub bip: Option<(Ipv4Addr, u8)>,
    /// Whether the rules that masquerade, isolate and publish are made (`--iptables`, true by default).
    pub firewall: bool,
    /// Bytes per frame of the default network (`--mtu`); 0 is the kernel's default.
    pub mtu: u32,
}

impl NetworkOptions {
    /// Makes the default options: `belljar0`, a chosen pool, rules on.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, bridge: "belljar0".to_owned(), bip: None, firewall: true, mtu: 0 }
    }
}

/// The room: networks, leases and ports of one daemon. Share it behind an `Arc`; every method takes `&self` and blocks.
///
/// Locks are taken in the order `links`, `firewall`, `state`; `state` is never held over a request to the kernel.
pub struct Network {
    options: NetworkOptions,
    records: Records,
    /// Held while a bridge is made or found wanting.
    links: Mutex<()>,
    firewall: Mutex<Firewall>,
    state: Mutex<State>,
}

impl Network {
    /// Returns every network, predefined ones first, then by name.
    #[must_use]
    pub fn networks(&self) -> Vec<NetworkInfo> {
        self.state.lock().networks()
    }

    /// Finds a network by name, id or unambiguous id prefix; empty and `default` are the default network.
    ///
    /// # Errors
    /// Not found; ambiguous.
    pub fn network(&self, name: &str) -> Result<NetworkInfo, Error> {
        self.state.lock().find(name).cloned()
    }

    /// Returns the endpoints in a network, for `network inspect`.
    #[must_use]
    pub fn endpoints(&self, network: &NetworkId) -> Vec<(ContainerId, Endpoint)> {
        self.state.lock().endpoints_in(network)
    }

    /// Returns the default bridge's address: what `host-gateway` means.
    #[must_use]
    pub fn host_gateway(&self) -> Option<Ipv4Addr> {
        self.state.lock().find("bridge").ok().and_then(|network| network.gateway)
    }

    /// Returns what is degraded, for `info` and the log: no nf_tables, a foreign FORWARD policy that drops, a damaged record.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.state.lock().warnings()
    }
}
