//! The commands, one file each, and what is common to them.

mod create;
mod delete;
mod describe;
mod events;
mod exec;
mod freeze;
mod kill;
mod list;
mod protect;
mod ps;
mod start;
mod state;
mod update;
mod wait;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use types::Chain;

use crate::args::{self, Opt, Parsed, Words, switch, valued};
use crate::error::{Error, Result};
use crate::state::Dir;
use crate::{log, sink};

const GLOBAL: &[Opt] = &[
    valued("root", '\0'),
    valued("log", '\0'),
    valued("log-format", '\0'),
    switch("debug", '\0'),
    switch("systemd-cgroup", '\0'),
    valued("rootless", '\0'),
    valued("criu", '\0'),
    switch("help", 'h'),
    switch("version", 'v'),
];

/// Where containers are kept unless `--root` says otherwise.
const DEFAULT_ROOT: &str = "/run/belljar-runtime";

/// What the global options say.
#[derive(Debug)]
pub(crate) struct Globals {
    root: PathBuf,
    systemd: bool,
}

impl Globals {
    fn find(&self, id: &str) -> Result<Dir> {
        Dir::find(&self.root, id)
    }
}

/// A command: its name, its options, how its words are read, and what it does.
struct Command {
    name: &'static str,
    options: &'static [Opt],
    words: Words,
    run: fn(&Globals, &Parsed) -> Result<u8>,
}

const COMMANDS: &[Command] = &[
    Command { name: "create", options: create::OPTIONS, words: Words::Any, run: create::create },
    Command { name: "run", options: create::RUN_OPTIONS, words: Words::Any, run: create::run },
    Command { name: "start", options: &[], words: Words::Any, run: start::run },
    Command { name: "state", options: &[], words: Words::Any, run: state::run },
    Command { name: "kill", options: kill::OPTIONS, words: Words::Any, run: kill::run },
    Command { name: "delete", options: delete::OPTIONS, words: Words::Any, run: delete::run },
    Command { name: "exec", options: exec::OPTIONS, words: Words::Before(1), run: exec::run },
    Command { name: "list", options: list::OPTIONS, words: Words::Any, run: list::run },
    Command { name: "ps", options: ps::OPTIONS, words: Words::Before(1), run: ps::run },
    Command { name: "pause", options: &[], words: Words::Any, run: freeze::pause },
    Command { name: "resume", options: &[], words: Words::Any, run: freeze::resume },
    Command { name: "update", options: update::OPTIONS, words: Words::Any, run: update::run },
    Command { name: "events", options: events::OPTIONS, words: Words::Any, run: events::run },
    Command {
        name: "spec",
        options: describe::SPEC_OPTIONS,
        words: Words::Any,
        run: describe::spec,
    },
    Command { name: "features", options: &[], words: Words::Any, run: describe::features },
];

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match dispatch(&words, protect::run) {
        Ok(code) => ExitCode::from(code),
        Err((code, error)) => {
            log::fatal(&crate::error::in_gos_words(&Chain(&error).to_string()));
            ExitCode::from(code)
        }
    }
}

fn dispatch(words: &[String], protect: fn()) -> std::result::Result<u8, (u8, Error)> {
    let plain = |error| (1, error);
    let global = args::parse(GLOBAL, words, Words::Before(0)).map_err(plain)?;
    let root = global.value("root").unwrap_or(DEFAULT_ROOT);
    let json = global.value("log-format") == Some("json");
    log::open(global.value("log").map(Path::new), json, global.is_on("debug")).map_err(plain)?;
    if global.is_on("version") {
        sink::out(&describe::version());
        return Ok(0);
    }
    let Some((name, rest)) = global.words.split_first() else {
        sink::out(&help());
        return Ok(0);
    };
    if name == "help" || global.is_on("help") {
        sink::out(&help());
        return Ok(0);
    }
    let command = COMMANDS
        .iter()
        .find(|command| command.name == name)
        .ok_or_else(|| plain(Error::Usage(format!("No help topic for '{name}'"))))?;
    let root = std::path::absolute(root).unwrap_or_else(|_| PathBuf::from(root));
    let globals = Globals { root, systemd: global.is_on("systemd-cgroup") };
    let parsed = args::parse(command.options, rest, command.words).map_err(plain)?;
    if matches!(name.as_str(), "create" | "run" | "exec") {
        protect();
    }
    // runc's exit codes: 255 when a program could not be run in a container, 1 for everything else.
    let code = if name == "exec" { 255 } else { 1 };
    (command.run)(&globals, &parsed).map_err(|error| (code, error))
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

/// The id, and nothing after it.
fn only_id(parsed: &Parsed) -> Result<&str> {
    if parsed.words.len() > 1 {
        return Err(Error::Usage(format!("too many arguments: {:?}", &parsed.words[1..])));
    }
    id(parsed)
}

fn help() -> String {
    let mut text = String::from(
        "belljar-runtime: runs containers as the OCI runtime specification says\n\n\
         usage: belljar-runtime [global options] COMMAND [options] CONTAINER [arguments]\n\ncommands:\n",
    );
    for command in COMMANDS {
        text.push_str(&format!("    {}\n", command.name));
        for option in command.options {
            let value = if option.value { " VALUE" } else { "" };
            let short =
                if option.short == '\0' { String::new() } else { format!(", -{}", option.short) };
            text.push_str(&format!("        --{}{short}{value}\n", option.long));
        }
    }
    text.push_str("\nglobal options:\n");
    for option in GLOBAL {
        let value = if option.value { " VALUE" } else { "" };
        text.push_str(&format!("    --{}{value}\n", option.long));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn unknown_commands_and_containers_are_refused() {
        assert!(dispatch(&words("nonsense"), || {}).is_err());
        let (code, error) = dispatch(&words("--root /nonexistent state nope"), || {}).unwrap_err();
        assert_eq!(code, 1);
        assert!(error.to_string().contains("does not exist"), "{error}");
        let (code, _) = dispatch(&words("--root /nonexistent exec nope ls"), || {}).unwrap_err();
        assert_eq!(code, 255);
        let (_, error) = dispatch(&words("--root /nonexistent kill ../x KILL"), || {}).unwrap_err();
        assert!(error.to_string().contains("invalid container ID"), "{error}");
    }
}
