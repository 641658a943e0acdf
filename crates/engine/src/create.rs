//! A create: everything is checked first, then made, then recorded; a failure takes back what was made.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use snapshot::InitEntry;
use sys::file;
use types::container::{ContainerConfig, EndpointSettings, HostConfig, NetworkingConfig};
use types::{ChainId, ContainerId, ImageId, Kind};

use crate::actor::Actor;
use crate::engine::{Engine, Room, blocking, host_error};
use crate::mountpoint::{MountKind, MountPoint, clean, parse_all};
use crate::record::{Record, RunState};
use crate::request::{CreateRequest, Created};
use crate::roster::Handle;
use crate::{EngineError, Result, merge, names, validate};

impl Engine {
    /// Creates a container.
    ///
    /// # Errors
    /// `NotFound` (image), `Conflict` (name), `Invalid`.
    pub async fn create(&self, request: CreateRequest) -> Result<Created> {
        let (image_id, chain) = self.find_image(&request)?;
        let image = self.images.config(&image_id).room()?;
        let config = merge::merge(&request.config, image.config.as_ref())?;
        let mut host = request.host_config;
        validate::config(&config)?;
        validate::host(&mut host, &self.options)?;
        validate::network(&config, &host)?;
        validate::restart_policy(&host.restart_policy, host.auto_remove)?;
        let warnings = validate::limits(&mut host, &self.host)?;
        self.check_words(&host)?;
        let mounts = self.plan_mounts(&config, &host)?;
        crate::ports::wanted(&config, &host)?;

        let id = new_id()?;
        let networks = networks(&host, &request.networking);
        let name = self.take_name(request.name.as_deref(), &id)?;
        let record = Record {
            created: Timestamp::now(),
            image_id,
            path: command(&config).0,
            args: command(&config).1,
            config: self.finish_config(config, &host, &id),
            runtime: host.runtime.clone(),
            host,
            mounts,
            networks,
            state: RunState::default(),
            name: name.clone(),
            id: id.clone(),
        };
        match self.make(record, chain).await {
            Ok(record) => {
                self.adopt(record.clone());
                self.tell(&record, "create", &[]);
                Ok(Created { id, warnings })
            }
            Err(error) => {
                self.roster.release(&name, &id);
                let engine = self.me();
                let _ = blocking(move || {
                    let _ = engine.snapshot.remove(&id);
                    engine.remove_dirs(&id)
                })
                .await;
                Err(error)
            }
        }
    }

    /// Starts the actor of a container.
    pub(crate) fn adopt(&self, record: Record) -> Arc<Handle> {
        let (handle, inbox) = Handle::new(self.view_of(&record, None));
        self.roster.insert(Arc::clone(&handle));
        tokio::spawn(Actor::new(self.me(), Arc::clone(&handle), record).serve(inbox));
        handle
    }

    fn find_image(&self, request: &CreateRequest) -> Result<(ImageId, Option<ChainId>)> {
        if request.config.image.is_empty() {
            return Err(EngineError::invalid("no image specified"));
        }
        let id = self.images.resolve(&request.config.image).room()?;
        let config = self.images.config(&id).room()?;
        if !request.platform.is_empty() {
            let wanted: types::oci::image::Platform = request
                .platform
                .parse()
                .map_err(|error| EngineError::caused(Kind::Invalid, "invalid platform", error))?;
            if !wanted.accepts(&config.platform()) {
                return Err(EngineError::not_found(format!(
                    "image with reference {} was found but does not provide the specified platform ({wanted})",
                    request.config.image
                )));
            }
        }
        let chain = self.images.chain(&id).room()?;
        Ok((id, chain))
    }

    /// Words that only start would look at, refused early.
    fn check_words(&self, host: &HostConfig) -> Result<()> {
        use crate::spec::capabilities::resolve;
        resolve(host.cap_add.as_ref(), host.cap_drop.as_ref(), false, &self.host.capabilities)?;
        for option in host.security_opt.iter().flatten() {
            let (name, value) = crate::launch::security_option(option)?;
            if name == "seccomp" && !["unconfined", "builtin", ""].contains(&value) {
                crate::spec::seccomp::Profile::parse(value)?;
            }
        }
        for mode in [&host.network_mode, &host.pid_mode, &host.ipc_mode] {
            if let Some(other) = mode.strip_prefix("container:") {
                self.find(other)?;
            }
        }
        Ok(())
    }

    fn plan_mounts(&self, config: &ContainerConfig, host: &HostConfig) -> Result<Vec<MountPoint>> {
        let exists = |path: &str| std::fs::symlink_metadata(path).is_ok();
        let mut mounts = parse_all(host, exists)?;
        for from in host.volumes_from.iter().flatten() {
            let (name, mode) = from.split_once(':').unwrap_or((from, "rw"));
            let other = self.find(name)?;
            let record = self
                .containers
                .get(other.id.as_str())
                .ok_or_else(|| EngineError::no_such_container(name))?;
            for mount in record.mounts.iter().filter(|mount| !mount.hidden) {
                if !mounts.iter().any(|have| have.destination == mount.destination) {
                    let rw = mount.rw && mode != "ro";
                    mounts.push(MountPoint {
                        rw,
                        anonymous: false,
                        no_copy: true,
                        ..mount.clone()
                    });
                }
            }
        }
        for destination in config.volumes.iter().flat_map(BTreeMap::keys) {
            let destination = clean(destination);
            if destination != "/" && !mounts.iter().any(|have| have.destination == destination) {
                mounts.push(MountPoint {
                    kind: MountKind::Volume,
                    destination,
                    rw: true,
                    anonymous: true,
                    ..MountPoint::default()
                });
            }
        }
        Ok(mounts)
    }

