//! Taking back what a pass did: every change that its rows tell, and nothing else.
//!
//! Only a slot that still holds what the pass put there is touched, and it is read back. As forward, what comes back
//! comes before what goes, so that there is never a gap.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ROUNDS, SyncError, egress, is_ours, observe};
use crate::kernel::{Change, Failure, Kernel};
use crate::model::{
    NextHopKind, Observed, ObservedRoute, Protocol, Route, RouteAttrs, RouteKey, State,
};
use crate::plan::{Inputs, Reason, Removals, Row, Verdict};
use crate::report::{Pass, Surprise};

/// What became of taking a pass back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// How many routes and other things are as they were.
    pub count: usize,
    /// Those that are not: what, and why.
    pub left: Vec<String>,
}

/// Takes back what a pass did since `before` was observed, and says so in its outcome: what is as it was again has
/// failed, for this reason.
///
/// # Errors
/// If the kernel stopped answering: then some of it is taken back.
pub fn undo(
    kernel: &mut Kernel,
    inputs: &Inputs<'_>,
    (before, pass): (&Observed, &mut Pass),
    reason: &Arc<Reason>,
) -> Result<Undone, SyncError> {
    let ours = inputs.policy.protocol;
    let mut steps = steps(pass, ours);
    restore_objects(kernel, ours, before)?;
    rounds(kernel, inputs, &mut steps, Do::Restore)?;
    let mut left = egress::put_back(kernel, inputs, (&before.egress, &before.links))
        .map_err(SyncError::During)?;
    let things_are_back = left.is_empty();
    rounds(kernel, inputs, &mut steps, Do::Remove)?;
    let mut count = 0;
    let outcome = pass.outcome.get_or_insert_default();
    for step in steps {
        match step.end {
            End::Back => {
                outcome.insert(step.row, rolled_back(reason, step.there));
                count += 1;
            }
            End::Open(why) => left.push(format!("{}: {why}", step.key.prefix)),
        }
    }
    if things_are_back {
        count += take_back_things(pass, reason);
    }
    Ok(Undone { count, left })
}

/// What is said of a row that is as it was.
fn rolled_back(reason: &Arc<Reason>, occupant: Option<Arc<RouteAttrs>>) -> Surprise {
    Surprise {
        state: State::Failed,
        reason: reason.clone(),
        occupant,
    }
}

/// Things besides routes are put back together.
fn take_back_things(pass: &mut Pass, reason: &Arc<Reason>) -> usize {
    let allowed = pass.plan.removals == Removals::Allowed;
    let rows = pass.plan.egress.rows.iter().enumerate();
    let changed: Vec<usize> = rows
        .filter(|(index, row)| {
            row.verdict.changes(allowed) && !pass.egress_outcome.contains_key(index)
        })
        .map(|(index, _)| index)
        .collect();
    for index in &changed {
        pass.egress_outcome
            .insert(*index, rolled_back(reason, None));
    }
    changed.len()
}

/// A change to take back.
struct Step {
    /// Its row in the plan.
    row: usize,
    key: RouteKey,
    /// What the pass put there.
    put: Option<Arc<RouteAttrs>>,
    /// What was there before.
    there: Option<Arc<RouteAttrs>>,
    /// Whose that was.
    owner: Protocol,
    end: End,
}

/// How a step stands.
#[derive(PartialEq, Eq)]
enum End {
    /// The slot is as it was.
    Back,
    /// It is not, and this is why.
    Open(String),
}

/// What the pass did, by its rows: those that did not end as planned are as they were.
fn steps(pass: &Pass, ours: Protocol) -> Vec<Step> {
    let outcome = pass.outcome.as_ref();
    let happened = |index: usize, row: &Row| {
        pass.plan.changes(row) && !outcome.is_some_and(|ends| ends.contains_key(&index))
    };
    let step = |(index, row): (usize, &Row)| {
        let (put, there, owner) = match &row.verdict {
            _ if !happened(index, row) => return None,
            Verdict::Add(put) => (Some(put), None, ours),
            Verdict::Replace { from, to } => (Some(to), Some(from), ours),
            Verdict::Adopt { attrs, from } => (Some(attrs), Some(attrs), *from),
            Verdict::Remove(there) | Verdict::Withdraw { attrs: there, .. } => {
                (None, Some(there), ours)
            }
            Verdict::Keep(_) | Verdict::Blocked(_) => return None,
        };
        Some(Step {
            row: index,
            key: row.key,
            put: put.cloned(),
            there: there.cloned(),
            owner,
            end: End::Open("it was not tried".to_owned()),
        })
    };
    pass.plan.rows.iter().enumerate().filter_map(step).collect()
}

