//! What is known of the node, arranged for looking up gateways: which link leads to one, and what is
//! in the way.
//!
//! The kernel would find the link by itself (`fib_check_nh_v4_gw` in net/ipv4/fib_semantics.c:
//! the gateway must be reached by a link-scope route of the route's own table, or of the main
//! one). srsync does the same lookup on what it observed and always names the link, so that a
//! route whose gateway moved to another link differs, and so that `plan` can say beforehand what
//! the kernel would refuse.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::claims::SlotClaim;
use super::{Inputs, Reason, ReasonCode};
use crate::model::{
    Address, Family, Gateway, IfIndex, InterfaceName, Link, Lookup, Metric, NextHop, Observed,
    ObservedRoute, Prefix, RouteKey, RouteType, Scope, TableId, Target, Tos,
};

/// What is known of the node, arranged for looking up gateways.
pub(super) struct Node<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) observed: &'a Observed,
    /// Routes straight out of a link: the connected subnets.
    connected: Vec<&'a ObservedRoute>,
}

impl<'a> Node<'a> {
    /// The node with these claims on it, which are asked for only where it matters: they take a while.
    pub(super) fn new<'c>(
        inputs: &'a Inputs<'a>,
        claims: impl Fn() -> &'c [SlotClaim],
        observed: &'a Observed,
    ) -> Self {
        let is_connected = |route: &&ObservedRoute| {
            let attrs = &route.route.attrs;
            attrs.kind == RouteType::Unicast
                && is_for_all_traffic(route)
                // Where an object leads, the route need not say.
                && attrs.nexthop.is_none()
                && attrs.hops().iter().all(|hop| hop.via.is_none())
                && (route.route.key.prefix.family() == Family::V6 || route.scope >= Scope::LINK)
        };
        // What this plan is about to take away or to change connects nothing: a gateway behind it
        // would be resolved now and be out of reach a moment later.
        let stays = |route: &&ObservedRoute| {
            route.protocol != inputs.policy.protocol || remains(inputs, claims(), observed, route)
        };
        let connected = observed.routes.iter().filter(is_connected).filter(stays);
        Self {
            inputs,
            observed,
            connected: connected.collect(),
        }
    }

    /// The link, if nothing can be sent on it.
    pub(super) fn without_carrier(&self, link: Option<IfIndex>) -> Option<&'a Link> {
        let link = self.observed.link(link?)?;
        (!link.carrier).then_some(link)
    }

    /// The hop to a gateway and the connected subnet that it is on.
    pub(super) fn next_hop(
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

    /// The hop to a gateway that is watched, or why it cannot be used: a line that is dead needs no
    /// probe.
    pub(super) fn usable(&self, gateway: &Gateway, table: TableId) -> Result<NextHop, Reason> {
        let (hop, _) = self.next_hop(gateway, table)?;
        match self.without_carrier(hop.link) {
            None => Ok(hop),
            Some(link) => {
                let message = format!("link {} has no carrier", link.name);
                Err(Reason::new(ReasonCode::LinkDown, message))
            }
        }
    }

    /// The most specific connected subnet with `address`, of the route's own table if it has one,
    /// else of the main table; only of `link` where one is wanted.
    pub(super) fn connected_to(
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

    /// The way to `address` by the main table, as if there were no routes of ours.
    pub(super) fn foreign_way_to(&self, address: IpAddr) -> Option<Lookup> {
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

    pub(super) fn link_up(&self, name: &InterfaceName) -> Result<&'a Link, Reason> {
        match self.observed.link_named(name.as_str()) {
            None => Err(Reason::new(
                ReasonCode::NoInterface,
                format!("there is no interface {name} on this node"),
            )),
            Some(link) if !link.up => Err(link_down(link)),
            Some(link) => Ok(link),
        }
    }

    pub(super) fn check_up(&self, index: IfIndex, gateway: IpAddr) -> Result<(), Reason> {
        match self.observed.link(index) {
            Some(link) if !link.up => Err(link_down(link)),
            Some(_) => Ok(()),
            None => Err(Reason::new(
                ReasonCode::NoInterface,
                format!("the interface towards gateway {gateway} is gone"),
            )),
        }
    }

    pub(super) fn check_not_local(&self, gateway: IpAddr) -> Result<(), Reason> {
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

    pub(super) fn check_source(&self, source: IpAddr) -> Result<(), Reason> {
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

    pub(super) fn not_connected(&self, gateway: &Gateway) -> Reason {
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
    pub(super) fn link_down_towards(&self, gateway: IpAddr) -> Option<&'a Link> {
        let addresses = self.observed.addresses.iter();
        let towards = addresses.filter(|address| {
            let subnet = address.peer.unwrap_or(address.local);
            Prefix::containing(subnet, address.length).is_some_and(|s| s.contains(gateway))
        });
        let mut links = towards.filter_map(|address| self.observed.link(address.link));
        links.find(|link| !link.up)
    }

    pub(super) fn link_name(&self, index: IfIndex) -> String {
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

fn link_down(link: &Link) -> Reason {
    Reason::new(
        ReasonCode::LinkDown,
        format!(
            "link {} is down; `ip link set {} up` brings it up",
            link.name, link.name
        ),
    )
}
