//! Records of networks: predefined ones at start, users' by create and remove.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use parking_lot::Mutex;
use sys::netlink::Socket;

use crate::attach::{route_socket, standing_address};
use crate::error::Error;
use crate::firewall::Firewall;
use crate::model::{Driver, NetworkId, NetworkInfo, NetworkRequest, Subnet};
use crate::record::Records;
use crate::state::{State, Trouble};
use crate::{Network, NetworkOptions, link, pool};

/// Longest name of a link, without its NUL.
const IFNAME_MAX: usize = 15;
const OPTION_BRIDGE: &str = "com.docker.network.bridge.name";
const OPTION_MTU: &str = "com.docker.network.driver.mtu";

impl Network {
    /// Reads the records and makes the predefined networks' when missing. Touches no link and no rule.
    ///
    /// # Errors
    /// The directory cannot be made or written; a bad `--bip` or `--bridge`.
    pub fn open(options: NetworkOptions) -> Result<Self, Error> {
        let (records, found, damaged) = Records::open(options.data_dir.clone())?;
        let mut state = State::default();
        for (number, error) in damaged.iter().enumerate() {
            let words = format!("set aside: {}", types::Chain(error));
            tracing::warn!("{words}");
            state.degrade(Trouble::Record, &number.to_string(), words);
        }
        for network in found {
            state.put(network);
        }
        let network = Self {
            firewall: Mutex::new(Firewall::new(&options.bridge)),
            links: Mutex::new(()),
            state: Mutex::new(state),
            options,
            records,
        };
        network.predefine("none", Driver::Null)?;
        network.predefine("host", Driver::Host)?;
        network.predefine_bridge()?;
        Ok(network)
    }

    fn predefine(&self, name: &str, driver: Driver) -> Result<NetworkInfo, Error> {
        if let Ok(found) = self.network(name)
            && found.name == name
        {
            return Ok(found);
        }
        let network = NetworkInfo { predefined: true, ..blank(name, driver)? };
        self.keep(&network)?;
        Ok(network)
    }

    fn keep(&self, network: &NetworkInfo) -> Result<(), Error> {
        self.records.put(network)?;
        self.state.lock().put(network.clone());
        Ok(())
    }

    /// Brings the default network's record in line with the options and with a bridge that stands already.
    fn predefine_bridge(&self) -> Result<(), Error> {
        let recorded = self.predefine("bridge", Driver::Bridge)?;
        let mut network = recorded.clone();
        network.mtu = self.options.mtu;
        network.subnet_asked = self.options.bip.is_some();
        if self.options.bridge == "none" {
            (network.bridge, network.subnet, network.gateway) = (None, None, None);
        } else {
            check_ifname(&self.options.bridge)?;
            network.bridge = Some(self.options.bridge.clone());
            let mut socket = route_socket()?;
            let standing = standing_address(&mut socket, &self.options.bridge)?;
            if let Some((gateway, prefix)) = self.options.bip.or(standing) {
                let subnet =
                    Subnet::of(gateway, prefix).map_err(|e| Error::Invalid(e.to_string()))?;
                (network.subnet, network.gateway) = (Some(subnet), Some(gateway));
            } else {
                network = self.choose_subnet(&mut socket, network)?;
            }
        }
        if network == recorded { Ok(()) } else { self.keep(&network) }
    }

    /// Lets an unused default network, whose bridge does not stand yet, avoid what the host routes by now (another daemon may have
    /// chosen the same pool since ours started).
    pub(crate) fn settle_subnet(
        &self,
        socket: &mut Socket,
        network: NetworkInfo,
    ) -> Result<NetworkInfo, Error> {
        let movable = network.predefined && !network.subnet_asked;
        if !movable || self.state.lock().is_used(&network.id) {
            return Ok(network);
        }
        let settled = self.choose_subnet(socket, network.clone())?;
        if settled != network {
            self.keep(&settled)?;
            // The rules name the subnet.
            let _ = self.ensure_firewall();
        }
        Ok(settled)
    }

    /// Keeps the network's subnet if nothing overlaps it, else takes the first free default pool.
    fn choose_subnet(
        &self,
        socket: &mut Socket,
        network: NetworkInfo,
    ) -> Result<NetworkInfo, Error> {
        let own = match &network.bridge {
            Some(bridge) => link::find(socket, bridge)?.map(|link| link.index),
            None => None,
        };
        let mut taken = link::routed_subnets(socket, own)?;
        taken.extend(self.state.lock().subnets_but(Some(&network.id)));
        if network.subnet.is_some_and(|subnet| pool::is_free(&subnet, &taken)) {
            return Ok(network);
        }
        let subnet = pool::choose(&taken).ok_or(Error::NoPool)?;
        let gateway = Some(pool::first_host(subnet));
        Ok(NetworkInfo { subnet: Some(subnet), gateway, ..network })
    }

