//! The gateways that documents want watched: what probes say of them, and which of them carry.
//!
//! Owns the memory between two decisions; the decisions themselves are `gateway`'s, and pure. Probes
//! run elsewhere and come in as events. What is shown of it is made in `status`.

mod status;
mod withdrawn;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub(super) use self::withdrawn::Withdrawn;
use self::words::{isolation, probes, switched, turned};
use super::journal::News;
use super::time;
use crate::gateway::{
    Carry, Decider, Decision, Health, Member, Rules, Set, Settings, Via, Will, Witnesses,
};
use crate::model::document::{Gateways as Listed, HealthCheck, Probe};
use crate::model::{
    Document, DocumentId, Family, Gateway, InterfaceName, NextHopKind, Observed, RouteType,
    Standby, Steer, Steering, TableId, Target as Way,
};
use crate::plan::{self, Inputs, Reach, objects};
use crate::probe::{Probed, Target};
use crate::report::ProbeRecord;

/// For a gateway without a check of its own beside others that have one.
const HOLD_DOWN: Duration = Duration::from_secs(10);

/// What somebody decided about gateways.
pub(super) type Wills = BTreeMap<IpAddr, Will>;

/// All gateways that are watched, and what carries.
pub(super) struct Gateways {
    probes: watch::Sender<BTreeSet<Target>>,
    known: Known,
    withdrawn: Withdrawn,
    /// What probes of gateways came to, for whoever asks.
    records: BTreeMap<Target, Arc<ProbeRecord>>,
    wills: Wills,
    /// Gateways that this node cannot even ask, said once.
    unasked: BTreeSet<IpAddr>,
    /// How this node could use them, while the documents in force are those of the last decision.
    reaches: Option<Vec<Reach>>,
    /// Something has happened since then.
    stirred: bool,
    /// When a decision ends without any news.
    next: Option<Instant>,
}

/// What is remembered from one decision to the next.
#[derive(Default)]
struct Known {
    gateways: BTreeMap<Watched, Subject>,
    witnesses: BTreeMap<Witnessed, Witnesses>,
    deciders: BTreeMap<(DocumentId, Family), Decider>,
}

/// A gateway under watch.
struct Subject {
    health: Health,
    /// The link that it was last reached by: probes take no other.
    link: Option<InterfaceName>,
}

/// One gateway as it is watched: the same for all documents that want the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Watched {
    address: IpAddr,
    interface: Option<InterfaceName>,
    source: Option<IpAddr>,
    check: Option<HealthCheck>,
    table: TableId,
    witnesses: Option<Witnessed>,
}

/// Witnesses, and how they are asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Witnessed {
    addresses: Vec<IpAddr>,
    check: HealthCheck,
}

/// What steering came to.
#[derive(Default)]
pub(super) struct Steered {
    pub(super) steering: Steering,
    pub(super) news: Vec<News>,
    /// How often the traffic of a document goes another way by it.
    pub(super) switches: u64,
}

/// Whether somebody wants the gateways of this document watched, or decided about one of them.
fn is_watched(document: &Document, wills: &Wills) -> bool {
    let concerns =
        |gateway: &Gateway| gateway.check.is_some() || wills.contains_key(&gateway.address);
    listed(document).is_some_and(|listed| listed.list.iter().any(concerns))
}

fn listed(document: &Document) -> Option<&Listed> {
    match &document.target {
        Way::Gateways(listed) => Some(listed),
        _ => None,
    }
}

impl Gateways {
    pub(super) fn new(probes: watch::Sender<BTreeSet<Target>>, withdrawn: Withdrawn) -> Self {
        Self {
            probes,
            known: Known::default(),
            withdrawn,
            records: BTreeMap::new(),
            wills: Wills::new(),
            unasked: BTreeSet::new(),
            reaches: None,
            stirred: false,
            next: None,
        }
    }

