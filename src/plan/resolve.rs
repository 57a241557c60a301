//! Gateways → next hops on this node: which link, and whether it can carry anything yet.
//!
//! The kernel would find the link by itself (`fib_check_nh_v4_gw` in net/ipv4/fib_semantics.c:
//! the gateway must be reached by a link-scope route of the route's own table, or of the main
//! one). srsync does the same lookup on what it observed and always names the link, so that a
//! route whose gateway moved to another link differs, and so that `plan` can say beforehand what
//! the kernel would refuse.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::document::{Gateways, Mode, OnAllDown};
use crate::model::{
    Address, Document, Family, Gateway, IfIndex, InterfaceName, Link, Lookup, Metric, NextHop,
    Observed, ObservedRoute, Prefix, RouteAttrs, RouteKey, RouteType, Scope, TableId, Target, Tos,
    Weight,
};

use super::claims::{self, Selected, SlotClaim};
use super::{Inputs, Reason, ReasonCode};

/// A document's routes on this node, one result for each family.
#[derive(Default)]
pub(super) struct Resolved {
    v4: Option<Result<Way, Arc<Reason>>>,
    v6: Option<Result<Way, Arc<Reason>>>,
    pub(super) notes: Vec<String>,
}

/// Where the packets of one family of a document's destinations go.
pub(super) struct Way {
    pub(super) attrs: Arc<RouteAttrs>,
    /// The gateways among the hops, for the guard against self-capture.
    pub(super) gateways: Vec<Neighbour>,
}

/// A gateway, and the connected subnet by which it is reached (`None`: it is declared on-link).
pub(super) struct Neighbour {
    pub(super) address: IpAddr,
    pub(super) subnet: Option<Prefix>,
}

impl Resolved {
    /// The way of a family that the document has destinations of.
    pub(super) fn way(&self, family: Family) -> Option<&Result<Way, Arc<Reason>>> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }
}

/// Resolves every selected document; the others stay empty.
pub(super) fn resolve(
    inputs: &Inputs<'_>,
    selected: &Selected,
    claims: &[SlotClaim],
    observed: &Observed,
) -> Vec<Resolved> {
    let mut resolved: Vec<Resolved> = Vec::new();
    resolved.resize_with(inputs.documents.len(), Resolved::default);
    let node = Node::new(inputs, claims, observed);
    for (index, document) in claims::selected_documents(inputs, selected) {
        let table = claims::table(inputs, document);
        let entry = &mut resolved[index as usize];
        for family in Family::BOTH {
            let has =
                |destination: &crate::model::Destination| destination.prefix.family() == family;
            if document.destinations.iter().any(has) {
                let way = node.way(document, family, table, &mut entry.notes);
                let way = Some(way.map_err(Arc::new));
                match family {
                    Family::V4 => entry.v4 = way,
                    Family::V6 => entry.v6 = way,
                }
            }
        }
        if let Target::Gateways(gateways) = &document.target {
            let watched = |family: &Family| inputs.steering.of(&document.id, *family).is_some();
            if !Family::BOTH.iter().any(watched) {
                entry.notes.extend(unchecked_note(gateways));
            }
        }
    }
    resolved
}

/// A gateway of a document, as this node could use it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Index into [`Inputs::documents`].
    pub document: u32,
    /// Its place in the document's list of gateways.
    pub gateway: usize,
    /// Why it cannot be used, if it cannot: its link is down, or it is on no connected subnet.
    pub obstacle: Option<Reason>,
}

/// How this node could use each gateway of the selected documents that `of_interest` names.
pub(super) fn reach(
    inputs: &Inputs<'_>,
    selected: &Selected,
    claims: &[SlotClaim],
    observed: &Observed,
    of_interest: impl Fn(&Document) -> bool,
) -> Vec<Reach> {
    let node = Node::new(inputs, claims, observed);
    let mut reaches = Vec::new();
    for (document, wanted) in claims::selected_documents(inputs, selected) {
        let Target::Gateways(gateways) = &wanted.target else {
            continue;
        };
        if !of_interest(wanted) {
            continue;
        }
        let table = claims::table(inputs, wanted);
        for (gateway, described) in gateways.list.iter().enumerate() {
            reaches.push(Reach {
                document,
                gateway,
                obstacle: node.next_hop(described, table).err(),
            });
        }
    }
    reaches
}

