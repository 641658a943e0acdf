//! The command line. Parsed by hand: a shim is started for every container, and its size counts.

use crate::ShimError;
use std::ffi::OsString;
use std::path::PathBuf;
use types::ContainerId;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
belljar-shim: keeps one container's streams, log and exit status

usage: belljar-shim --id ID --bundle DIR --state-dir DIR
       belljar-shim --adopt --pid PID --id ID --bundle DIR --state-dir DIR

  --id ID          the container
  --bundle DIR     holds config.json and shim.json
  --state-dir DIR  receives shim.sock, shim.pid, init.pid and exit.json
  --adopt          takes over a running container whose shim was lost
  --pid PID        the container's init process
  --foreground     does not detach
  --help, --version
";

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Version,
    Serve(Args),
}

/// Which container to serve, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) id: ContainerId,
    pub(crate) bundle: PathBuf,
    pub(crate) state_dir: PathBuf,
    /// The init process of a running container to take over.
    pub(crate) adopt: Option<u32>,
    pub(crate) foreground: bool,
}

/// Reads the arguments behind the program's name.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, ShimError> {
    let (mut id, mut bundle, mut state_dir, mut pid) = (None, None, None, None);
    let (mut adopt, mut foreground) = (false, false);
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let text = arg.into_string().map_err(|arg| usage(arg.to_string_lossy()))?;
        let (flag, inline) = match text.split_once('=') {
            Some((flag, value)) => (flag, Some(OsString::from(value))),
            None => (text.as_str(), None),
        };
        let mut value = || inline.clone().or_else(|| args.next()).ok_or_else(|| usage(flag));
        match flag {
            "--help" | "-h" => return Ok(Command::Help),
            "--version" => return Ok(Command::Version),
            "--adopt" => adopt = true,
            "--foreground" => foreground = true,
            "--id" => id = Some(value()?),
            "--bundle" => bundle = Some(PathBuf::from(value()?)),
            "--state-dir" => state_dir = Some(PathBuf::from(value()?)),
            "--pid" => pid = Some(value()?),
            _ => return Err(usage(flag)),
        }
    }
    let id = id.ok_or_else(|| usage("--id"))?;
    let id = id.to_str().and_then(|id| id.parse().ok());
    let pid = pid.map(|pid| pid.to_str().and_then(|pid| pid.parse::<u32>().ok()));
    let adopt = match (adopt, pid) {
        (false, None) => None,
        (true, Some(Some(pid))) if pid > 0 => Some(pid),
        _ => return Err(usage("--pid")),
    };
    Ok(Command::Serve(Args {
        id: id.ok_or_else(|| usage("--id"))?,
        bundle: bundle.ok_or_else(|| usage("--bundle"))?,
        state_dir: state_dir.ok_or_else(|| usage("--state-dir"))?,
        adopt,
        foreground,
    }))
}

fn usage(argument: impl Into<String>) -> ShimError {
    ShimError::Usage { argument: argument.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parsed(text: &str) -> Result<Command, String> {
        parse(text.split_whitespace().map(OsString::from)).map_err(|err| err.to_string())
    }

    #[test]
    fn a_full_command_line_is_read() {
        let Ok(Command::Serve(args)) =
            parsed(&format!("--id {ID} --bundle=/b --state-dir /s --adopt --pid 7"))
        else {
            panic!("refused")
        };
        assert_eq!(args.id.to_string(), ID);
        assert_eq!((args.bundle, args.adopt), (PathBuf::from("/b"), Some(7)));
        assert_eq!(parsed("--id x --help"), Ok(Command::Help));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let missing = |text: &str| parsed(text).unwrap_err();
        assert_eq!(missing(&format!("--id {ID} --bundle /b")), "read argument `--state-dir`");
        assert_eq!(missing("--id ../x --bundle /b --state-dir /s"), "read argument `--id`");
        assert_eq!(missing("--frobnicate"), "read argument `--frobnicate`");
        assert_eq!(
            missing(&format!("--id {ID} --bundle /b --state-dir /s --adopt")),
            "read argument `--pid`"
        );
        assert_eq!(missing("--id"), "read argument `--id`");
    }
}
