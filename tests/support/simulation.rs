//! A kernel made of a list, and the promises that must hold of every plan: shared by the property
//! tests and the fuzz target.

#[path = "simulated_egress.rs"]
pub(crate) mod egress;

use std::cmp::Reverse;
use std::sync::Arc;

use srsync::model::{
    Family, IfIndex, Lookup, NextHop, NextHopGroup, NextHopId, NextHopKind, NextHopMember,
    NextHopObject, Observed, ObservedRoute, Prefix, PrefixSet, Protocol, Route, RouteAttrs,
    RouteKey, RouteType, Scope, State, TableId,
};
use srsync::plan::objects::ObjectChange;
use srsync::plan::{self, Inputs, Plan, Verdict};

/// Does to the list what the kernel does to its tables when `kernel::apply` sends it a plan:
/// EXCL refuses an occupied slot, REPLACE hits one route of the slot whoever owns it, DELROUTE
/// takes the first one that nothing it was told speaks against.
pub(crate) fn carry_out(plan: &Plan, protocol: Protocol, observed: &mut Observed) {
    let pass = egress::Pass::of(plan, protocol);
    pass.before_routes(observed);
    for change in &plan.objects.changes {
        moves_nobody_else(change, plan);
        put_object(change, protocol, observed);
    }
    carry_out_routes(plan, protocol, observed);
    for id in &plan.objects.orphans {
        let object = observed.nexthop(*id).expect("an orphan is there");
        assert_eq!(object.protocol, protocol, "removed somebody else's object");
        let (routes, objects) = (observed.routes.len(), observed.nexthops.len());
        remove_object(*id, observed);
        assert_eq!(observed.routes.len(), routes, "an object took routes along");
        assert_eq!(observed.nexthops.len() + 1, objects, "and groups");
    }
    pass.after_routes(observed);
}

/// No route goes where a changed group leads, not for a moment, if it is on its way to another group.
fn moves_nobody_else(change: &ObjectChange, plan: &Plan) {
    for row in &plan.rows {
        if let Verdict::Replace { from, to } = &row.verdict {
            let elsewhere = to.nexthop.is_some() && to.nexthop != Some(change.id);
            assert!(
                from.nexthop != Some(change.id) || !elsewhere,
                "{:?} is led astray by {change:?}",
                row.key
            );
        }
    }
}

/// NEWNEXTHOP with EXCL, or with REPLACE (`insert_nexthop` and `replace_nexthop`, net/ipv4/nexthop.c).
fn put_object(change: &ObjectChange, protocol: Protocol, observed: &mut Observed) {
    if let NextHopKind::Group(group) = &change.kind {
        for member in group.members() {
            let member = observed
                .nexthop(member.id)
                .expect("members are there first");
            assert_eq!(member.protocol, protocol, "uses somebody else's object");
        }
    }
    let object = NextHopObject {
        id: change.id,
        protocol,
        kind: Some(change.kind.clone()),
    };
    let place = observed.nexthops.binary_search_by_key(&change.id, |o| o.id);
    match (place, change.exists) {
        (Ok(place), true) => {
            let there = &mut observed.nexthops[place];
            assert_eq!(there.protocol, protocol, "replaced somebody else's object");
            let resilience = |object: &NextHopObject| match &object.kind {
                Some(NextHopKind::Group(group)) => group.resilient,
                other => panic!("replaced {other:?}"),
            };
            assert_eq!(resilience(there), resilience(&object), "the kernel refuses");
            *there = object;
        }
        (Err(place), false) => observed.nexthops.insert(place, object),
        _ => panic!("{change:?} with {place:?}"),
    }
}