/// What is known of the node, arranged for looking up gateways.
struct Node<'a> {
    inputs: &'a Inputs<'a>,
    observed: &'a Observed,
    /// Routes straight out of a link: the connected subnets.
    connected: Vec<&'a ObservedRoute>,
}

impl<'a> Node<'a> {
    fn new(inputs: &'a Inputs<'a>, claims: &[SlotClaim], observed: &'a Observed) -> Self {
        let is_connected = |route: &&ObservedRoute| {
            let attrs = &route.route.attrs;
            attrs.kind == RouteType::Unicast
                && is_for_all_traffic(route)
                && attrs.hops().iter().all(|hop| hop.via.is_none())
                && (route.route.key.prefix.family() == Family::V6 || route.scope >= Scope::LINK)
        };
        // What this plan is about to take away or to change connects nothing: a gateway behind it
        // would be resolved now and be out of reach a moment later.
        let stays = |route: &&ObservedRoute| {
            route.protocol != inputs.policy.protocol || remains(inputs, claims, observed, route)
        };
        let connected = observed.routes.iter().filter(is_connected).filter(stays);
        Self {
            inputs,
            observed,
            connected: connected.collect(),
        }
    }

    fn way(
        &self,
        document: &Document,
        family: Family,
        table: TableId,
        notes: &mut Vec<String>,
    ) -> Result<Way, Reason> {
        let (mut attrs, gateways) = match &document.target {
            Target::Nowhere(kind) => (RouteAttrs::without_hops(*kind), Vec::new()),
            Target::Interface(name) => {
                let link = self.link_up(name)?;
                (RouteAttrs::unicast(vec![direct(link.index)]), Vec::new())
            }
            Target::Lookup(address) => self.looked_up(*address, table)?,
            Target::ConfiguredLookup => self.looked_up(self.inputs.policy.gateway_lookup, table)?,
            Target::Gateways(gateways) => self.through(document, gateways, family, notes)?,
        };
        let of_family = |source: &IpAddr| Family::of(source) == family;
        attrs.source = document.source.filter(of_family);
        if let Some(source) = attrs.source {
            self.check_source(source)?;
        }
        attrs.mtu = document.mtu;
        attrs.advmss = document.advmss;
        Ok(Way {
            attrs: Arc::new(attrs),
            gateways,
        })
    }

    /// `failover`: the first gateway that can be used; `ecmp`: all that can. Where none can, what
    /// the document says about that.
    fn through(
        &self,
        document: &Document,
        gateways: &Gateways,
        family: Family,
        notes: &mut Vec<String>,
    ) -> Result<(RouteAttrs, Vec<Neighbour>), Reason> {
        let table = claims::table(self.inputs, document);
        let (candidates, mut unusable) = self.candidates(document, gateways, family);
        let mut hops = Vec::new();
        let mut neighbours = Vec::new();
        for gateway in candidates {
            match self.next_hop(gateway, table) {
                Ok((hop, subnet)) => {
                    hops.push(hop);
                    neighbours.push(Neighbour {
                        address: gateway.address,
                        subnet,
                    });
                    if gateways.mode == Mode::Failover {
                        break;
                    }
                }
                Err(reason) => unusable.push(reason),
            }
        }
        if hops.is_empty() {
            return all_down(gateways.on_all_down, unusable, family, notes);
        }
        let passed_over = unusable
            .iter()
            .map(|reason| format!("passed over: {reason}"));
        notes.extend(passed_over);
        Ok((RouteAttrs::unicast(hops), neighbours))
    }

