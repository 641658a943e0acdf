//! Section `differential`: the same bundles under ours, Debian's runc and Debian's crun, fact by fact.

mod bundle;
mod cases;
mod expected;
mod life;
mod observe;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use bundle::Site;
use life::{BROKE_OFF, Runtime};
use observe::Facts;

use crate::{build, packages, shell};

/// How long the guest may run, in seconds.
const PATIENCE: &str = "1500";

/// One difference between ours and a peer.
struct Difference {
    peer: String,
    case: String,
    fact: String,
    ours: String,
    theirs: String,
}

/// What a comparison came to, in one place.
#[derive(Default)]
pub struct Comparison {
    /// Where: `cgroup v1` or `cgroup v2`.
    pub place: String,
    /// Facts that were compared, by peer.
    pub facts: BTreeMap<String, usize>,
    /// Cases, by peer.
    pub cases: BTreeMap<String, usize>,
    /// How many differences each entry of the table took, by peer.
    meant: BTreeMap<(String, usize), usize>,
    /// The rest.
    differences: Vec<Difference>,
}

/// Runs the cases whose names contain one of the words, with the peers that can run here.
pub fn here(programs: &Path, filter: &[String]) -> Result<Comparison> {
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let find = |name: &str| {
        let dirs = [programs.to_owned(), "/usr/sbin".into(), "/usr/bin".into()];
        dirs.into_iter()
            .map(|dir: PathBuf| dir.join(name))
            .find(|path| path.exists())
            .with_context(|| format!("find `{name}`"))
    };
    let mut runtimes = vec![
        Runtime { name: "belljar", path: find("belljar-runtime")? },
        Runtime { name: "runc", path: find("runc")? },
    ];
    // It refuses a host whose cgroups are of both versions.
    if unified {
        runtimes.push(Runtime { name: "crun", path: find("crun")? });
    }
    let busybox =
        find("busybox").or_else(|_| Ok::<_, anyhow::Error>(PathBuf::from("/bin/busybox")))?;
    let mut other = Other::start()?;
    let unique = std::process::id();
    // Not /tmp: where that is mounted `nodev`, a root below it has no devices.
    let base = Path::new("/var/tmp").join(format!("belljar-differential-{unique}"));
    let site = Site {
        dir: base.join("bundle"),
        id: format!("differential-{unique}"),
        group: format!("/belljar-differential-{unique}"),
        other: other.0.id(),
    };
    fs::create_dir_all(&base)?;
    let place = if unified { "cgroup v2" } else { "cgroup v1" };
    let mut comparison = Comparison { place: place.into(), ..Comparison::default() };
    for case in cases::all() {
        if !filter.is_empty() && !filter.iter().any(|part| case.name.contains(part.as_str())) {
            continue;
        }
        let mut facts = Vec::new();
        for runtime in &runtimes {
            facts.push(life::live(runtime, case, &site, &busybox)?);
        }
        let mut line = String::new();
        for (peer, theirs) in runtimes.iter().zip(&facts).skip(1) {
            let new = comparison.compare(case.name, peer.name, &facts[0], theirs);
            let _ = write!(
                line,
                " {} {}",
                peer.name,
                if new == 0 { "ok".into() } else { format!("{new} differences") }
            );
        }
        println!("{}:{line} ({} facts)", case.name, facts[0].len());
    }
    other.end();
    fs::remove_dir_all(&base)?;
    comparison.tell();
    Ok(comparison)
}

impl Comparison {
    fn compare(&mut self, case: &str, peer: &str, ours: &Facts, theirs: &Facts) -> usize {
        let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        *self.facts.entry(peer.into()).or_default() += names.len();
        *self.cases.entry(peer.into()).or_default() += 1;
        let mut new = 0;
        // Where a life ended early, the rest of the other's is not a difference of its own.
        let early = [ours, theirs].iter().any(|facts| facts.contains_key(BROKE_OFF));
        for fact in names {
            if early && fact != BROKE_OFF && !(ours.contains_key(fact) && theirs.contains_key(fact))
            {
                continue;
            }
            let text =
                |facts: &Facts| facts.get(fact).map_or("(absent)", String::as_str).to_owned();
            let (ours, theirs) = (text(ours), text(theirs));
            if ours == theirs {
                continue;
            }
            if let Some(entry) = expected::find(peer, case, fact, &ours, &theirs) {
                *self.meant.entry((peer.into(), entry)).or_default() += 1;
                continue;
            }
            new += 1;
            self.differences.push(Difference {
                peer: peer.into(),
                case: case.into(),
                fact: fact.clone(),
                ours,
                theirs,
            });
        }
        new
    }

    fn tell(&self) {
        for one in &self.differences {
            let cut = |text: &str| text.chars().take(300).collect::<String>();
            println!(
                "DIFFERS {} | {} | {}\n    belljar: {}\n    {}: {}",
                one.peer,
                one.case,
                one.fact,
                cut(&one.ours),
                one.peer,
                cut(&one.theirs)
            );
        }
    }

    /// Fails when something differs that is not in the table.
    pub fn verdict(&self) -> Result<()> {
        let names: BTreeSet<&str> = self.differences.iter().map(|one| one.case.as_str()).collect();
        let count = self.differences.len();
        ensure!(
            count == 0,
            "{count} differences that are not in the table, in: {}",
            names.into_iter().collect::<Vec<_>>().join(", ")
        );
        ensure!(!self.cases.is_empty(), "no case was run");
        Ok(())
    }

