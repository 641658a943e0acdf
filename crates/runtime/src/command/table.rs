//! The table of the commands: what each is called, takes and does.

use super::{
    Globals, checkpoint, create, delete, describe, events, exec, freeze, kill, list, ps, start,
    state, update,
};
use crate::args::{Opt, Parsed, Words, switch, valued};
use crate::criu;
use crate::error::Result;

/// How many words a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    /// This many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
    /// From the first to the second number.
    Between(usize, usize),
}

impl Arity {
    /// Says what is wrong with a number of words, in runc's words.
    pub(crate) fn complaint(self, count: usize) -> Option<String> {
        match self {
            Self::Exactly(want) if count != want => {
                Some(format!("requires exactly {want} argument(s)"))
            }
            Self::AtLeast(low) | Self::Between(low, _) if count < low => {
                Some(format!("requires a minimum of {low} argument(s)"))
            }
            Self::Between(_, high) if count > high => {
                Some(format!("requires a maximum of {high} argument(s)"))
            }
            _ => None,
        }
    }
}

/// A command.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// One line.
    pub(crate) summary: &'static str,
    /// What stands after the options.
    pub(crate) synopsis: &'static str,
    /// More than the summary, or nothing.
    pub(crate) about: &'static str,
    pub(crate) options: &'static [Opt],
    pub(crate) words: Words,
    pub(crate) arity: Arity,
    pub(crate) run: fn(&Globals, &Parsed) -> Result<u8>,
}

/// The options before the command.
pub(crate) const GLOBAL: &[Opt] = &[
    switch("debug", '\0', "log every step"),
    valued("log", '\0', "the file that log lines are appended to (default: standard error)"),
    valued("log-format", '\0', "the form of log lines: 'text' or 'json' (default: \"text\")"),
    valued("root", '\0', "the directory that keeps the containers' state, best on a tmpfs"),
    valued("criu", '\0', ""),
    valued("cgroup-manager", '\0', ""),
    switch(
        "systemd-cgroup",
        '\0',
        "let systemd make the cgroups; cgroupsPath is then \"slice:prefix:name\"",
    ),
    valued(
        "rootless",
        '\0',
        "go on where cgroups are not permitted: 'true', 'false' or 'auto' (default: \"auto\")",
    ),
    switch("help", 'h', "show help"),
    switch("version", 'v', "print the version"),
];

const ID: &str = "<container-id>";

/// A command that takes an id and nothing else.
const PLAIN: Command = Command {
    name: "",
    summary: "",
    synopsis: ID,
    about: "",
    options: &[],
    words: Words::Any,
    arity: Arity::Exactly(1),
    run: state::run,
};

