//! The commands, one file each, and what is common to them.

mod checkpoint;
mod create;
mod delete;
mod describe;
mod events;
mod exec;
mod freeze;
mod help;
mod kill;
mod list;
mod protect;
mod ps;
mod start;
mod state;
pub(crate) mod table;
mod update;
mod wait;

use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use self::table::{COMMANDS, Command, GLOBAL};
use crate::args::{self, Parsed, Words};
use crate::error::{Error, Result};
use crate::rootless::{self, Standing};
use crate::state::Dir;
use crate::{log, sink};

/// Where containers are kept unless `--root` says otherwise.
const DEFAULT_ROOT: &str = "/run/belljar-runtime";

/// What the global options say.
#[derive(Debug)]
pub(crate) struct Globals {
    /// `--root`, or where containers are kept without it; empty if nobody says where.
    root: PathBuf,
    /// Whether that is in `XDG_RUNTIME_DIR`.
    in_runtime_dir: bool,
    systemd: bool,
    /// Whether the container stays in the caller's cgroups.
    no_cgroups: bool,
    /// `--rootless`: whether cgroups may be out of reach; `None` is "find out".
    rootless: Option<bool>,
}

impl Globals {
    fn find(&self, id: &str) -> Result<Dir> {
        Dir::find(self.root()?, id)
    }

    fn root(&self) -> Result<&Path> {
        if self.root.as_os_str().is_empty() {
            let text = "no place for containers: neither --root nor XDG_RUNTIME_DIR is set";
            return Err(Error::Usage(text.into()));
        }
        Ok(&self.root)
    }

    /// The same for a command that puts something there.
    fn root_for_new(&self) -> Result<&Path> {
        let root = self.root()?;
        if self.in_runtime_dir {
            rootless::make_root(root)?;
        }
        Ok(root)
    }
}

/// What the program calls itself, whatever file it is started from: callers compare texts, and read `runc version`.
const NAME: &str = "runc";

/// How the program ends when it does not succeed.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(1, crate::error::message(&error))
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_else(|| "belljar-runtime".into());
    let words: Vec<String> = words.collect();
    match dispatch(&program, &words, protect::run) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            log::fatal(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(path: &str, words: &[String], protect: fn()) -> std::result::Result<u8, Failure> {
    let program = NAME;
    let global = args::parse(GLOBAL, words, Words::First).map_err(|error| {
        sink::out(&format!("Incorrect Usage. {error}\n\n{}", help::of_program(program)));
        Failure::from(error)
    })?;
    if global.is_on("version") {
        sink::out(&describe::version(program));
        return Ok(0);
    }
    let globals = globals(&global)?;
    let Some((name, rest)) = global.words.split_first().filter(|_| !global.is_on("help")) else {
        sink::out(&help::of_program(program));
        return Ok(0);
    };
    if matches!(name.as_str(), "help" | "h") {
        return explain(program, rest);
    }
    let command = command(name)?;
    let Some(parsed) = understand(path, program, command, rest)? else { return Ok(0) };
    if matches!(command.name, "create" | "run" | "exec") {
        protect();
    }
    (command.run)(&globals, &parsed).map_err(|error| tell(command, error))
}

fn command(name: &str) -> std::result::Result<&'static Command, Failure> {
    let found = COMMANDS.iter().find(|command| command.name == name);
    found.ok_or_else(|| Failure::new(3, format!("No help topic for '{name}'")))
}

/// `help`, alone or with a command's name.
fn explain(program: &str, rest: &[String]) -> std::result::Result<u8, Failure> {
    match rest.first() {
        Some(name) => sink::out(&help::of_command(program, command(name)?)),
        None => sink::out(&help::of_program(program)),
    }
    Ok(0)
}

/// Reads the words after the command's name; what is wrong with them is said together with the help. `None` if only the help was
/// asked for.
fn understand(
    path: &str,
    program: &str,
    command: &Command,
    rest: &[String],
) -> std::result::Result<Option<Parsed>, Failure> {
    let parsed = args::parse(command.options, rest, command.words).map_err(|error| {
        let help = help::of_command(program, command);
        sink::out(&format!("Incorrect Usage: {error}\n\n{help}"));
        Failure::from(error)
    })?;
    if parsed.is_on("help") {
        sink::out(&help::of_command(program, command));
        return Ok(None);
    }
    match command.arity.complaint(parsed.words.len()) {
        None => Ok(Some(parsed)),
        Some(complaint) => {
            sink::out(&format!("Incorrect Usage.\n\n{}", help::of_command(program, command)));
            Err(Failure::new(1, format!("{path}: {:?} {complaint}", command.name)))
        }
    }
}

