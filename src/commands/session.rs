//! What every command needs: settings, names, and a way to report.

use std::path::PathBuf;

use anyhow::{Result, anyhow};

use super::output::Form;
use super::{Exit, UsageError, documents, log};
use crate::cli::{Global, Paths};
use crate::config::{self, Settings};
use crate::model::{Names, Observed, Policy};
use crate::plan::{Inputs, ReasonCode, Removals};
use crate::report::{Kind, Pass, Report};
use crate::source::{self, Loaded};

/// The settings in force for one run of the program.
pub(super) struct Session {
    pub(super) form: Form,
    pub(super) names: Names,
    settings: Settings,
}

impl Session {
    /// Reads the config file and the names of tables and protocols.
    pub(super) fn start(global: &Global) -> Result<Self> {
        let form = Form::of(global);
        let names = source::system_names();
        let file = documents::config(global, form, &names)?;
        let host_name = nix::unistd::gethostname().unwrap_or_default();
        let host_name = host_name.to_string_lossy().into_owned();
        let settings = config::settle(global, file, &names, host_name).map_err(UsageError)?;
        let colour = form.colour(&std::io::stderr());
        log::start(settings.log_level, settings.log_format, colour)?;
        Ok(Self {
            form,
            names,
            settings,
        })
    }

    /// All of them; a daemon needs more than the policy.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.settings().policy
    }

    /// Replaces the policy, for a command that says itself what may be done.
    pub(super) fn change_policy(&mut self, change: impl FnOnce(Policy) -> Policy) {
        self.settings.policy = change(self.settings.policy.clone());
    }

    pub(super) fn node(&self) -> &str {
        &self.settings().node_name
    }

    /// The paths given, or those of `SRSYNC_SOURCES` (separated by colons, as in `PATH`), or the
    /// config file's `sources`.
    pub(super) fn paths(&self, paths: &Paths) -> Vec<PathBuf> {
        if !paths.paths.is_empty() {
            return paths.paths.clone();
        }
        match std::env::var_os("SRSYNC_SOURCES") {
            Some(sources) => std::env::split_paths(&sources).collect(),
            None => self.settings.sources.clone(),
        }
    }

    pub(super) fn has_paths(&self, paths: &Paths) -> bool {
        !self.paths(paths).is_empty()
    }

    pub(super) fn inputs<'a>(&'a self, loaded: &'a Loaded) -> Inputs<'a> {
        Inputs {
            documents: &loaded.documents,
            policy: &self.settings.policy,
            labels: &self.settings.labels,
            names: &self.names,
            files: &loaded.files,
            incomplete: None,
        }
    }

    /// Writes the report of a pass to stdout; says whether the node is in sync.
    pub(super) fn report(&self, kind: Kind, inputs: &Inputs<'_>, pass: &Pass) -> Result<bool> {
        self.report_with_tables(kind, inputs, pass, None)
    }

    /// The same, with all the routes that there are in the end.
    pub(super) fn report_with_tables(
        &self,
        kind: Kind,
        inputs: &Inputs<'_>,
        pass: &Pass,
        tables: Option<&Observed>,
    ) -> Result<bool> {
        let report = Report {
            kind,
            node: self.node(),
            inputs,
            pass,
            tables,
            running: None,
            selection: None,
        };
        self.form.report(&report)?;
        Ok(report.in_sync())
    }
}

/// How a command that applies ends.
///
/// # Errors
/// If nothing at all was done because nothing is wanted.
pub(super) fn end(pass: &Pass, in_sync: bool) -> Result<Exit> {
    refuse_empty_set(pass)?;
    Ok(match in_sync {
        true => Exit::Done,
        false => Exit::Incomplete,
    })
}

/// An error where the guard against an empty set said no.
pub(super) fn refuse_empty_set(pass: &Pass) -> Result<()> {
    match &pass.plan.removals {
        Removals::Withheld(reason) if reason.code == ReasonCode::EmptySet => {
            Err(anyhow!("{reason}"))
        }
        _ => Ok(()),
    }
}
