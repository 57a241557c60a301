//! What must not happen, whatever the documents say: each refusal says why and names the setting
//! that would allow it.

use std::sync::Arc;

use crate::model::{Document, Family, MaxRemovals, Prefix, PrefixSet, RouteAttrs, State, TableId};

use super::claims::{self, Selected, SlotClaim};
use super::resolve::{Neighbour, Resolved};
use super::{Blocked, EgressPlan, Inputs, Reason, ReasonCode, Removals, Row, Verdict};

/// Says for one claim after the other whether it may be installed, and how.
pub(super) struct Judge<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) resolved: &'a [Resolved],
    pub(super) defaults: &'a Defaults,
}

impl Judge<'_> {
    /// The attributes to install, or why not. The guards come first: a route that is refused is
    /// refused on every node, whatever its links do today.
    pub(super) fn judge(&self, claim: &SlotClaim) -> Result<Arc<RouteAttrs>, Blocked> {
        let prefix = claim.key.prefix;
        let document = claim.claim.document as usize;
        if let Some(reason) = self.protected(&prefix) {
            return Err(refused(Arc::new(reason)));
        }
        if claim.key.table == TableId::MAIN
            && let Some(reason) = self.defaults.refuses(document, prefix.family())
        {
            return Err(refused(reason));
        }
        let way = match self.resolved[document].way(prefix.family()) {
            Some(Ok(way)) => way,
            Some(Err(reason)) => return Err(unavailable(reason.clone())),
            None => return Err(unavailable(Arc::new(no_way(prefix.family())))),
        };
        if let Some(captured) = way.gateways.iter().find(|g| captures(&prefix, g)) {
            return Err(refused(Arc::new(self_capture(&prefix, captured))));
        }
        // A switch asks no guard: by a group go only routes that every gateway of it may carry.
        let by_group = way.by_group.as_ref().filter(|_| {
            let mut others = way.members.iter().flat_map(|members| &members.gateways);
            !others.any(|gateway| captures(&prefix, gateway))
        });
        Ok(by_group.unwrap_or(&way.attrs).clone())
    }

    fn protected(&self, prefix: &Prefix) -> Option<Reason> {
        let mut subnets = self.inputs.policy.protected_subnets.iter();
        let hit = subnets.find(|subnet| subnet.covers(prefix) || prefix.covers(subnet))?;
        let how = if hit.covers(prefix) {
            "is inside"
        } else {
            "covers"
        };
        Some(Reason::new(
            ReasonCode::ProtectedSubnet,
            format!(
                "{prefix} {how} the protected subnet {hit}; to allow it, take {hit} out of \
                 protectedSubnets, or leave it out of the destinations with `except`"
            ),
        ))
    }
}

fn refused(reason: Arc<Reason>) -> Blocked {
    Blocked {
        state: State::Refused,
        reason,
        occupant: None,
    }
}

/// There is no way at the moment.
fn unavailable(reason: Arc<Reason>) -> Blocked {
    let state = match reason.code {
        ReasonCode::AllGatewaysDown => State::Withdrawn,
        _ => State::Pending,
    };
    Blocked {
        state,
        reason,
        occupant: None,
    }
}

fn no_way(family: Family) -> Reason {
    Reason::new(
        ReasonCode::GatewayNotConnected,
        format!("the document names no {family} gateway"),
    )
}

/// Whether a route to `prefix` would catch the packets to its own gateway.
fn captures(prefix: &Prefix, gateway: &Neighbour) -> bool {
    prefix.contains(gateway.address)
        && gateway
            .subnet
            .is_some_and(|subnet| subnet.length() <= prefix.length())
}

fn self_capture(prefix: &Prefix, gateway: &Neighbour) -> Reason {
    let address = gateway.address;
    let connected = match gateway.subnet {
        Some(subnet) => format!("the connected subnet {subnet} is not more specific"),
        None => "no connected subnet is more specific".to_owned(),
    };
    Reason::new(
        ReasonCode::SelfCapture,
        format!(
            "{prefix} covers its own gateway {address}, and {connected}; leave the gateway out \
             with `except: [{}]`, or name its interface and set onLink: true",
            Prefix::host(address)
        ),
    )
}

/// The documents that would make a default route in the main table, with the reason.
#[derive(Default)]
pub(super) struct Defaults {
    refused: Vec<(usize, Family, Arc<Reason>)>,
}

