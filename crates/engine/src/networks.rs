//! Networks: the network room's, seen with the containers that are in them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use jiff::Timestamp;
use types::ContainerId;
use types::container::EndpointSettings;

use crate::actor::{Actor, Command, NetworkChange};
use crate::engine::{Engine, Room, blocking, host_error};
use crate::events::Subject;
use crate::filters::Filters;
use crate::request::NetworkRequest;
use crate::view::{NetworkInfo, NetworkMember, PoolView, Pruned};
use crate::volumes::patterns;
use crate::{EngineError, Result};

impl Engine {
    fn network_info(&self, info: &network::NetworkInfo) -> NetworkInfo {
        let pools = info.subnet.map(|subnet| PoolView {
            subnet: subnet.to_string(),
            ip_range: String::new(),
            gateway: info.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
        });
        let member = |(id, end): (ContainerId, network::Endpoint)| {
            let name = self.roster.find(id.as_str()).map(|handle| handle.view().name.clone());
            let member = NetworkMember {
                name: name.unwrap_or_default(),
                endpoint_id: end.endpoint_id.to_string(),
                mac_address: end.mac.to_string(),
                ipv4_address: format!("{}/{}", end.ip, end.prefix),
                ipv6_address: String::new(),
            };
            (id, member)
        };
        NetworkInfo {
            id: info.id.to_string(),
            name: info.name.clone(),
            created: Timestamp::try_from(info.created).ok(),
            driver: info.driver.as_str().to_owned(),
            internal: info.internal,
            enable_ipv6: false,
            attachable: info.attachable,
            pools: pools.into_iter().collect(),
            options: info.options.clone(),
            labels: info.labels.clone(),
            members: self.network.endpoints(&info.id).into_iter().map(member).collect(),
        }
    }

    /// Lists networks (filters `name`, `id`, `driver`, `label`, `type`, `scope`, `dangling`).
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub fn network_list(&self, filters: &Filters) -> Result<Vec<NetworkInfo>> {
        filters.allow_only(&["name", "id", "driver", "label", "type", "scope", "dangling"])?;
        let names = patterns(filters.get("name"))?;
        let dangling = filters.flag("dangling")?;
        if let Some(bad) =
            filters.get("type").iter().find(|kind| !["custom", "builtin"].contains(&kind.as_str()))
        {
            return Err(EngineError::invalid(format!("invalid filter: 'type'='{bad}'")));
        }
        let all = self.network.networks();
        Ok(all
            .iter()
            .filter(|n| names.is_empty() || names.iter().any(|p| p.is_match(&n.name)))
            .filter(|n| filters.any("id", |id| n.id.as_str().starts_with(id)))
            .filter(|n| filters.any("driver", |driver| driver == n.driver.as_str()))
            .filter(|_| filters.any("scope", |scope| scope == "local"))
            .filter(|n| filters.any("type", |kind| (kind == "builtin") == n.predefined))
            .filter(|n| filters.labels("label", &n.labels))
            .map(|n| self.network_info(n))
            .filter(|n| dangling.is_none_or(|want| want == n.members.is_empty()))
            .collect())
    }

    /// Shows a network by name, id or prefix of the id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn network_inspect(&self, name: &str) -> Result<NetworkInfo> {
        Ok(self.network_info(&self.network.network(name).room()?))
    }

    /// Creates a network; returns its id.
    ///
    /// # Errors
    /// `Conflict`: name in use; `NotImplemented`; `Invalid`.
    pub async fn network_create(&self, request: NetworkRequest) -> Result<String> {
        let parse = |text: &str| -> Result<network::Subnet> {
            text.parse()
                .map_err(|error| EngineError::caused(types::Kind::Invalid, "invalid subnet", error))
        };
        let pool = request.pools.first().cloned().unwrap_or_default();
        let subnet = if pool.subnet.is_empty() { None } else { Some(parse(&pool.subnet)?) };
        let gateway = match pool.gateway.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_| EngineError::invalid(format!("invalid gateway: {text}")))?,
            ),
        };
        let ask = network::NetworkRequest {
            name: request.name,
            driver: request.driver,
            internal: request.internal,
            attachable: request.attachable,
            subnet,
            gateway,
            options: request.options,
            labels: request.labels,
        };
        let network = Arc::clone(&self.network);
        let info = blocking(move || network.create(&ask).room()).await?;
        self.tell_network_event(&info, "create");
        Ok(info.id.to_string())
    }

    /// Removes a network.
    ///
    /// # Errors
    /// `NotFound`; `Denied`: predefined; `Conflict`: in use.
    pub async fn network_remove(&self, name: &str) -> Result<()> {
        let (network, name) = (Arc::clone(&self.network), name.to_owned());
        let info = blocking(move || network.remove(&name).room()).await?;
        self.tell_network_event(&info, "destroy");
        Ok(())
    }

    /// Removes unused networks.
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub async fn network_prune(&self, filters: &Filters) -> Result<Pruned> {
        filters.allow_only(&["until", "label", "label!"])?;
        let until =
            filters.get("until").first().map(|text| crate::list::moment(text)).transpose()?;
        let mut pruned = Pruned::default();
        for network in self.network.networks().iter().filter(|network| !network.predefined) {
            let used = self
                .roster
                .all()
                .iter()
                .any(|handle| handle.view().network.networks.contains_key(&network.name));
            let young = until.is_some_and(|until| {
                Timestamp::try_from(network.created).is_ok_and(|at| at >= until)
            });
            let unwanted = filters.has("label!") && filters.labels("label!", &network.labels);
            if !used
                && !young
                && !unwanted
                && filters.labels("label", &network.labels)
                && self.network_remove(network.id.as_str()).await.is_ok()
            {
                pruned.deleted.push(network.name.clone());
            }
        }
        self.events.publish(
            Subject::Network,
            "prune",
            "",
            BTreeMap::from([("reclaimed".to_owned(), "0".to_owned())]),
        );
        Ok(pruned)
    }

    /// Joins a container to a network.
    ///
    /// # Errors
    /// `NotFound`; `Denied`: already in it, or a mode without networks.
    pub async fn network_connect(
        &self,
        network: &str,
        container: &str,
        settings: EndpointSettings,
    ) -> Result<()> {
        let name = self.network.network(network).room()?.name;
        let change = NetworkChange::Connect(name, Box::new(settings));
        self.ask(&*self.find(container)?, |reply| Command::Networks { change, reply }).await
    }

    /// Takes a container out of a network.
    ///
    /// # Errors
    /// `NotFound`; `Denied`: not in it.
    pub async fn network_disconnect(
        &self,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<()> {
        let name = self.network.network(network).room()?.name;
        let change = NetworkChange::Disconnect(name);
        match self.find(container) {
            Err(_) if force => Ok(()),
            Err(error) => Err(error),
            Ok(handle) => self.ask(&handle, |reply| Command::Networks { change, reply }).await,
        }
    }

    fn tell_network_event(&self, info: &network::NetworkInfo, action: &str) {
        let attributes = BTreeMap::from([
            ("name".to_owned(), info.name.clone()),
            ("type".to_owned(), info.driver.as_str().to_owned()),
        ]);
        self.events.publish(Subject::Network, action, info.id.as_str(), attributes);
    }

    /// Tells that a container joined or left a network.
    pub(crate) fn tell_network(&self, name: &str, id: &str, action: &str, container: &ContainerId) {
        let attributes = BTreeMap::from([
            ("container".to_owned(), container.to_string()),
            ("name".to_owned(), name.to_owned()),
            ("type".to_owned(), "bridge".to_owned()),
        ]);
        self.events.publish(Subject::Network, action, id, attributes);
    }
}

