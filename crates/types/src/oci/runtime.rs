//! The OCI runtime-spec documents: a bundle's `config.json` and a container's `State` (runtime-spec 1.3, the Linux part).
//!
//! Every field of a document may be absent or `null`, which reads as the type's default; a default is not written. Unknown fields are ignored.
//! Checking that a document makes sense is the runtime's work.
#![expect(missing_docs, reason = "the fields mirror the runtime-spec's, where they are described")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::null_default;

/// The newest version of the specification that this module mirrors.
pub const SPEC_VERSION: &str = "1.3.0";

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares one JSON object in which every field is optional.
macro_rules! document {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
                pub $field: $type,
            )*
        }
    };
}

document! {
    /// `config.json`.
    Spec {
        oci_version: String,
        process: Option<Process>,
        root: Option<Root>,
        hostname: String,
        domainname: String,
        mounts: Vec<Mount>,
        hooks: Option<Hooks>,
        annotations: BTreeMap<String, String>,
        linux: Option<Linux>,
    }
}

document! {
    /// The program to run; also the document given to `exec --process`.
    Process {
        terminal: bool,
        console_size: Option<ConsoleSize>,
        user: User,
        args: Vec<String>,
        command_line: String,
        env: Vec<String>,
        cwd: String,
        capabilities: Option<Capabilities>,
        rlimits: Vec<Rlimit>,
        no_new_privileges: bool,
        apparmor_profile: String,
        oom_score_adj: Option<i32>,
        scheduler: Option<Scheduler>,
        selinux_label: String,
        io_priority: Option<IoPriority>,
        #[serde(rename = "execCPUAffinity")]
        exec_cpu_affinity: Option<CpuAffinity>,
    }
}

/// Characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsoleSize {
    pub height: u32,
    pub width: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub additional_gids: Vec<u32>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub username: String,
}

document! {
    /// Names such as `CAP_CHOWN`.
    Capabilities {
        bounding: Vec<String>,
        effective: Vec<String>,
        inheritable: Vec<String>,
        permitted: Vec<String>,
        ambient: Vec<String>,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    pub hard: u64,
    pub soft: u64,
}

document! {
    Scheduler {
        policy: String,
        nice: i32,
        priority: i32,
        flags: Vec<String>,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
}

document! {
    IoPriority {
        class: String,
        priority: i32,
    }
}

document! {
    CpuAffinity {
        initial: String,
        #[serde(rename = "final")]
        last: String,
    }
}

document! {
    Root {
        path: String,
        readonly: bool,
    }
}

document! {
    Mount {
        destination: String,
        #[serde(rename = "type")]
        kind: String,
        source: String,
        options: Vec<String>,
        uid_mappings: Vec<IdMapping>,
        gid_mappings: Vec<IdMapping>,
    }
}

document! {
    Hooks {
        prestart: Vec<Hook>,
        create_runtime: Vec<Hook>,
        create_container: Vec<Hook>,
        start_container: Vec<Hook>,
        poststart: Vec<Hook>,
        poststop: Vec<Hook>,
    }
}

document! {
    Hook {
        path: String,
        args: Vec<String>,
        env: Vec<String>,
        /// Seconds.
        timeout: Option<i64>,
    }
}

document! {
    Linux {
        uid_mappings: Vec<IdMapping>,
        gid_mappings: Vec<IdMapping>,
        sysctl: BTreeMap<String, String>,
        resources: Option<Resources>,
        cgroups_path: String,
        namespaces: Vec<Namespace>,
        devices: Vec<Device>,
        net_devices: BTreeMap<String, NetDevice>,
        seccomp: Option<Seccomp>,
        rootfs_propagation: String,
        masked_paths: Vec<String>,
        readonly_paths: Vec<String>,
        mount_label: String,
        intel_rdt: Option<IntelRdt>,
        memory_policy: Option<MemoryPolicy>,
        personality: Option<Personality>,
        time_offsets: BTreeMap<String, TimeOffset>,
    }
}

/// `size` ids from `container_id` inside are those from `host_id` outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

/// The kinds of namespace that a configuration may name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    #[default]
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    User,
    Cgroup,
    Time,
}

impl NamespaceKind {
    /// Every kind, in the order of the words.
    pub const ALL: [Self; 8] = [
        Self::Cgroup,
        Self::Ipc,
        Self::Mount,
        Self::Network,
        Self::Pid,
        Self::Time,
        Self::User,
        Self::Uts,
    ];

    /// Returns the word used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Mount => "mount",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }
}

document! {
    /// A new namespace, or with a path one to join.
    Namespace {
        #[serde(rename = "type")]
        kind: NamespaceKind,
        path: String,
    }
}

document! {
    Device {
        path: String,
        /// `c`, `u`, `b` or `p`.
        #[serde(rename = "type")]
        kind: String,
        major: i64,
        minor: i64,
        file_mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
    }
}

document! {
    NetDevice {
        name: String,
    }
}

document! {
    Resources {
        devices: Vec<DeviceRule>,
        memory: Option<MemoryResources>,
        cpu: Option<CpuResources>,
        pids: Option<PidsResources>,
        #[serde(rename = "blockIO")]
        block_io: Option<BlockIoResources>,
        hugepage_limits: Vec<HugepageLimit>,
        network: Option<NetworkResources>,
        rdma: BTreeMap<String, RdmaLimit>,
        unified: BTreeMap<String, String>,
    }
}

/// One rule of the device cgroup; `kind` is `a`, `b` or `c`, none of the numbers means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRule {
    pub allow: bool,
    #[serde(
        rename = "type",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub access: String,
}

