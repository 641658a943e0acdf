//! Counts what test runners print and tells whether it is what was expected.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// Where a test that cannot run here says so; one line per skip (`name: reason`).
pub const SKIPS: &str = "BELLJAR_SKIPS";

/// What a run of tests came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Tests that ran to their end.
    pub passed: usize,
    /// Tests that failed, and steps that count as one.
    pub failed: usize,
    /// Tests that could not run here.
    pub skipped: usize,
}

/// Gathers the counts of several steps.
pub struct Summary {
    counts: Counts,
    skips: PathBuf,
    failures: Vec<String>,
}

impl Summary {
    /// Starts with nothing counted; `dir` takes the list of skips.
    pub fn new(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let skips = dir.join("skips");
        std::fs::write(&skips, "")?;
        Ok(Self { counts: Counts::default(), skips, failures: Vec::new() })
    }

    /// Counts a step that is not a test runner as one test.
    pub fn step(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.counts.passed += 1,
            Err(error) => {
                eprintln!("FAILED {name}: {error:#}");
                self.failure(name.to_owned());
            }
        }
    }

    /// Runs a `cargo test` command, or one that prints the same, shows what it prints and counts its tests.
    pub fn cargo_test(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let mut seen = Counts::default();
        let status = self.watch(name, command, |summary, line| {
            if let Some(counts) = parse(line) {
                seen.passed += counts.passed;
                seen.failed += counts.failed;
                seen.skipped += counts.skipped;
            }
            if let Some(test) =
                line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED"))
            {
                summary.failures.push(format!("{name}: {test}"));
            }
        })?;
        self.counts.passed += seen.passed;
        self.counts.failed += seen.failed;
        self.counts.skipped += seen.skipped;
        if !status.success() && seen.failed == 0 {
            self.failure(format!("{name} ({status})"));
        }
        Ok(())
    }

    /// Runs a command, shows what it prints and hands on each line.
    pub fn watch(
        &mut self,
        name: &str,
        command: &mut Command,
        mut each: impl FnMut(&mut Self, &str),
    ) -> Result<ExitStatus> {
        eprintln!("== {name}");
        let mut child = command
            .env(SKIPS, &self.skips)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let out = child.stdout.take().context("a piped stdout")?;
        for line in BufReader::new(out).lines() {
            let line = line?;
            println!("{line}");
            each(self, &line);
        }
        Ok(child.wait()?)
    }

    /// Counts a step that cannot run here.
    pub fn skip(&mut self, why: &str) {
        self.counts.skipped += 1;
        println!("skipped {why}");
    }

    /// Counts skips that were noted on another machine.
    pub fn read_skips(&mut self, name: &str, file: &Path) -> Result<()> {
        let mut all = std::fs::OpenOptions::new().append(true).open(&self.skips)?;
        for line in std::fs::read_to_string(file)?.lines() {
            writeln!(all, "{name}: {line}")?;
        }
        Ok(())
    }

    /// Counts a failure that has been shown already.
    pub fn failure(&mut self, what: String) {
        self.counts.failed += 1;
        self.failures.push(what);
    }

    /// Prints the one line that closes a run, and fails unless it is as expected.
    pub fn close(mut self, expected_skips: usize) -> Result<()> {
        let skips = std::fs::read_to_string(&self.skips)?;
        let said = skips.lines().count();
        for line in skips.lines() {
            println!("skipped {line}");
        }
        // A test that says it skipped returned early, so its runner took it for a pass.
        self.counts.passed = self.counts.passed.saturating_sub(said);
        self.counts.skipped += said;
        for failure in &self.failures {
            println!("failed {failure}");
        }
        let Counts { passed, failed, skipped } = self.counts;
        let wrong_skips = skipped != expected_skips;
        if wrong_skips {
            println!("expected {expected_skips} skipped, found {skipped}");
        }
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        if failed > 0 || wrong_skips {
            bail!("not everything passed");
        }
        Ok(())
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn parse(line: &str) -> Option<Counts> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let number = |word: &str| -> Option<usize> {
        let before = rest.split(word).next()?;
        before.rsplit([' ', '.', ';']).find(|part| !part.is_empty())?.parse().ok()
    };
    Some(Counts {
        passed: number(" passed")?,
        failed: number(" failed")?,
        skipped: number(" ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_line_is_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(parse(line), Some(Counts { passed: 12, failed: 3, skipped: 1 }));
        assert_eq!(parse("running 3 tests"), None);
    }

    #[test]
    fn an_unexpected_skip_fails_the_run() {
        let dir = std::env::temp_dir().join(format!("belljar-summary-{}", std::process::id()));
        let mut summary = Summary::new(&dir).unwrap();
        summary.step("a", Ok(()));
        summary.step("b", Ok(()));
        std::fs::write(dir.join("skips"), "b: no root\n").unwrap();
        assert!(summary.close(0).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