/// Nexthop objects of ours that the pass tidied away: routes that come back may refer to them. Groups need their
/// members first.
fn restore_objects(
    kernel: &mut Kernel,
    ours: Protocol,
    before: &Observed,
) -> Result<(), SyncError> {
    let mut gone = Vec::new();
    for object in before.nexthops.iter().filter(|one| one.protocol == ours) {
        if let Some(kind) = &object.kind
            && !is_ours(kernel, ours, object.id)?
        {
            gone.push((object.id, kind));
        }
    }
    gone.sort_by_key(|(_, kind)| matches!(kind, NextHopKind::Group(_)));
    let changes: Vec<Change<'_>> = gone
        .into_iter()
        .map(|(id, kind)| Change::AddNextHop(id, kind))
        .collect();
    // What is refused shows in the routes that refer to it.
    kernel.apply(ours, &changes).map_err(SyncError::During)?;
    Ok(())
}

/// Which half of the work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Do {
    /// What was there comes back.
    Restore,
    /// What was not there goes.
    Remove,
}

/// One change of the kernel.
#[derive(Clone, Copy)]
enum Deed {
    Add,
    Replace,
    Remove,
}

/// Tries until there is nothing to do, or nothing of it can be done: a route may need another one to be back first.
fn rounds(
    kernel: &mut Kernel,
    inputs: &Inputs<'_>,
    steps: &mut [Step],
    what: Do,
) -> Result<(), SyncError> {
    let ours = inputs.policy.protocol;
    for _ in 0..ROUNDS {
        let observed = observe(kernel, inputs).map_err(SyncError::During)?;
        let mut slots: BTreeMap<RouteKey, Vec<&ObservedRoute>> = BTreeMap::new();
        for route in &observed.routes {
            slots.entry(route.route.key).or_default().push(route);
        }
        let mut work = Vec::new();
        for (index, step) in steps.iter_mut().enumerate() {
            let slot = slots.get(&step.key).map(Vec::as_slice).unwrap_or_default();
            match step.look(slot, ours) {
                Ok(None) => step.end = End::Back,
                Ok(Some(deed)) => {
                    if step.end == End::Back {
                        step.end = End::Open("somebody changes it at the same time".to_owned());
                    }
                    if deed.is_part_of(what) {
                        work.push((index, deed));
                    }
                }
                Err(why) => step.end = End::Open(why.to_owned()),
            }
        }
        if !carry_out(kernel, ours, steps, &work)? {
            break;
        }
    }
    Ok(())
}

/// Makes these changes. Returns whether any was made.
fn carry_out(
    kernel: &mut Kernel,
    ours: Protocol,
    steps: &mut [Step],
    work: &[(usize, Deed)],
) -> Result<bool, SyncError> {
    let mut by_owner: BTreeMap<Protocol, Vec<(usize, Deed, Route)>> = BTreeMap::new();
    for (index, deed) in work {
        let step = &steps[*index];
        let (attrs, owner) = match deed {
            Deed::Remove => (&step.put, ours),
            Deed::Add | Deed::Replace => (&step.there, step.owner),
        };
        if let Some(attrs) = attrs {
            let route = Route {
                key: step.key,
                attrs: attrs.clone(),
            };
            let one = (*index, *deed, route);
            by_owner.entry(owner).or_default().push(one);
        }
    }
    let mut is_any_made = false;
    for (owner, routes) in by_owner {
        let changes = routes.iter().map(|(_, deed, route)| match deed {
            Deed::Add => Change::Add(route),
            Deed::Replace => Change::Replace(route),
            Deed::Remove => Change::Remove(route),
        });
        let changes: Vec<Change<'_>> = changes.collect();
        let failures = kernel.apply(owner, &changes).map_err(SyncError::During)?;
        is_any_made |= failures.len() < changes.len();
        for Failure { index, error } in failures {
            steps[routes[index].0].end = End::Open(format!("the kernel says: {error}"));
        }
    }
    Ok(is_any_made)
}

impl Deed {
    fn is_part_of(self, what: Do) -> bool {
        match self {
            Self::Add | Self::Replace => what == Do::Restore,
            Self::Remove => what == Do::Remove,
        }
    }
}

impl Step {
    /// What is to be done about the slot as it is now: nothing if it is as it was before, or why nothing can be done.
    fn look(&self, slot: &[&ObservedRoute], ours: Protocol) -> Result<Option<Deed>, &'static str> {
        let holds = |attrs: Option<&Arc<RouteAttrs>>, owner| {
            let mut there = slot.iter();
            there.any(|one| one.protocol == owner && Some(&one.route.attrs) == attrs)
        };
        let has_put = holds(self.put.as_ref(), ours);
        let is_back = holds(self.there.as_ref(), self.owner);
        match &self.there {
            Some(there) if !is_back => match has_put {
                _ if there.extra => Err("it carried what srsync cannot write (`ip -d route`)"),
                true => Ok(Some(Deed::Replace)),
                false if self.put.is_none() => Ok(Some(Deed::Add)),
                false => Err("somebody changed it meanwhile"),
            },
            _ if has_put => Ok(Some(Deed::Remove)),
            _ => Ok(None),
        }
    }
}
