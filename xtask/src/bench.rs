//! `cargo xtask bench`: the same commands on a private real Docker and on Belljar, alternating, on a quiet machine.
//!
//! Every figure is the wall time of a whole client process. Three columns: the stock client on Docker, the stock client on Belljar, and
//! `belljar` on Belljar. Ratios are Docker's figure divided by ours, of medians and of minima.

mod runtime;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::{self, Profile};
use crate::peer::{self, Peer};
use crate::{images, packages, shell};

/// Measured rounds of a quick command; two more warm up.
const ROUNDS: usize = 20;
/// Measured rounds of a slow command.
const SLOW_ROUNDS: usize = 7;
/// How many idle containers the memory figures are taken with.
const MANY: usize = 20;

/// A client with the engine it talks to.
struct Lane<'a> {
    title: &'static str,
    client: String,
    engine: &'a Peer,
}

impl Lane<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.engine.command(&self.client);
        command.args(args).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        shell::output(self.command(args).stdout(Stdio::piped()))
    }

    /// Returns the wall time of one whole client process.
    fn time(&self, args: &[&str]) -> Result<Duration> {
        let mut command = self.command(args);
        let began = Instant::now();
        let out = command.output().context("start the client")?;
        let took = began.elapsed();
        if !out.status.success() {
            bail!("{}: {args:?}: {}", self.title, String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(took)
    }
}

/// A line of the table: a title, the commands around the measured one, and how often.
struct Case {
    title: &'static str,
    target: &'static str,
    rounds: usize,
    measured: &'static [&'static str],
    after: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        title: "client alone: `--version`",
        target: "",
        rounds: ROUNDS,
        measured: &["--version"],
        after: &[],
    },
    Case {
        title: "`version` (one round trip)",
        target: "",
        rounds: ROUNDS,
        measured: &["version"],
        after: &[],
    },
    Case {
        title: "`run --rm --network none busybox true`",
        target: "8",
        rounds: ROUNDS,
        measured: &["run", "--rm", "--network", "none", "busybox", "true"],
        after: &[],
    },
    Case {
        title: "`run --rm busybox true` (default bridge)",
        target: "8",
        rounds: ROUNDS,
        measured: &["run", "--rm", "busybox", "true"],
        after: &[],
    },
    Case {
        title: "`run --rm` with volume, memory, cpus, pids",
        target: "",
        rounds: ROUNDS,
        measured: &[
            "run",
            "--rm",
            "-v",
            "benchvol:/v",
            "-m",
            "64m",
            "--cpus",
            "1",
            "--pids-limit",
            "100",
            "busybox",
            "true",
        ],
        after: &[],
    },
    Case {
        title: "`run -d busybox sleep` (default bridge)",
        target: "8",
        rounds: ROUNDS,
        measured: &["run", "-d", "--name", "bench-d", "busybox", "sleep", "1000"],
        after: &["rm", "-f", "bench-d"],
    },
    Case {
        title: "`create`",
        target: "",
        rounds: ROUNDS,
        measured: &["create", "--name", "bench-c", "busybox", "true"],
        after: &["rm", "-f", "bench-c"],
    },
    Case {
        title: "`exec true`",
        target: "5",
        rounds: ROUNDS,
        measured: &["exec", "bench", "true"],
        after: &[],
    },
    Case {
        title: "`inspect`",
        target: "",
        rounds: ROUNDS,
        measured: &["inspect", "bench"],
        after: &[],
    },
    Case { title: "`ps`", target: "", rounds: ROUNDS, measured: &["ps"], after: &[] },
    Case {
        title: "`logs` of 100,000 lines (7.7 MB)",
        target: "1",
        rounds: SLOW_ROUNDS,
        measured: &["logs", "bench-logs"],
        after: &[],
    },
    Case {
        title: "`run --rm`: 100 MB through attach and log",
        target: "1",
        rounds: SLOW_ROUNDS,
        measured: &[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "yes 012345678901234567890123456789012345678901234567890123456789 | head -c 100000000",
        ],
        after: &[],
    },
];

const LINES: &str = "i=0; while [ $i -lt 100000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789 $i; i=$((i+1)); done; sleep 1000";

/// Times `case` in every lane, alternating, and returns each lane's milliseconds.
fn measure(lanes: &[Lane], case: &Case) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::new(); lanes.len()];
    for round in 0..case.rounds + 2 {
        for (lane, times) in lanes.iter().zip(&mut times) {
            let took = lane.time(case.measured)?;
            if !case.after.is_empty() {
                lane.run(case.after)?;
            }
            if round >= 2 {
                times.push(took.as_secs_f64() * 1e3);
            }
        }
    }
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    Ok(times)
}

fn row(case: &Case, times: &[Vec<f64>]) -> String {
    let mut row = format!("| {} |", case.title);
    let figures = |times: &[f64]| (times[times.len() / 2], times[0]);
    let (median, min) = figures(&times[0]);
    for (n, lane) in times.iter().enumerate() {
        let (m, low) = figures(lane);
        let _ = write!(row, " {m:.1} / {low:.1} |");
        if n > 0 {
            let _ = write!(row, " {:.1} / {:.1} |", median / m, min / low);
        }
    }
    let _ = write!(row, " {} |", case.target);
    row
}

