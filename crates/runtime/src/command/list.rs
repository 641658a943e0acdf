//! `list`.

use super::state::Document;
use super::{Globals, state};
use crate::args::{Opt, Parsed, switch, valued};
use crate::error::{Error, Result, message};
use crate::sink;
use crate::state::{Dir, Record};

/// The options.
pub(super) const OPTIONS: &[Opt] = &[
    valued("format", 'f', "'table' or 'json' (default: \"table\")"),
    switch("quiet", 'q', "print ids only"),
];

/// The narrowest column, and the space after each.
const NARROWEST: usize = 12;
const GAP: usize = 3;

/// Prints the containers of the root directory. One that cannot be read is named on standard error and left out.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    let mut containers: Vec<(Dir, Record)> = Vec::new();
    for dir in Dir::all(globals.root()?) {
        match dir.load() {
            Ok(Some(record)) => containers.push((dir, record)),
            Ok(None) => {}
            Err(error) => sink::err(&format!("load container {}: {}", dir.id(), message(&error))),
        }
    }
    if parsed.is_on("quiet") {
        sink::out(&containers.iter().map(|(dir, _)| format!("{}\n", dir.id())).collect::<String>());
        return Ok(0);
    }
    let documents: Vec<Document<'_>> = containers
        .iter()
        .map(|(dir, record)| state::Document::new(dir, record, user(dir.owner())))
        .collect();
    match parsed.value("format").unwrap_or("table") {
        "table" => sink::out(&table(&documents)),
        // runc's answer for none is that of an empty list in Go.
        "json" if documents.is_empty() => sink::out("null\n"),
        "json" => {
            let text = serde_json::to_string(&documents).unwrap_or_default();
            sink::out(&format!("{text}\n"));
        }
        _ => return Err(Error::Usage("invalid format option".into())),
    }
    Ok(0)
}

fn table(documents: &[Document<'_>]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    for document in documents {
        rows.push([
            document.id.to_owned(),
            document.pid.to_string(),
            document.status.as_str().to_owned(),
            document.bundle.display().to_string(),
            document.created.to_owned(),
            document.owner.clone(),
        ]);
    }
    let longest = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(|at| (longest(at) + GAP).max(NARROWEST));
    let line = |row: &[String; 6]| {
        let mut line = String::new();
        for (at, width) in widths.iter().enumerate() {
            line.push_str(&format!("{:width$}", row[at]));
        }
        format!("{line}{}\n", row[5])
    };
    rows.iter().map(line).collect()
}

/// The name of a user, or `#` and the number.
fn user(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&passwd, uid).unwrap_or_else(|| format!("#{uid}"))
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_runcs() {
        assert_eq!(
            table(&[]),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
    }

    #[test]
    fn users_have_names() {
        let passwd = "root:x:0:0::/:/bin/sh\nbroken\nnobody:x:65534:65534::/:/bin/false\n";
        assert_eq!(name_in(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_in(passwd, 65534).as_deref(), Some("nobody"));
        assert_eq!(name_in(passwd, 7), None);
    }
}
