//! Control groups and their limits, v1 and v2, as far as they are mounted here. cgroups(7)

use std::io;

use crate::mounts::{self, Mount};
use crate::report::{Fact, Report, read};

/// v1 says "no limit" by the largest multiple of the page size; nothing above this is a limit.
const UNLIMITED: u64 = 1 << 60;

/// The texts that everything is found from.
struct View {
    memberships: String,
    mountinfo: String,
}

pub(crate) fn look(report: &mut Report) {
    report.section("Control groups and limits");
    let memberships = read("/proc/self/cgroup");
    report.add(
        "member of",
        match &memberships {
            Ok(text) => Fact::List(text.lines().map(str::to_owned).collect()),
            Err(error) => Fact::Unreadable(crate::report::reason(error)),
        },
    );
    let view = View {
        memberships: memberships.unwrap_or_default(),
        mountinfo: read("/proc/self/mountinfo").unwrap_or_default(),
    };
    report.add("memory limit", Fact::of(memory(&view, "memory.max", "memory.limit_in_bytes")));
    report.add("memory in use", Fact::of(memory(&view, "memory.current", "memory.usage_in_bytes")));
    report.add("cpu limit", Fact::of(cpu(&view)));
    report.add("process limit", Fact::of(pids(&view)));
}

/// Where a controller's files for this process are.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    V1(String),
    V2(String),
}

impl View {
    /// A v1 hierarchy of the controller comes first: where there is one, the v2 hierarchy does not have it.
    fn place(&self, controller: &str) -> io::Result<Place> {
        let mounts = mounts::parse(&self.mountinfo);
        let has = |mount: &&Mount<'_>| mount.super_options.split(',').any(|o| o == controller);
        if let Some(mount) = mounts.iter().filter(|m| m.kind == "cgroup").find(has) {
            let own = self.membership(|list| list.split(',').any(|name| name == controller));
            return Ok(Place::V1(below(mount, own)));
        }
        if let Some(mount) = mounts.iter().find(|m| m.kind == "cgroup2") {
            return Ok(Place::V2(below(mount, self.membership(str::is_empty))));
        }
        Err(io::Error::other(format!("no cgroup file system with {controller} is mounted here")))
    }

    /// The path in the line of `/proc/self/cgroup` (`ID:CONTROLLERS:PATH`) whose controllers fit.
    fn membership(&self, fits: impl Fn(&str) -> bool) -> &str {
        let mut lines = self.memberships.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        });
        lines.find(|(controllers, _)| fits(controllers)).map_or("/", |(_, path)| path)
    }
}

/// The directory of group `own` under a mount that shows the hierarchy from the mount's root on. A group that is not below it (a
/// cgroup namespace that the mount does not match) can only be the mount itself.
fn below(mount: &Mount<'_>, own: &str) -> String {
    let root = mount.root.trim_end_matches('/');
    let rest = own.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    format!("{}{}", mount.point, rest.unwrap_or("").trim_end_matches('/'))
}

fn value(directory: &str, file: &str) -> io::Result<String> {
    read(&format!("{directory}/{file}")).map(|text| text.trim().to_owned())
}

fn memory(view: &View, v2: &str, v1: &str) -> io::Result<String> {
    let text = match view.place("memory")? {
        Place::V1(directory) => value(&directory, v1)?,
        Place::V2(directory) => value(&directory, v2)?,
    };
    Ok(bytes(&text))
}

fn cpu(view: &View) -> io::Result<String> {
    match view.place("cpu")? {
        Place::V1(directory) => {
            let quota = value(&directory, "cpu.cfs_quota_us")?;
            Ok(share(&quota, &value(&directory, "cpu.cfs_period_us")?))
        }
        Place::V2(directory) => {
            let text = value(&directory, "cpu.max")?;
            let (quota, period) = text.split_once(' ').unwrap_or((&text, "100000"));
            Ok(share(quota, period))
        }
    }
}

fn pids(view: &View) -> io::Result<String> {
    let (Place::V1(directory) | Place::V2(directory)) = view.place("pids")?;
    let limit = value(&directory, "pids.max")?;
    let now = value(&directory, "pids.current")?;
    let limit = if limit == "max" { "no limit" } else { &limit };
    Ok(format!("{limit} ({now} now)"))
}

/// Bytes in the largest binary unit that keeps them at least 1.
fn bytes(text: &str) -> String {
    let Some(count) = text.parse::<u64>().ok().filter(|count| *count < UNLIMITED) else {
        return "no limit".to_owned();
    };
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = (0..units.len()).rev().find(|step| count >> (10 * step) > 0).unwrap_or(0);
    if step == 0 {
        return format!("{count} B");
    }
    let tenths = (u128::from(count) * 10) >> (10 * step);
    let fraction = if tenths % 10 == 0 { String::new() } else { format!(".{}", tenths % 10) };
    format!("{}{fraction} {} ({count} bytes)", tenths / 10, units[step])
}

/// A quota as a number of CPUs.
fn share(quota: &str, period: &str) -> String {
    let (Ok(quota), Ok(period)) = (quota.parse::<u64>(), period.parse::<u64>()) else {
        return "no limit".to_owned();
    };
    if period == 0 {
        return "no limit".to_owned();
    }
    let hundredths = quota * 100 / period;
    let cpus = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    format!(
        "{} CPUs ({quota} of every {period} µs)",
        cpus.trim_end_matches('0').trim_end_matches('.')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "1 0 0:1 / /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                             2 0 0:2 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";

    fn view(memberships: &str, mountinfo: &str) -> View {
        View { memberships: memberships.to_owned(), mountinfo: mountinfo.to_owned() }
    }

    #[test]
    fn v1_files_are_below_the_mount() {
        let view = view("4:memory:/docker/abc/sub\n3:cpu,cpuacct:/\n0::/\n", V1_MOUNTS);
        let place = |controller| view.place(controller).unwrap();
        assert_eq!(place("memory"), Place::V1("/sys/fs/cgroup/memory/sub".to_owned()));
        assert_eq!(place("cpu"), Place::V1("/sys/fs/cgroup/cpu,cpuacct".to_owned()));
        let error = view.place("pids").unwrap_err();
        assert_eq!(error.to_string(), "no cgroup file system with pids is mounted here");
    }

    #[test]
    fn v2_and_a_group_outside_of_the_mount() {
        let mounts = "1 0 0:1 / /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n";
        let place = |members: &str| view(members, mounts).place("memory").unwrap();
        assert_eq!(place("0::/\n"), Place::V2("/sys/fs/cgroup".to_owned()));
        assert_eq!(place("0::/belljar/abc\n"), Place::V2("/sys/fs/cgroup/belljar/abc".to_owned()));
        let elsewhere = view("4:memory:/other\n", V1_MOUNTS).place("memory").unwrap();
        assert_eq!(elsewhere, Place::V1("/sys/fs/cgroup/memory".to_owned()));
    }

    #[test]
    fn limits_are_put_in_words() {
        assert_eq!(bytes("67108864"), "64 MiB (67108864 bytes)");
        assert_eq!(bytes("1610612736"), "1.5 GiB (1610612736 bytes)");
        assert_eq!(bytes("512"), "512 B");
        assert_eq!(
            (bytes("max"), bytes("9223372036854771712")),
            ("no limit".into(), "no limit".into())
        );
        assert_eq!(share("50000", "100000"), "0.5 CPUs (50000 of every 100000 µs)");
        assert_eq!(share("200000", "100000"), "2 CPUs (200000 of every 100000 µs)");
        assert_eq!(
            (share("max", "100000"), share("-1", "100000")),
            ("no limit".into(), "no limit".into())
        );
    }
}
