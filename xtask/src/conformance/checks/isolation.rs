//! What a container may see and do: users, capabilities, filters, mounts, devices, namespaces.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Check, check};
use crate::conformance::lane::{Kind, Lane, has, namespace, same};
use crate::shell;

const DOCKER: &[Kind] = &[Kind::Docker];
const PODMAN: &[Kind] = &[Kind::Podman];

pub(super) const CHECKS: &[Check] = &[
    check("default bridge", "address, route and a ping inside", bridge).short(),
    check("`--user`, `--group-add`", "`/proc/PID/status`", user).short(),
    check("`--cap-add`, `--cap-drop`", "`/proc/PID/status`", capabilities).short(),
    check("`--privileged`", "`/proc/PID/status`, `/dev`", privileged),
    check("seccomp: default, a profile, unconfined", "`/proc/PID/status`, a refused call", seccomp)
        .short(),
    check("`no-new-privileges`", "`/proc/PID/status`", no_new_privileges),
    check("`--read-only`", "a write that fails", read_only).short(),
    check("`--device` with access", "node, a read, a write that fails", device),
    check("`--tmpfs`", "`/proc/PID/mountinfo`", tmpfs),
    check("`-v`: `ro`", "`/proc/PID/mountinfo`, a write that fails", volume).short(),
    check("`-v`: propagation", "a mount of the host that arrives", propagation),
    check("masked and read-only paths", "reads and writes inside", masked).short(),
    check("`--sysctl`", "`/proc/sys` inside", sysctl),
    check("`--hostname`, `-w`, `-e`", "output inside", surroundings),
    check("`--pid host`", "namespaces of two processes", pid_host),
    check("`--pid container:`, `--network container:`", "namespaces of two containers", joined)
        .short(),
    check(
        "`--ipc host`, `--uts host`, `--network host`",
        "namespaces of two processes",
        host_namespaces,
    ),
    check("`--uidmap`, `--gidmap`", "`/proc/PID/uid_map`, owners inside", user_namespace)
        .only(PODMAN),
    check("`--cgroupns`", "namespaces of two processes", cgroup_namespace),
    check("`--security-opt systempaths=unconfined`", "`/proc/PID/mountinfo`", unmasked)
        .only(DOCKER),
];

fn status(text: &str, field: &str) -> Result<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line
        .with_context(|| format!("no `{field}`"))?
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" "))
}

fn own(field: &str) -> Result<String> {
    status(&fs::read_to_string("/proc/self/status")?, field)
}

fn bridge(lane: &Lane) -> Result<String> {
    let network = if lane.kind == Kind::Docker { "bridge" } else { "podman" };
    let script =
        "ip -4 addr show eth0 | grep inet; ping -c 1 -W 5 $(ip route | awk '/default/{print $3}')";
    let said = lane.shell(&["--network", network], script)?;
    has(&said, "inet ")?;
    has(&said, "1 packets received")
}

fn user(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--user", "1000:1001", "--group-add", "55"])?;
    let text = jar.proc("status")?;
    let found = format!(
        "{} | {} | {}",
        status(&text, "Uid")?,
        status(&text, "Gid")?,
        status(&text, "Groups")?
    );
    ensure!(
        found.starts_with("1000 1000 1000 1000 | 1001 1001 1001 1001 | ") && found.contains("55"),
        "{found}"
    );
    same("capabilities", &status(&text, "CapEff")?, "0000000000000000")?;
    Ok(found)
}

