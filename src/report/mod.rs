//! What a pass decided and did, as data: every output format reads this and nothing else.
//!
//! Owns the words and their counting: actions, states, the summary, whether a node is in sync.
//! Decides nothing and reads nothing: a [`Report`] is a view of a plan, what came of it, and the
//! documents it was made from.

mod changes;
mod check;
mod check_text;
mod counted;
pub(crate) mod egress;
mod egress_text;
mod gate;
mod gateway;
mod gateway_text;
mod happening;
mod json;
mod route;
mod running;
mod running_text;
mod selection;
mod table;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use changes::Changed;
pub use check::{CheckReport, CheckStatus};
pub use egress::{ThingChanged, ThingView};
pub use gate::Gate;
pub use gateway::{
    GatewayHealth, GatewayList, GatewayStatus, GatewayWill, LastProbe, ProbeOutcome, ProbeRecord,
    Probing, RoundTrip,
};
pub use happening::{Happening, HappeningKind, HappeningText, Level, RouteChange};
pub use route::RouteText;
pub use running::{
    Condition, ContestedRoute, Counters, Finding, Histogram, KubernetesStatus, KubernetesTrouble,
    OverrideStatus, PassStatus, Published, Running, SourceStatus, Trigger,
};
pub use selection::Selection;
pub use text::{Detail, Style, plural};

pub use crate::plan::ReasonCode;

use crate::model::{IfIndex, Link, NextHopKind, Observed, RouteAttrs, State};
use crate::plan::{Inputs, Plan, Reason, Removals, Row, Verdict};

/// How a row ended that did not end as planned, by its index in the plan.
pub type Surprises = BTreeMap<usize, Surprise>;

/// An end other than the planned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surprise {
    /// The state the route is in.
    pub state: State,
    /// Why.
    pub reason: Arc<Reason>,
    /// What is in the slot instead, and stays.
    pub occupant: Option<Arc<RouteAttrs>>,
}

/// One pass over a node.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// What was decided.
    pub plan: Plan,
    /// What became of it; `None` where nothing was carried out.
    pub outcome: Option<Surprises>,
    /// How things besides routes ended that did not end as planned, by their index in the plan.
    pub egress_outcome: Surprises,
    /// Nexthop objects that the kernel refused, so that plain routes had to do, with its words.
    pub refused_objects: Vec<(NextHopKind, String)>,
    /// The node's links, for their names.
    pub links: Vec<Link>,
}

impl Pass {
    /// What a link is called; `if7`, as iproute2 says, if it is gone.
    pub fn link_name(&self, index: IfIndex) -> String {
        route::link_name(index, &self.links)
    }

    /// The pass as it is once it is over: what was put in place is in place, what was removed is
    /// nobody's concern any more, and what did not succeed is as it was.
    pub fn settled(mut self) -> Self {
        let Some(outcome) = self.outcome.take() else {
            return self;
        };
        let (mut rows, mut left) = (Vec::with_capacity(self.plan.rows.len()), Surprises::new());
        let allowed = self.plan.removals == Removals::Allowed;
        for (index, mut row) in self.plan.rows.into_iter().enumerate() {
            if let Verdict::Withdraw { blocked, .. } = &row.verdict
                && outcome
                    .get(&index)
                    .is_none_or(|end| end.state == blocked.state)
            {
                row.verdict = Verdict::Blocked(blocked.clone());
                rows.push(row);
                continue;
            }
            if let Some(surprise) = outcome.get(&index) {
                left.insert(rows.len(), surprise.clone());
                rows.push(row);
                continue;
            }
            row.verdict = match row.verdict {
                Verdict::Remove(_) if allowed => continue,
                Verdict::Add(attrs)
                | Verdict::Replace { to: attrs, .. }
                | Verdict::Adopt { attrs, .. } => Verdict::Keep(attrs),
                same => same,
            };
            rows.push(row);
        }
        self.plan.rows = rows;
        self.outcome = Some(left);
        self.settle_egress();
        self
    }
}

/// Which command reports: it decides the tense of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// What would be done.
    Plan,
    /// What was done.
    Apply,
    /// What was done in a rehearsal.
    Try,
    /// What was removed.
    Flush,
    /// What is there.
    Status,
}

/// A pass, with everything needed to tell a person about it.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Who reports.
    pub kind: Kind,
    /// This node's name.
    pub node: &'a str,
    /// What the plan was made from.
    pub inputs: &'a Inputs<'a>,
    /// The plan and its outcome.
    pub pass: &'a Pass,
    /// After a rehearsal, everybody's routes as they are then.
    pub tables: Option<&'a Observed>,
    /// The daemon that reports, where it is one.
    pub running: Option<&'a Running>,
    /// Which rows are listed; all of them without it.
    pub selection: Option<&'a Selection>,
}

/// What is done about a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Put into a free slot.
    Add,
    /// Changed in place.
    Replace,
    /// Taken over unchanged from another owner.
    Adopt,
    /// Taken away.
    Remove,
    /// Would be taken away, but a guard holds removals back.
    Withhold,
    /// In place already.
    Keep,
    /// Nothing can be done.
    None,
}

