//! Reading and checking a bundle's `config.json`. The document is hostile: engines build it from what users and images say.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use types::oci::runtime::{Linux, Mount, NamespaceKind, Process, Spec};

use crate::error::{Error, Result, step};

/// The longest `config.json` that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Paths under `/proc` that a configuration may mount on (lxcfs does); anything else there could hide or fake kernel files.
const ALLOWED_IN_PROC: [&str; 12] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
    "/proc/net/dev",
    "/proc/sys/fs/binfmt_misc",
];

/// Reads and checks the configuration of a bundle: `config.json`, or another file that the caller names, seen from the bundle.
///
/// # Errors
/// `Invalid` for a document that cannot be used, `Internal` for a file that cannot be read.
pub fn load(bundle: &Path, name: &str) -> Result<Spec> {
    let path = bundle.join(if name.is_empty() { "config.json" } else { name });
    let bytes = read(&path)?;
    let spec = decode(&bytes, &path)?;
    validate(&spec)?;
    Ok(spec)
}

/// Reads the document that `exec --process` names.
///
/// # Errors
/// As for [`load`].
pub fn load_process(path: &Path) -> Result<Process> {
    let bytes = read(path)?;
    let process = decode(&bytes, path)?;
    validate_process(&process)?;
    Ok(process)
}

/// Parses and checks a `config.json`. This is the door that the fuzzer knocks on.
///
/// # Errors
/// `Invalid`.
pub fn parse(bytes: &[u8]) -> Result<Spec> {
    let spec = decode(bytes, Path::new("config.json"))?;
    validate(&spec)?;
    if let Some(seccomp) = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) {
        crate::seccomp::compile(seccomp)?;
    }
    crate::plan::rehearse(&spec)?;
    Ok(spec)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("read `{}`", path.display());
    let file = File::open(path).map_err(step(what()))?;
    // Room for most documents: without it the reader would feel its way up.
    let mut bytes = Vec::with_capacity(64 << 10);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(step(what()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::Config(format!("`{}` is larger than 16 MiB", path.display())));
    }
    Ok(bytes)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|source| Error::Json { path: PathBuf::from(path), source })
}

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Config(text.into()))
}

/// Checks a whole document.
///
/// # Errors
/// `Invalid`.
pub fn validate(spec: &Spec) -> Result<()> {
    if !spec.oci_version.starts_with("1.") {
        return invalid(format!("unsupported ociVersion {:?}: 1.x is supported", spec.oci_version));
    }
    if let Some(process) = &spec.process {
        validate_process(process)?;
    }
    match &spec.root {
        Some(root) if !root.path.is_empty() => {}
        _ => return invalid("root.path must be set"),
    }
    validate_hooks(spec)?;
    let Some(linux) = &spec.linux else { return invalid("linux must be set") };
    validate_namespaces(linux)?;
    validate_names(spec, linux)?;
    validate_sysctl(linux)?;
    validate_devices(linux)?;
    validate_covers(linux)?;
    validate_net_devices(linux)?;
    if let Some(given) = &linux.intel_rdt {
        crate::rdt::validate(given)?;
    }
    if has_parent_part(&linux.cgroups_path) {
        return invalid(format!("cgroupsPath {:?} contains `..`", linux.cgroups_path));
    }
    let propagation = &linux.rootfs_propagation;
    if !propagation.is_empty() && crate::plan::propagation(propagation).is_none() {
        return invalid(format!("rootfsPropagation={propagation} is not supported"));
    }
    spec.mounts.iter().try_for_each(validate_mount)
}

fn validate_hooks(spec: &Spec) -> Result<()> {
    let Some(hooks) = &spec.hooks else { return Ok(()) };
    let all = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
        &hooks.start_container,
        &hooks.poststart,
        &hooks.poststop,
    ];
    for (kind, list) in crate::hooks::KINDS.iter().zip(all) {
        for hook in list {
            if !hook.path.starts_with('/') {
                return invalid(format!(
                    "the path {:?} of a {kind} hook is not absolute",
                    hook.path
                ));
            }
            if hook.timeout.is_some_and(|timeout| timeout <= 0) {
                return invalid(format!("the timeout of a {kind} hook is not above zero"));
            }
        }
    }
    Ok(())
}

