//! `--env-file` and `--label-file`.

use std::collections::BTreeMap;
use std::fs;

use crate::error::CommandError;

/// Reads the lines of `path`; a name alone takes the client's own value when `take_own`.
fn read(path: &str, take_own: bool) -> Result<Vec<String>, CommandError> {
    let bytes = fs::read(path).map_err(|error| CommandError::file("open", path, error))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CommandError::plain(format!("env file {path} contains invalid utf8 bytes")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line, None),
        };
        let name = name.trim_start();
        let kind = if take_own { "variable" } else { "label" };
        if name.contains(char::is_whitespace) {
            return Err(CommandError::plain(format!("{kind} '{name}' contains whitespaces")));
        }
        if name.is_empty() {
            return Err(CommandError::plain(format!("no variable name on line '{line}'")));
        }
        match (value, take_own) {
            (Some(value), _) => lines.push(format!("{name}={value}")),
            (None, true) => {
                lines.extend(std::env::var(name).ok().map(|value| format!("{name}={value}")));
            }
            (None, false) => lines.push(name.to_owned()),
        }
    }
    Ok(lines)
}

/// The environment: the files' variables, then the flags'.
pub(crate) fn environment(files: &[String], flags: &[String]) -> Result<Vec<String>, CommandError> {
    let mut all = Vec::new();
    for path in files {
        all.extend(read(path, true)?);
    }
    all.extend_from_slice(flags);
    Ok(all)
}

/// The labels: the files', then the flags'.
pub(crate) fn labels(
    files: &[String],
    flags: &[String],
) -> Result<BTreeMap<String, String>, CommandError> {
    let mut all = BTreeMap::new();
    for path in files {
        all.extend(read(path, false)?.iter().map(|line| pair(line)));
    }
    all.extend(flags.iter().map(|line| pair(line)));
    Ok(all)
}

/// `key=value`, or `key` with an empty value.
pub(crate) fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}
