//! Rule by rule, table by table, as the kernel does (`fib_rules_lookup`, net/core/fib_rules.c).

use std::cmp::Reverse;
use std::net::IpAddr;

use super::fit::{Fit, fit};
use crate::model::egress::{ObservedRule, RuleAction};
use crate::model::{Family, Observed, ObservedRoute, Packet, RouteType, TableId, Tos};

/// The way of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk<'a> {
    /// The rules that it meets, in their order; the last one decides.
    pub steps: Vec<Step<'a>>,
    /// How many rules come behind, which it does not meet.
    pub not_met: usize,
    /// What becomes of it, if no rule is about it that only perhaps is.
    pub end: End<'a>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'a> {
    /// The rule.
    pub rule: &'a ObservedRule,
    /// Whether it is about the packet.
    pub fit: Fit,
    /// What the table says, unless the rule is not about it or looks nothing up.
    pub found: Option<Found<'a>>,
}

/// What a table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// The table.
    pub table: TableId,
    /// The routes that match, the best one first: the longest prefix, then the lowest metric.
    pub routes: Vec<&'a ObservedRoute>,
    /// What comes of it.
    pub outcome: Outcome,
}

/// What comes of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The first route is taken.
    Taken,
    /// The table has no route for it: the next rule is asked.
    NoRoute,
    /// The route says that the next rule is asked.
    Throw,
    /// The rule passes over routes that are no longer than this.
    Suppressed(u8),
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<'a> {
    /// It takes this route, which may drop it.
    Route(&'a ObservedRoute),
    /// This rule turns it away.
    Rule(&'a ObservedRule),
    /// No table has a route for it.
    Nowhere,
}

/// Follows a packet. `rules` are all of the kernel, in its order, and `observed` has the routes of every table.
pub fn walk<'a>(packet: &Packet, rules: &'a [ObservedRule], observed: &'a Observed) -> Walk<'a> {
    let family = Family::of(&packet.to);
    let rules: Vec<&ObservedRule> = rules.iter().filter(|r| r.rule.family == family).collect();
    let mut walk = Walk {
        steps: Vec::new(),
        not_met: 0,
        end: End::Nowhere,
    };
    for (index, rule) in rules.iter().copied().enumerate() {
        let fit = fit(rule, packet);
        let found = match (&fit, rule.rule.action) {
            (Fit::No(_), _) => None,
            (_, RuleAction::Lookup(table)) => Some(look_up(rule, table, packet.to, observed)),
            _ => None,
        };
        let end = match (&fit, &found, rule.rule.action) {
            (Fit::Yes, None, _) => Some(End::Rule(rule)),
            (Fit::Yes, Some(found), _) if found.outcome == Outcome::Taken => {
                found.routes.first().copied().map(End::Route)
            }
            _ => None,
        };
        walk.steps.push(Step { rule, fit, found });
        if let Some(end) = end {
            walk.end = end;
            walk.not_met = rules.len() - index - 1;
            break;
        }
    }
    walk
}

fn look_up<'a>(
    rule: &ObservedRule,
    table: TableId,
    to: IpAddr,
    observed: &'a Observed,
) -> Found<'a> {
    let matches = |route: &&ObservedRoute| {
        let key = route.route.key;
        key.table == table && key.tos == Tos::new(0) && key.prefix.contains(to)
    };
    let mut routes: Vec<&ObservedRoute> = observed.routes.iter().filter(matches).collect();
    // Stable: of two with one metric the kernel takes the first.
    routes.sort_by_key(|route| {
        let key = route.route.key;
        (Reverse(key.prefix.length()), key.metric)
    });
    let outcome = match routes.first().map(|best| (best, best.route.attrs.kind)) {
        None => Outcome::NoRoute,
        Some((_, RouteType::Throw)) => Outcome::Throw,
        Some((best, kind)) => match rule.rule.suppress_prefix_length {
            // Only routes that lead somewhere are passed over: the others end the lookup with their error.
            Some(length) if best.route.key.prefix.length() <= length && leads_somewhere(kind) => {
                Outcome::Suppressed(length)
            }
            _ => Outcome::Taken,
        },
    };
    Found {
        table,
        routes,
        outcome,
    }
}

fn leads_somewhere(kind: RouteType) -> bool {
    matches!(kind, RouteType::Unicast | RouteType::Other(_))
}

impl Walk<'_> {
    /// The rules that would decide if what is not known of the packet were so.
    pub fn perhaps(&self) -> impl Iterator<Item = &Step<'_>> {
        self.steps.iter().filter(|step| {
            let decides = step
                .found
                .as_ref()
                .is_none_or(|found| found.outcome == Outcome::Taken);
            matches!(step.fit, Fit::Perhaps(_)) && decides
        })
    }
}