    /// Whether to decide anew.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.stirred || self.next.is_some_and(|next| next <= now)
    }

    /// Other documents are in force.
    pub(super) fn documents_changed(&mut self) {
        self.reaches = None;
    }

    /// Takes over what somebody decided; it counts from the next steering on.
    pub(super) fn take_wills(&mut self, wills: Wills) {
        if self.wills != wills {
            self.wills = wills;
            // It may be about other documents than those that were looked at.
            self.reaches = None;
        }
    }

    /// When to steer again, if nothing happens.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// A probe has ended. Returns what is new by that; if anything is, it is time to steer.
    pub(super) fn probed(&mut self, probed: &Probed, now: Instant) -> Vec<News> {
        let gateway = probed.target.gateway;
        if let Some(record) = self.records.get(&*probed.target) {
            record.note(&probed.outcome, time());
        }
        // What goes wrong on this node says nothing about the gateway: no evidence, either way.
        if let Some(why) = probed.outcome.no_evidence() {
            if self.unasked.insert(gateway) {
                tracing::warn!("gateway {gateway} cannot be probed, and counts as it did: {why}");
            }
            return Vec::new();
        }
        self.unasked.remove(&gateway);
        let mut news = Vec::new();
        let answered = probed.outcome.is_answered();
        let Known {
            gateways,
            witnesses,
            ..
        } = &mut self.known;
        for (witnessed, witnesses) in witnesses.iter_mut() {
            let asks = witnessed.addresses.contains(&gateway)
                && witnessed.targets().any(|target| target == *probed.target);
            let turned = asks.then(|| witnesses.probe(gateway, answered, now));
            news.extend(
                turned
                    .flatten()
                    .map(|isolated| isolation(isolated, witnessed)),
            );
        }
        let nobody = Witnesses::new([], 1);
        for (watched, subject) in gateways {
            if !watched.is_probed_by(subject, &probed.target) {
                continue;
            }
            let witnesses = watched.witnesses.as_ref().and_then(|w| witnesses.get(w));
            let health = &mut subject.health;
            let turn = health.probe(probed.outcome.clone(), witnesses.unwrap_or(&nobody), now);
            news.extend(turn.map(|turn| turned(watched, &turn)));
        }
        self.stirred |= !news.is_empty();
        news
    }

    /// Decides which gateways carry, by what is known of them and of this node now, and asks for the
    /// probes that it takes.
    pub(super) fn steer(
        &mut self,
        inputs: &Inputs<'_>,
        observed: &Observed,
        now: Instant,
    ) -> Steered {
        let reaches = plan::reach(inputs, observed, |document| {
            is_watched(document, &self.wills)
        });
        let steered = self.decide(inputs, &reaches, Some(observed), now);
        self.reaches = Some(reaches);
        steered
    }

    /// Decides anew about the same documents on the same node, as far as is known; `None` where it is
    /// not known any more.
    pub(super) fn steer_again(&mut self, inputs: &Inputs<'_>, now: Instant) -> Option<Steered> {
        let reaches = self.reaches.take()?;
        let steered = self.decide(inputs, &reaches, None, now);
        self.reaches = Some(reaches);
        Some(steered)
    }

    fn decide(
        &mut self,
        inputs: &Inputs<'_>,
        reaches: &[Reach],
        observed: Option<&Observed>,
        now: Instant,
    ) -> Steered {
        self.stirred = false;
        // What nobody watches any more is forgotten.
        let mut work = Work {
            inputs,
            observed,
            now,
            before: std::mem::take(&mut self.known),
            known: &mut self.known,
            wills: &self.wills,
            withdrawn: &self.withdrawn,
            next: None,
            steered: Steered::default(),
        };
        for of_document in reaches.chunk_by(|a, b| a.document == b.document) {
            work.document(of_document);
        }
        let Work { next, steered, .. } = work;
        self.next = next;
        self.withdrawn.keep(&self.known);
        self.ask();
        steered
    }

    /// Asks for the probes of everything that is watched.
    fn ask(&mut self) {
        let before = std::mem::take(&mut self.records);
        let gateways = self.known.gateways.iter();
        for target in gateways.filter_map(|(watched, subject)| watched.target(subject)) {
            let record = before.get(&target).cloned().unwrap_or_default();
            self.records.insert(target, record);
        }
        let gateways = self.records.keys().cloned();
        let witnesses = self.known.witnesses.keys().flat_map(Witnessed::targets);
        let targets: BTreeSet<Target> = gateways.chain(witnesses).collect();
        self.probes.send_if_modified(|wanted| {
            let differs = *wanted != targets;
            *wanted = targets;
            differs
        });
    }
}

/// Steering, document by document.
struct Work<'a> {
    inputs: &'a Inputs<'a>,
    /// The node, where it was just looked at.
    observed: Option<&'a Observed>,
    now: Instant,
    /// What was known before.
    before: Known,
    /// What of it is still of use.
    known: &'a mut Known,
    wills: &'a Wills,
    withdrawn: &'a Withdrawn,
    next: Option<Instant>,
    steered: Steered,
}

