//! A command on a real pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A command whose controlling terminal this test holds the other end of.
pub struct Terminal {
    master: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts `command` as the leader of a new session on a terminal of `rows` x `cols`.
    #[must_use]
    pub fn start(command: &Command, rows: u16, cols: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        resize(&File::from(master.try_clone().unwrap()), rows, cols);
        let slave =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
                .unwrap();
        let slave = File::from(slave);
        let mut wrapped = Command::new("setsid");
        wrapped.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        wrapped.stdin(Stdio::from(slave.try_clone().unwrap()));
        wrapped.stdout(Stdio::from(slave.try_clone().unwrap()));
        wrapped.stderr(Stdio::from(slave));
        let child = wrapped.spawn().expect("start on a terminal");
        drop(wrapped);
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        read_all(master.try_clone().unwrap(), Arc::clone(&seen));
        Self { master, child, seen }
    }

    /// Types `text`.
    pub fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Returns everything that was shown so far.
    #[must_use]
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Waits until `text` was shown; returns everything shown.
    #[track_caller]
    pub fn expect(&self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < end, "waiting for {text:?}, the terminal shows:\n{screen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, rows: u16, cols: u16) {
        resize(&self.master, rows, cols);
    }

    /// Waits until the command ended; returns its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(
                Instant::now() < end,
                "the command does not end; the terminal shows:\n{}",
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the terminal's local modes; `ECHO` and `ICANON` are off in raw mode.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.master).unwrap().local_modes;
        !modes.intersects(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // `setsid` waits for the command, which is its child.
        for pid in crate::children_of(&self.child.id().to_string()) {
            let _ = Command::new("kill").args(["-9", &pid]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &File, rows: u16, cols: u16) {
    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

fn read_all(mut master: File, seen: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0_u8; 4096];
        while let Ok(n) = master.read(&mut buffer) {
            if n == 0 {
                return;
            }
            seen.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
    });
}
