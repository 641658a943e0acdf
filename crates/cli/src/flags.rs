//! Flags by pflag's rules, in front of clap.
//!
//! Docker's command line is pflag's: `-dit` is three flags, `-m5g` and `-m=5g` and `--memory 5g` are one, `--rm=false` is legal, the
//! last of two wins, a value may begin with a hyphen, and `run` and `exec` stop at the first word that is not a flag. This module
//! reads argv by those rules, with pflag's words for mistakes, and hands clap a spelling that has one meaning only:
//! `--long=value`… then `--` and the arguments.

use std::collections::BTreeMap;

use clap::ArgAction;

/// What the words of a command line mean.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Words {
    /// `--long=value`, in the order typed; booleans last.
    pub(crate) flags: Vec<String>,
    /// What is not a flag.
    pub(crate) arguments: Vec<String>,
    /// Whether `--help` or `-h` was asked for.
    pub(crate) help: bool,
}

impl Words {
    /// The spelling for clap; `name` is its argv[0].
    pub(crate) fn for_clap(&self, name: &str) -> Vec<String> {
        let mut all = vec![name.to_owned()];
        all.extend(self.flags.iter().cloned());
        if !self.arguments.is_empty() {
            all.push("--".into());
            all.extend(self.arguments.iter().cloned());
        }
        all
    }
}

/// How a flag of the table takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// A boolean; `default` is what it is when not given.
    Switch { default: bool },
    /// Always a value.
    Value,
}

/// One flag of a command.
#[derive(Debug)]
struct Flag {
    long: String,
    /// Older names.
    aliases: Vec<String>,
    short: Option<char>,
    takes: Takes,
}

