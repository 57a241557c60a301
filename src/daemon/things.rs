//! Things besides routes in a daemon: who keeps undoing them, and what is told of them.

use std::sync::Arc;
use std::time::Instant;

use super::journal::{News, Place};
use super::pass::{contested_now, published_report};
use super::state::Daemon;
use super::time;
use crate::plan::ReasonCode;
use crate::report::{HappeningKind, Level, Pass, Report, ThingChanged};
use crate::sync::Held;

/// What a pass changed besides routes.
#[derive(Debug, Default)]
pub(super) struct ThingsTold {
    pub(super) news: Vec<News>,
    /// Things changed in the kernel.
    pub(super) changed: usize,
    /// What could not be, counted when it enters the state.
    pub(super) failures: Vec<ReasonCode>,
    /// What somebody had undone.
    pub(super) restored: u64,
}

impl ThingsTold {
    pub(super) fn of(report: &Report<'_>, changes: &[ThingChanged<'_>]) -> Self {
        let mut told = Self::default();
        for changed in changes {
            told.news.push(news(report, changed));
            match changed.kind {
                HappeningKind::EgressState => {
                    told.failures
                        .extend(changed.view.reason.map(|reason| reason.code));
                }
                kind => {
                    told.changed += 1;
                    told.restored += u64::from(kind == HappeningKind::EgressRestored);
                }
            }
        }
        told
    }
}

fn news(report: &Report<'_>, changed: &ThingChanged<'_>) -> News {
    let waits = |code| matches!(code, ReasonCode::LabelsUnknown);
    let level = match changed.kind {
        HappeningKind::EgressRestored => Level::Warn,
        HappeningKind::EgressState => match changed.view.reason {
            Some(reason) if !waits(reason.code) => Level::Warn,
            _ => Level::Info,
        },
        _ => Level::Info,
    };
    let mut message = changed.sentence();
    let document = report.egress_document(&changed.view);
    if let Some((document, _)) = document {
        message += &format!(" of {} {}", document.kind(), document.id);
    }
    let place = document.and_then(|(_, place)| {
        let file = report.inputs.files.get(place.file.0 as usize)?;
        Some(Place {
            file: Some(file.path.to_string()),
            line: Some(place.line),
            column: None,
        })
    });
    News::new(changed.kind, level, message).at(place.unwrap_or_default())
}

impl Daemon {
    /// Notes which things somebody undid since the last pass, and says when that becomes a habit.
    pub(super) fn note_undone_things(&mut self, planned: &Pass, now: Instant) {
        let undone = published_report(
            &self.published,
            &self.wanted.inputs(),
            planned,
            |before, now| now.things_undone_since(before),
        );
        for thing in undone {
            let by: Arc<str> = "somebody".into();
            if self.things.undone(thing.clone(), by, (now, time())) {
                let message = format!(
                    "contested: somebody keeps undoing {thing}; from now on restoring waits, each time longer. Find \
                     out what does it, or take it out of the documents"
                );
                self.tell(News::new(HappeningKind::Contested, Level::Warn, message));
            }
        }
    }

    /// Forgets who no longer undoes our things.
    pub(super) fn settle_things(&mut self, now: Instant) {
        for (thing, undone) in self.things.settle(now) {
            let message = format!(
                "no longer contested: {thing} (undone {} times)",
                undone.times
            );
            self.tell(News::new(HappeningKind::Settled, Level::Info, message));
        }
    }

    /// Leaves alone for now what somebody keeps undoing.
    pub(super) fn hold_things(&self, held: &mut Held, now: Instant) {
        held.things = contested_now(&self.things, now).collect();
    }

    /// Tells what became of things besides routes. Returns how many were changed.
    pub(super) fn tell_things(&mut self, told: ThingsTold) -> usize {
        let counters = &mut self.running.counters;
        for reason in told.failures {
            *counters.failures.entry(reason).or_default() += 1;
        }
        counters.drift_repaired += told.restored;
        told.news.into_iter().for_each(|news| self.tell(news));
        told.changed
    }
}
