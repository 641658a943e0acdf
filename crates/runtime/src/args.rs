//! The command line: runc's, read by hand, because a parser of a general kind would cost more than the whole start of a container.

use crate::error::{Error, Result};

/// One option that a command takes.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// The long name without dashes.
    pub long: &'static str,
    /// The one-letter name; NUL for none.
    pub short: char,
    /// Whether a value follows.
    pub value: bool,
}

/// An option with a value.
#[must_use]
pub const fn valued(long: &'static str, short: char) -> Opt {
    Opt { long, short, value: true }
}

/// An option without a value.
#[must_use]
pub const fn switch(long: &'static str, short: char) -> Opt {
    Opt { long, short, value: false }
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
        self.value(long).is_some_and(|value| value != "false" && value != "0")
    }

    /// Reads a value as a number.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is none.
    pub fn number<T: std::str::FromStr>(&self, long: &str) -> Result<Option<T>> {
        self.value(long)
            .map(|text| {
                text.parse()
                    .map_err(|_| Error::Usage(format!("invalid value {text:?} for --{long}")))
            })
            .transpose()
    }
}

/// How many words may stand before everything else is taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Options may stand anywhere.
    Any,
    /// After this many words the rest is left alone: the global options stand before the command (0), those of `exec` before the
    /// program (1).
    Before(usize),
}

/// Reads `words` against the known options. Both `--name value` and `--name=value` are understood, one dash is as good as two, and
/// `--` ends the options.
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
            if matches!(limit, Words::Before(count) if parsed.words.len() > count) {
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
            None if !option.value => "true".to_owned(),
            None => rest
                .next()
                .cloned()
                .ok_or_else(|| Error::Usage(format!("flag needs an argument: {word}")))?,
        };
        parsed.options.push((option.long, value));
        return Ok(());
    }
    if !word.starts_with("--") && cluster(known, name, parsed) {
        return Ok(());
    }
    Err(Error::Usage(format!("flag provided but not defined: {word}")))
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
        .map(|letter| known.iter().find(|option| option.short == letter && !option.value))
        .collect();
    let Some(found) = found else { return false };
    parsed.options.extend(found.into_iter().map(|option| (option.long, "true".to_owned())));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Opt] = &[valued("bundle", 'b'), switch("detach", 'd'), switch("tty", 't')];

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
        let parsed = parse(KNOWN, &words("-dt id ls -t --bundle"), Words::Before(1)).unwrap();
        assert_eq!(parsed.words, ["id", "ls", "-t", "--bundle"]);
        assert!(parsed.is_on("tty") && parsed.is_on("detach"));
        let parsed = parse(KNOWN, &words("id -d -- -t"), Words::Before(1)).unwrap();
        assert_eq!(parsed.words, ["id", "-t"]);
    }

    #[test]
    fn unknown_and_incomplete_options_are_errors() {
        assert!(parse(KNOWN, &words("--nope"), Words::Any).is_err());
        assert!(parse(KNOWN, &words("id -b"), Words::Any).is_err());
        assert!(!parse(KNOWN, &words("--detach=false"), Words::Any).unwrap().is_on("detach"));
    }
}
