//! An audit of isolation: facts as the kernel has them now, not what a configuration promised.
//!
//! Each check is one question with evidence, how much a failure matters, and what to change. `Fail` is a fact, not a verdict on the user: a
//! container that was started with `--privileged` fails many of them because that is what it asked for.

mod escape;
mod rights;
mod views;

use serde::Serialize;

use crate::host::Host;
use crate::report::{Evidence, Reading};
use crate::subject::Subject;

/// How much a failure matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It makes another attack easier.
    Low,
    /// It takes a layer of protection away.
    Medium,
    /// Whoever controls the process controls the host, or is one step from it.
    High,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is protected in this respect.
    Pass,
    /// It is not.
    Fail,
    /// The evidence could not be read; that is no pass.
    Unknown,
}

/// One question with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name, such as `caps.dangerous`.
    pub id: String,
    /// What is asked for, as a sentence that is true when it passes.
    pub title: String,
    /// How much it matters.
    pub severity: Severity,
    /// What came out.
    pub outcome: Outcome,
    /// What was found.
    pub finding: String,
    /// What to change.
    pub remedy: String,
    /// Where it is asked for: a section of the CIS Docker Benchmark, a CVE.
    pub reference: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

impl Check {
    fn new(id: &str, severity: Severity, title: &str, reference: &str) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            severity,
            outcome: Outcome::Unknown,
            finding: String::new(),
            remedy: String::new(),
            reference: reference.into(),
            evidence: Vec::new(),
        }
    }

    fn seen(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// `None` is unknown, and names what could not be read.
    fn passes(mut self, passes: Option<bool>, finding: impl Into<String>, remedy: &str) -> Self {
        self.outcome = match passes {
            Some(true) => Outcome::Pass,
            Some(false) => Outcome::Fail,
            None => Outcome::Unknown,
        };
        self.finding = finding.into();
        self.remedy = remedy.into();
        if passes.is_none() && self.finding.is_empty() {
            let missing = self.evidence.iter().filter_map(|one| match &one.reading {
                Reading::Unreadable(why) => Some(format!("{}: {why}", one.place)),
                Reading::Value(_) => None,
            });
            self.finding = missing.collect::<Vec<_>>().join("; ");
        }
        self
    }
}

/// All answers about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// How the subject is called.
    pub subject: String,
    /// The kernel's release.
    pub kernel: String,
    /// The answers; the most severe failures first.
    pub checks: Vec<Check>,
}

impl Audit {
    /// Returns the failures and unknowns of at least a severity: what an exit status is about.
    pub fn failures(&self, least: Severity) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(move |check| check.outcome != Outcome::Pass && check.severity >= least)
    }
}

/// Asks every question about a subject.
#[must_use]
pub fn prove(host: &Host, subject: &Subject) -> Audit {
    let kernel = host.text(host.proc("sys/kernel/osrelease")).unwrap_or_default();
    let mut checks = rights::checks(host, subject);
    checks.extend(views::checks(host, subject));
    checks.extend(escape::checks(host, subject));
    checks.sort_by_key(|check| (rank(check.outcome), std::cmp::Reverse(check.severity)));
    Audit { subject: subject.label.clone(), kernel: kernel.trim().to_owned(), checks }
}

fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Fail => 0,
        Outcome::Unknown => 1,
        Outcome::Pass => 2,
    }
}
