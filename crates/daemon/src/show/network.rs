//! Networks and volumes.

use api::network::{ConfigFrom, Ipam, IpamConfig, Network, NetworkContainer};
use api::volume::{UsageData, Volume};
use engine::{NetworkInfo, NetworkMember, PoolView, VolumeView};

use super::{or_null, time};

/// A network; lists leave out the containers.
pub(crate) fn network(info: NetworkInfo, members: bool) -> Network {
    let ends = if members { info.members } else { Default::default() };
    Network {
        name: info.name,
        id: info.id,
        created: time(info.created),
        scope: "local".to_owned(),
        driver: info.driver,
        enable_ipv4: true,
        enable_ipv6: info.enable_ipv6,
        ipam: Ipam {
            driver: "default".to_owned(),
            options: None,
            config: info.pools.into_iter().map(pool).collect(),
        },
        internal: info.internal,
        attachable: info.attachable,
        ingress: false,
        config_from: ConfigFrom::default(),
        config_only: false,
        containers: ends.into_iter().map(|(id, end)| (id.to_string(), member(end))).collect(),
        options: info.options,
        labels: info.labels,
    }
}

/// A volume.
pub(crate) fn volume(view: VolumeView) -> Volume {
    Volume {
        created_at: view
            .created
            .map(|t| api::time::rfc3339(i128::from(t.as_second()) * 1_000_000_000))
            .unwrap_or_default(),
        driver: view.driver,
        labels: or_null(view.labels),
        mountpoint: view.mountpoint,
        name: view.name,
        options: or_null(view.options),
        scope: "local".to_owned(),
        usage_data: None,
    }
}

/// A volume in `/system/df`.
pub(crate) fn volume_usage(view: VolumeView, size: i64) -> Volume {
    let ref_count = i64::from(view.ref_count);
    Volume { usage_data: Some(UsageData { ref_count, size }), ..volume(view) }
}

fn member(end: NetworkMember) -> NetworkContainer {
    NetworkContainer {
        name: end.name,
        endpoint_id: end.endpoint_id,
        mac_address: end.mac_address,
        ipv4_address: end.ipv4_address,
        ipv6_address: end.ipv6_address,
    }
}

fn pool(pool: PoolView) -> IpamConfig {
    IpamConfig {
        subnet: pool.subnet,
        ip_range: pool.ip_range,
        gateway: pool.gateway,
        auxiliary_addresses: None,
    }
}
