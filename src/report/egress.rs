//! What is said about things besides routes: settings, translation, rules. The same words as for routes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Action, HappeningKind, Pass, Report, Summary, Surprises};
use crate::model::egress::Thing;
use crate::model::{Egress, EgressKind, Place, State};
use crate::plan::egress::{EgressRow, EgressVerdict};
use crate::plan::{Reason, ReasonCode, Removals};

/// One thing, with its verdict and its end put together.
#[derive(Debug, Clone, Copy)]
pub struct ThingView<'a> {
    /// The row.
    pub row: &'a EgressRow,
    /// What is done.
    pub action: Action,
    /// The state; `None` for what is not there yet or not wanted.
    pub state: Option<State>,
    /// Why it is in that state, unless it is installed.
    pub reason: Option<&'a Reason>,
    /// What was there before, where it is changed; what is there again, where a setting goes back.
    pub other: Option<&'a Thing>,
}

impl ThingView<'_> {
    /// Whether it is not as it should be, for a reason that is in the row.
    pub fn is_problem(&self) -> bool {
        self.state.is_some_and(|state| state != State::Installed)
    }

    /// ` (was 0)`, ` (back to 0)`, or what the rule was.
    pub(super) fn aside(&self) -> Option<String> {
        match (self.other?, self.action) {
            (Thing::Sysctl(_, value), Action::Remove | Action::Withhold) => {
                Some(format!("back to {value}"))
            }
            (Thing::Sysctl(_, value), _) => Some(format!("was {value}")),
            (same, _) if *same == self.row.thing => None,
            (other, _) => Some(format!("was {other}")),
        }
    }
}

impl<'a> Report<'a> {
    /// All things besides routes, by kind.
    pub fn things(&self) -> impl Iterator<Item = ThingView<'a>> + use<'a> {
        let pass = self.pass;
        let rows = pass.plan.egress.rows.iter().enumerate();
        rows.map(move |(index, row)| view(pass, index, row))
    }

    /// Counts actions and states of things besides routes. Documents for other nodes count as `NotSelected`, each once.
    pub fn egress_summary(&self) -> Summary {
        let mut summary = Summary::default();
        for view in self.things() {
            if !view.is_problem() {
                *summary.actions.entry(view.action).or_default() += 1;
            }
            if let Some(state) = view.state {
                *summary.states.entry(state).or_default() += 1;
            }
        }
        let verdicts = self.pass.plan.egress.documents.iter();
        let elsewhere = verdicts.filter(|verdict| verdict.not_selected.is_some());
        match elsewhere.count() {
            0 => {}
            count => *summary.states.entry(State::NotSelected).or_default() += count,
        }
        summary
    }

    /// How many things of each kind are in each state; all kinds and states are there.
    pub fn things_by_state(&self) -> BTreeMap<(EgressKind, State), usize> {
        let all = |kind| State::ALL.map(|state| ((kind, state), 0));
        let mut counts: BTreeMap<_, _> = EgressKind::ALL.into_iter().flat_map(all).collect();
        for view in self.things() {
            if let Some(state) = view.state {
                *counts.entry((view.row.thing.kind(), state)).or_default() += 1;
            }
        }
        counts
    }

    /// Whether everything besides routes is as it should be.
    pub(super) fn egress_in_sync(&self) -> bool {
        self.things().all(|view| match view.action {
            Action::Remove => view.state.is_none(),
            Action::Withhold => false,
            _ => view.state == Some(State::Installed),
        })
    }

    /// The document that asks for it, and where it is.
    pub fn egress_document(&self, view: &ThingView<'_>) -> Option<(&'a Egress, Place)> {
        let claim = view.row.claim?;
        let document = self.inputs.egress.get(claim.document as usize)?;
        Some((document, claim.place))
    }

