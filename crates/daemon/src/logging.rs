//! The daemon's log: lines on standard error, with a level that SIGHUP can change.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;

/// Changes the level of a running log.
pub(crate) struct LevelSwitch(Box<dyn Fn(LevelFilter) + Send + Sync>);

impl LevelSwitch {
    /// Sets the level.
    pub(crate) fn set(&self, level: LevelFilter) {
        (self.0)(level);
    }
}

/// Begins to log.
pub(crate) fn begin(level: LevelFilter) -> LevelSwitch {
    let (filter, handle) = reload::Layer::new(level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let log = tracing_subscriber::registry().with(filter).with(lines);
    // A second log in one process (tests) keeps the first.
    let _ = tracing::subscriber::set_global_default(log);
    LevelSwitch(Box::new(move |level| {
        let _ = handle.modify(|filter| *filter = level);
    }))
}

/// Reads Docker's level names; `debug` wins over the level.
pub(crate) fn level(name: Option<&str>, debug: bool) -> Option<LevelFilter> {
    let named = match name.unwrap_or("info") {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        _ => return None,
    };
    Some(if debug { named.max(LevelFilter::DEBUG) } else { named })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_dockers() {
        assert_eq!(level(None, false), Some(LevelFilter::INFO));
        assert_eq!(level(Some("fatal"), false), Some(LevelFilter::ERROR));
        assert_eq!(level(Some("warn"), true), Some(LevelFilter::DEBUG));
        assert_eq!(level(Some("trace"), true), Some(LevelFilter::TRACE));
        assert_eq!(level(Some("loud"), false), None);
    }
}
