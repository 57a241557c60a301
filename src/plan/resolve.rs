//! Gateways → next hops on this node: which of them, and what becomes of the routes where there are none.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::document::{Gateways, Mode, OnAllDown};
use crate::model::{
    Document, Family, Gateway, IfIndex, InterfaceName, NextHop, NextHopId, Prefix, RouteAttrs,
    RouteType, Standby, TableId, Target, Weight,
};

use super::claims::{self, Selected};
use super::node::Node;
use super::{Reason, ReasonCode};

/// A document's routes on this node, one result for each family.
#[derive(Default)]
pub(super) struct Resolved {
    v4: Option<Result<Way, Arc<Reason>>>,
    v6: Option<Result<Way, Arc<Reason>>>,
    pub(super) notes: Vec<String>,
}

/// Where the packets of one family of a document's destinations go.
pub(super) struct Way {
    /// By a plain route.
    pub(super) attrs: Arc<RouteAttrs>,
    /// The gateways among the hops, for the guard against self-capture.
    pub(super) gateways: Vec<Neighbour>,
    /// What it takes to go there by a nexthop object, where that is wanted.
    pub(super) members: Option<Members>,
    /// By that object, once there is one.
    pub(super) by_group: Option<Arc<RouteAttrs>>,
}

/// The gateways of a watched set, as members of a group.
#[derive(Clone, Default)]
pub(super) struct Members {
    /// All that could carry, by their place in the document's list.
    pub(super) ways: BTreeMap<usize, NextHop>,
    /// Which do; none where packets are dropped.
    pub(super) carrying: Vec<usize>,
    /// Which take over when a link goes, the first at first.
    pub(super) standby: Vec<Standby>,
    /// All that could carry, for the guard against self-capture.
    pub(super) gateways: Vec<Neighbour>,
}

impl Members {
    /// What makes one set different from another.
    pub(super) fn wanted(&self) -> impl Ord + use<'_> {
        (&self.ways, &self.carrying, &self.standby)
    }
}

/// Attributes, and the gateways among their hops.
type Through = (RouteAttrs, Vec<Neighbour>);

/// A gateway, and the connected subnet by which it is reached (`None`: it is declared on-link).
#[derive(Clone)]
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

    /// What a group for the gateways of a family takes, where one is wanted.
    pub(super) fn members(&self, family: Family) -> Option<&Members> {
        self.way(family)?.as_ref().ok()?.members.as_ref()
    }

    /// The routes of a family go by this group.
    pub(super) fn lead_by(&mut self, family: Family, group: NextHopId) {
        let way = match family {
            Family::V4 => self.v4.as_mut(),
            Family::V6 => self.v6.as_mut(),
        };
        if let Some(Ok(way)) = way {
            let mut attrs = RouteAttrs::clone(&way.attrs);
            attrs.nexthop = Some(group);
            way.by_group = Some(Arc::new(attrs));
        }
    }
}

