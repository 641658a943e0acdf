//! The engine's views as the API's JSON.

pub(crate) mod container;
pub(crate) mod event;
pub(crate) mod image;
pub(crate) mod info;
pub(crate) mod network;
pub(crate) mod stats;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::Timestamp;

/// Prints a time as Go does; none is Go's zero time.
pub(crate) fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || api::time::NEVER.to_owned(),
        |time| api::time::rfc3339(time.as_nanosecond()),
    )
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// `GraphDriver.Data` of overlay2; layers are joined as mount(8) wants them.
fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, merged: &Path) -> api::GraphDriver {
    let mut data = BTreeMap::from([
        ("UpperDir".to_owned(), path(upper)),
        ("WorkDir".to_owned(), path(work)),
        ("MergedDir".to_owned(), path(merged)),
    ]);
    if !lower.is_empty() {
        let lower: Vec<String> = lower.iter().map(|dir| path(dir)).collect();
        data.insert("LowerDir".to_owned(), lower.join(":"));
    }
    api::GraphDriver { data: Some(data), name: "overlay2".to_owned() }
}

/// An empty map as `null`, which is how Docker prints maps that were never made.
fn or_null<K: Ord, V>(map: BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}
