//! The command line: runc's, read by hand, because a parser of a general kind would cost more than the whole start of a container.

use crate::error::{Error, Result};

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing, or `=true` and `=false`.
    Switch,
    /// A text.
    Text,
    /// A whole number.
    Number,
}

/// One option that a command takes.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// The long name without dashes.
    pub long: &'static str,
    /// The one-letter name; NUL for none.
    pub short: char,
    /// What follows it.
    pub value: Value,
    /// What it does, for `--help`; empty for one that is understood and not shown.
    pub help: &'static str,
}

/// An option with a text.
#[must_use]
pub const fn valued(long: &'static str, short: char, help: &'static str) -> Opt {
    Opt { long, short, value: Value::Text, help }
}

/// An option with a whole number.
#[must_use]
pub const fn number(long: &'static str, short: char, help: &'static str) -> Opt {
    Opt { long, short, value: Value::Number, help }
}

/// An option without a value.
#[must_use]
pub const fn switch(long: &'static str, short: char, help: &'static str) -> Opt {
    Opt { long, short, value: Value::Switch, help }
}

/// What was found on a command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    options: Vec<(&'static str, String)>,
    /// The words that are no options.
    pub words: Vec<String>,
}

impl Parsed {
    /// Returns the last value of an option.
    #[must_use]
    pub fn value(&self, long: &str) -> Option<&str> {
        self.options.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// Returns every value of an option.
    pub fn values<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// Tells whether a switch is on.
    #[must_use]
    pub fn is_on(&self, long: &str) -> bool {
        self.value(long).is_some_and(|value| truth(value) == Some(true))
    }

    /// Returns the value of an option if it is there and not empty: an empty text is as good as none to every option but few.
    #[must_use]
    pub fn text(&self, long: &str) -> Option<&str> {
        self.value(long).filter(|value| !value.is_empty())
    }

    /// Reads a value as a number.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is none.
    pub fn number<T: std::str::FromStr>(&self, long: &str) -> Result<Option<T>> {
        self.value(long)
            .map(|text| {
                text.parse().map_err(|_| {
                    Error::Usage(format!("invalid value {text:?} for flag -{long}: parse error"))
                })
            })
            .transpose()
    }
}

/// Reads what Go's `strconv.ParseBool` takes for a truth value.
#[must_use]
pub fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Where options may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Anywhere.
    Any,
    /// Before the first word; the rest is left alone. So for the global options, which stand before the command, and for `exec`
    /// and `ps`, whose later words are another program's.
    First,
}

/// Reads `words` against the known options. Both `--name value` and `--name=value` are understood, one dash is as good as two, and
/// `--` ends the options. `--help` and `-h` are known everywhere.
///
/// # Errors
/// [`Error::Usage`] for an unknown option and a missing value.
pub fn parse(known: &[Opt], words: &[String], limit: Words) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            parsed.words.extend(rest.cloned());
            break;
        }
        let Some(body) = option_body(word) else {
            parsed.words.push(word.clone());
            if limit == Words::First {
                parsed.words.extend(rest.cloned());
                break;
            }
            continue;
        };
        parse_option(known, word, body, &mut rest, &mut parsed)?;
    }
    Ok(parsed)
}

fn option_body(word: &str) -> Option<&str> {
    let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    (!body.is_empty()).then_some(body)
}

fn parse_option(
    known: &[Opt],
    word: &str,
    body: &str,
    rest: &mut std::slice::Iter<'_, String>,
    parsed: &mut Parsed,
) -> Result<()> {
    let (name, given) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (body, None),
    };
    if let Some(option) = known.iter().find(|option| names(option, name)) {
        let value = match given {
            Some(value) => value,
            None if option.value == Value::Switch => "true".to_owned(),
            None => rest
                .next()
                .cloned()
                .ok_or_else(|| Error::Usage(format!("flag needs an argument: -{name}")))?,
        };
        check(option, name, &value)?;
        parsed.options.push((option.long, value));
        return Ok(());
    }
    if matches!(name, "help" | "h") {
        parsed.options.push(("help", "true".to_owned()));
        return Ok(());
    }
    if !word.starts_with("--") && cluster(known, name, parsed) {
        return Ok(());
    }
    Err(Error::Usage(format!("flag provided but not defined: -{name}")))
}

/// Refuses a value of the wrong kind, in the words of Go's flag package.
fn check(option: &Opt, name: &str, value: &str) -> Result<()> {
    match option.value {
        Value::Switch if truth(value).is_none() => {
            Err(Error::Usage(format!("invalid boolean value {value:?} for -{name}: parse error")))
        }
        Value::Number if value.parse::<i64>().is_err() => {
            Err(Error::Usage(format!("invalid value {value:?} for flag -{name}: parse error")))
        }
        _ => Ok(()),
    }
}

fn names(option: &Opt, name: &str) -> bool {
    let mut letters = name.chars();
    option.long == name
        || (option.short != '\0'
            && letters.next() == Some(option.short)
            && letters.next().is_none())
}

/// Several switches in one word, such as `-dt`.
fn cluster(known: &[Opt], letters: &str, parsed: &mut Parsed) -> bool {
    let found: Option<Vec<&Opt>> = letters
        .chars()
        .map(|letter| {
            known.iter().find(|option| option.short == letter && option.value == Value::Switch)
        })
        .collect();
    let Some(found) = found else { return false };
    parsed.options.extend(found.into_iter().map(|option| (option.long, "true".to_owned())));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Opt] = &[
        valued("bundle", 'b', ""),
        switch("detach", 'd', ""),
        switch("tty", 't', ""),
        number("preserve-fds", '\0', ""),
    ];

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_stand_anywhere() {
        for line in ["-b /x -d id", "id --bundle=/x --detach", "-bundle /x id -d", "-d id -b=/x"] {
            let parsed = parse(KNOWN, &words(line), Words::Any).unwrap();
            assert_eq!(parsed.value("bundle"), Some("/x"), "{line}");
            assert!(parsed.is_on("detach"), "{line}");
            assert_eq!(parsed.words, ["id"], "{line}");
        }
    }

    #[test]
    fn a_program_keeps_its_options() {
        let parsed = parse(KNOWN, &words("-dt id ls -t --bundle"), Words::First).unwrap();
        assert_eq!(parsed.words, ["id", "ls", "-t", "--bundle"]);
        assert!(parsed.is_on("tty") && parsed.is_on("detach"));
        let parsed = parse(KNOWN, &words("id -e -x"), Words::First).unwrap();
        assert_eq!(parsed.words, ["id", "-e", "-x"]);
    }

    #[test]
    fn wrong_options_are_errors_in_gos_words() {
        for (line, want) in [
            ("--nope", "flag provided but not defined: -nope"),
            ("id -b", "flag needs an argument: -b"),
            ("id --detach=maybe", "invalid boolean value \"maybe\" for -detach: parse error"),
            ("--preserve-fds x", "invalid value \"x\" for flag -preserve-fds: parse error"),
        ] {
            let error = parse(KNOWN, &words(line), Words::Any).unwrap_err();
            assert_eq!(error.to_string(), want, "{line}");
        }
        assert!(!parse(KNOWN, &words("--detach=F"), Words::Any).unwrap().is_on("detach"));
    }
}