/// DELNEXTHOP, or what a lost link does: routes go with the object, groups lose a member, and go with
/// the last (`remove_nexthop`).
pub(crate) fn remove_object(id: NextHopId, observed: &mut Observed) {
    observed.nexthops.retain(|object| object.id != id);
    observed
        .routes
        .retain(|r| r.route.attrs.nexthop != Some(id));
    let mut emptied = Vec::new();
    for object in &mut observed.nexthops {
        let Some(NextHopKind::Group(group)) = &mut object.kind else {
            continue;
        };
        let left = group.members().iter().filter(|member| member.id != id);
        let left: Vec<NextHopMember> = left.copied().collect();
        if left.is_empty() {
            emptied.push(object.id);
        }
        *group = NextHopGroup::new(left, group.resilient);
    }
    emptied
        .into_iter()
        .for_each(|id| remove_object(id, observed));
}

fn carry_out_routes(plan: &Plan, protocol: Protocol, observed: &mut Observed) {
    let objects = &observed.nexthops;
    let routes = &mut observed.routes;
    let put = |key: RouteKey, attrs: &Arc<RouteAttrs>| ObservedRoute {
        route: Route {
            key,
            attrs: Arc::clone(attrs),
        },
        protocol,
        scope: attrs.scope(key.prefix.family()),
    };
    let changing = plan.rows.iter().filter(|row| plan.changes(row));
    let (removals, puts): (Vec<_>, Vec<_>) =
        changing.partition(|row| removed(&row.verdict).is_some());
    for row in puts {
        let led = match &row.verdict {
            Verdict::Add(attrs) | Verdict::Replace { to: attrs, .. } => attrs.nexthop,
            _ => None,
        };
        assert!(
            led.is_none_or(|id| objects.iter().any(|object| object.id == id)),
            "led by an object that is not there"
        );
        let in_slot = |route: &ObservedRoute| route.route.key == row.key;
        match &row.verdict {
            Verdict::Add(attrs) => {
                assert!(!routes.iter().any(in_slot), "added to an occupied slot");
                routes.push(put(row.key, attrs));
            }
            Verdict::Replace { to: attrs, .. } | Verdict::Adopt { attrs, .. } => {
                let hit = replaced(routes, row.key, attrs).expect("replaced in an empty slot");
                let from = &routes[hit];
                match &row.verdict {
                    Verdict::Adopt { from: owner, .. } => assert_eq!(from.protocol, *owner),
                    _ => assert_eq!(from.protocol, protocol, "replaced what is not ours"),
                }
                routes[hit] = put(row.key, attrs);
            }
            _ => unreachable!("changes nothing or is a removal"),
        }
    }
    // What is in a slot of several can be hit in place of another, and then is put back in the
    // next round; a route that has its slot for itself is nobody else's target.
    let ours_in = |routes: &[ObservedRoute], key: RouteKey| {
        let ours = routes.iter().filter(|route| route.protocol == protocol);
        ours.filter(|route| route.route.key == key).count()
    };
    let crowded: Vec<bool> = removals
        .iter()
        .map(|row| ours_in(routes, row.key) > 1)
        .collect();
    for (row, crowded) in removals.iter().zip(crowded) {
        let Some(attrs) = removed(&row.verdict) else {
            continue;
        };
        let route = Route {
            key: row.key,
            attrs: Arc::clone(attrs),
        };
        let alone = (!crowded).then_some(routes.len());
        remove(routes, &route, protocol);
        if let Some(before) = alone {
            assert_eq!(routes.len() + 1, before, "removed what was not there");
            assert_eq!(ours_in(routes, row.key), 0, "removed from another slot");
        }
    }
}

/// The route that a verdict takes away: one that nobody asks for, or one that its document withdraws.
fn removed(verdict: &Verdict) -> Option<&Arc<RouteAttrs>> {
    match verdict {
        Verdict::Remove(attrs) | Verdict::Withdraw { attrs, .. } => Some(attrs),
        _ => None,
    }
}

