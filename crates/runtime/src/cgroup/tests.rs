use super::*;
use types::oci::runtime::{
    BlockIoResources, CpuResources, DeviceRule, HugepageLimit, MemoryResources, PidsResources,
    RdmaLimit, ThrottleDevice, WeightDevice,
};

fn written(resources: &Resources, version_2: bool) -> Vec<String> {
    written_over(resources, version_2, &Present::default())
}

fn written_over(resources: &Resources, version_2: bool, present: &Present) -> Vec<String> {
    let list = settings_over(resources, version_2, present).unwrap();
    list.iter().map(|s| format!("{}={}", s.file, s.value)).collect()
}

fn refusal(resources: &Resources, version_2: bool) -> String {
    settings(resources, version_2).unwrap_err().to_string()
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
    assert_eq!(written(&none, true), ["cpu.max=max 100000"]);
    // What stands in the same file stays.
    let present = Present { quota: Some(7000), period: Some(20_000), memory: None };
    assert_eq!(written_over(&none, true, &present), ["cpu.max=max 20000"]);
    let period = cpu(CpuResources { period: Some(50_000), ..CpuResources::default() });
    assert_eq!(written_over(&period, true, &present), ["cpu.max=7000 50000"]);
    assert_eq!(written_over(&period, false, &present), ["cpu.cfs_period_us=50000"]);
}

#[test]
fn shares_become_weights() {
    assert_eq!(limits::weight(1024), 100);
    assert_eq!(limits::weight(2), 1);
    assert_eq!(limits::weight(262_144), 10_000);
    assert_eq!(limits::weight(0), 1);
    assert_eq!(limits::weight(512), 59);
    assert_eq!(limits::weight(1_000_000), 10_000);
    let idle = cpu(CpuResources { idle: Some(1), shares: Some(512), ..CpuResources::default() });
    assert_eq!(written(&idle, true), ["cpu.idle=1"]);
}

#[test]
fn bursts_come_before_the_quota_that_judges_them() {
    let burst = cpu(CpuResources {
        burst: Some(500),
        quota: Some(1000),
        period: Some(10_000),
        realtime_period: Some(9000),
        realtime_runtime: Some(90),
        ..CpuResources::default()
    });
    let want = [
        "cpu.cfs_period_us=10000",
        "cpu.cfs_burst_us=500",
        "cpu.cfs_quota_us=1000",
        "cpu.rt_period_us=9000",
        "cpu.rt_runtime_us=90",
    ];
    assert_eq!(written(&burst, false), want);
    let text = refusal(&burst, true);
    assert_eq!(text, "linux.resources.cpu.realtimePeriod does not exist on cgroup v2");
}

#[test]
fn swap_is_measured_by_memory() {
    let of = |limit, swap| memory(MemoryResources { limit, swap, ..MemoryResources::default() });
    let too_small = "memory+swap limit should be >= memory limit";
    assert_eq!(refusal(&of(Some(64), Some(32)), true), too_small);
    assert_eq!(refusal(&of(Some(64), Some(32)), false), too_small);
    let alone = of(None, Some(96));
    assert_eq!(refusal(&alone, true), "unable to set swap limit without memory limit");
    let present = Present { memory: Some(64), ..Present::default() };
    assert_eq!(written_over(&alone, true, &present), ["memory.swap.max=32"]);
    assert_eq!(written(&of(Some(-1), Some(96)), true), ["memory.swap.max=96", "memory.max=max"]);
    assert_eq!(written(&of(Some(-1), None), true), ["memory.swap.max=max", "memory.max=max"]);
    assert_eq!(written(&of(Some(64), Some(64)), true), ["memory.swap.max=0", "memory.max=64"]);
    // On version 1 both together are never below memory.
    let both = of(Some(64), Some(96));
    let (limit, swap) = ("memory.limit_in_bytes=64", "memory.memsw.limit_in_bytes=96");
    for (now, want) in
        [(None, [limit, swap]), (Some(32), [swap, limit]), (Some(200), [limit, swap])]
    {
        let present = Present { memory: now, ..Present::default() };
        assert_eq!(written_over(&both, false, &present), want, "{now:?}");
    }
    let present = Present { memory: Some(64), ..Present::default() };
    let want = ["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1"];
    assert_eq!(written_over(&of(Some(-1), None), false, &present), want);
}

#[test]
fn what_a_version_lacks_is_refused_by_name() {
    let swappiness =
        |value| memory(MemoryResources { swappiness: Some(value), ..MemoryResources::default() });
    assert_eq!(written(&swappiness(0), false), ["memory.swappiness=0"]);
    let text = refusal(&swappiness(101), false);
    assert_eq!(text, "invalid memory swappiness value: 101 (valid range is 0-100)");
    assert!(refusal(&swappiness(0), true).contains("memory.swappiness"));
    let killer =
        memory(MemoryResources { disable_oom_killer: Some(true), ..MemoryResources::default() });
    assert_eq!(written(&killer, false), ["memory.oom_control=1"]);
    assert!(refusal(&killer, true).contains("memory.disableOOMKiller"));
    let mut unified = Resources::default();
    unified.unified.insert("memory.high".into(), "5".into());
    assert!(refusal(&unified, false).contains("cannot use unified on cgroup v1"));
    // Kernel memory is ignored, as runc does.
    let kernel = memory(MemoryResources {
        kernel: Some(1),
        kernel_tcp: Some(2),
        ..MemoryResources::default()
    });
    assert!(written(&kernel, false).is_empty() && written(&kernel, true).is_empty());
}

