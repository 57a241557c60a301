//! A kernel made of a list, and the promises that must hold of every plan: shared by the property
//! tests and the fuzz target.

use srsync::model::{Observed, ObservedRoute, Protocol, Route, State};
use srsync::plan::{self, Inputs, Plan, Verdict};

/// Does to the list what the kernel does to its tables: EXCL refuses an occupied slot, REPLACE hits
/// the first route of the slot whoever owns it, DELROUTE with all selectors takes just the one.
pub(crate) fn carry_out(plan: &Plan, protocol: Protocol, observed: &mut Observed) {
    let routes = &mut observed.routes;
    let put = |key, attrs: &std::sync::Arc<_>| ObservedRoute {
        route: Route {
            key,
            attrs: std::sync::Arc::clone(attrs),
        },
        protocol,
        scope: srsync::model::RouteAttrs::scope(attrs, key.prefix.family()),
    };
    let changing = plan.rows.iter().filter(|row| plan.changes(row));
    let (removals, puts): (Vec<_>, Vec<_>) =
        changing.partition(|row| matches!(row.verdict, Verdict::Remove(_)));
    for row in puts.into_iter().chain(removals) {
        let in_slot = |route: &ObservedRoute| route.route.key == row.key;
        match &row.verdict {
            Verdict::Add(attrs) => {
                assert!(!routes.iter().any(in_slot), "added to an occupied slot");
                routes.push(put(row.key, attrs));
            }
            Verdict::Replace { to: attrs, .. } | Verdict::Adopt { attrs, .. } => {
                let first = routes.iter_mut().find(|route| in_slot(route));
                *first.expect("replaced in an empty slot") = put(row.key, attrs);
            }
            Verdict::Remove(attrs) => {
                let gone = routes.iter().position(|route| {
                    in_slot(route) && route.protocol == protocol && route.route.attrs == *attrs
                });
                routes.remove(gone.expect("removed what was not there"));
            }
            Verdict::Keep(_) | Verdict::Blocked(_) => unreachable!("neither changes anything"),
        }
    }
}

/// Plans and carries out until nothing is left to do, holding every promise on the way.
pub(crate) fn converge(inputs: &Inputs<'_>, observed: &mut Observed) {
    let protocol = inputs.policy.protocol;
    let adopts = inputs.policy.foreign_routes == srsync::model::ForeignRoutes::Adopt;
    let foreign_before = foreign(observed, protocol);
    // One round for each route that makes another possible, and one that finds nothing to do.
    for _ in 0..inputs.documents.len() + 3 {
        let plan = plan::plan(inputs, observed);
        one_verdict_each(&plan, observed, protocol);
        if plan.is_empty() {
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
        let nothing_wanted = plan.rows.iter().all(|row| row.claim.is_none());
        assert!(
            ours_before == 0 || ours_after > 0 || inputs.policy.allow_empty || !nothing_wanted,
            "an empty set removed everything"
        );
    }
    panic!("plan and apply do not converge");
}

/// Routes that are not ours, in a comparable order.
pub(crate) fn foreign(observed: &Observed, protocol: Protocol) -> Vec<Route> {
    let foreign = observed.routes.iter().filter(|r| r.protocol != protocol);
    let mut foreign: Vec<Route> = foreign.map(|route| route.route.clone()).collect();
    foreign.sort();
    foreign
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
            Verdict::Blocked(blocked) => {
                assert_ne!(blocked.state, State::Installed);
                assert!(!blocked.reason.message.is_empty());
            }
            _ => {}
        }
    }
}
