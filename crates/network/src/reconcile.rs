//! Recovery at start: the living keep what they have, the rest is swept.

use std::collections::HashSet;

use sys::netlink::Socket;
use types::{ContainerId, ErrorList};

use crate::attach::route_socket;
use crate::error::Error;
use crate::model::Endpoint;
use crate::{Network, link};

impl Network {
    /// Recovers at start: takes the leases and ports of the living, repairs the rules, and sweeps links and rules of the dead.
    /// Call it once, before the first attach, with the endpoints of every container that runs.
    ///
    /// # Errors
    /// Everything that could not be recovered; the rest is.
    pub fn reconcile(&self, living: &[(ContainerId, Endpoint)]) -> Result<(), ErrorList> {
        let mut errors = ErrorList::default();
        for (container, endpoint) in living {
            errors.note(self.adopt(container, endpoint));
        }
        match route_socket() {
            Ok(mut socket) => self.sweep_links(&mut socket, living, &mut errors),
            Err(error) => drop(errors.note::<(), _>(Err(error))),
        }
        self.reset_firewall(!living.is_empty(), &mut errors);
        errors.into_result()
    }

    /// Takes a living container's address and ports as they are.
    fn adopt(&self, container: &ContainerId, endpoint: &Endpoint) -> Result<(), Error> {
        let mut state = self.state.lock();
        let gone = || Error::NotFound { name: endpoint.network_name.clone() };
        let network = state.by_id(&endpoint.network_id).cloned().ok_or_else(gone)?;
        state.lease(&network, Some(endpoint.ip))?;
        state.insert_endpoint(container, endpoint);
        state.adopt_ports(&endpoint.ports)
    }

    /// Deletes the ports of our bridges that belong to nobody, and makes missing bridges of the living anew.
    fn sweep_links(
        &self,
        socket: &mut Socket,
        living: &[(ContainerId, Endpoint)],
        errors: &mut ErrorList,
    ) {
        let Some(links) = errors.note(link::list(socket)) else { return };
        let wanted: HashSet<&str> = living.iter().map(|(_, e)| e.host_ifname.as_str()).collect();
        let networks = self.networks();
        let bridges: HashSet<&str> = networks.iter().filter_map(|n| n.bridge.as_deref()).collect();
        let ours: HashSet<u32> = links
            .iter()
            .filter(|link| link.is_our_bridge() && bridges.contains(link.name.as_str()))
            .map(|link| link.index)
            .collect();
        let dead = links.iter().filter(|link| {
            link.kind.as_deref() == Some("veth")
                && link.master.is_some_and(|master| ours.contains(&master))
                && !wanted.contains(link.name.as_str())
        });
        for link in dead {
            errors.note(link::delete(socket, &link.name));
        }
        for network in networks {
            if living.iter().any(|(_, endpoint)| endpoint.network_id == network.id) {
                errors.note(self.ensure_bridge(socket, &network.id));
            }
        }
    }

    /// Takes down every bridge without containers, and the table when no bridge is left: for a daemon that goes for good. The next
    /// attach makes them again. Containers that run keep everything.
    ///
    /// # Errors
    /// Everything that could not be taken down.
    pub fn close(&self) -> Result<(), ErrorList> {
        let mut errors = ErrorList::default();
        let _links = self.links.lock();
        let mut socket = match route_socket() {
            Ok(socket) => socket,
            Err(error) => {
                errors.note::<(), _>(Err(error));
                return errors.into_result();
            }
        };
        let mut used = false;
        for network in self.networks() {
            if self.state.lock().is_used(&network.id) {
                used = true;
            } else if let Some(bridge) = &network.bridge {
                errors.note(link::delete_our_bridge(&mut socket, bridge));
            }
        }
        self.reset_firewall(used, &mut errors);
        errors.into_result()
    }

    fn reset_firewall(&self, keep: bool, errors: &mut ErrorList) {
        if !self.options.firewall {
            return;
        }
        let mut firewall = self.firewall.lock();
        let ruleset = self.state.lock().ruleset();
        // A kernel without nf_tables is not a failure of recovery; the first attach warns.
        if let Err(source) = firewall.reset(&ruleset, keep)
            && keep
        {
            errors.note::<(), _>(Err(Error::Netlink {
                step: "make table",
                object: firewall.table().to_owned(),
                source,
            }));
        }
    }
}