/// A gateway of a document: its place in the list, and what a decision needs to know of it.
type Listing = (usize, Member);

impl Work<'_> {
    fn document(&mut self, reaches: &[Reach]) {
        let index = reaches.first().map_or(0, |reach| reach.document as usize);
        let inputs = self.inputs;
        let Some(document) = inputs.documents.get(index) else {
            return;
        };
        let Some(listed) = listed(document) else {
            return;
        };
        let witnessed = witnessed(listed);
        if let Some(witnessed) = &witnessed {
            self.witnesses(witnessed);
        }
        for family in Family::BOTH {
            let mut listings = Vec::new();
            for reach in reaches {
                let gateway = listed.list.get(reach.gateway);
                let Some(gateway) = gateway.filter(|g| Family::of(&g.address) == family) else {
                    continue;
                };
                let table = inputs.policy.table;
                let watched = Watched::of(document, gateway, table, witnessed.as_ref());
                listings.push((reach.gateway, self.member(watched, reach, gateway)));
            }
            if !listings.is_empty() {
                let isolated = witnessed.as_ref().is_some_and(|w| self.isolated(w));
                self.decide(document, family, &listings, isolated);
            }
        }
    }

    /// Goes on listening to witnesses, or begins to.
    fn witnesses(&mut self, witnessed: &Witnessed) {
        let before = self.before.witnesses.remove(witnessed);
        let fresh = || Witnesses::new(witnessed.addresses.iter().copied(), witnessed.check.fall);
        let entry = self.known.witnesses.entry(witnessed.clone());
        entry.or_insert_with(|| before.unwrap_or_else(fresh));
    }

    fn isolated(&self, witnessed: &Witnessed) -> bool {
        let witnesses = self.known.witnesses.get(witnessed);
        witnesses.is_some_and(Witnesses::isolated)
    }

    /// What a decision needs to know of a gateway, whose link counts at once.
    fn member(&mut self, watched: Watched, reach: &Reach, gateway: &Gateway) -> Member {
        let before = self.before.gateways.remove(&watched);
        let entry = self.known.gateways.entry(watched.clone());
        let Subject { health, link } = entry.or_insert_with(|| {
            before.unwrap_or_else(|| Subject {
                health: watched.health(),
                link: watched.interface.clone(),
            })
        });
        if reach.link.is_some() {
            link.clone_from(&reach.link);
        }
        let turn = match &reach.obstacle {
            Some(reason) => health.link_down(reason.message.as_str(), self.now),
            None => health.link_up(self.now),
        };
        self.steered
            .news
            .extend(turn.map(|turn| turned(&watched, &turn)));
        Member {
            via: Via::from(gateway),
            standing: health.standing(self.now),
            will: self
                .wills
                .get(&gateway.address)
                .copied()
                .unwrap_or_default(),
            hold_down: health.hold_down(),
        }
    }

    fn decide(
        &mut self,
        document: &Document,
        family: Family,
        listings: &[Listing],
        isolated: bool,
    ) {
        let Some(listed) = listed(document) else {
            return;
        };
        let key = (document.id.clone(), family);
        let before = self.before.deciders.remove(&key);
        let mut decider = before.unwrap_or_else(|| {
            let found = |observed| found(document, family, self.inputs, observed);
            let withdrawn = self.withdrawn.has(&document.id, family);
            let known = || withdrawn.then_some(Carry::Withdraw);
            Decider::new(self.observed.and_then(found).or_else(known), self.now)
        });
        let members: Vec<Member> = listings.iter().map(|(_, member)| member.clone()).collect();
        let set = Set {
            settings: Settings::from(listed),
            members: &members,
            isolated,
        };
        let decision = decider.decide(&set, self.now);
        self.known.deciders.insert(key, decider);
        let told = switched(document, &decision, &members);
        self.steered.news.extend(told);
        self.steered.switches += u64::from(decision.why.is_some());
        self.next = [self.next, decision.next].into_iter().flatten().min();
        let steer = steer(&decision, listings);
        self.steered
            .steering
            .set(document.id.clone(), family, steer);
    }
}