#[test]
fn weights_have_a_second_file() {
    let io = Resources {
        block_io: Some(BlockIoResources {
            weight: Some(500),
            weight_device: vec![WeightDevice {
                major: 8,
                minor: 0,
                weight: Some(10),
                leaf_weight: None,
            }],
            ..BlockIoResources::default()
        }),
        ..Resources::default()
    };
    assert_eq!(written(&io, false), ["blkio.weight=500", "blkio.weight_device=8:0 10"]);
    let want = ["io.bfq.weight=500", "io.weight=default 4950", "io.bfq.weight=8:0 10"];
    assert_eq!(written(&io, true), want);
    let list = settings(&io, true).unwrap();
    assert_eq!(list[0].or, Some(("io.weight".into(), "default 4950".into())));
    assert_eq!(list[2].or, Some(("io.weight".into(), "8:0 1".into())));
}

#[test]
fn huge_pages_and_rdma() {
    let mut resources = Resources {
        hugepage_limits: vec![HugepageLimit { page_size: "2MB".into(), limit: 9 }],
        ..Resources::default()
    };
    resources.rdma.insert("mlx5_0".into(), RdmaLimit { hca_handles: Some(3), hca_objects: None });
    let rdma = "rdma.max=mlx5_0 hca_handle=3 hca_object=max";
    assert_eq!(written(&resources, true), ["hugetlb.2MB.max=9", "hugetlb.2MB.rsvd.max=9", rdma]);
    let want = ["hugetlb.2MB.limit_in_bytes=9", "hugetlb.2MB.rsvd.limit_in_bytes=9", rdma];
    assert_eq!(written(&resources, false), want);
}

#[test]
fn the_size_of_a_huge_page_is_no_path() {
    let limit = HugepageLimit { page_size: "/../../x/hugetlb.2MB".into(), limit: 9 };
    let resources = Resources { hugepage_limits: vec![limit], ..Resources::default() };
    for version_2 in [false, true] {
        let text = refusal(&resources, version_2);
        assert!(text.contains("hugepageLimits: invalid page size"), "{text}");
    }
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
fn unified_names_are_files_of_limits() {
    let of = |file: &str, value: &str| {
        let mut resources = Resources::default();
        resources.unified.insert(file.into(), value.into());
        resources
    };
    assert_eq!(written(&of("memory.high", "5"), true), ["memory.high=5"]);
    assert_eq!(
        written(&of("io.max", "8:0 rbps=1\n8:16 rbps=2"), true),
        ["io.max=8:0 rbps=1", "io.max=8:16 rbps=2"]
    );
    for (file, words) in [
        ("../../x/cgroup.procs", "must be a file name (no slashes)"),
        ("memory", "must be in the form CONTROLLER.PARAMETER"),
        (".x", "must be in the form CONTROLLER.PARAMETER"),
        ("cgroup.procs", "is not a limit"),
        ("cgroup.freeze", "is not a limit"),
    ] {
        let text = refusal(&of(file, "1"), true);
        assert!(
            text.starts_with(&format!("unified resource {file:?}")) && text.contains(words),
            "{text}"
        );
    }
}

#[test]
fn what_allows_everything_restricts_nothing() {
    let all =
        DeviceRule { allow: true, kind: "a".into(), access: "rwm".into(), ..DeviceRule::default() };
    let resources = Resources { devices: vec![all.clone()], ..Resources::default() };
    let rules = devices::rules(&resources);
    assert!(devices::is_unrestricted(&rules));
    assert_eq!(rules, std::slice::from_ref(&all));
    let disk = DeviceRule {
        allow: false,
        kind: "b".into(),
        major: Some(8),
        minor: None,
        access: "w".into(),
    };
    let resources = Resources { devices: vec![all, disk], ..Resources::default() };
    assert!(!devices::is_unrestricted(&devices::rules(&resources)));
    assert!(
        !devices::rules(&Resources::default())[0].allow,
        "without rules nothing is allowed but the defaults"
    );
}

#[test]
fn access_is_gathered_until_something_is_denied() {
    let rule = |allow, access: &str| DeviceRule {
        allow,
        kind: "c".into(),
        major: Some(10),
        minor: Some(229),
        access: access.into(),
    };
    let of = |devices: &[DeviceRule]| {
        let rules =
            devices::rules(&Resources { devices: devices.to_vec(), ..Resources::default() });
        let ours = rules.iter().filter(|rule| rule.minor == Some(229));
        ours.map(|rule| format!("{}{}", if rule.allow { '+' } else { '-' }, rule.access))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&[rule(true, "r"), rule(true, "w")]), ["+rw"]);
    assert_eq!(of(&[rule(true, "r"), rule(true, "")]), ["+rwm"]);
    let order = [rule(true, "rw"), rule(false, "w"), rule(true, "r")];
    assert_eq!(of(&order), ["+rw", "-w", "+r"]);
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
