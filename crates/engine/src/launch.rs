//! From a record to a process that waits for its release: root, files, bundle, shim.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::Arc;

use rustix::fs::FileType;
use shim_protocol::{CONFIG_NAME, LogConfig, LogDriver, ShimConfig};
use sys::file::{self, Durability};
use types::Kind;
use types::oci::runtime::Seccomp;

use crate::engine::{Engine, Room, host_error};
use crate::mountpoint::MountKind;
use crate::options::{CgroupDriver, NamespaceDefault};
use crate::record::Record;
use crate::spec::seccomp::{Machine, Profile, default_profile};
use crate::spec::{EtcFiles, HostDevice, Input, Namespaces, Share, capabilities, user};
use crate::{EngineError, Result};

/// What security options say.
struct Security {
    seccomp: Option<Seccomp>,
    no_new_privileges: bool,
}

impl Engine {
    /// Writes `shim.json`; all that the shim needs before it can listen.
    pub(crate) fn write_shim_config(&self, record: &Record) -> Result<()> {
        let bundle = self.bundle_dir(&record.id);
        for dir in [&bundle, &self.shim_dir(&record.id), &self.runtime_root()] {
            file::create_directories(dir)
                .map_err(|error| host_error("create", dir.display(), error))?;
        }
        let program = &self.options.runtimes.get(&record.runtime).ok_or_else(|| {
            EngineError::invalid(format!("unknown or invalid runtime name: {}", record.runtime))
        })?;
        let [height, width] = record.host.console_size;
        let config = ShimConfig {
            runtime: program.path.clone(),
            runtime_args: program.args.clone(),
            runtime_root: self.runtime_root(),
            systemd_cgroup: self.options.cgroup_driver == CgroupDriver::Systemd,
            tty: record.config.tty,
            open_stdin: record.config.open_stdin,
            stdin_once: record.config.stdin_once,
            log: self.log_config(record),
            console_size: (height > 0 && width > 0).then_some([height, width]),
        };
        write_json(&bundle.join(CONFIG_NAME), &config)
    }

    pub(crate) fn runtime_root(&self) -> PathBuf {
        self.options.exec_root.join("runtime")
    }

    fn log_config(&self, record: &Record) -> LogConfig {
        let asked = &record.host.log_config;
        let Some(path) = self.log_path(record) else { return LogConfig::default() };
        let size = asked.config.get("max-size").and_then(|text| size_bytes(text));
        let files = asked.config.get("max-file").and_then(|text| text.parse().ok());
        // Rotated by default, so that a chatty container never fills a disk.
        LogConfig {
            path,
            driver: if asked.r#type == "local" { LogDriver::Local } else { LogDriver::JsonFile },
            max_size: Some(size.unwrap_or(10 << 20)),
            max_file: Some(files.unwrap_or(3)),
        }
    }

    /// Starts the shim and waits until it listens. Its foreground process ends then; the shim itself belongs to process 1.
    /// With `adopt` it takes over the running process of that number, whose shim was lost.
    pub(crate) fn spawn_shim(&self, record: &Record, adopt: Option<u32>) -> Result<()> {
        let state = self.shim_dir(&record.id);
        let mut program = Program::new(&self.options.shim);
        match adopt {
            Some(pid) => {
                program.args(["--adopt", "--pid", &pid.to_string()]);
            }
            None => {
                let _ = file::remove_file(&state.join(shim_protocol::EXIT_NAME));
            }
        }
        let output = program
            .arg("--id")
            .arg(record.id.as_str())
            .arg("--bundle")
            .arg(self.bundle_dir(&record.id))
            .arg("--state-dir")
            .arg(&state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| host_error("start shim", self.options.shim.display(), error))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(EngineError::internal(format!(
            "failed to create task for container: failed to start shim: {said}"
        )))
    }

    /// Mounts the root, writes the files of `/etc` and `config.json`. Blocks.
    pub(crate) fn prepare_bundle(&self, record: &Record) -> Result<()> {
        let root = self.snapshot.mount(&record.id).room()?;
        for mount in &record.mounts {
            self.provide_source(mount)?;
            check_subpath(mount)?;
        }
        let etc = self.write_etc(record, &[])?;
        let spec = self.build_spec(record, &root, etc)?;
        let path = self.bundle_dir(&record.id).join("config.json");
        write_json(&path, &spec)
    }

