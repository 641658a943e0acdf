//! `--device`, `--gpus` and the per-device limits.

use serde_json::{Value, json};
use types::container::{DeviceMapping, ThrottleDevice, WeightDevice};

use super::values;

/// `host[:container[:rwm]]`.
pub(super) fn mapping(text: &str) -> Result<DeviceMapping, String> {
    let is_mode = |text: &str| !text.is_empty() && text.bytes().all(|b| b"rwm".contains(&b));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, mode) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, second] if is_mode(second) => (*host, *host, *second),
        [host, container] => (*host, *container, "rwm"),
        [host, container, mode] => (*host, *container, *mode),
        _ => return Err(format!("invalid device specification: {text}")),
    };
    if host.is_empty() {
        return Err(format!("invalid device specification: {text}"));
    }
    if !is_mode(mode) {
        return Err(format!("bad mode specified: {mode}"));
    }
    if !container.starts_with('/') && container.contains('=') {
        return Err(format!("{container} is not an absolute path"));
    }
    Ok(DeviceMapping {
        path_on_host: host.into(),
        path_in_container: if container.is_empty() { host.into() } else { container.into() },
        cgroup_permissions: mode.into(),
    })
}

/// Whether `text` names a CDI device (`vendor.com/class=name`) and not a path.
pub(super) fn is_cdi(text: &str) -> bool {
    !text.starts_with('/')
        && text.split_once('=').is_some_and(|(kind, name)| kind.contains('/') && !name.is_empty())
}

/// `c 1:3 rwm`.
pub(super) fn cgroup_rule(text: &str) -> Result<String, String> {
    let bad = || format!("invalid device cgroup format '{text}'");
    let number =
        |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let mut words = text.split(' ');
    let (Some(kind), Some(numbers), Some(mode), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let good = ["a", "b", "c"].contains(&kind)
        && number(major)
        && number(minor)
        && (1..=3).contains(&mode.len())
        && mode.bytes().all(|b| b"rwm".contains(&b));
    if good { Ok(text.to_owned()) } else { Err(bad()) }
}

fn device_and_value(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text.split_once(':').ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

/// `/dev/x:10mb`.
pub(super) fn bps(text: &str) -> Result<ThrottleDevice, String> {
    let (path, value) = device_and_value(text)?;
    let bad = || {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
    };
    let rate =
        values::bytes(value).ok().and_then(|rate| u64::try_from(rate).ok()).ok_or_else(bad)?;
    Ok(ThrottleDevice { path: path.into(), rate })
}

/// `/dev/x:1000`.
pub(super) fn iops(text: &str) -> Result<ThrottleDevice, String> {
    let (path, value) = device_and_value(text)?;
    let rate = value.parse().map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )
    })?;
    Ok(ThrottleDevice { path: path.into(), rate })
}

/// `/dev/x:500`.
pub(super) fn weight(text: &str) -> Result<WeightDevice, String> {
    let (path, value) = device_and_value(text)?;
    match value.parse() {
        Ok(weight) if weight == 0 || (10..=1000).contains(&weight) => {
            Ok(WeightDevice { path: path.into(), weight })
        }
        _ => Err(format!("invalid weight for device: {text}")),
    }
}

/// `all`, a number, or `count=2,device=0,capabilities=utility,driver=nvidia,options=a=b`.
pub(super) fn gpus(text: &str) -> Result<Value, String> {
    let mut request = json!({"Driver": "", "Count": 0, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {}});
    let mut counted = false;
    for field in csv(text) {
        let (key, value) = field.split_once('=').unwrap_or(("count", &field));
        match key {
            "count" => {
                request["Count"] = count(value)?.into();
                counted = true;
            }
            "device" => request["DeviceIDs"] = value.split(',').collect(),
            "driver" => request["Driver"] = value.into(),
            "capabilities" => {
                let all: Vec<&str> = value.split(',').chain(std::iter::once("gpu")).collect();
                request["Capabilities"] = json!([all]);
            }
            "options" => {
                for option in csv(value) {
                    let (name, text) = option.split_once('=').unwrap_or((&option, ""));
                    request["Options"][name] = text.into();
                }
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !counted && request["DeviceIDs"].is_null() {
        request["Count"] = 1.into();
    }
    Ok(request)
}

fn count(text: &str) -> Result<i64, String> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_| {
        format!(
            "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
        )
    })
}

/// The fields of one line of comma separated values; quotes keep commas together.
pub(super) fn csv(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields.last_mut().expect("never empty").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().expect("never empty").push(c),
        }
    }
    fields
}