/// Checks a process on its own.
///
/// # Errors
/// `Invalid`.
pub fn validate_process(process: &Process) -> Result<()> {
    if process.args.first().is_none_or(String::is_empty) {
        return invalid("process.args must not be empty");
    }
    if !process.cwd.starts_with('/') {
        return invalid("Cwd must be an absolute path");
    }
    if process.args.iter().chain(&process.env).any(|text| text.contains('\0')) {
        return invalid("process.args and process.env must not contain NUL");
    }
    let mut seen = BTreeSet::new();
    for limit in &process.rlimits {
        if sys::rlimit::number(&limit.kind).is_none() {
            return invalid(format!("invalid rlimit type: {}", limit.kind));
        }
        if !seen.insert(&limit.kind) {
            return invalid(format!("rlimit type {} is given twice", limit.kind));
        }
    }
    Ok(())
}

fn has_parent_part(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// Tells whether the configuration has its own namespace of a kind, new or joined.
#[must_use]
pub fn has_namespace(linux: &Linux, kind: NamespaceKind) -> bool {
    linux.namespaces.iter().any(|namespace| namespace.kind == kind)
}

/// Tells whether a new namespace of a kind is made.
#[must_use]
pub fn has_new_namespace(linux: &Linux, kind: NamespaceKind) -> bool {
    linux.namespaces.iter().any(|namespace| namespace.kind == kind && namespace.path.is_empty())
}

fn validate_namespaces(linux: &Linux) -> Result<()> {
    let mut seen = BTreeSet::new();
    for namespace in &linux.namespaces {
        if !seen.insert(namespace.kind) {
            return invalid(format!("malformed spec file: duplicated ns {:?}", namespace.kind));
        }
        if !namespace.path.is_empty() && !namespace.path.starts_with('/') {
            return invalid(format!("namespace path {:?} is not absolute", namespace.path));
        }
    }
    let user = has_namespace(linux, NamespaceKind::User);
    if has_new_namespace(linux, NamespaceKind::User)
        && linux.uid_mappings.is_empty() != linux.gid_mappings.is_empty()
    {
        return invalid("user namespaces enabled, but no uid and gid mappings found");
    }
    let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if mapped && !user {
        return invalid("uid and gid mappings without a user namespace");
    }
    if let Some(clock) =
        linux.time_offsets.keys().find(|clock| !matches!(clock.as_str(), "monotonic" | "boottime"))
    {
        return invalid(format!("linux.timeOffsets: there is no clock {clock:?} to set"));
    }
    if !linux.time_offsets.is_empty() && !has_new_namespace(linux, NamespaceKind::Time) {
        return invalid("time offsets specified, but no time namespace");
    }
    Ok(())
}

fn validate_names(spec: &Spec, linux: &Linux) -> Result<()> {
    if has_namespace(linux, NamespaceKind::Uts) {
        return Ok(());
    }
    if !spec.hostname.is_empty() {
        return invalid("unable to set hostname without a private UTS namespace");
    }
    if !spec.domainname.is_empty() {
        return invalid("unable to set domainname without a private UTS namespace");
    }
    Ok(())
}

fn validate_sysctl(linux: &Linux) -> Result<()> {
    const IPC: [&str; 9] = [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
        "kernel/msg_next_id",
    ];
    for key in linux.sysctl.keys() {
        let path = sysctl_path(key);
        if path.contains('\0') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return invalid(format!("sysctl {key:?} is malformed"));
        }
        let needed = if IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
            NamespaceKind::Ipc
        } else if path.starts_with("net/") {
            NamespaceKind::Network
        } else if path == "kernel/domainname" {
            NamespaceKind::Uts
        } else if path == "kernel/hostname" && has_namespace(linux, NamespaceKind::Uts) {
            let text = format!(
                "sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" field"
            );
            return invalid(text);
        } else if path.starts_with("user/") {
            NamespaceKind::User
        } else {
            return invalid(format!("sysctl {key:?} is not in a separate kernel namespace"));
        };
        if !has_namespace(linux, needed) {
            return invalid(format!(
                "sysctl {key:?} is not allowed in the hosts {} namespace",
                needed.as_str()
            ));
        }
        if needed == NamespaceKind::Network && joins_own(linux, needed, "net") {
            return invalid(format!("sysctl {key:?} not allowed in host network namespace"));
        }
    }
    Ok(())
}