    fn to_json(&self) -> Value {
        let meant: Vec<Value> =
            self.meant.iter().map(|((peer, entry), count)| json!([peer, entry, count])).collect();
        let differences: Vec<Value> = self
            .differences
            .iter()
            .map(|one| json!([one.peer, one.case, one.fact, one.ours, one.theirs]))
            .collect();
        json!({"place": self.place, "facts": self.facts, "cases": self.cases, "meant": meant, "differences": differences})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let counts = |name: &str| -> Option<BTreeMap<String, usize>> {
            let pairs = value[name].as_object()?.iter();
            pairs
                .map(|(key, count)| Some((key.clone(), usize::try_from(count.as_u64()?).ok()?)))
                .collect()
        };
        let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let meant = value["meant"].as_array()?.iter();
        let meant = meant
            .map(|one| Some(((one[0].as_str()?.to_owned(), number(&one[1])?), number(&one[2])?)))
            .collect::<Option<_>>()?;
        let differences = value["differences"].as_array()?.iter().map(|one| {
            let text = |n: usize| one[n].as_str().map(str::to_owned);
            Some(Difference {
                peer: text(0)?,
                case: text(1)?,
                fact: text(2)?,
                ours: text(3)?,
                theirs: text(4)?,
            })
        });
        Some(Self {
            place: value["place"].as_str()?.to_owned(),
            facts: counts("facts")?,
            cases: counts("cases")?,
            meant,
            differences: differences.collect::<Option<_>>()?,
        })
    }
}

/// Writes what the comparisons came to in Markdown.
pub fn markdown(comparisons: &[Comparison]) -> String {
    let mut text = String::from(
        "| place | peer | bundles | facts compared | meant differences | others |\n|---|---|---|---|---|---|\n",
    );
    for one in comparisons {
        for (peer, cases) in &one.cases {
            let meant: usize = one
                .meant
                .iter()
                .filter(|((name, _), _)| name == peer)
                .map(|(_, count)| count)
                .sum();
            let others =
                one.differences.iter().filter(|difference| difference.peer == *peer).count();
            let _ = writeln!(
                text,
                "| {} | {peer} | {cases} | {} | {meant} | {others} |",
                one.place, one.facts[peer]
            );
        }
    }
    text.push_str(
        "\nMeant differences:\n\n| peer | bundle | fact | times | why |\n|---|---|---|---|---|\n",
    );
    for (n, entry) in expected::EXPECTED.iter().enumerate() {
        let times: usize = comparisons
            .iter()
            .flat_map(|one| &one.meant)
            .filter(|((_, entry), _)| *entry == n)
            .map(|(_, count)| count)
            .sum();
        if times > 0 {
            let plain = |text: &str| text.replace('|', ", ").replace('*', "…");
            let _ = writeln!(
                text,
                "| {} | {} | {} | {times} | {} |",
                plain(entry.peer),
                plain(entry.case),
                plain(entry.fact),
                entry.reason
            );
        }
    }
    text
}

/// A process with namespaces of its own that bundles join by path.
struct Other(Child);

impl Other {
    fn start() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--ipc", "--uts", "sh", "-c", "echo up; exec sleep 100000"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start `unshare`")?;
        let mut byte = [0];
        let mut out = child.stdout.take().context("a piped stdout")?;
        std::io::Read::read_exact(&mut out, &mut byte).context("wait for `unshare`")?;
        Ok(Self(child))
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs the same in a guest with pure cgroup v2, where crun takes part.
pub fn in_guest(runtime: &Path, filter: &[String]) -> Result<Comparison> {
    packages::ensure(packages::CONFORMANCE)?;
    let share = build::target_dir().join("conformance");
    let _ = fs::remove_dir_all(&share);
    fs::create_dir_all(share.join("lib"))?;
    let programs = [
        runtime.to_owned(),
        "/usr/sbin/runc".into(),
        "/usr/bin/crun".into(),
        busybox()?,
        std::env::current_exe()?,
    ];
    for program in &programs {
        let name = program.file_name().context("a program")?;
        fs::copy(program, share.join(name))
            .with_context(|| format!("copy `{}`", program.display()))?;
        let list = shell::output(Command::new("ldd").arg(program)).unwrap_or_default();
        for library in
            list.split_whitespace().filter(|word| word.starts_with('/') && word.contains(".so"))
        {
            let name = Path::new(library).file_name().context("a library")?;
            fs::copy(library, share.join("lib").join(name))
                .with_context(|| format!("copy `{library}`"))?;
        }
    }
    let share = share.canonicalize()?;
    // Libraries that the guest has are left alone.
    let script = format!(
        "cp -n '{0}'/lib/* /usr/lib/x86_64-linux-gnu/ && mkdir -p /tmp/d && cp '{0}'/* /tmp/d/ 2>/dev/null; exec /tmp/d/xtask conformance inside /tmp/d \"$@\"",
        share.display()
    );
    let mut command = Command::new(shell::root().join("tests/lab/vm-run"));
    command
        .args(["--timeout", PATIENCE, "--share"])
        .arg(&share)
        .args(["--", "sh", "-c", &script, "sh"])
        .args(filter);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("start `tests/lab/vm-run`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found = None;
    for line in text.lines() {
        match line.strip_prefix("COMPARISON ") {
            Some(json) => found = Comparison::from_json(&serde_json::from_str(json)?),
            None => println!("guest: {line}"),
        }
    }
    match found {
        Some(comparison) => Ok(comparison),
        None => bail!("the guest ended with {} without a result", output.status),
    }
}

fn busybox() -> Result<PathBuf> {
    let places = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    places.into_iter().find(|path| path.exists()).context("find `busybox`")
}

/// What runs in the guest: `conformance inside PROGRAMS [WORD...]`.
pub fn inside(args: &[String]) -> Result<()> {
    let programs = Path::new(args.first().context("the directory of the programs")?);
    let comparison = here(programs, &args[1..])?;
    println!("COMPARISON {}", comparison.to_json());
    Ok(())
}
