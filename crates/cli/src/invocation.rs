//! From argv to a verb and back to an exit code.

use std::process::ExitCode;

use clap::{Args as _, FromArgMatches as _};

use crate::client::{Client, Endpoint};
use crate::commands::{self, Arity, Verb};
use crate::error::CommandError;
use crate::ui::Ui;
use crate::{flags, help};

/// Flags that stand before the verb.
#[derive(Debug, clap::Args)]
struct Globals {
    /// Location of client config files
    #[arg(long, value_name = "string")]
    config: Option<String>,
    /// Name of the context to use; only `default` exists
    #[arg(short, long, value_name = "string")]
    context: Option<String>,
    /// Enable debug mode
    #[arg(short = 'D', long)]
    debug: bool,
    /// Daemon socket to connect to
    #[arg(short = 'H', long, value_name = "list")]
    host: Vec<String>,
    /// Set the logging level
    #[arg(short, long, value_name = "string", default_value = "info")]
    log_level: String,
    /// Do not start belljard when nothing answers on the default socket
    #[arg(long)]
    no_daemon_start: bool,
    /// Print version information and quit
    #[arg(short, long)]
    version: bool,
}

fn globals() -> clap::Command {
    Globals::augment_args(clap::Command::new("belljar")).args_override_self(true)
}

/// Runs the process's command line and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let argv: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if argv.first().is_some_and(|word| word == crate::autostart::DETACHED) {
        return crate::autostart::become_daemon(&argv[1..]);
    }
    let mut ui = Ui::standard();
    let result = run(&mut ui, &argv).and_then(|code| ui.flush().map(|()| code));
    crate::terminal::restore();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error.report(&mut ui);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(ui: &mut Ui, argv: &[String]) -> Result<u8, CommandError> {
    let command = globals();
    let words = flags::read(&command, argv, false)
        .map_err(|message| flag_error(message, "belljar", "[OPTIONS] COMMAND [ARG...]"))?;
    if words.help {
        return page(ui, &help::front(&command));
    }
    let matches = command
        .try_get_matches_from(clap_words(&words))
        .map_err(|error| CommandError::plain(error.to_string()))?;
    let globals = Globals::from_arg_matches(&matches)
        .map_err(|error| CommandError::plain(error.to_string()))?;
    if globals.version {
        ui.line(format_args!(
            "Belljar version {}, API {}",
            env!("CARGO_PKG_VERSION"),
            crate::client::API_VERSION
        ))?;
        return Ok(0);
    }
    if let Some(dir) = &globals.config {
        crate::config::set_directory(dir);
    }
    match words.arguments.as_slice() {
        [] => {
            ui.complain(help::front(&self::globals()).trim_end());
            Ok(0)
        }
        [first, ..] if first == "help" => help_for(ui, &words.arguments[1..]),
        arguments => dispatch(ui, &globals, arguments),
    }
}

/// The flags of the first words, without the arguments that belong to the verb.
fn clap_words(words: &flags::Words) -> Vec<String> {
    std::iter::once("belljar".to_owned()).chain(words.flags.iter().cloned()).collect()
}

fn page(ui: &mut Ui, text: &str) -> Result<u8, CommandError> {
    ui.data(text)?;
    Ok(0)
}

fn flag_error(message: String, program: &str, usage: &str) -> CommandError {
    CommandError::Flag {
        message,
        program: program.into(),
        usage: help::usage_lines(usage, program),
    }
}

fn help_for(ui: &mut Ui, words: &[String]) -> Result<u8, CommandError> {
    match find(words) {
        Found::Verb { verb, name, .. } => page(ui, &help::verb(verb, &format!("belljar {name}"))),
        Found::Group(group) => page(ui, &help::group(group)),
        Found::Nothing(_) => page(ui, &help::front(&globals())),
    }
}

/// What the words after the global flags name.
enum Found<'a> {
    Verb { verb: &'static Verb, name: &'static str, rest: &'a [String] },
    Group(&'static str),
    Nothing(String),
}

fn find(words: &[String]) -> Found<'_> {
    let Some(first) = words.first() else {
        return Found::Nothing(String::new());
    };
    let group = commands::GROUPS.iter().find(|(name, _)| name == first).map(|(name, _)| *name);
    let (typed, used) = match (group, words.get(1)) {
        (Some(group), None) => return Found::Group(group),
        (Some(group), Some(word)) if word.starts_with('-') => return Found::Group(group),
        (Some(group), Some(word)) => (format!("{group} {word}"), 2),
        (None, _) => (first.clone(), 1),
    };
    let verb = commands::VERBS.iter().find(|verb| verb.names.contains(&typed.as_str()));
    match verb {
        Some(verb) => Found::Verb { verb, name: verb.name_like(&typed), rest: &words[used..] },
        None => Found::Nothing(typed),
    }
}

