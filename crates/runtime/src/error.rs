//! What can go wrong, in the words that engines look for.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use types::Kind;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The container's id is not one.
    #[error("invalid container ID format: {0:?}{reason}", reason = bad_letter(.0))]
    InvalidId(String),
    /// There is no such container. runc's words, which containerd and Docker look for.
    #[error("container does not exist")]
    NoContainer(String),
    /// The id is in use. runc's words.
    #[error("container with given ID already exists")]
    Exists,
    /// The container is in the wrong state for the request.
    #[error("{0}")]
    State(String),
    /// The container has no process any more. runc's words.
    #[error("container not running")]
    NotRunning,
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// The configuration is no JSON of the right shape.
    #[error("parse `{}`", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A `state.json` that this runtime has not written, or that was changed: nothing in it can be believed.
    #[error("`{}` is not the state of this container: {why}", path.display())]
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A step outside of the container failed.
    #[error("{step}")]
    Step {
        /// Verb and object.
        step: String,
        /// The cause.
        source: io::Error,
    },
    /// A control group could not be made or changed.
    #[error("{step}")]
    Cgroup {
        /// What was wanted.
        step: &'static str,
        /// The cause.
        source: sys::cgroup::CgroupError,
    },
    /// The new process could not become the container's program. runc's words.
    #[error("unable to start container process")]
    Init {
        /// What the process reported.
        source: InitFailure,
    },
    /// The same for a process in a running container. runc's words.
    #[error("unable to start container process")]
    Exec {
        /// What the process reported.
        source: InitFailure,
    },
    /// Something that this runtime does not do.
    #[error("{0}")]
    Unsupported(String),
}

/// Says which character of an id is not allowed, in the words that crun has for it.
fn bad_letter(id: &str) -> String {
    let bad =
        id.chars().find(|letter| !letter.is_ascii_alphanumeric() && !"_+-.".contains(*letter));
    bad.map(|letter| format!(": invalid character `{letter}` in the ID")).unwrap_or_default()
}

impl Error {
    /// Says what the failure means to the one who asked.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Error::Usage(_)
            | Error::InvalidId(_)
            | Error::Config(_)
            | Error::Json { .. }
            | Error::StateFile { .. } => Kind::Invalid,
            Error::NoContainer(_) => Kind::NotFound,
            Error::Exists | Error::State(_) | Error::NotRunning => Kind::Conflict,
            Error::Unsupported(_) => Kind::NotImplemented,
            Error::Step { .. } | Error::Cgroup { .. } => Kind::Internal,
            Error::Init { source } | Error::Exec { source } => match source.errno() {
                Some(Errno::NOENT) => Kind::NotFound,
                Some(Errno::ACCESS) => Kind::Denied,
                _ => Kind::Internal,
            },
        }
    }
}

/// Makes an [`Error::Step`] of an operating system's error.
pub(crate) fn step<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Error {
    let step = step.into();
    move |source| Error::Step { step, source: source.into() }
}

/// Makes an [`Error::Cgroup`].
pub(crate) fn cgroup_step(step: &'static str) -> impl FnOnce(sys::cgroup::CgroupError) -> Error {
    move |source| Error::Cgroup { step, source }
}

/// What the container's first process reports before it becomes the program; it travels as JSON over a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitFailure {
    /// Verb and object, or a whole sentence in runc's words.
    pub step: String,
    /// The error number; 0 if the step says it all.
    pub errno: i32,
    /// Whether the step is about the program itself, so that no "during container init" is put before it.
    pub about_program: bool,
}

impl InitFailure {
    /// A failed step of the set-up.
    pub(crate) fn new(step: impl Into<String>, errno: Errno) -> Self {
        Self { step: step.into(), errno: errno.raw_os_error(), about_program: false }
    }

    /// A sentence that needs no error number after it.
    pub(crate) fn sentence(step: impl Into<String>) -> Self {
        Self { step: step.into(), errno: 0, about_program: false }
    }

    /// What is wrong with the program: runc's words, from which engines derive the exit codes 126 and 127.
    pub(crate) fn program(sentence: impl Into<String>, errno: Errno) -> Self {
        Self { step: sentence.into(), errno: errno.raw_os_error(), about_program: true }
    }

    fn errno(&self) -> Option<Errno> {
        (self.errno != 0).then(|| Errno::from_raw_os_error(self.errno))
    }
}

impl fmt::Display for InitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.about_program {
            return f.write_str(&self.step);
        }
        write!(f, "error during container init: {}", self.step)?;
        match self.errno() {
            Some(errno) => write!(f, ": {}", describe(errno)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for InitFailure {}

/// The words of strerror(3) in the lower case that Go programs use, since clients compare them.
pub(crate) fn describe(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !letters.as_str().starts_with(|c: char| c.is_ascii_uppercase()) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// The whole message of an error, every link of it, in the words that clients compare.
pub(crate) fn message(error: &Error) -> String {
    in_gos_words(&types::Chain(error).to_string())
}

/// Turns `No such file or directory (os error 2)` at the end of a message into `no such file or directory`.
pub(crate) fn in_gos_words(message: &str) -> String {
    let Some((text, number)) = message.rsplit_once(" (os error ") else {
        return message.to_owned();
    };
    let Some(errno) = number.strip_suffix(')').and_then(|number| number.parse::<i32>().ok()) else {
        return message.to_owned();
    };
    let start = text.rfind(": ").map_or(0, |at| at + 2);
    format!("{}{}", &text[..start], describe(Errno::from_raw_os_error(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_gos() {
        assert_eq!(describe(Errno::NOENT), "no such file or directory");
        assert_eq!(describe(Errno::ACCESS), "permission denied");
        assert_eq!(describe(Errno::NOEXEC), "exec format error");
    }

    #[test]
    fn the_last_link_is_put_into_gos_words() {
        let text = "open `/x`: No such file or directory (os error 2)";
        assert_eq!(in_gos_words(text), "open `/x`: no such file or directory");
        assert_eq!(in_gos_words("container not running"), "container not running");
        assert_eq!(in_gos_words("a (os error x)"), "a (os error x)");
    }

    #[test]
    fn a_missing_program_reads_as_runcs() {
        let failure = InitFailure::program(
            "exec: \"nope\": executable file not found in $PATH",
            Errno::NOENT,
        );
        let error = Error::Init { source: failure };
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(
            types::Chain(&error).to_string(),
            "unable to start container process: exec: \"nope\": executable file not found in $PATH"
        );
    }
}
