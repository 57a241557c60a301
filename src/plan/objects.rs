//! Watched gateways → nexthop objects, so that to switch takes one message whatever the number of routes.
//!
//! One object for each gateway, one group for each set of gateways, and the routes of the set's
//! documents refer to the group. Nothing is written down: after a restart a set finds its group
//! again by the routes that refer to it, and an object by what it does.
//!
//! In `failover` the group holds the gateways of other links beside the one that carries, as one
//! resilient group whose buckets are so few that rounding leaves them none (`nh_res_group_rebalance`,
//! net/ipv4/nexthop.c). When a link goes, the kernel takes its objects out of every group, and with
//! the last one the group and all its routes; so the next gateway takes over in the kernel itself,
//! and no route is lost.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Inputs;
use super::claims::{self, Selected};
use super::resolve::{Members, Resolved};
use crate::model::document::{Gateways, Mode, OnAllDown};
use crate::model::{
    Centiseconds, Document, Family, NextHop, NextHopGroup, NextHopId, NextHopKind, NextHopMember,
    Observed, ObservedRoute, Protocol, Resilient, RouteKey, Standby, TableId, Weight,
};

/// Gateways that stand by in a group at most: with more, the buckets would not round to none.
const STANDBY: usize = 3;

/// The type of groups in `failover`. Idle at once: what carries no longer is left at once.
const FAILOVER: Resilient = Resilient {
    buckets: STANDBY as u16 + 1,
    idle_timer: Centiseconds::new(0),
    unbalanced_timer: Centiseconds::new(0),
};

/// The share of the gateway that carries beside those that stand by with [`Weight::ONE`].
const ALL: Weight = Weight::from_hops(255);

/// Numbers of ours begin at so many times the protocol number: `nhid 83000001` in `ip route` is
/// recognised, and the low numbers that others begin with stay free.
const NUMBERS: u32 = 1_000_000;

/// The nexthop objects of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// What is made or changed before any route, in this order.
    pub changes: Vec<ObjectChange>,
    /// Ours, of no use, and nobody leads by them: these go, groups first.
    pub orphans: Vec<NextHopId>,
    /// The sets, as they are once the plan is carried out.
    pub sets: Vec<ObjectSet>,
}

impl Objects {
    /// Whether there is nothing to do.
    pub fn are_settled(&self) -> bool {
        self.changes.is_empty() && self.orphans.is_empty()
    }
}

/// A nexthop object to make or to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChange {
    /// Its number: free, or ours.
    pub id: NextHopId,
    /// What it is to do.
    pub kind: NextHopKind,
    /// Whether it is there already.
    pub exists: bool,
}

/// A set of gateways that one group stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSet {
    /// The family of its gateways.
    pub family: Family,
    /// Documents whose routes refer to the group, by their index.
    pub documents: Vec<u32>,
    /// The group.
    pub group: NextHopId,
    /// What it holds.
    pub holds: NextHopGroup,
    ways: Ways,
}

/// The objects that a set can do with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ways {
    /// Those of its gateways, by their place in the documents' list, as far as their links carry
    /// anything.
    gateways: BTreeMap<usize, (NextHopId, NextHop)>,
    /// The one that drops packets, where the documents may want that.
    blackhole: Option<NextHopId>,
}

/// One group that holds something else from now on, and nothing beside it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Which of the sets.
    pub set: usize,
    /// Its group.
    pub group: NextHopId,
    /// What it is thought to hold.
    pub from: NextHopGroup,
    /// What it is to hold.
    pub to: NextHopGroup,
}

/// What `inputs.steering` changes about the sets of an earlier plan over the same documents, as far
/// as groups alone can do it: whatever takes more is left to a plan.
pub fn switches(sets: &[ObjectSet], inputs: &Inputs<'_>) -> Vec<Switch> {
    let switch = |(index, set): (usize, &ObjectSet)| {
        let document = inputs.documents.get(*set.documents.first()? as usize)?;
        let gateways = document.choice()?;
        let steer = inputs.steering.of(&document.id, set.family)?;
        if steer.candidates.is_empty() && gateways.on_all_down != OnAllDown::Blackhole {
            return None;
        }
        let to = set.ways.content(
            gateways,
            &steer.candidates,
            &steer.standby,
            Some(&set.holds),
        )?;
        (to != set.holds).then(|| Switch {
            set: index,
            group: set.group,
            from: set.holds.clone(),
            to,
        })
    };
    sets.iter().enumerate().filter_map(switch).collect()
}

impl ObjectSet {
    /// Whether this is its group, or an object of its own.
    pub fn refers_to(&self, id: NextHopId) -> bool {
        let mut gateways = self.ways.gateways.values();
        id == self.group || Some(id) == self.ways.blackhole || gateways.any(|(way, _)| *way == id)
    }
}