    /// What is different from an earlier report. Without an earlier one, what was changed in the kernel, and what could
    /// not be.
    pub fn things_changed_since(&self, earlier: Option<&Report<'a>>) -> Vec<ThingChanged<'a>> {
        let before: Vec<ThingView<'a>> = earlier.map_or_else(Vec::new, |e| e.things().collect());
        let changed = self
            .things()
            .filter_map(|view| self.thing_changed(view, &before));
        changed.collect()
    }

    /// The things that were in place and are not as they were, though a document still asks for just that: somebody
    /// else undid them. To be asked of a plan before it is carried out.
    pub fn things_undone_since(&self, earlier: &Report<'a>) -> Vec<Thing> {
        let before: Vec<ThingView<'a>> = earlier.things().collect();
        let undone = self.things().filter(|view| {
            let lost = view.row.verdict.changes(false);
            lost && view.row.claim.is_some() && was_in_place(view, &before)
        });
        undone.map(|view| view.row.thing.clone()).collect()
    }

    fn thing_changed(
        &self,
        view: ThingView<'a>,
        before: &[ThingView<'a>],
    ) -> Option<ThingChanged<'a>> {
        let mut earlier = before.iter();
        let same = earlier.find(|row| {
            row.row.thing == view.row.thing && row.row.claim.is_some() == view.row.claim.is_some()
        });
        let was = same.and_then(|row| row.state);
        let removals = self.pass.plan.removals == Removals::Allowed;
        let done = view.row.verdict.changes(removals) && !view.is_problem();
        let kind = match view.action {
            Action::Add | Action::Replace if done && was_in_place(&view, before) => {
                HappeningKind::EgressRestored
            }
            Action::Add if done => HappeningKind::EgressAdded,
            Action::Replace if done => HappeningKind::EgressReplaced,
            Action::Remove if done => HappeningKind::EgressRemoved,
            _ if view.state.is_none() => return None,
            _ if same.is_none() && !view.is_problem() => return None,
            _ if was == view.state && same.and_then(code) == code(&view) => return None,
            _ => HappeningKind::EgressState,
        };
        Some(ThingChanged { kind, view, was })
    }
}

/// A thing that is not as it was.
#[derive(Debug, Clone, Copy)]
pub struct ThingChanged<'a> {
    /// What happened to it.
    pub kind: HappeningKind,
    /// What it is now.
    pub view: ThingView<'a>,
    /// The state it was in before.
    was: Option<State>,
}

impl ThingChanged<'_> {
    /// As one sentence. `by` is who undid it, where that is known.
    pub fn sentence(&self, by: Option<&str>) -> String {
        let thing = &self.view.row.thing;
        let aside = self.view.aside();
        let aside = aside.map_or_else(String::new, |aside| format!(" ({aside})"));
        match self.kind {
            HappeningKind::EgressAdded => format!("added {thing}{aside}"),
            HappeningKind::EgressReplaced => format!("changed {thing}{aside}"),
            HappeningKind::EgressRemoved => format!("removed {thing}{aside}"),
            HappeningKind::EgressRestored => {
                let by = by.unwrap_or("somebody");
                format!("restored {thing}: {by} had undone it{aside}")
            }
            _ => {
                let state = self.view.state.map_or("gone", State::name);
                let was = self.was.filter(|was| Some(*was) != self.view.state);
                let was = was.map_or_else(String::new, |was| format!(" (was {was})"));
                let why = self.view.reason;
                let why = why.map_or_else(String::new, |reason| format!(": {reason}"));
                format!("{thing} is {state}{was}{why}")
            }
        }
    }
}

/// Whether just this was in place.
fn was_in_place(view: &ThingView<'_>, before: &[ThingView<'_>]) -> bool {
    before.iter().any(|row| {
        row.state == Some(State::Installed)
            && row.row.claim.is_some()
            && row.row.thing == view.row.thing
    })
}

fn code(view: &ThingView<'_>) -> Option<ReasonCode> {
    view.reason.map(|reason| reason.code)
}

