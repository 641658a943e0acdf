//! The form of every answer: claims with their evidence.

use serde::Serialize;

/// What was found at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The value, as the kernel gave it, without the line feed at its end.
    Value(String),
    /// It could not be read, and why.
    Unreadable(String),
}

impl Reading {
    /// Returns the value.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match self {
            Reading::Value(value) => Some(value),
            Reading::Unreadable(_) => None,
        }
    }
}

/// One observation: a place and what was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// What it is about, such as `host`, `container`, `web`.
    pub of: String,
    /// A path, or a system call with its object.
    pub place: String,
    /// What was there.
    pub reading: Reading,
}

/// What follows from the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The claim holds.
    True,
    /// It does not.
    False,
    /// The evidence does not suffice; it says which part is missing.
    Unknown,
}

/// A sentence that can be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// A stable name for scripts, such as `pid.two_numbers`.
    pub id: String,
    /// The sentence.
    pub text: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// What follows.
    pub verdict: Verdict,
    /// What the evidence says, in words and numbers.
    pub finding: String,
    /// Why, in a sentence or two that are true whatever the verdict.
    pub explanation: String,
    /// What to type to see the same.
    pub check: String,
}

impl Claim {
    /// Makes a claim on which nothing is known yet.
    #[must_use]
    pub fn new(id: &str, text: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            text: text.into(),
            evidence: Vec::new(),
            verdict: Verdict::Unknown,
            finding: String::new(),
            explanation: String::new(),
            check: String::new(),
        }
    }

    /// Adds an observation.
    #[must_use]
    pub fn seen(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    /// Adds observations.
    #[must_use]
    pub fn all_seen(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// Says what follows: `None` is unknown.
    #[must_use]
    pub fn holds(mut self, holds: Option<bool>, finding: impl Into<String>) -> Self {
        self.verdict = match holds {
            Some(true) => Verdict::True,
            Some(false) => Verdict::False,
            None => Verdict::Unknown,
        };
        self.finding = finding.into();
        if holds.is_none() && self.finding.is_empty() {
            self.finding = self.unreadable();
        }
        self
    }

    /// Explains, and says how to see it.
    #[must_use]
    pub fn because(mut self, explanation: &str, check: impl Into<String>) -> Self {
        self.explanation = explanation.to_owned();
        self.check = check.into();
        self
    }

    /// Names what could not be read.
    fn unreadable(&self) -> String {
        let missing = self.evidence.iter().filter_map(|evidence| match &evidence.reading {
            Reading::Value(_) => None,
            Reading::Unreadable(why) => Some(format!("{}: {why}", evidence.place)),
        });
        missing.collect::<Vec<_>>().join("; ")
    }
}

impl Section {
    /// Makes an empty section.
    #[must_use]
    pub fn new(name: &str, title: &str) -> Self {
        Self { name: name.into(), title: title.into(), claims: Vec::new(), tables: Vec::new() }
    }
}

/// One experiment's part of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Its name on the command line, such as `namespaces`.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// Its claims, in the order of the story.
    pub claims: Vec<Claim>,
    /// Lists that belong to it: rows of equal length under a head.
    pub tables: Vec<Table>,
}

/// Facts side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// The heads of the columns.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// All that was asked about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How the subject is called.
    pub subject: String,
    /// The kernel's release, which decides what can be read.
    pub kernel: String,
    /// The parts.
    pub sections: Vec<Section>,
}
