//! `state`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use types::oci::runtime::Status;

use super::{Globals, id};
use crate::args::Parsed;
use crate::error::Result;
use crate::sink;
use crate::state::{Dir, Record};

/// Prints the state document with runc's additions.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let dir = globals.find(id(parsed)?)?;
    let record = dir.record()?;
    let document = Document::new(&dir, &record, String::new());
    sink::out(&serde_json::to_string_pretty(&document).unwrap_or_default());
    Ok(0)
}

/// The document of `state` and of `list --format json`; the order of the fields is runc's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    pub(super) oci_version: &'a str,
    pub(super) id: &'a str,
    /// 0 when it has ended.
    pub(super) pid: i32,
    pub(super) status: Status,
    pub(super) bundle: &'a Path,
    pub(super) rootfs: &'a Path,
    pub(super) created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: &'a BTreeMap<String, String>,
    /// The user that made it; `state` leaves this empty.
    pub(super) owner: String,
}

impl<'a> Document<'a> {
    pub(super) fn new(dir: &'a Dir, record: &'a Record, owner: String) -> Self {
        let status = dir.status(record);
        Self {
            oci_version: &record.oci_version,
            id: dir.id(),
            pid: if status == Status::Stopped { 0 } else { record.pid },
            status,
            bundle: &record.bundle,
            rootfs: &record.rootfs,
            created: &record.created,
            annotations: &record.annotations,
            owner,
        }
    }
}
