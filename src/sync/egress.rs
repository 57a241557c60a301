//! Things besides routes in a pass: what is written when, and what became of it.
//!
//! Owns the order: settings and translation come before the routes that need them, rules after the tables that they
//! look into; what goes, goes the other way round. What cannot be written is said of the things that wanted it, and
//! keeps nothing else from being written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{SyncError, permission};
use crate::kernel::{Change, Kernel, KernelError, Refusal};
use crate::model::egress::{
    Counters, FibRule, NatObserved, NatRule, NatTable, ObservedEgress, Thing,
};
use crate::model::{Link, State};
use crate::plan::egress::forwarding::ForwardingPlan;
use crate::plan::egress::{EgressPlan, EgressRow, EgressVerdict, EgressWork};
use crate::plan::{Inputs, Plan, Reason, ReasonCode, Removals};
use crate::report::{Surprise, Surprises};

/// Things that are not asked for again in this pass, with why.
pub(super) type RefusedThings = BTreeMap<Thing, Arc<Reason>>;

/// Reads what a plan needs to know besides routes.
pub(super) fn observe(
    kernel: &mut Kernel,
    inputs: &Inputs<'_>,
    links: &[Link],
) -> Result<ObservedEgress, KernelError> {
    let wants_settings = crate::plan::egress::wants_settings(inputs);
    Ok(ObservedEgress {
        rules: kernel.rules()?,
        nat: kernel.nat(&NatTable::of(inputs.policy.protocol))?,
        sysctls: kernel.sysctls(wants_settings, links),
    })
}

/// The writing of one pass.
pub(super) struct Stages {
    refused: RefusedThings,
    rules_done: bool,
    /// Whether anything was written.
    wrote: bool,
}

impl Stages {
    /// Leaves alone what is held.
    pub(super) fn new(held: RefusedThings) -> Self {
        Self {
            refused: held,
            rules_done: false,
            wrote: false,
        }
    }

    /// Whether the rows have to be looked at again: something was written, or is held.
    pub(super) fn has_news(&self) -> bool {
        self.wrote || !self.refused.is_empty()
    }

    /// What has to be there before routes: settings, then translation.
    pub(super) fn before_routes(
        &mut self,
        kernel: &mut Kernel,
        inputs: &Inputs<'_>,
        plan: &Plan,
    ) -> Result<(), SyncError> {
        let settings = plan
            .egress
            .work
            .settings(plan.removals == Removals::Allowed);
        if !settings.only_goes_back() {
            self.settings(kernel, &plan.egress.work, settings);
        }
        let plan = &plan.egress;
        if let Some(rules) = &plan.work.nat {
            self.translation(kernel, inputs, rules, plan)?;
        }
        Ok(())
    }

    /// Settings are written in one go, in the order of their plan: one of all interfaces overwrites the others.
    fn settings(&mut self, kernel: &mut Kernel, work: &EgressWork, settings: &ForwardingPlan) {
        for (key, value) in &settings.left {
            tracing::warn!(
                "{key} stays {value}: somebody changed it since srsync did, and no document asks for it any more"
            );
        }
        // What was not remembered could not be put back.
        let remembered = match settings.remember == work.remembered {
            true => Ok(()),
            false => kernel.remember_sysctls(&settings.remember),
        };
        for (key, write) in &settings.writes {
            let thing = Thing::Sysctl(key.clone(), write.value);
            if self.refused.contains_key(&thing) {
                continue;
            }
            let written = remembered
                .clone()
                .and_then(|()| kernel.write_sysctl(key, write.value));
            self.wrote = true;
            if let Err(why) = written {
                let reason = Reason::new(ReasonCode::ReadOnly, why);
                self.refused.insert(thing, Arc::new(reason));
            }
        }
    }

