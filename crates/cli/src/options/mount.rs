//! `--mount type=bind,src=/a,dst=/b,readonly` and `-v /a:/b:ro`.

use types::container::{BindOptions, DriverConfig, Mount, TmpfsOptions, VolumeOptions};

use super::devices::csv;
use super::values;

/// One `--mount`; the part of an image is what `types` does not know yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MountFlag {
    pub(crate) mount: Mount,
    /// `image-subpath`.
    pub(crate) image_subpath: Option<String>,
}

#[derive(Default)]
struct Parts {
    mount: Mount,
    bind: Option<BindOptions>,
    volume: Option<VolumeOptions>,
    tmpfs: Option<TmpfsOptions>,
    image_subpath: Option<String>,
}

impl Parts {
    fn bind(&mut self) -> &mut BindOptions {
        self.bind.get_or_insert_default()
    }
    fn volume(&mut self) -> &mut VolumeOptions {
        self.volume.get_or_insert_default()
    }
    fn driver(&mut self) -> &mut DriverConfig {
        self.volume().driver_config.get_or_insert_default()
    }
    fn tmpfs(&mut self) -> &mut TmpfsOptions {
        self.tmpfs.get_or_insert_default()
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}")),
    }
}

/// Reads one `--mount`.
///
/// # Errors
/// Docker's words.
pub(super) fn parse(text: &str) -> Result<MountFlag, String> {
    let mut parts = Parts::default();
    for field in csv(text) {
        match field.split_once('=') {
            Some((key, value)) => keyed(&mut parts, &key.to_lowercase(), value, &field)?,
            None => bare(&mut parts, &field)?,
        }
    }
    finish(parts)
}

fn bare(parts: &mut Parts, field: &str) -> Result<(), String> {
    match field.to_lowercase().as_str() {
        "readonly" | "ro" => parts.mount.read_only = true,
        "volume-nocopy" => parts.volume().no_copy = true,
        "bind-nonrecursive" => parts.bind().non_recursive = true,
        _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
    }
    Ok(())
}

fn keyed(parts: &mut Parts, key: &str, value: &str, field: &str) -> Result<(), String> {
    match key {
        "type" => parts.mount.r#type = value.to_lowercase(),
        "source" | "src" => parts.mount.source = source(value),
        "target" | "dst" | "destination" => parts.mount.target = value.into(),
        "readonly" | "ro" => parts.mount.read_only = boolean(key, value)?,
        "consistency" => parts.mount.consistency = value.to_lowercase(),
        "bind-propagation" => parts.bind().propagation = value.to_lowercase(),
        "bind-nonrecursive" => parts.bind().non_recursive = boolean(key, value)?,
        "bind-recursive" => recursive(parts, value)?,
        "bind-create-src" => parts.bind().create_mountpoint = boolean(key, value)?,
        "volume-nocopy" => parts.volume().no_copy = boolean(key, value)?,
        "volume-subpath" => parts.volume().subpath = value.into(),
        "volume-label" => {
            let (name, text) = value.split_once('=').unwrap_or((value, ""));
            parts.volume().labels.get_or_insert_default().insert(name.into(), text.into());
        }
        "volume-driver" => parts.driver().name = value.into(),
        "volume-opt" => {
            let (name, text) = value.split_once('=').unwrap_or((value, ""));
            parts.driver().options.get_or_insert_default().insert(name.into(), text.into());
        }
        "image-subpath" => parts.image_subpath = Some(value.into()),
        "tmpfs-size" => {
            parts.tmpfs().size_bytes =
                values::bytes(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
        }
        "tmpfs-mode" => {
            parts.tmpfs().mode = u32::from_str_radix(value, 8)
                .map_err(|_| format!("invalid value for {key}: {value}"))?;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

/// A relative source of the form `./x` is the client's.
fn source(value: &str) -> String {
    if value == "." || value.starts_with("./") || value == ".." || value.starts_with("../") {
        return absolute(value);
    }
    value.to_owned()
}

fn recursive(parts: &mut Parts, value: &str) -> Result<(), String> {
    match value {
        "enabled" | "" => {}
        "disabled" => parts.bind().non_recursive = true,
        "writable" => parts.bind().read_only_non_recursive = true,
        "readonly" => parts.bind().read_only_force_recursive = true,
        _ => {
            return Err(format!(
                "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            ));
        }
    }
    Ok(())
}

fn finish(parts: Parts) -> Result<MountFlag, String> {
    let Parts { mut mount, bind, volume, tmpfs, image_subpath } = parts;
    if mount.r#type.is_empty() {
        mount.r#type = "volume".into();
    }
    if mount.target.is_empty() {
        return Err("target is required".into());
    }
    let kind = mount.r#type.clone();
    let misplaced = |given: bool, family: &str| {
        (given && kind != family)
            .then(|| format!("cannot mix '{family}-*' options with mount type '{kind}'"))
    };
    let wrong = misplaced(volume.is_some(), "volume")
        .or_else(|| misplaced(bind.is_some(), "bind"))
        .or_else(|| misplaced(tmpfs.is_some(), "tmpfs"))
        .or_else(|| misplaced(image_subpath.is_some(), "image"));
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    check_recursion(&mount, bind.as_ref())?;
    mount.bind_options = bind;
    mount.volume_options = volume;
    mount.tmpfs_options = tmpfs;
    Ok(MountFlag { mount, image_subpath })
}

fn check_recursion(mount: &Mount, bind: Option<&BindOptions>) -> Result<(), String> {
    let Some(bind) = bind else {
        return Ok(());
    };
    if bind.read_only_non_recursive && !mount.read_only {
        return Err(
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"
                .into(),
        );
    }
    if bind.read_only_force_recursive {
        if !mount.read_only {
            return Err("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".into());
        }
        if bind.propagation != "rprivate" {
            return Err(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction".into()
            );
        }
    }
    Ok(())
}

/// What one `-v` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VolumeFlag {
    /// `source:target[:options]`, for `HostConfig.Binds`.
    Bind(String),
    /// A target alone, for `Config.Volumes`.
    Anonymous(String),
}

/// Reads one `-v`. What cannot be split is left to the engine, which names it.
///
/// # Errors
/// An empty part.
pub(super) fn volume(text: &str) -> Result<VolumeFlag, String> {
    if text.is_empty() || text.starts_with(':') {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    let Some((source, rest)) = text.split_once(':') else {
        return Ok(VolumeFlag::Anonymous(text.to_owned()));
    };
    if source.starts_with('.') {
        return Ok(VolumeFlag::Bind(format!("{}:{rest}", absolute(source))));
    }
    Ok(VolumeFlag::Bind(text.to_owned()))
}

/// The client's path as an absolute one, without `.` and `..`.
pub(super) fn absolute(path: &str) -> String {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut clean = std::path::PathBuf::new();
    for part in full.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean.to_string_lossy().into_owned()
}