    fn provide_source(&self, mount: &crate::mountpoint::MountPoint) -> Result<()> {
        match mount.kind {
            MountKind::Tmpfs => Ok(()),
            MountKind::Volume => self.mount_volume(&mount.name),
            MountKind::Bind if mount.source.symlink_metadata().is_ok() => Ok(()),
            MountKind::Bind if mount.create_source => std::fs::create_dir_all(&mount.source)
                .map_err(|error| {
                    let path = mount.source.display();
                    EngineError::caused(
                        Kind::Internal,
                        format!("error while creating mount source path '{path}'"),
                        error,
                    )
                }),
            MountKind::Bind => Err(EngineError::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                mount.source.display()
            ))),
        }
    }

    fn build_spec(
        &self,
        record: &Record,
        root: &Path,
        etc: Option<EtcFiles>,
    ) -> Result<types::oci::runtime::Spec> {
        let (config, host) = (&record.config, &record.host);
        let root_fd = sys::inroot::open_root(root)
            .map_err(|error| host_error("open", root.display(), error.into()))?;
        let groups = host.group_add.clone().unwrap_or_default();
        let capabilities = capabilities::resolve(
            host.cap_add.as_ref(),
            host.cap_drop.as_ref(),
            host.privileged,
            &self.host.capabilities,
        )?;
        let security = self.security(record, &capabilities)?;
        let block_devices = crate::spec::block_devices(host)
            .into_iter()
            .filter_map(|path| Some((path.clone(), device_numbers(&path)?)))
            .collect::<BTreeMap<_, _>>();
        crate::spec::build(&Input {
            config,
            host,
            path: &record.path,
            args: &record.args,
            mounts: &record.mounts,
            rootfs: root.to_owned(),
            user: user::resolve(root_fd.as_fd(), &config.user, &groups)?,
            namespaces: self.namespaces(record)?,
            etc,
            shm: self.shared_shm(record)?,
            cgroups_path: self.cgroups_path(record),
            capabilities,
            seccomp: security.seccomp,
            no_new_privileges: security.no_new_privileges,
            devices: devices(host)?,
            block_devices,
            ulimits: &self.options.default_ulimits,
            init: self.init_program(record)?,
            default_shm_bytes: self.options.default_shm_bytes,
        })
    }

    fn init_program(&self, record: &Record) -> Result<Option<PathBuf>> {
        if record.host.init != Some(true) {
            return Ok(None);
        }
        match &self.options.init {
            Some(path) if path.exists() => Ok(Some(path.clone())),
            _ => Err(EngineError::invalid(
                "exec: \"docker-init\": executable file not found in $PATH",
            )),
        }
    }

    fn security(&self, record: &Record, capabilities: &[String]) -> Result<Security> {
        let mut seccomp: Option<String> = self.options.seccomp_profile.clone();
        let mut no_new_privileges = self.options.no_new_privileges;
        for option in record.host.security_opt.iter().flatten() {
            match security_option(option)? {
                ("seccomp", value) => seccomp = Some(value.to_owned()),
                ("no-new-privileges", value) => no_new_privileges = value != "false",
                _ => {}
            }
        }
        let machine = Machine { capabilities, kernel: self.host.kernel };
        let seccomp = match seccomp.as_deref() {
            _ if record.host.privileged => None,
            Some("unconfined") => None,
            None | Some("" | "builtin") => Some(default_profile(capabilities)),
            Some(json) => Some(Profile::parse(json)?.resolve(&machine)),
        };
        Ok(Security { seccomp, no_new_privileges })
    }

    fn namespaces(&self, record: &Record) -> Result<Namespaces> {
        let host = &record.host;
        let time_private = match host.time_mode.as_str() {
            "private" => true,
            "host" => false,
            _ => self.options.time_namespace == NamespaceDefault::Private,
        };
        let own = |is_own: bool| if is_own { Share::Own } else { Share::Host };
        Ok(Namespaces {
            network: self.share(&host.network_mode, "net")?,
            pid: self.share(&host.pid_mode, "pid")?,
            ipc: self.share(&host.ipc_mode, "ipc")?,
            // With the host's network comes its name, but a namespace of its own.
            uts: own(host.uts_mode != "host"),
            cgroup: own(host.cgroupns_mode != "host"),
            time: own(time_private),
        })
    }

    fn share(&self, mode: &str, namespace: &str) -> Result<Share> {
        match mode.strip_prefix("container:") {
            _ if mode == "host" => Ok(Share::Host),
            None => Ok(Share::Own),
            Some(name) => {
                let other = self.find(name)?.view();
                if !other.state.status.is_alive() {
                    let which = if namespace == "net" { "network" } else { namespace };
                    return Err(EngineError::conflict(format!(
                        "cannot join {which} namespace of a non running container: {}",
                        other.id
                    )));
                }
                if namespace == "ipc" && other.host_config.ipc_mode == "private" {
                    return Err(EngineError::invalid(format!(
                        "can't join IPC of container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                        other.id
                    )));
                }
                Ok(Share::Join(PathBuf::from(format!("/proc/{}/ns/{namespace}", other.state.pid))))
            }
        }
    }

    /// `/dev/shm` of a container whose ipc namespace others may join, or of the one that it joins.
    fn shared_shm(&self, record: &Record) -> Result<Option<PathBuf>> {
        let mode = record.host.ipc_mode.as_str();
        if let Some(name) = mode.strip_prefix("container:") {
            return Ok(Some(self.container_dir(&self.find(name)?.id).join("mounts/shm")));
        }
        if mode != "shareable" {
            return Ok(None);
        }
        let path = self.container_dir(&record.id).join("mounts/shm");
        file::create_directories(&path)
            .map_err(|error| host_error("create", path.display(), error))?;
        let _ = rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH);
        let flags = rustix::mount::MountFlags::NOSUID
            | rustix::mount::MountFlags::NODEV
            | rustix::mount::MountFlags::NOEXEC;
        let data = std::ffi::CString::new(format!("mode=1777,size={}", record.host.shm_size))
            .map_err(|error| host_error("mount", path.display(), std::io::Error::other(error)))?;
        rustix::mount::mount("shm", &path, "tmpfs", flags, Some(data.as_c_str()))
            .map_err(|error| host_error("mount", path.display(), error.into()))?;
        Ok(Some(path))
    }

    /// Writes `hosts`, `hostname` and `resolv.conf`; a container in another's network uses that one's files.
    pub(crate) fn write_etc(
        &self,
        record: &Record,
        addresses: &[IpAddr],
    ) -> Result<Option<EtcFiles>> {
        if let Some(name) = record.host.network_mode.strip_prefix("container:") {
            let other = self.find(name)?.view();
            return Ok(Some(EtcFiles {
                hosts: other.hosts_path.clone(),
                hostname: other.hostname_path.clone(),
                resolv_conf: other.resolv_conf_path.clone(),
            }));
        }
        let dir = self.container_dir(&record.id);
        let files = EtcFiles {
            hosts: dir.join("hosts"),
            hostname: dir.join("hostname"),
            resolv_conf: dir.join("resolv.conf"),
        };
        self.write_hosts(record, addresses)?;
        rewrite(&files.hostname, format!("{}\n", record.config.hostname).as_bytes())?;
        rewrite(&files.resolv_conf, self.resolver(record).as_bytes())?;
        Ok(Some(files))
    }

    /// Writes `hosts` in place: the file is what containers have mounted, and another file would not be.
    pub(crate) fn write_hosts(&self, record: &Record, addresses: &[IpAddr]) -> Result<()> {
        let path = self.container_dir(&record.id).join("hosts");
        if record.host.network_mode == "host" && record.host.extra_hosts.is_none() {
            return rewrite(&path, &std::fs::read("/etc/hosts").unwrap_or_default());
        }
        let text = network::hosts_file(&network::HostsRequest {
            hostname: record.config.hostname.clone(),
            domainname: record.config.domainname.clone(),
            addresses: addresses.to_vec(),
            extra: record.host.extra_hosts.clone().unwrap_or_default(),
            host_gateway: self.network.host_gateway().map(IpAddr::V4),
        })
        .room()?;
        rewrite(&path, text.as_bytes())
    }

    fn resolver(&self, record: &Record) -> String {
        let pick = |own: &Option<Vec<String>>, default: &Vec<String>| match own {
            Some(list) if !list.is_empty() => list.clone(),
            _ => default.clone(),
        };
        let ask = network::ResolverRequest {
            servers: pick(&record.host.dns, &self.options.dns),
            search: pick(&record.host.dns_search, &self.options.dns_search),
            options: pick(&record.host.dns_options, &self.options.dns_options),
        };
        let host = network::host_resolv_conf().unwrap_or_default();
        network::resolv_conf(&host, &ask, record.host.network_mode == "host").text
    }

    /// Runs the container's runtime and waits for it; what it says on its standard error is the failure's text.
    pub(crate) fn runtime(
        &self,
        record: &Record,
        args: &[&str],
        input: Option<&[u8]>,
    ) -> Result<()> {
        let program =
            self.options.runtimes.get(&record.runtime).ok_or_else(|| {
                EngineError::internal(format!("find runtime `{}`", record.runtime))
            })?;
        let mut command = Program::new(&program.path);
        command.args(&program.args).arg("--root").arg(self.runtime_root());
        if self.options.cgroup_driver == CgroupDriver::Systemd {
            command.arg("--systemd-cgroup");
        }
        command.args(args).stdout(Stdio::null()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let failed = |error| host_error("run", program.path.display(), error);
        let mut child = command.spawn().map_err(failed)?;
        if let (Some(mut stdin), Some(bytes)) = (child.stdin.take(), input) {
            let _ = stdin.write_all(bytes);
        }
        let output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let verb = args.first().copied().unwrap_or_default();
        Err(EngineError::internal(format!("runtime {verb}: {said}")))
    }
}

