//! The log on stderr, or in the journal.

use anyhow::{Context, Result};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::model::{LogFormat, LogLevel};

/// Starts logging.
pub(super) fn start(level: LogLevel, format: LogFormat, colour: bool) -> Result<()> {
    let stderr = std::io::stderr;
    let layer = match format {
        LogFormat::Text => fmt::layer()
            .with_writer(stderr)
            .with_target(false)
            .without_time()
            .with_ansi(colour)
            .boxed(),
        LogFormat::Json => fmt::layer().json().with_writer(stderr).boxed(),
        LogFormat::Journald => tracing_journald::layer()
            .context("cannot log to the journal; is this a systemd system? (--log-format)")?
            .boxed(),
    };
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(level))
        .try_init()
        .context("cannot start the log")
}
