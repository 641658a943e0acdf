//! `cargo xtask bench runtime`: `belljar-runtime`, Debian's runc and crun, and the kernel's own price, alternating.
//!
//! Every figure is the wall time of whole processes, taken in the same run; here, on the cgroups that this machine has, and in the lab's guest,
//! where cgroup v2 is alone. `crates/sys/examples/floor.rs` is the kernel's price: the same system calls without a runtime around them.

mod bundle;
mod calls;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{build, packages, shell};

/// Measured rounds of each case; three more warm up.
const ROUNDS: usize = 40;
/// The same in the guest, where a system call takes twenty times as long.
const GUEST_ROUNDS: usize = 15;

/// A program that is measured.
pub(super) struct Lane {
    name: &'static str,
    program: PathBuf,
    /// Where it keeps its containers.
    root: PathBuf,
}

impl Lane {
    /// The program with its `--root`, quiet.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        succeed(&mut self.command(words), self.name)
    }
}

fn succeed(command: &mut Command, name: &str) -> Result<()> {
    // Not `output`: a created container holds the pipes open.
    let log = tempfile::tempfile()?;
    let status =
        command.stderr(log.try_clone()?).status().with_context(|| format!("start {name}"))?;
    if !status.success() {
        use std::io::{Read, Seek};
        let mut text = String::new();
        let mut log = log;
        log.rewind()?;
        log.read_to_string(&mut text)?;
        bail!("{name} ended with {status}: {}", text.trim());
    }
    Ok(())
}

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Run,
    RunFiltered,
    Lifecycle,
    Exec,
    State,
    Version,
}

const CASES: [(Case, &str, &str); 6] = [
    (Case::Run, "`run` of `/bin/true`, six new namespaces", "runc/4, floor*1.5, crun*0.7 on v2"),
    (Case::RunFiltered, "the same with a seccomp profile of Docker's size", ""),
    (Case::Lifecycle, "`create`, `start`, `delete --force` of `sleep`", ""),
    (Case::Exec, "`exec /bin/true` in a running container", "runc/5"),
    (Case::State, "`state`", ""),
    (Case::Version, "`--version`", ""),
];

/// A directory with everything that a measurement needs.
struct Place {
    dir: PathBuf,
    lanes: Vec<Lane>,
    floor: PathBuf,
}

impl Place {
    fn open(dir: &Path) -> Result<Self> {
        let state = tempfile::Builder::new().prefix("belljar-bench-").tempdir()?.keep();
        let lane =
            |name: &'static str| Lane { name, program: dir.join(name), root: state.join(name) };
        let mut place = Self {
            dir: dir.to_owned(),
            lanes: vec![lane("belljar-runtime"), lane("runc"), lane("crun")],
            floor: dir.join("floor"),
        };
        // A runtime that cannot work here (crun on hybrid cgroups) leaves the field, audibly.
        let bundle = place.bundle("plain");
        place.lanes.retain(|lane| match run_bundle(lane, &bundle) {
            Ok(()) => true,
            Err(error) => {
                println!("{} is left out here: {error:#}\n", lane.name);
                false
            }
        });
        Ok(place)
    }