/// Splits `name=value` or `name:value`; refuses what nobody knows.
///
/// # Errors
/// `Invalid`, in Docker's words.
pub(crate) fn security_option(option: &str) -> Result<(&str, &str)> {
    if option == "no-new-privileges" {
        return Ok((option, "true"));
    }
    let split = option.split_once('=').or_else(|| option.split_once(':'));
    match split {
        Some((
            name @ ("seccomp" | "apparmor" | "label" | "no-new-privileges" | "systempaths"
            | "writable-cgroups"),
            value,
        )) => Ok((name, value)),
        _ => Err(EngineError::invalid(format!("invalid --security-opt 2: {option:?}"))),
    }
}

/// Replaces the bytes of a file that may be mounted somewhere.
fn rewrite(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| host_error("write", path.display(), error))
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|error| {
        EngineError::caused(Kind::Internal, format!("encode `{}`", path.display()), error)
    })?;
    file::write_atomic(path, &bytes, Durability::Process)
        .map_err(|error| host_error("write", path.display(), error))
}

fn device_numbers(path: &str) -> Option<(i64, i64)> {
    let stat = rustix::fs::stat(path).ok()?;
    let numbers = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Some((numbers.0.into(), numbers.1.into()))
}

fn host_device(path: &str, inside: &str, access: Option<String>) -> Option<HostDevice> {
    let stat = rustix::fs::stat(path).ok()?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => 'b',
        FileType::CharacterDevice => 'c',
        _ => return None,
    };
    Some(HostDevice {
        path: inside.to_owned(),
        kind,
        major: rustix::fs::major(stat.st_rdev).into(),
        minor: rustix::fs::minor(stat.st_rdev).into(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        access,
    })
}

