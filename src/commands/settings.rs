//! Finding the settings of a run: flags, environment, and the config file.
//!
//! Owns which file that is, and the words for settings that cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow};

use super::output::{self, Form};
use super::{Invalid, UsageError, documents};
use crate::cli::{Given, KUBERNETES};
use crate::config::{self, Basis, Findings, Said, Settled};
use crate::model::{LogLevel, Names};
use crate::source;
use crate::spec::Severity;

/// What the settings came to.
pub(super) struct Found {
    /// The config file that was read, if there is one.
    pub(super) file: Option<PathBuf>,
    /// The settings, unless a finding is an error.
    settled: Option<Settled>,
    pub(super) findings: Findings,
    /// How many of the findings' files are flags and variables.
    given: usize,
}

/// Reads the config file, or the default one where none is named, and settles the settings.
/// `log_level` is that of a run which is not told how much to log.
///
/// # Errors
/// If the config file cannot be read.
pub(super) fn find(
    file: Option<&PathBuf>,
    given: &[Given],
    names: &Names,
    log_level: LogLevel,
) -> Result<Found> {
    let file = match file {
        Some(path) => Some(path.clone()),
        None => Some(PathBuf::from(config::DEFAULT_FILE)).filter(|path| path.exists()),
    };
    let text = file.as_deref().map(read).transpose()?;
    let host_name = nix::unistd::gethostname().unwrap_or_default();
    let said = Said {
        given,
        file: file.as_deref().zip(text.as_deref()),
    };
    let basis = Basis {
        names,
        host_name: &host_name.to_string_lossy(),
        log_level,
        kubernetes: KUBERNETES,
    };
    let (settled, findings) = config::settle(&said, &basis);
    Ok(Found {
        settled,
        findings,
        given: given.len(),
        file,
    })
}

fn read(path: &Path) -> Result<String> {
    source::read_text(path)
        .with_context(|| format!("cannot read the config file {}", path.display()))
}

impl Found {
    /// The settings. What is wrong with them is shown on stderr.
    pub(super) fn settled_or_shown(self, form: Form) -> Result<Settled> {
        let colour = form.colour(&io::stderr());
        output::stderr(&self.rendered(colour));
        let refused = self.refused();
        self.settled.ok_or(refused)
    }

    /// The settings. What is wrong with them is part of the error.
    pub(super) fn settled(self) -> Result<Settled> {
        let found = self.rendered(false);
        let refused = self.refused();
        self.settled
            .ok_or_else(|| anyhow!("{refused}\n\n{}", found.trim_end()))
    }

    /// Findings for people.
    pub(super) fn rendered(&self, colour: bool) -> String {
        let Findings { diagnostics, files } = &self.findings;
        documents::rendered(diagnostics, files, Severity::Note, colour)
    }

    fn refused(&self) -> Error {
        let diagnostics = &self.findings.diagnostics;
        let count = documents::count(diagnostics);
        let is_given = |file: usize| file < self.given;
        match &self.file {
            Some(file) if !diagnostics.iter().any(|d| is_given(d.file.0 as usize)) => {
                Invalid(format!("the config file {} has {count}", file.display())).into()
            }
            _ => UsageError(format!("the settings have {count}")).into(),
        }
    }
}
