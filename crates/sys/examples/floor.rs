//! The kernel's own price of a container: the system calls that make one, and nothing else.
//!
//! `floor ROOTFS PROGRAM [ARGUMENT...]` does what the default configuration of `belljar-runtime spec` asks for (six new namespaces,
//! cgroups in every hierarchy with the default device list, the usual mounts, nodes, links, masked and read-only paths, the root
//! changed, three capabilities, no new privileges), runs the program, waits, and takes the cgroups away. It reads no configuration, checks
//! nothing that is not needed, keeps no state and is not protected against anything: it is what `cargo xtask bench runtime` compares
//! runtimes with.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::exit,
    reason = "a bench program stops at the first surprise"
)]

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, makedev, mknodat, symlinkat};
use rustix::io::Errno;
use sys::cgroup::{Cgroups, Group};
use sys::clone::{CStringArray, CloneRequest, Cloned, Namespaces, clone_process, exit_child};
use sys::cred::{self, Capabilities, Sets};
use sys::mount::{self, Attr, Change, Param, Propagation};

const LOCKED: Attr = Attr::NOSUID.union(Attr::NODEV).union(Attr::NOEXEC);

const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

const MASKED: [&str; 5] =
    ["proc/acpi", "proc/keys", "proc/timer_list", "proc/scsi", "sys/firmware"];
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

const DEVICE_RULES: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

fn main() {
    let mut args = std::env::args().skip(1);
    let rootfs = args.next().expect("floor ROOTFS PROGRAM [ARGUMENT...]");
    let program: Vec<CString> =
        args.map(|word| CString::new(word).expect("no NUL in an argument")).collect();
    let cgroups = Cgroups::detect().expect("cgroups");
    let group = cgroups.group(&format!("/belljar-floor-{}", std::process::id()));
    group.create().expect("create the cgroup");
    if !group.is_version_2() {
        group.write("devices", "devices.deny", "a").expect("devices.deny");
        for rule in DEVICE_RULES {
            group.write("devices", "devices.allow", rule).expect("devices.allow");
        }
    }
    let root = CString::new(rootfs).expect("no NUL in a path");
    let tree = mount::clone_tree(&root, true).expect("clone the root");
    mount::set_attributes(&tree, true, &Change::propagation(Propagation::Slave))
        .expect("cut the root off");
    let code = run(&cgroups, &group, tree, program);
    group.remove().expect("remove the cgroup");
    std::process::exit(code);
}

fn run(cgroups: &Cgroups, group: &Group, tree: OwnedFd, program: Vec<CString>) -> i32 {
    let kinds = Namespaces::MOUNT
        | Namespaces::UTS
        | Namespaces::IPC
        | Namespaces::PID
        | Namespaces::NETWORK
        | Namespaces::CGROUP;
    let views = views(group);
    let home = cgroups.group_of("self").expect("the own cgroup");
    if !group.is_version_2() {
        group.enter_version_1().expect("enter the cgroup");
    }
    let directory = group.open_unified().expect("open the cgroup");
    let request = CloneRequest {
        namespaces: kinds,
        cgroup: directory.as_ref().map(AsFd::as_fd),
        ..CloneRequest::default()
    };
    match clone_process(&request).expect("clone3") {
        Cloned::Child { .. } => {
            let Err(error) = become_container(&tree, &views, program);
            eprintln!("floor: {error}");
            exit_child(255)
        }
        Cloned::Parent { pidfd, .. } => {
            if !group.is_version_2() {
                home.enter_version_1().expect("return to the own cgroup");
            }
            drop((tree, views));
            sys::pidfd::wait(pidfd.as_fd()).expect("wait").shell_code()
        }
    }
}

/// The cgroup directories that are shown inside on version 1.
fn views(group: &Group) -> Vec<(CString, OwnedFd)> {
    if group.is_version_2() {
        return Vec::new();
    }
    let visible = group.places().iter().filter(|place| !place.is_unified());
    visible
        .map(|place| {
            let text = |path: &Path| {
                CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL in a path")
            };
            let tree = mount::clone_tree(&text(&place.directory), false).expect("clone a cgroup");
            let change = Change {
                set: LOCKED | Attr::RDONLY,
                propagation: Some(Propagation::Private),
                ..Change::default()
            };
            mount::set_attributes(&tree, true, &change).expect("make a cgroup read-only");
            let name = place.mount.file_name().expect("a mount point has a name");
            (text(Path::new(name)), tree)
        })
        .collect()
}