impl Ways {
    /// A group in which these gateways carry, by their places; where there are none, all is dropped.
    /// `now` is what it holds, if it is there.
    fn content(
        &self,
        gateways: &Gateways,
        carrying: &[usize],
        standby: &[Standby],
        now: Option<&NextHopGroup>,
    ) -> Option<NextHopGroup> {
        let member = |id, weight| NextHopMember { id, weight };
        let Some(first) = carrying.first() else {
            let nowhere = vec![member(self.blackhole?, Weight::ONE)];
            return Some(NextHopGroup::new(nowhere, resilience(gateways)));
        };
        if gateways.mode == Mode::Ecmp {
            let ways = carrying.iter().map(|place| self.gateways.get(place));
            let members = ways.map(|way| way.map(|(id, hop)| member(*id, hop.weight)));
            let members: Vec<NextHopMember> = members.collect::<Option<_>>()?;
            return Some(NextHopGroup::new(members, resilience(gateways)));
        }
        let (id, hop) = self.gateways.get(first)?;
        let mut links = vec![hop.link];
        let mut members = vec![member(*id, ALL)];
        let is_member = |id: &NextHopId| {
            now.is_none_or(|now| now.members().iter().any(|member| member.id == *id))
        };
        for standby in standby {
            let Some((id, hop)) = self.gateways.get(&standby.place) else {
                continue;
            };
            let stands_by = standby.proven || is_member(id);
            if stands_by && members.len() <= STANDBY && !links.contains(&hop.link) {
                links.push(hop.link);
                members.push(member(*id, Weight::ONE));
            }
        }
        Some(NextHopGroup::new(members, resilience(gateways)))
    }
}

/// The type of a set's group.
fn resilience(gateways: &Gateways) -> Option<Resilient> {
    match gateways.mode {
        Mode::Failover => Some(FAILOVER),
        Mode::Ecmp => gateways.resilient.then(|| spread(gateways)),
    }
}

/// Buckets enough for the shares of all gateways, whether they are up or not, for the kernel cannot
/// change their number; times as the kernel has them by default (`nh_res_table_alloc`).
fn spread(gateways: &Gateways) -> Resilient {
    let weights = gateways.list.iter().map(|g| u32::from(g.weight.get()));
    let wanted = weights.sum::<u32>().saturating_mul(8).next_power_of_two();
    Resilient {
        buckets: u16::try_from(wanted.clamp(128, 1 << 15)).unwrap_or(1 << 15),
        idle_timer: Centiseconds::new(12_000),
        unbalanced_timer: Centiseconds::new(0),
    }
}

/// Where packets go that a group leads: for one in `failover` to the gateway that carries, else to
/// all of them. Without those that drop.
pub fn carrying(group: &NextHopGroup, observed: &Observed) -> Vec<NextHop> {
    let members = group.members();
    let most = members.iter().map(|member| member.weight).max();
    let hop = |member: &NextHopMember| {
        let stands_by = group.resilient == Some(FAILOVER) && Some(member.weight) != most;
        match observed.nexthop(member.id)?.kind {
            Some(NextHopKind::Single {
                via, link, on_link, ..
            }) if !stands_by => Some(NextHop {
                via,
                link: Some(link),
                weight: member.weight,
                on_link,
            }),
            _ => None,
        }
    };
    members.iter().filter_map(hop).collect()
}

/// Finds or invents the objects of all sets, and tells the documents' routes their group. `there` is
/// sorted by slot.
pub(super) fn objects(
    inputs: &Inputs<'_>,
    selected: &Selected,
    resolved: &mut [Resolved],
    there: &[&ObservedRoute],
    observed: &Observed,
) -> Objects {
    if !observed.nexthop_objects {
        return Objects::default();
    }
    let none = HashSet::new();
    let mut work = Work {
        observed,
        refused: inputs.objects.unwrap_or(&none),
        protocol: inputs.policy.protocol,
        numbers: Numbers::new(inputs.policy.protocol, observed),
        led: there.iter().filter_map(|r| r.route.attrs.nexthop).collect(),
        changes: Vec::new(),
        used: BTreeSet::new(),
    };
    let mut drafts = Vec::new();
    for alike in alike(inputs, selected, resolved) {
        let ways = work.ways(&alike);
        let Members {
            carrying, standby, ..
        } = &alike.members;
        let found = work.found(inputs, &alike, there);
        let now = found.and_then(|id| work.group(id));
        if let Some(holds) = ways.content(alike.gateways, carrying, standby, now) {
            drafts.push(Draft {
                found,
                alike,
                ways,
                holds,
            });
        }
    }
    let sets = work.groups(drafts);
    work.settle_for(&sets);
    for set in &sets {
        for document in &set.documents {
            if let Some(resolved) = resolved.get_mut(*document as usize) {
                resolved.lead_by(set.family, set.group);
            }
        }
    }
    Objects {
        orphans: work.orphans(),
        changes: work.changes,
        sets,
    }
}