    fn translation(
        &mut self,
        kernel: &mut Kernel,
        inputs: &Inputs<'_>,
        rules: &[(NatRule, Counters)],
        plan: &EgressPlan,
    ) -> Result<(), SyncError> {
        let changes =
            |row: &&EgressRow| matches!(row.thing, Thing::Nat(_)) && row.verdict.changes(true);
        let changing: Vec<&Thing> = plan
            .rows
            .iter()
            .filter(changes)
            .map(|row| &row.thing)
            .collect();
        if !changing.is_empty()
            && changing
                .iter()
                .all(|thing| self.refused.contains_key(thing))
        {
            return Ok(());
        }
        self.wrote = true;
        let table = NatTable::of(inputs.policy.protocol);
        if let Err(refusal) = kernel.set_nat(&table, rules).map_err(SyncError::During)? {
            let message = format!("the kernel refuses the table inet {table}: {refusal}");
            let reason = Arc::new(Reason::new(ReasonCode::Kernel, message));
            let refused = changing
                .into_iter()
                .map(|thing| (thing.clone(), reason.clone()));
            self.refused.extend(refused);
        }
        Ok(())
    }

    /// Rules, once in a pass: new ones, then those that go. To be called when the routes are there that they lead to,
    /// and before any route goes.
    pub(super) fn rules(
        &mut self,
        kernel: &mut Kernel,
        inputs: &Inputs<'_>,
        plan: &Plan,
    ) -> Result<(), SyncError> {
        if std::mem::replace(&mut self.rules_done, true) {
            return Ok(());
        }
        let allowed = plan.removals == Removals::Allowed;
        let mut ordered = plan.egress.rule_changes(allowed);
        ordered.retain(|(row, _)| !self.refused.contains_key(&row.thing));
        let changes = ordered
            .iter()
            .map(|(row, rule)| match row.verdict.removes() {
                true => Change::RemoveRule(rule),
                false => Change::AddRule(rule),
            });
        let changes: Vec<Change<'_>> = changes.collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.wrote = true;
        let failures = kernel
            .apply(inputs.policy.protocol, &changes)
            .map_err(SyncError::During)?;
        let denied = failures.len() == changes.len()
            && failures.iter().all(|failure| permission(&failure.error));
        if denied {
            return Err(SyncError::NotPermitted);
        }
        for failure in failures {
            if let Some((row, _)) = ordered.get(failure.index) {
                self.refused
                    .insert(row.thing.clone(), Arc::new(says(&failure.error)));
            }
        }
        Ok(())
    }

    /// What may go once the routes are gone that needed it: translation, then settings go back.
    pub(super) fn after_routes(
        &mut self,
        kernel: &mut Kernel,
        inputs: &Inputs<'_>,
        plan: &Plan,
    ) -> Result<(), SyncError> {
        if plan.removals != Removals::Allowed {
            return Ok(());
        }
        if let Some(rules) = &plan.egress.work.nat_after {
            self.translation(kernel, inputs, rules, &plan.egress)?;
        }
        let settings = &plan.egress.work.settings;
        if settings.only_goes_back() {
            self.settings(kernel, &plan.egress.work, settings);
        }
        Ok(())
    }

    /// Why it was refused. A setting may have been refused another value than the one it has.
    fn why(&self, thing: &Thing) -> Option<Arc<Reason>> {
        let same = |refused: &&Thing| match (refused, thing) {
            (Thing::Sysctl(a, _), Thing::Sysctl(b, _)) => a == b,
            (a, b) => *a == b,
        };
        let (_, why) = self.refused.iter().find(|(refused, _)| same(refused))?;
        Some(why.clone())
    }

    /// Forgets what there is nothing to do about any more.
    pub(super) fn forget(&self, kernel: &mut Kernel, after: &Plan) {
        let work = &after.egress.work;
        let settings = work.settings(after.removals == Removals::Allowed);
        if settings.writes.is_empty()
            && settings.remember != work.remembered
            && let Err(why) = kernel.remember_sysctls(&settings.remember)
        {
            tracing::warn!("{why}");
        }
    }

