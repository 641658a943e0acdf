//! The report: sections of facts, printed aligned or as JSON.

use std::fmt::Write as _;
use std::io;

/// Texts wider than this go on in the next line.
const WIDTH: usize = 100;

/// One thing that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// What was seen.
    Seen(String),
    /// Several of a kind; one line each.
    List(Vec<String>),
    /// Words that belong together; wrapped.
    Words(Vec<String>),
    /// The same, with their number before them.
    Counted(Vec<String>),
    /// Why nothing was seen.
    Unreadable(String),
}

impl Fact {
    /// A value, or the reason why it is not there.
    pub(crate) fn of(result: io::Result<String>) -> Self {
        match result {
            Ok(text) => Self::Seen(text),
            Err(error) => Self::Unreadable(reason(&error)),
        }
    }
}

/// An error in the words of the system, without Rust's `(os error N)`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// Reads a file whole; the reason of a failure names the file.
pub(crate) fn read(path: &str) -> io::Result<String> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{path}: {}", reason(&error)));
    let bytes = std::fs::read(path).map_err(named)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Sections in the order of looking.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sections: Vec<(&'static str, Vec<(String, Fact)>)>,
}

impl Report {
    /// Starts a section.
    pub(crate) fn section(&mut self, title: &'static str) {
        self.sections.push((title, Vec::new()));
    }

    /// Adds a fact to the section begun last.
    pub(crate) fn add(&mut self, label: impl Into<String>, fact: Fact) {
        if let Some((_, facts)) = self.sections.last_mut() {
            facts.push((label.into(), fact));
        }
    }

    /// Prints for a reader.
    pub(crate) fn text(&self) -> String {
        let labels = self.sections.iter().flat_map(|(_, facts)| facts.iter().map(|(l, _)| l.len()));
        let indent = labels.max().unwrap_or(0) + 4;
        let mut text = String::new();
        for (title, facts) in &self.sections {
            let _ = write!(text, "\n{title}\n");
            for (label, fact) in facts {
                let mut start = format!("  {label}");
                for line in fact.lines(WIDTH.saturating_sub(indent)) {
                    let _ = writeln!(text, "{start:<indent$}{line}");
                    start.clear();
                }
            }
        }
        text
    }

    /// Prints for a program: an object of sections, each an object of facts. A fact is a string, an array of strings, or
    /// `{"unreadable": REASON}`.
    pub(crate) fn json(&self) -> String {
        let sections = self.sections.iter().map(|(title, facts)| {
            let facts = facts
                .iter()
                .map(|(label, fact)| format!("{}: {}", quote(&key(label)), fact.json()));
            format!("  {}: {{\n    {}\n  }}", quote(&key(title)), join(facts, ",\n    "))
        });
        format!("{{\n{}\n}}", join(sections, ",\n"))
    }
}

fn join(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

/// `Root file system` → `root_file_system`
fn key(label: &str) -> String {
    label.to_lowercase().replace([' ', '-'], "_")
}

impl Fact {
    fn lines(&self, width: usize) -> Vec<String> {
        let lines = match self {
            Self::Seen(text) => vec![text.clone()],
            Self::List(items) => items.clone(),
            Self::Words(words) => wrap(words, width),
            Self::Counted(words) => {
                wrap(&[vec![format!("{}:", words.len())], words.clone()].concat(), width)
            }
            Self::Unreadable(why) => vec![format!("unreadable: {why}")],
        };
        if lines.is_empty() { vec!["none".to_owned()] } else { lines }
    }

    fn json(&self) -> String {
        match self {
            Self::Seen(text) => quote(text),
            Self::List(items) | Self::Words(items) | Self::Counted(items) => {
                format!("[{}]", join(items.iter().map(|item| quote(item)), ", "))
            }
            Self::Unreadable(why) => format!("{{\"unreadable\": {}}}", quote(why)),
        }
    }
}

fn wrap(words: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}

/// A JSON string (RFC 8259).
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let mut report = Report::default();
        report.section("Root file system");
        report.add("type", Fact::Seen("over\"lay".to_owned()));
        report.add("long label", Fact::Words(vec!["w".repeat(50), "v".repeat(50), "u".to_owned()]));
        report.add("limits", Fact::Unreadable("not mounted".to_owned()));
        report.add("groups", Fact::List(Vec::new()));
        report
    }

    #[test]
    fn text_is_aligned_and_wrapped() {
        let (w, v) = ("w".repeat(50), "v".repeat(50));
        let want = format!(
            "\nRoot file system\n  type        over\"lay\n  long label  {w}\n              {v} u\n  limits      \
             unreadable: not mounted\n  groups      none\n"
        );
        assert_eq!(sample().text(), want);
    }

    #[test]
    fn json_quotes_and_names_what_is_unreadable() {
        let json = sample().json();
        assert!(json.contains(r#""root_file_system": {"#), "{json}");
        assert!(json.contains(r#""type": "over\"lay""#), "{json}");
        assert!(json.contains(r#""limits": {"unreadable": "not mounted"}"#), "{json}");
        assert!(json.contains(r#""groups": []"#), "{json}");
        assert_eq!(quote("a\\\u{1}\n"), r#""a\\\u0001\n""#);
    }

    #[test]
    fn a_missing_file_is_named_with_the_reason() {
        let fact = Fact::of(read("/no/such/file"));
        let want = "/no/such/file: no such file or directory";
        assert_eq!(fact, Fact::Unreadable(want.to_owned()));
    }
}
