//! What can go wrong in this room.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use types::Kind;

use crate::model::{Protocol, Subnet};

/// A failure of a network operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No network has this name or id.
    #[error("network {name} not found")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// An id prefix fits several networks.
    #[error("network {name} is ambiguous ({matches} matches found based on ID prefix)")]
    Ambiguous {
        /// The prefix.
        name: String,
        /// How many fit.
        matches: usize,
    },
    /// The name is taken.
    #[error("network with name {name} already exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// A request that is wrong in itself.
    #[error("{0}")]
    Invalid(String),
    /// A predefined network cannot be removed or made.
    #[error("{0}")]
    Denied(String),
    /// Containers are still in the network.
    #[error("error while removing network: network {name} has active endpoints")]
    InUse {
        /// The network.
        name: String,
    },
    /// The network's driver joins no container by an interface (`host`, `none`), or the default bridge is switched off.
    #[error("network `{name}` takes no interfaces")]
    NoInterfaces {
        /// The network.
        name: String,
    },
    /// Every address is leased.
    #[error("no available IPv4 addresses on this network's address pools: {name} ({subnet})")]
    Exhausted {
        /// The network.
        name: String,
        /// Its addresses.
        subnet: Subnet,
    },
    /// A wanted address is leased.
    #[error("Address already in use")]
    AddressInUse {
        /// The address.
        ip: Ipv4Addr,
    },
    /// No default pool is free of overlap with the host's routes.
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    NoPool,
    /// A wanted subnet overlaps another network's.
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    PoolOverlaps,
    /// Another container, or another process of the host, has the port.
    #[error("Bind for {ip}:{port} failed: port is already allocated")]
    PortTaken {
        /// The host address.
        ip: Ipv4Addr,
        /// The transport.
        protocol: Protocol,
        /// The host port.
        port: u16,
    },
    /// A host port cannot be reserved for a reason other than being taken.
    #[error("reserve port `{ip}:{port}/{protocol}`")]
    Port {
        /// The host address.
        ip: Ipv4Addr,
        /// The transport.
        protocol: Protocol,
        /// The host port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Ports cannot be published because the kernel lacks what it takes.
    #[error("publish ports: the kernel has no usable nf_tables")]
    NoNat {
        /// Why.
        #[source]
        source: sys::netlink::Error,
    },
    /// The kernel refused a netlink request.
    #[error("{step} `{object}`")]
    Netlink {
        /// What was being done.
        step: &'static str,
        /// To which link, address or table.
        object: String,
        /// The kernel's answer.
        #[source]
        source: sys::netlink::Error,
    },
    /// A file, a namespace or a sysctl could not be used.
    #[error("{step} `{path}`")]
    File {
        /// What was being done.
        step: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A network record is not readable as one.
    #[error("read network record `{path}`")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::Ambiguous { .. } | Self::Invalid(_) | Self::NoInterfaces { .. } => Kind::Invalid,
            Self::Exists { .. } => Kind::Conflict,
            // The Engine API answers 403 to all of them.
            Self::Denied(_)
            | Self::InUse { .. }
            | Self::PoolOverlaps
            | Self::AddressInUse { .. } => Kind::Denied,
            Self::NoNat { .. } | Self::Exhausted { .. } => Kind::Unavailable,
            _ => Kind::Internal,
        }
    }
}
