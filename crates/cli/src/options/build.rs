//! From flags to the body of `POST /containers/create`.

use std::collections::BTreeMap;
use std::path::Path;

use api::container::CreateRequest;
use serde_json::Value;
use types::container::{ContainerConfig, Empty, Healthcheck, HostConfig, LogConfig, RestartPolicy};

use super::mount::{self, VolumeFlag};
use super::{ContainerOptions, devices, files, network, ports, security};
use crate::error::CommandError;

/// Turns Docker's words into a failure.
fn words(message: String) -> CommandError {
    CommandError::Plain(message)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn text(option: Option<&String>) -> String {
    option.cloned().unwrap_or_default()
}

/// What `-v` and `--tmpfs` ask for.
#[derive(Default)]
struct Storage {
    binds: Vec<String>,
    volumes: BTreeMap<String, Empty>,
    tmpfs: BTreeMap<String, String>,
}

impl ContainerOptions {
    /// The body of the create request for `image` with `command`.
    ///
    /// # Errors
    /// Docker's words for values that do not go together and for files that cannot be read.
    pub(crate) fn request(&self, image: &str, command: &[String]) -> Result<Value, CommandError> {
        self.check_limits()?;
        let storage = self.storage()?;
        let (mut exposed, bindings) = ports::published(&self.publish).map_err(words)?;
        ports::expose(&self.expose, &mut exposed).map_err(words)?;
        let mut host = self.host(&storage)?;
        self.limits(&mut host);
        host.port_bindings = Some(bindings);
        let (mode, networking) = network::plan(self).map_err(words)?;
        host.network_mode = mode;
        let mut config = self.config(image, command)?;
        config.volumes = Some(storage.volumes);
        config.exposed_ports = (!exposed.is_empty()).then_some(exposed);
        let request =
            CreateRequest { config, host_config: Some(host), networking_config: Some(networking) };
        let mut body = serde_json::to_value(request).map_err(|error| words(error.to_string()))?;
        self.add_image_mounts(&mut body);
        Ok(body)
    }

    fn add_image_mounts(&self, body: &mut Value) {
        for (at, flag) in self.mount.iter().enumerate() {
            if let Some(subpath) = &flag.image_subpath {
                body["HostConfig"]["Mounts"][at]["ImageOptions"] =
                    serde_json::json!({ "Subpath": subpath });
            }
        }
    }

    fn check_limits(&self) -> Result<(), CommandError> {
        if self.memory_swappiness != -1 && !(0..=100).contains(&self.memory_swappiness) {
            return Err(words(format!(
                "invalid value: {}. Valid memory swappiness range is 0-100",
                self.memory_swappiness
            )));
        }
        if self.rm && !matches!(self.restart.as_str(), "no" | "") {
            return Err(words(
                "conflicting options: cannot specify both --restart and --rm".into(),
            ));
        }
        self.check_namespaces()
    }

    fn check_namespaces(&self) -> Result<(), CommandError> {
        let check =
            |flag: &str, what: &str, value: Option<&String>, legal: &[&str], joins: bool| {
                let good = value.is_none_or(|value| {
                    legal.contains(&value.as_str())
                        || (joins
                            && value
                                .strip_prefix("container:")
                                .is_some_and(|name| !name.is_empty()))
                });
                if good { Ok(()) } else { Err(words(format!("--{flag}: invalid {what} mode"))) }
            };
        check("pid", "PID", self.pid.as_ref(), &["", "host"], true)?;
        check("uts", "UTS", self.uts.as_ref(), &["", "host"], false)?;
        check("userns", "USER", self.userns.as_ref(), &["", "host"], false)?;
        check("cgroupns", "CGROUP", self.cgroupns.as_ref(), &["", "host", "private"], false)?;
        check("time", "TIME", self.time.as_ref(), &["", "host", "private"], false)
    }

    /// Which streams are attached: those of `-a`, else all that make sense.
    fn streams(&self) -> (bool, bool, bool) {
        if self.attach.is_empty() {
            (self.interactive, true, true)
        } else {
            (self.attaches("stdin"), self.attaches("stdout"), self.attaches("stderr"))
        }
    }

    fn config(&self, image: &str, command: &[String]) -> Result<ContainerConfig, CommandError> {
        let (stdin, stdout, stderr) = self.streams();
        let entrypoint = self.entrypoint.as_ref().map(|program| vec![program.clone()]);
        Ok(ContainerConfig {
            hostname: text(self.hostname.as_ref()),
            domainname: text(self.domainname.as_ref()),
            user: text(self.user.as_ref()),
            attach_stdin: stdin,
            attach_stdout: stdout,
            attach_stderr: stderr,
            tty: self.tty,
            open_stdin: self.interactive,
            stdin_once: self.interactive && stdin,
            env: Some(files::environment(&self.env_file, &self.env)?),
            cmd: some(command.to_vec()),
            healthcheck: self.healthcheck()?,
            image: image.to_owned(),
            working_dir: text(self.workdir.as_ref()),
            entrypoint,
            mac_address: self.mac_address.clone(),
            labels: Some(files::labels(&self.label_file, &self.label)?),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
            ..ContainerConfig::default()
        })
    }

    fn healthcheck(&self) -> Result<Option<Healthcheck>, CommandError> {
        let times = [
            ("--health-interval", self.health_interval),
            ("--health-timeout", self.health_timeout),
            ("--health-start-period", self.health_start_period),
            ("--health-start-interval", self.health_start_interval),
            ("--health-retries", self.health_retries.unwrap_or(0)),
        ];
        let asked = self.health_cmd.is_some() || times.iter().any(|(_, value)| *value != 0);
        if self.no_healthcheck {
            if asked {
                return Err(words("--no-healthcheck conflicts with --health-* options".into()));
            }
            return Ok(Some(Healthcheck {
                test: Some(vec!["NONE".into()]),
                ..Healthcheck::default()
            }));
        }
        if !asked {
            return Ok(None);
        }
        if let Some((name, _)) = times.iter().find(|(_, value)| *value < 0) {
            return Err(words(format!("{name} cannot be negative")));
        }
        Ok(Some(Healthcheck {
            test: self.health_cmd.as_ref().map(|command| vec!["CMD-SHELL".into(), command.clone()]),
            interval: self.health_interval,
            timeout: self.health_timeout,
            start_period: self.health_start_period,
            start_interval: self.health_start_interval,
            retries: self.health_retries.unwrap_or(0),
        }))
    }

    fn storage(&self) -> Result<Storage, CommandError> {
        let mut storage = Storage::default();
        for flag in &self.volume {
            match mount::volume(flag).map_err(words)? {
                VolumeFlag::Bind(bind) => storage.binds.push(bind),
                VolumeFlag::Anonymous(target) => {
                    storage.volumes.insert(target, Empty {});
                }
            }
        }
        for flag in &self.tmpfs {
            let (path, options) = flag.split_once(':').unwrap_or((flag, ""));
            storage.tmpfs.insert(path.to_owned(), options.to_owned());
        }
        Ok(storage)
    }

    fn host(&self, storage: &Storage) -> Result<HostConfig, CommandError> {
        let security = security::options(&self.security_opt)?;
        let paths = security.system_paths_open.then(Vec::new);
        let annotations: BTreeMap<_, _> =
            self.annotation.iter().map(|flag| files::pair(flag)).collect();
        Ok(HostConfig {
            binds: some(storage.binds.clone()),
            container_id_file: text(self.cidfile.as_ref()),
            log_config: self.log_config()?,
            restart_policy: restart_policy(&self.restart)?,
            auto_remove: self.rm,
            volume_driver: text(self.volume_driver.as_ref()),
            volumes_from: some(self.volumes_from.clone()),
            annotations: (!annotations.is_empty()).then_some(annotations),
            cap_add: some(self.cap_add.clone()),
            cap_drop: some(self.cap_drop.clone()),
            cgroupns_mode: text(self.cgroupns.as_ref()),
            dns: Some(self.dns.clone()),
            dns_options: Some(self.dns_option.clone()),
            dns_search: Some(self.dns_search.clone()),
            extra_hosts: some(self.add_host.clone()),
            group_add: some(self.group_add.clone()),
            ipc_mode: text(self.ipc.as_ref()),
            links: some(self.link.clone()),
            pid_mode: text(self.pid.as_ref()),
            privileged: self.privileged,
            publish_all_ports: self.publish_all,
            readonly_rootfs: self.read_only,
            security_opt: some(security.options),
            storage_opt: security::storage(&self.storage_opt)?,
            tmpfs: (!storage.tmpfs.is_empty()).then(|| storage.tmpfs.clone()),
            uts_mode: text(self.uts.as_ref()),
            userns_mode: text(self.userns.as_ref()),
            shm_size: self.shm_size.unwrap_or(0),
            sysctls: (!self.sysctl.is_empty()).then(|| self.sysctl.iter().cloned().collect()),
            runtime: text(self.runtime.as_ref()),
            isolation: text(self.isolation.as_ref()),
            mounts: some(self.mount.iter().map(|flag| flag.mount.clone()).collect()),
            masked_paths: paths.clone(),
            readonly_paths: paths,
            init: self.init.then_some(true),
            time_mode: text(self.time.as_ref()),
            ..self.device_host()?
        })
    }

    /// The part of the host configuration that is about devices.
    fn device_host(&self) -> Result<HostConfig, CommandError> {
        let (cdi, plain): (Vec<_>, Vec<_>) =
            self.device.iter().partition(|flag| devices::is_cdi(flag));
        let mappings = plain
            .into_iter()
            .map(|flag| devices::mapping(flag))
            .collect::<Result<_, _>>()
            .map_err(words)?;
        let mut requests = self.gpus.clone();
        if !cdi.is_empty() {
            requests.push(serde_json::json!({"Driver": "cdi", "DeviceIDs": cdi}));
        }
        Ok(HostConfig {
            devices: Some(mappings),
            device_cgroup_rules: some(self.device_cgroup_rule.clone()),
            device_requests: some(requests).map(Value::Array),
            blkio_weight: self.blkio_weight,
            blkio_weight_device: Some(self.blkio_weight_device.clone()),
            blkio_device_read_bps: Some(self.device_read_bps.clone()),
            blkio_device_write_bps: Some(self.device_write_bps.clone()),
            blkio_device_read_iops: Some(self.device_read_iops.clone()),
            blkio_device_write_iops: Some(self.device_write_iops.clone()),
            ..HostConfig::default()
        })
    }

    fn limits(&self, host: &mut HostConfig) {
        host.cpu_shares = self.cpu_shares.unwrap_or(0);
        host.memory = self.memory.unwrap_or(0);
        host.nano_cpus = self.cpus.unwrap_or(0);
        host.cgroup_parent = text(self.cgroup_parent.as_ref());
        host.cpu_period = self.cpu_period.unwrap_or(0);
        host.cpu_quota = self.cpu_quota.unwrap_or(0);
        host.cpu_realtime_period = self.cpu_rt_period.unwrap_or(0);
        host.cpu_realtime_runtime = self.cpu_rt_runtime.unwrap_or(0);
        host.cpuset_cpus = text(self.cpuset_cpus.as_ref());
        host.cpuset_mems = text(self.cpuset_mems.as_ref());
        host.memory_reservation = self.memory_reservation.unwrap_or(0);
        host.memory_swap = self.memory_swap.unwrap_or(0);
        host.memory_swappiness = Some(self.memory_swappiness);
        host.oom_kill_disable = Some(self.oom_kill_disable);
        host.oom_score_adj = self.oom_score_adj.unwrap_or(0);
        host.pids_limit = Some(self.pids_limit.unwrap_or(0));
        host.ulimits = Some(self.ulimit.clone());
    }

    fn log_config(&self) -> Result<LogConfig, CommandError> {
        let driver = text(self.log_driver.as_ref());
        if driver == "none" && !self.log_opt.is_empty() {
            return Err(words(format!("invalid logging opts for driver {driver}")));
        }
        Ok(LogConfig {
            r#type: driver,
            config: self.log_opt.iter().map(|flag| files::pair(flag)).collect(),
        })
    }

    /// Refuses to overwrite the file of `--cidfile`.
    ///
    /// # Errors
    /// Docker's words.
    pub(crate) fn check_cidfile(&self) -> Result<(), CommandError> {
        match &self.cidfile {
            Some(path) if Path::new(path).exists() => Err(words(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            ))),
            _ => Ok(()),
        }
    }
}

/// Reads `--restart name[:count]`.
///
/// # Errors
/// Docker's words.
pub(crate) fn restart_policy(flag: &str) -> Result<RestartPolicy, CommandError> {
    let (name, count) = match flag.split_once(':') {
        None => (flag, 0),
        Some(("", _)) => {
            return Err(words(
                "invalid restart policy format: no policy provided before colon".into(),
            ));
        }
        Some((name, count)) => {
            let count = count.parse().map_err(|_| {
                words(
                    "invalid restart policy format: maximum retry count must be an integer".into(),
                )
            })?;
            (name, count)
        }
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count: count })
}
