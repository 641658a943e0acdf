//! The doors at which the fuzz targets knock: readers of hostile text that have no effect, each by itself.

use crate::args::{self, Words};
use crate::command::table::{COMMANDS, GLOBAL};
use crate::error::Result;
use crate::plan::Options;

/// Mount options as they were understood, in the bits of mount_setattr(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Set on the mount itself, and cleared.
    pub own: (u64, u64),
    /// Set on the mount and all beneath, and cleared.
    pub recursive: (u64, u64),
    /// How many changes of propagation there are.
    pub propagations: usize,
    /// What is left for the file system.
    pub data: Vec<(String, Option<String>)>,
}

/// Reads the options of a mount.
#[must_use]
pub fn mount_options(options: &[String]) -> MountOptions {
    let read = Options::parse(options);
    MountOptions {
        own: (read.set.bits(), read.clear.bits()),
        recursive: (read.recursive_set.bits(), read.recursive_clear.bits()),
        propagations: read.propagation.len(),
        data: read.data,
    }
}

/// Reads a command line without running the command, and returns its name.
///
/// # Errors
/// [`crate::Error::Usage`].
pub fn command_line(words: &[String]) -> Result<Option<&'static str>> {
    let global = args::parse(GLOBAL, words, Words::First)?;
    let Some((name, rest)) = global.words.split_first() else { return Ok(None) };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Ok(None);
    };
    let parsed = args::parse(command.options, rest, command.words)?;
    let _ = command.arity.complaint(parsed.words.len());
    for option in command.options {
        let _ = parsed.number::<u32>(option.long);
        let _ = (
            parsed.is_on(option.long),
            parsed.text(option.long),
            parsed.values(option.long).count(),
        );
    }
    Ok(Some(command.name))
}