fn become_container(
    tree: &OwnedFd,
    views: &[(CString, OwnedFd)],
    program: Vec<CString>,
) -> Result<Infallible, Errno> {
    mount::set_path_attributes(c"/", true, &Change::propagation(Propagation::Slave))?;
    let target = rustix::fs::open(c"/tmp", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    mount::attach(tree, target)?;
    mounts(tree, views)?;
    devices(tree)?;
    protect(tree)?;
    mount::set_attributes(tree, false, &Change::set(Attr::RDONLY))?;
    mount::pivot_to(tree)?;
    sys::namespace::set_host_name("floor")?;
    rustix::process::setsid()?;
    credentials()?;
    sys::clone::close_on_exec_from(3)?;
    let env = CStringArray::new(vec![CString::from(c"PATH=/bin")]);
    let args = CStringArray::new(program);
    let path = args.strings().first().ok_or(Errno::INVAL)?.clone();
    sys::clone::execute(&path, &args, &env)
}

fn open(tree: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    sys::inroot::open(tree, path, OFlags::PATH, Mode::empty())
}

fn new_mount(
    tree: &OwnedFd,
    path: &str,
    kind: &CStr,
    params: &[(&CStr, &CStr)],
    attributes: Attr,
) -> Result<OwnedFd, Errno> {
    let params: Vec<Param<'_>> =
        params.iter().map(|(key, value)| Param { key, value: Some(value) }).collect();
    let made = mount::new_file_system(kind, Some(kind), &params, attributes)?;
    mount::attach(&made, open(tree, path)?)?;
    Ok(made)
}

fn mounts(tree: &OwnedFd, views: &[(CString, OwnedFd)]) -> Result<(), Errno> {
    const DIRECTORY: Mode = Mode::from_raw_mode(0o755);
    new_mount(tree, "proc", c"proc", &[], Attr::empty())?;
    let sizes = [(c"mode", c"755"), (c"size", c"65536k")];
    let dev = new_mount(tree, "dev", c"tmpfs", &sizes, Attr::NOSUID)?;
    for name in ["pts", "shm", "mqueue"] {
        rustix::fs::mkdirat(&dev, name, DIRECTORY)?;
    }
    let pts = [(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")];
    new_mount(tree, "dev/pts", c"devpts", &pts, Attr::NOSUID | Attr::NOEXEC)?;
    let shm = [(c"mode", c"1777"), (c"size", c"65536k")];
    new_mount(tree, "dev/shm", c"tmpfs", &shm, LOCKED)?;
    new_mount(tree, "dev/mqueue", c"mqueue", &[], LOCKED)?;
    new_mount(tree, "sys", c"sysfs", &[], LOCKED | Attr::RDONLY)?;
    if views.is_empty() {
        new_mount(tree, "sys/fs/cgroup", c"cgroup2", &[], LOCKED | Attr::RDONLY)?;
        return Ok(());
    }
    let top = new_mount(tree, "sys/fs/cgroup", c"tmpfs", &[(c"mode", c"755")], LOCKED)?;
    for (name, view) in views {
        rustix::fs::mkdirat(&top, name, DIRECTORY)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        mount::attach(view, rustix::fs::openat(&top, name, flags, Mode::empty())?)?;
    }
    mount::set_attributes(&top, false, &Change::set(Attr::RDONLY))
}

fn devices(tree: &OwnedFd) -> Result<(), Errno> {
    let dev = open(tree, "dev")?;
    rustix::process::umask(Mode::empty());
    for (name, major, minor) in DEVICES {
        let mode = Mode::from_raw_mode(0o666);
        mknodat(&dev, name, FileType::CharacterDevice, mode, makedev(major, minor))?;
    }
    LINKS.iter().try_for_each(|(target, name)| symlinkat(*target, &dev, *name))
}

fn protect(tree: &OwnedFd) -> Result<(), Errno> {
    for path in READ_ONLY {
        let Ok(target) = open(tree, path) else { continue };
        let copy = mount::clone_tree_of(&target, true)?;
        mount::set_attributes(&copy, false, &Change::set(Attr::RDONLY))?;
        mount::attach(copy, target)?;
    }
    let null = open(tree, "dev/null")?;
    let size = [Param { key: c"size", value: Some(c"4096") }];
    let empty = mount::new_file_system(c"tmpfs", Some(c"tmpfs"), &size, LOCKED | Attr::RDONLY)?;
    for path in MASKED {
        let Ok(target) = open(tree, path) else { continue };
        let cover = if sys::inroot::is_dir(&target)? { &empty } else { &null };
        mount::attach(mount::clone_tree_of(cover, false)?, target)?;
    }
    Ok(())
}

fn credentials() -> Result<(), Errno> {
    let keep = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
        .into_iter()
        .filter_map(cred::capability)
        .fold(Capabilities::default(), |all, one| all | one);
    cred::set_no_new_privileges()?;
    cred::limit_bounding_set(keep)?;
    cred::set_groups(&[])?;
    cred::set_gid(0)?;
    cred::set_uid(0)?;
    cred::set_capability_sets(Sets {
        effective: keep,
        permitted: keep,
        inheritable: Capabilities::default(),
    })
}