    fn take_name(&self, asked: Option<&str>, id: &ContainerId) -> Result<String> {
        let asked = asked
            .map(|name| name.strip_prefix('/').unwrap_or(name))
            .filter(|name| !name.is_empty());
        if let Some(name) = asked {
            if !types::is_valid_name(name) {
                return Err(EngineError::invalid(format!(
                    "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
                )));
            }
            self.roster.reserve(name, id)?;
            return Ok(name.to_owned());
        }
        for attempt in 0..6 {
            let random =
                file::random::<8>().map_err(|error| host_error("read", "random bytes", error))?;
            let name = names::pick(u64::from_ne_bytes(random), attempt);
            if self.roster.reserve(&name, id).is_ok() {
                return Ok(name);
            }
        }
        self.roster.reserve(id.short(), id)?;
        Ok(id.short().to_owned())
    }

    fn finish_config(
        &self,
        mut config: ContainerConfig,
        host: &HostConfig,
        id: &ContainerId,
    ) -> ContainerConfig {
        if let Some(other) = host.network_mode.strip_prefix("container:") {
            if let Ok(other) = self.find(other) {
                config.hostname.clone_from(&other.view().config.hostname);
            }
        } else if config.hostname.is_empty()
            && (host.network_mode == "host" || host.uts_mode == "host")
        {
            config.hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        }
        if config.hostname.is_empty() {
            id.short().clone_into(&mut config.hostname);
        }
        config
    }

    /// Makes what the record names, then writes the record.
    async fn make(&self, mut record: Record, chain: Option<ChainId>) -> Result<Record> {
        // The modes of other containers are kept by id: a later rename changes nothing.
        for mode in
            [&mut record.host.network_mode, &mut record.host.pid_mode, &mut record.host.ipc_mode]
        {
            if let Some(other) = mode.strip_prefix("container:") {
                *mode = format!("container:{}", self.find(other)?.id);
            }
        }
        for mount in &mut record.mounts {
            self.provide_volume(mount).await?;
        }
        let engine = self.me();
        blocking(move || {
            let dir = engine.container_dir(&record.id);
            file::create_directories(&dir)
                .map_err(|error| host_error("create", dir.display(), error))?;
            engine.snapshot.prepare(&record.id, chain.as_ref(), &InitEntry::docker()).room()?;
            engine.fill_volumes(&record)?;
            // What removes itself needs no survival of a power cut.
            let key = record.id.as_str();
            match record.host.auto_remove {
                true => engine.containers.put(key, &record).room()?,
                false => engine.containers.put_durable(key, &record).room()?,
            }
            Ok(record)
        })
        .await
    }

    /// Copies what the image has into new volumes.
    fn fill_volumes(&self, record: &Record) -> Result<()> {
        let fresh = |mount: &&MountPoint| mount.kind == MountKind::Volume && !mount.no_copy;
        if !record.mounts.iter().any(|mount| fresh(&mount)) {
            return Ok(());
        }
        let root = self.snapshot.mount(&record.id).room()?;
        let copied = record.mounts.iter().filter(fresh).try_for_each(|mount| {
            crate::volumes::copy_up(&root, &mount.destination, &mount.source)
        });
        self.snapshot.unmount(&record.id).room()?;
        copied
    }

    /// Removes a container's directories; missing ones are fine.
    pub(crate) fn remove_dirs(&self, id: &ContainerId) -> Result<()> {
        for dir in [self.container_dir(id), self.bundle_dir(id), self.shim_dir(id)] {
            file::remove_tree(&dir).map_err(|error| host_error("remove", dir.display(), error))?;
        }
        Ok(())
    }
}

fn new_id() -> Result<ContainerId> {
    let random = file::random::<32>().map_err(|error| host_error("read", "random bytes", error))?;
    Ok(ContainerId::from_bytes(&random))
}

/// The program and its arguments.
fn command(config: &ContainerConfig) -> (String, Vec<String>) {
    let mut words = config.entrypoint.iter().chain(&config.cmd).flatten().cloned();
    (words.next().unwrap_or_default(), words.collect())
}

/// The networks to join: that of the mode, and those that the request names.
fn networks(host: &HostConfig, asked: &NetworkingConfig) -> BTreeMap<String, EndpointSettings> {
    let mode = host.network_mode.as_str();
    if mode.starts_with("container:") {
        return BTreeMap::new();
    }
    let mut networks = BTreeMap::from([(mode.to_owned(), EndpointSettings::default())]);
    for (name, settings) in &asked.endpoints_config {
        let name = if name == "default" { "bridge" } else { name };
        if mode != "host" && mode != "none" || name == mode {
            networks.insert(name.to_owned(), settings.clone().unwrap_or_default());
        }
    }
    networks
}
