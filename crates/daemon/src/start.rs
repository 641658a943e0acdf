//! The daemon's life: settings, log, sockets, engine, signals.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use engine::{Engine, EngineError};
use tokio::signal::unix::{SignalKind, signal};
use types::Chain;

use crate::config::{self, ConfigError};
use crate::embedded;
use crate::flags::{Flags, Options};
use crate::listen::{self, ListenError};
use crate::logging::{self, LevelSwitch};
use crate::notify;
use crate::pidfile::{Pidfile, PidfileError};
use crate::server::{self, App};
use crate::settings::{self, SettingError, Settings};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("read the configuration")]
    Config(#[source] ConfigError),
    #[error("check the configuration")]
    Setting(#[source] SettingError),
    #[error("unknown log level `{name}`")]
    LogLevel { name: String },
    #[error("belljard makes namespaces, mounts and links: it must be started as root")]
    NotRoot,
    #[error("take the pid file")]
    Pidfile(#[source] PidfileError),
    #[error("start listening")]
    Listen(#[source] ListenError),
    #[error("start the threads")]
    Runtime(#[source] std::io::Error),
    #[error("open the engine on `{}`", root.display())]
    Engine { root: PathBuf, source: EngineError },
}

/// Runs `belljard` with the words of its command line.
#[must_use]
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::try_parse_from(words) {
        Ok(flags) => flags,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match start(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "belljard: {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn start(flags: &Flags) -> Result<(), StartError> {
    let options = config::read(flags).map_err(StartError::Config)?;
    let settings = settings::complete(&options, &programs()).map_err(StartError::Setting)?;
    let level = level_of(&options)?;
    if flags.validate {
        let _ = writeln!(std::io::stdout(), "configuration OK");
        return Ok(());
    }
    let switch = logging::begin(level);
    if !rustix::process::geteuid().is_root() {
        return Err(StartError::NotRoot);
    }
    note_ignored(&options);
    let _pidfile = Pidfile::take(&settings.pidfile).map_err(StartError::Pidfile)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .thread_name("belljard")
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let end = runtime.block_on(run(settings, flags, &switch));
    // Nothing is owed to anyone: requests under way are cut, containers live on.
    runtime.shutdown_background();
    end
}

/// The directory of this program, where the others lie too.
fn programs() -> PathBuf {
    let me = std::env::current_exe().unwrap_or_default();
    me.parent().map(std::path::Path::to_owned).unwrap_or_default()
}

fn level_of(options: &Options) -> Result<tracing::level_filters::LevelFilter, StartError> {
    let (name, debug) = (options.log_level.as_deref(), options.debug.unwrap_or(false));
    let unknown = || StartError::LogLevel { name: name.unwrap_or_default().to_owned() };
    logging::level(name, debug).ok_or_else(unknown)
}

fn note_ignored(options: &Options) {
    if let Some(socket) = &options.containerd {
        tracing::warn!(socket, "--containerd is ignored: there is no containerd");
    }
    if options.live_restore == Some(false) {
        tracing::warn!("--live-restore=false is ignored: containers always outlive the daemon");
    }
    if options.userland_proxy == Some(true) {
        tracing::warn!("--userland-proxy is ignored: ports are published by the kernel alone");
    }
}

async fn run(settings: Settings, flags: &Flags, switch: &LevelSwitch) -> Result<(), StartError> {
    // Bound before recovery: clients that come meanwhile wait instead of failing.
    let mut listeners =
        listen::bind(&settings.hosts, settings.group.as_deref()).map_err(StartError::Listen)?;
    let root = settings.engine.data_root.clone();
    let engine = Engine::open(settings.engine.clone())
        .await
        .map_err(|source| StartError::Engine { root, source })?;
    let hosts = settings.hosts.clone();
    let app = App::new(engine, settings);
    embedded::load(&app.engine, &programs()).await;
    for listener in listeners.all.drain(..) {
        tokio::spawn(server::accept(listener, Arc::clone(&app)));
    }
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, pid = std::process::id(), ?hosts, "ready");
    notify::ready();
    until_told(flags, switch).await.map_err(StartError::Runtime)?;
    app.engine.close().await;
    tracing::info!("leave; containers live on");
    Ok(())
}

/// Waits for SIGTERM or SIGINT; SIGHUP reads the log level again.
async fn until_told(flags: &Flags, switch: &LevelSwitch) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload(flags, switch),
        }
    }
}

fn reload(flags: &Flags, switch: &LevelSwitch) {
    let level = config::read(flags).map_err(StartError::Config).and_then(|o| level_of(&o));
    match level {
        Ok(level) => {
            switch.set(level);
            tracing::info!(%level, "reloaded the configuration");
        }
        Err(error) => tracing::error!("reload the configuration: {}", Chain(&error)),
    }
}
