//! Starting `belljard` when nothing answers on the default socket.
//!
//! The client starts itself again as [`DETACHED`], which leaves the terminal's session (`setsid(2)`) and becomes the daemon; so a
//! Ctrl-C or a closed terminal does not reach it. Never done when the user named a socket.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use crate::error::CommandError;

/// argv[1] of the process that becomes the daemon.
pub(crate) const DETACHED: &str = "__become-belljard";

const LOG: &str = "/run/belljar/belljard.log";
const PATIENCE: Duration = Duration::from_secs(15);

/// The daemon beside our own executable, else the one in the search path.
fn daemon_program() -> PathBuf {
    std::env::current_exe()
        .ok()
        .map(|us| us.with_file_name("belljard"))
        .filter(|beside| beside.exists())
        .unwrap_or_else(|| "belljard".into())
}

/// Leaves the session and becomes the daemon; returns only if that fails.
pub(crate) fn become_daemon(argv: &[String]) -> ExitCode {
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    let error = Command::new(daemon_program()).args(argv).exec();
    let mut ui = crate::ui::Ui::standard();
    ui.complain(format_args!("start {}: {error}", daemon_program().display()));
    ExitCode::from(127)
}

fn spawn() -> std::io::Result<std::process::Child> {
    fs::create_dir_all("/run/belljar")?;
    let log = OpenOptions::new().create(true).append(true).open(LOG)?;
    Command::new(std::env::current_exe()?)
        .arg(DETACHED)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// Starts the daemon and connects as soon as it listens on `path`.
///
/// # Errors
/// It ended, or does not answer in time; the log is named.
pub(crate) async fn start(path: &str) -> Result<UnixStream, CommandError> {
    let mut child =
        spawn().map_err(|error| CommandError::plain(format!("start belljard: {error}")))?;
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    while begun.elapsed() < PATIENCE {
        if let Ok(stream) = UnixStream::connect(path).await {
            return Ok(stream);
        }
        if let Ok(Some(status)) = child.try_wait() {
            let words = format!("belljard was started and ended with {status}: see {LOG}");
            return UnixStream::connect(path).await.map_err(|_| CommandError::plain(words));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Err(CommandError::plain(format!(
        "belljard was started and does not answer on unix://{path}: see {LOG}"
    )))
}