/// Documents of one family that want the same of the same gateways.
struct Alike<'a> {
    family: Family,
    documents: Vec<u32>,
    gateways: &'a Gateways,
    members: Members,
}

fn alike<'a>(inputs: &Inputs<'a>, selected: &'a Selected, resolved: &[Resolved]) -> Vec<Alike<'a>> {
    let mut places = BTreeMap::new();
    let mut sets: Vec<Alike<'a>> = Vec::new();
    for (index, document) in claims::selected_documents(inputs, selected) {
        let Some(gateways) = document.choice() else {
            continue;
        };
        for family in Family::BOTH {
            let Some(members) = resolved[index as usize].members(family) else {
                continue;
            };
            let place = *places
                .entry((family, gateways, members.wanted()))
                .or_insert(sets.len());
            match sets.get_mut(place) {
                Some(set) => set.documents.push(index),
                None => sets.push(Alike {
                    family,
                    documents: vec![index],
                    gateways,
                    members: members.clone(),
                }),
            }
        }
    }
    sets
}

/// A set without a number yet.
struct Draft<'a> {
    alike: Alike<'a>,
    ways: Ways,
    holds: NextHopGroup,
    /// The group that its routes refer to now.
    found: Option<NextHopId>,
}

struct Work<'a> {
    observed: &'a Observed,
    /// What the kernel would not make: a set that needs it has plain routes.
    refused: &'a HashSet<NextHopKind>,
    protocol: Protocol,
    numbers: Numbers,
    /// The objects that some route refers to, whosever they are.
    led: BTreeSet<NextHopId>,
    changes: Vec<ObjectChange>,
    used: BTreeSet<NextHopId>,
}