/// Returns the path beneath `/proc/sys`. As in sysctl(8), the first separator of a key decides whether dots or slashes divide it; the
/// other one then stands for a dot in a name.
pub(crate) fn sysctl_path(key: &str) -> String {
    if key.find(['.', '/']).is_none_or(|at| key.as_bytes()[at] == b'/') {
        return key.to_owned();
    }
    let swapped = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    key.chars().map(swapped).collect()
}

/// Tells whether a namespace is "joined" that is the runtime's own.
fn joins_own(linux: &Linux, kind: NamespaceKind, name: &str) -> bool {
    let mut joined = linux.namespaces.iter().filter(|ns| ns.kind == kind && !ns.path.is_empty());
    joined.any(|namespace| {
        let own = rustix::fs::stat(format!("/proc/self/ns/{name}"));
        let theirs = rustix::fs::stat(&namespace.path);
        matches!((own, theirs), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    })
}

/// "MUST be absolute paths in the container namespace", config-linux.md#masked-paths: from where else would they be looked up.
fn validate_covers(linux: &Linux) -> Result<()> {
    let named = |name, paths: &[String]| {
        let relative = paths.iter().find(|path| !path.starts_with('/'));
        relative.map(|path| format!("`linux.{name}` {path:?} is not absolute"))
    };
    let wrong = named("maskedPaths", &linux.masked_paths);
    wrong.or_else(|| named("readonlyPaths", &linux.readonly_paths)).map_or(Ok(()), invalid)
}

fn validate_devices(linux: &Linux) -> Result<()> {
    for device in &linux.devices {
        if !device.path.starts_with('/') {
            return invalid(format!("device path {:?} is not absolute", device.path));
        }
        if !matches!(device.kind.as_str(), "c" | "u" | "b" | "p") {
            return invalid(format!("invalid type {:?} of device {}", device.kind, device.path));
        }
        let numbers = [device.major, device.minor];
        if device.kind != "p" && numbers.iter().any(|n| u32::try_from(*n).is_err()) {
            return invalid(format!("invalid number of device {}", device.path));
        }
    }
    let rules = linux.resources.iter().flat_map(|resources| &resources.devices);
    for rule in rules {
        if !matches!(rule.kind.as_str(), "" | "a" | "b" | "c") {
            return invalid(format!("invalid device rule type {:?}", rule.kind));
        }
        // runc overlooks an `a`, which configurations have.
        if rule.access.chars().any(|letter| !"rwma".contains(letter)) {
            return invalid(format!("invalid device rule access {:?}", rule.access));
        }
    }
    Ok(())
}

/// The words are runc's.
fn validate_net_devices(linux: &Linux) -> Result<()> {
    if linux.net_devices.is_empty() {
        return Ok(());
    }
    if !has_namespace(linux, NamespaceKind::Network) {
        return invalid("unable to move network devices without a NET namespace");
    }
    let names = linux.net_devices.iter().map(|(name, device)| (name, &device.name));
    for name in
        names.flat_map(|(host, inside)| [Some(host), Some(inside).filter(|n| !n.is_empty())])
    {
        // As dev_valid_name() of the kernel.
        let Some(name) = name else { continue };
        let bad =
            |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
        if name.is_empty()
            || name.len() > 15
            || name == "."
            || name == ".."
            || name.contains('%')
            || name.bytes().any(bad)
        {
            return invalid(format!("invalid network device name {name:?}"));
        }
    }
    Ok(())
}

fn validate_mount(mount: &Mount) -> Result<()> {
    if mount.destination.is_empty() {
        return invalid("mount destination must be set");
    }
    let texts = [&mount.destination, &mount.source, &mount.kind];
    if texts.into_iter().chain(&mount.options).any(|text| text.contains('\0')) {
        return invalid("mounts must not contain NUL");
    }
    if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
        return invalid(format!(
            "the mount at {:?} needs both uidMappings and gidMappings, or neither",
            mount.destination
        ));
    }
    let path = PathBuf::from("/").join(sys::inroot::clean(Path::new(&mount.destination)));
    let inside = path.starts_with("/proc") && path != Path::new("/proc");
    if inside && !ALLOWED_IN_PROC.iter().any(|allowed| path == Path::new(allowed)) {
        return invalid(format!(
            "{:?} cannot be mounted because it is inside /proc",
            path.display().to_string()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"ociVersion":"1.2.0","root":{"path":"rootfs"},
        "process":{"args":["sh"],"cwd":"/","user":{"uid":0,"gid":0}},
        "linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}}"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        parse(GOOD.replace(from, to).as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_small_document_is_enough() {
        assert!(parse(GOOD.as_bytes()).is_ok());
        let without_process = GOOD.replace(r#""process":"#, r#""ignored":"#);
        assert!(parse(without_process.as_bytes()).is_ok());
    }

    #[test]
    fn hostile_documents_are_refused_with_a_reason() {
        assert!(refused(r#""1.2.0""#, r#""2.0""#).contains("ociVersion"));
        assert!(refused(r#"["sh"]"#, "[]").contains("args"));
        assert!(refused(r#""cwd":"/""#, r#""cwd":"x""#).contains("absolute"));
        assert!(refused(r#""path":"rootfs""#, r#""path":"""#).contains("root.path"));
        assert!(refused(r#""linux":{"#, r#""linux":{"cgroupsPath":"/a/../../b","#).contains(".."));
        assert!(refused(r#"{"type":"pid"}"#, r#"{"type":"mount"}"#).contains("duplicated"));
        assert!(refused(r#""linux":{"#, r#""hostname":"h","linux":{"#).contains("hostname"));
        let cover = refused(r#""linux":{"#, r#""linux":{"maskedPaths":["../x"],"#);
        assert!(cover.contains("linux.maskedPaths"), "{cover}");
        let sysctl = refused(r#""linux":{"#, r#""linux":{"sysctl":{"kernel.panic":"1"},"#);
        assert!(sysctl.contains("not in a separate kernel namespace"), "{sysctl}");
        let host = refused(r#""linux":{"#, r#""linux":{"sysctl":{"net.core.somaxconn":"1"},"#);
        assert!(host.contains("hosts network namespace"), "{host}");
        let proc =
            refused(r#""linux":{"#, r#""mounts":[{"destination":"/x/../proc/sys"}],"linux":{"#);
        assert!(proc.contains("inside /proc"), "{proc}");
    }

    #[test]
    fn keys_of_kernel_settings_are_paths_that_stay_beneath() {
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/5.rp_filter"), "net/ipv4/conf/eth0.5/rp_filter");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.5/rp_filter"), "net/ipv4/conf/eth0.5/rp_filter");
        assert_eq!(sysctl_path("plain"), "plain");
        for key in ["net/../kernel/core_pattern", "net.//.kernel.x", "net/./x", "/net/x", "net..x"]
        {
            let text = refused(r#""linux":{"#, &format!(r#""linux":{{"sysctl":{{"{key}":"1"}},"#));
            assert!(text.contains("malformed"), "{key}: {text}");
        }
    }

    #[test]
    fn junk_is_an_error_and_no_panic() {
        for junk in [&b""[..], b"{", b"[]", b"null", b"\xff\xfe", b"{\"process\":3}"] {
            assert!(parse(junk).is_err());
        }
    }

    /// Flips, cuts and repeats bytes of a large document; whatever comes out, nothing may panic.
    #[test]
    fn damaged_documents_never_panic() {
        let large = GOOD.replace(
            r#""linux":{"#,
            r#""mounts":[{"destination":"/d","type":"tmpfs","options":["size=1k","rro"]}],"hostname":"","linux":{
            "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","clone"],"action":"SCMP_ACT_ALLOW",
            "args":[{"index":0,"value":18446744073709551615,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]},
            "resources":{"devices":[{"allow":true,"type":"c","major":-1,"minor":9223372036854775807,"access":"rwm"}]},"#,
        );
        assert!(parse(large.as_bytes()).is_ok());
        let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).unwrap()
        };
        for _ in 0..3000 {
            let mut bytes = large.clone().into_bytes();
            for _ in 0..=next(4) {
                let at = next(bytes.len());
                match next(4) {
                    0 => bytes[at] = b"0{}[],:\"-9e\\"[next(12)],
                    1 => bytes.truncate(at.max(1)),
                    2 => drop(bytes.remove(at)),
                    _ => bytes[at] ^= 1 << next(8),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            if let Ok(spec) = parse(&bytes) {
                let resources = spec.linux.and_then(|linux| linux.resources).unwrap_or_default();
                let _ = crate::cgroup::settings(&resources, true);
                let _ = crate::cgroup::settings(&resources, false);
            }
        }
    }
}
