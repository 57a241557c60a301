//! What every command needs: settings, names, and a way to report.

use std::path::PathBuf;

use anyhow::{Result, anyhow};

use super::output::Form;
use super::{Exit, log, settings};
use crate::cli::{Global, Paths};
use crate::config::Settings;
use crate::kernel::Kernel;
use crate::model::{KubeSource, LogLevel, Names, Observed, Policy, Steering};
use crate::plan::{Inputs, ReasonCode, Removals};
use crate::report::{Kind, Pass, Report};
use crate::source::{self, Loaded};

/// Why a run that asks nobody does not know the labels of its node.
const UNKNOWN_LABELS: &str = "the labels of this node come from the Kubernetes API \
    (kube.nodeLabels), which only the daemon asks; say what they are with --node-label";

/// The settings in force for one run of the program.
pub(super) struct Session {
    pub(super) form: Form,
    pub(super) names: Names,
    /// How much this run logs unless it is told.
    log_level: LogLevel,
    settings: Settings,
}

impl Session {
    /// Settles the settings and starts the log.
    pub(super) fn start(global: &Global) -> Result<Self> {
        Ok(Self::logging(global, LogLevel::Warn)?.0)
    }

    /// The same for a program that runs for long: its log says more, and when, and can be turned up
    /// and down.
    pub(super) fn for_long(global: &Global) -> Result<(Self, log::Volume)> {
        Self::logging(global, LogLevel::Info)
    }

    fn logging(global: &Global, log_level: LogLevel) -> Result<(Self, log::Volume)> {
        let form = Form::of(global);
        let names = source::system_names();
        let found = settings::find(global.config.as_ref(), &global.given.0, &names, log_level)?;
        let settings = found.settled_or_shown(form)?.settings;
        let style = log::Style {
            format: settings.log_format,
            colour: form.colour(&std::io::stderr()),
            time: log_level == LogLevel::Info,
        };
        let volume = log::start(settings.log_level, style)?;
        let session = Self {
            form,
            names,
            log_level,
            settings,
        };
        Ok((session, volume))
    }

    /// The settings as they would be if the program were started now. What is wrong with them is
    /// in the error's text, each finding with its place, without colours.
    pub(super) fn settings_again(&self, global: &Global) -> Result<Settings> {
        let file = global.config.as_ref();
        let found = settings::find(file, &global.given.0, &self.names, self.log_level)?;
        Ok(found.settled()?.settings)
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

    /// The kernel of this node.
    pub(super) fn kernel(&self) -> Result<Kernel> {
        let settings = self.settings();
        Ok(Kernel::of_node(&settings.proc_sys, &settings.socket)?)
    }

    pub(super) fn node(&self) -> &str {
        &self.settings().node_name
    }

    /// The paths given, or those of the settings.
    pub(super) fn paths(&self, paths: &Paths) -> Vec<PathBuf> {
        match paths.paths.as_slice() {
            [] => self.settings.sources.clone(),
            given => given.to_vec(),
        }
    }

    pub(super) fn has_paths(&self, paths: &Paths) -> bool {
        !self.paths(paths).is_empty() && !self.needs_objects(paths)
    }

    /// Whether objects of the cluster, which only the daemon reads, are part of what is to be read.
    pub(super) fn needs_objects(&self, paths: &Paths) -> bool {
        paths.paths.is_empty() && self.settings.kube_source != KubeSource::Off
    }

    pub(super) fn inputs<'a>(&'a self, loaded: &'a Loaded, steering: &'a Steering) -> Inputs<'a> {
        let unknown_labels = self.settings.kube.node_labels.then_some(UNKNOWN_LABELS);
        Inputs {
            documents: &loaded.documents,
            egress: &loaded.egress,
            policy: &self.settings.policy,
            labels: match unknown_labels {
                Some(_) => &self.settings.given_labels,
                None => &self.settings.labels,
            },
            unknown_labels,
            names: &self.names,
            files: &loaded.files,
            // Nobody stays to repair what a lost carrier takes along.
            objects: None,
            steering,
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn settings_are_settled_again_from_the_same_flags_and_a_new_file() {
        let name = format!("srsync-session-{}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        let config = format!("--config={}", path.display());
        let arguments = [
            "srsync",
            "--protocol=90",
            "--color=always",
            &config,
            "snapshot",
        ];
        let global = Cli::parse_from(arguments).global;
        let write = |text: &str| std::fs::write(&path, text).unwrap();

        write("protocol: 91\n");
        let names = Names::default();
        let found = settings::find(Some(&path), &global.given.0, &names, LogLevel::Info).unwrap();
        let session = Session {
            form: Form::of(&global),
            names,
            log_level: LogLevel::Info,
            settings: found.settled().unwrap().settings,
        };
        assert_eq!(
            &session.settings_again(&global).unwrap(),
            session.settings()
        );

        write("protocol: 91\ndebounce: 1s\n");
        let settings = session.settings_again(&global).unwrap();
        assert_eq!(settings.debounce.as_secs(), 1);
        assert_eq!(settings.policy.protocol.get(), 90);

        write("debounce: 1\n");
        let refused = session.settings_again(&global).unwrap_err().to_string();
        let beginning = format!("the config file {} has 1 error\n\nerror: ", path.display());
        assert!(refused.starts_with(&beginning), "{refused}");
        assert!(refused.contains(".yaml:1:11"), "{refused}");
        assert!(!refused.contains('\u{1b}'), "{refused}");

        std::fs::remove_file(&path).unwrap();
        let refused = session.settings_again(&global).unwrap_err();
        assert!(format!("{refused:#}").contains("cannot read the config file"));
    }
}
