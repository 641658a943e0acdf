//! `cargo xtask conformance`: what shows from outside that the runtime takes runc's place.
//!
//! `engines` puts it under a private Docker, Podman and containerd; `differential` runs the same bundles under ours, runc and crun;
//! `outside` are the suites of others, run from where the user unpacked them. Each writes its own part of `docs/conformance.md`.

mod checks;
mod ctr;
mod differential;
mod engines;
mod lane;
mod outside;
mod verdict;

use std::fs;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::summary::Summary;
use crate::{packages, shell};
use engines::Extent;

const HELP: &str = "\
cargo xtask conformance [SECTION [WORD...]]

  engines [WORD...]        under Docker, Podman and containerd; only the engines whose names contain a WORD
  differential [WORD...]   beside runc here, and beside runc and crun in a guest with pure cgroup v2; only bundles with a WORD in their names
  here [WORD...]           the first half of it
  guest [WORD...]          the second half of it
  outside                  tells how the suites of others are run
  bats DIR [FILE...]       runc's integration tests, from runc's source at DIR
  crun-tests DIR           crun's tests, from crun's built source at DIR
  runtime-tools DIR        the validation programs of runtime-tools, from its built source at DIR

Without a section: engines, differential and outside. A whole section rewrites its part of docs/conformance.md.
";

/// `cargo xtask conformance [SECTION...]`.
pub fn run(args: &[String]) -> Result<()> {
    let (section, rest) =
        args.split_first().map_or(("", args), |(first, rest)| (first.as_str(), rest));
    if matches!(section, "help" | "--help" | "-h") {
        print!("{HELP}");
        return Ok(());
    }
    if !shell::is_root() {
        bail!("engines and containers need root\n\ntype: sudo -E cargo xtask conformance");
    }
    match section {
        "" => {
            let results = [engines(&[]), differential(&[]), outside::tell()];
            results.into_iter().collect()
        }
        "engines" => engines(rest),
        "differential" => differential(rest),
        "here" => comparisons(rest, &[Place::Here]).map(drop),
        "guest" => comparisons(rest, &[Place::Guest]).map(drop),
        "inside" => differential::inside(rest),
        "outside" => outside::tell(),
        "bats" | "crun-tests" | "runtime-tools" => outside::run(section, rest),
        _ => bail!("unknown section `{section}`\n\n{HELP}"),
    }
}

fn engines(filter: &[String]) -> Result<()> {
    let runtime = build::runtime()?;
    let tables = engines::run(&runtime, Extent::Full, filter)?;
    let mut text = format!(
        "Versions: {}. Each check ran with `belljar-runtime` and with Debian's runc in the same place; *neither runc* means that \
         runc does not pass there either, so that the reason lies outside of both.\n\n",
        engines::versions()
    );
    for table in &tables {
        text.push_str(&table.markdown());
        text.push('\n');
    }
    println!("{text}");
    if filter.is_empty() {
        write_part("engines", &text)?;
    }
    let mut failed = Vec::new();
    for (name, result) in tables.iter().flat_map(verdict::Table::results) {
        if result.is_err() {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("with runc, but not with ours: {}", failed.join("; "));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    Guest,
}

fn comparisons(filter: &[String], places: &[Place]) -> Result<Vec<differential::Comparison>> {
    packages::ensure(packages::CONFORMANCE)?;
    let runtime = build::runtime()?;
    let programs = runtime.parent().context("a directory of programs")?;
    let mut list = Vec::new();
    for place in places {
        list.push(match place {
            Place::Here => differential::here(programs, filter)?,
            Place::Guest => differential::in_guest(&runtime, filter)?,
        });
    }
    println!("{}", differential::markdown(&list));
    if filter.is_empty() && places.len() == 2 {
        write_part("differential", &differential::markdown(&list))?;
    }
    list.iter().try_for_each(differential::Comparison::verdict)?;
    Ok(list)
}

fn differential(filter: &[String]) -> Result<()> {
    comparisons(filter, &[Place::Here, Place::Guest]).map(drop)
}

/// What continuous integration runs: the bundles beside runc, and the short checks of every engine.
pub fn short(summary: &mut Summary) -> Result<()> {
    eprintln!("== conformance");
    packages::ensure(packages::CONFORMANCE)?;
    let runtime = build::runtime()?;
    let programs = runtime.parent().context("a directory of programs")?;
    let compared = differential::here(programs, &[]).and_then(|comparison| comparison.verdict());
    summary.step("the same bundles under ours and runc", compared);
    match engines::run(&runtime, Extent::Short, &[]) {
        Ok(tables) => {
            for (name, result) in tables.iter().flat_map(verdict::Table::results) {
                summary.step(&name, result);
            }
        }
        Err(error) => summary.step("engines", Err(error)),
    }
    Ok(())
}

/// Replaces a part of `docs/conformance.md`: what stands between its two markers.
fn write_part(name: &str, text: &str) -> Result<()> {
    let path = shell::root().join("docs/conformance.md");
    let page = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (head, rest) = page.split_once(&begin).with_context(|| format!("no marker of `{name}`"))?;
    let (_, tail) =
        rest.split_once(&end).with_context(|| format!("no closing marker of `{name}`"))?;
    fs::write(&path, format!("{head}{begin}\n{}\n\n{end}{tail}", text.trim()))?;
    Ok(())
}