/// The route that REPLACE hits. In IPv4 the first of the slot (`fib_table_insert`,
/// net/ipv4/fib_trie.c); in IPv6 the first that also has a gateway, or also has none, else the
/// first (`fib6_add_rt2node`, net/ipv6/ip6_fib.c). To see it:
/// `ip -6 route add 2001:db8::/48 dev eth0; ip -6 route append 2001:db8::/48 via fe80::1 dev eth0;
/// ip -6 route replace 2001:db8::/48 via fe80::2 dev eth0` leaves the first as it is.
fn replaced(routes: &[ObservedRoute], key: RouteKey, attrs: &RouteAttrs) -> Option<usize> {
    let in_slot = |route: &&ObservedRoute| route.route.key == key;
    let has_gateway = |attrs: &RouteAttrs| {
        attrs.nexthop.is_none() && attrs.hops().iter().any(|hop| hop.via.is_some())
    };
    let alike = |route: &ObservedRoute| {
        key.prefix.family() == Family::V4 || has_gateway(&route.route.attrs) == has_gateway(attrs)
    };
    let first_alike = routes.iter().position(|r| in_slot(&r) && alike(r));
    first_alike.or_else(|| routes.iter().position(|r| in_slot(&r)))
}

/// DELROUTE as `kernel::apply` sends it, which cannot name everything that tells two routes of a
/// slot apart.
fn remove(routes: &mut Vec<ObservedRoute>, route: &Route, protocol: Protocol) {
    match route.key.prefix.family() {
        Family::V4 => {
            // Routes of one prefix and TOS stand in the order of metrics.
            let matching = routes
                .iter()
                .enumerate()
                .filter(|(_, other)| other.protocol == protocol && matches_v4(&other.route, route));
            if let Some((hit, _)) = matching.min_by_key(|(_, other)| other.route.key.metric) {
                routes.remove(hit);
            }
        }
        Family::V6 if route.attrs.nexthop.is_some() => {
            let hit = routes.iter().position(|other| {
                other.protocol == protocol
                    && other.route.key == route.key
                    && other.route.attrs.nexthop == route.attrs.nexthop
            });
            if let Some(hit) = hit {
                routes.remove(hit);
            }
        }
        Family::V6 => match route.attrs.hops() {
            [] => remove_v6(routes, route.key, protocol, None, Some(IfIndex::new(1))),
            hops => {
                for hop in hops {
                    remove_v6(routes, route.key, protocol, hop.via, hop.link);
                }
            }
        },
    }
}

/// `fib_table_delete` and `fib_nh_match` (net/ipv4): metric 0, no source, no hop and no metrics
/// match any.
fn matches_v4(other: &Route, asked: &Route) -> bool {
    let (there, told) = (&other.attrs, &asked.attrs);
    let slot = RouteKey {
        metric: other.key.metric,
        ..asked.key
    };
    // `fib_nh_match`: by the number alone, and without one only if nothing is said of the hops.
    let hops = match told.hops() {
        _ if told.nexthop.is_some() => there.nexthop == told.nexthop,
        [only] if !told.extra && there.nexthop.is_some() => only.link.is_none(),
        [only] if !told.extra => there.hops().first().is_some_and(|first| {
            first.link == only.link && only.via.is_none_or(|via| first.via == Some(via))
        }),
        _ => true,
    };
    other.key == slot
        && (asked.key.metric.get() == 0 || other.key == asked.key)
        && there.kind == told.kind
        && (told.source.is_none() || there.source == told.source)
        && (told.mtu.is_none() || there.mtu == told.mtu)
        && (told.advmss.is_none() || there.advmss == told.advmss)
        && hops
}