/// One row, with its verdict and its end put together.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    /// The row.
    pub row: &'a Row,
    /// What is done.
    pub action: Action,
    /// The state; `None` for a route that is not there yet or is not wanted.
    pub state: Option<State>,
    /// Why it is in that state, unless it is installed.
    pub reason: Option<&'a Reason>,
    /// The route meant: what is wanted, or what goes; `None` where it could not be resolved.
    pub attrs: Option<&'a RouteAttrs>,
    /// What was in the slot before, where it is replaced.
    pub previous: Option<&'a RouteAttrs>,
    /// What is in the slot and stays, where the route wanted cannot be installed.
    pub occupant: Option<&'a RouteAttrs>,
}

impl RowView<'_> {
    /// Whether the route goes because all its gateways are down and its document says so.
    pub fn is_withdrawn(&self) -> bool {
        self.action == Action::Remove && self.state == Some(State::Withdrawn)
    }

    /// Whether the route is not as it should be, for a reason that is in the row.
    pub fn is_problem(&self) -> bool {
        self.state.is_some_and(|state| state != State::Installed)
    }
}

/// The numbers of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows by action; what did not succeed is counted by its state alone, what is withdrawn by both.
    pub actions: BTreeMap<Action, usize>,
    /// Routes by state.
    pub states: BTreeMap<State, usize>,
}

impl Summary {
    /// How many rows have this action.
    pub fn of(&self, action: Action) -> usize {
        self.actions.get(&action).copied().unwrap_or(0)
    }

    /// How many routes are in this state.
    pub fn in_state(&self, state: State) -> usize {
        self.states.get(&state).copied().unwrap_or(0)
    }
}

impl<'a> Report<'a> {
    /// All rows, in the order of slots.
    pub fn rows(&self) -> impl Iterator<Item = RowView<'a>> + use<'a> {
        let pass = self.pass;
        let rows = pass.plan.rows.iter().enumerate();
        rows.map(move |(index, row)| view(pass, index, row))
    }

    /// Counts actions and states. Routes of documents for other nodes count as `NotSelected`.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for view in self.rows() {
            if !view.is_problem() || view.is_withdrawn() {
                *summary.actions.entry(view.action).or_default() += 1;
            }
            if let Some(state) = view.state {
                *summary.states.entry(state).or_default() += 1;
            }
        }
        let verdicts = self.pass.plan.documents.iter();
        for (verdict, document) in verdicts.zip(self.inputs.documents) {
            if verdict.not_selected.is_some() {
                *summary.states.entry(State::NotSelected).or_default() +=
                    document.destinations.len();
            }
        }
        summary
    }

    /// Whether the kernel has all that this node should have, and nothing of ours besides. Not so
    /// while it is not known what all of that is.
    pub fn in_sync(&self) -> bool {
        let rows_settled = self.rows().all(|view| match view.action {
            Action::Remove => view.state.is_none(),
            Action::Withhold => false,
            _ => view.state == Some(State::Installed),
        });
        rows_settled
            && self.egress_in_sync()
            && self.pass.plan.removals == Removals::Allowed
            && self.inputs.incomplete.is_none()
    }
}

fn view<'a>(pass: &'a Pass, index: usize, row: &'a Row) -> RowView<'a> {
    let plan = &pass.plan;
    let (action, attrs) = match &row.verdict {
        Verdict::Keep(attrs) => (Action::Keep, Some(&**attrs)),
        Verdict::Add(attrs) => (Action::Add, Some(&**attrs)),
        Verdict::Replace { to, .. } => (Action::Replace, Some(&**to)),
        Verdict::Adopt { attrs, .. } => (Action::Adopt, Some(&**attrs)),
        Verdict::Remove(attrs) if plan.changes(row) => (Action::Remove, Some(&**attrs)),
        Verdict::Remove(attrs) => (Action::Withhold, Some(&**attrs)),
        Verdict::Withdraw { attrs, .. } => (Action::Remove, Some(&**attrs)),
        Verdict::Blocked(_) => (Action::None, None),
    };
    let surprise = pass.outcome.as_ref().and_then(|ends| ends.get(&index));
    let (previous, occupant) = match (surprise, &row.verdict) {
        (Some(surprise), _) => (None, surprise.occupant.as_deref()),
        (None, Verdict::Replace { from, .. }) => (Some(&**from), None),
        (None, Verdict::Blocked(blocked)) => (None, blocked.occupant.as_deref()),
        _ => (None, None),
    };
    let (state, reason) = match (surprise, &row.verdict, &pass.outcome) {
        (Some(surprise), ..) => (Some(surprise.state), Some(&*surprise.reason)),
        (None, Verdict::Blocked(blocked) | Verdict::Withdraw { blocked, .. }, _) => {
            (Some(blocked.state), Some(&*blocked.reason))
        }
        (None, Verdict::Keep(_), _) => (Some(State::Installed), None),
        (None, Verdict::Remove(_), _) => match &plan.removals {
            Removals::Withheld(reason) => (None, Some(reason)),
            Removals::Allowed => (None, None),
        },
        (None, _, Some(_)) => (Some(State::Installed), None),
        (None, _, None) => (None, None),
    };
    RowView {
        row,
        action,
        state,
        reason,
        attrs,
        previous,
        occupant,
    }
}