    /// Makes a user-defined bridge network; the bridge itself comes with the first container.
    ///
    /// # Errors
    /// Name taken or invalid; unknown driver; overlapping subnet; no free pool.
    pub fn create(&self, ask: &NetworkRequest) -> Result<NetworkInfo, Error> {
        let _links = self.links.lock();
        self.check_name(&ask.name)?;
        if !matches!(ask.driver.as_str(), "" | "default" | "bridge") {
            return Err(Error::Invalid(format!(
                "could not find plugin {} in v1 plugin registry: plugin not found",
                ask.driver
            )));
        }
        let mut network = blank(&ask.name, Driver::Bridge)?;
        network.bridge = Some(bridge_name(ask, &network.id)?);
        network.mtu = mtu(ask)?;
        network.internal = ask.internal;
        network.attachable = ask.attachable;
        network.options.clone_from(&ask.options);
        network.labels.clone_from(&ask.labels);
        network.subnet_asked = ask.subnet.is_some();
        network.subnet = ask.subnet;
        let network = self.give_subnet(network, ask.gateway)?;
        self.keep(&network)?;
        Ok(network)
    }

    fn check_name(&self, name: &str) -> Result<(), Error> {
        let one_letter = name.len() == 1 && name.as_bytes()[0].is_ascii_alphanumeric();
        if !one_letter && !types::is_valid_name(name) {
            return Err(Error::Invalid(format!(
                "invalid name \"{name}\": name must start with an alphanumeric character and contain only alphanumeric characters, '_', '.', or '-'"
            )));
        }
        if matches!(name, "bridge" | "host" | "none" | "default" | "container") {
            return Err(Error::Denied(format!(
                "operation is not permitted on predefined {name} network"
            )));
        }
        if self.state.lock().networks().iter().any(|network| network.name == name) {
            return Err(Error::Exists { name: name.to_owned() });
        }
        Ok(())
    }

    fn give_subnet(
        &self,
        network: NetworkInfo,
        gateway: Option<Ipv4Addr>,
    ) -> Result<NetworkInfo, Error> {
        let Some(subnet) = network.subnet else {
            return self.choose_subnet(&mut route_socket()?, network);
        };
        if !pool::is_free(&subnet, &self.state.lock().subnets_but(None)) {
            return Err(Error::PoolOverlaps);
        }
        let gateway = gateway.unwrap_or_else(|| pool::first_host(subnet));
        if !subnet.contains(gateway) {
            return Err(Error::Invalid(format!(
                "invalid network config: no matching subnet for gateway {gateway}"
            )));
        }
        Ok(NetworkInfo { gateway: Some(gateway), ..network })
    }

    /// Removes a user-defined network and its bridge.
    ///
    /// # Errors
    /// Not found; predefined; containers are in it.
    pub fn remove(&self, name: &str) -> Result<NetworkInfo, Error> {
        let _links = self.links.lock();
        let network = self.network(name)?;
        if network.predefined {
            return Err(Error::Denied(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            )));
        }
        {
            let mut state = self.state.lock();
            if state.is_used(&network.id) {
                return Err(Error::InUse { name: format!("{} id {}", network.name, network.id) });
            }
            // Forgotten first, under the same lock: no lease can be taken any more.
            state.forget(&network.id);
        }
        let removed = self.remove_from_host(&network);
        if removed.is_err() {
            self.state.lock().put(network.clone());
        }
        removed?;
        // The rules name the bridge that is gone.
        if self.firewall.lock().is_made() {
            let _ = self.ensure_firewall();
        }
        Ok(network)
    }

    /// Takes the bridge away, then the record: a crash between leaves a record, whose bridge comes back when it is used.
    fn remove_from_host(&self, network: &NetworkInfo) -> Result<(), Error> {
        if let Some(bridge) = &network.bridge {
            link::delete_our_bridge(&mut route_socket()?, bridge)?;
        }
        self.records.remove(&network.id)
    }
}

fn blank(name: &str, driver: Driver) -> Result<NetworkInfo, Error> {
    let failed = |source| Error::File { step: "read", path: "getrandom".into(), source };
    Ok(NetworkInfo {
        id: NetworkId::random().map_err(failed)?,
        name: name.to_owned(),
        driver,
        created: SystemTime::now(),
        predefined: false,
        internal: false,
        attachable: false,
        subnet: None,
        gateway: None,
        bridge: None,
        mtu: 0,
        subnet_asked: false,
        options: std::collections::BTreeMap::new(),
        labels: std::collections::BTreeMap::new(),
    })
}

fn bridge_name(ask: &NetworkRequest, id: &NetworkId) -> Result<String, Error> {
    match ask.options.get(OPTION_BRIDGE) {
        Some(name) => check_ifname(name).map(|()| name.clone()),
        None => Ok(format!("br-{}", id.short())),
    }
}

fn mtu(ask: &NetworkRequest) -> Result<u32, Error> {
    let Some(text) = ask.options.get(OPTION_MTU) else { return Ok(0) };
    // The kernel's limits for IPv4: 68 bytes (RFC 791) to 65535.
    let read = text.parse().ok().filter(|mtu| (68..=65535).contains(mtu));
    read.ok_or_else(|| Error::Invalid(format!("invalid value \"{text}\" for option {OPTION_MTU}")))
}

/// Tells a name that the kernel would not take, before anything is written.
fn check_ifname(name: &str) -> Result<(), Error> {
    let good = (1..=IFNAME_MAX).contains(&name.len())
        && !matches!(name, "." | ".." | "lo")
        && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'"'));
    if good { Ok(()) } else { Err(Error::Invalid(format!("invalid bridge name \"{name}\""))) }
}