    /// The gateways of a family that may be used, preferred first, and why others may not.
    fn candidates<'g>(
        &self,
        document: &Document,
        gateways: &'g Gateways,
        family: Family,
    ) -> (Vec<&'g Gateway>, Vec<Reason>) {
        let Some(steer) = self.inputs.steering.of(&document.id, family) else {
            let of_family = gateways.list.iter();
            let of_family = of_family.filter(|gateway| Family::of(&gateway.address) == family);
            return (of_family.collect(), Vec::new());
        };
        let candidates = steer.candidates.iter();
        let candidates = candidates.filter_map(|index| gateways.list.get(*index));
        let down = steer.down.values();
        let down = down.map(|why| Reason::new(ReasonCode::GatewayDown, why.clone()));
        (candidates.collect(), down.collect())
    }

    /// The hop to a gateway and the connected subnet that it is on.
    fn next_hop(
        &self,
        gateway: &Gateway,
        table: TableId,
    ) -> Result<(NextHop, Option<Prefix>), Reason> {
        let address = gateway.address;
        self.check_not_local(address)?;
        let wanted = match &gateway.interface {
            Some(name) => Some(self.link_up(name)?),
            None => None,
        };
        let (link, subnet) = match wanted {
            Some(link) if gateway.on_link => (link.index, None),
            _ => {
                let index = wanted.map(|link| link.index);
                let Some((link, subnet)) = self.connected_to(address, index, table) else {
                    return Err(self.not_connected(gateway));
                };
                if wanted.is_none() {
                    self.check_up(link, address)?;
                }
                (link, Some(subnet))
            }
        };
        let hop = NextHop {
            via: Some(address),
            link: Some(link),
            weight: gateway.weight,
            on_link: gateway.on_link,
        };
        Ok((hop, subnet))
    }

    /// The most specific connected subnet with `address`, of the route's own table if it has one,
    /// else of the main table; only of `link` where one is wanted.
    fn connected_to(
        &self,
        address: IpAddr,
        link: Option<IfIndex>,
        table: TableId,
    ) -> Option<(IfIndex, Prefix)> {
        let best_in = |table: TableId| {
            let reaches = self.connected.iter().filter_map(|route| {
                let key = &route.route.key;
                let out = route.route.attrs.hops().first()?.link?;
                let fits = key.table == table
                    && key.prefix.contains(address)
                    && link.is_none_or(|wanted| wanted == out);
                fits.then_some((preference(key), out, key.prefix))
            });
            let best = reaches.min_by_key(|&(preference, ..)| preference);
            best.map(|(_, out, prefix)| (out, prefix))
        };
        best_in(table).or_else(|| best_in(TableId::MAIN))
    }

    /// The next hop that the kernel uses to reach `address`.
    fn looked_up(
        &self,
        address: IpAddr,
        table: TableId,
    ) -> Result<(RouteAttrs, Vec<Neighbour>), Reason> {
        let unreachable = |why: &str| {
            Reason::new(
                ReasonCode::LookupUnreachable,
                format!("gatewayLookup {address}: {why}"),
            )
        };
        let answer = self
            .observed
            .lookups
            .get(&address)
            .ok_or_else(|| unreachable("the kernel has no route to it"))?;
        // An answer that is a route of ours would hold on to itself when the real way changes.
        let answer = if answer.protocol == self.inputs.policy.protocol {
            self.foreign_way_to(address)
                .ok_or_else(|| unreachable("only a route of srsync itself leads to it"))?
        } else {
            answer.clone()
        };
        let gateway = answer.via.unwrap_or(address);
        let subnet = self
            .connected_to(gateway, Some(answer.link), table)
            .map(|(_, subnet)| subnet);
        let hop = NextHop {
            via: Some(gateway),
            link: Some(answer.link),
            weight: Weight::ONE,
            // The kernel reaches it without a connected subnet: its own route must be on-link too.
            on_link: subnet.is_none(),
        };
        let neighbour = Neighbour {
            address: gateway,
            subnet,
        };
        Ok((RouteAttrs::unicast(vec![hop]), vec![neighbour]))
    }

    /// The way to `address` by the main table, as if there were no routes of ours.
    fn foreign_way_to(&self, address: IpAddr) -> Option<Lookup> {
        let matching = self.observed.routes.iter().filter(|route| {
            let key = &route.route.key;
            key.table == TableId::MAIN
                && key.prefix.contains(address)
                && is_for_all_traffic(route)
                && route.protocol != self.inputs.policy.protocol
        });
        let best = matching.min_by_key(|route| preference(&route.route.key))?;
        let hop = best.route.attrs.hops().first()?;
        Some(Lookup {
            via: hop.via,
            link: hop.link?,
            protocol: best.protocol,
        })
    }

    fn link_up(&self, name: &InterfaceName) -> Result<&'a Link, Reason> {
        match self.observed.link_named(name.as_str()) {
            None => Err(Reason::new(
                ReasonCode::NoInterface,
                format!("there is no interface {name} on this node"),
            )),
            Some(link) if !link.up => Err(link_down(link)),
            Some(link) => Ok(link),
        }
    }

    fn check_up(&self, index: IfIndex, gateway: IpAddr) -> Result<(), Reason> {
        match self.observed.link(index) {
            Some(link) if !link.up => Err(link_down(link)),
            Some(_) => Ok(()),
            None => Err(Reason::new(
                ReasonCode::NoInterface,
                format!("the interface towards gateway {gateway} is gone"),
            )),
        }
    }

    fn check_not_local(&self, gateway: IpAddr) -> Result<(), Reason> {
        let mut addresses = self.observed.addresses.iter();
        match addresses.find(|address| address.local == gateway) {
            None => Ok(()),
            Some(own) => Err(Reason::new(
                ReasonCode::GatewayIsLocal,
                format!(
                    "gateway {gateway} is this node's own address (on {}); leave this node out \
                     with nodeSelector",
                    self.link_name(own.link)
                ),
            )),
        }
    }

    fn check_source(&self, source: IpAddr) -> Result<(), Reason> {
        // On the loopback interface a whole subnet is local, not just its one address
        // (`ip route show table local` after `ip address add 192.0.2.1/24 dev lo`).
        let is_local = |address: &Address| {
            let loopback = self.observed.link(address.link).is_some_and(|l| l.loopback);
            let subnet = Prefix::containing(address.local, address.length);
            address.local == source || (loopback && subnet.is_some_and(|s| s.contains(source)))
        };
        if self.observed.addresses.iter().any(is_local) {
            return Ok(());
        }
        Err(Reason::new(
            ReasonCode::NoSourceAddress,
            format!("source {source} is not an address of this node"),
        ))
    }

    fn not_connected(&self, gateway: &Gateway) -> Reason {
        let Gateway {
            address, interface, ..
        } = gateway;
        // The kernel takes the connected routes of a link away when it goes down.
        if let Some(link) = self.link_down_towards(*address) {
            return link_down(link);
        }
        let message = match interface {
            Some(name) => format!(
                "gateway {address} is not on a connected subnet of {name}; give {name} an address \
                 there, or set onLink: true on the gateway"
            ),
            None => format!(
                "gateway {address} is not on a connected subnet; give an interface an address \
                 there, or name the gateway's interface and set onLink: true"
            ),
        };
        Reason::new(ReasonCode::GatewayNotConnected, message)
    }

    /// A link that is down and has an address in the subnet of a gateway.
    fn link_down_towards(&self, gateway: IpAddr) -> Option<&'a Link> {
        let addresses = self.observed.addresses.iter();
        let towards = addresses.filter(|address| {
            let subnet = address.peer.unwrap_or(address.local);
            Prefix::containing(subnet, address.length).is_some_and(|s| s.contains(gateway))
        });
        let mut links = towards.filter_map(|address| self.observed.link(address.link));
        links.find(|link| !link.up)
    }

    fn link_name(&self, index: IfIndex) -> String {
        match self.observed.link(index) {
            Some(link) => link.name.clone(),
            None => format!("if{index}"),
        }
    }
}

