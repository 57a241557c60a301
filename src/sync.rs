//! One pass: observe → plan → apply → observe again, until nothing new can be done.
//!
//! Owns the order of things and the bookkeeping between the rounds of a pass. A second round is
//! needed where one route makes the next possible (a gateway behind a route of our own). What the
//! kernel refused is not asked for again in the same pass.

mod egress;
mod undo;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use nix::errno::Errno;

use crate::kernel::{Change, Failure, Interest, Kernel, KernelError, NextHops, Refusal, Tables};
use crate::model::egress::Thing;
use crate::model::{NextHopId, NextHopKind, Observed, Protocol, Route, RouteKey, State};
use crate::plan::objects::{Objects, Switch};
use crate::plan::{self, Inputs, Plan, Reason, ReasonCode, Row, Verdict};
use crate::report::{Pass, Surprise, Surprises};
use egress::Stages;
pub use undo::{Undone, undo};

/// How often a pass goes round at most: routes that build on each other are rarely deeper.
const ROUNDS: usize = 8;

/// Why a pass was given up.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Before anything was changed.
    #[error("nothing was changed")]
    Before(#[source] KernelError),
    /// The process may not change routes.
    #[error(
        "nothing was changed: changing routes needs the capability CAP_NET_ADMIN. Run as root \
         (sudo), or rehearse without it: `srsync try`"
    )]
    NotPermitted,
    /// In the middle: some changes are in place.
    #[error("the pass was interrupted; what is in place stays, and the next run completes it")]
    During(#[source] KernelError),
}

/// Reads what these documents are to be compared with.
///
/// # Errors
/// If the kernel's answer was not complete.
pub fn observe(kernel: &mut Kernel, inputs: &Inputs<'_>) -> Result<Observed, KernelError> {
    let (tables, lookups) = plan::interest(inputs);
    let mut observed = kernel.observe(&Interest {
        nexthops: match plan::wants_objects(inputs) {
            true => NextHops::Needed,
            // What was left by somebody else is tidied up, if it can be seen.
            false => NextHops::Welcome,
        },
        protocol: inputs.policy.protocol,
        tables: Tables::Only(tables),
        lookups,
    })?;
    observed.egress = egress::observe(kernel, inputs, &observed.links)?;
    tracing::debug!(
        links = observed.links.len(),
        addresses = observed.addresses.len(),
        routes = observed.routes.len(),
        "read the kernel"
    );
    Ok(observed)
}

/// What [`run`] would do.
///
/// # Errors
/// If the kernel could not be read completely.
pub fn preview(kernel: &mut Kernel, inputs: &Inputs<'_>) -> Result<Pass, SyncError> {
    let observed = observe(kernel, inputs).map_err(SyncError::Before)?;
    Ok(planned(inputs, observed))
}

/// What [`carry_through`] would do about a node as it was just observed.
pub fn planned(inputs: &Inputs<'_>, observed: Observed) -> Pass {
    Pass {
        plan: plan::plan(inputs, &observed),
        links: observed.links,
        ..Pass::default()
    }
}

/// Makes the kernel's routes equal to the documents, as far as it can be done.
///
/// # Errors
/// If the kernel could not be read completely, or stopped answering. Routes that the kernel
/// refuses are not errors of the pass: they are in its outcome.
pub fn run(kernel: &mut Kernel, inputs: &Inputs<'_>) -> Result<Pass, SyncError> {
    let pass = preview(kernel, inputs)?;
    carry_through(kernel, inputs, pass, Held::default())
}