impl Work<'_> {
    /// An object for each gateway that could carry: when it has to, nothing is left to be made.
    fn ways(&mut self, alike: &Alike<'_>) -> Ways {
        let family = alike.family;
        let single = |hop: &NextHop| {
            Some(NextHopKind::Single {
                family,
                via: hop.via,
                link: hop.link?,
                on_link: hop.on_link,
            })
        };
        let mut ways = Ways::default();
        for (place, hop) in &alike.members.ways {
            if let Some(id) = single(hop).and_then(|kind| self.object(kind)) {
                ways.gateways.insert(*place, (id, *hop));
            }
        }
        if alike.gateways.on_all_down == OnAllDown::Blackhole {
            ways.blackhole = self.object(NextHopKind::Blackhole { family });
        }
        ways
    }

    /// The object of ours that does this: one that is there, or a new one, unless it is refused.
    fn object(&mut self, kind: NextHopKind) -> Option<NextHopId> {
        let there =
            self.observed.nexthops.iter().find(|object| {
                object.protocol == self.protocol && object.kind.as_ref() == Some(&kind)
            });
        let made = || self.changes.iter().find(|change| change.kind == kind);
        let id = match there.map(|object| object.id).or_else(|| Some(made()?.id)) {
            Some(id) => id,
            None if self.refused.contains(&kind) => return None,
            None => {
                let id = self.numbers.next();
                let exists = false;
                self.changes.push(ObjectChange { id, kind, exists });
                id
            }
        };
        self.used.insert(id);
        Some(id)
    }

    /// What a number stands for, if it is a group of ours.
    fn group(&self, id: NextHopId) -> Option<&NextHopGroup> {
        let object = self.observed.nexthop(id)?;
        match &object.kind {
            Some(NextHopKind::Group(group)) if object.protocol == self.protocol => Some(group),
            _ => None,
        }
    }

    /// The group of the right type that routes of these documents refer to.
    fn found(
        &self,
        inputs: &Inputs<'_>,
        alike: &Alike<'_>,
        there: &[&ObservedRoute],
    ) -> Option<NextHopId> {
        // At first none is led, and looking for each destination would be for nothing.
        if self.led.is_empty() {
            return None;
        }
        let is_ours = |route: &&&ObservedRoute| route.protocol == self.protocol;
        let documents = alike.documents.iter().copied();
        let documents = documents.filter_map(|index| inputs.documents.get(index as usize));
        documents
            .flat_map(|document| slots(document, alike.family, inputs.policy.table))
            .find_map(|key| {
                let start = there.partition_point(|route| route.route.key < key);
                let slot = there.get(start..)?.iter();
                let slot = slot.take_while(|route| route.route.key == key);
                let id = slot.filter(is_ours).find_map(|r| r.route.attrs.nexthop)?;
                let fits = self.group(id)?.resilient == resilience(alike.gateways);
                fits.then_some(id)
            })
    }

    /// Gives each set its group. Where the routes of several sets refer to one group, as those of
    /// documents that have just become different do, it stays with the set that wants it as it is:
    /// nobody's packets go where only others want theirs, not even for a moment.
    fn groups(&mut self, drafts: Vec<Draft<'_>>) -> Vec<ObjectSet> {
        let mut finders: BTreeMap<NextHopId, usize> = BTreeMap::new();
        for id in drafts.iter().filter_map(|draft| draft.found) {
            *finders.entry(id).or_default() += 1;
        }
        let mut sets = Vec::new();
        for draft in drafts {
            let kept = draft.found.filter(|id| {
                let alone = finders.get(id) == Some(&1);
                let as_it_is = self.group(*id) == Some(&draft.holds);
                (alone || as_it_is) && !self.used.contains(id)
            });
            let kept = kept.or_else(|| self.spare(&draft.holds, &finders));
            let kind = NextHopKind::Group(draft.holds.clone());
            let is_there = kept.and_then(|id| self.group(id)) == Some(&draft.holds);
            if !is_there && self.refused.contains(&kind) {
                continue;
            }
            let id = kept.unwrap_or_else(|| self.numbers.next());
            self.used.insert(id);
            if !is_there {
                let exists = kept.is_some();
                self.changes.push(ObjectChange { id, kind, exists });
            }
            sets.push(ObjectSet {
                family: draft.alike.family,
                documents: draft.alike.documents,
                group: id,
                holds: draft.holds,
                ways: draft.ways,
            });
        }
        sets
    }

    /// What was meant for a set that did not come about, because something of it is refused, is not needed.
    fn settle_for(&mut self, sets: &[ObjectSet]) {
        let needed = |id: &NextHopId| sets.iter().any(|set| set.refers_to(*id));
        self.used.retain(needed);
        self.changes.retain(|change| needed(&change.id));
    }

    /// A group of ours that leads nobody, as after somebody took its routes away: better than another
    /// number, so that the routes will be as they were.
    fn spare(
        &self,
        holds: &NextHopGroup,
        finders: &BTreeMap<NextHopId, usize>,
    ) -> Option<NextHopId> {
        let ids = self.observed.nexthops.iter().map(|object| object.id);
        let mut spares = ids.filter(|id| {
            let fits = |group: &NextHopGroup| group.resilient == holds.resilient;
            self.is_spare(id) && !finders.contains_key(id) && self.group(*id).is_some_and(fits)
        });
        let first = spares.next()?;
        let is_same = |id: &NextHopId| self.group(*id) == Some(holds);
        let same = is_same(&first)
            .then_some(first)
            .or_else(|| spares.find(is_same));
        same.or(Some(first))
    }

    /// Whether no set wants an object and no route refers to it.
    fn is_spare(&self, id: &NextHopId) -> bool {
        !self.used.contains(id) && !self.led.contains(id)
    }

    /// Objects of ours that no set wants, no route refers to and no group holds, whosever they are;
    /// groups come first, for as long as one is there, its members are held.
    fn orphans(&self) -> Vec<NextHopId> {
        let (mut groups, mut others, mut held) = (Vec::new(), Vec::new(), BTreeSet::new());
        for object in &self.observed.nexthops {
            let spare = object.protocol == self.protocol && self.is_spare(&object.id);
            match &object.kind {
                Some(NextHopKind::Group(_)) if spare => groups.push(object.id),
                Some(NextHopKind::Group(group)) => {
                    held.extend(group.members().iter().map(|member| member.id));
                }
                _ if spare => others.push(object.id),
                _ => {}
            }
        }
        others.retain(|id| !held.contains(id));
        groups.extend(others);
        groups
    }
}

/// The slots of a document's destinations of one family, where `usual` is the configured table.
fn slots(document: &Document, family: Family, usual: TableId) -> impl Iterator<Item = RouteKey> {
    document
        .prefixes(family)
        .map(move |prefix| document.slot(prefix, usual))
}

/// Numbers that nobody has.
struct Numbers {
    taken: BTreeSet<NextHopId>,
    next: u32,
}

impl Numbers {
    fn new(protocol: Protocol, observed: &Observed) -> Self {
        Self {
            taken: observed.nexthops.iter().map(|object| object.id).collect(),
            next: u32::from(protocol.get()) * NUMBERS,
        }
    }

    fn next(&mut self) -> NextHopId {
        loop {
            // Wrapping: there are more numbers than a kernel has memory for.
            self.next = self.next.wrapping_add(1).max(1);
            let id = NextHopId::new(self.next);
            if self.taken.insert(id) {
                return id;
            }
        }
    }
}
