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
#![forbid(unsafe_code)]

mod error;
mod hosts;
mod model;
mod random;
mod resolv;

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use types::{ContainerId, ErrorList};

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
pub struct Network {
    options: NetworkOptions,
}

impl Network {
    /// Reads the records and makes the predefined networks' when missing. Touches no link and no rule.
    ///
    /// # Errors
    /// The directory cannot be made or written; a bad `--bip`.
    pub fn open(options: NetworkOptions) -> Result<Self, Error> {
        Ok(Self { options })
    }

    /// Returns every network, predefined ones first, then by name.
    #[must_use]
    pub fn networks(&self) -> Vec<NetworkInfo> {
        let _ = &self.options;
        Vec::new()
    }

    /// Finds a network by name, id or unambiguous id prefix; empty and `default` are the default network.
    ///
    /// # Errors
    /// Not found; ambiguous.
    pub fn network(&self, name: &str) -> Result<NetworkInfo, Error> {
        Err(Error::NotFound { name: name.to_owned() })
    }

    /// Makes a user-defined bridge network; the bridge itself comes with the first container.
    ///
    /// # Errors
    /// Name taken or invalid; unknown driver; overlapping subnet; no free pool.
    pub fn create(&self, ask: &NetworkRequest) -> Result<NetworkInfo, Error> {
        Err(Error::Invalid(ask.name.clone()))
    }

    /// Removes a user-defined network and its bridge.
    ///
    /// # Errors
    /// Not found; predefined; containers are in it.
    pub fn remove(&self, name: &str) -> Result<NetworkInfo, Error> {
        Err(Error::NotFound { name: name.to_owned() })
    }

    /// Joins the namespace `netns` to a network: lease, veth pair, address, loopback, route, ports. All or nothing.
    ///
    /// # Errors
    /// Network not found or without interfaces; address or port in use; the kernel's refusal.
    pub fn attach(
        &self,
        container: &ContainerId,
        netns: BorrowedFd<'_>,
        ask: &EndpointRequest,
    ) -> Result<Endpoint, Error> {
        let _ = (container, netns);
        Err(Error::NotFound { name: ask.network.clone() })
    }

    /// Takes a container out of a network: ports, link, lease. Goes on after a failure; tolerates what is already gone.
    /// Keep it off the critical path: the kernel waits for an RCU grace period in it.
    ///
    /// # Errors
    /// Everything that could not be undone.
    pub fn detach(&self, container: &ContainerId, endpoint: &Endpoint) -> Result<(), ErrorList> {
        let _ = (container, endpoint);
        Ok(())
    }

    /// Brings up loopback in `netns`: all the network that `--network none` has.
    ///
    /// # Errors
    /// The namespace cannot be entered; the kernel's refusal.
    pub fn loopback_up(&self, netns: BorrowedFd<'_>) -> Result<(), Error> {
        let _ = netns;
        Ok(())
    }

    /// Recovers at start: takes the leases and ports of the living, repairs the rules, and sweeps links and rules of the dead.
    /// Call it once, before the first attach, with the endpoints of every container that runs.
    ///
    /// # Errors
    /// Everything that could not be recovered; the rest is.
    pub fn reconcile(&self, living: &[(ContainerId, Endpoint)]) -> Result<(), ErrorList> {
        let _ = living;
        Ok(())
    }

    /// Returns the endpoints in a network, for `network inspect`.
    #[must_use]
    pub fn endpoints(&self, network: &NetworkId) -> Vec<(ContainerId, Endpoint)> {
        let _ = network;
        Vec::new()
    }

    /// Returns the default bridge's address: what `host-gateway` means.
    #[must_use]
    pub fn host_gateway(&self) -> Option<Ipv4Addr> {
        None
    }

    /// Returns what is degraded, for `info` and the log: no nf_tables, a foreign FORWARD policy that drops, a damaged record.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}