/// Whether a route takes packets without a TOS, as those to a gateway are: the kernel looks
/// gateways up without one (`fib_check_nh_v4_gw`, net/ipv4/fib_semantics.c).
fn is_for_all_traffic(route: &ObservedRoute) -> bool {
    route.route.key.tos == Tos::new(0)
}

/// The kernel's order among routes that match, the least first; within a slot it uses the first.
fn preference(key: &RouteKey) -> (Reverse<u8>, Metric) {
    (Reverse(key.prefix.length()), key.metric)
}

/// Whether a document asks for this connected route of ours, on the link that it is on.
fn remains(
    inputs: &Inputs<'_>,
    claims: &[SlotClaim],
    observed: &Observed,
    route: &ObservedRoute,
) -> bool {
    let key = route.route.key;
    let first = claims.partition_point(|claim| claim.key < key);
    let Some(winner) = claims.get(first).filter(|claim| claim.key == key) else {
        return false;
    };
    let Target::Interface(name) = &inputs.documents[winner.claim.document as usize].target else {
        return false;
    };
    let link = observed.link_named(name.as_str()).map(|link| link.index);
    route.route.attrs.hops().iter().all(|hop| hop.link == link)
}

fn direct(link: IfIndex) -> NextHop {
    NextHop {
        via: None,
        link: Some(link),
        weight: Weight::ONE,
        on_link: false,
    }
}

