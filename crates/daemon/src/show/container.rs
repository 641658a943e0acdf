//! Containers and execs.

use std::collections::BTreeMap;

use api::container::{
    ContainerInspect, ContainerSummary, Health, HealthResult, LegacyNetwork, MountPoint,
    NetworkSettings, Port, State, SummaryHostConfig, SummaryNetworks,
};
use api::exec::{ExecInspect, ExecProcess};
use base64::Engine as _;
use engine::{
    ContainerView, DeathView, ExecView, HealthView, MountView, NetworkView, SizeView, StateView,
};
use serde_json::json;

use super::{overlay, path, time};

/// `GET /containers/{id}/json`.
pub(crate) fn inspect(view: &ContainerView, size: Option<SizeView>) -> ContainerInspect {
    let graph = &view.graph;
    ContainerInspect {
        id: view.id.to_string(),
        created: time(Some(view.created)),
        path: view.path.clone(),
        args: view.args.clone(),
        state: state(&view.state),
        image: view.image_id.to_string(),
        resolv_conf_path: path(&view.resolv_conf_path),
        hostname_path: path(&view.hostname_path),
        hosts_path: path(&view.hosts_path),
        log_path: view.log_path.as_deref().map(path).unwrap_or_default(),
        name: format!("/{}", view.name),
        restart_count: i64::from(view.restart_count),
        driver: "overlay2".to_owned(),
        platform: view.platform.clone(),
        mount_label: String::new(),
        process_label: String::new(),
        app_armor_profile: String::new(),
        exec_ids: (!view.exec_ids.is_empty()).then(|| view.exec_ids.clone()),
        host_config: view.host_config.as_ref().clone(),
        graph_driver: overlay(&graph.lower, &graph.upper, &graph.work, &graph.merged),
        size_rw: size.map(|s| bytes(s.rw_bytes)),
        size_root_fs: size.map(|s| bytes(s.root_fs_bytes)),
        mounts: view.mounts.iter().map(mount).collect(),
        config: view.config.as_ref().clone(),
        network_settings: network(&view.network),
    }
}

/// One row of `GET /containers/json`.
pub(crate) fn summary(row: &engine::ContainerSummary) -> ContainerSummary {
    let view = &row.view;
    ContainerSummary {
        id: view.id.to_string(),
        names: vec![format!("/{}", view.name)],
        image: view.image.clone(),
        image_id: view.image_id.to_string(),
        command: row.command.clone(),
        created: view.created.as_second(),
        ports: row.ports.iter().map(port).collect(),
        size_rw: row.size.map(|s| bytes(s.rw_bytes)),
        size_root_fs: row.size.map(|s| bytes(s.root_fs_bytes)),
        labels: view.config.labels.clone().unwrap_or_default(),
        state: view.state.status.as_str().to_owned(),
        status: row.status.clone(),
        host_config: SummaryHostConfig {
            network_mode: view.host_config.network_mode.clone(),
            annotations: view.host_config.annotations.clone().filter(|a| !a.is_empty()),
        },
        network_settings: SummaryNetworks { networks: view.network.networks.clone() },
        mounts: view.mounts.iter().map(mount).collect(),
    }
}

/// `GET /exec/{id}/json`.
pub(crate) fn exec(view: &ExecView) -> ExecInspect {
    let config = &view.config;
    let mut words = config.cmd.iter().cloned();
    ExecInspect {
        id: view.id.clone(),
        running: view.running,
        exit_code: view.exit_code.map(i64::from),
        process_config: ExecProcess {
            tty: config.tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: words.collect(),
            privileged: Some(config.privileged),
            user: (!config.user.is_empty()).then(|| config.user.clone()),
        },
        open_stdin: config.attach_stdin,
        open_stderr: config.attach_stderr,
        open_stdout: config.attach_stdout,
        can_remove: !view.running && view.exit_code.is_some(),
        container_id: view.container.to_string(),
        detach_keys: base64::engine::general_purpose::STANDARD.encode(&config.detach_keys),
        pid: i64::from(view.pid),
    }
}

fn state(state: &StateView) -> State {
    use engine::Status;
    State {
        status: state.status.as_str().to_owned(),
        running: state.status.is_alive() || state.status == Status::Restarting,
        paused: state.status == Status::Paused,
        restarting: state.status == Status::Restarting,
        oom_killed: state.oom_killed,
        dead: state.status == Status::Dead,
        pid: i64::from(state.pid),
        exit_code: i64::from(state.exit_code),
        error: state.error.clone(),
        started_at: time(state.started_at),
        finished_at: time(state.finished_at),
        health: state.health.as_ref().map(health),
        belljar: own_fields(state),
    }
}

/// What the engine knows beyond Docker's fields; absent while there is nothing to tell.
fn own_fields(state: &StateView) -> Option<serde_json::Value> {
    if state.death.is_none() && !state.shim_lost {
        return None;
    }
    Some(json!({ "ShimLost": state.shim_lost, "Death": state.death.as_ref().map(death) }))
}

fn death(death: &DeathView) -> serde_json::Value {
    json!({
        "Signal": death.signal,
        "ByEngine": death.by_engine,
        "OOMKills": death.oom_kills,
        "OwnLimitHits": death.own_limit_hits,
        "CPUNanoseconds": death.cpu_ns,
        "PeakMemoryBytes": death.peak_memory_bytes,
    })
}

fn health(view: &HealthView) -> Health {
    let run = |run: &engine::HealthRun| HealthResult {
        start: time(Some(run.start)),
        end: time(Some(run.end)),
        exit_code: run.exit_code,
        output: run.output.clone(),
    };
    Health {
        status: view.status.clone(),
        failing_streak: i64::from(view.failing_streak),
        log: view.log.iter().map(run).collect(),
    }
}

fn mount(view: &MountView) -> MountPoint {
    MountPoint {
        r#type: view.kind.clone(),
        name: view.name.clone().unwrap_or_default(),
        source: view.source.clone(),
        destination: view.destination.clone(),
        driver: view.driver.clone().unwrap_or_default(),
        mode: view.mode.clone(),
        rw: view.rw,
        propagation: view.propagation.clone(),
    }
}

fn port(view: &engine::PortView) -> Port {
    Port {
        ip: view.ip.map(|ip| ip.to_string()),
        private_port: view.private_port,
        public_port: view.public_port,
        r#type: view.protocol.clone(),
    }
}

fn network(view: &NetworkView) -> NetworkSettings {
    NetworkSettings {
        bridge: String::new(),
        sandbox_id: view.sandbox_id.clone(),
        sandbox_key: view.sandbox_key.clone(),
        ports: view.ports.clone(),
        legacy: legacy(&view.networks),
        networks: view.networks.clone(),
    }
}

/// Repeats the default bridge's endpoint at the top, as Docker does until API 1.51.
fn legacy(networks: &BTreeMap<String, types::container::EndpointSettings>) -> LegacyNetwork {
    let Some(bridge) = networks.get("bridge") else { return LegacyNetwork::default() };
    LegacyNetwork {
        endpoint_id: bridge.endpoint_id.clone(),
        gateway: bridge.gateway.clone(),
        global_ipv6_address: bridge.global_ipv6_address.clone(),
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address.clone(),
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway.clone(),
        mac_address: bridge.mac_address.clone(),
        ..LegacyNetwork::default()
    }
}

fn bytes(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
