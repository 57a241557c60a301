//! What became of documents besides routes on this node, small enough for a status. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::Wanted;
use super::shape::Objects;
use crate::model::egress::CheckVerdict;
use crate::model::{Dialect, DocumentId, EgressKind, State};
use crate::report::{Published, Report};

/// So many things of a document that are not as wanted are shown one by one, however many it has.
const SHOWN: usize = 10;

/// What became of one document on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plain {
    /// What the two numbers are called: of all, and of those as wanted.
    pub(super) counted: (&'static str, &'static str),
    /// The least good state of anything in it.
    pub(super) state: &'static str,
    /// How many things it comes to.
    pub(super) wanted: usize,
    /// How many of them are as wanted.
    pub(super) good: usize,
    /// The first that are not.
    pub(super) problems: Vec<Problem>,
}

/// A thing that is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Which one, as `srsync status` calls it.
    pub(super) what: String,
    pub(super) state: &'static str,
    pub(super) reason: String,
}

impl Plain {
    /// Whether all is as wanted.
    pub(super) fn is_ready(&self) -> bool {
        self.good == self.wanted
    }

    fn add_problem(&mut self, problem: Problem) {
        if self.problems.len() < SHOWN {
            self.problems.push(problem);
        }
    }
}

/// What there is to say of these objects, once there is anything.
pub(super) fn wanted(published: &Published, objects: Objects) -> Option<Wanted<Plain>> {
    match objects {
        Objects::Routes(_) => None,
        Objects::Things(kind) => Some(published.report(None, |report| things(report, kind))),
        Objects::Checks => checks(published),
    }
}

fn things(report: &Report<'_>, kind: EgressKind) -> Wanted<Plain> {
    let documents = report.inputs.egress.iter();
    let verdicts = &report.pass.plan.egress.documents;
    let of_kind = documents
        .zip(verdicts)
        .filter(|(document, _)| document.kind() == kind);
    // Objects have no namespace, so a document with one has no object.
    let named: Vec<_> = of_kind
        .filter(|(one, _)| one.id.namespace.is_none())
        .collect();
    let for_us = named
        .iter()
        .filter(|(_, verdict)| verdict.not_selected.is_none());
    let nothing_yet = || Plain {
        counted: ("wanted", "installed"),
        state: State::Installed.name(),
        wanted: 0,
        good: 0,
        problems: Vec::new(),
    };
    let mut entries: BTreeMap<DocumentId, Plain> = for_us
        .map(|(document, _)| (document.id.clone(), nothing_yet()))
        .collect();
    let mut worst: BTreeMap<&DocumentId, State> = BTreeMap::new();
    for view in report.things().filter(|view| view.row.thing.kind() == kind) {
        let Some((document, _)) = report.egress_document(&view) else {
            continue;
        };
        let (Some(entry), Some(state)) = (entries.get_mut(&document.id), view.state) else {
            continue;
        };
        entry.wanted += 1;
        let worst = worst.entry(&document.id).or_insert(state);
        *worst = state.max(*worst);
        entry.state = worst.name();
        match state {
            State::Installed => entry.good += 1,
            _ => entry.add_problem(Problem {
                what: view.row.thing.to_string(),
                state: state.name(),
                reason: view.reason.map(ToString::to_string).unwrap_or_default(),
            }),
        }
    }
    Wanted {
        entries,
        documents: named.iter().map(|(one, _)| one.id.clone()).collect(),
        complete: report.inputs.incomplete.is_none(),
    }
}

/// Nothing while a target was not asked yet: what it is to be is known in a moment, and what is there from before stays
/// until then.
fn checks(published: &Published) -> Option<Wanted<Plain>> {
    let mut entries: BTreeMap<DocumentId, Plain> = BTreeMap::new();
    let mut documents = BTreeSet::new();
    for check in &published.running.checks {
        // One with a namespace has no object.
        if check.check.contains('/') {
            continue;
        }
        let id = DocumentId {
            name: check.check.clone(),
            namespace: None,
            dialect: Dialect::Native,
        };
        documents.insert(id.clone());
        if check.verdict == CheckVerdict::NotSelected {
            continue;
        }
        check.last_asked?;
        let entry = entries.entry(id).or_insert(Plain {
            counted: ("targets", "passed"),
            state: CheckVerdict::Passed.name(),
            wanted: 0,
            good: 0,
            problems: Vec::new(),
        });
        entry.wanted += 1;
        if check.verdict == CheckVerdict::Passed {
            entry.good += 1;
            continue;
        }
        // Who failed is worse than who could not be asked.
        if entry.state != CheckVerdict::Failed.name() {
            entry.state = check.verdict.name();
        }
        entry.add_problem(Problem {
            what: check.target.clone(),
            state: check.verdict.name(),
            reason: check.message.clone(),
        });
    }
    Some(Wanted {
        entries,
        documents,
        complete: published.incomplete.is_none(),
    })
}
