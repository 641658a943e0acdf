//! Mount points of a container: what `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's volumes come to.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use types::container::{HostConfig, Mount};

use crate::view::MountView;
use crate::{EngineError, Result};

/// What is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MountKind {
    /// A path of the host.
    #[default]
    Bind,
    /// A volume of ours.
    Volume,
    /// Memory.
    Tmpfs,
}

/// One mount of a container, kept in its record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MountPoint {
    pub(crate) kind: MountKind,
    /// The volume's name.
    pub(crate) name: String,
    /// The path on the host.
    pub(crate) source: PathBuf,
    /// The path in the container, clean and absolute.
    pub(crate) destination: String,
    pub(crate) rw: bool,
    /// Options as asked.
    pub(crate) mode: String,
    pub(crate) propagation: String,
    /// A missing source is made (`-v`), not refused (`--mount`).
    pub(crate) create_source: bool,
    /// The image's content is not copied into an empty volume.
    pub(crate) no_copy: bool,
    /// Removed with the container.
    pub(crate) anonymous: bool,
    pub(crate) non_recursive: bool,
    /// A directory inside the volume.
    pub(crate) subpath: String,
    /// Mount options of a tmpfs.
    pub(crate) tmpfs: Vec<String>,
    /// Labels of a volume that is made for this mount.
    pub(crate) labels: std::collections::BTreeMap<String, String>,
    /// Driver options of a volume that is made for this mount.
    pub(crate) options: std::collections::BTreeMap<String, String>,
    /// Came from `--tmpfs` and is not shown under `Mounts`, as in Docker.
    pub(crate) hidden: bool,
}

impl MountPoint {
    /// What `inspect` shows.
    pub(crate) fn view(&self) -> MountView {
        let volume = self.kind == MountKind::Volume;
        MountView {
            kind: match self.kind {
                MountKind::Bind => "bind",
                MountKind::Volume => "volume",
                MountKind::Tmpfs => "tmpfs",
            }
            .to_owned(),
            name: volume.then(|| self.name.clone()),
            source: self.source.display().to_string(),
            destination: self.destination.clone(),
            driver: volume.then(|| "local".to_owned()),
            mode: self.mode.clone(),
            rw: self.rw,
            propagation: self.propagation.clone(),
        }
    }
}

fn bad(spec: &str, why: &str) -> EngineError {
    EngineError::invalid(format!("invalid volume specification: '{spec}'{why}"))
}

/// Makes an absolute path clean; refuses relative ones and the root.
fn destination(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(EngineError::invalid(format!(
            "invalid mount config for type \"bind\": invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    let clean = clean(path);
    if clean == "/" {
        return Err(bad(path, ": destination can't be '/'"));
    }
    Ok(clean)
}

/// `path.Clean` for absolute paths.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    format!("/{}", parts.join("/"))
}

/// Reads one `-v` value: `[source:]destination[:options]`.
///
/// # Errors
/// `Invalid`, in Docker's words.
pub(crate) fn parse_bind(spec: &str) -> Result<MountPoint> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => ("", target, ""),
        [target, mode] if is_mode(mode) && target.starts_with('/') => ("", target, mode),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(bad(spec, "")),
    };
    if target.is_empty() || (source.is_empty() && parts.len() == 3) {
        return Err(bad(spec, ""));
    }
    if !mode.is_empty() && !is_mode(mode) {
        return Err(EngineError::invalid(format!("invalid mode: {mode}")));
    }
    let mut mount = MountPoint {
        destination: destination(target).map_err(|error| bad(spec, &format!(": {error}")))?,
        rw: true,
        mode: mode.to_owned(),
        create_source: true,
        ..MountPoint::default()
    };
    apply_mode(&mut mount, mode);
    if source.starts_with('/') {
        mount.source = PathBuf::from(clean(source));
        if mount.propagation.is_empty() {
            "rprivate".clone_into(&mut mount.propagation);
        }
    } else {
        mount.kind = MountKind::Volume;
        source.clone_into(&mut mount.name);
        mount.anonymous = source.is_empty();
        if !source.is_empty() && !types::is_valid_name(source) {
            return Err(EngineError::invalid(format!(
                "create {source}: {source:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
            )));
        }
        if mount.mode.is_empty() {
            "z".clone_into(&mut mount.mode);
        }
    }
    Ok(mount)
}

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

fn is_mode(mode: &str) -> bool {
    let known = ["ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent", "default"];
    !mode.is_empty() && mode.split(',').all(|m| known.contains(&m) || PROPAGATIONS.contains(&m))
}

fn apply_mode(mount: &mut MountPoint, mode: &str) {
    for option in mode.split(',') {
        match option {
            "ro" => mount.rw = false,
            "nocopy" => mount.no_copy = true,
            other if PROPAGATIONS.contains(&other) => other.clone_into(&mut mount.propagation),
            _ => {}
        }
    }
}

