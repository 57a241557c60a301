//! Reading the sources, watching them, and telling what is new about them.

use std::collections::HashSet;
use std::time::Instant;

use super::journal::{News, Place};
use super::state::Daemon;
use super::time;
use crate::model::FileId;
use crate::report::{Condition, Finding, HappeningKind, Level, SourceStatus, Trigger, plural};
use crate::source::{self, Snapshot, SourceState, Watch};
use crate::spec::{self, Diagnostic, Severity, Span};

/// So many mistakes are told one by one at once.
const TOLD: usize = 20;

impl Daemon {
    /// Watches what is to be watched, again where something was replaced. Where that cannot be done
    /// sources are polled, and that is said.
    pub(super) fn arm(&mut self) {
        let polling = self.watched().err();
        if self.running.polling == polling {
            return;
        }
        let (level, message) = match &polling {
            Some(why) => (
                Level::Warn,
                format!("sources are read every second, because they cannot be watched: {why}"),
            ),
            None => (Level::Info, "sources are watched again".to_owned()),
        };
        self.tell(News::new(HappeningKind::Polling, level, message));
        self.schedule.poll(polling.is_some());
        self.running.polling = polling;
    }

    /// Watches what there is; reads at once what was not watched before.
    fn watched(&mut self) -> Result<(), String> {
        let directories = self.keeper.directories();
        let watch = match &mut self.watch {
            Some(watch) => watch,
            none => {
                let sender = self.sender.clone();
                // Without a receiver the daemon has ended.
                let tell = move |hint| drop(sender.send(super::Event::Sources(hint)));
                none.insert(Watch::start(tell).map_err(|error| error.to_string())?)
            }
        };
        let is_new = watch.arm(&directories).map_err(|error| error.to_string())?;
        if is_new {
            self.schedule.watched_anew(Instant::now());
        }
        Ok(())
    }

    /// Reads the sources, and asks for a pass if anything is different.
    pub(super) fn read_sources(&mut self) {
        let names = self.wanted.names.clone();
        let allow_empty = self.wanted.settings.policy.allow_empty;
        let Some(snapshot) = self.keeper.refresh(&names, allow_empty, time()) else {
            return;
        };
        self.tell_sources(&snapshot);
        self.running.sources = snapshot.sources.iter().map(status).collect();
        self.running.findings = findings(&snapshot);
        self.running.counters.source_changes += 1;
        self.wanted.change(snapshot);
        self.gateways.documents_changed();
        self.groups.forget();
        // What to watch may have changed with it.
        self.arm();
        self.schedule
            .want_pass_now(Trigger::Sources, Instant::now());
        self.update_overrides(None, Instant::now());
    }

    fn tell_sources(&mut self, snapshot: &Snapshot) {
        let before = &self.wanted.snapshot;
        let mut news = Vec::new();
        for source in &snapshot.sources {
            let known = before
                .sources
                .iter()
                .find(|known| known.path == source.path);
            let is_new = known.is_none_or(|known| known.condition != source.condition);
            if let Some(message) = source.message.as_ref().filter(|_| is_new) {
                let path = source.path.display().to_string();
                let place = Place {
                    file: Some(path.clone()),
                    ..Place::default()
                };
                let message = format!("{path}: {message}");
                // What is wrong with the API is said where that is known; at first it takes a moment.
                let is_awaited = source.condition == source::Condition::Unreadable
                    && source::Told::is_at(&source.path);
                let level = if is_awaited {
                    Level::Info
                } else {
                    Level::Error
                };
                news.push(News::new(HappeningKind::SourceInvalid, level, message).at(place));
            }
        }
        let known: HashSet<_> = before.diagnostics.iter().map(identity).collect();
        let all = snapshot.diagnostics.iter();
        let mistakes: Vec<News> = all
            .filter(|diagnostic| !known.contains(&identity(diagnostic)))
            .filter_map(|diagnostic| mistake(diagnostic, snapshot))
            .collect();
        let more = mistakes.len().saturating_sub(TOLD);
        news.extend(mistakes.into_iter().take(TOLD));
        if more > 0 {
            let message = format!("and {more} more mistakes: `srsync status` shows them");
            news.push(News::new(
                HappeningKind::SourceInvalid,
                Level::Error,
                message,
            ));
        }
        if self.wanted.incomplete.is_some() && snapshot.is_complete() {
            let message = "all sources can be read and are valid again";
            news.push(News::new(HappeningKind::SourceValid, Level::Info, message));
        }
        let others = |snapshot: &Snapshot| snapshot.egress.len() + snapshot.checks.len();
        let is_new = before.documents != snapshot.documents
            || before.egress != snapshot.egress
            || before.checks != snapshot.checks;
        if is_new {
            let destinations = snapshot
                .documents
                .iter()
                .map(|d| d.destinations.len())
                .sum();
            let message = format!(
                "sources changed: {} with {} in force",
                plural(snapshot.documents.len() + others(snapshot), "document"),
                plural(destinations, "destination"),
            );
            news.push(News::new(
                HappeningKind::SourceChanged,
                Level::Info,
                message,
            ));
        }
        news.into_iter().for_each(|news| self.tell(news));
    }
}