    fn bundle(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

fn run_bundle(lane: &Lane, bundle: &str) -> Result<()> {
    lane.run(&["run", "--bundle", bundle, "bench-run"])
}

/// The programs and bundles of one measurement, in `dir`.
fn prepare(dir: &Path) -> Result<()> {
    packages::ensure(packages::BENCH)?;
    packages::ensure(packages::BENCH_RUNTIME)?;
    let triple = build::host_triple()?;
    let target = build::target_dir().join("static");
    build::build_static(&build::target_dir())?;
    shell::run(
        shell::cargo()
            .args(["build", "--quiet", "--locked", "--profile", "static", "--target", &triple])
            .args(["-p", "sys", "--example", "floor", "--target-dir"])
            .arg(&target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    let built = target.join(triple).join("static");
    fs::create_dir_all(dir)?;
    for (from, name) in [
        (built.join("belljar-runtime"), "belljar-runtime"),
        (built.join("examples/floor"), "floor"),
        (found("runc")?, "runc"),
        (found("crun")?, "crun"),
        (found("busybox")?, "busybox"),
        (found("time")?, "time"),
        (std::env::current_exe()?, "xtask"),
    ] {
        fs::copy(&from, dir.join(name)).with_context(|| format!("copy `{}`", from.display()))?;
    }
    libraries(dir)?;
    bundle::write_all(dir)
}

/// Puts the shared libraries of runc and crun beside them: the guest may lack them.
fn libraries(dir: &Path) -> Result<()> {
    let lib = dir.join("lib");
    fs::create_dir_all(&lib)?;
    for program in ["runc", "crun"] {
        let text = shell::output(Command::new("ldd").arg(dir.join(program)))?;
        let paths = text.lines().filter_map(|line| line.split("=> ").nth(1)?.split(' ').next());
        for path in paths.map(Path::new).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libyajl") || name.starts_with("libseccomp")
        }) {
            fs::copy(path, lib.join(path.file_name().context("a library's name")?))?;
        }
    }
    Ok(())
}

fn found(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
        .with_context(|| format!("`{program}` is not on the search path"))
}

/// Measures every case and returns the table, in Markdown.
fn measure(place: &Place, rounds: usize) -> Result<String> {
    let mut text = String::from("|  | floor |");
    for lane in &place.lanes {
        let _ = write!(text, " {} |", lane.name);
    }
    text.push_str(" ratios (median / minimum) | to reach |\n|---|---|");
    text.push_str(&"---|".repeat(place.lanes.len() + 2));
    text.push('\n');
    for lane in &place.lanes {
        lane.run(&["run", "--detach", "--bundle", &place.bundle("sleep"), "bench-live"])?;
    }
    let result = CASES.iter().try_for_each(|(case, title, target)| {
        let row = row(place, *case, title, target, rounds)?;
        eprint!("{row}");
        text.push_str(&row);
        Ok(())
    });
    for lane in &place.lanes {
        lane.run(&["delete", "--force", "bench-live"])?;
    }
    result.map(|()| text)
}

fn row(place: &Place, case: Case, title: &str, target: &str, rounds: usize) -> Result<String> {
    let mut floor = Vec::new();
    let mut times = vec![Vec::new(); place.lanes.len()];
    for round in 0..rounds + 3 {
        let measured = round >= 3;
        if case == Case::Run {
            let took = time_floor(place)?;
            if measured {
                floor.push(took);
            }
        }
        for (lane, times) in place.lanes.iter().zip(&mut times) {
            let took = time(place, lane, case)?;
            if measured {
                times.push(took);
            }
        }
    }
    let mut row = format!("| {title} | {} |", figures(&mut floor));
    for times in &mut times {
        let _ = write!(row, " {} |", figures(times));
    }
    let mut ratios = Vec::new();
    if let Some(own) = times.first() {
        for (lane, other) in place.lanes.iter().zip(&times).skip(1) {
            ratios.push(format!("{}/own {}", lane.name, quotient(other, own)));
        }
        if !floor.is_empty() {
            ratios.push(format!("own/floor {}", quotient(own, &floor)));
        }
    }
    let _ = writeln!(row, " {} | {target} |", ratios.join("<br>"));
    Ok(row)
}

/// Median and minimum, in milliseconds.
fn figures(times: &mut [Duration]) -> String {
    times.sort();
    let ms = |time: &Duration| time.as_secs_f64() * 1e3;
    match (times.get(times.len() / 2), times.first()) {
        (Some(median), Some(low)) => format!("{:.2} / {:.2}", ms(median), ms(low)),
        _ => String::new(),
    }
}

fn quotient(above: &[Duration], below: &[Duration]) -> String {
    let part = |times: &[Duration], n: usize| times.get(n).map_or(0.0, Duration::as_secs_f64);
    let median = |times: &[Duration]| part(times, times.len() / 2);
    format!("{:.2} / {:.2}", median(above) / median(below), part(above, 0) / part(below, 0))
}

fn time_floor(place: &Place) -> Result<Duration> {
    let mut command = Command::new(&place.floor);
    command.arg(place.dir.join("plain/rootfs")).arg("/bin/true").stdin(Stdio::null());
    let began = Instant::now();
    succeed(&mut command, "floor")?;
    Ok(began.elapsed())
}

fn time(place: &Place, lane: &Lane, case: Case) -> Result<Duration> {
    let plain = place.bundle("plain");
    let filtered = place.bundle("filtered");
    let sleep = place.bundle("sleep");
    let steps: &[&[&str]] = match case {
        Case::Run => &[&["run", "--bundle", &plain, "bench-run"]],
        Case::RunFiltered => &[&["run", "--bundle", &filtered, "bench-run"]],
        Case::Lifecycle => &[
            &["create", "--bundle", &sleep, "bench-life"],
            &["start", "bench-life"],
            &["delete", "--force", "bench-life"],
        ],
        Case::Exec => &[&["exec", "bench-live", "/bin/true"]],
        Case::State => &[&["state", "bench-live"]],
        Case::Version => &[&["--version"]],
    };
    let began = Instant::now();
    for step in steps {
        lane.run(step)?;
    }
    Ok(began.elapsed())
}

/// `cargo xtask bench runtime [--here DIR]`.
pub(super) fn run(args: &[String]) -> Result<()> {
    if let [flag, dir] = args
        && flag == "--here"
    {
        return inside(Path::new(dir));
    }
    if !shell::is_root() {
        bail!(
            "the bench makes containers and needs root\n\ntype: sudo -E cargo xtask bench runtime"
        );
    }
    let dir = build::target_dir().join("bench-runtime");
    prepare(&dir)?;
    let dir = dir.canonicalize()?;
    let place = Place::open(&dir)?;
    let mut text = heading()?;
    let _ = writeln!(
        text,
        "## Here: {}\n\nEach cell: median / minimum of {ROUNDS} rounds, milliseconds.\n",
        cgroups()
    );
    text.push_str(&measure(&place, ROUNDS)?);
    text.push('\n');
    let calls = calls::report(&place)?;
    println!("{calls}");
    text.push_str(&calls);
    text.push_str(&guest(&dir)?);
    fs::write(shell::root().join("docs/performance-runtime.md"), text)?;
    Ok(())
}

/// The part that runs in the guest: everything is in `dir` already.
fn inside(dir: &Path) -> Result<()> {
    let place = Place::open(dir)?;
    let table = measure(&place, GUEST_ROUNDS)?;
    let calls = calls::table(&place)?;
    println!("@@table\n{table}\n{calls}@@end");
    Ok(())
}

fn guest(dir: &Path) -> Result<String> {
    if !cfg!(target_arch = "x86_64") {
        return Ok("The lab's guest exists for x86-64 only.\n".into());
    }
    let mut command = Command::new(shell::root().join("tests/lab/vm-run"));
    command.args(["--timeout", "900", "--share"]).arg(dir).arg("--env");
    command.arg(format!("LD_LIBRARY_PATH={}", dir.join("lib").display())).arg("--");
    command.arg(dir.join("xtask")).args(["bench", "runtime", "--here"]).arg(dir);
    let out = shell::output(&mut command)?;
    let table = out.split("@@table\n").nth(1).and_then(|rest| rest.split("@@end").next());
    let table = table.context("the guest printed no table")?;
    println!("{table}");
    Ok(format!(
        "## In the lab's guest: cgroup v2 alone\n\nA User Mode Linux guest, where a system call costs about twenty times what it costs on the \
         metal and computing costs the same: the figures compare runtimes with each other, not with the table above. {GUEST_ROUNDS} rounds.\n\n{table}"
    ))
}

fn cgroups() -> &'static str {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "cgroup v2"
    } else if Path::new("/sys/fs/cgroup/unified").exists() {
        "cgroup v1 and hybrid"
    } else {
        "cgroup v1"
    }
}

fn heading() -> Result<String> {
    let first = |program: &str| -> Result<String> {
        let text = shell::output(Command::new(program).arg("--version"))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    Ok(format!(
        "# Performance of the runtime\n\nWritten by `cargo xtask bench runtime`; do not edit. All programs ran in the same run, alternating call by call.\n\n\
         - Machine: {}\n- Peers: {}, {} (Debian's packages)\n- floor: the system calls that make such a container, without a runtime around them \
         (`crates/sys/examples/floor.rs`)\n\n",
        super::machine(),
        first("runc")?,
        first("crun")?,
    ))
}