fn capabilities(lane: &Lane) -> Result<String> {
    let jar =
        lane.sleeper(&["--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "CHOWN"])?;
    let text = jar.proc("status")?;
    // CAP_CHOWN is 0, CAP_NET_ADMIN 12.
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        same(set, &status(&text, set)?, "0000000000001001")?;
    }
    let jar = lane.sleeper(&["--cap-drop", "CHOWN"])?;
    let effective = u64::from_str_radix(&status(&jar.proc("status")?, "CapEff")?, 16)?;
    ensure!(effective & 1 == 0 && effective != 0, "CAP_CHOWN is there: {effective:x}");
    jar.exec(&[], &["chown", "1", "/etc/passwd"])?.expect(1)?;
    Ok("0000000000001001".into())
}

fn privileged(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--privileged"])?;
    let text = jar.proc("status")?;
    let effective = status(&text, "CapEff")?;
    let (found, had) =
        (u64::from_str_radix(&effective, 16)?, u64::from_str_radix(&own("CapBnd")?, 16)?);
    // CAP_SYS_ADMIN is 21; an old engine may not know the newest capabilities.
    ensure!(
        found & !had == 0 && found & (1 << 21) != 0 && found.count_ones() + 4 > had.count_ones(),
        "{found:x} of {had:x}"
    );
    same("filter", &status(&text, "Seccomp")?, "0")?;
    jar.exec(&[], &["test", "-c", "/dev/kmsg"])?.expect(0)?;
    jar.exec(&[], &["sh", "-c", "mount -t tmpfs t /mnt || (mkdir /m && mount -t tmpfs t /m)"])?
        .expect(0)?;
    Ok(effective)
}

fn seccomp(lane: &Lane) -> Result<String> {
    let profile = lane.dir.join("profile.json");
    fs::write(
        &profile,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#,
    )?;
    let option = format!("seccomp={}", profile.display());
    let said = lane.run(
        &["--security-opt", &option],
        &["sh", "-c", "grep Seccomp: /proc/self/status; mkdir /x"],
    )?;
    let refused = has(&said.all(), "Operation not permitted")?;
    has(&said.out, "2")?;
    has(&lane.shell(&[], "grep Seccomp: /proc/self/status; mkdir /x")?, "2")?;
    // Podman's own profile lets everybody make user namespaces.
    if lane.kind == Kind::Docker {
        let said = lane.run(&[], &["unshare", "-U", "true"])?;
        has(&said.all(), "Operation not permitted")?;
    }
    let none =
        lane.shell(&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status")?;
    has(&none, "0")?;
    Ok(refused)
}

fn no_new_privileges(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--security-opt", "no-new-privileges"])?;
    let on = status(&jar.proc("status")?, "NoNewPrivs")?;
    let exec = jar.exec(&[], &["grep", "NoNewPrivs", "/proc/self/status"])?.expect(0)?;
    let off = status(&lane.sleeper(&[])?.proc("status")?, "NoNewPrivs")?;
    same(
        "bits",
        &format!("{on} {} {off}", exec.split_whitespace().last().unwrap_or_default()),
        "1 1 0",
    )
}

fn read_only(lane: &Lane) -> Result<String> {
    let said =
        lane.run(&["--read-only", "--tmpfs", "/t"], &["sh", "-c", "touch /t/x && touch /x"])?;
    ensure!(said.code == 1, "exit status {}", said.code);
    has(&said.err, "/x: Read-only file system")
}

fn device(lane: &Lane) -> Result<String> {
    // The kernel's log is not among the devices that every container has.
    let script = "stat -c '%F %t:%T' /dev/x; echo > /dev/x && echo written; head -c 1 /dev/x";
    let said = lane.run(&["--device", "/dev/kmsg:/dev/x:w"], &["sh", "-c", script])?;
    has(&said.out, "character special file 1:b")?;
    has(&said.out, "written")?;
    has(&said.err, "Operation not permitted")?;
    let script = "mknod /dev/y c 1 11 && echo made; echo > /dev/y";
    let said = lane.run(&["--cap-add", "MKNOD"], &["sh", "-c", script])?;
    has(&said.out, "made")?;
    has(&said.err, "Operation not permitted")
}

fn tmpfs(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--tmpfs", "/t:size=1m,mode=700,noexec"])?;
    let line = has(&jar.proc("mountinfo")?, " /t ")?;
    for part in ["noexec", "nosuid", "nodev", "size=1024k", "mode=700"] {
        has(&line, part)?;
    }
    Ok(line)
}

fn volume(lane: &Lane) -> Result<String> {
    let dir = lane.dir.join("volume");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("file"), "content")?;
    let option = format!("{}:/v:ro", dir.display());
    let jar = lane.sleeper(&["-v", &option])?;
    let line = has(&jar.proc("mountinfo")?, " /v ro")?;
    same("content", &jar.exec(&[], &["cat", "/v/file"])?.expect(0)?, "content")?;
    has(&jar.exec(&[], &["touch", "/v/x"])?.all(), "Read-only file system")?;
    let option = format!("{}:/v", dir.display());
    lane.shell(&["-v", &option], "echo more > /v/new")?;
    same("written", fs::read_to_string(dir.join("new"))?.trim(), "more")?;
    Ok(line)
}

fn mount(words: &[&str]) -> Result<String> {
    shell::output(Command::new("mount").args(words))
}

/// A mount that goes with this value.
struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-R", "-l", &self.0]).status();
    }
}

fn propagation(lane: &Lane) -> Result<String> {
    let dir = lane.dir.join("shared").display().to_string();
    fs::create_dir_all(&dir)?;
    mount(&["-t", "tmpfs", "tmpfs", &dir])?;
    let _mounted = Mounted(dir.clone());
    mount(&["--make-shared", &dir])?;
    let (slave, private) = (format!("{dir}:/s:rslave"), format!("{dir}:/p"));
    let jar = lane.sleeper(&["-v", &slave, "-v", &private])?;
    let line = has(&jar.proc("mountinfo")?, " /s ")?;
    has(&line, " master:")?;
    let sub = format!("{dir}/sub");
    fs::create_dir(&sub)?;
    mount(&["-t", "tmpfs", "tmpfs", &sub])?;
    fs::write(Path::new(&sub).join("late"), "here")?;
    same("slave", &jar.exec(&[], &["cat", "/s/sub/late"])?.expect(0)?, "here")?;
    jar.exec(&[], &["test", "-e", "/p/sub/late"])?.expect(1)?;
    Ok(line)
}