/// Carries out what [`preview`] or [`planned`] said a moment ago, except for the slots in `held`, which are
/// reported as failed for the reason given.
///
/// # Errors
/// As those of [`run`].
pub fn carry_through(
    kernel: &mut Kernel,
    inputs: &Inputs<'_>,
    mut pass: Pass,
    held: Held,
) -> Result<Pass, SyncError> {
    let mut refused = held.routes;
    // Should everything be held, nothing else says so.
    let mut outcome = match refused.is_empty() {
        true => Surprises::new(),
        false => surprises(&pass.plan, &pass.plan, &refused),
    };
    let mut stages = Stages::new(held.things);
    stages.before_routes(kernel, inputs, &pass.plan)?;
    let mut latest: Option<Plan> = None;
    let mut refused_objects = inputs.objects.cloned();
    let mut refused_once = HashSet::new();
    for _ in 0..ROUNDS {
        let plan = latest.as_ref().unwrap_or(&pass.plan);
        let work = work(plan, &refused);
        if work.is_empty() && plan.objects.are_settled() {
            break;
        }
        match prepare(kernel, inputs.policy.protocol, &plan.objects)? {
            Prepared::Yes => {
                let kept = work.partition_point(|work| work.kind != WorkKind::Remove);
                let (coming, going) = work.split_at(kept);
                carry_out(kernel, inputs, coming, &mut refused)?;
                stages.rules(kernel, inputs, &pass.plan)?;
                carry_out(kernel, inputs, going, &mut refused)?;
                tidy_up(kernel, inputs.policy.protocol, &plan.objects)?;
            }
            // The node may just have changed; but routes do not wait twice for the same object.
            Prepared::No(refusals) => {
                for (kind, why) in refusals {
                    if !refused_once.insert(kind.clone()) {
                        refused_objects.get_or_insert_default().insert(kind.clone());
                        pass.refused_objects.push((kind, why));
                    }
                }
            }
        }
        let inputs = &Inputs {
            objects: refused_objects.as_ref(),
            ..*inputs
        };
        let observed = observe(kernel, inputs).map_err(SyncError::During)?;
        let mut after = plan::plan(inputs, &observed);
        // A guard is asked once in a pass: what was added meanwhile would raise a percentage.
        after.removals = pass.plan.removals.clone();
        bring_up_to_date(&mut pass.plan, &after);
        outcome = surprises(&pass.plan, &after, &refused);
        pass.plan.objects = after.objects.clone();
        pass.links = observed.links;
        latest = Some(after);
    }
    stages.rules(kernel, inputs, &pass.plan)?;
    stages.after_routes(kernel, inputs, &pass.plan)?;
    if stages.has_news() {
        let observed = observe(kernel, inputs).map_err(SyncError::During)?;
        let mut after = plan::plan(inputs, &observed);
        after.removals = pass.plan.removals.clone();
        stages.forget(kernel, &after);
        pass.egress_outcome = stages.surprises(&pass.plan.egress, &after);
    }
    pass.outcome = Some(outcome);
    Ok(pass)
}

/// What is to be left alone, with why.
#[derive(Debug, Default)]
pub struct Held {
    /// Slots.
    pub routes: HashMap<RouteKey, Arc<Reason>>,
    /// Things besides routes.
    pub things: BTreeMap<Thing, Arc<Reason>>,
}

/// Slots that are not asked for again in this pass, with why.
type Refused = HashMap<RouteKey, Arc<Reason>>;

/// A change to make.
struct Work {
    route: Route,
    kind: WorkKind,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum WorkKind {
    Add,
    Replace,
    Remove,
}

impl Work {
    fn change(&self) -> Change<'_> {
        match self.kind {
            WorkKind::Add => Change::Add(&self.route),
            WorkKind::Replace => Change::Replace(&self.route),
            WorkKind::Remove => Change::Remove(&self.route),
        }
    }
}

/// The changes of a plan that the kernel has not refused yet: additions and replacements first,
/// removals last, so that there is never a gap.
fn work(plan: &Plan, refused: &Refused) -> Vec<Work> {
    let changing = plan.rows.iter().filter(|row| plan.changes(row));
    let mut work: Vec<Work> = changing
        .filter(|row| !refused.contains_key(&row.key))
        .filter_map(|row| {
            let (kind, attrs) = match &row.verdict {
                Verdict::Add(attrs) => (WorkKind::Add, attrs),
                Verdict::Replace { to: attrs, .. } | Verdict::Adopt { attrs, .. } => {
                    (WorkKind::Replace, attrs)
                }
                Verdict::Remove(attrs) | Verdict::Withdraw { attrs, .. } => {
                    (WorkKind::Remove, attrs)
                }
                Verdict::Keep(_) | Verdict::Blocked(_) => return None,
            };
            let route = Route {
                key: row.key,
                attrs: attrs.clone(),
            };
            Some(Work { route, kind })
        })
        .collect();
    work.sort_by_key(|work| work.kind == WorkKind::Remove);
    work
}

/// Whether the nexthop objects are there that routes are about to refer to.
enum Prepared {
    Yes,
    /// No route was touched: the kernel refuses these, in its words, or somebody took one away meanwhile.
    No(Vec<(NextHopKind, String)>),
}

