//! What a pass changed, as news: one line a route, or the numbers where there are many. Pure.

use std::collections::BTreeMap;

use super::journal::{News, Place};
use super::state::Culprits;
use crate::plan::ReasonCode;
use crate::report::{Action, Changed, HappeningKind, Level, Report};

/// So many routes are told one by one; of more only the numbers, by document.
const LINES: usize = 100;

/// What a pass changed.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// For everybody.
    pub(super) news: Vec<News>,
    /// Each route for itself, where `news` has the numbers: for the log, should it be that close.
    pub(super) details: Vec<News>,
    /// Routes changed in the kernel, by what was done.
    pub(super) actions: BTreeMap<Action, u64>,
    /// Routes that came into a state other than `Installed`, by reason.
    pub(super) failures: BTreeMap<ReasonCode, u64>,
    /// Routes that somebody had undone.
    pub(super) restored: u64,
}

impl Told {
    pub(super) fn of(report: &Report<'_>, changes: &[Changed<'_>], culprits: &Culprits) -> Self {
        let mut told = Self::default();
        changes.iter().for_each(|changed| told.count(changed));
        let each = changes
            .iter()
            .map(|changed| news(report, changed, culprits));
        if changes.len() <= LINES {
            told.news = each.collect();
        } else {
            told.news = numbers(report, changes);
            // Building 100,000 sentences that nobody reads would take longer than the pass.
            if tracing::enabled!(tracing::Level::DEBUG) {
                told.details = each.collect();
            }
        }
        told
    }

    /// How many routes were changed in the kernel.
    pub(super) fn changed(&self) -> usize {
        self.actions.values().map(|count| *count as usize).sum()
    }

    fn count(&mut self, changed: &Changed<'_>) {
        match changed.kind {
            HappeningKind::RouteState => {
                if let Some(reason) = changed.view.reason {
                    *self.failures.entry(reason.code).or_default() += 1;
                }
                return;
            }
            HappeningKind::RouteRestored => self.restored += 1,
            _ => {}
        }
        *self.actions.entry(changed.view.action).or_default() += 1;
    }
}

fn news(report: &Report<'_>, changed: &Changed<'_>, culprits: &Culprits) -> News {
    let by = culprits.of(&changed.view.row.key);
    let message = report.sentence(changed, by.as_deref());
    let place = changed.view.row.claim.and_then(|claim| {
        let file = report.inputs.files.get(claim.place.file.0 as usize)?;
        Some(Place {
            file: Some(file.path.to_string()),
            line: Some(claim.place.line),
            column: None,
        })
    });
    News::new(changed.kind, level(changed), message)
        .route(report.route_change(changed))
        .at(place.unwrap_or_default())
}

fn level(changed: &Changed<'_>) -> Level {
    match changed.kind {
        HappeningKind::RouteRestored => Level::Warn,
        HappeningKind::RouteState if waits_for_labels(changed) => Level::Info,
        HappeningKind::RouteState if changed.view.is_problem() => Level::Warn,
        _ => Level::Info,
    }
}

/// So it is at each start, for a moment; if it lasts, the trouble behind it is a warning.
fn waits_for_labels(changed: &Changed<'_>) -> bool {
    let reason = changed.view.reason;
    reason.is_some_and(|reason| reason.code == ReasonCode::LabelsUnknown)
}

/// The numbers, by document, by what happened, and by state.
fn numbers(report: &Report<'_>, changes: &[Changed<'_>]) -> Vec<News> {
    let mut groups: BTreeMap<(Option<u32>, &'static str), (usize, &Changed<'_>)> = BTreeMap::new();
    for changed in changes {
        let document = changed.view.row.claim.map(|claim| claim.document);
        let group = groups.entry((document, done(changed)));
        group.or_insert((0, changed)).0 += 1;
    }
    let tell = |((document, done), (count, first)): (_, (usize, &Changed<'_>))| {
        let document: Option<u32> = document;
        let document = document.and_then(|index| report.inputs.documents.get(index as usize));
        let prefix = first.view.row.key.prefix;
        let routes = match count {
            1 => format!("{prefix}"),
            _ => format!("{count} routes ({prefix} and others)"),
        };
        let mut message = format!("{done} {routes}");
        let mut place = Place::default();
        if let Some(document) = document {
            message += &format!(" of {}", document.id);
            let file = report.inputs.files.get(document.place.file.0 as usize);
            place.file = file.map(|file| file.path.to_string());
            place.line = Some(document.place.line);
        }
        if let Some(reason) = first.view.reason {
            message += &format!(": {reason}");
        }
        News::new(HappeningKind::RoutesChanged, level(first), message).at(place)
    };
    groups.into_iter().map(tell).collect()
}

/// What happened, in a word.
fn done(changed: &Changed<'_>) -> &'static str {
    match changed.kind {
        HappeningKind::RouteAdded => "added",
        HappeningKind::RouteReplaced => "changed",
        HappeningKind::RouteAdopted => "adopted",
        HappeningKind::RouteRemoved => "removed",
        HappeningKind::RouteRestored => "restored",
        _ => changed.view.state.map_or("gone:", |state| state.name()),
    }
}