impl Flag {
    /// Tells whether `--name` means this flag.
    fn is_called(&self, name: &str) -> bool {
        self.long == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// The name in messages: `-m, --memory`.
    fn label(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// Tells whether `arg` is a boolean that is true unless said otherwise.
pub(crate) fn is_default_true(arg: &clap::Arg) -> bool {
    arg.get_num_args().is_some_and(|n| n.min_values() == 0)
}

fn table(command: &clap::Command) -> Vec<Flag> {
    let flag = |arg: &clap::Arg| {
        let long = arg.get_long()?.to_owned();
        let takes = match arg.get_action() {
            ArgAction::SetTrue => Takes::Switch { default: false },
            _ if is_default_true(arg) => Takes::Switch { default: true },
            _ => Takes::Value,
        };
        let aliases =
            arg.get_all_aliases().unwrap_or_default().into_iter().map(str::to_owned).collect();
        Some(Flag { long, aliases, short: arg.get_short(), takes })
    };
    command.get_arguments().filter_map(flag).collect()
}

/// Names the flag `long` of `command` as messages do.
pub(crate) fn label(command: &clap::Command, long: &str) -> String {
    table(command)
        .iter()
        .find(|flag| flag.long == long)
        .map_or_else(|| format!("--{long}"), Flag::label)
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

struct Reader<'a> {
    table: Vec<Flag>,
    rest: std::slice::Iter<'a, String>,
    words: Words,
    switches: BTreeMap<usize, bool>,
}

/// Reads `argv` by the flags of `command`; with `interspersed` flags may follow arguments.
///
/// # Errors
/// pflag's words for an unknown flag, a missing value or a bad boolean.
pub(crate) fn read(
    command: &clap::Command,
    argv: &[String],
    interspersed: bool,
) -> Result<Words, String> {
    let mut reader = Reader {
        table: table(command),
        rest: argv.iter(),
        words: Words::default(),
        switches: BTreeMap::new(),
    };
    while let Some(word) = reader.rest.next() {
        if word == "--" {
            reader.take_the_rest();
        } else if let Some(long) = word.strip_prefix("--") {
            reader.long(long)?;
        } else if word.len() > 1 && word.starts_with('-') {
            reader.shorts(&word[1..])?;
        } else {
            reader.words.arguments.push(word.clone());
            if !interspersed {
                reader.take_the_rest();
            }
        }
        if reader.words.help {
            break;
        }
    }
    Ok(reader.finish())
}

impl Reader<'_> {
    fn take_the_rest(&mut self) {
        let rest = self.rest.by_ref().cloned();
        self.words.arguments.extend(rest);
    }

    fn long(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(at) = self.table.iter().position(|flag| flag.is_called(name)) else {
            if name == "help" {
                self.words.help = true;
                return Ok(());
            }
            return Err(format!("unknown flag: --{name}"));
        };
        match (self.table[at].takes, value) {
            (Takes::Switch { .. }, value) => self.switch(at, value.as_deref()),
            (Takes::Value, Some(value)) => self.value(at, &value),
            (Takes::Value, None) => match self.rest.next() {
                Some(value) => self.value(at, &value.clone()),
                None => Err(format!("flag needs an argument: --{name}")),
            },
        }
    }

    fn shorts(&mut self, text: &str) -> Result<(), String> {
        for (offset, letter) in text.char_indices() {
            let after = &text[offset + letter.len_utf8()..];
            let Some(at) = self.table.iter().position(|flag| flag.short == Some(letter)) else {
                if letter == 'h' {
                    self.words.help = true;
                    return Ok(());
                }
                return Err(format!("unknown shorthand flag: '{letter}' in -{}", &text[offset..]));
            };
            match self.table[at].takes {
                Takes::Switch { .. } => {
                    if let Some(value) = after.strip_prefix('=') {
                        return self.switch(at, Some(value));
                    }
                    self.switch(at, None)?;
                }
                Takes::Value if after.is_empty() => {
                    let Some(value) = self.rest.next() else {
                        return Err(format!(
                            "flag needs an argument: '{letter}' in -{}",
                            &text[offset..]
                        ));
                    };
                    return self.value(at, &value.clone());
                }
                Takes::Value => return self.value(at, after.strip_prefix('=').unwrap_or(after)),
            }
        }
        Ok(())
    }

    fn switch(&mut self, at: usize, value: Option<&str>) -> Result<(), String> {
        let on = match value {
            None => true,
            Some(text) => parse_bool(text).ok_or_else(|| {
                let label = self.table[at].label();
                format!(
                    "invalid argument \"{text}\" for \"{label}\" flag: strconv.ParseBool: parsing \"{text}\": invalid syntax"
                )
            })?,
        };
        self.switches.insert(at, on);
        Ok(())
    }

    fn value(&mut self, at: usize, value: &str) -> Result<(), String> {
        self.words.flags.push(format!("--{}={value}", self.table[at].long));
        Ok(())
    }

    fn finish(mut self) -> Words {
        for (at, on) in self.switches {
            let Flag { long, takes, .. } = &self.table[at];
            match takes {
                Takes::Switch { default: true } => self.words.flags.push(format!("--{long}={on}")),
                _ if on => self.words.flags.push(format!("--{long}")),
                _ => {}
            }
        }
        self.words
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn command() -> Command {
        let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        Command::new("run")
            .arg(switch("detach").short('d'))
            .arg(switch("interactive").short('i'))
            .arg(switch("tty").short('t'))
            .arg(switch("rm"))
            .arg(Arg::new("memory").long("memory").short('m'))
            .arg(Arg::new("env").long("env").short('e').action(ArgAction::Append))
            .arg(Arg::new("sig-proxy").long("sig-proxy").num_args(0..=1))
    }

    fn read_line(line: &str, interspersed: bool) -> Result<Words, String> {
        let argv: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        read(&command(), &argv, interspersed)
    }

    #[test]
    fn bundles_and_values() {
        let words =
            read_line("-dit -m5g -e=A=b --memory -1 --rm=false --sig-proxy=0 image -d x", false)
                .unwrap();
        assert_eq!(
            words.flags,
            [
                "--memory=5g",
                "--env=A=b",
                "--memory=-1",
                "--detach",
                "--interactive",
                "--tty",
                "--sig-proxy=false"
            ]
        );
        assert_eq!(words.arguments, ["image", "-d", "x"]);
    }

    #[test]
    fn flags_may_follow_arguments_where_docker_allows_it() {
        let words = read_line("one -d two -- -t", true).unwrap();
        assert_eq!(words.flags, ["--detach"]);
        assert_eq!(words.arguments, ["one", "two", "-t"]);
    }

    #[test]
    fn mistakes_have_pflags_words() {
        let error = |line| read_line(line, false).unwrap_err();
        assert_eq!(error("--foo"), "unknown flag: --foo");
        assert_eq!(error("-itx b"), "unknown shorthand flag: 'x' in -x");
        assert_eq!(error("--memory"), "flag needs an argument: --memory");
        assert_eq!(error("-de"), "flag needs an argument: 'e' in -e");
        assert_eq!(
            error("--rm=x"),
            "invalid argument \"x\" for \"--rm\" flag: strconv.ParseBool: parsing \"x\": invalid syntax"
        );
    }

    #[test]
    fn help_wins() {
        assert!(read_line("-d --help --foo", false).unwrap().help);
        assert!(!read_line("image --help", false).unwrap().help);
    }
}
