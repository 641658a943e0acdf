//! For a terminal; readable without colour.

use std::fmt::Write as _;

use super::{cut, line, printable, verdict};
use crate::report::{Claim, Report, Section, Table};

/// Writes a report as text, `width` columns wide.
#[must_use]
pub fn text(report: &Report, width: usize) -> String {
    let mut out = format!("{} on Linux {}\n", printable(&report.subject), report.kernel);
    for one in &report.sections {
        section(&mut out, one, width.max(40));
    }
    out
}

fn section(out: &mut String, section: &Section, width: usize) {
    let _ = write!(out, "\n{}\n{}\n", section.title, "─".repeat(section.title.chars().count()));
    let mut said = "";
    for one in &section.claims {
        claim(out, one, width, said == one.explanation);
        said = &one.explanation;
    }
    for one in &section.tables {
        table(out, one, width);
    }
}

/// An explanation that the claim before has given is not repeated.
fn claim(out: &mut String, claim: &Claim, width: usize, explained: bool) {
    let _ = writeln!(out, "\n{}: {}", printable(&claim.text), verdict(claim.verdict));
    if !claim.finding.is_empty() {
        wrap(out, &printable(&claim.finding), "  ", width);
    }
    for evidence in &claim.evidence {
        let text = printable(&line(&evidence.reading));
        let _ = writeln!(
            out,
            "  {}",
            cut(&format!("{} = {text}", printable(&evidence.place)), width - 2)
        );
    }
    if !explained {
        wrap(out, &claim.explanation, "  ", width);
    }
    let _ = writeln!(out, "  $ {}", printable(&claim.check));
}

fn wrap(out: &mut String, text: &str, indent: &str, width: usize) {
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.push_str(indent);
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    if column > 0 {
        out.push('\n');
    }
}

fn table(out: &mut String, table: &Table, width: usize) {
    if table.rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}:", table.title);
    let rows: Vec<Vec<String>> = std::iter::once(&table.head)
        .chain(&table.rows)
        .map(|row| row.iter().map(|cell| printable(cell)).collect())
        .collect();
    let columns = table.head.len();
    let wide = |n: usize| rows.iter().filter_map(|row| row.get(n)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|n| wide(n).unwrap_or(0)).collect();
    for row in &rows {
        let mut text = String::from("  ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", cut(text.trim_end(), width));
    }
}
