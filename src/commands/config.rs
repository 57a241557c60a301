//! `srsync config`: the settings in force and who said them, and what is wrong with them.

use std::collections::BTreeSet;
use std::io;

use anyhow::Result;
use clap::CommandFactory;
use serde::Serialize;

use super::Exit;
use super::documents::{Findings, verdict};
use super::output::{self, Form};
use super::settings::{self, Found};
use crate::cli::{Cli, ConfigCommand, Global, SOURCES};
use crate::config::{self, Entry};
use crate::model::LogLevel;
use crate::source;
use crate::spec::{Diagnostic, Problem, Severity, did_you_mean, nearest};

/// What the names of all variables of srsync begin with.
const PREFIX: &str = "SRSYNC_";

/// Values are padded to at most this many columns, so that their origins line up.
const COLUMN: usize = 40;

pub(super) fn run(global: &Global, command: &ConfigCommand) -> Result<Exit> {
    let form = Form::of(global);
    let file = match command {
        ConfigCommand::Check { file: Some(file) } => Some(file),
        ConfigCommand::Check { file: None } | ConfigCommand::Show => global.config.as_ref(),
    };
    let names = source::system_names();
    let found = settings::find(file, &global.given.0, &names, LogLevel::Warn)?;
    match command {
        ConfigCommand::Check { .. } => check(form, found),
        ConfigCommand::Show => show(form, &found.settled_or_shown(form)?.entries),
    }
}

fn check(form: Form, mut found: Found) -> Result<Exit> {
    for name in unknown_variables() {
        let file = found.findings.add_file(&name);
        let problem = Problem::new(format!("{name} is no variable of srsync"), "not known");
        let help = meant_by(&name).map(|meant| did_you_mean(&meant));
        found.findings.diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::about_file(file, problem.maybe_help(help))
        });
    }
    let valid = !found.findings.has_errors();
    if form.is_data() {
        let files = found.file.iter().count();
        form.data(&Findings::of_settings(files, &found.findings))?;
    } else {
        let what = match &found.file {
            Some(path) => path.display().to_string(),
            None => format!("no {}, so defaults are in force", config::DEFAULT_FILE),
        };
        let shown = found.rendered(form.colour(&io::stdout()));
        let verdict = verdict(&found.findings.diagnostics);
        output::stdout(|out| Ok(writeln!(out, "{shown}{what}: {verdict}")?))?;
    }
    Ok(if valid { Exit::Done } else { Exit::Error })
}

/// Variables that look as if they were meant for srsync, which knows none of that name.
fn unknown_variables() -> Vec<String> {
    let known = known_variables();
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .filter(|name| !is_of_a_service(name))
        .collect();
    unknown.sort();
    unknown
}

/// Kubernetes gives every pod such variables for a Service, and one may be called `srsync`.
fn is_of_a_service(name: &str) -> bool {
    ["SRSYNC_SERVICE_", "SRSYNC_PORT"]
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

fn known_variables() -> BTreeSet<String> {
    fn collect(command: &clap::Command, known: &mut BTreeSet<String>) {
        let variables = command.get_arguments().filter_map(clap::Arg::get_env);
        known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
        for verb in command.get_subcommands() {
            collect(verb, known);
        }
    }
    let mut known = BTreeSet::from([SOURCES.to_owned()]);
    collect(&Cli::command(), &mut known);
    known
}

/// The variable that was most likely meant; what all begin with makes none likelier.
fn meant_by(name: &str) -> Option<String> {
    let known = known_variables();
    let ends = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
    let meant = nearest(name.strip_prefix(PREFIX)?, ends)?;
    Some(format!("{PREFIX}{meant}"))
}

/// The settings for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    api_version: &'static str,
    kind: &'static str,
    settings: &'a [Entry],
}

fn show(form: Form, entries: &[Entry]) -> Result<Exit> {
    if form.is_data() {
        form.data(&Shown {
            api_version: "srsync.dev/v1alpha1",
            kind: "Config",
            settings: entries,
        })?;
        return Ok(Exit::Done);
    }
    let row = |entry: &Entry| {
        let key = entry.key.to_owned();
        [key, entry.value_text(), entry.origin_text()]
    };
    let head = ["KEY", "VALUE", "ORIGIN"].map(str::to_owned);
    let rows: Vec<[String; 3]> = std::iter::once(head)
        .chain(entries.iter().map(row))
        .collect();
    let width = |column: fn(&[String; 3]) -> &String| {
        let widths = rows.iter().map(|row| column(row).chars().count());
        widths.filter(|width| *width <= COLUMN).max().unwrap_or(0)
    };
    let (keys, values) = (width(|[key, ..]| key), width(|[_, value, _]| value));
    output::stdout(|out| {
        for [key, value, origin] in &rows {
            writeln!(out, "{key:keys$}  {value:values$}  {origin}")?;
        }
        Ok(())
    })?;
    Ok(Exit::Done)
}