fn dispatch(ui: &mut Ui, globals: &Globals, words: &[String]) -> Result<u8, CommandError> {
    match find(words) {
        Found::Verb { verb, name, rest } => run_verb(ui, globals, verb, name, rest),
        Found::Group(group) if words.iter().any(|word| word == "--help" || word == "-h") => {
            page(ui, &help::group(group))
        }
        Found::Group(group) => {
            ui.complain(help::group(group).trim_end());
            Ok(0)
        }
        Found::Nothing(typed) => Err(unknown(&typed)),
    }
}

fn unknown(typed: &str) -> CommandError {
    CommandError::plain(match typed.split_once(' ') {
        Some((group, _)) => format!(
            "belljar: unknown command: belljar {typed}\n\nUsage:  belljar {group}\n\nRun 'belljar {group} --help' for more information"
        ),
        None => format!(
            "belljar: unknown command: belljar {typed}\n\nRun 'belljar --help' for more information"
        ),
    })
}

fn run_verb(
    ui: &mut Ui,
    globals: &Globals,
    verb: &'static Verb,
    name: &'static str,
    argv: &[String],
) -> Result<u8, CommandError> {
    let program = format!("belljar {name}");
    let command = (verb.build)();
    let words = flags::read(&command, argv, verb.interspersed)
        .map_err(|message| flag_error(message, &program, verb.usage))?;
    if words.help {
        return page(ui, &help::verb(verb, &program));
    }
    let spelled = words.for_clap(&program);
    let labels = (verb.build)();
    let parsed = command.try_get_matches_from(spelled);
    if !parsed.as_ref().is_err_and(|error| error.kind() == clap::error::ErrorKind::ValueValidation)
    {
        check_arity(verb, &program, words.arguments.len())?;
    }
    let matches = parsed
        .map_err(|error| flag_error(clap_words_for(&error, &labels), &program, verb.usage))?;
    let client = Client::new(endpoint(globals)?);
    run_to_end((verb.run)(ui, &client, &matches))
}

