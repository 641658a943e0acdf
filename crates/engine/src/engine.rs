//! The engine itself: what all rooms below are held by, and what readers ask.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use db::Table;
use parking_lot::RwLock;
use types::{ContainerId, Kind};

use crate::actor::Command;
use crate::events::{EventStream, Events, Subject};
use crate::exec::Exec;
use crate::mountpoint::{MountKind, MountPoint};
use crate::options::EngineOptions;
use crate::record::Record;
use crate::request::EventsRequest;
use crate::roster::{Handle, Roster};
use crate::validate::Host;
use crate::view::{ContainerView, Counts, GraphView, NetworkView, SizeView, StateView, Status};
use crate::volumes::VolumeRecord;
use crate::{EngineError, Result};

/// A container engine over one data root.
pub struct Engine {
    pub(crate) me: Weak<Engine>,
    pub(crate) options: EngineOptions,
    pub(crate) id: String,
    pub(crate) host: Host,
    pub(crate) events: Events,
    pub(crate) roster: Roster,
    pub(crate) images: image::Images,
    pub(crate) snapshot: snapshot::Store,
    pub(crate) network: Arc<network::Network>,
    pub(crate) containers: Table<Record>,
    pub(crate) volumes: Table<VolumeRecord>,
    pub(crate) execs: RwLock<HashMap<String, Arc<Exec>>>,
    /// Volumes are created and removed one at a time.
    pub(crate) volume_turn: tokio::sync::Mutex<()>,
}

/// Runs `work` where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(EngineError::caused(Kind::Internal, "run a blocking step", error)),
    }
}

/// Hands on the failure of a room below.
pub(crate) trait Room<T> {
    /// Keeps words, kind and sources.
    fn room(self) -> Result<T>;
}

macro_rules! room {
    ($($error:ty),*) => {$(
        impl<T> Room<T> for std::result::Result<T, $error> {
            fn room(self) -> Result<T> {
                self.map_err(|error| EngineError::room(error.kind(), error))
            }
        }
    )*};
}

room!(image::Error, snapshot::Error, network::Error, db::Error, layer::Error);

/// A step on a file or program of the host that failed.
pub(crate) fn host_error(
    step: &str,
    object: impl std::fmt::Display,
    error: std::io::Error,
) -> EngineError {
    EngineError::caused(Kind::Internal, format!("{step} `{object}`"), error)
}

impl Engine {
    pub(crate) fn me(&self) -> Arc<Self> {
        self.me.upgrade().expect("a method runs while the engine is held")
    }

    /// What the engine was opened with.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The engine's id, made once per data root.
    #[must_use]
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// The images. What changes them goes through the methods of the engine, which tell it in events.
    #[must_use]
    pub fn images(&self) -> &image::Images {
        &self.images
    }

