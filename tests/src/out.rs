//! What a command came to.

use std::process::Output;

/// The exit code and the two streams of a command that ended.
#[derive(Debug, Clone)]
pub struct Out {
    /// The exit code; 128 + n for a command that signal n ended.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The words of the command.
    pub command: String,
}

impl Out {
    pub(crate) fn new(command: String, output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let code =
            output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr), command }
    }

    /// Fails the test unless the command succeeded; returns its standard output, trimmed.
    #[track_caller]
    #[must_use]
    pub fn ok(&self) -> String {
        assert_eq!(
            self.code, 0,
            "{}\nstdout: {}\nstderr: {}",
            self.command, self.stdout, self.stderr
        );
        self.stdout.trim().to_owned()
    }

    /// Fails the test unless the command ended with `code` and said `text` on standard error.
    #[track_caller]
    pub fn fails(&self, code: i32, text: &str) {
        assert_eq!(
            self.code, code,
            "{}\nstdout: {}\nstderr: {}",
            self.command, self.stdout, self.stderr
        );
        assert!(
            self.stderr.contains(text),
            "{}\nwant: {text}\nstderr: {}",
            self.command,
            self.stderr
        );
    }

    /// Returns the lines of standard output.
    #[must_use]
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}