fn run_to_end(work: commands::Work<'_>) -> Result<u8, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::plain(format!("start the runtime: {error}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Docker's words for a value that clap's parser refused.
fn clap_words_for(error: &clap::Error, command: &clap::Command) -> String {
    use clap::error::{ContextKind, ContextValue};
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let arg = context(ContextKind::InvalidArg);
    let long = arg.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
    let label = flags::label(command, long);
    let reason = std::error::Error::source(error).map(ToString::to_string);
    match reason {
        Some(reason) => {
            format!(
                "invalid argument \"{}\" for \"{label}\" flag: {reason}",
                context(ContextKind::InvalidValue)
            )
        }
        None => error.to_string(),
    }
}

fn check_arity(verb: &Verb, program: &str, given: usize) -> Result<(), CommandError> {
    let Some(message) = verb.arity.complaint(given) else {
        return Ok(());
    };
    let lead = if matches!(verb.arity, Arity::AtLeast(_)) { "See" } else { "Run" };
    Err(CommandError::Arity {
        message,
        program: program.into(),
        usage: help::usage_lines(verb.usage, program),
        tail: format!("{lead} '{program} --help' for more information"),
    })
}

/// Where the engine is: `-H`, then `DOCKER_HOST`, then `BELLJAR_HOST`, then the default socket.
fn endpoint(globals: &Globals) -> Result<Endpoint, CommandError> {
    let given = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if globals.host.len() > 1 {
        return Err(CommandError::plain("specify only one -H"));
    }
    if globals.context.as_deref().is_some_and(|name| name != "default") {
        return Err(CommandError::plain("context not found: only \"default\" exists"));
    }
    let named = globals
        .host
        .first()
        .cloned()
        .or_else(|| given("DOCKER_HOST"))
        .or_else(|| given("BELLJAR_HOST"));
    match named {
        Some(address) => Endpoint::parse(&address),
        None => {
            let may_start = !globals.no_daemon_start && given("BELLJAR_NO_DAEMON_START").is_none();
            Ok(Endpoint::default_socket(may_start))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Rc<RefCell<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn fail(line: &str) -> (String, u8) {
        let sink = Sink::default();
        let mut ui = Ui::into(sink.clone(), sink);
        let argv: Vec<String> = format!("-H unix:///nonexistent.sock {line}")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let error = run(&mut ui, &argv).expect_err(line);
        (error.to_string(), error.exit_code())
    }

    fn flag_message(message: &str) -> (String, u8) {
        let usage = "Usage:  belljar run [OPTIONS] IMAGE [COMMAND] [ARG...]";
        (format!("{message}\n\n{usage}\n\nRun 'belljar run --help' for more information"), 125)
    }

    fn run_message(message: &str) -> (String, u8) {
        (format!("belljar: {message}\n\nRun 'belljar run --help' for more information"), 125)
    }

    // The right-hand sides are what docker 28.2.2 prints, with its name replaced by ours.
    #[test]
    fn bad_flag_values_read_like_dockers() {
        for (line, message) in [
            ("run --foo", "unknown flag: --foo"),
            ("run -m x b", "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"),
            (
                "run --cpus x b",
                "invalid argument \"x\" for \"--cpus\" flag: failed to parse x as a rational number",
            ),
            (
                "run --ulimit x b",
                "invalid argument \"x\" for \"--ulimit\" flag: invalid ulimit argument: x",
            ),
            (
                "run --oom-score-adj x b",
                "invalid argument \"x\" for \"--oom-score-adj\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "run --blkio-weight x b",
                "invalid argument \"x\" for \"--blkio-weight\" flag: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                "run --mount type=bind,source=/a b",
                "invalid argument \"type=bind,source=/a\" for \"--mount\" flag: target is required",
            ),
            (
                "run --health-interval x b",
                "invalid argument \"x\" for \"--health-interval\" flag: time: invalid duration \"x\"",
            ),
            (
                "run --add-host x b",
                "invalid argument \"x\" for \"--add-host\" flag: bad format for add-host: \"x\"",
            ),
            (
                "run --gpus x b",
                "invalid argument \"x\" for \"--gpus\" flag: invalid count (x): value must be either \"all\" or an integer: invalid syntax",
            ),
            (
                "run -a foo b",
                "invalid argument \"foo\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
            ),
            (
                "run --network a,b=c b",
                "invalid argument \"a,b=c\" for \"--network\" flag: invalid field a",
            ),
            (
                "run --sysctl x b",
                "invalid argument \"x\" for \"--sysctl\" flag: sysctl 'x' is not allowed",
            ),
            (
                "run -l =x b",
                "invalid argument \"=x\" for \"-l, --label\" flag: invalid label '=x': empty name",
            ),
            (
                "run --dns x b",
                "invalid argument \"x\" for \"--dns\" flag: IP address is not correctly formatted: x",
            ),
            (
                "run --device-read-bps x b",
                "invalid argument \"x\" for \"--device-read-bps\" flag: bad format: x",
            ),
        ] {
            assert_eq!(fail(line), flag_message(message), "{line}");
        }
    }

    #[test]
    fn bad_combinations_read_like_dockers() {
        for (line, message) in [
            ("run -p x:y b", "invalid containerPort: y"),
            (
                "run --memory-swappiness 1000 b",
                "invalid value: 1000. Valid memory swappiness range is 0-100",
            ),
            ("run --env-file /nonexist b", "open /nonexist: no such file or directory"),
            (
                "run --rm --restart always b",
                "conflicting options: cannot specify both --restart and --rm",
            ),
            (
                "run --pull foo b",
                "invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\"",
            ),
            (
                "run --security-opt seccomp=/nonexist b",
                "opening seccomp profile (/nonexist) failed: open /nonexist: no such file or directory",
            ),
            ("run --mac-address x b", "x is not a valid mac address"),
            (
                "run --expose x b",
                "invalid range format for --expose: x, error: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            ("run --userns x b", "--userns: invalid USER mode"),
            ("run --pid x b", "--pid: invalid PID mode"),
            ("run --uts x b", "--uts: invalid UTS mode"),
            ("run --cgroupns x b", "--cgroupns: invalid CGROUP mode"),
            ("run --log-driver none --log-opt a=b b", "invalid logging opts for driver none"),
            (
                "run --no-healthcheck --health-cmd x b",
                "--no-healthcheck conflicts with --health-* options",
            ),
            ("run --storage-opt x b", "invalid storage option"),
            ("run --health-retries -1 b", "--health-retries cannot be negative"),
            ("run --health-timeout -1s b", "--health-timeout cannot be negative"),
            (
                "run BAD:IMG",
                "invalid reference format: repository name (library/BAD) must be lowercase",
            ),
        ] {
            assert_eq!(fail(line), run_message(message), "{line}");
        }
    }

    #[test]
    fn wrong_counts_of_arguments_read_like_dockers() {
        let expect = |text: &str| (text.to_owned(), 1);
        assert_eq!(
            fail("rm"),
            expect(
                "belljar: 'belljar rm' requires at least 1 argument\n\nUsage:  belljar rm [OPTIONS] CONTAINER [CONTAINER...]\n\nSee 'belljar rm --help' for more information"
            )
        );
        assert_eq!(
            fail("tag a"),
            expect(
                "belljar: 'belljar tag' requires 2 arguments\n\nUsage:  belljar tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\nRun 'belljar tag --help' for more information"
            )
        );
        assert_eq!(
            fail("ps a"),
            expect(
                "belljar: 'belljar ps' accepts no arguments\n\nUsage:  belljar ps [OPTIONS]\n\nRun 'belljar ps --help' for more information"
            )
        );
        assert_eq!(
            fail("cp a"),
            expect(
                "belljar: 'belljar cp' requires 2 arguments\n\nUsage:  belljar cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tbelljar cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH\n\nRun 'belljar cp --help' for more information"
            )
        );
        assert_eq!(
            fail("foo"),
            expect(
                "belljar: unknown command: belljar foo\n\nRun 'belljar --help' for more information"
            )
        );
    }

    #[test]
    fn a_daemon_that_is_not_there_is_named() {
        let words = "Cannot connect to the Belljar daemon at unix:///nonexistent.sock. Is the belljar daemon running?";
        assert_eq!(fail("ps"), (words.to_owned(), 1));
        assert_eq!(fail("run busybox"), run_message(words));
    }
}