fn wrong(kind: &str, why: &str) -> EngineError {
    EngineError::invalid(format!("invalid mount config for type {kind:?}: {why}"))
}

/// Reads one `--mount`; `exists` tells whether a path of the host does.
///
/// # Errors
/// `Invalid`, in Docker's words.
pub(crate) fn parse_mount(mount: &Mount, exists: impl Fn(&str) -> bool) -> Result<MountPoint> {
    let kind = mount.r#type.as_str();
    if mount.target.is_empty() {
        return Err(wrong(kind, "field Target must not be empty"));
    }
    if !mount.target.starts_with('/') {
        let why = format!("invalid mount path: '{}' mount path must be absolute", mount.target);
        return Err(wrong(kind, &why));
    }
    let target = clean(&mount.target);
    if target == "/" {
        return Err(wrong(kind, "invalid specification: destination can't be '/'"));
    }
    let base = MountPoint { destination: target, rw: !mount.read_only, ..MountPoint::default() };
    match kind {
        "bind" => bind_mount(base, mount, exists),
        "volume" => volume_mount(base, mount),
        "tmpfs" => tmpfs_mount(base, mount),
        "image" => Err(EngineError::new(
            types::Kind::NotImplemented,
            "mounts of type \"image\" are not supported",
        )),
        other => Err(EngineError::invalid(format!("mount type unknown: {other:?}"))),
    }
}

