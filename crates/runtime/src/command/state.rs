//! `state`.

use serde_json::json;

use super::{Globals, id};
use crate::args::Parsed;
use crate::error::Result;
use crate::sink;
use crate::state::{Dir, Record};

/// Prints the state document with runc's additions.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(id(parsed)?)?;
    let record = dir.record()?;
    let text = serde_json::to_string_pretty(&document(&dir, &record)).unwrap_or_default();
    sink::out(&format!("{text}\n"));
    Ok(0)
}

/// The document of `state` and of `list --format json`.
pub(super) fn document(dir: &Dir, record: &Record) -> serde_json::Value {
    let state = dir.state(record);
    json!({
        "ociVersion": state.oci_version,
        "id": state.id,
        "pid": state.pid,
        "status": state.status,
        "bundle": state.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": state.annotations,
        "owner": if dir.owner() == 0 { "root".to_owned() } else { dir.owner().to_string() },
    })
}