/// Every command, in the order of the help.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "checkpoint",
        summary: "save a running container in files",
        about: "Needs the program criu, and a kernel with CONFIG_CHECKPOINT_RESTORE. The container is removed unless it is to run \
                on.",
        options: criu::CHECKPOINT_OPTIONS,
        run: checkpoint::run,
        ..PLAIN
    },
    Command {
        name: "create",
        summary: "create a container",
        about: "Makes a container of a bundle, a directory with a config.json and a root file system. Its process waits until \
                `start` before it becomes the program of process.args.",
        options: create::OPTIONS,
        run: create::create,
        ..PLAIN
    },
    Command {
        name: "delete",
        summary: "remove what is left of a container",
        about: "Removes a stopped or a created container: its cgroup and its state. A running one is refused without --force.",
        options: delete::OPTIONS,
        run: delete::run,
        ..PLAIN
    },
    Command {
        name: "events",
        summary: "show the use of processor, memory and devices, and processes killed for memory",
        about: "Prints one JSON document a line: the counters every interval, and each time that a process was killed for want of \
                memory. It ends with the container.",
        options: events::OPTIONS,
        run: events::run,
        ..PLAIN
    },
    Command {
        name: "exec",
        summary: "start another process in a running container",
        synopsis: "<container-id> <command> [command options]  || -p process.json <container-id>",
        about: "The process gets what config.json says of the first one, and what the options say. In the foreground its exit \
                code is the command's.",
        options: exec::OPTIONS,
        words: Words::First,
        arity: Arity::AtLeast(1),
        run: exec::run,
    },
    Command {
        name: "features",
        summary: "show what this runtime can do",
        synopsis: "",
        about: "Prints the document of the OCI runtime specification's features.md.",
        arity: Arity::Exactly(0),
        run: describe::features,
        ..PLAIN
    },
    Command {
        name: "kill",
        summary: "send a signal (default: SIGTERM) to the container's first process",
        synopsis: "<container-id> [signal]",
        about: "The signal is a name, with or without SIG, or a number.",
        options: kill::OPTIONS,
        arity: Arity::Between(1, 2),
        run: kill::run,
        ..PLAIN
    },
    Command {
        name: "list",
        summary: "list the containers under --root",
        synopsis: "",
        options: list::OPTIONS,
        arity: Arity::Exactly(0),
        run: list::run,
        ..PLAIN
    },
    Command {
        name: "pause",
        summary: "stop all processes of a container for a while",
        run: freeze::pause,
        ..PLAIN
    },
    Command {
        name: "ps",
        summary: "show the processes of a container",
        synopsis: "<container-id> [ps options]",
        about: "Prints the lines of ps(1), by default of `ps -ef`, that are about the container.",
        options: ps::OPTIONS,
        words: Words::First,
        arity: Arity::AtLeast(1),
        run: ps::run,
    },
    Command {
        name: "restore",
        summary: "restore a container from the files of a checkpoint",
        about: "Needs the program criu, and a kernel with CONFIG_CHECKPOINT_RESTORE.",
        options: criu::RESTORE_OPTIONS,
        run: create::restore::run,
        ..PLAIN
    },
    Command {
        name: "resume",
        summary: "let the processes of a paused container run again",
        run: freeze::resume,
        ..PLAIN
    },
    Command {
        name: "run",
        summary: "create and start a container",
        about: "Does what `create` and `start` do, and unless detached waits for the end; the exit code is then the process's, \
                or 128 and the number of the signal that ended it.",
        options: create::RUN_OPTIONS,
        run: create::run,
        ..PLAIN
    },
    Command {
        name: "spec",
        summary: "write an example config.json",
        synopsis: "",
        about: "The example runs `sh` in the root file system `rootfs` beside it.",
        options: describe::SPEC_OPTIONS,
        arity: Arity::Exactly(0),
        run: describe::spec,
        ..PLAIN
    },
    Command {
        name: "start",
        summary: "let the process of a created container become its program",
        run: start::run,
        ..PLAIN
    },
    Command {
        name: "state",
        summary: "print the state of a container",
        about: "Prints the state document of the OCI runtime specification with the times and owners that engines ask for.",
        run: state::run,
        ..PLAIN
    },
    Command {
        name: "update",
        summary: "change the limits of a container",
        options: update::OPTIONS,
        run: update::run,
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_in_runcs_words() {
        let text = |arity: Arity, count| arity.complaint(count);
        assert_eq!(text(Arity::Exactly(1), 1), None);
        assert_eq!(text(Arity::Exactly(1), 2).unwrap(), "requires exactly 1 argument(s)");
        assert_eq!(text(Arity::AtLeast(1), 0).unwrap(), "requires a minimum of 1 argument(s)");
        assert_eq!(text(Arity::AtLeast(1), 7), None);
        assert_eq!(text(Arity::Between(1, 2), 3).unwrap(), "requires a maximum of 2 argument(s)");
    }

    #[test]
    fn every_command_is_explained_and_no_option_is_there_twice() {
        for command in COMMANDS {
            assert!(!command.name.is_empty() && !command.summary.is_empty());
            let mut names: Vec<String> = Vec::new();
            for option in command.options {
                names.push(option.long.to_owned());
                if option.short != '\0' {
                    names.push(option.short.to_string());
                }
            }
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", command.name);
        }
    }
}