fn bind_mount(
    base: MountPoint,
    mount: &Mount,
    exists: impl Fn(&str) -> bool,
) -> Result<MountPoint> {
    if mount.source.is_empty() {
        return Err(wrong("bind", "field Source must not be empty"));
    }
    if !mount.source.starts_with('/') {
        let why = format!("invalid mount path: '{}' mount path must be absolute", mount.source);
        return Err(wrong("bind", &why));
    }
    if mount.volume_options.is_some() {
        return Err(wrong("bind", "field VolumeOptions must not be specified"));
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    if !options.create_mountpoint && !exists(&mount.source) {
        let why = format!("bind source path does not exist: {}", mount.source);
        return Err(wrong("bind", &why));
    }
    let propagation =
        if options.propagation.is_empty() { "rprivate".to_owned() } else { options.propagation };
    if !PROPAGATIONS.contains(&propagation.as_str()) {
        return Err(wrong("bind", &format!("invalid propagation mode: {propagation}")));
    }
    Ok(MountPoint {
        kind: MountKind::Bind,
        source: PathBuf::from(clean(&mount.source)),
        propagation,
        non_recursive: options.non_recursive,
        create_source: options.create_mountpoint,
        ..base
    })
}

fn volume_mount(base: MountPoint, mount: &Mount) -> Result<MountPoint> {
    if mount.bind_options.is_some() {
        return Err(wrong("volume", "field BindOptions must not be specified"));
    }
    if !mount.source.is_empty() && !types::is_valid_name(&mount.source) {
        return Err(wrong("volume", &format!("invalid volume name: {:?}", mount.source)));
    }
    let options = mount.volume_options.clone().unwrap_or_default();
    if options.subpath.split('/').any(|part| part == "..") || options.subpath.starts_with('/') {
        return Err(wrong("volume", "subpath must be a relative path within the volume"));
    }
    Ok(MountPoint {
        kind: MountKind::Volume,
        name: mount.source.clone(),
        anonymous: mount.source.is_empty(),
        mode: "z".into(),
        no_copy: options.no_copy,
        labels: options.labels.unwrap_or_default(),
        options: options.driver_config.and_then(|d| d.options).unwrap_or_default(),
        subpath: options.subpath,
        ..base
    })
}

fn tmpfs_mount(base: MountPoint, mount: &Mount) -> Result<MountPoint> {
    if !mount.source.is_empty() {
        return Err(wrong("tmpfs", "field Source must not be specified"));
    }
    let options = mount.tmpfs_options.clone().unwrap_or_default();
    let mut tmpfs: Vec<String> = ["nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
    if options.size_bytes > 0 {
        tmpfs.push(format!("size={}", options.size_bytes));
    }
    if options.mode != 0 {
        tmpfs.push(format!("mode={:o}", options.mode & 0o7777));
    }
    Ok(MountPoint { kind: MountKind::Tmpfs, tmpfs, ..base })
}

/// Reads `--tmpfs PATH:OPTIONS`.
///
/// # Errors
/// `Invalid`: relative path or unknown option.
pub(crate) fn parse_tmpfs(path: &str, options: &str) -> Result<MountPoint> {
    if !path.starts_with('/') {
        return Err(EngineError::invalid(format!(
            "invalid tmpfs option: {path:?} is not absolute"
        )));
    }
    let mut tmpfs: Vec<String> = vec!["noexec".into(), "nosuid".into(), "nodev".into()];
    for option in options.split(',').filter(|option| !option.is_empty()) {
        if !is_tmpfs_option(option) {
            return Err(EngineError::invalid(format!("Invalid tmpfs option {option:?}")));
        }
        match option {
            "exec" | "suid" | "dev" => tmpfs.retain(|have| *have != format!("no{option}")),
            _ if tmpfs.iter().any(|have| have == option) => {}
            _ => tmpfs.push(option.to_owned()),
        }
    }
    let rw = !tmpfs.iter().any(|option| option == "ro");
    let destination = clean(path);
    Ok(MountPoint {
        kind: MountKind::Tmpfs,
        destination,
        rw,
        tmpfs,
        hidden: true,
        ..MountPoint::default()
    })
}

fn is_tmpfs_option(option: &str) -> bool {
    let flags = [
        "exec",
        "noexec",
        "nosuid",
        "suid",
        "nodev",
        "dev",
        "ro",
        "rw",
        "sync",
        "async",
        "dirsync",
        "remount",
        "mand",
        "nomand",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "bind",
        "rbind",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "unbindable",
        "runbindable",
        "defaults",
    ];
    let valued = ["mode", "uid", "gid", "size", "nr_blocks", "nr_inodes", "mpol", "huge"];
    match option.split_once('=') {
        None => flags.contains(&option),
        Some((name, _)) => valued.contains(&name),
    }
}

/// Everything that a host config asks for, in Docker's order: binds, mounts, tmpfs; a destination twice is refused.
///
/// # Errors
/// `Invalid`, in Docker's words.
pub(crate) fn parse_all(
    host: &HostConfig,
    exists: impl Fn(&str) -> bool,
) -> Result<Vec<MountPoint>> {
    let mut mounts: Vec<MountPoint> = Vec::new();
    for spec in host.binds.iter().flatten() {
        add(&mut mounts, parse_bind(spec)?)?;
    }
    for mount in host.mounts.iter().flatten() {
        add(&mut mounts, parse_mount(mount, &exists)?)?;
    }
    for (path, options) in host.tmpfs.iter().flatten() {
        add(&mut mounts, parse_tmpfs(path, options)?)?;
    }
    Ok(mounts)
}

fn add(mounts: &mut Vec<MountPoint>, mount: MountPoint) -> Result<()> {
    if mounts.iter().any(|have| have.destination == mount.destination) {
        return Err(EngineError::invalid(format!("Duplicate mount point: {}", mount.destination)));
    }
    mounts.push(mount);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_and_volumes_are_told_apart() {
        let bind = parse_bind("/host/../srv:/data/:ro").unwrap();
        assert_eq!(
            (bind.kind, bind.rw, bind.destination.as_str()),
            (MountKind::Bind, false, "/data")
        );
        assert_eq!(bind.source, PathBuf::from("/srv"));
        assert_eq!(bind.propagation, "rprivate");
        let volume = parse_bind("db:/var/lib").unwrap();
        assert_eq!(
            (volume.kind, volume.name.as_str(), volume.mode.as_str()),
            (MountKind::Volume, "db", "z")
        );
        let anonymous = parse_bind("/var/lib").unwrap();
        assert!(anonymous.anonymous);
        assert_eq!(parse_bind("/a:/b:rshared").unwrap().propagation, "rshared");
    }

    #[test]
    fn bad_binds_are_refused() {
        for bad in ["", "/a:/b:/c:/d", "/a:b", "/a:/", "/a:/b:xx", "a b:/c", ":/c:ro"] {
            assert!(parse_bind(bad).is_err(), "{bad}");
        }
    }

    fn mount(kind: &str, source: &str, target: &str) -> Mount {
        Mount {
            r#type: kind.into(),
            source: source.into(),
            target: target.into(),
            ..Mount::default()
        }
    }

    #[test]
    fn a_missing_bind_source_has_dockers_words() {
        let error = parse_mount(&mount("bind", "/x", "/y"), |_| false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid mount config for type \"bind\": bind source path does not exist: /x"
        );
    }

    #[test]
    fn mount_fields_are_checked() {
        for (bad, why) in [
            (mount("bind", "", "/y"), "field Source must not be empty"),
            (mount("volume", "v", ""), "field Target must not be empty"),
            (mount("tmpfs", "/x", "/y"), "field Source must not be specified"),
            (mount("nfs", "", "/y"), "mount type unknown"),
        ] {
            let error = parse_mount(&bad, |_| true).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn tmpfs_options_replace_the_safe_defaults() {
        let tmpfs = parse_tmpfs("/run", "size=1m,exec").unwrap();
        assert_eq!(tmpfs.tmpfs, ["nosuid", "nodev", "size=1m"]);
        assert!(parse_tmpfs("/run", "upperdir=/").is_err());
        assert!(parse_tmpfs("run", "").is_err());
    }

    #[test]
    fn a_destination_twice_is_refused() {
        let host = HostConfig {
            binds: Some(vec!["/a:/x".into(), "/b:/x/".into()]),
            ..HostConfig::default()
        };
        let error = parse_all(&host, |_| true).unwrap_err();
        assert_eq!(error.to_string(), "Duplicate mount point: /x");
    }
}
