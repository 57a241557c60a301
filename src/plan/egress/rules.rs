//! Policy routing rules: ours by their protocol, in full or not at all.

use std::sync::Arc;

use crate::model::egress::{FibRule, ObservedRule, RuleAction, Thing};
use crate::model::{Family, Observed, Prefix, PrefixSet, State, TableId};

use super::{
    Claim, EgressPlan, EgressVerdict, Inputs, Reason, ReasonCode, STAYS, ThingClaim, Wanted,
    conflict, removal,
};

/// The priority of the kernel's own rule for the table main (`fib_default_rules_init`, net/ipv4/fib_rules.c).
const MAIN_PRIORITY: u32 = 32766;

pub(super) fn plan(
    inputs: &Inputs<'_>,
    claims: &[&ThingClaim],
    (observed, wanted): (&Observed, &Wanted<'_>),
    plan: &mut EgressPlan,
) {
    let protocol = inputs.policy.protocol;
    let is_ours = |rule: &&ObservedRule| rule.protocol == protocol && !rule.extra;
    let ours: Vec<&ObservedRule> = observed.egress.rules.iter().filter(is_ours).collect();
    plan.owned += ours.len();
    let judge = Judge {
        inputs,
        observed,
        wanted,
    };
    let mut taken: Vec<(&FibRule, Claim)> = Vec::new();
    let mut rows = Vec::new();
    for claim in claims {
        let Thing::Rule(rule) = &claim.thing else {
            continue;
        };
        if let Some((_, winner)) = taken.iter().find(|(other, _)| *other == rule) {
            let advice = "one of the two is enough";
            let reason = conflict(inputs, *winner, "the same rule is asked for", advice);
            rows.push(claim.blocked(State::Conflict, reason));
            continue;
        }
        taken.push((rule, claim.claim));
        rows.push(judge.row(claim, rule));
    }
    let unwanted = |there: &&&ObservedRule| !taken.iter().any(|(rule, _)| there.is_just(rule));
    let removals = ours.iter().filter(unwanted);
    rows.extend(removals.map(|there| removal(Thing::Rule(there.rule.clone()), None)));
    // In the order in which the kernel asks them, for whoever reads it.
    rows.sort_by(|a, b| a.thing.cmp(&b.thing));
    plan.rows.extend(rows);
}

struct Judge<'a> {
    inputs: &'a Inputs<'a>,
    observed: &'a Observed,
    wanted: &'a Wanted<'a>,
}

impl Judge<'_> {
    fn row(&self, claim: &ThingClaim, rule: &FibRule) -> super::EgressRow {
        // The same rule of another owner is no obstacle: each has its own.
        let protocol = self.inputs.policy.protocol;
        let mut there = self.observed.egress.rules.iter();
        let is_there = there.any(|there| there.protocol == protocol && there.is_just(rule));
        let blocked = |state, reason| {
            let mut row = claim.blocked(state, reason);
            row.warning = is_there.then(|| STAYS.into());
            row
        };
        if let Some(reason) = &claim.undecided {
            return blocked(State::Pending, reason.clone());
        }
        if let Some(reason) = self.guard(rule) {
            return blocked(State::Refused, Arc::new(reason));
        }
        let verdict = match is_there {
            true => EgressVerdict::Keep,
            false => EgressVerdict::Add,
        };
        let mut row = claim.row(verdict);
        row.warning = self.warning(rule).map(Into::into);
        row
    }

    /// What must not happen, whatever the documents say.
    fn guard(&self, rule: &FibRule) -> Option<Reason> {
        let to = rule.selector.to.filter(|_| !rule.selector.not);
        let mut protected = self.inputs.policy.protected_subnets.iter();
        let hit = to.and_then(|to| {
            let overlaps = |subnet: &&Prefix| subnet.covers(&to) || to.covers(subnet);
            protected.find(overlaps).map(|subnet| (to, subnet))
        });
        if let Some((to, subnet)) = hit {
            let message = format!(
                "`to` {to} overlaps the protected subnet {subnet}; to allow it, take {subnet} out of protectedSubnets"
            );
            return Some(Reason::new(ReasonCode::ProtectedSubnet, message));
        }
        if self.inputs.policy.allow_catch_all_rules || !rule.selector.is_everything() {
            return None;
        }
        let family = rule.family;
        let what = match rule.action {
            RuleAction::Lookup(table) if self.is_empty(table, family) => {
                format!(
                    "to the table {}, which has no {family} route",
                    self.table(table)
                )
            }
            RuleAction::Lookup(table) if self.takes_all(table, rule) => {
                format!(
                    "to the table {}, which has a default route",
                    self.table(table)
                )
            }
            RuleAction::Lookup(_) => return None,
            RuleAction::Blackhole => "nowhere (blackhole)".to_owned(),
            RuleAction::Unreachable => "nowhere (unreachable)".to_owned(),
            RuleAction::Prohibit => "nowhere (prohibit)".to_owned(),
        };
        Some(Reason::new(
            ReasonCode::CatchAllRule,
            format!(
                "the rule sends every {family} packet {what}; say which packets are meant (from, to, fwmark, iif, …), or \
                 to allow it, set allowCatchAllRules: true (--allow-catch-all-rules)"
            ),
        ))
    }

    /// Whether neither the kernel nor any document has a route of the family for this table.
    fn is_empty(&self, table: TableId, family: Family) -> bool {
        self.prefixes(table, family).next().is_none()
    }

    /// Whether the table decides about every packet, before the table main is asked.
    fn takes_all(&self, table: TableId, rule: &FibRule) -> bool {
        let before_main = rule.priority.0 < MAIN_PRIORITY;
        let own = !matches!(table, TableId::MAIN | TableId::LOCAL);
        let shortest = rule
            .suppress_prefix_length
            .map_or(0, |longest| longest.saturating_add(1));
        let prefixes = self.prefixes(table, rule.family);
        let kept = prefixes.filter(|prefix| prefix.length() >= shortest);
        before_main && own && kept.collect::<PrefixSet>().covers_all(rule.family)
    }

    /// The destinations for which a table has routes, or is to have them.
    fn prefixes(&self, table: TableId, family: Family) -> impl Iterator<Item = &Prefix> {
        let there = self.observed.routes.iter().map(|route| &route.route.key);
        let keys = there.chain(self.wanted.slots);
        let keys = keys.filter(move |key| key.table == table && key.prefix.family() == family);
        keys.map(|key| &key.prefix)
    }

    fn warning(&self, rule: &FibRule) -> Option<String> {
        let RuleAction::Lookup(table) = rule.action else {
            return None;
        };
        let family = rule.family;
        self.is_empty(table, family).then(|| {
            let table = self.table(table);
            format!("table {table} has no {family} route: these packets go on to the next rule")
        })
    }

    fn table(&self, table: TableId) -> String {
        self.inputs.names.table(table)
    }
}