impl Watched {
    /// A gateway as a document wants it watched; `table` is that of documents that name none.
    fn of(
        document: &Document,
        gateway: &Gateway,
        table: TableId,
        witnesses: Option<&Witnessed>,
    ) -> Self {
        let of_family = |source: &IpAddr| Family::of(source) == Family::of(&gateway.address);
        Self {
            address: gateway.address,
            interface: gateway.interface.clone(),
            source: document.source.filter(of_family),
            check: gateway.check.clone(),
            table: document.table.unwrap_or(table),
            witnesses: witnesses.cloned(),
        }
    }

    fn via(&self) -> Via {
        Via {
            address: self.address,
            interface: self.interface.clone(),
        }
    }

    /// Whether this is what a probe was about: asked a thousand times a second, so nothing is copied.
    fn is_probed_by(&self, subject: &Subject, target: &Target) -> bool {
        self.address == target.gateway
            && subject.link == target.interface
            && self.source == target.source
            && self.check.as_ref() == Some(&target.check)
    }

    fn target(&self, subject: &Subject) -> Option<Target> {
        Some(Target {
            gateway: self.address,
            interface: subject.link.clone(),
            source: self.source,
            check: self.check.clone()?,
        })
    }

    fn health(&self) -> Health {
        match &self.check {
            Some(check) => Health::watched(Rules::from(check), probes(check, self.address)),
            None => Health::unwatched(HOLD_DOWN),
        }
    }
}

impl Witnessed {
    fn targets(&self) -> impl Iterator<Item = Target> {
        self.addresses.iter().map(|address| Target {
            gateway: *address,
            interface: None,
            source: None,
            check: self.check.clone(),
        })
    }
}

/// The witnesses of a document. They are pinged as often as its gateways are probed.
fn witnessed(listed: &Listed) -> Option<Witnessed> {
    let checks = listed
        .list
        .iter()
        .filter_map(|gateway| gateway.check.as_ref());
    let check = checks.min_by_key(|check| check.interval)?;
    (!listed.witness.is_empty()).then(|| Witnessed {
        addresses: listed.witness.clone(),
        check: HealthCheck {
            probe: Probe::Icmp,
            targets: Vec::new(),
            ..check.clone()
        },
    })
}

/// What carries, as the kernel's routes show it: after a restart it goes on from there.
fn found(
    document: &Document,
    family: Family,
    inputs: &Inputs<'_>,
    observed: &Observed,
) -> Option<Carry<Via>> {
    let first = document.prefixes(family).next()?;
    let key = document.slot(first, inputs.policy.table);
    let ours = observed
        .routes
        .iter()
        .find(|route| route.protocol == inputs.policy.protocol && route.route.key == key)?;
    let via = |hop: &crate::model::NextHop| {
        let link = hop.link.and_then(|link| observed.link(link));
        Some(Via {
            address: hop.via?,
            interface: link.and_then(|link| InterfaceName::new(&link.name)),
        })
    };
    let attrs = &ours.route.attrs;
    let hops = match attrs.nexthop {
        None if attrs.kind == RouteType::Blackhole => return Some(Carry::Blackhole),
        None => attrs.hops().to_vec(),
        Some(id) => match observed.nexthop(id)?.kind.as_ref()? {
            NextHopKind::Group(group) => objects::carrying(group, observed),
            _ => return None,
        },
    };
    let gateways: Vec<Via> = hops.iter().filter_map(via).collect();
    match (gateways.is_empty(), attrs.nexthop) {
        (false, _) => Some(Carry::Gateways(gateways)),
        // A group of ours that leads nowhere is one that drops.
        (true, Some(_)) => Some(Carry::Blackhole),
        (true, None) => None,
    }
}

/// A decision, for the plan.
fn steer(decision: &Decision, listings: &[Listing]) -> Steer {
    let carries = decision.carry.gateways();
    let candidates = carries.iter().filter_map(|index| listings.get(*index));
    let others = listings.iter().enumerate();
    let others = others.filter(|(index, _)| !carries.contains(index));
    let down = others.filter_map(|(_, (place, member))| {
        let why = member.standing.obstacle()?;
        Some((*place, format!("gateway {} is down: {why}", member.via)))
    });
    let stands_by = |(index, (place, member)): (usize, &Listing)| {
        let works = matches!(decision.carry, Carry::Gateways(_)) && !carries.contains(&index);
        let proven = works.then(|| member.could_carry()).flatten()?;
        let place = *place;
        Some(Standby { place, proven })
    };
    Steer {
        standby: listings.iter().enumerate().filter_map(stands_by).collect(),
        candidates: candidates.map(|(place, _)| *place).collect(),
        down: down.collect(),
    }
}
