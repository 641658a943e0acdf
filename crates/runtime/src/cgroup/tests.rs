use super::*;
use types::oci::runtime::{
    BlockIoResources, CpuResources, DeviceRule, MemoryResources, PidsResources, ThrottleDevice,
};

fn written(resources: &Resources, version_2: bool) -> Vec<String> {
    settings(resources, version_2).iter().map(|s| format!("{}={}", s.file, s.value)).collect()
}

fn cpu(cpu: CpuResources) -> Resources {
    Resources { cpu: Some(cpu), ..Resources::default() }
}

fn memory(memory: MemoryResources) -> Resources {
    Resources { memory: Some(memory), ..Resources::default() }
}

#[test]
fn half_a_processor() {
    let half =
        cpu(CpuResources { quota: Some(50_000), period: Some(100_000), ..CpuResources::default() });
    assert_eq!(written(&half, false), ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"]);
    assert_eq!(written(&half, true), ["cpu.max=50000 100000"]);
    let none = cpu(CpuResources { quota: Some(-1), ..CpuResources::default() });
    assert_eq!(written(&none, true), ["cpu.max=max"]);
}

#[test]
fn shares_become_weights() {
    assert_eq!(limits::weight(1024), 100);
    assert_eq!(limits::weight(2), 1);
    assert_eq!(limits::weight(262_144), 10_000);
    assert_eq!(limits::weight(0), 1);
}

#[test]
fn swap_is_counted_alone_on_version_2() {
    let mib = 1 << 20;
    let both = memory(MemoryResources {
        limit: Some(256 * mib),
        swap: Some(512 * mib),
        ..MemoryResources::default()
    });
    assert_eq!(
        written(&both, false),
        ["memory.limit_in_bytes=268435456", "memory.memsw.limit_in_bytes=536870912"]
    );
    assert_eq!(written(&both, true), ["memory.swap.max=268435456", "memory.max=268435456"]);
    let unlimited = memory(MemoryResources {
        limit: Some(256 * mib),
        swap: Some(-1),
        ..MemoryResources::default()
    });
    assert_eq!(written(&unlimited, true)[0], "memory.swap.max=max");
}

#[test]
fn zero_processes_is_a_limit() {
    let pids = |limit| Resources {
        pids: Some(PidsResources { limit: Some(limit) }),
        ..Resources::default()
    };
    assert_eq!(written(&pids(0), false), ["pids.max=0"]);
    assert_eq!(written(&pids(-1), true), ["pids.max=max"]);
}

#[test]
fn io_is_throttled_on_both() {
    let device = ThrottleDevice { major: 8, minor: 0, rate: 1000 };
    let io = Resources {
        block_io: Some(BlockIoResources {
            throttle_read_bps_device: vec![device],
            ..BlockIoResources::default()
        }),
        ..Resources::default()
    };
    assert_eq!(written(&io, false), ["blkio.throttle.read_bps_device=8:0 1000"]);
    assert_eq!(written(&io, true), ["io.max=8:0 rbps=1000"]);
}

#[test]
fn unified_names_cannot_be_paths() {
    let mut resources = Resources::default();
    resources.unified.insert("../../x/cgroup.procs".into(), "1".into());
    resources.unified.insert("memory.high".into(), "5".into());
    assert_eq!(written(&resources, true), ["memory.high=5"]);
}

#[test]
fn paths_stay_beneath_the_root() {
    assert_eq!(path_for("/belljar/x", "x").unwrap(), "/belljar/x");
    assert_eq!(path_for("", "x").unwrap(), "/x");
    assert!(path_for("/../x", "x").is_err());
}

#[test]
fn device_rules_read_as_the_kernel_wants_them() {
    let deny = DeviceRule { access: "rwm".into(), ..DeviceRule::default() };
    assert_eq!(devices::line(&deny), "a");
    let disk = DeviceRule {
        allow: true,
        kind: "b".into(),
        major: Some(8),
        minor: Some(-1),
        access: "r".into(),
    };
    assert_eq!(devices::line(&disk), "b 8:* r");
    let resources = Resources {
        devices: vec![disk.clone(), deny.clone(), disk.clone(), disk],
        ..Resources::default()
    };
    let rules = devices::rules(&resources);
    assert_eq!(rules[0], deny, "rules before a rule for all are dropped");
    assert_eq!(rules.iter().filter(|rule| rule.kind == "b" && rule.access == "r").count(), 1);
}
