//! What became of each document on this node, small enough for a status. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use crate::model::{Dialect, DocumentId, Prefix, State};
use crate::report::{Published, ReasonCode, Report, RowView};

/// So many routes of a document are shown one by one, however many it has.
const SHOWN: usize = 10;

/// What became of one document on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The least good state of its routes.
    pub(super) state: State,
    /// How many are wanted.
    pub(super) routes: usize,
    /// How many are in place.
    pub(super) installed: usize,
    /// Who carries.
    pub(super) gateways: BTreeSet<IpAddr>,
    /// The first that are not in place.
    pub(super) problems: Vec<Problem>,
    /// The first that are.
    pub(super) good: Vec<(Prefix, Option<IpAddr>)>,
}

/// A route that is not in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) prefix: Prefix,
    pub(super) state: State,
    /// Why, for comparing.
    pub(super) code: Option<ReasonCode>,
    /// Why, for people.
    pub(super) reason: String,
}

impl Problem {
    /// Whether it is the same trouble, whatever its words: some of them count.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.state, self.code) == (other.state, other.code)
    }
}

/// What a node has to say of one object.
pub(super) trait Say {
    /// Its entry in the status of that object, which has this spec.
    fn say(&self, dialect: Dialect, node: &str, spec: &Value) -> Value;
}

/// What this node has to say about its documents.
#[derive(Debug)]
pub(super) struct Wanted<E = Entry> {
    /// One entry for each document that is for this node.
    pub(super) entries: BTreeMap<DocumentId, E>,
    /// Documents that are there, for this node or not.
    pub(super) documents: BTreeSet<DocumentId>,
    /// Whether these are all documents that there are.
    pub(super) complete: bool,
}

impl Entry {
    fn new() -> Self {
        Self {
            state: State::Installed,
            routes: 0,
            installed: 0,
            gateways: BTreeSet::new(),
            problems: Vec::new(),
            good: Vec::new(),
        }
    }

    /// Whether all is in place.
    pub(super) fn is_ready(&self) -> bool {
        self.installed == self.routes
    }

    /// One of the routes in the least good state, if any is not in place.
    pub(super) fn worst(&self) -> Option<&Problem> {
        let mut problems = self.problems.iter();
        let worst = problems.find(|problem| problem.state == self.state);
        worst.or_else(|| self.problems.first())
    }

    /// Why not, if not.
    pub(super) fn reason(&self) -> &str {
        let first = self.problems.first();
        first.map_or("", |problem| &problem.reason)
    }

    fn add(&mut self, view: &RowView<'_>) {
        let Some(state) = view.state else { return };
        let prefix = view.row.key.prefix;
        self.routes += 1;
        self.state = self.state.max(state);
        if state == State::Installed {
            self.installed += 1;
            let hops = view.attrs.map_or(&[][..], |attrs| attrs.hops());
            let gateways = || hops.iter().filter_map(|hop| hop.via);
            self.gateways.extend(gateways());
            if self.good.len() < SHOWN {
                self.good.push((prefix, gateways().next()));
            }
        } else if self.problems.len() < SHOWN {
            let reason = view.reason.map(ToString::to_string).unwrap_or_default();
            self.problems.push(Problem {
                prefix,
                state,
                code: view.reason.map(|reason| reason.code),
                reason,
            });
        }
    }
}

/// What there is to say, once there is anything.
pub(super) fn wanted(published: &Published) -> Option<Wanted> {
    if published.running.ready.is_none() || published.unknown_labels.is_some() {
        return None;
    }
    Some(published.report(None, of_report))
}

fn of_report(report: &Report<'_>) -> Wanted {
    let documents = report.inputs.documents;
    let verdicts = report.pass.plan.documents.iter();
    let for_us = verdicts.map(|verdict| verdict.not_selected.is_none());
    let mut entries: Vec<Option<Entry>> = for_us.map(|ours| ours.then(Entry::new)).collect();
    for view in report.rows() {
        let Some(claim) = view.row.claim else {
            continue;
        };
        if let Some(Some(entry)) = entries.get_mut(claim.document as usize) {
            entry.add(&view);
        }
    }
    // Objects have no namespace, so a document with one has no object.
    let ids = || documents.iter().map(|document| &document.id);
    let named = |id: &&DocumentId| id.namespace.is_none();
    let entries = ids().zip(entries).filter(|(id, _)| named(id));
    Wanted {
        entries: entries
            .filter_map(|(id, entry)| Some((id.clone(), entry?)))
            .collect(),
        documents: ids().filter(named).cloned().collect(),
        complete: report.inputs.incomplete.is_none(),
    }
}
