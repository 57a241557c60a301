//! Reading documents and the config file, and showing what is wrong with them.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::output::{self, Form};
use super::session::Session;
use super::{Invalid, UsageError};
use crate::cli::{Global, Paths};
use crate::config;
use crate::model::{FileId, FileName, Names};
use crate::source::{self, Loaded, PathArg};
use crate::spec::{self, Diagnostic, Severity};

/// Reads the documents of a command. Everything found in them is shown on stderr.
///
/// # Errors
/// If no paths are given, or not every document could be read and is valid.
pub(super) fn load(session: &Session, paths: &Paths) -> Result<Loaded> {
    let loaded = read(session, paths)?;
    show(
        &loaded.diagnostics,
        &loaded.files,
        session.form,
        Sink::Stderr,
    )?;
    if loaded.is_complete() {
        return Ok(loaded);
    }
    if session.form.is_data() {
        session.form.data(&Findings::of(&loaded))?;
    }
    Err(Invalid(format!(
        "{}; nothing was changed",
        count(&loaded.diagnostics)
    ))
    .into())
}

/// Reads the documents of a command, and leaves it to the caller what to make of their errors.
pub(super) fn read(session: &Session, paths: &Paths) -> Result<Loaded> {
    let paths: Vec<PathArg> = session
        .paths(paths)
        .iter()
        .map(|path| path.as_os_str().into())
        .collect();
    if paths.is_empty() {
        let message = "no PATH given, and the config file names no `sources`; say which directory \
                       or files to read (`-` is stdin)";
        return Err(UsageError(message.to_owned()).into());
    }
    let loaded = source::load(&paths, &mut io::stdin().lock(), &session.names);
    tracing::info!(
        files = loaded.files.len(),
        documents = loaded.documents.len(),
        "read the documents"
    );
    Ok(loaded)
}

/// Reads the config file, if there is one.
pub(super) fn config(global: &Global, form: Form, names: &Names) -> Result<config::File> {
    let path = match &global.config {
        Some(path) => path.as_path(),
        None if Path::new(config::DEFAULT_FILE).exists() => Path::new(config::DEFAULT_FILE),
        None => return Ok(config::File::default()),
    };
    let text = source::read_text(path)
        .with_context(|| format!("cannot read the config file {}", path.display()))?;
    let (file, diagnostics) = spec::config::parse_config(FileId(0), &text, names);
    let shown = path.display().to_string();
    let name = FileName {
        path: shown.as_str().into(),
        label: shown.as_str().into(),
    };
    show(&diagnostics, &[name], form, Sink::Stderr)?;
    if diagnostics.iter().any(|d| d.severity == Severity::Error) {
        let problem = format!("the config file {shown} has {}", count(&diagnostics));
        return Err(Invalid(problem).into());
    }
    Ok(file)
}

/// Where findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    /// They are what the user asked for.
    Stdout,
    /// They are about what the user asked for.
    Stderr,
}

/// Shows findings for people.
pub(super) fn show(
    diagnostics: &[Diagnostic],
    files: &[FileName],
    form: Form,
    sink: Sink,
) -> Result<()> {
    let colour = match sink {
        Sink::Stdout => form.colour(&io::stdout()),
        Sink::Stderr => form.colour(&io::stderr()),
    };
    let mut text = String::new();
    for diagnostic in diagnostics {
        text += &spec::render(diagnostic, files, colour);
        text.push('\n');
    }
    match sink {
        Sink::Stdout => output::stdout(|out| Ok(out.write_all(text.as_bytes())?)),
        Sink::Stderr => {
            output::stderr(&text);
            Ok(io::stderr().flush()?)
        }
    }
}

/// `3 errors, 1 warning`.
pub(super) fn count(diagnostics: &[Diagnostic]) -> String {
    let of = |severity, one: &str| {
        let count = diagnostics
            .iter()
            .filter(|d| d.severity == severity)
            .count();
        match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {one}s")),
        }
    };
    let parts = [
        of(Severity::Error, "error"),
        of(Severity::Warning, "warning"),
        of(Severity::Note, "note"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

/// Findings for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Findings<'a> {
    api_version: &'static str,
    kind: &'static str,
    valid: bool,
    files: usize,
    documents: usize,
    destinations: usize,
    diagnostics: Vec<spec::diagnostic::View<'a>>,
}

impl<'a> Findings<'a> {
    pub(super) fn of(loaded: &'a Loaded) -> Self {
        let documents = &loaded.documents;
        Self {
            api_version: "srsync.dev/v1alpha1",
            kind: "Validation",
            valid: loaded.is_complete(),
            files: loaded.files.len(),
            documents: documents.len(),
            destinations: documents.iter().map(|d| d.destinations.len()).sum(),
            diagnostics: loaded
                .diagnostics
                .iter()
                .map(|d| d.view(&loaded.files))
                .collect(),
        }
    }

    /// `2 files, 3 documents, 12 destinations`.
    pub(super) fn summary(&self) -> String {
        let plural = |count: usize, one: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {one}s"),
        };
        let files = plural(self.files, "file");
        let documents = plural(self.documents, "document");
        let destinations = plural(self.destinations, "destination");
        format!("{files}, {documents}, {destinations}")
    }
}
