//! `daemon.json`, and its union with the flags.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use types::container::Ulimit;

use crate::flags::{FileRuntime, Flags, Options};

/// Where the file is when no flag says otherwise; it may be absent there.
const DEFAULT_FILE: &str = "/etc/belljar/daemon.json";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("parse `{}`", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("unable to configure the daemon with file {}: the following directives don't match any configuration option: {}", path.display(), keys.join(", "))]
    Unknown { path: PathBuf, keys: Vec<String> },
    #[error("unable to configure the daemon with file {}: invalid value of `{key}`", path.display())]
    Value { path: PathBuf, key: String, source: serde_json::Error },
    #[error("unable to configure the daemon with file {}: the following directives are specified both as a flag and in the configuration file: {}", path.display(), conflicts.join(", "))]
    Both { path: PathBuf, conflicts: Vec<String> },
    #[error("invalid value of `--{flag}`: `{value}`: {want}")]
    Flag { flag: &'static str, value: String, want: &'static str },
}

/// Unites flags and file.
pub(crate) fn read(flags: &Flags) -> Result<Options, ConfigError> {
    let said = with_lists(flags)?;
    let path = flags.config_file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match std::fs::read(&path) {
        Ok(bytes) => unite(&path, &said, parse(&path, &bytes)?),
        Err(e) if e.kind() == ErrorKind::NotFound && flags.config_file.is_none() => Ok(said),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

/// Reads the file's keys one by one, so that each bad one is named.
fn parse(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    let path = || path.to_owned();
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let map: Map<String, Value> = serde_json::from_slice(bytes)
        .map_err(|source| ConfigError::Parse { path: path(), source })?;
    let mut keys = Vec::new();
    for (key, value) in &map {
        let one = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
        if let Err(source) = serde_json::from_value::<Options>(one) {
            if !source.to_string().starts_with(&format!("unknown field `{key}`")) {
                return Err(ConfigError::Value { path: path(), key: key.clone(), source });
            }
            keys.push(key.clone());
        }
    }
    if keys.is_empty() { Ok(map) } else { Err(ConfigError::Unknown { path: path(), keys }) }
}

fn unite(path: &Path, said: &Options, file: Map<String, Value>) -> Result<Options, ConfigError> {
    let source = |source| ConfigError::Parse { path: path.to_owned(), source };
    let Value::Object(mut all) = serde_json::to_value(said).map_err(source)? else {
        return Ok(said.clone());
    };
    let mut conflicts = Vec::new();
    for (key, value) in file {
        match (all.get_mut(&key), value) {
            (None, value) => {
                all.insert(key, value);
            }
            // Docker lets runtimes of both sides stand side by side.
            (Some(Value::Object(ours)), Value::Object(theirs)) if key == "runtimes" => {
                for (name, runtime) in theirs {
                    ours.entry(name).or_insert(runtime);
                }
            }
            (Some(flag), file) => {
                conflicts.push(format!(
                    "{key}: (from flag: {}, from file: {})",
                    plain(flag),
                    plain(&file)
                ));
            }
        }
    }
    if !conflicts.is_empty() {
        return Err(ConfigError::Both { path: path.to_owned(), conflicts });
    }
    serde_json::from_value(Value::Object(all)).map_err(source)
}

/// Prints a value as Go's `%v` does, near enough.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

/// Turns the flags that the file writes as objects into that form.
fn with_lists(flags: &Flags) -> Result<Options, ConfigError> {
    let mut options = flags.options.clone();
    if !flags.add_runtime.is_empty() {
        let runtimes = pairs("add-runtime", &flags.add_runtime)?;
        let runtime = |path: String| FileRuntime { path: path.into(), args: Vec::new() };
        options.runtimes = Some(runtimes.into_iter().map(|(k, v)| (k, runtime(v))).collect());
    }
    if !flags.log_opt.is_empty() {
        options.log_opts = Some(pairs("log-opt", &flags.log_opt)?);
    }
    if !flags.default_ulimit.is_empty() {
        let limits = pairs("default-ulimit", &flags.default_ulimit)?;
        options.default_ulimits =
            Some(limits.into_iter().map(|(k, v)| ulimit(k, &v)).collect::<Result<_, _>>()?);
    }
    Ok(options)
}

fn pairs(flag: &'static str, list: &[String]) -> Result<BTreeMap<String, String>, ConfigError> {
    list.iter()
        .map(|text| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                Ok((key.to_owned(), value.to_owned()))
            }
            _ => Err(ConfigError::Flag { flag, value: text.clone(), want: "want KEY=VALUE" }),
        })
        .collect()
}

