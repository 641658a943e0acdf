//! What a command can fail with, and the one table from a failure to an exit code.

use std::io;

use crate::ui::Ui;

/// Exit code of a client whose reader went away: 128 + SIGPIPE.
const CLOSED_PIPE: u8 = 141;

/// The reason why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// A flag is unknown or its value is wrong.
    #[error(
        "{message}\n\nUsage:  {program} {usage}\n\nRun '{program} --help' for more information"
    )]
    Flag { message: String, program: String, usage: String },
    /// The number of arguments is wrong.
    #[error("belljar: '{program}' {message}\n\nUsage:  {program} {usage}\n\n{tail}")]
    Arity { message: String, program: String, usage: String, tail: String },
    /// The engine answered with an error.
    #[error("Error response from daemon: {message}")]
    Api { status: u16, message: String },
    /// Nothing listens at the address.
    #[error("Cannot connect to the Belljar daemon at {address}. Is the belljar daemon running?")]
    Unreachable { address: String },
    /// The socket is there, but not for this user.
    #[error(
        "permission denied while trying to connect to the Belljar daemon socket at {address}: connect: permission denied"
    )]
    SocketDenied { address: String },
    /// The connection broke or the answer is not HTTP.
    #[error("error during connect: {0}")]
    Transport(String),
    /// `run` or `create` could not do its work: Docker's exit codes 125, 126 and 127.
    #[error("belljar: {source}\n\nRun '{program} --help' for more information")]
    Run { program: String, source: Box<CommandError> },
    /// Words for the user, exit code 1.
    #[error("{0}")]
    Plain(String),
    /// Words for the user and a code.
    #[error("{message}")]
    Coded { code: u8, message: String },
    /// Everything was said already, or nothing is to be said.
    #[error("exit {0}")]
    Exit(u8),
    /// The reader of our output went away.
    #[error("closed pipe")]
    ClosedPipe,
    /// A file of the host.
    #[error("{verb} {path}: {}", io_words(source))]
    File {
        verb: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
}

/// The words of an I/O error as Go prints them: lower case, without the number.
pub(crate) fn io_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

impl CommandError {
    /// A failure that is only words.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self::Plain(message.into())
    }

    /// A failure to use the file at `path`.
    pub(crate) fn file(verb: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        Self::File { verb, path: path.into(), source }
    }

    /// Tells whether the engine said that the object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { status: 404, .. })
    }

    /// The table from failure to exit code: 125 for flags and for what `run` could not do, 126 and 127 for a command that cannot
    /// be executed, 1 for the rest.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Flag { .. } => 125,
            Self::Run { source, .. } => source.start_code(),
            Self::Coded { code, .. } | Self::Exit(code) => *code,
            Self::ClosedPipe => CLOSED_PIPE,
            _ => 1,
        }
    }

    /// The code of `run` when the container did not start, read from the engine's words as Docker's client does.
    fn start_code(&self) -> u8 {
        let Self::Api { message, .. } = self else {
            return 125;
        };
        let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if has(&["executable file not found", "no such file or directory", "system cannot find"]) {
            127
        } else if has(&["permission denied", "is a directory", "invalid argument: exec format"]) {
            126
        } else {
            125
        }
    }

    /// The next thing to type, where there is one.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } => Some(
                "start it with 'belljard', or name another socket with -H or DOCKER_HOST".into(),
            ),
            Self::SocketDenied { .. } => Some("run as root: 'sudo belljar …'".into()),
            Self::Run { source, .. } => source.hint(),
            _ => None,
        }
    }

    /// Prints the failure on standard error, if there is something to say.
    pub(crate) fn report(&self, ui: &mut Ui) {
        if matches!(self, Self::Exit(_) | Self::ClosedPipe) {
            return;
        }
        ui.complain(self);
        if let Some(hint) = self.hint() {
            ui.complain(format_args!("\nhint: {hint}"));
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::Plain(io_words(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(message: &str) -> u8 {
        let source = Box::new(CommandError::Api { status: 400, message: message.into() });
        CommandError::Run { program: "belljar run".into(), source }.exit_code()
    }

    #[test]
    fn exit_codes_follow_the_engines_words() {
        assert_eq!(start("exec: \"x\": executable file not found in $PATH: unknown"), 127);
        assert_eq!(start("exec: \"/x\": stat /x: no such file or directory: unknown"), 127);
        assert_eq!(start("exec: \"/etc/passwd\": permission denied: unknown"), 126);
        assert_eq!(start("Conflict. The container name \"/x\" is already in use"), 125);
        assert_eq!(CommandError::plain("x").exit_code(), 1);
        assert_eq!(CommandError::ClosedPipe.exit_code(), 141);
    }

    #[test]
    fn a_run_failure_reads_like_dockers() {
        let source = Box::new(CommandError::Api { status: 409, message: "in use".into() });
        let error = CommandError::Run { program: "belljar run".into(), source };
        assert_eq!(
            error.to_string(),
            "belljar: Error response from daemon: in use\n\nRun 'belljar run --help' for more information"
        );
    }

    #[test]
    fn files_are_named_as_go_names_them() {
        let error = CommandError::file("open", "/x", io::Error::from_raw_os_error(2));
        assert_eq!(error.to_string(), "open /x: no such file or directory");
    }
}