fn prepare(engines: [&Peer; 2], images: &Path) -> Result<()> {
    for engine in engines {
        engine.docker_cli(&[
            "load",
            "-q",
            "-i",
            images.join("busybox.tar").to_str().context("a path in UTF-8")?,
        ])?;
        engine.docker_cli(&["run", "-d", "--name", "bench", "busybox", "sleep", "100000"])?;
        engine.docker_cli(&["run", "-d", "--name", "bench-logs", "busybox", "sh", "-c", LINES])?;
        let end = Instant::now() + Duration::from_secs(120);
        while !engine.docker_cli(&["logs", "--tail", "1", "bench-logs"])?.ends_with(" 99999") {
            if Instant::now() > end {
                bail!("{} has not written its lines", engine.name);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}

/// Measures the resident memory, idle and with [`MANY`] containers.
fn memory(docker: &Peer, belljar: &Peer) -> Result<String> {
    let mut text =
        String::from("| memory, MiB (PSS) | Docker | Belljar | to reach |\n|---|---|---|---|\n");
    for engine in [docker, belljar] {
        engine.docker_cli(&["rm", "-f", "bench", "bench-logs"])?;
    }
    std::thread::sleep(Duration::from_secs(3));
    let mib = |kib: u64| kib as f64 / 1024.0;
    let _ = writeln!(
        text,
        "| daemon, idle (Docker: dockerd and containerd) | {:.1} | {:.1} | 20 |",
        mib(docker.pss()),
        mib(belljar.pss())
    );
    for engine in [docker, belljar] {
        for _ in 0..MANY {
            engine.docker_cli(&["run", "-d", "busybox", "sleep", "100000"])?;
        }
    }
    std::thread::sleep(Duration::from_secs(3));
    let each = |engine: &Peer, program: &str| {
        let pids = engine.helpers(program);
        let total: u64 = pids.iter().map(|pid| peer::pss(pid)).sum();
        (pids.len(), mib(total) / pids.len().max(1) as f64)
    };
    let (theirs, ours) = (each(docker, "containerd-shim-runc-v2"), each(belljar, "belljar-shim"));
    if theirs.0 != MANY || ours.0 != MANY {
        bail!("expected {MANY} shims, found {} and {}", theirs.0, ours.0);
    }
    let _ = writeln!(text, "| shim, each of {MANY} | {:.2} | {:.2} | 0.3 |", theirs.1, ours.1);
    let _ = writeln!(
        text,
        "| daemon with {MANY} containers | {:.1} | {:.1} | |",
        mib(docker.pss()),
        mib(belljar.pss())
    );
    Ok(text)
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or(": unknown");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Linux {}, {cpus} CPUs ({})",
        release.trim(),
        model.trim_start_matches([' ', '\t', ':'])
    )
}

/// `cargo xtask bench [TITLE PART...]`: measures the cases whose titles contain one of the arguments.
pub fn run(args: &[String]) -> Result<()> {
    if args.first().is_some_and(|first| first == "runtime") {
        return runtime::run(&args[1..]);
    }
    if !shell::is_root() {
        bail!("the bench starts two daemons and needs root\n\ntype: sudo -E cargo xtask bench");
    }
    packages::ensure(packages::BENCH)?;
    let programs = build::build(Profile::Release)?;
    let images = images::test_images(&["busybox"])?;
    let (docker, belljar) = (Peer::docker()?, Peer::belljar(&programs)?);
    prepare([&docker, &belljar], &images)?;
    let own = programs.join("belljar").display().to_string();
    let lanes = [
        Lane { title: "docker on Docker", client: "docker".into(), engine: &docker },
        Lane { title: "docker on Belljar", client: "docker".into(), engine: &belljar },
        Lane { title: "belljar on Belljar", client: own, engine: &belljar },
    ];
    let mut text = heading(&docker, &lanes)?;
    let wanted =
        |case: &Case| args.is_empty() || args.iter().any(|arg| case.title.contains(arg.as_str()));
    for case in CASES.iter().filter(|case| wanted(case)) {
        let row = row(case, &measure(&lanes, case)?);
        println!("{row}");
        text.push_str(&row);
        text.push('\n');
    }
    let memory = memory(&docker, &belljar)?;
    println!("{memory}");
    text.push('\n');
    text.push_str(&memory);
    if args.is_empty() {
        fs::write(shell::root().join("docs/performance.md"), text)?;
    }
    Ok(())
}

fn heading(docker: &Peer, lanes: &[Lane]) -> Result<String> {
    let server = docker.docker_cli(&["version", "--format", "{{.Server.Version}} (containerd, runc of the same distribution), client {{.Client.Version}}"])?;
    let mut text = format!(
        "# Performance\n\nWritten by `cargo xtask bench`; do not edit. Both engines ran in the same run, alternating command by command.\n\n\
         - Machine: {}\n- Docker: {server}\n- Each cell: median / minimum of {ROUNDS} runs ({SLOW_ROUNDS} for the slow ones), milliseconds of the whole client process.\n\
         - Ratios: Docker's figure divided by ours, of medians / of minima. The last column is the ratio to reach.\n\n|  |",
        machine()
    );
    for (n, lane) in lanes.iter().enumerate() {
        let _ = write!(text, " {} |{}", lane.title, if n > 0 { " ratio |" } else { "" });
    }
    text.push_str(" to reach |\n|---|---|---|---|---|---|---|\n");
    Ok(text)
}