/// Devices of `--device`, or of the whole host for a privileged container.
fn devices(host: &types::container::HostConfig) -> Result<Vec<HostDevice>> {
    let mut found = Vec::new();
    if host.privileged {
        all_devices(Path::new("/dev"), &mut found);
    }
    for mapping in host.devices.iter().flatten() {
        let inside = if mapping.path_in_container.is_empty() {
            &mapping.path_on_host
        } else {
            &mapping.path_in_container
        };
        let access = match mapping.cgroup_permissions.as_str() {
            "" => "rwm",
            given => given,
        };
        let before = found.len();
        if Path::new(&mapping.path_on_host).is_dir() {
            let mut inner = Vec::new();
            all_devices(Path::new(&mapping.path_on_host), &mut inner);
            found.extend(
                inner.into_iter().map(|d| HostDevice { access: Some(access.to_owned()), ..d }),
            );
        } else {
            found.extend(host_device(&mapping.path_on_host, inside, Some(access.to_owned())));
        }
        if found.len() == before {
            return Err(EngineError::invalid(format!(
                "error gathering device information while adding custom device {:?}: no such file or directory",
                mapping.path_on_host
            )));
        }
    }
    Ok(found)
}

/// Every device node below a directory, but for what each container has of its own.
fn all_devices(dir: &Path, found: &mut Vec<HostDevice>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let own = ["pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".lxd-mounts", ".udev"];
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() || own.contains(&name.as_str()) => {}
            Ok(kind) if kind.is_dir() => all_devices(&path, found),
            Ok(_) => {
                let text = path.display().to_string();
                found.extend(host_device(&text, &text, None));
            }
            Err(_) => {}
        }
    }
}

