//! Help pages in Docker's layout, drawn from clap's description of a command.

use std::fmt::Write as _;

use crate::commands::{self, Verb};
use crate::flags::is_default_true;

/// Columns of a page.
const WIDTH: usize = 80;

/// The verbs that a newcomer needs first.
const COMMON: [&str; 12] = [
    "run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version",
    "info",
];

/// Breaks `text` into lines of at most `width` columns; line breaks in it stay.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > width {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// The name column of one flag: `  -m, --memory bytes`.
fn flag_column(arg: &clap::Arg) -> Option<String> {
    let long = arg.get_long()?;
    if arg.is_hide_set() {
        return None;
    }
    let mut text = match arg.get_short() {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    let takes_value = arg.get_action().takes_values() && !is_default_true(arg);
    if let (true, Some([name, ..])) = (takes_value, arg.get_value_names()) {
        let _ = write!(text, " {name}");
    }
    Some(text)
}

/// The description of one flag, with its default.
fn flag_text(arg: &clap::Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some(value) = arg.get_default_values().first().and_then(|value| value.to_str())
        && !arg.is_hide_default_value_set()
    {
        let quoted = !is_default_true(arg)
            && arg
                .get_value_names()
                .is_some_and(|names| names.first().is_some_and(|n| *n == "string"));
        let _ = if quoted {
            write!(text, " (default \"{value}\")")
        } else {
            write!(text, " (default {value})")
        };
    }
    text
}

/// The option table of `command`.
fn options(command: &clap::Command) -> String {
    let mut rows: Vec<(String, String)> = command
        .get_arguments()
        .filter_map(|arg| Some((flag_column(arg)?, flag_text(arg))))
        .collect();
    rows.sort_by(|a, b| flag_name(&a.0).cmp(flag_name(&b.0)));
    two_columns(&rows)
}

/// The long name in a flag column, to sort by.
fn flag_name(column: &str) -> &str {
    let from = column.find("--").unwrap_or(0);
    column[from..].split(' ').next().unwrap_or_default()
}

fn two_columns(rows: &[(String, String)]) -> String {
    let left = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 3;
    let width = WIDTH.saturating_sub(left).max(24);
    let mut page = String::new();
    for (name, text) in rows {
        for (at, line) in wrap(text, width).iter().enumerate() {
            let first = if at == 0 { name.as_str() } else { "" };
            let _ = writeln!(page, "{}", format!("{first:left$}{line}").trim_end());
        }
    }
    page
}

/// The page of one verb, called by `program` (`belljar run`).
pub(crate) fn verb(verb: &Verb, program: &str) -> String {
    let command = (verb.build)();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = format!("Usage:  {program} {}\n\n{about}\n", usage_lines(verb.usage, program));
    if verb.names.len() > 1 {
        let names: Vec<String> = verb.names.iter().map(|name| format!("belljar {name}")).collect();
        let _ = write!(page, "\nAliases:\n  {}\n", names.join(", "));
    }
    let options = options(&command);
    if !options.is_empty() {
        let _ = write!(page, "\nOptions:\n{options}");
    }
    page
}

/// A usage of several lines repeats the program on each.
pub(crate) fn usage_lines(usage: &str, program: &str) -> String {
    usage.replace('\n', &format!("\n\t{program} "))
}

fn summary(verb: &Verb) -> String {
    (verb.build)().get_about().map(ToString::to_string).unwrap_or_default()
}

fn list(title: &str, mut rows: Vec<(String, String)>, sorted: bool) -> String {
    if sorted {
        rows.sort();
    }
    let mut page = format!("\n{title}:\n");
    for (name, text) in rows {
        let _ = writeln!(page, "  {name:<11} {text}");
    }
    page
}

/// The page of a group of verbs.
pub(crate) fn group(group: &str) -> String {
    let about =
        commands::GROUPS.iter().find(|(name, _)| *name == group).map_or("", |(_, text)| text);
    let rows = commands::VERBS
        .iter()
        .filter_map(|verb| {
            let name =
                verb.names.iter().find_map(|name| name.strip_prefix(&format!("{group} ")))?;
            Some((name.to_owned(), summary(verb)))
        })
        .collect();
    let verbs = list("Commands", rows, true);
    format!(
        "Usage:  belljar {group} COMMAND\n\n{about}\n{verbs}\nRun 'belljar {group} COMMAND --help' for more information on a command.\n"
    )
}

/// The first page.
pub(crate) fn front(globals: &clap::Command) -> String {
    let top = |verb: &'static Verb| {
        verb.names.iter().find(|name| !name.contains(' ')).map(|name| (*name, verb))
    };
    let all: Vec<_> = commands::VERBS.iter().filter_map(top).collect();
    let common = COMMON
        .iter()
        .filter_map(|name| all.iter().find(|(other, _)| other == name))
        .map(|(name, verb)| ((*name).to_owned(), summary(verb)))
        .collect();
    let groups = commands::GROUPS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    let rest = all
        .iter()
        .filter(|(name, _)| !COMMON.contains(name))
        .map(|(name, verb)| ((*name).to_owned(), summary(verb)))
        .collect();
    format!(
        "Usage:  belljar [OPTIONS] COMMAND\n\nA container engine that shows its work\n{}{}{}\nGlobal Options:\n{}\nRun 'belljar COMMAND --help' for more information on a command.\n",
        list("Common Commands", common, false),
        list("Management Commands", groups, true),
        list("Commands", rest, true),
        options(globals),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(name: &str) -> String {
        let found = commands::VERBS.iter().find(|verb| verb.names.contains(&name)).unwrap();
        verb(found, &format!("belljar {name}"))
    }

    #[test]
    fn words_wrap_at_the_column() {
        assert_eq!(wrap("one two three\nfour", 7), ["one two", "three", "four"]);
    }

    #[test]
    fn the_page_of_rm_is_dockers() {
        assert_eq!(
            page("rm"),
            "Usage:  belljar rm [OPTIONS] CONTAINER [CONTAINER...]\n\n\
             Remove one or more containers\n\n\
             Aliases:\n  belljar container rm, belljar container remove, belljar rm\n\n\
             Options:\n  \
             -f, --force     Force the removal of a running container (uses SIGKILL)\n  \
             -l, --link      Remove the specified link\n  \
             -v, --volumes   Remove anonymous volumes associated with the container\n"
        );
    }

    #[test]
    fn run_has_every_flag_of_the_contract() {
        let page = page("run");
        for flag in [
            "--add-host",
            "--gpus",
            "--mount",
            "--network-alias",
            "--time",
            "-P, --publish-all",
            "--ulimit",
        ] {
            assert!(page.contains(flag), "{flag} is missing");
        }
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
    }

    #[test]
    fn every_verb_has_a_summary() {
        for verb in commands::VERBS {
            assert!(!summary(verb).is_empty(), "{:?}", verb.names);
        }
    }
}
