//! For a document.

use std::fmt::Write as _;

use super::{line, printable, verdict};
use crate::report::Report;

/// Writes a report as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = format!("# {}\n\nLinux {}\n", cell(&report.subject), cell(&report.kernel));
    for section in &report.sections {
        let _ = write!(out, "\n## {}\n", section.title);
        for claim in &section.claims {
            let _ = write!(out, "\n**{}: {}.**", cell(&claim.text), verdict(claim.verdict));
            if !claim.finding.is_empty() {
                let _ = write!(out, " {}.", cell(&claim.finding));
            }
            let _ = write!(out, " {}\n\n", claim.explanation);
            for evidence in &claim.evidence {
                let value = cell(&line(&evidence.reading));
                let _ = writeln!(out, "- `{}`: {value}", evidence.place.replace('`', "'"));
            }
            let _ = write!(out, "\n```sh\n{}\n```\n", printable(&claim.check));
        }
        for table in section.tables.iter().filter(|table| !table.rows.is_empty()) {
            let _ = write!(out, "\n{}\n\n", table.title);
            let row = |cells: &[String]| {
                let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
                format!("| {} |\n", cells.join(" | "))
            };
            out.push_str(&row(&table.head));
            let _ = writeln!(out, "|{}", "---|".repeat(table.head.len()));
            table.rows.iter().for_each(|cells| out.push_str(&row(cells)));
        }
    }
    out
}

/// Text that means nothing in Markdown.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        if "\\`*_<>|[]#".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