/// Reads `10m`, `1g`, `500k` or bytes.
fn size_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.trim_end_matches("ib").trim_end_matches('b');
    let (number, unit) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 10),
        'm' => (&text[..text.len() - 1], 20),
        'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    number.parse::<u64>().ok()?.checked_shl(unit)
}

/// What a runtime's refusal to create means: the words that Docker's client looks for, and the exit code.
pub(crate) fn create_failure(failure: &shim_protocol::Failure) -> EngineError {
    let cause = crate::shimlink::describe(failure);
    let text = format!(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: {cause}: unknown"
    );
    let code = exec_failure_code(&cause);
    match code {
        Some(code) => EngineError::invalid(text).with_exit_code(code),
        None => EngineError::internal(text).with_exit_code(128),
    }
}

/// 127 when the program is not there, 126 when it cannot be executed, by the words of the failure.
pub(crate) fn exec_failure_code(text: &str) -> Option<u8> {
    let has = |needle: &str| text.contains(needle);
    if has("executable file not found")
        || has("no such file or directory")
        || has("No such file or directory")
    {
        Some(127)
    } else if has("permission denied")
        || has("Permission denied")
        || has("exec format error")
        || has("not a directory")
        || has("is a directory")
    {
        Some(126)
    } else {
        None
    }
}

/// A shared engine runs blocking work on its own threads.
pub(crate) type Shared = Arc<Engine>;

/// Refuses a `volume-subpath` that is not there or leads through a symbolic link: what is in a volume belongs to its containers, and a link in it
/// would be followed on the host.
fn check_subpath(mount: &crate::mountpoint::MountPoint) -> Result<()> {
    if mount.subpath.is_empty() {
        return Ok(());
    }
    let open = || {
        let volume = sys::inroot::open_root(&mount.source)?;
        let (flags, mode) = (rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
        sys::inroot::open_no_symlinks(volume, &mount.subpath, flags, mode)
    };
    open().map(drop).map_err(|error| {
        let step = format!("cannot access path {}", mount.source.join(&mount.subpath).display());
        EngineError::caused(Kind::Invalid, step, std::io::Error::from(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("10m", 10 << 20), ("1g", 1 << 30), ("500k", 500 << 10), ("77", 77), ("2MB", 2 << 20)]
        {
            assert_eq!(size_bytes(text), Some(bytes), "{text}");
        }
        assert_eq!(size_bytes("x"), None);
    }

    #[test]
    fn failures_have_the_exit_code_of_a_shell() {
        let failure = |text: &str| shim_protocol::Failure {
            chain: vec![text.to_owned()],
            ..Default::default()
        };
        let missing =
            create_failure(&failure("exec: \"nope\": executable file not found in $PATH"));
        assert_eq!((missing.exit_code(), missing.kind()), (Some(127), Kind::Invalid));
        assert!(missing.to_string().contains("executable file not found in $PATH"));
        assert_eq!(
            create_failure(&failure("exec: \"/etc\": permission denied")).exit_code(),
            Some(126)
        );
        let other = create_failure(&failure("cgroup is frozen"));
        assert_eq!((other.exit_code(), other.kind()), (Some(128), Kind::Internal));
    }

    #[test]
    fn security_options_are_known_or_refused() {
        assert_eq!(security_option("no-new-privileges").unwrap(), ("no-new-privileges", "true"));
        assert_eq!(security_option("seccomp=unconfined").unwrap(), ("seccomp", "unconfined"));
        assert_eq!(security_option("label:disable").unwrap(), ("label", "disable"));
        assert!(security_option("magic=1").is_err());
    }
}
