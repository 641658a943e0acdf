//! Stops the calling thread's disk work at a chosen step.
//!
//! A test arms the thread with a number; the step with that number and every later one fails with [`STOPPED`], so that clean-up code
//! cannot tidy what a killed process could not have tidied. The step that is stopped first may be left half done, as a kill
//! leaves it. Unarmed, a step costs one thread-local load.

use std::cell::Cell;
use std::io;

/// The words of the error that an armed thread gets.
pub const STOPPED: &str = "stopped at a failpoint";

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Unarmed) };
    static PASSED: Cell<u64> = const { Cell::new(0) };
}

#[derive(Clone, Copy)]
enum State {
    Unarmed,
    Armed {
        left: u64,
    },
    /// At the very step that is stopped.
    Stopping,
    Stopped,
}

/// Lets `steps` steps of this thread pass and stops all later ones until [`disarm`].
pub fn arm(steps: u64) {
    STATE.set(State::Armed { left: steps });
    PASSED.set(0);
}

/// Lets every step pass again; returns how many passed since [`arm`].
pub fn disarm() -> u64 {
    STATE.set(State::Unarmed);
    PASSED.get()
}

/// Passes one step.
///
/// # Errors
/// [`STOPPED`] when the thread is armed and its steps are used up.
pub fn pass() -> io::Result<()> {
    match STATE.get() {
        State::Unarmed => return Ok(()),
        State::Armed { left: 0 } => STATE.set(State::Stopping),
        State::Armed { left } => {
            STATE.set(State::Armed { left: left - 1 });
            PASSED.set(PASSED.get() + 1);
            return Ok(());
        }
        State::Stopping | State::Stopped => STATE.set(State::Stopped),
    }
    Err(io::Error::other(STOPPED))
}

/// Passes one step that a kill can leave half done: the first one that is stopped does `half` of its work.
///
/// # Errors
/// As [`pass`].
pub fn pass_or_tear(half: impl FnOnce()) -> io::Result<()> {
    let passed = pass();
    if passed.is_err() && matches!(STATE.get(), State::Stopping) {
        half();
    }
    passed
}