fn view<'a>(pass: &'a Pass, index: usize, row: &'a EgressRow) -> ThingView<'a> {
    let removals = &pass.plan.removals;
    let (action, other) = match &row.verdict {
        EgressVerdict::Keep => (Action::Keep, None),
        EgressVerdict::Add => (Action::Add, None),
        EgressVerdict::Replace(from) => (Action::Replace, Some(from)),
        EgressVerdict::Remove(back) if *removals == Removals::Allowed => {
            (Action::Remove, back.as_ref())
        }
        EgressVerdict::Remove(back) => (Action::Withhold, back.as_ref()),
        EgressVerdict::Blocked(_) => (Action::None, None),
    };
    let surprise = pass.egress_outcome.get(&index);
    let (state, reason) = match (surprise, &row.verdict) {
        (Some(surprise), _) => (Some(surprise.state), Some(&*surprise.reason)),
        (None, EgressVerdict::Blocked(blocked)) => (Some(blocked.state), Some(&*blocked.reason)),
        (None, EgressVerdict::Keep) => (Some(State::Installed), None),
        (None, EgressVerdict::Remove(_)) => match removals {
            Removals::Withheld(reason) => (None, Some(reason)),
            Removals::Allowed => (None, None),
        },
        (None, _) => (pass.outcome.is_some().then_some(State::Installed), None),
    };
    ThingView {
        row,
        action,
        state,
        reason,
        other,
    }
}

impl Pass {
    /// What was put in place is in place, and what was removed is gone; see [`Pass::settled`].
    pub(super) fn settle_egress(&mut self) {
        let allowed = self.plan.removals == Removals::Allowed;
        let outcome = std::mem::take(&mut self.egress_outcome);
        let mut left = Surprises::new();
        let mut rows = Vec::with_capacity(self.plan.egress.rows.len());
        for (index, mut row) in std::mem::take(&mut self.plan.egress.rows)
            .into_iter()
            .enumerate()
        {
            match (outcome.get(&index), &row.verdict) {
                (Some(surprise), _) => drop(left.insert(rows.len(), surprise.clone())),
                (None, EgressVerdict::Remove(_)) if allowed => continue,
                (None, EgressVerdict::Add | EgressVerdict::Replace(_)) => {
                    row.verdict = EgressVerdict::Keep;
                }
                (None, _) => {}
            }
            rows.push(row);
        }
        self.plan.egress.rows = rows;
        self.egress_outcome = left;
    }
}

/// A thing for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThingJson<'a> {
    kind: &'static str,
    /// In the words of the text form.
    what: String,
    action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

impl<'a> ThingJson<'a> {
    pub(super) fn of(report: &Report<'a>, view: &ThingView<'a>) -> Self {
        let document = report.egress_document(view);
        let file = document.and_then(|(_, place)| {
            let file = report.inputs.files.get(place.file.0 as usize)?;
            Some(&*file.path)
        });
        Self {
            kind: view.row.thing.kind().name(),
            what: view.row.thing.to_string(),
            action: view.action,
            state: view.state,
            reason: view.reason,
            other: view.other.map(ToString::to_string),
            warning: view.row.warning.as_deref(),
            packets: view.row.counters.map(|counters| counters.packets),
            bytes: view.row.counters.map(|counters| counters.bytes),
            document: document.map(|(document, _)| document.id.to_string()),
            file,
            line: document.map(|(_, place)| place.line),
        }
    }
}

/// A document of another kind than routes for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EgressDocumentJson<'a> {
    kind: &'static str,
    name: String,
    file: &'a str,
    line: u32,
    selected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Reason>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

impl<'a> EgressDocumentJson<'a> {
    /// Those that the pass knew.
    pub(super) fn all(report: &Report<'a>) -> Vec<Self> {
        let documents = report.inputs.egress.iter();
        let both = documents.zip(&report.pass.plan.egress.documents);
        both.map(|(document, verdict)| Self {
            kind: document.kind().name(),
            name: document.id.to_string(),
            file: report
                .inputs
                .files
                .get(document.place.file.0 as usize)
                .map_or("", |file| &file.path),
            line: document.place.line,
            selected: verdict.not_selected.is_none(),
            reason: verdict.not_selected.as_ref(),
            notes: &verdict.notes,
        })
        .collect()
    }
}
