//! What a check came to, and the tables of it.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;

/// What one check came to in one place.
pub enum Cell {
    /// It is not made there.
    Absent,
    /// It holds.
    Holds,
    /// It holds, though it does not with Debian's runc in the same place.
    BetterThanControl(String),
    /// It does not hold with Debian's runc in the same place either: the reason lies outside.
    ControlFailsToo(String),
    /// It does not hold.
    Fails(String),
}

/// Makes a check with ours and, always or when ours fails, with the control; tells on stdout what came of it.
pub fn judge(
    name: &str,
    always: bool,
    ours: impl Fn() -> Result<String>,
    control: impl Fn() -> Result<String>,
) -> Cell {
    let line = |error: &anyhow::Error| one_line(&format!("{error:#}"));
    let began = Instant::now();
    let found = ours();
    let took = began.elapsed().as_secs_f64();
    match found {
        Ok(evidence) => {
            println!("ok {name} ({took:.1} s): {}", one_line(&evidence));
            match always.then(control) {
                Some(Err(error)) => {
                    println!("   runc fails: {}", line(&error));
                    Cell::BetterThanControl(line(&error))
                }
                _ => Cell::Holds,
            }
        }
        Err(error) => {
            if let Err(theirs) = control() {
                println!("-- {name}: {}\n   runc fails here too: {}", line(&error), line(&theirs));
                return Cell::ControlFailsToo(line(&theirs));
            }
            println!("FAILED {name} ({took:.1} s): {}", line(&error));
            Cell::Fails(line(&error))
        }
    }
}

fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(260).collect()
}

/// Checks by places.
pub struct Table {
    title: &'static str,
    rows: Vec<(&'static str, &'static str)>,
    columns: Vec<(&'static str, Vec<Cell>)>,
}

impl Table {
    /// Starts a table with these rows (title and evidence) and no column.
    pub fn new(title: &'static str, rows: &[(&'static str, &'static str)]) -> Self {
        Self { title, rows: rows.to_vec(), columns: Vec::new() }
    }

    /// Adds a place.
    pub fn push(&mut self, title: &'static str, cells: Vec<Cell>) {
        self.columns.push((title, cells));
    }

    /// Tells whether there is no place.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Names each check that was made, with what is wrong with it; those that fail for runc too count as made.
    pub fn results(&self) -> Vec<(String, Result<()>)> {
        let mut results = Vec::new();
        for (column, cells) in &self.columns {
            for ((title, _), cell) in self.rows.iter().zip(cells) {
                let name = format!("{column}: {title}");
                match cell {
                    Cell::Absent => {}
                    Cell::Fails(why) => results.push((name, Err(anyhow::anyhow!("{why}")))),
                    _ => results.push((name, Ok(()))),
                }
            }
        }
        results
    }

    /// Writes the table in Markdown, with a note for each cell that is not a plain yes.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n| what | evidence |", self.title);
        for (title, _) in &self.columns {
            let _ = write!(text, " {title} |");
        }
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(self.columns.len()));
        let mut notes = Vec::new();
        for (n, (title, evidence)) in self.rows.iter().enumerate() {
            if self.columns.iter().all(|(_, cells)| matches!(cells[n], Cell::Absent)) {
                continue;
            }
            let _ = write!(text, "| {title} | {evidence} |");
            for (column, cells) in &self.columns {
                let (word, why) = match &cells[n] {
                    Cell::Absent => ("", None),
                    Cell::Holds => ("yes", None),
                    Cell::BetterThanControl(why) => ("yes, runc not", Some(why)),
                    Cell::ControlFailsToo(why) => ("neither runc", Some(why)),
                    Cell::Fails(why) => ("**no**", Some(why)),
                };
                let _ = write!(text, " {word} |");
                if let Some(why) = why {
                    notes.push(format!("- {column}, {title}: {word}: `{}`", why.replace('`', "'")));
                }
            }
            text.push('\n');
        }
        for note in &notes {
            let _ = write!(text, "\n{note}");
        }
        text.push('\n');
        text
    }
}
