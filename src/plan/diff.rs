//! Claims × observed routes, merged slot by slot.
//!
//! Both sides are sorted by slot and walked once, so that a plan over 100,000 routes costs two
//! sorts and one pass, and no hash table.

use std::sync::Arc;

use crate::model::{
    Family, ForeignRoutes, Metric, ObservedRoute, Prefix, Protocol, RouteAttrs, RouteKey, State,
    TableId,
};

use super::claims::SlotClaim;
use super::guards::Judge;
use super::{Blocked, Claim, Reason, ReasonCode, Row, Verdict};

/// The rows of all slots, and how many observed routes are ours. `there` is sorted by slot.
pub(super) fn diff(
    judge: &Judge<'_>,
    claims: &[SlotClaim],
    there: &[&ObservedRoute],
) -> (Vec<Row>, usize) {
    let protocol = judge.inputs.policy.protocol;
    let owned = there.iter().filter(|r| r.protocol == protocol).count();

    let mut differ = Differ {
        judge,
        rows: Vec::with_capacity(claims.len().max(owned)),
        preferred_foreign: None,
    };
    let (mut claims, mut there) = (claims, there);
    while let Some(key) = next_key(claims, there) {
        let (claimed, later_claims) = split(claims, |claim| claim.key == key);
        let (occupants, later_there) = split(there, |route| route.route.key == key);
        (claims, there) = (later_claims, later_there);
        differ.slot(key, claimed, occupants);
    }
    (differ.rows, owned)
}