/// Makes and changes nexthop objects.
fn prepare(
    kernel: &mut Kernel,
    protocol: Protocol,
    objects: &Objects,
) -> Result<Prepared, SyncError> {
    for change in objects.changes.iter().filter(|change| change.exists) {
        if !is_ours(kernel, protocol, change.id)? {
            tracing::debug!("object {} was taken away meanwhile", change.id);
            return Ok(Prepared::No(Vec::new()));
        }
    }
    let changes = objects.changes.iter().map(|change| match change.exists {
        false => Change::AddNextHop(change.id, &change.kind),
        true => Change::ReplaceNextHop(change.id, &change.kind),
    });
    let changes: Vec<Change<'_>> = changes.collect();
    let failures = kernel
        .apply(protocol, &changes)
        .map_err(SyncError::During)?;
    if failures.iter().any(|failure| permission(&failure.error)) {
        return Err(SyncError::NotPermitted);
    }
    let failed = |failure: &Failure| objects.changes[failure.index].id;
    let failed: HashSet<NextHopId> = failures.iter().map(failed).collect();
    // A group was refused for itself only if all its members are there.
    let is_whole = |kind: &NextHopKind| match kind {
        NextHopKind::Group(group) => !group.members().iter().any(|m| failed.contains(&m.id)),
        _ => true,
    };
    let refusals = failures
        .iter()
        .map(|failure| (&objects.changes[failure.index].kind, &failure.error))
        .filter(|(kind, _)| is_whole(kind))
        .map(|(kind, error)| (kind.clone(), error.to_string()));
    Ok(match failures.is_empty() {
        true => Prepared::Yes,
        false => Prepared::No(refusals.collect()),
    })
}

/// Removes the nexthop objects that nobody leads by any more. What is refused is found again.
fn tidy_up(kernel: &mut Kernel, protocol: Protocol, objects: &Objects) -> Result<(), SyncError> {
    let mut changes = Vec::new();
    for id in &objects.orphans {
        if is_ours(kernel, protocol, *id)? {
            changes.push(Change::RemoveNextHop(*id));
        }
    }
    kernel
        .apply(protocol, &changes)
        .map_err(SyncError::During)?;
    Ok(())
}

/// Whether an object is still ours, for the kernel changes and removes by the number alone.
fn is_ours(kernel: &mut Kernel, protocol: Protocol, id: NextHopId) -> Result<bool, SyncError> {
    let there = kernel.nexthop(id).map_err(SyncError::During)?;
    Ok(there.is_some_and(|object| object.protocol == protocol))
}

/// Leads all routes of a set another way, in one message, without looking at the routes: the group is
/// ours and holds what it is thought to hold, or nothing is done. Returns whether it was done.
///
/// # Errors
/// If the kernel could not be asked.
pub fn switch(
    kernel: &mut Kernel,
    protocol: Protocol,
    switch: &Switch,
) -> Result<bool, KernelError> {
    let there = kernel.nexthop(switch.group)?;
    let as_thought = there.is_some_and(|object| {
        object.protocol == protocol && object.kind == Some(NextHopKind::Group(switch.from.clone()))
    });
    if !as_thought {
        return Ok(false);
    }
    let to = NextHopKind::Group(switch.to.clone());
    let failures = kernel.apply(protocol, &[Change::ReplaceNextHop(switch.group, &to)])?;
    Ok(failures.is_empty())
}

fn permission(refusal: &Refusal) -> bool {
    refusal.is(Errno::EPERM)
}

fn carry_out(
    kernel: &mut Kernel,
    inputs: &Inputs<'_>,
    work: &[Work],
    refused: &mut Refused,
) -> Result<(), SyncError> {
    let changes: Vec<Change<'_>> = work.iter().map(Work::change).collect();
    let failures = kernel
        .apply(inputs.policy.protocol, &changes)
        .map_err(SyncError::During)?;
    tracing::debug!(
        changes = changes.len(),
        refused = failures.len(),
        "changed routes"
    );
    // Without the capability every request is refused alike: say so once, not for each route.
    let not_permitted = |failure: &Failure| permission(&failure.error);
    let all_failed = !work.is_empty() && failures.len() == work.len();
    if refused.is_empty() && all_failed && failures.iter().all(not_permitted) {
        return Err(SyncError::NotPermitted);
    }
    for Failure { index, error } in failures {
        let reason = Reason::new(ReasonCode::Kernel, format!("the kernel says: {error}"));
        refused.insert(work[index].route.key, Arc::new(reason));
    }
    Ok(())
}

