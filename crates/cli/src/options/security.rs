//! `--security-opt` and `--storage-opt`.

use std::collections::BTreeMap;
use std::fs;

use crate::document::Document;
use crate::error::CommandError;

/// The security options as the engine takes them, and whether the system paths stay open.
pub(super) struct Security {
    pub(super) options: Vec<String>,
    pub(super) system_paths_open: bool,
}

/// Reads the options; a seccomp profile is the client's file and is sent along.
///
/// # Errors
/// Docker's words.
pub(super) fn options(flags: &[String]) -> Result<Security, CommandError> {
    let mut security = Security { options: Vec::new(), system_paths_open: false };
    for flag in flags {
        if flag == "systempaths=unconfined" {
            security.system_paths_open = true;
            continue;
        }
        let cut = flag.split_once('=').or_else(|| flag.split_once(':'));
        match cut {
            None if flag == "no-new-privileges" => security.options.push(flag.clone()),
            None => return Err(CommandError::plain(format!("invalid --security-opt: \"{flag}\""))),
            Some(("seccomp", profile)) if profile != "unconfined" && profile != "builtin" => {
                security.options.push(format!("seccomp={}", seccomp(profile)?));
            }
            Some(_) => security.options.push(flag.clone()),
        }
    }
    Ok(security)
}

fn seccomp(path: &str) -> Result<String, CommandError> {
    let bytes = fs::read(path).map_err(|error| {
        let cause = CommandError::file("open", path, error);
        CommandError::plain(format!("opening seccomp profile ({path}) failed: {cause}"))
    })?;
    let profile: Document = serde_json::from_slice(&bytes).map_err(|error| {
        CommandError::plain(format!("compacting json for seccomp profile ({path}) failed: {error}"))
    })?;
    Ok(profile.compact())
}

/// `key=value` storage options.
///
/// # Errors
/// Docker's words.
pub(super) fn storage(flags: &[String]) -> Result<Option<BTreeMap<String, String>>, CommandError> {
    let pair = |flag: &String| {
        let (key, value) =
            flag.split_once('=').ok_or_else(|| CommandError::plain("invalid storage option"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    let all: BTreeMap<_, _> = flags.iter().map(pair).collect::<Result<_, CommandError>>()?;
    Ok((!all.is_empty()).then_some(all))
}