fn next_key(claims: &[SlotClaim], there: &[&ObservedRoute]) -> Option<RouteKey> {
    let claimed = claims.first().map(|claim| claim.key);
    let occupied = there.first().map(|route| route.route.key);
    match (claimed, occupied) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn split<T>(list: &[T], belongs: impl FnMut(&T) -> bool) -> (&[T], &[T]) {
    let mut belongs = belongs;
    let end = list.iter().position(|item| !belongs(item));
    list.split_at(end.unwrap_or(list.len()))
}

/// The route of a slot that REPLACE hits: the first, in IPv6 the first that like the wanted one
/// has a gateway, or has none, if there is one (`fib6_add_rt2node`, net/ipv6/ip6_fib.c). To see it:
/// `ip -6 route add 2001:db8::/48 dev eth0; ip -6 route append 2001:db8::/48 via fe80::1 dev eth0;
/// ip -6 route replace 2001:db8::/48 via fe80::2 dev eth0` leaves the route without a gateway. One by
/// a nexthop object has none to it, whatever the object does (`rt6_qualify_for_ecmp`).
fn replaced(key: RouteKey, slot: &[&ObservedRoute], wanted: &RouteAttrs) -> Option<usize> {
    let has_gateway = |attrs: &RouteAttrs| {
        attrs.nexthop.is_none() && attrs.hops().iter().any(|hop| hop.via.is_some())
    };
    let alike = |route: &&ObservedRoute| {
        key.prefix.family() == Family::V4 || has_gateway(&route.route.attrs) == has_gateway(wanted)
    };
    let first = (!slot.is_empty()).then_some(0);
    slot.iter().position(alike).or(first)
}

struct Differ<'a> {
    judge: &'a Judge<'a>,
    rows: Vec<Row>,
    /// The foreign route of lowest metric seen in the current table and prefix.
    preferred_foreign: Option<(TableId, Prefix, Metric, &'a ObservedRoute)>,
}

impl<'a> Differ<'a> {
    fn slot(&mut self, key: RouteKey, claims: &[SlotClaim], occupants: &[&'a ObservedRoute]) {
        let protocol = self.judge.inputs.policy.protocol;
        let (ours, foreign): (Vec<&ObservedRoute>, Vec<&ObservedRoute>) =
            occupants.iter().partition(|r| r.protocol == protocol);
        match claims {
            [] => self.remove(key, &ours),
            [winner, losers @ ..] => {
                self.winner(winner, &ours, &foreign);
                for loser in losers {
                    self.lost(loser, winner.claim);
                }
            }
        }
        if let Some(first) = foreign.first() {
            self.note_foreign(key, first);
        }
    }

    fn remove(&mut self, key: RouteKey, routes: &[&ObservedRoute]) {
        let removed = routes.iter().map(|route| Row {
            key,
            claim: None,
            verdict: Verdict::Remove(route.route.attrs.clone()),
            warning: None,
        });
        self.rows.extend(removed);
    }

    fn winner(&mut self, claim: &SlotClaim, ours: &[&ObservedRoute], foreign: &[&ObservedRoute]) {
        let verdict = match self.judge.judge(claim) {
            Ok(wanted) => self.compare(claim.key, wanted, (ours, foreign)),
            Err(blocked) => self.blocked(blocked, ours),
        };
        // More than one of ours in a slot (IPv6 allows it, and IPv4 by NLM_F_APPEND): the verdict is
        // about one, the others go.
        // Equal ones are one route that a dump listed twice while others changed around it; to
        // remove the second would remove the only one.
        let one = match &verdict {
            Verdict::Keep(attrs)
            | Verdict::Replace { from: attrs, .. }
            | Verdict::Withdraw { attrs, .. } => Some(attrs.clone()),
            _ => None,
        };
        let is_surplus =
            |route: &&ObservedRoute| one.as_ref().is_some_and(|one| route.route.attrs != *one);
        let surplus: Vec<&ObservedRoute> = ours.iter().copied().filter(is_surplus).collect();
        let warning = self
            .shadowed(claim.key)
            .or_else(|| self.shared(ours, foreign));
        self.rows.push(Row {
            key: claim.key,
            claim: Some(claim.claim),
            verdict,
            warning,
        });
        self.remove(claim.key, &surplus);
    }

    /// What a document claims is never removed, unless it says itself that the route goes.
    fn blocked(&self, blocked: Blocked, ours: &[&ObservedRoute]) -> Verdict {
        match ours.first().map(|route| route.route.attrs.clone()) {
            Some(attrs) if blocked.state == State::Withdrawn => Verdict::Withdraw {
                attrs,
                blocked: Box::new(blocked),
            },
            occupant => Verdict::Blocked(Box::new(Blocked {
                occupant,
                ..blocked
            })),
        }
    }

    fn compare(
        &self,
        key: RouteKey,
        wanted: Arc<RouteAttrs>,
        (ours, foreign): (&[&ObservedRoute], &[&ObservedRoute]),
    ) -> Verdict {
        if ours.iter().any(|route| route.route.attrs == wanted) {
            return Verdict::Keep(wanted);
        }
        let hit = replaced(key, ours, &wanted).and_then(|index| ours.get(index));
        match (hit, foreign) {
            (None, []) => Verdict::Add(wanted),
            (Some(hit), []) => Verdict::Replace {
                from: hit.route.attrs.clone(),
                to: wanted,
            },
            (None, [only]) if self.adopts() && only.route.attrs == wanted => Verdict::Adopt {
                attrs: wanted,
                from: only.protocol,
            },
            (_, [other, ..]) => Verdict::Blocked(Box::new(Blocked {
                state: State::Foreign,
                reason: Arc::new(self.foreign(other, &wanted)),
                occupant: Some(other.route.attrs.clone()),
            })),
        }
    }

    fn adopts(&self) -> bool {
        self.judge.inputs.policy.foreign_routes == ForeignRoutes::Adopt
    }

    fn foreign(&self, other: &ObservedRoute, wanted: &RouteAttrs) -> Reason {
        let owner = self.judge.inputs.names.protocol(other.protocol);
        let advice = if *other.route.attrs == *wanted {
            "it is what the document wants: to take it over, set foreignRoutes: adopt \
             (--foreign-routes adopt)"
        } else if other.protocol == Protocol::KERNEL {
            "it comes with an address of this node: leave it out of the destinations with `except`, \
             or give this document another metric"
        } else {
            "remove it there, or give this document another metric"
        };
        Reason::new(
            ReasonCode::OtherOwner,
            format!("the slot belongs to protocol {owner}; {advice}"),
        )
    }

    fn lost(&mut self, loser: &SlotClaim, winner: Claim) {
        let inputs = self.judge.inputs;
        let document = &inputs.documents[winner.document as usize];
        let file = &inputs.files[winner.place.file.0 as usize];
        let message = format!(
            "the slot belongs to document {} ({}:{}), which is first by name; give one of the two \
             another metric or table",
            document.id, file.label, winner.place.line
        );
        self.rows.push(Row {
            key: loser.key,
            claim: Some(loser.claim),
            verdict: Verdict::Blocked(Box::new(Blocked {
                state: State::Conflict,
                reason: Arc::new(Reason::new(ReasonCode::OtherDocument, message)),
                occupant: None,
            })),
            warning: None,
        });
    }

    /// Remembers the preferred foreign route of a prefix: slots come in the order of metrics.
    fn note_foreign(&mut self, key: RouteKey, route: &'a ObservedRoute) {
        let known = self.preferred_foreign;
        if known.is_none_or(|(table, prefix, ..)| (table, prefix) != (key.table, key.prefix)) {
            self.preferred_foreign = Some((key.table, key.prefix, key.metric, route));
        }
    }

    /// A warning where somebody appended a route to a slot of ours (`ip route append`).
    fn shared(&self, ours: &[&ObservedRoute], foreign: &[&ObservedRoute]) -> Option<Box<str>> {
        let (_, other) = (ours.first()?, foreign.first()?);
        let owner = self.judge.inputs.names.protocol(other.protocol);
        Some(
            format!("a route of protocol {owner} shares the slot; the kernel uses the first")
                .into(),
        )
    }

    /// A warning where a foreign route of lower metric takes the packets.
    fn shadowed(&self, key: RouteKey) -> Option<Box<str>> {
        let (table, prefix, metric, route) = self.preferred_foreign?;
        if (table, prefix) != (key.table, key.prefix) || metric >= key.metric {
            return None;
        }
        let owner = self.judge.inputs.names.protocol(route.protocol);
        let warning = format!(
            "a route of protocol {owner} with metric {metric} takes precedence over this one \
             (metric {})",
            key.metric
        );
        Some(warning.into())
    }
}
