//! Pseudo-terminals of a given devpts instance: ioctl_tty(2), `TIOCGPTPEER` (Linux 4.13).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Winsize};

/// The two ends of a terminal, both close-on-exec.
#[derive(Debug)]
pub struct Pair {
    /// The engine's end.
    pub master: OwnedFd,
    /// The program's end.
    pub slave: OwnedFd,
    /// The number of the terminal in its devpts.
    pub number: u32,
}

const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Opens a new terminal through `ptmx`, a path beneath `root`, and its other end without any further lookup by name.
///
/// # Errors
/// Those of openat2(2); `ENODEV` if the file is not the multiplexer 5:2 of a devpts.
pub fn open_pair(root: impl AsFd, ptmx: &str) -> Result<Pair, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let path = crate::inroot::open(root, ptmx, OFlags::PATH, Mode::empty())?;
    let stat = rustix::fs::fstat(&path)?;
    let file_system = rustix::fs::fstatfs(&path)?.f_type;
    // Anything but the multiplexer 5:2 of a devpts was put there by the image.
    if stat.st_rdev != rustix::fs::makedev(5, 2) || file_system != DEVPTS_MAGIC {
        return Err(Errno::NODEV);
    }
    let master = crate::file::reopen(&path, flags)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    let number = number(&master)?;
    Ok(Pair { master, slave, number })
}

/// ioctl_tty(2) `TIOCGPTN`.
///
/// # Errors
/// Those of ioctl(2).
pub fn number(master: impl AsFd) -> Result<u32, Errno> {
    let mut number: libc::c_uint = 0;
    // SAFETY: TIOCGPTN writes one unsigned int, and `number` is one that outlives the call.
    // JUSTIFICATION: rustix gives the name of the terminal only, as a path.
    let result =
        unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    crate::clone::check(libc::c_long::from(result)).map(|_| number)
}

/// ioctl_tty(2) `TIOCSCTTY`: makes the terminal the controlling one of this session leader.
///
/// # Errors
/// Those of ioctl(2).
pub fn make_controlling(slave: impl AsFd) -> Result<(), Errno> {
    rustix::process::ioctl_tiocsctty(slave)
}

/// ioctl_tty(2) `TIOCSWINSZ`.
///
/// # Errors
/// Those of ioctl(2).
pub fn set_size(terminal: impl AsFd, rows: u16, columns: u16) -> Result<(), Errno> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}

/// termios(3): stops the terminal from turning a line feed into two characters, for a relay to a terminal that does it itself.
///
/// # Errors
/// Those of tcsetattr(3).
pub fn clear_onlcr(terminal: impl AsFd) -> Result<(), Errno> {
    let mut modes = rustix::termios::tcgetattr(&terminal)?;
    modes.output_modes.remove(OutputModes::ONLCR);
    rustix::termios::tcsetattr(terminal, OptionalActions::Now, &modes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_talks_and_has_a_size() {
        let root = crate::inroot::open_root(std::path::Path::new("/")).unwrap();
        let Ok(pair) = open_pair(&root, "dev/pts/ptmx") else { return };
        set_size(&pair.master, 40, 100).unwrap();
        assert_eq!(rustix::termios::tcgetwinsize(&pair.slave).unwrap().ws_col, 100);
        clear_onlcr(&pair.slave).unwrap();
        rustix::io::write(&pair.slave, b"a\n").unwrap();
        let mut bytes = [0; 8];
        let count = rustix::io::read(&pair.master, &mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"a\n");
    }

    #[test]
    fn a_file_that_is_no_multiplexer_is_refused() {
        let root = crate::inroot::open_root(std::path::Path::new("/")).unwrap();
        assert_eq!(open_pair(&root, "dev/null").unwrap_err(), Errno::NODEV);
    }
}
