//! Joining a namespace to a network and taking it out again.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use sys::netlink::Socket;
use sys::netns;
use types::{Chain, ContainerId, ErrorList};

use crate::conntrack;
use crate::error::Error;
use crate::link::{self, Inside, Link, Pair};
use crate::model::{Endpoint, EndpointId, EndpointRequest, Mac, NetworkInfo, Subnet};
use crate::state::Trouble;
use crate::{Network, firewall, sysctl};

pub(crate) fn route_socket() -> Result<Socket, Error> {
    let failed = |source| Error::File { step: "open", path: "netlink route socket".into(), source };
    Socket::open_route().map_err(failed)
}

impl Network {
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
        let mut socket = route_socket()?;
        let id = self.network(&ask.network)?.id;
        // The table comes before the bridge: no packet crosses a bridge of ours without our rules.
        let publishes = self.ensure_firewall();
        let (network, bridge) = self.ensure_bridge(&mut socket, &id)?;
        if !ask.ports.is_empty()
            && let Err(source) = publishes
        {
            return Err(firewall::cannot_publish(source));
        }
        let endpoint = self.reserve(&network, ask)?;
        let linked = self.connect(&mut socket, &network, &bridge, netns, ask, &endpoint);
        let result = linked.and_then(|()| self.publish(container, &endpoint));
        match result {
            Ok(()) => Ok(endpoint),
            Err(error) => {
                // The first error is the one to tell; what cannot be undone here is swept by `reconcile`.
                let _ = self.detach(container, &endpoint);
                Err(error)
            }
        }
    }

    /// Takes a container out of a network: ports, link, lease. Goes on after a failure; tolerates what is already gone.
    /// Keep it off the critical path: the kernel waits for an RCU grace period in it.
    ///
    /// # Errors
    /// Everything that could not be undone.
    pub fn detach(&self, container: &ContainerId, endpoint: &Endpoint) -> Result<(), ErrorList> {
        let mut errors = ErrorList::default();
        self.state.lock().remove_endpoint(&endpoint.endpoint_id);
        if self.options.firewall && !endpoint.ports.is_empty() {
            let withdrawn = self.firewall.lock().withdraw(endpoint);
            errors.note(withdrawn.map_err(|source| Error::Netlink {
                step: "withdraw the ports of",
                object: container.short().to_owned(),
                source,
            }));
            forget_flows(endpoint);
        }
        let deleted = route_socket().and_then(|mut s| link::delete(&mut s, &endpoint.host_ifname));
        let gone = errors.note(deleted).is_some();
        let mut state = self.state.lock();
        state.release_ports(&endpoint.ports);
        // While its link stands, somebody may still answer to the address.
        if gone {
            state.release_lease(&endpoint.network_id, endpoint.ip);
        }
        drop(state);
        errors.into_result()
    }

    /// Brings up loopback in `netns`: all the network that `--network none` has.
    ///
    /// # Errors
    /// The namespace cannot be entered; the kernel's refusal.
    pub fn loopback_up(&self, netns: BorrowedFd<'_>) -> Result<(), Error> {
        within(netns, link::loopback_up)
    }

    /// Leases address and ports. What is leased is given back when the rest fails.
    fn reserve(&self, network: &NetworkInfo, ask: &EndpointRequest) -> Result<Endpoint, Error> {
        let failed = |source| Error::File { step: "read", path: "getrandom".into(), source };
        let endpoint_id = EndpointId::random().map_err(failed)?;
        let no_interfaces = || Error::NoInterfaces { name: network.name.clone() };
        let gateway = network.gateway.ok_or_else(no_interfaces)?;
        let prefix = network.subnet.ok_or_else(no_interfaces)?.prefix();
        let mut state = self.state.lock();
        let ip = state.lease(network, ask.ipv4)?;
        let ports = match state.reserve_ports(&ask.ports) {
            Ok(ports) => ports,
            Err(error) => {
                state.release_lease(&network.id, ip);
                return Err(error);
            }
        };
        Ok(Endpoint {
            host_ifname: format!("veth{}", &endpoint_id.as_str()[..7]),
            endpoint_id,
            network_id: network.id.clone(),
            network_name: network.name.clone(),
            ip,
            prefix,
            gateway,
            mac: ask.mac.unwrap_or_else(|| Mac::from_ip(ip)),
            ifname: ask.ifname.clone(),
            ports,
        })
    }

    fn connect(
        &self,
        socket: &mut Socket,
        network: &NetworkInfo,
        bridge: &Link,
        netns: BorrowedFd<'_>,
        ask: &EndpointRequest,
        endpoint: &Endpoint,
    ) -> Result<(), Error> {
        link::create_pair(
            socket,
            &Pair {
                host_name: &endpoint.host_ifname,
                bridge_index: bridge.index,
                netns,
                inner_name: &endpoint.ifname,
                mac: endpoint.mac,
                mtu: network.mtu,
                hairpin: !endpoint.ports.is_empty(),
            },
        )?;
        let subnet = network.subnet.unwrap_or(Subnet::of(endpoint.ip, 32).map_err(invalid)?);
        let gateway = (ask.default_route && !network.internal).then_some(endpoint.gateway);
        let inside = Inside { name: &endpoint.ifname, ip: endpoint.ip, subnet, gateway };
        within(netns, |inner| link::configure_inside(inner, &inside))
    }

    fn publish(&self, container: &ContainerId, endpoint: &Endpoint) -> Result<(), Error> {
        // First known, then in the map: a table that is made anew meanwhile has the ports already.
        self.state.lock().insert_endpoint(container, endpoint);
        if endpoint.ports.is_empty() {
            return Ok(());
        }
        let published = self.firewall.lock().publish(endpoint);
        published.map_err(|source| Error::Netlink {
            step: "publish the ports of",
            object: container.short().to_owned(),
            source,
        })?;
        forget_flows(endpoint);
        Ok(())
    }

    /// Makes sure that our table stands; an error is why no port can be published. Containers run without it.
    pub(crate) fn ensure_firewall(&self) -> Result<(), sys::netlink::Error> {
        if !self.options.firewall {
            return Err(unsupported());
        }
        let mut firewall = self.firewall.lock();
        let result = firewall.ensure(|| self.state.lock().ruleset());
        self.note_forwarding(&mut firewall, result.as_ref().err());
        drop(firewall);
        if result? { Ok(()) } else { Err(unsupported()) }
    }

    /// Keeps the warnings true.
    fn note_forwarding(
        &self,
        firewall: &mut firewall::Firewall,
        failure: Option<&sys::netlink::Error>,
    ) {
        let forwarding = sysctl::forward();
        let foreign = firewall.take_rebuilt().then(|| firewall.foreign_forward_drops());
        let mut state = self.state.lock();
        let mut note = |trouble, words: Option<String>| match words {
            None => state.recover(trouble),
            Some(words) => {
                if state.degrade(trouble, "", words.clone()) {
                    tracing::warn!("{words}");
                }
            }
        };
        note(Trouble::Firewall, failure.map(|error| {
            format!("nf_tables is not usable ({}): containers are neither masqueraded nor isolated, no port can be published", Chain(error))
        }));
        note(
            Trouble::Forwarding,
            forwarding
                .err()
                .map(|error| format!("containers do not reach the outside: {}", Chain(&error))),
        );
        if let Some(drops) = foreign {
            let bridge = &self.options.bridge;
            note(Trouble::ForeignPolicy, drops.then(|| format!(
                "iptables' FORWARD policy is DROP: containers do not reach the outside until it accepts `{bridge}` \
                 (beside Docker: iptables -I DOCKER-USER -i {bridge} -j ACCEPT, and the same with -o)"
            )));
        }
    }

    /// Finds a network's bridge, or makes it. Returns the network as it is then: an unused default network may have moved to
    /// another pool.
    pub(crate) fn ensure_bridge(
        &self,
        socket: &mut Socket,
        id: &crate::NetworkId,
    ) -> Result<(NetworkInfo, Link), Error> {
        let _links = self.links.lock();
        let gone = || Error::NotFound { name: id.to_string() };
        let mut network = self.state.lock().by_id(id).cloned().ok_or_else(gone)?;
        let no_interfaces = || Error::NoInterfaces { name: network.name.clone() };
        let name = network.bridge.clone().ok_or_else(no_interfaces)?;
        if let Some(found) = link::find(socket, &name)? {
            if found.kind.as_deref() != Some("bridge") {
                return Err(Error::Invalid(format!("link `{name}` exists and is not a bridge")));
            }
            if found.up && self.state.lock().is_checked(id) {
                return Ok((network, found));
            }
        } else {
            network = self.settle_subnet(socket, network)?;
        }
        let bridge = self.raise_bridge(socket, &network, &name)?;
        Ok((network, bridge))
    }

    /// Makes the bridge, or brings one that an earlier daemon made in line with the options, and takes its ports back if somebody deleted it under living containers.
    fn raise_bridge(
        &self,
        socket: &mut Socket,
        network: &NetworkInfo,
        name: &str,
    ) -> Result<Link, Error> {
        let no_interfaces = || Error::NoInterfaces { name: network.name.clone() };
        let gateway = network.gateway.ok_or_else(no_interfaces)?;
        let subnet = network.subnet.ok_or_else(no_interfaces)?;
        if link::find(socket, name)?.is_none() {
            link::create_bridge(socket, name, Mac::from_ip(gateway), network.mtu)?;
        }
        let bridge = link::find(socket, name)?.ok_or(Error::NotFound { name: name.to_owned() })?;
        link::address_and_up(socket, &bridge, gateway, subnet)?;
        if self.options.firewall {
            let switched = sysctl::route_localnet(name);
            if let Err(error) = switched {
                tracing::warn!("published ports do not answer on localhost: {}", Chain(&error));
            }
        }
        for (_, endpoint) in self.endpoints(&network.id) {
            if let Some(port) = link::find(socket, &endpoint.host_ifname)? {
                link::enslave(socket, &port, bridge.index, !endpoint.ports.is_empty())?;
            }
        }
        self.state.lock().set_checked(&network.id);
        Ok(bridge)
    }
}

/// After the maps have changed: what comes between would make a new old flow.
fn forget_flows(endpoint: &Endpoint) {
    if let Err(error) = conntrack::forget(endpoint) {
        tracing::warn!(
            "UDP clients may keep talking to a former owner of a port: {}",
            Chain(&error)
        );
    }
}

fn invalid(error: crate::AddressError) -> Error {
    Error::Invalid(error.to_string())
}

fn unsupported() -> sys::netlink::Error {
    Errno::OPNOTSUPP.into()
}

/// Runs `work` with a socket that belongs to the namespace.
fn within(
    netns: BorrowedFd<'_>,
    work: impl FnOnce(&mut Socket) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let failed = |source| Error::File { step: "enter", path: "network namespace".into(), source };
    netns::inside(netns, || work(&mut route_socket()?)).map_err(failed)?
}

/// Returns the address that a bridge has in the host: what it keeps from an earlier daemon.
pub(crate) fn standing_address(
    socket: &mut Socket,
    bridge: &str,
) -> Result<Option<(Ipv4Addr, u8)>, Error> {
    let Some(found) = link::find(socket, bridge)? else { return Ok(None) };
    Ok(link::addresses(socket, &found)?.first().copied())
}