impl Actor {
    /// Joins or leaves a network: at once when it runs, else at the next start.
    pub(crate) async fn change_networks(&mut self, change: NetworkChange) -> Result<()> {
        let mode = self.record.host.network_mode.clone();
        if mode == "host" || mode == "none" || mode.starts_with("container:") {
            let text = "container sharing network namespace with another container or host cannot be connected to any other network";
            return Err(EngineError::new(types::Kind::Denied, text));
        }
        match change {
            NetworkChange::Connect(name, settings) => self.connect(name, *settings).await,
            NetworkChange::Disconnect(name) => self.disconnect(&name).await,
        }
    }

    async fn connect(&mut self, name: String, settings: EndpointSettings) -> Result<()> {
        if self.record.networks.contains_key(&name) {
            let text =
                format!("endpoint with name {} already exists in network {name}", self.record.name);
            return Err(EngineError::new(types::Kind::Denied, text));
        }
        let at = (0..)
            .find(|at| !self.record.state.endpoints.iter().any(|e| e.ifname == format!("eth{at}")));
        let request = crate::actor::endpoint_request(&name, &settings, at.unwrap_or(0))?;
        if self.record.state.status.is_alive() {
            let (network, id) = (Arc::clone(&self.engine.network), self.record.id.clone());
            let path = format!("/proc/{}/ns/net", self.record.state.pid);
            let endpoint = blocking(move || {
                let netns =
                    std::fs::File::open(&path).map_err(|error| host_error("open", path, error))?;
                network.attach(&id, netns.as_fd(), &request).room()
            })
            .await?;
            self.engine.tell_network(
                &endpoint.network_name,
                endpoint.network_id.as_str(),
                "connect",
                &self.record.id,
            );
            self.record.state.endpoints.push(endpoint);
        }
        self.record.networks.insert(name, settings);
        self.networks_changed().await
    }

    async fn disconnect(&mut self, name: &str) -> Result<()> {
        if self.record.networks.remove(name).is_none() {
            let text = format!("container {} is not connected to network {name}", self.record.id);
            return Err(EngineError::new(types::Kind::Denied, text));
        }
        let at =
            self.record.state.endpoints.iter().position(|endpoint| endpoint.network_name == name);
        if let Some(at) = at {
            let endpoint = self.record.state.endpoints.remove(at);
            self.engine.tell_network(
                name,
                endpoint.network_id.as_str(),
                "disconnect",
                &self.record.id,
            );
            let (network, id) = (Arc::clone(&self.engine.network), self.record.id.clone());
            blocking(move || {
                network.detach(&id, &endpoint).map_err(|errors| {
                    EngineError::caused(types::Kind::Internal, "leave network", errors)
                })
            })
            .await?;
        }
        self.networks_changed().await
    }

    async fn networks_changed(&mut self) -> Result<()> {
        if self.record.state.status.is_alive() {
            let endpoints = &self.record.state.endpoints;
            let addresses: Vec<IpAddr> =
                endpoints.iter().map(|endpoint| IpAddr::V4(endpoint.ip)).collect();
            self.engine.write_hosts(&self.record, &addresses)?;
        }
        self.save().await
    }
}
