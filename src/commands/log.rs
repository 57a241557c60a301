//! The log on stderr, or in the journal.

use anyhow::{Context, Result};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::cli::{Global, LogFormat};

/// Starts logging as the flags say: warnings and errors, unless told otherwise.
pub(super) fn start(global: &Global) -> Result<()> {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    let layer = match global.log_format {
        LogFormat::Text => text_layer(global).boxed(),
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
        LogFormat::Journald => tracing_journald::layer()
            .context("cannot log to the journal; is this a systemd system? (--log-format)")?
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(level))
        .try_init()
        .context("cannot start the log")
}

fn text_layer<S>(global: &Global) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let colour = super::output::Form::of(global).colour(&std::io::stderr());
    fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(colour)
}