fn masked(lane: &Lane) -> Result<String> {
    let script =
        "wc -c < /proc/keys; wc -c < /proc/timer_list; echo 1 > /proc/sys/kernel/core_uses_pid";
    let said = lane.run(&[], &["sh", "-c", script])?;
    same("sizes", &said.out, "0\n0")?;
    has(&said.err, "Read-only file system")
}

fn unmasked(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--security-opt", "systempaths=unconfined"])?;
    let mounts = jar.proc("mountinfo")?;
    ensure!(!mounts.contains(" /proc/"), "a path below /proc is masked");
    Ok("nothing is mounted below /proc".into())
}

fn sysctl(lane: &Lane) -> Result<String> {
    let options = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4097"];
    let said = lane.shell(&options, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax")?;
    same("values", &said, "1\n4097")
}

fn surroundings(lane: &Lane) -> Result<String> {
    // Podman itself refuses a directory that is not there.
    let dir = if lane.kind == Kind::Docker { "/a/b" } else { "/var" };
    let options = ["--hostname", "jar", "-w", dir, "-e", "A=b c"];
    let said = lane.shell(&options, "echo $(hostname) $(pwd) $A $HOME")?;
    same("output", &said, &format!("jar {dir} b c /root"))
}

fn pid_host(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--pid", "host"])?;
    let found = jar.namespace("pid")?;
    let own = namespace("self", "pid")?;
    same("namespace", &found, &own)?;
    let pid = jar.exec(&[], &["sh", "-c", "echo $$"])?.expect(0)?;
    ensure!(
        Path::new("/proc").join(&pid).exists() || pid.parse::<u32>()? > 100,
        "the shell is process {pid}"
    );
    Ok(found)
}

fn joined(lane: &Lane) -> Result<String> {
    let first = lane.sleeper(&[])?;
    let target = format!("container:{}", first.name);
    let second = lane.sleeper(&["--pid", &target, "--network", &target])?;
    for kind in ["pid", "net"] {
        same(kind, &second.namespace(kind)?, &first.namespace(kind)?)?;
    }
    ensure!(second.namespace("mnt")? != first.namespace("mnt")?, "they share their mounts");
    has(&second.exec(&[], &["ps"])?.expect(0)?, "1 root")?;
    Ok(format!("{}, {}", second.namespace("pid")?, second.namespace("net")?))
}

fn host_namespaces(lane: &Lane) -> Result<String> {
    let jar = lane.sleeper(&["--ipc", "host", "--uts", "host", "--network", "host"])?;
    for kind in ["ipc", "uts"] {
        same(kind, &jar.namespace(kind)?, &namespace("self", kind)?)?;
    }
    // The engine itself lives in a network namespace of its own.
    let net = jar.namespace("net")?;
    let other = lane.sleeper(&[])?;
    ensure!(net != other.namespace("net")?, "the network is private");
    Ok(format!("{} {net}", jar.namespace("ipc")?))
}

fn user_namespace(lane: &Lane) -> Result<String> {
    let options = ["--uidmap", "0:100000:5000", "--gidmap", "0:200000:5000"];
    let jar = lane.sleeper(&options)?;
    let map = jar.proc("uid_map")?.split_whitespace().collect::<Vec<_>>().join(" ");
    same("map", &map, "0 100000 5000")?;
    let text = jar.proc("status")?;
    same("uid on the host", &status(&text, "Uid")?, "100000 100000 100000 100000")?;
    same("gid on the host", &status(&text, "Gid")?, "200000 200000 200000 200000")?;
    let inside =
        jar.exec(&[], &["sh", "-c", "id -u; stat -c %u:%g /etc/passwd; touch /x; stat -c %u /x"])?;
    same("inside", &inside.expect(0)?, "0\n0:0\n0")?;
    Ok(map)
}

fn cgroup_namespace(lane: &Lane) -> Result<String> {
    let own = namespace("self", "cgroup")?;
    let host = lane.sleeper(&["--cgroupns", "host"])?.namespace("cgroup")?;
    same("host", &host, &own)?;
    let jar = lane.sleeper(&["--cgroupns", "private"])?;
    let private = jar.namespace("cgroup")?;
    ensure!(private != own, "private is the host's");
    let inside = jar.exec(&[], &["cat", "/proc/1/cgroup"])?.expect(0)?;
    ensure!(
        inside.lines().filter(|line| line.contains(":memory:")).all(|line| line.ends_with(":/")),
        "{inside}"
    );
    Ok(private)
}