fn link_down(link: &Link) -> Reason {
    Reason::new(
        ReasonCode::LinkDown,
        format!(
            "link {} is down; `ip link set {} up` brings it up",
            link.name, link.name
        ),
    )
}

/// What becomes of the routes when no gateway can be used. A gateway that is this node itself is a
/// mistake in the document or its selector, and nothing that has gone down.
fn all_down(
    says: OnAllDown,
    unusable: Vec<Reason>,
    family: Family,
    notes: &mut Vec<String>,
) -> Result<(RouteAttrs, Vec<Neighbour>), Reason> {
    let are_down = unusable
        .iter()
        .all(|r| r.code != ReasonCode::GatewayIsLocal);
    let reason = all_unusable(unusable, family);
    match says {
        OnAllDown::Blackhole if are_down => {
            notes.push(format!(
                "packets are dropped (onAllDown: blackhole): {reason}"
            ));
            let nowhere = RouteAttrs::without_hops(RouteType::Blackhole);
            Ok((nowhere, Vec::new()))
        }
        OnAllDown::Withdraw if are_down => {
            let message = format!("withdrawn (onAllDown: withdraw): {reason}");
            Err(Reason::new(ReasonCode::AllGatewaysDown, message))
        }
        _ => Err(reason),
    }
}

/// One reason out of those of all gateways.
fn all_unusable(mut reasons: Vec<Reason>, family: Family) -> Reason {
    if reasons.len() > 1 {
        let code = reasons[0].code;
        let all: Vec<String> = reasons.iter().map(Reason::to_string).collect();
        return Reason::new(code, format!("no gateway can be used: {}", all.join("; ")));
    }
    reasons.pop().unwrap_or_else(|| {
        Reason::new(
            ReasonCode::GatewayNotConnected,
            format!("no gateway is {family}"),
        )
    })
}

/// Says that nobody watches the gateways, where a reader of the document would think so.
fn unchecked_note(gateways: &Gateways) -> Option<String> {
    let checked = gateways.list.iter().any(|gateway| gateway.check.is_some());
    let several = Family::BOTH.into_iter().any(|family| {
        let of_family = |gateway: &&Gateway| Family::of(&gateway.address) == family;
        gateways.list.iter().filter(of_family).count() > 1
    });
    let consequence = match gateways.mode {
        Mode::Failover if several => "the first gateway that can be used carries the traffic",
        Mode::Ecmp => "every gateway that can be used carries traffic",
        Mode::Failover => "the gateway is used whether it answers or not",
    };
    (checked || (several && gateways.mode == Mode::Failover))
        .then(|| format!("no health check is running: {consequence}"))
}
