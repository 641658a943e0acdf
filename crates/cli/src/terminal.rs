//! The user's terminal: raw mode and its undoing, the window's size, signals.

use std::io::{stdin, stdout};
use std::sync::Mutex;

use rustix::termios::{self, OptionalActions, Termios};

/// What the terminal was before it became raw; whoever ends the program puts it back.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Puts the terminal back into the state it had before [`Raw::enter`]; harmless at any time.
pub(crate) fn restore() {
    let before = BEFORE.lock().ok().and_then(|mut before| before.take());
    if let Some(before) = before {
        let _ = termios::tcsetattr(stdin(), OptionalActions::Drain, &before);
    }
}

/// Raw mode for as long as this lives.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Makes standard input raw; does nothing when it is no terminal. A panic anywhere puts it back first.
    pub(crate) fn enter() -> Self {
        let Ok(before) = termios::tcgetattr(stdin()) else {
            return Self(());
        };
        let mut raw = before.clone();
        raw.make_raw();
        if let Ok(mut slot) = BEFORE.lock() {
            *slot = Some(before);
        }
        let words = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            words(panic);
        }));
        let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &raw);
        Self(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Rows and columns of the terminal on standard output.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(stdout()).or_else(|_| termios::tcgetwinsize(stdin())).ok()?;
    (size.ws_row != 0 || size.ws_col != 0).then_some((size.ws_row, size.ws_col))
}

/// Columns of the terminal, 200 when unknown.
pub(crate) fn columns() -> usize {
    size().map_or(200, |(_, columns)| usize::from(columns))
}

/// No echo of what is typed for as long as this lives.
#[derive(Debug)]
pub(crate) struct Silent(());

impl Silent {
    /// Turns the echo of standard input off; does nothing when it is no terminal.
    pub(crate) fn enter() -> Self {
        if let Ok(before) = termios::tcgetattr(stdin()) {
            let mut quiet = before.clone();
            quiet.local_modes.remove(termios::LocalModes::ECHO);
            if let Ok(mut slot) = BEFORE.lock() {
                *slot = Some(before);
            }
            let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &quiet);
        }
        Self(())
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        restore();
    }
}