/// `ip6_route_del` (net/ipv6/route.c): with a gateway just that hop goes; without one, the first
/// route that uses the link, gateway or not, with all its siblings.
fn remove_v6(
    routes: &mut Vec<ObservedRoute>,
    key: RouteKey,
    protocol: Protocol,
    via: Option<std::net::IpAddr>,
    link: Option<IfIndex>,
) {
    let fits = |hop: &NextHop| hop.link == link && (via.is_none() || hop.via == via);
    let nowhere = |attrs: &RouteAttrs| {
        attrs.hops().is_empty() && via.is_none() && link == Some(IfIndex::new(1))
    };
    let Some(hit) = routes.iter().position(|other| {
        let attrs = &other.route.attrs;
        other.route.key == key
            && other.protocol == protocol
            && attrs.nexthop.is_none()
            && (nowhere(attrs) || attrs.hops().iter().any(fits))
    }) else {
        return;
    };
    let attrs = &routes[hit].route.attrs;
    let left: Vec<NextHop> = attrs.hops().iter().filter(|h| !fits(h)).copied().collect();
    if via.is_none() || left.is_empty() {
        routes.remove(hit);
        return;
    }
    let mut rest = RouteAttrs::unicast(left);
    rest.source = attrs.source;
    rest.mtu = attrs.mtu;
    rest.advmss = attrs.advmss;
    rest.extra = attrs.extra;
    routes[hit].route.attrs = Arc::new(rest);
}

/// Plans and carries out until nothing is left to do, holding every promise on the way.
pub(crate) fn converge(inputs: &Inputs<'_>, observed: &mut Observed) {
    let protocol = inputs.policy.protocol;
    let adopts = inputs.policy.foreign_routes == srsync::model::ForeignRoutes::Adopt;
    let foreign_before = foreign(observed, protocol);
    let foreign_objects = foreign_nexthops(observed, protocol);
    let foreign_rules = egress::foreign_rules(&observed.egress, protocol);
    // One round for each route that makes another possible, one that finds nothing to do, and one
    // for each further route in a crowded slot: what is withdrawn goes also where surplus must stay.
    let ours = observed.routes.iter().filter(|r| r.protocol == protocol);
    let mut slots: Vec<RouteKey> = ours.map(|route| route.route.key).collect();
    slots.sort();
    let crowd = slots.chunk_by(RouteKey::eq).map(<[RouteKey]>::len).max();
    for _ in 0..inputs.documents.len() + 3 + crowd.unwrap_or(0) {
        look_up(inputs, observed);
        let plan = plan::plan(inputs, observed);
        one_verdict_each(&plan, observed, protocol);
        guards_hold(inputs, &plan, observed);
        egress::forget(&plan, observed);
        if plan.is_empty() {
            assert_eq!(
                egress::foreign_rules(&observed.egress, protocol),
                foreign_rules
            );
            assert_eq!(foreign_nexthops(observed, protocol), foreign_objects);
            if !adopts {
                assert_eq!(
                    foreign(observed, protocol),
                    foreign_before,
                    "foreign routes changed"
                );
            }
            return;
        }
        let ours_before = observed.routes.len() - foreign(observed, protocol).len();
        carry_out(&plan, protocol, observed);
        let ours_after = observed.routes.len() - foreign(observed, protocol).len();
        let things = plan.egress.rows.iter().map(|row| row.claim);
        let mut claims = plan.rows.iter().map(|row| row.claim).chain(things);
        let nothing_wanted = claims.all(|claim| claim.is_none());
        assert!(
            ours_before == 0 || ours_after > 0 || inputs.policy.allow_empty || !nothing_wanted,
            "an empty set removed everything"
        );
    }
    panic!("plan and apply do not converge");
}

/// Answers what the documents ask the kernel (`ip route get`), by the routes as they are now: the
/// longest prefix of the main table, of those the lowest metric.
fn look_up(inputs: &Inputs<'_>, observed: &mut Observed) {
    let (_, asked) = plan::interest(inputs);
    let answer = |address| {
        let matching = observed.routes.iter().filter(|route| {
            let key = &route.route.key;
            key.table == TableId::MAIN && key.tos.get() == 0 && key.prefix.contains(address)
        });
        let best = matching.min_by_key(|route| {
            let key = &route.route.key;
            (Reverse(key.prefix.length()), key.metric)
        })?;
        let hop = best.route.attrs.hops().first()?;
        let lookup = Lookup {
            via: hop.via,
            link: hop.link?,
            protocol: best.protocol,
        };
        Some((address, lookup))
    };
    observed.lookups = asked.into_iter().filter_map(answer).collect();
}