    /// What is degraded on this host, for `info`.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.network.warnings()
    }

    /// Takes down the bridges and rules that no container uses: for a daemon that is told to end. Everything that containers use stays, and
    /// the next attach makes again what is missing.
    pub async fn close(&self) {
        let network = Arc::clone(&self.network);
        let closed = tokio::task::spawn_blocking(move || network.close()).await;
        if let Ok(Err(errors)) = closed {
            tracing::warn!("take down unused networks: {errors}");
        }
    }

    /// Subscribes to events.
    ///
    /// # Errors
    /// `Invalid`: unknown filter.
    pub fn events(&self, request: EventsRequest) -> Result<EventStream> {
        self.events.subscribe(request)
    }

    /// Numbers for `info`.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for handle in self.roster.all() {
            counts.containers += 1;
            match handle.view().state.status {
                Status::Running | Status::Restarting => counts.running += 1,
                Status::Paused => counts.paused += 1,
                _ => counts.stopped += 1,
            }
        }
        counts.images = u32::try_from(self.images.list(&[]).len()).unwrap_or(u32::MAX);
        counts
    }

    pub(crate) fn find(&self, name: &str) -> Result<Arc<Handle>> {
        self.roster.find(name)
    }

    /// Finds a container by full id, unique prefix of the id, or name.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when a prefix fits several.
    pub fn inspect(&self, name: &str) -> Result<Arc<ContainerView>> {
        let handle = self.find(name)?;
        Ok(self.complete(&handle))
    }

    /// A view with what changes without the container's actor: execs and health.
    pub(crate) fn complete(&self, handle: &Handle) -> Arc<ContainerView> {
        let mut view = handle.view();
        let exec_ids = self.running_execs(&handle.id);
        let health = handle.health.lock().clone();
        if !exec_ids.is_empty() || health != view.state.health {
            let mut changed = (*view).clone();
            changed.exec_ids = exec_ids;
            changed.state.health = health;
            view = Arc::new(changed);
        }
        view
    }

    /// Measures a container's file system.
    ///
    /// # Errors
    /// `NotFound`; `Internal`.
    pub async fn size(&self, name: &str) -> Result<SizeView> {
        self.measure(&self.find(name)?.view()).await
    }

    pub(crate) async fn measure(&self, view: &ContainerView) -> Result<SizeView> {
        let (snapshot, id) = (self.snapshot.clone(), view.id.clone());
        let rw_bytes = blocking(move || snapshot.usage(&id).room()).await?;
        let image_bytes =
            self.images.inspect(&view.image_id.to_string()).map_or(0, |image| image.size);
        Ok(SizeView { rw_bytes, root_fs_bytes: rw_bytes.saturating_add(image_bytes) })
    }

    pub(crate) fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.options.data_root.join("containers").join(id.as_str())
    }

    pub(crate) fn bundle_dir(&self, id: &ContainerId) -> PathBuf {
        self.options.exec_root.join("bundles").join(id.as_str())
    }

    pub(crate) fn shim_dir(&self, id: &ContainerId) -> PathBuf {
        self.options.exec_root.join("containers").join(id.as_str())
    }

    pub(crate) fn log_path(&self, record: &Record) -> Option<PathBuf> {
        (record.host.log_config.r#type != "none")
            .then(|| self.container_dir(&record.id).join(format!("{}-json.log", record.id)))
    }

    /// The view of a record as it is now.
    pub(crate) fn view_of(&self, record: &Record, graph: Option<GraphView>) -> ContainerView {
        let dir = self.container_dir(&record.id);
        let state = &record.state;
        let read = || {
            let fs = self.snapshot.container(&record.id)?;
            Some(GraphView { lower: fs.lower, upper: fs.upper, work: fs.work, merged: fs.merged })
        };
        let graph = graph.or_else(read);
        let mut mounts: Vec<_> =
            record.mounts.iter().filter(|mount| !mount.hidden).map(MountPoint::view).collect();
        mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
        ContainerView {
            id: record.id.clone(),
            name: record.name.clone(),
            created: record.created,
            path: record.path.clone(),
            args: record.args.clone(),
            state: StateView {
                status: state.status,
                oom_killed: state.oom_killed,
                pid: if state.status.is_alive() { state.pid } else { 0 },
                exit_code: state.exit_code,
                error: state.error.clone(),
                started_at: state.started_at,
                finished_at: state.finished_at,
                health: None,
                death: state.death.clone(),
                shim_lost: state.shim_lost,
            },
            image_id: record.image_id.clone(),
            image: record.config.image.clone(),
            config: Arc::new(record.config.clone()),
            host_config: Arc::new(record.host.clone()),
            mounts,
            network: self.network_view(record),
            graph: graph.unwrap_or_default(),
            resolv_conf_path: dir.join("resolv.conf"),
            hostname_path: dir.join("hostname"),
            hosts_path: dir.join("hosts"),
            log_path: self.log_path(record),
            restart_count: state.restart_count,
            exec_ids: Vec::new(),
            runtime: record.runtime.clone(),
            cgroup_path: self.cgroup_path(record),
            platform: "linux".to_owned(),
        }
    }

    fn network_view(&self, record: &Record) -> NetworkView {
        let mut view = NetworkView { networks: record.networks.clone(), ..NetworkView::default() };
        for port in record.config.exposed_ports.iter().flat_map(std::collections::BTreeMap::keys) {
            if record.state.status.is_alive() {
                view.ports.insert(port.clone(), None);
            }
        }
        for endpoint in &record.state.endpoints {
            let settings = view.networks.entry(endpoint.network_name.clone()).or_default();
            settings.network_id = endpoint.network_id.to_string();
            settings.endpoint_id = endpoint.endpoint_id.to_string();
            settings.gateway = endpoint.gateway.to_string();
            settings.ip_address = endpoint.ip.to_string();
            settings.ip_prefix_len = endpoint.prefix;
            settings.mac_address = endpoint.mac.to_string();
            for port in &endpoint.ports {
                let key = format!("{}/{}", port.container_port, port.protocol);
                let binding = types::container::PortBinding {
                    host_ip: port.host_ip.to_string(),
                    host_port: port.host_port.to_string(),
                };
                view.ports.entry(key).or_default().get_or_insert_default().push(binding);
            }
        }
        if record.state.status.is_alive() {
            view.sandbox_id = record.id.to_string();
            view.sandbox_key = format!("/proc/{}/ns/net", record.state.pid);
        }
        for (name, settings) in &mut view.networks {
            if settings.network_id.is_empty() {
                settings.network_id =
                    self.network.network(name).map(|n| n.id.to_string()).unwrap_or_default();
            }
        }
        view
    }

    /// The path of the cgroup as in `/proc/PID/cgroup`: where the last run was, or where the next will be.
    fn cgroup_path(&self, record: &Record) -> String {
        let known = record.state.cgroup.as_ref().map(|cgroup| cgroup.path.as_str());
        match known.filter(|path| !path.is_empty()) {
            Some(path) => path.to_owned(),
            None => slice_path(&self.cgroups_path(record)),
        }
    }

    /// The spec's `cgroupsPath`.
    pub(crate) fn cgroups_path(&self, record: &Record) -> String {
        let parent = match record.host.cgroup_parent.as_str() {
            "" => self.options.cgroup_parent.as_str(),
            given => given,
        };
        match self.options.cgroup_driver {
            crate::options::CgroupDriver::Systemd => {
                let slice = if parent.is_empty() { "system.slice" } else { parent };
                format!("{slice}:belljar:{}", record.id)
            }
            crate::options::CgroupDriver::Cgroupfs => {
                let parent = if parent.is_empty() { "belljar" } else { parent.trim_matches('/') };
                format!("/{parent}/{}", record.id)
            }
        }
    }

    /// Tells an event of a container, with Docker's attributes.
    pub(crate) fn tell(&self, record: &Record, action: impl Into<String>, more: &[(&str, String)]) {
        let mut attributes = record.config.labels.clone().unwrap_or_default();
        attributes.insert("image".to_owned(), record.config.image.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.events.publish(Subject::Container, action, record.id.as_str(), attributes);
    }

    /// The same from a view, for those who have no record.
    pub(crate) fn tell_view(
        &self,
        view: &ContainerView,
        action: impl Into<String>,
        more: &[(&str, String)],
    ) {
        let mut attributes = view.config.labels.clone().unwrap_or_default();
        attributes.insert("image".to_owned(), view.image.clone());
        attributes.insert("name".to_owned(), view.name.clone());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.events.publish(Subject::Container, action, view.id.as_str(), attributes);
    }

    /// Tells that a run begins or ends to use its volumes.
    pub(crate) fn tell_volumes(&self, record: &Record, action: &str) {
        for mount in record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
            let mut attributes = std::collections::BTreeMap::from([
                ("container".to_owned(), record.id.to_string()),
                ("driver".to_owned(), "local".to_owned()),
            ]);
            if action == "mount" {
                attributes.insert("destination".to_owned(), mount.destination.clone());
                attributes.insert("propagation".to_owned(), mount.propagation.clone());
                attributes.insert("read/write".to_owned(), mount.rw.to_string());
            }
            self.events.publish(Subject::Volume, action, mount.name.as_str(), attributes);
        }
    }

    /// Puts a command into a container's mailbox and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        handle: &Handle,
        command: impl FnOnce(tokio::sync::oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        handle.send(command(reply))?;
        answer.await.map_err(|_| EngineError::no_such_container(handle.id.as_str()))?
    }
}

/// The path of a cgroup of a `cgroupsPath`: `SLICE:PREFIX:NAME` is a scope, and `a-b.slice` lies in `a.slice` (systemd.slice(5)).
fn slice_path(cgroups_path: &str) -> String {
    let mut parts = cgroups_path.splitn(3, ':');
    let (Some(slice), Some(prefix), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return cgroups_path.to_owned();
    };
    let slice = slice.strip_suffix(".slice").unwrap_or(slice);
    if slice == "-" {
        return format!("/{prefix}-{name}.scope");
    }
    let ends = slice.match_indices('-').map(|(at, _)| at).chain([slice.len()]);
    let above = ends.filter(|at| *at > 0).map(|at| format!("/{}.slice", &slice[..at]));
    format!("{}/{prefix}-{name}.scope", above.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_a_path() {
        for (given, want) in [
            ("/belljar/x", "/belljar/x"),
            ("system.slice:belljar:x", "/system.slice/belljar-x.scope"),
            ("a-b.slice:belljar:x", "/a.slice/a-b.slice/belljar-x.scope"),
            ("-.slice:belljar:x", "/belljar-x.scope"),
        ] {
            assert_eq!(slice_path(given), want, "{given}");
        }
    }
}
