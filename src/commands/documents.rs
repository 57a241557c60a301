//! Reading documents, and showing what is wrong with them or with settings.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;

use super::output;
use super::session::Session;
use super::{Invalid, UsageError};
use crate::cli::Paths;
use crate::config;
use crate::model::{EgressKind, FileName, Steering, Timestamp};
use crate::source::{self, Loaded, PathArg};
use crate::spec::{self, Diagnostic, Severity};

/// Reads the documents of a command. Everything found in them is shown on stderr.
///
/// # Errors
/// If no paths are given, or not every document could be read and is valid.
pub(super) fn load(session: &Session, paths: &Paths) -> Result<Loaded> {
    let loaded = read(session, paths)?;
    // A document's notes are part of every report: here they would be said twice.
    let is_reported = |diagnostic: &&Diagnostic| {
        let routes = loaded.documents.iter().map(|document| &document.notes);
        let others = loaded.egress.iter().map(|document| &document.notes);
        let is_said = routes
            .chain(others)
            .any(|notes| notes.contains(&diagnostic.message));
        diagnostic.severity == Severity::Note && is_said
    };
    let new = loaded.diagnostics.iter().filter(|one| !is_reported(one));
    let new: Vec<Diagnostic> = new.cloned().collect();
    let colour = session.form.colour(&io::stderr());
    output::stderr(&rendered(&new, &loaded.files, Severity::Note, colour));
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
    let needs_objects = session.needs_objects(paths);
    let paths: Vec<PathArg> = session
        .paths(paths)
        .iter()
        .map(|path| path.as_os_str().into())
        .collect();
    if needs_objects {
        let message = "the sources are also objects of the cluster (sources.kube, --kube-source), which only the daemon \
                       reads, and without them routes would look unwanted; say which directory or files to read";
        return Err(UsageError(message.to_owned()).into());
    }
    if paths.is_empty() {
        let message = "no PATH given, and neither SRSYNC_SOURCES nor the config file names any; say which directory \
                       or files to read (`-` is stdin)";
        return Err(UsageError(message.to_owned()).into());
    }
    let loaded = source::load(&paths, &mut io::stdin().lock(), &session.names);
    for (path, _) in loaded.sources.iter().filter(|(_, files)| *files == 0) {
        tracing::warn!("{path} has no documents: no *.yaml, *.yml or *.json directly in it");
    }
    tracing::info!(
        files = loaded.files.len(),
        documents = loaded.documents.len(),
        "read the documents"
    );
    Ok(loaded)
}

/// Which gateways may be used by what the overrides say now: nobody probes here.
pub(super) fn steering(loaded: &Loaded) -> Steering {
    crate::gateway::by_hand(&loaded.documents, &loaded.overrides, &loaded.files, now())
}

/// The time of day.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(0).after(since.unwrap_or_default())
}

/// Findings for people, each with its piece of source; those that are at least this bad.
pub(super) fn rendered(
    diagnostics: &[Diagnostic],
    files: &[FileName],
    least: Severity,
    colour: bool,
) -> String {
    // `Error` is the first of the severities: the worse, the smaller.
    let bad_enough = diagnostics.iter().filter(|d| d.severity <= least);
    let render = |diagnostic| spec::render(diagnostic, files, colour) + "\n\n";
    bad_enough.map(render).collect()
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

/// The end of a list of findings: whether what they are about can be used.
pub(super) fn verdict(diagnostics: &[Diagnostic]) -> String {
    let invalid = diagnostics.iter().any(|d| d.severity == Severity::Error);
    match (invalid, diagnostics.is_empty()) {
        (false, true) => "valid".to_owned(),
        (false, false) => format!("valid, with {}", count(diagnostics)),
        (true, _) => format!("invalid: {}", count(diagnostics)),
    }
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
    #[serde(flatten)]
    others: Others,
    diagnostics: Vec<spec::diagnostic::View<'a>>,
}

/// How many valid documents there are of the kinds besides routes.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Others {
    #[serde(skip_serializing_if = "is_zero")]
    gateway_overrides: usize,
    #[serde(skip_serializing_if = "is_zero")]
    forwardings: usize,
    #[serde(skip_serializing_if = "is_zero")]
    masquerades: usize,
    #[serde(skip_serializing_if = "is_zero")]
    routing_rules: usize,
    #[serde(skip_serializing_if = "is_zero")]
    connectivity_checks: usize,
}

impl Others {
    fn of(loaded: &Loaded) -> Self {
        let egress = |kind: EgressKind| {
            let of_kind = loaded.egress.iter().filter(|one| one.kind() == kind);
            of_kind.count()
        };
        Self {
            gateway_overrides: loaded.overrides.len(),
            forwardings: egress(EgressKind::Forwarding),
            masquerades: egress(EgressKind::Masquerade),
            routing_rules: egress(EgressKind::RoutingRule),
            connectivity_checks: loaded.checks.len(),
        }
    }

    /// Those that there are, in words.
    fn said(&self) -> impl Iterator<Item = String> {
        let all = [
            (self.gateway_overrides, "gateway override"),
            (self.forwardings, "forwarding"),
            (self.masquerades, "masquerade"),
            (self.routing_rules, "routing rule"),
            (self.connectivity_checks, "connectivity check"),
        ];
        let there = all.into_iter().filter(|(count, _)| *count > 0);
        there.map(|(count, one)| plural(count, one))
    }
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
            others: Others::of(loaded),
            diagnostics: loaded
                .diagnostics
                .iter()
                .map(|d| d.view(&loaded.files))
                .collect(),
        }
    }

    /// Of a config file, or of none, and what overrides it: there are no documents in it.
    pub(super) fn of_settings(files: usize, found: &'a config::Findings) -> Self {
        Self {
            api_version: "srsync.dev/v1alpha1",
            kind: "Validation",
            valid: !found.has_errors(),
            files,
            documents: 0,
            destinations: 0,
            others: Others::default(),
            diagnostics: found
                .diagnostics
                .iter()
                .map(|d| d.view(&found.files))
                .collect(),
        }
    }

    /// `2 files, 3 documents, 12 destinations, 1 masquerade`.
    pub(super) fn summary(&self) -> String {
        let files = plural(self.files, "file");
        let documents = plural(self.documents, "document");
        let destinations = plural(self.destinations, "destination");
        let routes = [files, documents, destinations].into_iter();
        let parts: Vec<String> = routes.chain(self.others.said()).collect();
        parts.join(", ")
    }
}

fn plural(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}

/// Most people have none, and need not read about them.
fn is_zero(count: &usize) -> bool {
    *count == 0
}
