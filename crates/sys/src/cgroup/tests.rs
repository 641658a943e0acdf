use super::*;

#[test]
fn the_table_of_mounts_is_understood() {
    let text = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        40 31 0:37 /docker/x /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/a,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n\
        42 31 0:99 / /later rw - cgroup cgroup rw,memory\n";
    let found = detect::parse_mounts(text.as_bytes(), 3);
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].controllers, ["cpu", "cpuacct"]);
    assert_eq!(found[1].controllers, ["name=systemd"]);
    assert_eq!(found[1].root, "/docker/x");
    assert!(found[2].controllers.is_empty());
}

#[test]
fn memberships_are_understood() {
    let found = detect::memberships("9:name=systemd:/a\n2:cpu,cpuacct:/b:c\n0::/\n");
    assert_eq!(found[0], (vec!["name=systemd".to_owned()], "/a".to_owned()));
    assert_eq!(found[1].1, "/b:c");
    assert_eq!(found[2], (vec![], "/".to_owned()));
}

#[test]
fn both_tables_of_block_devices_are_understood() {
    let new = stats::parse_io_stat("8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\nx\n");
    assert_eq!(new.len(), 3);
    assert_eq!((new[1].minor, new[1].bytes, new[1].operations), (16, 20, 2));
    let old = stats::parse_blkio("8:0 Read 4096\n8:0 Write 1\nTotal 4097\n");
    assert_eq!(old.len(), 2);
    assert_eq!((old[0].operation.as_str(), old[0].bytes), ("read", 4096));
}

#[test]
fn a_path_cannot_leave_the_hierarchy() {
    let Ok(cgroups) = Cgroups::detect() else { return };
    for place in cgroups.group("../../etc/../x").places() {
        assert!(place.directory.starts_with(&place.mount));
    }
}

#[test]
fn memory_shown_leaves_out_the_cache() {
    let mut memory = MemoryStats { usage: 100, ..MemoryStats::default() };
    assert_eq!(memory.usage_without_cache(), 100);
    memory.stat.insert("inactive_file".into(), 30);
    assert_eq!(memory.usage_without_cache(), 70);
}

#[test]
fn pressure_is_read_with_one_or_two_lines() {
    let two = "some avg10=1.50 avg60=0.25 avg300=0.01 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
    let read = pressure::parse(two).unwrap();
    assert_eq!((read.some.average_10, read.some.total), (1.5, Duration::from_micros(1234)));
    assert_eq!(read.full.total, Duration::from_micros(7));
    assert!(pressure::parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n").is_some());
    assert!(pressure::parse("some avg10=x\n").is_none() && pressure::parse("").is_none());
}

#[test]
fn page_sizes_have_the_kernels_names() {
    for (kib, want) in [(64, "64KB"), (2048, "2MB"), (1_048_576, "1GB"), (16 << 20, "16GB")] {
        assert_eq!(stats::page_size(kib), want);
    }
}

#[test]
fn rdma_devices_are_read() {
    let read = stats::parse_rdma(
        "mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=max\n",
    );
    assert_eq!(read[0], RdmaEntry { device: "mlx4_0".into(), handles: 2, objects: 2000 });
    assert_eq!((read[1].handles, read[1].objects), (3, 0));
}
