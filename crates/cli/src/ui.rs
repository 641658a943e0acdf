//! The only writer: data goes to standard output, everything else to standard error.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::error::CommandError;

/// Where a command writes, and what it may know about the terminal.
pub(crate) struct Ui {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    /// Whether standard output is a terminal.
    pub(crate) out_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub(crate) err_is_terminal: bool,
    /// Whether standard input is a terminal.
    pub(crate) in_is_terminal: bool,
}

/// Returns `fd` as an unbuffered file, or a sink when it is closed.
fn unbuffered(fd: BorrowedFd<'_>) -> Box<dyn Write> {
    match fd.try_clone_to_owned() {
        Ok(fd) => Box::new(File::from(fd)),
        Err(_) => Box::new(io::sink()),
    }
}

impl Ui {
    /// The process's own standard streams.
    pub(crate) fn standard() -> Self {
        Self {
            out: Box::new(BufWriter::with_capacity(32 * 1024, unbuffered(io::stdout().as_fd()))),
            err: unbuffered(io::stderr().as_fd()),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
            in_is_terminal: io::stdin().is_terminal(),
        }
    }

    /// Writes into the given sinks, as without a terminal.
    #[cfg(test)]
    pub(crate) fn into(out: impl Write + 'static, err: impl Write + 'static) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            out_is_terminal: false,
            err_is_terminal: false,
            in_is_terminal: false,
        }
    }

    /// Writes data without a line end.
    pub(crate) fn data(&mut self, text: impl Display) -> Result<(), CommandError> {
        Ok(write!(self.out, "{text}")?)
    }

    /// Writes one line of data.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), CommandError> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Writes raw bytes of data.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Writes raw bytes for the user, not data.
    pub(crate) fn note_bytes(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        Ok(self.err.write_all(bytes)?)
    }

    /// Sends the buffered data on its way.
    pub(crate) fn flush(&mut self) -> Result<(), CommandError> {
        Ok(self.out.flush()?)
    }

    /// Writes one line for the user, not data. Nothing can be done if that fails.
    pub(crate) fn complain(&mut self, text: impl Display) {
        let _ = self.out.flush();
        let _ = self.err.write_all(format!("{text}\n").as_bytes());
    }

    /// Asks a yes/no question; only `y` and `yes` are yes.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<bool, CommandError> {
        self.data(format_args!("{question} [y/N] "))?;
        self.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}
