//! `--help`, for the program and for each command.

use super::table::{COMMANDS, Command, GLOBAL};
use crate::args::{Opt, Value};

/// The widest line.
const WIDTH: usize = 100;

/// The help of the program. `program` is the name it was called by.
pub(super) fn of_program(program: &str) -> String {
    let mut text = format!(
        "NAME:\n   {program} - Open Container Initiative runtime\n\nUSAGE:\n   {program} [global options] command \
         [command options] [arguments...]\n\nVERSION:\n   {}\n\nCOMMANDS:\n",
        env!("CARGO_PKG_VERSION")
    );
    let rows = COMMANDS.iter().map(|command| (command.name.to_owned(), command.summary));
    let help = ("help, h".to_owned(), "show the commands, or the help of one");
    text.push_str(&table(rows.chain(std::iter::once(help)).collect()));
    text.push_str("\nGLOBAL OPTIONS:\n");
    text.push_str(&table(options(GLOBAL)));
    text
}

/// The help of a command.
pub(super) fn of_command(program: &str, command: &Command) -> String {
    let Command { name, summary, synopsis, about, .. } = command;
    let mut text = format!("NAME:\n   {program} {name} - {summary}\n\nUSAGE:\n   {program} {name}");
    if !command.options.is_empty() {
        text.push_str(" [command options]");
    }
    if !synopsis.is_empty() {
        text.push(' ');
        text.push_str(synopsis);
    }
    text.push('\n');
    if !about.is_empty() {
        text.push_str("\nDESCRIPTION:\n");
        text.push_str(&wrapped(about, 3, 3));
    }
    if !command.options.is_empty() {
        text.push_str("\nOPTIONS:\n");
        text.push_str(&table(options(command.options)));
    }
    text
}

fn options(list: &[Opt]) -> Vec<(String, &'static str)> {
    let shown = list.iter().filter(|option| !option.help.is_empty());
    let row = |option: &Opt| {
        let value = if option.value == Value::Switch { "" } else { " value" };
        let mut left = format!("--{}{value}", option.long);
        if option.short != '\0' {
            left.push_str(&format!(", -{}{value}", option.short));
        }
        (left, option.help)
    };
    shown.map(row).collect()
}

fn table(rows: Vec<(String, &str)>) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let row = |(left, right): (String, &str)| {
        let right = wrapped(right, 0, width + 5);
        format!("   {left:width$}  {right}")
    };
    rows.into_iter().map(row).collect()
}

/// Breaks a text into lines; the first is indented by `first`, the others by `rest`.
fn wrapped(text: &str, first: usize, rest: usize) -> String {
    let mut lines = vec![" ".repeat(first)];
    let mut used = rest;
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always one line");
        let empty = line.trim().is_empty();
        if !empty && used + word.len() >= WIDTH {
            lines.push(format!("{}{word}", " ".repeat(rest)));
            used = rest + word.len();
            continue;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        used += word.len() + usize::from(!empty);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_the_program_and_every_option() {
        let text = of_program("x");
        assert!(text.starts_with("NAME:\n   x - Open Container Initiative runtime\n"), "{text}");
        assert!(!text.contains("--criu"), "a hidden option is not shown");
        for command in COMMANDS {
            let text = of_command("x", command);
            assert!(text.starts_with(&format!("NAME:\n   x {} - ", command.name)), "{text}");
            assert!(text.lines().all(|line| line.len() <= WIDTH + 20), "{text}");
            for option in command.options.iter().filter(|option| !option.help.is_empty()) {
                assert!(text.contains(&format!("--{}", option.long)), "{text}");
            }
        }
    }

    #[test]
    fn long_texts_are_broken() {
        let text = wrapped(&"word ".repeat(60), 3, 5);
        assert!(text.lines().count() > 2 && text.starts_with("   word word"), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("     word")), "{text}");
    }
}
