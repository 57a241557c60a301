//! Things besides routes in a daemon: who keeps undoing them, and what is told of them.

use std::sync::Arc;
use std::time::Instant;

use super::contest::Contest;
use super::journal::{News, Place};
use super::pass::{contested_now, published_report};
use super::state::Daemon;
use super::{DaemonError, threads, time};
use crate::kernel::{NatEvent, NatEvents};
use crate::model::EgressKind;
use crate::model::egress::{NatTable, Thing};
use crate::plan::ReasonCode;
use crate::report::{HappeningKind, Level, Pass, Report, ThingChanged, Trigger};
use crate::sync::Held;

/// What a daemon knows of things besides routes.
#[derive(Debug, Default)]
pub(super) struct Things {
    /// Those that somebody undid lately.
    pub(super) contest: Contest<Thing>,
    /// Whether what others do to our nftables table is listened to.
    pub(super) nat_is_heard: bool,
    /// Who changed it since the last pass.
    nat_by: Option<Arc<str>>,
}

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
    pub(super) fn of(report: &Report<'_>, changes: &[ThingChanged<'_>], things: &Things) -> Self {
        let mut told = Self::default();
        for changed in changes {
            let by = things.culprit(&changed.view.row.thing);
            told.news.push(news(report, changed, by.as_deref()));
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

fn news(report: &Report<'_>, changed: &ThingChanged<'_>, by: Option<&str>) -> News {
    let waits = |code| matches!(code, ReasonCode::LabelsUnknown);
    let level = match changed.kind {
        HappeningKind::EgressRestored => Level::Warn,
        HappeningKind::EgressState => match changed.view.reason {
            Some(reason) if !waits(reason.code) => Level::Warn,
            _ => Level::Info,
        },
        _ => Level::Info,
    };
    let mut message = changed.sentence(by);
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

impl Things {
    /// Who undid it, as far as that is known.
    fn culprit(&self, thing: &Thing) -> Option<Arc<str>> {
        match thing {
            Thing::Nat(_) => self.nat_by.clone(),
            Thing::Sysctl(..) | Thing::Rule(_) => None,
        }
    }

    /// A pass has looked at everything.
    pub(super) fn forget_culprits(&mut self) {
        self.nat_by = None;
    }
}

impl Daemon {
    /// Somebody changed our table, or may have.
    pub(super) fn hear_nat(&mut self, events: &[NatEvent], now: Instant) {
        for event in events {
            match event {
                NatEvent::Changed { by } => self.things.nat_by = by.clone(),
                NatEvent::Overflow => self.running.counters.overflows += 1,
            }
        }
        self.schedule.want_pass(Trigger::Kernel, now);
    }

    /// Listens to what others do to our table, once there is to be one. To be done before it is read.
    pub(super) fn listen_to_nat(&mut self) {
        let mut wanted = self.wanted.snapshot.egress.iter();
        let is_wanted = wanted.any(|egress| egress.kind() == EgressKind::Masquerade);
        if self.things.nat_is_heard || !is_wanted {
            return;
        }
        let table = NatTable::of(self.wanted.settings.policy.protocol);
        let events = NatEvents::open(&mut self.kernel, &table).map_err(DaemonError::Kernel);
        match events.and_then(|events| threads::hear_nat(events, self.sender.clone())) {
            Ok(()) => self.things.nat_is_heard = true,
            // Without nftables that is said of each document; otherwise comparing now and then has to do.
            Err(error) => tracing::debug!("changes of the nftables table are not heard: {error}"),
        }
    }

    /// Notes which things somebody undid since the last pass, and says when that becomes a habit.
    pub(super) fn note_undone_things(&mut self, planned: &Pass, now: Instant) {
        let undone = published_report(
            &self.published,
            &self.wanted.inputs(),
            planned,
            |before, now| now.things_undone_since(before),
        );
        for thing in undone {
            let by = self.things.culprit(&thing);
            let by = by.unwrap_or_else(|| "somebody".into());
            let contest = &mut self.things.contest;
            if contest.undone(thing.clone(), by.clone(), (now, time())) {
                let message = format!(
                    "contested: {by} keeps undoing {thing}; from now on restoring waits, each time longer. Find \
                     out what does it, or take it out of the documents"
                );
                self.tell(News::new(HappeningKind::Contested, Level::Warn, message));
            }
        }
    }

    /// Forgets who no longer undoes our things.
    pub(super) fn settle_things(&mut self, now: Instant) {
        for (thing, undone) in self.things.contest.settle(now) {
            let message = format!(
                "no longer contested: {thing} (undone {} times)",
                undone.times
            );
            self.tell(News::new(HappeningKind::Settled, Level::Info, message));
        }
    }

    /// Leaves alone for now what somebody keeps undoing.
    pub(super) fn hold_things(&self, held: &mut Held, now: Instant) {
        held.things = contested_now(&self.things.contest, now).collect();
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
