//! The log on stderr, or in the journal.

use std::io::stderr;

use anyhow::{Context, Result};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::model::{LogFormat, LogLevel};

/// Fields of which the message says the same in words.
const SAID: [&str; 8] = [
    "column", "kind", "metric", "new", "old", "prefix", "state", "table",
];

/// Changes how much is logged while the program runs.
pub(super) struct Volume(reload::Handle<LevelFilter, Registry>);

impl Volume {
    pub(super) fn set(&self, level: LogLevel) {
        // The log lives as long as the program.
        let _ = self.0.reload(filter(level));
    }
}

/// How a log is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) format: LogFormat,
    pub(super) colour: bool,
    /// With the time of each line: for a program that runs for long.
    pub(super) time: bool,
}

/// Starts logging.
pub(super) fn start(level: LogLevel, style: Style) -> Result<Volume> {
    let layer = match style.format {
        LogFormat::Text => text(style),
        LogFormat::Json => fmt::layer().json().with_writer(stderr).boxed(),
        LogFormat::Journald => tracing_journald::layer()
            .context("cannot log to the journal; is this a systemd system? (--log-format)")?
            .boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter(level));
    tracing_subscriber::registry()
        .with(layer.with_filter(filter.and(filter_fn(is_ours))))
        .try_init()
        .context("cannot start the log")?;
    Ok(Volume(handle))
}

/// Lines for people: the message, and where it comes from. What else there is in fields is for
/// programs, which read JSON or the journal.
fn text(style: Style) -> Box<dyn Layer<Registry> + Send + Sync> {
    let fields = fmt::format::debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        name if SAID.contains(&name) => Ok(()),
        name => write!(writer, " {name}={value:?}"),
    });
    let layer = fmt::layer()
        .with_writer(stderr)
        .with_target(false)
        .with_ansi(style.colour)
        .fmt_fields(fields);
    // The journal has times of its own (systemd.exec(5), JOURNAL_STREAM).
    match style.time && std::env::var_os("JOURNAL_STREAM").is_none() {
        true => layer.boxed(),
        false => layer.without_time().boxed(),
    }
}

/// What kube says of each request that fails is said here once, and in other words.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    !metadata.target().starts_with("kube_client")
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}
