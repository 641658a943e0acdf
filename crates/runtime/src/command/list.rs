//! `list`.

use super::{Globals, state};
use crate::args::{Opt, Parsed, switch, valued};
use crate::error::{Error, Result};
use crate::sink;
use crate::state::{Dir, Record};

/// The options.
pub(super) const OPTIONS: &[Opt] = &[
    valued("format", 'f', "'table' or 'json' (default: \"table\")"),
    switch("quiet", 'q', "print ids only"),
];

/// Prints the containers of the root directory.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let containers: Vec<(Dir, Record)> = Dir::all(globals.root()?)
        .into_iter()
        .filter_map(|dir| {
            let record = dir.load().ok().flatten()?;
            Some((dir, record))
        })
        .collect();
    if parsed.is_on("quiet") {
        sink::out(&containers.iter().map(|(dir, _)| format!("{}\n", dir.id())).collect::<String>());
        return Ok(0);
    }
    match parsed.value("format").unwrap_or("table") {
        "table" => sink::out(&table(&containers)),
        "json" => {
            let list: Vec<_> = containers.iter().map(|(dir, r)| state::document(dir, r)).collect();
            sink::out(&format!("{}\n", serde_json::Value::from(list)));
        }
        _ => return Err(Error::Usage("invalid format option".into())),
    }
    Ok(0)
}

fn table(containers: &[(Dir, Record)]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    for (dir, record) in containers {
        let document = state::document(dir, record);
        let text = |key: &str| match &document[key] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        rows.push(["id", "pid", "status", "bundle", "created", "owner"].map(text));
    }
    let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let line = |row: &[String; 6]| {
        let mut line = String::new();
        for (at, width) in widths.iter().enumerate() {
            line.push_str(&format!("{:width$}   ", row[at]));
        }
        format!("{line}{}\n", row[5])
    };
    rows.iter().map(line).collect()
}
