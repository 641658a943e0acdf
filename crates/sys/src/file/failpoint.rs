//! Stops the calling thread's disk work at a chosen step.
//!
//! A test arms the thread with a number; the step with that number and every later one fails with [`STOPPED`], so that clean-up code
//! cannot tidy what a killed process could not have tidied. Unarmed, a step costs one thread-local load.

use std::cell::Cell;
use std::io;

/// The words of the error that an armed thread gets.
pub const STOPPED: &str = "stopped at a failpoint";

thread_local! {
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    static PASSED: Cell<u64> = const { Cell::new(0) };
}

/// Lets `steps` steps of this thread pass and stops all later ones until [`disarm`].
pub fn arm(steps: u64) {
    LEFT.set(Some(steps));
    PASSED.set(0);
}

/// Lets every step pass again; returns how many passed since [`arm`].
pub fn disarm() -> u64 {
    LEFT.set(None);
    PASSED.get()
}

/// Passes one step.
///
/// # Errors
/// [`STOPPED`] when the thread is armed and its steps are used up.
pub fn pass() -> io::Result<()> {
    match LEFT.get() {
        None => Ok(()),
        Some(0) => Err(io::Error::other(STOPPED)),
        Some(left) => {
            LEFT.set(Some(left - 1));
            PASSED.set(PASSED.get() + 1);
            Ok(())
        }
    }
}
