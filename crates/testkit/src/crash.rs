//! Stops a room before every step it takes on the disk, as a killed daemon stops.

use std::path::Path;

use sys::file::failpoint;

/// Runs `act` again and again on fresh directories, stopped before its first, second, … step, until it is not stopped any more.
///
/// `arrange` makes the state before; `check` gets the directory and whether `act` said that it had done its work, and must reopen the room.
/// Returns how many different stops there were.
pub fn at_every_step<E>(
    arrange: impl Fn(&Path),
    act: impl Fn(&Path) -> Result<(), E>,
    check: impl Fn(&Path, bool),
) -> u64 {
    let mut steps = 0;
    loop {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        arrange(root.path());
        failpoint::arm(steps);
        let done = act(root.path()).is_ok();
        let passed = failpoint::disarm();
        check(root.path(), done);
        if passed < steps {
            return passed;
        }
        steps += 1;
    }
}