/// Routes that are not ours, in a comparable order.
pub(crate) fn foreign(observed: &Observed, protocol: Protocol) -> Vec<Route> {
    let foreign = observed.routes.iter().filter(|r| r.protocol != protocol);
    let mut foreign: Vec<Route> = foreign.map(|route| route.route.clone()).collect();
    foreign.sort();
    foreign
}

/// Nexthop objects that are not ours.
fn foreign_nexthops(observed: &Observed, protocol: Protocol) -> Vec<NextHopObject> {
    let foreign = observed.nexthops.iter().filter(|o| o.protocol != protocol);
    foreign.cloned().collect()
}

/// Every route of ours is in one verdict, nothing foreign is in a removal, and what could not be
/// done has a reason.
fn one_verdict_each(plan: &Plan, observed: &Observed, protocol: Protocol) {
    let ours = observed.routes.iter().filter(|r| r.protocol == protocol);
    for route in ours {
        let key = route.route.key;
        assert!(
            plan.rows.iter().any(|row| row.key == key),
            "{key:?} has no verdict"
        );
    }
    for row in &plan.rows {
        match &row.verdict {
            Verdict::Remove(attrs) => assert!(
                observed
                    .routes
                    .iter()
                    .any(|route| route.protocol == protocol
                        && route.route.key == row.key
                        && route.route.attrs == *attrs),
                "a removal of what is not ours"
            ),
            Verdict::Blocked(blocked) | Verdict::Withdraw { blocked, .. } => {
                assert_ne!(blocked.state, State::Installed);
                assert!(!blocked.reason.message.is_empty());
            }
            _ => {}
        }
    }
}

/// Nothing that a guard forbids is installed or taken as installed.
fn guards_hold(inputs: &Inputs<'_>, plan: &Plan, observed: &Observed) {
    let policy = inputs.policy;
    let mut in_main = Vec::new();
    for row in plan.rows.iter().filter(|row| row.claim.is_some()) {
        let attrs = match &row.verdict {
            Verdict::Add(attrs) | Verdict::Keep(attrs) | Verdict::Adopt { attrs, .. } => attrs,
            Verdict::Replace { to, .. } => to,
            Verdict::Remove(_) | Verdict::Blocked(_) | Verdict::Withdraw { .. } => continue,
        };
        let prefix = row.key.prefix;
        let overlaps =
            |other: &srsync::model::Prefix| other.covers(&prefix) || prefix.covers(other);
        assert!(
            !policy.protected_subnets.iter().any(overlaps),
            "{prefix} is protected"
        );
        if row.key.table == TableId::MAIN {
            in_main.push(prefix);
        }
        for hop in attrs.hops().iter().filter(|hop| !hop.on_link) {
            let Some(via) = hop.via.filter(|via| prefix.contains(*via)) else {
                continue;
            };
            let reaches = |route: &ObservedRoute| {
                let there = &route.route;
                there.key.prefix.contains(via)
                    && there.key.prefix.length() > prefix.length()
                    && there.attrs.kind == RouteType::Unicast
                    && there.attrs.hops().iter().all(|hop| hop.via.is_none())
                    && (prefix.family() == Family::V6 || route.scope >= Scope::LINK)
            };
            assert!(
                observed.routes.iter().any(reaches),
                "{prefix} captures its own gateway {via}"
            );
        }
    }
    let space: PrefixSet = in_main.iter().collect();
    for family in Family::BOTH {
        assert!(
            policy.allow_default_route || !space.covers_all(family),
            "a default route"
        );
    }
}

/// The prefixes that no earlier one covers: a covering prefix comes right before what it covers.
pub(crate) fn disjoint(
    prefixes: std::collections::BTreeSet<Prefix>,
) -> impl Iterator<Item = Prefix> {
    let mut last: Option<Prefix> = None;
    prefixes.into_iter().filter(move |prefix| {
        let free = last.is_none_or(|last| !last.covers(prefix));
        if free {
            last = Some(*prefix);
        }
        free
    })
}
