//! What Docker and Podman are asked to do with the runtime beneath them. Each check reads evidence, and returns it.

mod isolation;
mod limits;
mod process;

use anyhow::Result;

use super::lane::{Kind, Lane};

/// One thing that an engine does through its runtime.
pub struct Check {
    /// What it is, as the table names it.
    pub title: &'static str,
    /// Where the evidence comes from.
    pub evidence: &'static str,
    /// The engines that have it.
    pub engines: &'static [Kind],
    /// Whether the short run of continuous integration contains it.
    pub short: bool,
    /// Does it.
    pub probe: fn(&Lane) -> Result<String>,
}

const BOTH: &[Kind] = &[Kind::Docker, Kind::Podman];

const fn check(
    title: &'static str,
    evidence: &'static str,
    probe: fn(&Lane) -> Result<String>,
) -> Check {
    Check { title, evidence, engines: BOTH, short: false, probe }
}

impl Check {
    const fn short(mut self) -> Self {
        self.short = true;
        self
    }

    const fn only(mut self, engines: &'static [Kind]) -> Self {
        self.engines = engines;
        self
    }
}

/// Returns every check.
pub fn all() -> impl Iterator<Item = &'static Check> {
    process::CHECKS.iter().chain(limits::CHECKS).chain(isolation::CHECKS)
}
