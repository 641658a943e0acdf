//! `prove`.

use std::fmt::Write as _;

use xray::Host;
use xray::prove::{Audit, Check, Outcome, Severity, prove};

use crate::client::Client;
use crate::error::CommandError;
use crate::format::table;
use crate::subjects;
use crate::ui::Ui;

/// Audit the isolation of a container or any process by what the kernel says
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show the evidence and what to change for each check, not only for those that failed
    #[arg(short, long)]
    all: bool,
    /// Exit with status 1 if a check of at least this severity did not pass ('low', 'medium' or 'high')
    #[arg(long, value_name = "string", default_value = "high")]
    fail_on: String,
    /// Format of the answer: 'text' or 'json'
    #[arg(long, value_name = "string", default_value = "text", hide_default_value = true)]
    format: String,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Prints the audit; the exit status says whether it passed.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let least = match args.fail_on.as_str() {
        "low" => Severity::Low,
        "medium" => Severity::Medium,
        "high" => Severity::High,
        other => {
            return Err(CommandError::plain(format!(
                "unknown severity `{other}`\n\nhint: low, medium or high"
            )));
        }
    };
    let host = Host::default();
    let subject = subjects::find(&host, client, &args.words[0]).await?;
    let audit = prove(&host, &subject);
    if !subject.is_same(&host) {
        return Err(CommandError::plain(format!("{} ended while it was looked at", subject.label)));
    }
    match args.format.as_str() {
        "text" => ui.data(text(&audit, args.all))?,
        "json" => ui.line(xray::render::audit_json(&audit))?,
        other => {
            return Err(CommandError::plain(format!(
                "unknown format `{other}`\n\nhint: text or json"
            )));
        }
    }
    Ok(u8::from(audit.failures(least).next().is_some()))
}

fn text(audit: &Audit, all: bool) -> String {
    let mut lines = vec!["RESULT\tSEVERITY\tCHECK\tFOUND".to_owned()];
    lines.extend(audit.checks.iter().map(|check| {
        let found: String = check.finding.chars().take(80).collect();
        format!(
            "{}\t{}\t{}\t{}",
            result(check),
            severity(check.severity),
            check.title,
            clean(&found)
        )
    }));
    let mut out = table::align(&lines, table::WIDE);
    for check in audit.checks.iter().filter(|check| all || check.outcome != Outcome::Pass) {
        let _ = write!(out, "\n{} ({})", check.title, check.id);
        if !check.reference.is_empty() {
            let _ = write!(out, ", {}", check.reference);
        }
        let _ = writeln!(out, ": {}\n  {}", result(check), clean(&check.finding));
        for evidence in &check.evidence {
            let _ = writeln!(out, "  {}", clean(&xray::render::evidence(evidence)));
        }
        if check.outcome != Outcome::Pass {
            let _ = writeln!(out, "  to change it: {}", check.remedy);
        }
    }
    let count = |outcome| audit.checks.iter().filter(|check| check.outcome == outcome).count();
    let _ = writeln!(
        out,
        "\n{} passed, {} failed, {} unknown",
        count(Outcome::Pass),
        count(Outcome::Fail),
        count(Outcome::Unknown)
    );
    out
}

fn result(check: &Check) -> &'static str {
    match check.outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "FAIL",
        Outcome::Unknown => "unknown",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
    }
}

/// What a container chose must not steer the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
