//! `/networks/*`.

use api::network::{
    NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect, NetworksPruned,
};
use engine::{NetworkRequest, PoolView};
use hyper::StatusCode;

use crate::call::{Call, bare, done, json, ok};
use crate::failure::{Answer, Failure};
use crate::show::network::network;

pub(super) async fn route(method: &str, path: &[&str], call: Call) -> Answer {
    match (method, path) {
        ("GET", []) => list(&call),
        ("POST", ["create"]) => create(call).await,
        ("POST", ["prune"]) => prune(&call).await,
        ("GET", [name]) => ok(&network(call.engine().network_inspect(name)?, true)),
        ("DELETE", [name]) => {
            call.engine().network_remove(name).await?;
            done()
        }
        ("POST", [name, "connect"]) => connect(call, name).await,
        ("POST", [name, "disconnect"]) => disconnect(call, name).await,
        _ => Err(Failure::no_page()),
    }
}

fn list(call: &Call) -> Answer {
    let networks = call.engine().network_list(&call.filters()?)?;
    ok(&networks.into_iter().map(|info| network(info, false)).collect::<Vec<_>>())
}

async fn create(call: Call) -> Answer {
    let engine = call.engine().clone();
    let body: NetworkCreate = call.json().await?;
    if body.config_only || body.config_from.is_some_and(|from| !from.network.is_empty()) {
        return Err(Failure::not_implemented("a network that only configures others"));
    }
    let pools = body.ipam.unwrap_or_default().config;
    let pool = |c: api::network::IpamConfig| PoolView {
        subnet: c.subnet,
        ip_range: c.ip_range,
        gateway: c.gateway,
    };
    let request = NetworkRequest {
        name: body.name,
        driver: body.driver,
        internal: body.internal,
        enable_ipv6: body.enable_ipv6.unwrap_or(false),
        attachable: body.attachable,
        pools: pools.into_iter().map(pool).collect(),
        options: body.options,
        labels: body.labels,
    };
    let id = engine.network_create(request).await?;
    json(StatusCode::CREATED, &NetworkCreated { id, warning: String::new() })
}

async fn connect(call: Call, name: &str) -> Answer {
    let engine = call.engine().clone();
    let body: NetworkConnect = call.json().await?;
    let settings = body.endpoint_config.unwrap_or_default();
    engine.network_connect(name, &body.container, settings).await?;
    bare(StatusCode::OK)
}

async fn disconnect(call: Call, name: &str) -> Answer {
    let engine = call.engine().clone();
    let body: NetworkDisconnect = call.json().await?;
    engine.network_disconnect(name, &body.container, body.force).await?;
    bare(StatusCode::OK)
}

async fn prune(call: &Call) -> Answer {
    let pruned = call.engine().network_prune(&call.filters()?).await?;
    let deleted = (!pruned.deleted.is_empty()).then_some(pruned.deleted);
    ok(&NetworksPruned { networks_deleted: deleted })
}