impl Defaults {
    fn refuses(&self, document: usize, family: Family) -> Option<Arc<Reason>> {
        let mut refused = self.refused.iter();
        refused
            .find(|(index, of, _)| *index == document && *of == family)
            .map(|(_, _, reason)| reason.clone())
    }
}

/// Finds the documents whose destinations, alone or together with those of documents before them
/// by name, cover the whole address space in the main table.
pub(super) fn default_routes(inputs: &Inputs<'_>, selected: &Selected) -> Defaults {
    let mut defaults = Defaults::default();
    if inputs.policy.allow_default_route {
        return defaults;
    }
    let in_main: Vec<(u32, &Document)> = claims::selected_documents(inputs, selected)
        .filter(|(_, document)| claims::table(inputs, document) == TableId::MAIN)
        .collect();
    for family in Family::BOTH {
        let everything = in_main
            .iter()
            .flat_map(|(_, document)| space(document, family));
        if !everything.collect::<PrefixSet>().covers_all(family) {
            continue;
        }
        let mut covered = PrefixSet::default();
        for &(index, document) in &in_main {
            let own: PrefixSet = space(document, family).collect();
            let with_own = covered.union(&own);
            if with_own.covers_all(family) {
                let reason = default_route(family, own.covers_all(family));
                let refused = (index as usize, family, Arc::new(reason));
                defaults.refused.push(refused);
            } else {
                covered = with_own;
            }
        }
    }
    defaults
}

fn space(document: &Document, family: Family) -> impl Iterator<Item = &Prefix> {
    let prefixes = document.destinations.iter().map(|d| &d.prefix);
    prefixes.filter(move |prefix| prefix.family() == family)
}

fn default_route(family: Family, alone: bool) -> Reason {
    let everything = Prefix::everything(family);
    let who = if alone {
        "this document's destinations"
    } else {
        "this document's destinations, together with those of documents before it by name,"
    };
    Reason::new(
        ReasonCode::DefaultRoute,
        format!(
            "{who} cover all of {family} ({everything}) in the main table; to allow it, set \
             allowDefaultRoute: true (--allow-default-route)"
        ),
    )
}

/// Whether the removals in `rows` may be carried out. `missing` says why not all may be known.
pub(super) fn removals(
    inputs: &Inputs<'_>,
    missing: Option<&str>,
    (rows, egress): (&[Row], &EgressPlan),
    owned: usize,
) -> Removals {
    let policy = inputs.policy;
    let removed = rows
        .iter()
        .filter(|row| matches!(row.verdict, Verdict::Remove(_)))
        .count();
    let (removed, owned) = (removed + egress.removed(), owned + egress.owned);
    if let Some(missing) = missing.filter(|_| removed > 0) {
        return Removals::Withheld(Reason::new(
            ReasonCode::Incomplete,
            format!(
                "nothing is removed while what is wanted is not fully known: {missing} ({removed} \
                 withheld)"
            ),
        ));
    }
    let nothing_wanted = rows.iter().all(|row| row.claim.is_none()) && !egress.wants_something();
    let only_routes = egress.owned == 0;
    if removed > 0 && nothing_wanted && !policy.allow_empty {
        let what = match only_routes {
            true => "no route is wanted on this node, so every route",
            false => "nothing is wanted on this node, so everything",
        };
        return Removals::Withheld(Reason::new(
            ReasonCode::EmptySet,
            format!(
                "{what} that srsync owns would go ({removed}); if that is meant, set allowEmpty: true (--allow-empty), or use \
                 `srsync flush`"
            ),
        ));
    }
    match policy.max_removals {
        Some(limit) if removed > limit.of(owned) => {
            let what = match only_routes {
                true => "routes",
                false => "routes and other things",
            };
            Removals::Withheld(too_many((removed, owned), what, limit))
        }
        _ => Removals::Allowed,
    }
}

fn too_many((removed, owned): (usize, usize), what: &str, limit: MaxRemovals) -> Reason {
    Reason::new(
        ReasonCode::MaxRemovals,
        format!(
            "{removed} of {owned} {what} would be removed, more than maxRemovals {limit} allows; \
             none is. If that is meant, raise maxRemovals (--max-removals)"
        ),
    )
}
