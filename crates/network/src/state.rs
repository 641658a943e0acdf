//! What the room knows in memory. No request to the kernel is made under its lock, but for binding a reserved port.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;

use types::ContainerId;

use crate::error::Error;
use crate::firewall::{Ruleset, Zone};
use crate::lease::{Leases, Refusal};
use crate::model::{
    Endpoint, EndpointId, NetworkId, NetworkInfo, PortRequest, PublishedPort, Subnet,
};
use crate::ports::HostPorts;

/// A degraded condition that may come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    Record,
    Firewall,
    ForeignPolicy,
    Forwarding,
}

/// Networks, endpoints, leases, ports.
#[derive(Default)]
pub(crate) struct State {
    networks: BTreeMap<NetworkId, NetworkInfo>,
    endpoints: HashMap<EndpointId, (ContainerId, Endpoint)>,
    leases: HashMap<NetworkId, Leases>,
    /// Networks whose bridge this process has set up or checked.
    checked: HashSet<NetworkId>,
    ports: HostPorts,
    troubles: BTreeMap<(Trouble, String), String>,
}

impl State {
    pub(crate) fn networks(&self) -> Vec<NetworkInfo> {
        let mut all: Vec<_> = self.networks.values().cloned().collect();
        all.sort_by(|a, b| (!a.predefined, &a.name).cmp(&(!b.predefined, &b.name)));
        all
    }

    pub(crate) fn put(&mut self, network: NetworkInfo) {
        self.networks.insert(network.id.clone(), network);
    }

    pub(crate) fn forget(&mut self, id: &NetworkId) {
        self.networks.remove(id);
        self.leases.remove(id);
    }

    /// Name first, then id, then id prefix: a network may be named like the beginning of another's id.
    pub(crate) fn find(&self, name: &str) -> Result<&NetworkInfo, Error> {
        let name = if matches!(name, "" | "default") { "bridge" } else { name };
        let all = || self.networks.values();
        if let Some(found) =
            all().find(|n| n.name == name).or_else(|| all().find(|n| n.id.as_str() == name))
        {
            return Ok(found);
        }
        let matching: Vec<_> = all().filter(|n| n.id.as_str().starts_with(name)).collect();
        match matching.as_slice() {
            [found] => Ok(found),
            [] => Err(Error::NotFound { name: name.to_owned() }),
            many => Err(Error::Ambiguous { name: name.to_owned(), matches: many.len() }),
        }
    }

    pub(crate) fn by_id(&self, id: &NetworkId) -> Option<&NetworkInfo> {
        self.networks.get(id)
    }

    pub(crate) fn endpoints_in(&self, network: &NetworkId) -> Vec<(ContainerId, Endpoint)> {
        self.endpoints.values().filter(|(_, e)| e.network_id == *network).cloned().collect()
    }

    /// Tells whether any address of the network is leased, also to an endpoint that is still being made.
    pub(crate) fn is_used(&self, network: &NetworkId) -> bool {
        self.leases.get(network).is_some_and(|leases| !leases.is_empty())
    }

    /// Returns the subnets of all networks but one.
    pub(crate) fn subnets_but(&self, except: Option<&NetworkId>) -> Vec<Subnet> {
        let others = self.networks.values().filter(|n| Some(&n.id) != except);
        others.filter_map(|n| n.subnet).collect()
    }

    pub(crate) fn is_checked(&self, network: &NetworkId) -> bool {
        self.checked.contains(network)
    }

    pub(crate) fn set_checked(&mut self, network: &NetworkId) {
        self.checked.insert(network.clone());
    }

    /// Leases an address: the wanted one, or the lowest that is free.
    pub(crate) fn lease(
        &mut self,
        network: &NetworkInfo,
        wanted: Option<Ipv4Addr>,
    ) -> Result<Ipv4Addr, Error> {
        let no_interfaces = || Error::NoInterfaces { name: network.name.clone() };
        let subnet = network.subnet.ok_or_else(no_interfaces)?;
        let gateway = network.gateway.ok_or_else(no_interfaces)?;
        // Removed between look-up and lease: nothing may be leased any more.
        if !self.networks.contains_key(&network.id) {
            return Err(Error::NotFound { name: network.name.clone() });
        }
        let leases = self.leases.entry(network.id.clone()).or_default();
        let Some(ip) = wanted else {
            let exhausted = || Error::Exhausted { name: network.name.clone(), subnet };
            return leases.lowest(subnet, gateway).ok_or_else(exhausted);
        };
        match leases.exactly(subnet, gateway, ip) {
            Ok(()) => Ok(ip),
            Err(Refusal::Taken) => Err(Error::AddressInUse { ip }),
            Err(Refusal::Outside) => Err(Error::Invalid(format!(
                "invalid endpoint settings: no configured subnet contains IP address {ip}"
            ))),
        }
    }

    pub(crate) fn release_lease(&mut self, network: &NetworkId, ip: Ipv4Addr) {
        if let Some(leases) = self.leases.get_mut(network) {
            leases.release(ip);
        }
    }

    pub(crate) fn reserve_ports(
        &mut self,
        asks: &[PortRequest],
    ) -> Result<Vec<PublishedPort>, Error> {
        self.ports.reserve(asks)
    }

    pub(crate) fn adopt_ports(&mut self, ports: &[PublishedPort]) -> Result<(), Error> {
        self.ports.adopt(ports)
    }

    pub(crate) fn release_ports(&mut self, ports: &[PublishedPort]) {
        self.ports.release(ports);
    }

    pub(crate) fn insert_endpoint(&mut self, container: &ContainerId, endpoint: &Endpoint) {
        self.endpoints.insert(endpoint.endpoint_id.clone(), (container.clone(), endpoint.clone()));
    }

    pub(crate) fn remove_endpoint(&mut self, id: &EndpointId) -> Option<Endpoint> {
        self.endpoints.remove(id).map(|(_, endpoint)| endpoint)
    }

    /// Everything that the firewall's table is made from.
    pub(crate) fn ruleset(&self) -> Ruleset {
        let endpoints = self.endpoints.values();
        let ports = endpoints.flat_map(|(_, e)| e.ports.iter().map(|port| (*port, e.ip)));
        Ruleset {
            zones: self.networks.values().filter_map(Zone::of).collect(),
            ports: ports.collect(),
        }
    }

    /// Notes a degraded condition. Returns whether it is news.
    pub(crate) fn degrade(&mut self, trouble: Trouble, object: &str, words: String) -> bool {
        self.troubles.insert((trouble, object.to_owned()), words).is_none()
    }

    /// Notes that a condition is over.
    pub(crate) fn recover(&mut self, trouble: Trouble) {
        self.troubles.retain(|(kind, _), _| *kind != trouble);
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.troubles.values().cloned().collect()
    }
}
