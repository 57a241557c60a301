//! What is different for routes from one pass to the next: changed in the kernel, or in another
//! state than before.
//!
//! Pure: two passes in, a list of changes out. What becomes a line of the log, an event or a count
//! is for the daemon to say.

use std::cmp::Ordering;

use super::route::WayText;
use super::{HappeningKind, Report, RouteChange, RouteText, RowView};
use crate::model::{DocumentId, RouteAttrs, RouteKey, State};

/// A route that is not as it was.
#[derive(Debug, Clone, Copy)]
pub struct Changed<'a> {
    /// What happened to it.
    pub kind: HappeningKind,
    /// What it is now.
    pub view: RowView<'a>,
    /// The state it was in before; `None` where no document asked for it.
    pub before: Option<State>,
    /// Where it led before, if it was in place.
    old: Option<&'a RouteAttrs>,
}

impl<'a> Report<'a> {
    /// What is different from an earlier report, in the order of slots. Without an earlier one, what
    /// was changed in the kernel, and what could not be.
    pub fn changes_since(&self, earlier: Option<&Report<'a>>) -> Vec<Changed<'a>> {
        let mut earlier_rows = Slots::of(earlier);
        let mut changes = Vec::new();
        for view in self.rows() {
            let there = earlier_rows.at(&view.row.key);
            changes.extend(self.changed(view, there, earlier));
        }
        changes
    }

    /// The routes that were in place and are not as they were, though the documents still ask for
    /// just that: somebody else undid them. To be asked of a plan before it is carried out.
    pub fn undone_since(&self, earlier: &Report<'a>) -> Vec<RouteKey> {
        let mut earlier_rows = Slots::of(Some(earlier));
        let undone = self.rows().filter(|view| {
            let there = earlier_rows.at(&view.row.key);
            let lost = view.state == Some(State::Foreign) || self.pass.plan.changes(view.row);
            lost && view.row.claim.is_some() && was_in_place(view, there)
        });
        undone.map(|view| view.row.key).collect()
    }

    fn changed(
        &self,
        view: RowView<'a>,
        there: &[RowView<'a>],
        earlier: Option<&Report<'a>>,
    ) -> Option<Changed<'a>> {
        let same = there.iter().find(|row| {
            let document = |report: &Report<'a>, row: &RowView<'a>| report.document(row).cloned();
            earlier.is_some_and(|earlier| document(earlier, row) == document(self, &view))
        });
        let before = same.and_then(|row| row.state);
        let in_place = there.iter().find(|row| row.state == Some(State::Installed));
        let done = self.pass.plan.changes(view.row) && !view.is_problem();
        let restored = was_in_place(&view, there);
        let kind = match view.action {
            super::Action::Add | super::Action::Replace if done && restored => {
                HappeningKind::RouteRestored
            }
            super::Action::Add if done => HappeningKind::RouteAdded,
            super::Action::Replace if done => HappeningKind::RouteReplaced,
            super::Action::Adopt if done => HappeningKind::RouteAdopted,
            super::Action::Remove if done => HappeningKind::RouteRemoved,
            _ if view.state.is_none() => return None,
            // In place when the daemon started, or never anything else.
            _ if same.is_none() && !view.is_problem() => return None,
            _ if before == view.state && same.and_then(reason) == reason(&view) => return None,
            _ => HappeningKind::RouteState,
        };
        let old = match view.action {
            super::Action::Remove => view.attrs,
            _ => view.previous.or(in_place.and_then(|row| row.attrs)),
        };
        Some(Changed {
            kind,
            view,
            before,
            old,
        })
    }

    fn document(&self, view: &RowView<'_>) -> Option<&'a DocumentId> {
        let claim = view.row.claim?;
        self.inputs
            .documents
            .get(claim.document as usize)
            .map(|document| &document.id)
    }

    /// The same for machines.
    pub fn route_change(&self, changed: &Changed<'_>) -> RouteChange {
        let view = &changed.view;
        let way = |attrs: &RouteAttrs| WayText(attrs, &self.pass.links).to_string();
        let is_there = view.state == Some(State::Installed);
        let now = view.attrs.filter(|_| is_there).or(view.occupant);
        RouteChange {
            prefix: view.row.key.prefix,
            table: self.inputs.names.table(view.row.key.table),
            metric: view.row.key.metric.get(),
            document: self.document(view).map(ToString::to_string),
            old: changed.old.map(way),
            new: now.map(way),
            state: view.state,
            reason: view.reason.map(|reason| reason.code),
            gateways: now
                .iter()
                .flat_map(|attrs| attrs.hops())
                .filter_map(|hop| hop.via)
                .collect(),
        }
    }

    /// The same for people, as one sentence. `by` is who undid it, where that is known.
    pub fn sentence(&self, changed: &Changed<'_>, by: Option<&str>) -> String {
        let view = &changed.view;
        let route = RouteText {
            key: &view.row.key,
            attrs: view.attrs.or(changed.old),
            links: &self.pass.links,
            names: Some(self.inputs.names),
        };
        let was = changed
            .old
            .map(|attrs| WayText(attrs, &self.pass.links).to_string());
        let by = by.map_or_else(String::new, |by| format!(" by {by}"));
        match (changed.kind, view.previous) {
            (HappeningKind::RouteAdded, _) => format!("added {route}"),
            (HappeningKind::RouteAdopted, _) => format!("adopted {route}"),
            (HappeningKind::RouteRemoved, _) => format!("removed {route}"),
            (HappeningKind::RouteReplaced, _) => match was {
                Some(was) => format!("changed {route} (was {was})"),
                None => format!("changed {route}"),
            },
            (HappeningKind::RouteRestored, Some(previous)) => {
                let previous = WayText(previous, &self.pass.links);
                format!("restored {route}: it had been changed{by} (was {previous})")
            }
            (HappeningKind::RouteRestored, None) if by.is_empty() => {
                format!(
                    "restored {route}: it was gone, as the kernel takes routes with a link or address"
                )
            }
            (HappeningKind::RouteRestored, None) => {
                format!("restored {route}: it had been deleted{by}")
            }
            _ => self.state_sentence(changed),
        }
    }

    fn state_sentence(&self, changed: &Changed<'_>) -> String {
        let view = &changed.view;
        let state = view.state.map_or("gone", State::name);
        let mut text = format!(
            "{} metric {} table {} is {state}",
            view.row.key.prefix,
            view.row.key.metric,
            self.inputs.names.table(view.row.key.table),
        );
        if let Some(before) = changed.before.filter(|before| Some(*before) != view.state) {
            text += &format!(" (was {before})");
        }
        if let Some(reason) = view.reason {
            text += &format!(": {reason}");
        }
        text
    }
}

/// Whether one of the earlier rows of the slot had just what this one wants, in place.
fn was_in_place(view: &RowView<'_>, there: &[RowView<'_>]) -> bool {
    let wanted = view.attrs;
    let foreign = view.state == Some(State::Foreign);
    there.iter().any(|row| {
        row.state == Some(State::Installed)
            && (foreign || (wanted.is_some() && row.attrs == wanted))
    })
}

fn reason(view: &RowView<'_>) -> Option<crate::plan::ReasonCode> {
    view.reason.map(|reason| reason.code)
}

/// The rows of an earlier report, walked slot by slot beside those of a later one.
struct Slots<'a> {
    rows: Box<dyn Iterator<Item = RowView<'a>> + 'a>,
    next: Option<RowView<'a>>,
    key: Option<RouteKey>,
    slot: Vec<RowView<'a>>,
}

impl<'a> Slots<'a> {
    fn of(report: Option<&Report<'a>>) -> Self {
        let mut rows: Box<dyn Iterator<Item = RowView<'a>> + 'a> = match report {
            Some(report) => Box::new(report.rows()),
            None => Box::new(std::iter::empty()),
        };
        let next = rows.next();
        Self {
            rows,
            next,
            key: None,
            slot: Vec::new(),
        }
    }

    /// The rows of this slot. Slots must be asked for in order.
    fn at(&mut self, key: &RouteKey) -> &[RowView<'a>] {
        if self.key != Some(*key) {
            self.key = Some(*key);
            self.slot.clear();
            while let Some(view) = self.next {
                match view.row.key.cmp(key) {
                    Ordering::Less => {}
                    Ordering::Equal => self.slot.push(view),
                    Ordering::Greater => break,
                }
                self.next = self.rows.next();
            }
        }
        &self.slot
    }
}
