use super::*;

const STATUS: &str = "Name:\tsleep\\nUid:\t9 9 9 9\nUmask:\t0022\nPid:\t4711\nNSpid:\t4711\t12\t1\n\
    Uid:\t1000\t1001\t1002\t1003\nGid:\t5\t6\t7\t8\nCapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\n\
    CapEff:\t00000000a80425fb\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t2\n";

#[test]
fn a_status_is_read() {
    let status = Status::parse(STATUS).unwrap();
    assert_eq!(status.ns_pids, [4711, 12, 1]);
    assert_eq!((status.uids, status.gids), ([1000, 1001, 1002, 1003], [5, 6, 7, 8]));
    assert_eq!(status.capabilities.permitted, 0xa804_25fb);
    assert_eq!(status.capabilities.bounding, 0x1ff_ffff_ffff);
    assert_eq!(status.capabilities.ambient, 1);
    assert!(status.no_new_privileges && status.seccomp == 2);
    assert!(status.name.starts_with("sleep"), "the kernel escapes line feeds in names");
    assert_eq!(Status::parse("Name:\tx\nUid:\t1\t2\n"), None);
    assert_eq!(Status::parse(""), None);
}

#[test]
fn a_stat_is_read_whatever_the_name() {
    let tail = "S 7 42 42 34816 42 4194304 1 2 3 4 150 25 0 0 20 0 1 0 987654 1 2 3";
    for name in ["sleep", "a b", ") S 1 (", "x)\n(y", "", "\u{fffd}"] {
        let stat = Stat::parse(format!("42 ({name}) {tail}").as_bytes()).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent), (name, 'S', 7));
        assert_eq!((stat.user_ticks, stat.system_ticks, stat.start_ticks), (150, 25, 987_654));
        assert_eq!(stat.terminal.name(), "pts/0");
    }
    for bad in ["", "42", "42 (x", "42 (x)", "42 (x) S", ")(", "42 (x) S 7 42 42 34816 42 4"] {
        assert_eq!(Stat::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn terminals_have_names() {
    let name = |device| Terminal::decode(device).name();
    assert_eq!(name(0), "?");
    assert_eq!(name(0x0401), "tty1");
    assert_eq!(name(0x0440), "ttyS0");
    assert_eq!(name(0x8803), "pts/3");
    assert_eq!(name(0x8901), "pts/257");
    assert_eq!(name(u32::MAX), "?");
    assert_eq!(Terminal::decode(0x0010_8803), Terminal { major: 136, minor: 0x103 });
}

#[test]
fn arguments_are_split() {
    assert_eq!(parse_command_line(b"sh\0-c\0a b\0"), ["sh", "-c", "a b"]);
    assert_eq!(parse_command_line(b"nginx: worker"), ["nginx: worker"]);
    assert_eq!(parse_command_line(b"x\0\0y\0\0\0\0"), ["x", "", "y"]);
    assert_eq!(parse_command_line(b"\xff\0"), ["\u{fffd}"]);
    assert!(parse_command_line(b"").is_empty() && parse_command_line(b"\0\0").is_empty());
}

#[test]
fn the_hosts_processors_are_counted() {
    let text = "cpu  1 2 3 4 5 6 7 100 200 300\ncpu0 1 2\ncpu3 1 2\nintr 9\ncpu9 0\n";
    let cpu = parse_host_cpu(text).unwrap();
    assert_eq!((cpu.total, cpu.online), (Duration::from_millis(280), 2));
    assert_eq!(parse_host_cpu("intr 1\n"), None);
    assert_eq!(parse_memory_total("MemTotal:       16 kB\n"), Some(16384));
    assert_eq!(parse_memory_total("MemFree: 1 kB\n"), None);
}

#[test]
fn interfaces_are_read() {
    let text = "Inter-|   Receive\n face |bytes\n    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
        eth0:1002 0 0 1 0 0 0 0 77 8 0 0 0 0 0 0\n bad: 1 2\nnonsense\n";
    let found = parse_interfaces(text);
    assert_eq!(found.len(), 2);
    let lo = &found[0];
    assert_eq!((lo.rx_bytes, lo.rx_packets, lo.rx_errors, lo.rx_dropped), (1, 2, 3, 4));
    assert_eq!((lo.tx_bytes, lo.tx_packets, lo.tx_errors, lo.tx_dropped), (9, 10, 11, 12));
    assert_eq!((found[1].name.as_str(), found[1].rx_bytes), ("eth0", 1002));
}

#[test]
fn the_kernel_is_understood() {
    let pid = std::process::id();
    let (stat, status) = (Stat::of(pid).unwrap(), Status::of(pid).unwrap());
    assert_eq!(stat.parent, std::os::unix::process::parent_id());
    assert_eq!(status.ns_pids.last(), Some(&pid));
    assert_eq!(status.uids[1], rustix::process::geteuid().as_raw());
    let arguments: Vec<String> = std::env::args().collect();
    assert_eq!(command_line(pid).unwrap(), arguments);
    assert!(ticks_to_time(stat.start_ticks) <= uptime().unwrap());
    let cpu = host_cpu().unwrap();
    assert!(cpu.online > 0 && cpu.total > Duration::ZERO);
    assert!(memory_total_bytes().unwrap() > 1 << 20);
    assert!(interfaces(pid).unwrap().iter().any(|interface| interface.name == "lo"));
    assert_eq!(Stat::of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn local_times_are_calendar_times() {
    let time = local_time(1_795_878_697).unwrap();
    assert_eq!(time.year, 2026);
    assert!(time.month == 10 && (27..=29).contains(&time.day), "{time:?}");
    assert_eq!(local_time(i64::MAX), None);
}

#[test]
fn mount_points_are_found_and_unescaped() {
    let table = b"21 26 0:20 / /sys rw - sysfs sysfs rw\n22 26 0:5 / /a\\040b\\134 rw shared:7 master:1 - proc none rw\n\
        23 26 0:6 / /x rw - tmpfs proc rw\nshort\n24 26 0:6 / /\\9zz\\04 rw - proc p rw";
    let found = mounts_of(table, &["proc", "sysfs"]);
    let wanted = ["/sys", "/a b\\", "/\\9zz\\04"].map(std::path::PathBuf::from);
    assert_eq!(found, wanted);
}
