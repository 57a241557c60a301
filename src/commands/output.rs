//! Writing to stdout and stderr: colour, formats, and pipes that close early.

use std::io::{self, BufWriter, IsTerminal, Write};

use anyhow::Result;
use serde::Serialize;

use crate::cli::{Color, Global, Output};
use crate::report::{CheckReport, Detail, Report, Style};

/// How the user wants to see results.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    output: Output,
    color: Color,
}

impl Form {
    pub(super) fn of(global: &Global) -> Self {
        Self {
            output: global.output,
            color: global.color,
        }
    }

    /// Its word, as the daemon understands it too.
    pub(super) fn word(self) -> &'static str {
        match self.output {
            Output::Text => "text",
            Output::Wide => "wide",
            Output::Json => "json",
            Output::Yaml => "yaml",
        }
    }

    /// Whether a program reads the result.
    pub(super) fn is_data(self) -> bool {
        matches!(self.output, Output::Json | Output::Yaml)
    }

    /// Whether text to this stream is coloured.
    pub(super) fn colour(self, stream: &impl IsTerminal) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                stream.is_terminal() && !refused
            }
        }
    }

    /// Writes a report to stdout.
    pub(super) fn report(self, report: &Report<'_>) -> Result<()> {
        if self.is_data() {
            return self.data(report);
        }
        let style = self.style();
        stdout(|out| Ok(report.write_text(out, style)?))
    }

    /// Writes what checks came to to stdout.
    pub(super) fn checks(self, report: &CheckReport<'_>) -> Result<()> {
        if self.is_data() {
            return self.data(report);
        }
        let style = self.style();
        stdout(|out| Ok(report.write_text(out, style)?))
    }

    /// How text on stdout is written.
    pub(super) fn style(self) -> Style {
        Style {
            colour: self.colour(&io::stdout()),
            detail: match self.output {
                Output::Wide => Detail::Wide,
                _ => Detail::Short,
            },
        }
    }

    /// Writes a value to stdout, as JSON or as YAML.
    pub(super) fn data(self, value: &impl Serialize) -> Result<()> {
        stdout(|out| {
            if self.output == Output::Yaml {
                let text = serde_yaml::to_string(value)?;
                return Ok(out.write_all(text.as_bytes())?);
            }
            serde_json::to_writer_pretty(&mut *out, value)?;
            Ok(writeln!(out)?)
        })
    }
}

/// Writes to stdout, buffered.
pub(super) fn stdout(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    write(&mut out)?;
    Ok(out.flush()?)
}

/// Writes text to stderr. Nobody can be told if that fails.
pub(super) fn stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says what went wrong, with the whole chain of causes.
pub(super) fn complain(error: &anyhow::Error) {
    stderr(&format!("error: {error:#}\n"));
}

/// Whether the reader of stdout went away (`srsync plan … | head`), which is no error of ours.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        let json = cause.downcast_ref::<serde_json::Error>();
        let kind = io
            .map(io::Error::kind)
            .or(json.and_then(|json| json.io_error_kind()));
        kind == Some(io::ErrorKind::BrokenPipe)
    })
}