/// What tells a mistake from others.
fn identity(diagnostic: &Diagnostic) -> (FileId, Option<Span>, &str) {
    let span = diagnostic.spot.as_ref().map(|spot| spot.span);
    (diagnostic.file, span, &diagnostic.message)
}

/// A mistake in a document, in one line.
fn mistake(diagnostic: &Diagnostic, snapshot: &Snapshot) -> Option<News> {
    let level = match diagnostic.severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warn,
        Severity::Note => return None,
    };
    let span = diagnostic.spot.as_ref().map(|spot| spot.span);
    let place = place_of(diagnostic.file, span, snapshot);
    let at: Vec<String> = [
        place.file.clone(),
        place.line.map(|line| line.to_string()),
        place.column.map(|column| column.to_string()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut message = format!("{}: {}", at.join(":"), diagnostic.message);
    if let Some(related) = &diagnostic.related {
        let Place { file, line, .. } =
            place_of(related.spot.file, Some(related.spot.span), snapshot);
        let at = file.zip(line).map(|(file, line)| format!("{file}:{line}"));
        message += &format!(" ({}: {})", related.label, at.unwrap_or_default());
    }
    if let Some(help) = &diagnostic.help {
        message += &format!(" ({help})");
    }
    Some(News::new(HappeningKind::SourceInvalid, level, message).at(place))
}

fn place_of(file: FileId, span: Option<Span>, snapshot: &Snapshot) -> Place {
    let file = snapshot.files.get(file.0 as usize);
    Place {
        file: file.map(|file| file.path.to_string()),
        line: span.map(|span| span.line),
        column: span.map(|span| span.column),
    }
}

fn status(source: &SourceState) -> SourceStatus {
    SourceStatus {
        path: source.path.display().to_string(),
        condition: match source.condition {
            source::Condition::Valid => Condition::Valid,
            source::Condition::Invalid => Condition::Invalid,
            source::Condition::Unreadable => Condition::Unreadable,
            source::Condition::Empty => Condition::Empty,
        },
        message: source.message.clone(),
        files: source.files,
        documents: source.documents,
        destinations: source.destinations,
        changed: source.changed,
    }
}

/// What is wrong with the documents, for people and programs.
fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let bad_enough = |diagnostic: &&Diagnostic| diagnostic.severity <= Severity::Warning;
    let finding = |diagnostic: &Diagnostic| Finding {
        text: spec::render(diagnostic, &snapshot.files, false),
        // A view of strings and numbers is always JSON.
        data: serde_json::to_value(diagnostic.view(&snapshot.files)).unwrap_or_default(),
    };
    snapshot
        .diagnostics
        .iter()
        .filter(bad_enough)
        .map(finding)
        .collect()
}
