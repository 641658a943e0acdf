//! Reports as text, JSON, Markdown and HTML.

mod html;
mod markdown;
mod text;

pub use html::html;
pub use markdown::markdown;
pub use text::text;

use crate::prove::Audit;
use crate::report::{Evidence, Reading, Report, Verdict};

/// Writes a report as JSON.
#[must_use]
pub fn json(report: &Report) -> String {
    // A report is strings and lists of strings: there is nothing in it that JSON cannot hold.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes an audit as JSON.
#[must_use]
pub fn audit_json(audit: &Audit) -> String {
    serde_json::to_string_pretty(audit).unwrap_or_default()
}

/// Writes an observation on one line.
#[must_use]
pub fn evidence(evidence: &Evidence) -> String {
    format!("{} = {}", evidence.place, line(&evidence.reading))
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::True => "yes",
        Verdict::False => "no",
        Verdict::Unknown => "unknown",
    }
}

/// A reading on one line.
fn line(reading: &Reading) -> String {
    match reading {
        Reading::Value(value) => {
            value.split('\n').collect::<Vec<_>>().join("; ").replace('\t', " ")
        }
        Reading::Unreadable(why) => format!("unreadable: {why}"),
    }
}

/// Cuts a line for reading, not for keeping.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Control characters of a container's making must not reach a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