fn ulimit(name: String, value: &str) -> Result<(String, Ulimit), ConfigError> {
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    match (soft.parse(), hard.parse()) {
        (Ok(soft), Ok(hard)) => Ok((name.clone(), Ulimit { name, hard, soft })),
        _ => Err(ConfigError::Flag {
            flag: "default-ulimit",
            value: format!("{name}={value}"),
            want: "want NAME=SOFT[:HARD]",
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn read_with(args: &[&str], file: &str) -> Result<Options, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.json");
        std::fs::write(&path, file).unwrap();
        let mut all = vec!["belljard", "--config-file", path.to_str().unwrap()];
        all.extend(args);
        let flags = Flags::try_parse_from(all).unwrap();
        read(&flags).map_err(|e| types::Chain(&e).to_string().replace(path.to_str().unwrap(), "F"))
    }

    #[test]
    fn flags_and_file_unite() {
        let options = read_with(
            &["-H", "unix:///a", "-H", "tcp://127.0.0.1:1", "-D", "--icc=false", "--add-runtime", "a=/a"],
            r#"{"data-root":"/d","registry-mirrors":["http://m"],"runtimes":{"b":{"path":"/b","runtimeArgs":["-x"]}},
                "default-ulimits":{"nofile":{"Name":"nofile","Hard":2,"Soft":1}},"log-opts":{"max-size":"1m"}}"#,
        )
        .unwrap();
        assert_eq!(options.hosts.unwrap().len(), 2);
        assert_eq!((options.debug, options.icc), (Some(true), Some(false)));
        assert_eq!(options.data_root, Some("/d".into()));
        assert_eq!(options.runtimes.unwrap().len(), 2);
        assert_eq!(options.default_ulimits.unwrap()["nofile"].hard, 2);
        assert_eq!(read_with(&[], "  \n").unwrap(), Options::default());
    }

    #[test]
    fn errors_name_what_is_wrong() {
        assert_eq!(
            read_with(&[], r#"{"foo":1,"bridge":"b","bar":2}"#).unwrap_err(),
            "unable to configure the daemon with file F: the following directives don't match any configuration option: bar, foo"
        );
        assert_eq!(
            read_with(&["-H", "unix:///a"], r#"{"hosts":["unix:///b"]}"#).unwrap_err(),
            "unable to configure the daemon with file F: the following directives are specified both as a flag and in the configuration file: hosts: (from flag: [unix:///a], from file: [unix:///b])"
        );
        let wrong = read_with(&[], r#"{"debug":"yes"}"#).unwrap_err();
        assert!(wrong.contains("invalid value of `debug`"), "{wrong}");
        let broken = read_with(&[], "{").unwrap_err();
        assert!(broken.starts_with("parse `F`: EOF"), "{broken}");
        let flag = read_with(&["--default-ulimit", "nofile=x"], "{}").unwrap_err();
        assert_eq!(flag, "invalid value of `--default-ulimit`: `nofile=x`: want NAME=SOFT[:HARD]");
    }

    #[test]
    fn a_file_that_was_asked_for_must_exist() {
        let flags = Flags::try_parse_from(["belljard", "--config-file", "/nonexistent/x"]).unwrap();
        assert!(matches!(read(&flags), Err(ConfigError::Read { .. })));
    }
}
