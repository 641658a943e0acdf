//! The command line: `dockerd`'s flag names for what there is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser};
use serde::{Deserialize, Serialize};
use types::container::Ulimit;

/// Serves the Docker Engine API.
#[derive(Debug, Parser)]
#[command(name = "belljard", version, disable_version_flag = true)]
pub(crate) struct Flags {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,
    /// Check the configuration and leave
    #[arg(long)]
    pub(crate) validate: bool,
    /// Print the version and leave
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    /// Add a runtime
    #[arg(long, value_name = "NAME=PATH")]
    pub(crate) add_runtime: Vec<String>,
    /// Log option of containers that name none
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) log_opt: Vec<String>,
    /// Limit of containers that say nothing
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) default_ulimit: Vec<String>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What can be said by a flag or in `daemon.json`, but not by both. Field names are the keys of the file.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Options {
    /// Root directory of persistent state
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_root: Option<PathBuf>,
    /// Root directory of state that ends with a reboot
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exec_root: Option<PathBuf>,
    /// Socket to listen on: unix://PATH, tcp://HOST:PORT, fd://
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hosts: Option<Vec<String>>,
    /// Group that may use the unix socket
    #[arg(short = 'G', long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// File for the daemon's process id
    #[arg(short = 'p', long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pidfile: Option<PathBuf>,
    /// debug, info, warn, error or fatal
    #[arg(short = 'l', long, value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_level: Option<String>,
    /// Log each step
    #[arg(short = 'D', long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) debug: Option<bool>,
    /// Bridge that containers join; `none` switches it off
    #[arg(short = 'b', long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bridge: Option<String>,
    /// Address of the bridge, with prefix length
    #[arg(long, value_name = "CIDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bip: Option<String>,
    /// MTU of the bridge network
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mtu: Option<u32>,
    /// Let containers talk to each other
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) icc: Option<bool>,
    /// Masquerade what containers send to the outside
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ip_masq: Option<bool>,
    /// Mirror of Docker Hub
    #[arg(long = "registry-mirror", value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registry_mirrors: Option<Vec<String>>,
    /// Registry to reach without TLS or without checking its certificate
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]|CIDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure_registries: Option<Vec<String>>,
    /// Runtime of containers that name none
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_runtime: Option<String>,
    /// Runtime option: native.cgroupdriver=cgroupfs|systemd
    #[arg(long = "exec-opt", value_name = "KEY=VALUE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exec_opts: Option<Vec<String>>,
    /// Parent cgroup of containers that name none
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup_parent: Option<String>,
    /// Storage driver: overlay2
    #[arg(short = 's', long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_driver: Option<String>,
    /// Log driver of containers that name none
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_driver: Option<String>,
    /// Size of /dev/shm of containers that say nothing
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_shm_size: Option<String>,
    /// Give containers that say nothing an init process
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init: Option<bool>,
    /// The init program of --init
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init_path: Option<PathBuf>,
    /// Name server of containers that say nothing
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dns: Option<Vec<String>>,
    /// Resolver option of containers that say nothing
    #[arg(long = "dns-opt", value_name = "OPTION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dns_opts: Option<Vec<String>>,
    /// Search domain of containers that say nothing
    #[arg(long, value_name = "DOMAIN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dns_search: Option<Vec<String>>,
    /// Seccomp profile instead of the built-in one, or `unconfined`
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seccomp_profile: Option<String>,
    /// Start every container with no-new-privileges
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_new_privileges: Option<bool>,
    /// Label of the daemon
    #[arg(long = "label", value_name = "KEY=VALUE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<Vec<String>>,
    /// Time namespace of containers that say nothing: host or private
    #[arg(long, value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_namespace: Option<String>,
    /// The belljar-shim program
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shim: Option<PathBuf>,
    /// The belljar-runtime program
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runtime_path: Option<PathBuf>,
    /// Accepted for dockerd's sake: there is no containerd
    #[arg(long, value_name = "SOCKET")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) containerd: Option<String>,
    /// Accepted for dockerd's sake: containers always outlive the daemon
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) live_restore: Option<bool>,
    /// Accepted for dockerd's sake: there are no proxies
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) userland_proxy: Option<bool>,
    /// Accepted for dockerd's sake: the daemon leaves at once
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shutdown_timeout: Option<i64>,
    /// `--add-runtime` in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runtimes: Option<BTreeMap<String, FileRuntime>>,
    /// `--log-opt` in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_opts: Option<BTreeMap<String, String>>,
    /// `--default-ulimit` in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_ulimits: Option<BTreeMap<String, Ulimit>>,
}

/// A runtime as `daemon.json` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FileRuntime {
    pub(crate) path: PathBuf,
    #[serde(rename = "runtimeArgs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) args: Vec<String>,
}