/// Resolves every selected document; the others stay empty. One that may be has no way.
pub(super) fn resolve(node: &Node<'_>, selected: &Selected) -> Vec<Resolved> {
    let inputs = node.inputs;
    let mut resolved: Vec<Resolved> = Vec::new();
    resolved.resize_with(inputs.documents.len(), Resolved::default);
    for (index, document) in claims::selected_documents(inputs, selected) {
        let table = claims::table(inputs, document);
        let entry = &mut resolved[index as usize];
        for family in Family::BOTH {
            if document.prefixes(family).next().is_some() {
                let way = match selected[index as usize].undecided() {
                    Some(reason) => Err(reason.clone()),
                    None => node
                        .way(document, family, table, &mut entry.notes)
                        .map_err(Arc::new),
                };
                match family {
                    Family::V4 => entry.v4 = Some(way),
                    Family::V6 => entry.v6 = Some(way),
                }
            }
        }
        if let Some(gateways) = document.choice() {
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
    /// Index into [`super::Inputs::documents`].
    pub document: u32,
    /// Its place in the document's list of gateways.
    pub gateway: usize,
    /// The link that routes to it take, where there is one.
    pub link: Option<InterfaceName>,
    /// Why it cannot be used, if it cannot: its link is down, or it is on no connected subnet.
    pub obstacle: Option<Reason>,
}

/// How this node could use each gateway of the selected documents that `of_interest` names.
pub(super) fn reach(
    node: &Node<'_>,
    selected: &Selected,
    of_interest: impl Fn(&Document) -> bool,
) -> Vec<Reach> {
    let mut reaches = Vec::new();
    for (document, wanted) in claims::selected_documents(node.inputs, selected) {
        let undecided = selected[document as usize].undecided().is_some();
        if undecided || !of_interest(wanted) {
            continue;
        }
        let table = claims::table(node.inputs, wanted);
        for (gateway, described) in wanted.gateways().iter().enumerate() {
            let hop = node.usable(described, table);
            let link = hop
                .as_ref()
                .ok()
                .and_then(|hop| node.observed.link(hop.link?));
            reaches.push(Reach {
                document,
                gateway,
                link: link.and_then(|link| InterfaceName::new(&link.name)),
                obstacle: hop.err(),
            });
        }
    }
    reaches
}

impl Node<'_> {
    fn way(
        &self,
        document: &Document,
        family: Family,
        table: TableId,
        notes: &mut Vec<String>,
    ) -> Result<Way, Reason> {
        let mut members = None;
        let (mut attrs, gateways) = match &document.target {
            Target::Nowhere(kind) => (RouteAttrs::without_hops(*kind), Vec::new()),
            Target::Interface(name) => {
                let link = self.link_up(name)?;
                (RouteAttrs::unicast(vec![direct(link.index)]), Vec::new())
            }
            Target::Lookup(address) => self.looked_up(*address, table)?,
            Target::ConfiguredLookup => self.looked_up(self.inputs.policy.gateway_lookup, table)?,
            Target::Gateways(gateways) => {
                let (carrying, way) = self.through(document, gateways, family, notes)?;
                members = self.members(document, gateways, family, carrying);
                way
            }
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
            members,
            by_group: None,
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
    ) -> Result<(Vec<usize>, Through), Reason> {
        let table = claims::table(self.inputs, document);
        let (candidates, mut unusable) = self.candidates(document, gateways, family);
        let mut carrying = Vec::new();
        let mut hops = Vec::new();
        let mut neighbours = Vec::new();
        for (place, gateway) in candidates {
            match self.next_hop(gateway, table) {
                Ok((hop, subnet)) => {
                    carrying.push(place);
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
            let way = all_down(gateways.on_all_down, unusable, family, notes)?;
            return Ok((carrying, way));
        }
        let passed_over = unusable
            .iter()
            .map(|reason| format!("passed over: {reason}"));
        notes.extend(passed_over);
        Ok((carrying, (RouteAttrs::unicast(hops), neighbours)))
    }

    /// What it takes to lead the routes of a watched document by a nexthop object; `None` where
    /// plain routes have to do. No object can be made for a link without a carrier, and those there
    /// are go with it, while a plain route stays.
    fn members(
        &self,
        document: &Document,
        gateways: &Gateways,
        family: Family,
        carrying: Vec<usize>,
    ) -> Option<Members> {
        let steer = self.inputs.steering.of(&document.id, family)?;
        if self.inputs.objects.is_none() || !gateways.are_watched() {
            return None;
        }
        let table = claims::table(self.inputs, document);
        let mut members = Members::default();
        for (place, gateway) in of_family(gateways, family) {
            let Ok((hop, subnet)) = self.next_hop(gateway, table) else {
                continue;
            };
            if self.without_carrier(hop.link).is_none() {
                members.ways.insert(place, hop);
                members.gateways.push(Neighbour {
                    address: gateway.address,
                    subnet,
                });
            }
        }
        members.standby = steer.standby.clone();
        members
            .standby
            .retain(|standby| members.ways.contains_key(&standby.place));
        let complete = carrying
            .iter()
            .all(|place| members.ways.contains_key(place));
        members.carrying = carrying;
        complete.then_some(members)
    }

    /// The gateways of a family that may be used, preferred first, and why others may not.
    fn candidates<'g>(
        &self,
        document: &Document,
        gateways: &'g Gateways,
        family: Family,
    ) -> (Vec<(usize, &'g Gateway)>, Vec<Reason>) {
        let Some(steer) = self.inputs.steering.of(&document.id, family) else {
            return (of_family(gateways, family).collect(), Vec::new());
        };
        let candidates = steer.candidates.iter();
        let candidates = candidates.filter_map(|place| Some((*place, gateways.list.get(*place)?)));
        let down = steer.down.values();
        let down = down.map(|why| Reason::new(ReasonCode::GatewayDown, why.clone()));
        (candidates.collect(), down.collect())
    }

    /// The next hop that the kernel uses to reach `address`.
    fn looked_up(&self, address: IpAddr, table: TableId) -> Result<Through, Reason> {
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
}

/// The gateways of a family, with their places in the list.
fn of_family(gateways: &Gateways, family: Family) -> impl Iterator<Item = (usize, &Gateway)> {
    let places = gateways.list.iter().enumerate();
    places.filter(move |(_, gateway)| Family::of(&gateway.address) == family)
}

fn direct(link: IfIndex) -> NextHop {
    NextHop {
        via: None,
        link: Some(link),
        weight: Weight::ONE,
        on_link: false,
    }
}

/// What becomes of the routes when no gateway can be used. A gateway that is this node itself is a
/// mistake in the document or its selector, and nothing that has gone down.
fn all_down(
    says: OnAllDown,
    unusable: Vec<Reason>,
    family: Family,
    notes: &mut Vec<String>,
) -> Result<Through, Reason> {
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