/// Brings the plan that is reported up to date after a round. Rows that could be worked on only in
/// a later round become work of it, a row that was changed again is reported with what it is in
/// the end, and one that was left alone with what is true of it now: a gateway that another route
/// of the pass made reachable, or took away.
fn bring_up_to_date(first: &mut Plan, after: &Plan) {
    let blocked = |row: &Row| matches!(row.verdict, Verdict::Blocked(_));
    let any_blocked = first.rows.iter().any(blocked);
    let news = |row: &&Row| any_blocked || blocked(row) || after.changes(row);
    for row in after.rows.iter().filter(news) {
        let Some(index) = find(&first.rows, row) else {
            continue;
        };
        let verdict = match (&first.rows[index].verdict, &row.verdict) {
            (Verdict::Add(_), Verdict::Replace { to, .. } | Verdict::Add(to)) => {
                Verdict::Add(to.clone())
            }
            (Verdict::Replace { from, .. }, Verdict::Replace { to, .. }) => Verdict::Replace {
                from: from.clone(),
                to: to.clone(),
            },
            _ if first.changes(&first.rows[index]) => continue,
            (_, later) => later.clone(),
        };
        first.rows[index].verdict = verdict;
    }
}

/// Compares what was planned with a plan made afterwards: whatever is still to be done, did not
/// happen.
fn surprises(first: &Plan, after: &Plan, refused: &Refused) -> Surprises {
    let mut surprises = Surprises::new();
    for row in &after.rows {
        let unexpected = match &row.verdict {
            Verdict::Blocked(blocked) => Surprise {
                state: blocked.state,
                reason: blocked.reason.clone(),
                occupant: blocked.occupant.clone(),
            },
            _ if after.changes(row) => Surprise {
                state: State::Failed,
                reason: refused.get(&row.key).cloned().unwrap_or_else(not_there),
                occupant: match &row.verdict {
                    Verdict::Replace { from: stays, .. }
                    | Verdict::Withdraw { attrs: stays, .. }
                    | Verdict::Remove(stays) => Some(stays.clone()),
                    _ => None,
                },
            },
            _ => continue,
        };
        if let Some(index) = find(&first.rows, row)
            && first.changes(&first.rows[index])
        {
            surprises.insert(index, unexpected);
        }
    }
    surprises
}

fn not_there() -> Arc<Reason> {
    let message = "the kernel took the change, but reading back shows something else; somebody \
                   may be changing the same route (`ip monitor route` shows who)";
    Arc::new(Reason::new(ReasonCode::NotThere, message))
}

/// The index of the row about the same route: same slot and document, or the same removal.
fn find(rows: &[Row], wanted: &Row) -> Option<usize> {
    let start = rows.partition_point(|row| row.key < wanted.key);
    let slot = rows[start..].iter().take_while(|row| row.key == wanted.key);
    let same = |row: &Row| {
        let removal = |row: &Row| match &row.verdict {
            Verdict::Remove(attrs) => Some(attrs.clone()),
            _ => None,
        };
        row.claim == wanted.claim && (row.claim.is_some() || removal(row) == removal(wanted))
    };
    slot.enumerate()
        .find(|(_, row)| same(row))
        .map(|(offset, _)| start + offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metric, RouteAttrs, RouteType, TableId};
    use crate::plan::Removals;

    /// A document whose metric changes leaves its old slot and takes a new one: were the old one
    /// cleared first, packets would find no route in between, too shortly for a stream to show.
    #[test]
    fn removals_come_last_whatever_the_order_of_slots() {
        let attrs = Arc::new(RouteAttrs::without_hops(RouteType::Blackhole));
        let row = |metric, verdict| Row {
            key: RouteKey::new(
                TableId::MAIN,
                "192.0.2.0/24".parse().unwrap(),
                Metric::new(metric),
            ),
            claim: None,
            verdict,
            warning: None,
        };
        let plan = Plan {
            rows: vec![
                row(1, Verdict::Remove(attrs.clone())),
                row(2, Verdict::Add(attrs.clone())),
                row(3, Verdict::Remove(attrs.clone())),
                row(
                    4,
                    Verdict::Replace {
                        from: attrs.clone(),
                        to: attrs.clone(),
                    },
                ),
            ],
            removals: Removals::Allowed,
            owned: 3,
            ..Plan::default()
        };
        let work = work(&plan, &Refused::new());
        let order: Vec<u32> = work.iter().map(|w| w.route.key.metric.get()).collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }
}
