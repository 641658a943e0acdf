//! Golden documents: `tests/golden/spec-*.json`. `BELLJAR_RECORD=1 cargo test -p engine golden` writes them anew; review the diff.

use std::path::Path;

use super::*;
use crate::mountpoint::parse_all;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

struct Case {
    config: ContainerConfig,
    host: HostConfig,
    namespaces: Namespaces,
    shm: Option<PathBuf>,
    init: Option<PathBuf>,
    devices: Vec<HostDevice>,
}

impl Default for Case {
    fn default() -> Self {
        let own = Share::Own;
        Self {
            config: ContainerConfig {
                hostname: "0123456789ab".into(),
                ..ContainerConfig::default()
            },
            host: HostConfig::default(),
            namespaces: Namespaces {
                network: own.clone(),
                pid: own.clone(),
                ipc: own.clone(),
                uts: own.clone(),
                cgroup: own,
                time: Share::Host,
            },
            shm: None,
            init: None,
            devices: Vec::new(),
        }
    }
}

fn spec(case: &Case) -> Result<Spec> {
    let capabilities = capabilities::resolve(
        case.host.cap_add.as_ref(),
        case.host.cap_drop.as_ref(),
        case.host.privileged,
        &capabilities::ALL,
    )?;
    let mounts = parse_all(&case.host, |_| true)?;
    build(&Input {
        config: &case.config,
        host: &case.host,
        path: "sh",
        args: &words("-c true"),
        mounts: &mounts,
        rootfs: "/data/merged".into(),
        user: ProcessUser { home: "/root".into(), ..ProcessUser::default() },
        namespaces: case.namespaces.clone(),
        etc: Some(EtcFiles {
            hosts: "/c/hosts".into(),
            hostname: "/c/hostname".into(),
            resolv_conf: "/c/resolv.conf".into(),
        }),
        shm: case.shm.clone(),
        cgroups_path: "/belljar/0123".into(),
        // The default profile has tests of its own and would drown the rest.
        seccomp: None,
        capabilities,
        no_new_privileges: false,
        devices: case.devices.clone(),
        block_devices: BTreeMap::from([("/dev/sda".to_owned(), (8, 0))]),
        ulimits: &BTreeMap::new(),
        init: case.init.clone(),
        default_shm_bytes: 64 << 20,
    })
}

fn golden(name: &str, case: &Case) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/spec-{name}.json"));
    let got = serde_json::to_string_pretty(&spec(case).unwrap()).unwrap() + "\n";
    if std::env::var_os("BELLJAR_RECORD").is_some() {
        std::fs::write(&path, &got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap();
    assert_eq!(got, want, "{name}: record anew with BELLJAR_RECORD=1 and review");
}

#[test]
fn golden_default() {
    golden("default", &Case::default());
}

#[test]
fn golden_privileged() {
    let host = HostConfig { privileged: true, ..HostConfig::default() };
    let devices = vec![HostDevice {
        path: "/dev/sda".into(),
        kind: 'b',
        major: 8,
        mode: 0o660,
        ..HostDevice::default()
    }];
    golden("privileged", &Case { host, devices, ..Case::default() });
}

#[test]
fn golden_limits() {
    let host = HostConfig {
        memory: 256 << 20,
        memory_swap: 512 << 20,
        nano_cpus: 500_000_000,
        pids_limit: Some(100),
        cpuset_cpus: "0-1".into(),
        blkio_weight: 300,
        blkio_device_read_bps: Some(vec![ThrottleDevice {
            path: "/dev/sda".into(),
            rate: 1 << 20,
        }]),
        ulimits: Some(vec![Ulimit { name: "nofile".into(), soft: 1024, hard: -1 }]),
        oom_score_adj: 500,
        ..HostConfig::default()
    };
    golden("limits", &Case { host, ..Case::default() });
}

#[test]
fn golden_terminal_with_mounts_and_init() {
    let config = ContainerConfig {
        tty: true,
        env: Some(words("PATH A=1 HOME=/h")),
        working_dir: "/srv/../work".into(),
        hostname: "box".into(),
        ..ContainerConfig::default()
    };
    let host = HostConfig {
        binds: Some(words("/host:/data:ro /deep:/data/deep:rslave")),
        tmpfs: Some(BTreeMap::from([("/run".into(), "size=1m".into())])),
        readonly_rootfs: true,
        console_size: [24, 80],
        shm_size: 1 << 20,
        cap_add: Some(words("NET_ADMIN")),
        cap_drop: Some(words("MKNOD")),
        device_cgroup_rules: Some(vec!["c 13:* rwm".into()]),
        sysctls: Some(BTreeMap::from([("net.core.somaxconn".into(), "99".into())])),
        ..HostConfig::default()
    };
    golden("terminal", &Case { config, host, init: Some("/lib/init".into()), ..Case::default() });
}

#[test]
fn golden_shared_namespaces() {
    let namespaces = Namespaces {
        network: Share::Join("/proc/7/ns/net".into()),
        pid: Share::Host,
        ipc: Share::Join("/proc/7/ns/ipc".into()),
        uts: Share::Host,
        cgroup: Share::Host,
        time: Share::Own,
    };
    golden("shared", &Case { namespaces, shm: Some("/c/shm".into()), ..Case::default() });
}

use types::container::ThrottleDevice;

#[test]
fn an_entry_without_a_value_takes_a_variable_away() {
    let mut env = words("PATH=/bin A=1");
    apply_env(&mut env, &words("PATH A=2 C=3 D"));
    assert_eq!(env, words("A=2 C=3"));
}

#[test]
fn device_rules_are_read_or_refused() {
    let rule = parse_device_rule("b 8:* r").unwrap();
    assert_eq!(
        (rule.kind.as_str(), rule.major, rule.minor, rule.access.as_str()),
        ("b", Some(8), None, "r")
    );
    for bad in ["", "x 1:1 r", "c 1 r", "c 1:x r", "c 1:1 q", "c 1:1 r w"] {
        assert!(parse_device_rule(bad).is_err(), "{bad}");
    }
}

#[test]
fn bad_ulimits_are_refused_with_dockers_words() {
    let limit = |name: &str, soft, hard| rlimit(&Ulimit { name: name.into(), soft, hard });
    assert_eq!(limit("nofile", 5, 9).unwrap().kind, "RLIMIT_NOFILE");
    assert_eq!(limit("foo", 1, 1).unwrap_err().to_string(), "invalid ulimit type: foo");
    assert!(limit("nofile", 9, 5).is_err());
    assert!(limit("nofile", -1, 5).is_err());
    assert_eq!(limit("core", -1, -1).unwrap().soft, u64::MAX);
}