    /// Compares what was planned with a plan made afterwards: what is still to be done, did not happen.
    pub(super) fn surprises(&self, first: &EgressPlan, after: &Plan) -> Surprises {
        let allowed = after.removals == Removals::Allowed;
        let mut surprises = Surprises::new();
        for row in &after.egress.rows {
            let unexpected = match &row.verdict {
                EgressVerdict::Blocked(blocked) => Surprise {
                    state: blocked.state,
                    reason: blocked.reason.clone(),
                    occupant: None,
                },
                verdict if verdict.changes(allowed) => Surprise {
                    state: State::Failed,
                    reason: self.why(&row.thing).unwrap_or_else(not_there),
                    occupant: None,
                },
                _ => continue,
            };
            let same =
                |was: &&(usize, &EgressRow)| was.1.claim == row.claim && was.1.thing == row.thing;
            let rows: Vec<(usize, &EgressRow)> = first.rows.iter().enumerate().collect();
            if let Some((index, _)) = rows.iter().find(same) {
                surprises.insert(*index, unexpected);
            }
        }
        surprises
    }
}

fn says(refusal: &Refusal) -> Reason {
    Reason::new(ReasonCode::Kernel, format!("the kernel says: {refusal}"))
}

fn not_there() -> Arc<Reason> {
    let message = "it was written, but reading back shows something else; somebody may be changing it at the same time";
    Arc::new(Reason::new(ReasonCode::NotThere, message))
}

/// Makes everything besides routes what it was when `before` was read, as far as it is ours. Returns what could not
/// be put back.
///
/// # Errors
/// If the kernel stopped answering.
pub(super) fn put_back(
    kernel: &mut Kernel,
    inputs: &Inputs<'_>,
    (before, links): (&ObservedEgress, &[Link]),
) -> Result<Vec<String>, KernelError> {
    let mut left = Vec::new();
    let protocol = inputs.policy.protocol;
    let now = observe(kernel, inputs, links)?;
    let ours = |egress: &ObservedEgress| -> Vec<FibRule> {
        let rules = egress
            .rules
            .iter()
            .filter(|r| r.protocol == protocol && !r.extra);
        rules.map(|there| there.rule.clone()).collect()
    };
    let (were, are) = (ours(before), ours(&now));
    let missing = were.iter().filter(|rule| !are.contains(rule));
    let surplus = are.iter().filter(|rule| !were.contains(rule));
    let changes: Vec<Change<'_>> = missing
        .map(Change::AddRule)
        .chain(surplus.map(Change::RemoveRule))
        .collect();
    for failure in kernel.apply(protocol, &changes)? {
        left.push(format!("a rule: {}", failure.error));
    }
    let rules = |egress: &ObservedEgress| match &egress.nat {
        NatObserved::Present { rules, .. } => Some(rules.clone()),
        NatObserved::Absent => Some(Vec::new()),
        NatObserved::Unknown | NatObserved::Unavailable(_) => None,
    };
    if let (Some(were), Some(are)) = (rules(before), rules(&now))
        && were
            .iter()
            .map(|(rule, _)| rule)
            .ne(are.iter().map(|(rule, _)| rule))
        && let Err(refusal) = kernel.set_nat(&NatTable::of(protocol), &were)?
    {
        left.push(format!("the nftables table: {refusal}"));
    }
    for (key, value) in &before.sysctls.values {
        // Writing to all interfaces changes each: so each is compared with what it is by then.
        let differs = kernel.sysctl(key).is_some_and(|now| now != *value);
        if differs && let Err(why) = kernel.write_sysctl(key, *value) {
            left.push(why);
        }
    }
    if now.sysctls.remembered != before.sysctls.remembered {
        left.extend(kernel.remember_sysctls(&before.sysctls.remembered).err());
    }
    Ok(left)
}