document! {
    /// Bytes; -1 is unlimited.
    MemoryResources {
        limit: Option<i64>,
        reservation: Option<i64>,
        /// Memory and swap together.
        swap: Option<i64>,
        kernel: Option<i64>,
        #[serde(rename = "kernelTCP")]
        kernel_tcp: Option<i64>,
        swappiness: Option<u64>,
        #[serde(rename = "disableOOMKiller")]
        disable_oom_killer: Option<bool>,
        use_hierarchy: Option<bool>,
        check_before_update: Option<bool>,
    }
}

document! {
    /// Microseconds, and lists such as `0-3,7`.
    CpuResources {
        shares: Option<u64>,
        quota: Option<i64>,
        burst: Option<u64>,
        period: Option<u64>,
        realtime_runtime: Option<i64>,
        realtime_period: Option<u64>,
        cpus: String,
        mems: String,
        idle: Option<i64>,
    }
}

document! {
    PidsResources {
        limit: Option<i64>,
    }
}

document! {
    BlockIoResources {
        weight: Option<u16>,
        leaf_weight: Option<u16>,
        weight_device: Vec<WeightDevice>,
        throttle_read_bps_device: Vec<ThrottleDevice>,
        throttle_write_bps_device: Vec<ThrottleDevice>,
        #[serde(rename = "throttleReadIOPSDevice")]
        throttle_read_iops_device: Vec<ThrottleDevice>,
        #[serde(rename = "throttleWriteIOPSDevice")]
        throttle_write_iops_device: Vec<ThrottleDevice>,
    }
}

document! {
    WeightDevice {
        major: i64,
        minor: i64,
        weight: Option<u16>,
        leaf_weight: Option<u16>,
    }
}

/// Bytes or operations per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottleDevice {
    pub major: i64,
    pub minor: i64,
    pub rate: u64,
}

document! {
    HugepageLimit {
        page_size: String,
        /// Bytes.
        limit: u64,
    }
}

document! {
    NetworkResources {
        #[serde(rename = "classID")]
        class_id: Option<u32>,
        priorities: Vec<InterfacePriority>,
    }
}

document! {
    InterfacePriority {
        name: String,
        priority: u32,
    }
}

document! {
    RdmaLimit {
        hca_handles: Option<u32>,
        hca_objects: Option<u32>,
    }
}

document! {
    /// A seccomp profile; `default_action` and `action` are libseccomp's names. No `flags` at all are not the same as an empty list.
    Seccomp {
        default_action: String,
        default_errno_ret: Option<u32>,
        architectures: Vec<String>,
        flags: Option<Vec<String>>,
        listener_path: String,
        listener_metadata: String,
        syscalls: Vec<SeccompRule>,
    }
}

document! {
    SeccompRule {
        names: Vec<String>,
        action: String,
        errno_ret: Option<u32>,
        args: Vec<SeccompArg>,
    }
}

document! {
    /// `op` is one of libseccomp's `SCMP_CMP_*`.
    SeccompArg {
        index: u32,
        value: u64,
        value_two: u64,
        op: String,
    }
}

document! {
    IntelRdt {
        #[serde(rename = "closID")]
        clos_id: String,
        schemata: Vec<String>,
        l3_cache_schema: String,
        mem_bw_schema: String,
        enable_monitoring: bool,
        #[serde(rename = "enableCMT")]
        enable_cmt: bool,
        #[serde(rename = "enableMBM")]
        enable_mbm: bool,
    }
}

document! {
    MemoryPolicy {
        mode: String,
        nodes: String,
        flags: Vec<String>,
    }
}

document! {
    Personality {
        domain: String,
        flags: Vec<String>,
    }
}

document! {
    TimeOffset {
        secs: i64,
        nanosecs: u32,
    }
}

/// How far a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Stopped,
    Paused,
}

impl Status {
    /// Returns the word used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Stopped => "stopped",
            Status::Paused => "paused",
        }
    }
}

/// What `state` prints and what hooks read from their standard input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub oci_version: String,
    pub id: String,
    pub status: Status,
    /// 0 without a process.
    #[serde(default)]
    pub pid: i32,
    pub bundle: String,
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_spec_survives_a_round_trip() {
        let text = r#"{"ociVersion":"1.2.1","process":{"terminal":true,"user":{"uid":0,"gid":0,"additionalGids":[0,10]},
            "args":["sh"],"env":null,"cwd":"/","capabilities":{"bounding":["CAP_CHOWN"]},"oomScoreAdj":0},
            "root":{"path":"rootfs"},"linux":{"resources":{"devices":[{"allow":false,"access":"rwm"}],"pids":{"limit":0},
            "blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":5}]},"memory":{"disableOOMKiller":false}},
            "uidMappings":[{"containerID":0,"hostID":1000,"size":1}],
            "namespaces":[{"type":"mount"},{"type":"network","path":"/proc/1/ns/net"}],"unknown":1}}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        let again: Spec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(spec, again);
        let linux = spec.linux.unwrap();
        let resources = linux.resources.unwrap();
        assert_eq!(resources.pids.unwrap().limit, Some(0));
        assert_eq!(resources.block_io.unwrap().throttle_read_iops_device[0].rate, 5);
        assert_eq!(resources.memory.unwrap().disable_oom_killer, Some(false));
        assert_eq!(linux.uid_mappings[0].host_id, 1000);
        assert_eq!(spec.process.unwrap().oom_score_adj, Some(0));
    }

    #[test]
    fn defaults_are_not_written() {
        let spec = Spec { oci_version: SPEC_VERSION.into(), ..Spec::default() };
        assert_eq!(serde_json::to_string(&spec).unwrap(), r#"{"ociVersion":"1.3.0"}"#);
        let rule = serde_json::to_string(&DeviceRule::default()).unwrap();
        assert_eq!(rule, r#"{"allow":false}"#);
    }
}