/// runc's words and exit codes: 255 when a program could not be run in a container, 1 for everything else.
fn tell(command: &Command, error: Error) -> Failure {
    let failure = Failure::from(error);
    match command.name {
        "exec" => Failure::new(255, format!("exec failed: {}", failure.message)),
        "create" | "run" => {
            Failure::new(1, format!("runc {} failed: {}", command.name, failure.message))
        }
        _ => failure,
    }
}

/// Whether groups are made by systemd: runc says so with `--systemd-cgroup`, crun with `--cgroup-manager`, where they may be made by nobody too.
fn systemd(given: &Parsed) -> Result<bool> {
    match given.value("cgroup-manager") {
        None => Ok(given.is_on("systemd-cgroup")),
        Some("cgroupfs" | "disabled") => Ok(false),
        Some("systemd") => Ok(true),
        Some(other) => Err(Error::Usage(format!("invalid cgroup-manager: {other}"))),
    }
}

fn globals(given: &Parsed) -> Result<Globals> {
    let json = match given.text("log-format").unwrap_or("text") {
        "text" => false,
        "json" => true,
        other => return Err(Error::Usage(format!("invalid log-format: {other}"))),
    };
    let (root, in_runtime_dir) = match given.value("root") {
        None => Standing::find().root(DEFAULT_ROOT, "belljar-runtime").unwrap_or_default(),
        Some(root) => (clean(Path::new(root)), false),
    };
    if root == Path::new("/") {
        return Err(Error::Usage("Option --root argument should not be set to /".into()));
    }
    if given.value("criu").is_some() {
        sink::err("WARNING: --criu ignored (criu binary from $PATH is used); do not use");
    }
    log::open(given.text("log").map(Path::new), json, given.is_on("debug"))?;
    let rootless = match given.text("rootless") {
        None => None,
        Some(text) if text.eq_ignore_ascii_case("auto") => None,
        Some(text) => Some(args::truth(text).ok_or_else(|| {
            Error::Usage(format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))
        })?),
    };
    let systemd = systemd(given)?;
    let no_cgroups = given.value("cgroup-manager") == Some("disabled");
    Ok(Globals { root, in_runtime_dir, systemd, no_cgroups, rootless })
}

/// Makes a path absolute and takes `.` and `..` out of it without a look at the file system, as engines expect.
fn clean(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path)
        .or_else(|_| std::env::current_dir())
        .unwrap_or_else(|_| PathBuf::from("/"));
    let mut cleaned = PathBuf::from("/");
    for part in absolute.components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            _ => {}
        }
    }
    cleaned
}

/// The container's id, which must be the first word.
fn id(parsed: &Parsed) -> Result<&str> {
    parsed
        .words
        .first()
        .map(String::as_str)
        .filter(|id| !id.is_empty())
        .ok_or_else(|| Error::Usage("container id cannot be empty".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatched(text: &str) -> std::result::Result<u8, Failure> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        dispatch("/usr/bin/runtime", &words, || {})
    }

    #[test]
    fn unknown_commands_and_containers_are_refused() {
        let failure = dispatched("nonsense").unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (3, "No help topic for 'nonsense'"));
        let failure = dispatched("--root /nonexistent state nope").unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (1, "container does not exist"));
        let failure = dispatched("--root /nonexistent exec nope ls").unwrap_err();
        assert_eq!(failure.code, 255);
        assert_eq!(failure.message, "exec failed: container does not exist");
        let failure = dispatched("--root /nonexistent kill ../x KILL").unwrap_err();
        assert!(failure.message.contains("invalid container ID"), "{failure:?}");
    }

    #[test]
    fn wrong_words_are_told_from_failures() {
        let failure = dispatched("state").unwrap_err();
        assert_eq!(failure.message, "/usr/bin/runtime: \"state\" requires exactly 1 argument(s)");
        assert_eq!(failure.code, 1);
        for line in
            ["--log-format xml list", "--root / list", "--root /a/.. list", "--rootless x list"]
        {
            assert_eq!(dispatched(line).unwrap_err().code, 1, "{line}");
        }
        let failure = dispatched("run --bundle /nonexistent x").unwrap_err();
        assert!(failure.message.starts_with("runc run failed: "), "{failure:?}");
    }

    #[test]
    fn roots_are_cleaned() {
        assert_eq!(clean(Path::new("/a/./b/../c//")), Path::new("/a/c"));
        assert_eq!(clean(Path::new("/../..")), Path::new("/"));
        assert!(clean(Path::new("x")).ends_with("x") && clean(Path::new("x")).is_absolute());
    }
}
