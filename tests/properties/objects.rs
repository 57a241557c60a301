//! What holds of nexthop objects, through every life that a node with watched gateways leads: others
//! delete our objects and use them, links go and come back, gateways fall and rise, documents change.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use srsync::model::document::{HealthCheck, OnAllDown, Probe};
use srsync::plan::objects::{self, ObjectSet};

use super::simulation::{converge, remove_object};
use super::*;

const OTHERS: Protocol = Protocol::new(186);

/// Gateways by links 1, 1, 2 and 3, the last of which is down at first.
const GATEWAYS: [(&str, &str); 4] = [
    ("10.0.1.7", "2001:db8:1::7"),
    ("10.0.1.8", "2001:db8:1::8"),
    ("10.0.2.7", "2001:db8:2::7"),
    ("10.0.3.7", "2001:db8:3::7"),
];

/// What happens to a node.
#[derive(Debug, Clone)]
enum Deed {
    /// A document of another number of gateways, or none.
    Document(usize, Option<Wish>),
    /// Which of a document's gateways carry, which stand by: by bits, so that every choice is there.
    Steer(usize, u8, u8),
    /// A link loses its carrier, or has it again.
    Carrier(u32, bool),
    /// Somebody deletes an object of ours.
    Delete(usize),
    /// Somebody leads a route of his by an object of ours.
    Route(usize),
    /// Somebody makes a group with an object of ours, with a number that might be ours.
    Group(usize, u32),
}

/// What a document says.
#[derive(Debug, Clone)]
struct Wish {
    gateways: Vec<usize>,
    mode: Mode,
    on_all_down: OnAllDown,
    destinations: u8,
}

fn wish() -> impl Strategy<Value = Wish> {
    let gateways = prop_oneof![
        3 => Just(vec![0, 2]),
        1 => Just(vec![0, 1]),
        1 => Just(vec![2]),
        1 => Just(vec![3, 2, 1, 0]),
    ];
    let mode = prop_oneof![2 => Just(Mode::Failover), 1 => Just(Mode::Ecmp)];
    let on_all_down = prop_oneof![
        Just(OnAllDown::Keep),
        Just(OnAllDown::Withdraw),
        Just(OnAllDown::Blackhole)
    ];
    (gateways, mode, on_all_down, 1..4u8).prop_map(|(gateways, mode, on_all_down, destinations)| {
        Wish {
            gateways,
            mode,
            on_all_down,
            destinations,
        }
    })
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0..3usize, proptest::option::weighted(0.8, wish())).prop_map(|(n, w)| Deed::Document(n, w)),
        6 => (0..3usize, any::<u8>(), any::<u8>()).prop_map(|(n, a, b)| Deed::Steer(n, a, b)),
        2 => (1..4u32, any::<bool>()).prop_map(|(link, there)| Deed::Carrier(link, there)),
        1 => (0..8usize).prop_map(Deed::Delete),
        1 => (0..8usize).prop_map(Deed::Route),
        1 => (0..8usize, 83_000_000..83_000_006u32).prop_map(|(n, id)| Deed::Group(n, id)),
    ]
}

struct World {
    node: Observed,
    wishes: [Option<Wish>; 3],
    steers: [(u8, u8); 3],
    /// What the kernel would not make.
    refused: HashSet<NextHopKind>,
}

impl World {
    fn new() -> Self {
        let link = |index: u32, up| Link {
            index: IfIndex::new(index),
            name: format!("eth{index}"),
            up: true,
            carrier: up,
            loopback: false,
        };
        let mut node = Observed {
            links: vec![link(1, true), link(2, true), link(3, false)],
            nexthop_objects: true,
            ..Observed::default()
        };
        for n in 1..4u32 {
            for prefix in [format!("10.0.{n}.0/24"), format!("2001:db8:{n}::/64")] {
                let key = RouteKey::new(TableId::MAIN, prefix.parse().unwrap(), Metric::ZERO);
                let attrs = RouteAttrs::unicast(vec![hop(None, n)]);
                node.routes.push(observed(key, attrs, Protocol::KERNEL));
            }
        }
        Self {
            node,
            wishes: [None, None, None],
            steers: [(1, 255); 3],
            refused: HashSet::new(),
        }
    }

    fn documents(&self) -> Vec<Document> {
        let wishes = self.wishes.iter().enumerate();
        wishes
            .filter_map(|(n, wish)| Some(document(n, wish.as_ref()?)))
            .collect()
    }

    fn steering(&self) -> Steering {
        let mut steering = Steering::default();
        for (n, wish) in self.wishes.iter().enumerate() {
            let Some(wish) = wish else { continue };
            for (family, first) in [(Family::V4, 0), (Family::V6, wish.gateways.len())] {
                let places = first..first + wish.gateways.len();
                let chosen = |bits: u8| {
                    let places = places.clone().enumerate();
                    let places = places.filter(move |(bit, _)| bits >> bit & 1 == 1);
                    places.map(|(_, place)| place)
                };
                let (carrying, standby) = self.steers[n];
                let mut candidates: Vec<usize> = chosen(carrying).collect();
                // `keep` has always something that carries.
                if candidates.is_empty() && wish.on_all_down == OnAllDown::Keep {
                    candidates.push(first);
                }
                if wish.mode == Mode::Failover {
                    candidates.truncate(1);
                }
                let others = chosen(standby).filter(|place| !candidates.contains(place));
                let standby = others.map(|place| Standby {
                    place,
                    proven: standby & 128 != 0,
                });
                let standby = standby.collect();
                let steer = Steer {
                    candidates,
                    standby,
                    ..Steer::default()
                };
                steering.set(id(n), family, steer);
            }
        }
        steering
    }

    fn with_inputs<T>(&self, run: impl FnOnce(&Inputs<'_>) -> T) -> T {
        let file = FileName {
            path: "routes.yaml".into(),
            label: "routes.yaml".into(),
        };
        run(&Inputs {
            egress: &[],
            documents: &self.documents(),
            policy: &Policy {
                allow_empty: true,
                ..Policy::default()
            },
            labels: &Labels::new(),
            unknown_labels: None,
            names: &Names::default(),
            files: &[file],
            steering: &self.steering(),
            objects: Some(&self.refused),
            incomplete: None,
        })
    }

    fn ours(&self) -> Vec<NextHopId> {
        let ours = self.node.nexthops.iter();
        let ours = ours.filter(|object| object.protocol == Protocol::SRSYNC);
        ours.map(|object| object.id).collect()
    }

    fn happen(&mut self, deed: &Deed) {
        match deed {
            Deed::Document(n, wish) => self.wishes[*n] = wish.clone(),
            Deed::Steer(n, carrying, standby) => self.steers[*n] = (*carrying, *standby),
            Deed::Carrier(link, there) => {
                let link = IfIndex::new(*link);
                let links = self.node.links.iter_mut();
                links
                    .filter(|l| l.index == link)
                    .for_each(|l| l.carrier = *there);
                let is_on = |object: &&NextHopObject| matches!(object.kind, Some(NextHopKind::Single { link: on, .. }) if on == link);
                let gone = self.node.nexthops.iter().filter(is_on);
                let gone: Vec<NextHopId> = gone.map(|object| object.id).collect();
                if !there {
                    gone.into_iter()
                        .for_each(|id| remove_object(id, &mut self.node));
                }
            }
            Deed::Delete(n) => {
                if let Some(id) = self.ours().get(*n) {
                    remove_object(*id, &mut self.node);
                }
            }
            Deed::Route(n) => {
                let key = RouteKey::new(TableId::new(77), v4([203, 0, 113, 0], 24), Metric::ZERO);
                if let Some(id) = self.ours().get(*n) {
                    self.node.routes.retain(|route| route.route.key != key);
                    let attrs = RouteAttrs::by_nexthop(*id);
                    self.node.routes.push(observed(key, attrs, OTHERS));
                }
            }
            Deed::Group(n, id) => {
                let id = NextHopId::new(*id);
                let single = |id: &&NextHopId| {
                    let kind = self.node.nexthop(**id).and_then(|o| o.kind.as_ref());
                    !matches!(kind, Some(NextHopKind::Group(_)))
                };
                let member = self.ours().iter().filter(single).nth(*n).copied();
                let free = self.node.nexthops.binary_search_by_key(&id, |o| o.id);
                if let (Some(member), Err(place)) = (member, free) {
                    let member = NextHopMember {
                        id: member,
                        weight: Weight::ONE,
                    };
                    let group = NextHopGroup::new(vec![member], None);
                    let object = NextHopObject {
                        id,
                        protocol: OTHERS,
                        kind: Some(NextHopKind::Group(group)),
                    };
                    self.node.nexthops.insert(place, object);
                }
            }
        }
    }

    /// As a kernel before 5.13 teaches: whatever is asked for is refused, until nothing more is asked for.
    fn learn_that_no_group_is_resilient(&mut self) {
        for _ in 0..8 {
            let plan = self.with_inputs(|inputs| plan::plan(inputs, &self.node));
            let kinds = plan.objects.changes.into_iter().map(|change| change.kind);
            let is_resilient =
                |kind: &NextHopKind| matches!(kind, NextHopKind::Group(g) if g.resilient.is_some());
            let refused: Vec<NextHopKind> = kinds.filter(is_resilient).collect();
            if refused.is_empty() {
                return;
            }
            self.refused.extend(refused);
        }
        panic!("what is refused is asked for again and again");
    }

    /// The sets of a plan that finds everything done.
    fn sets(&self) -> Vec<ObjectSet> {
        self.with_inputs(|inputs| plan::plan(inputs, &self.node).objects.sets)
    }
}

fn id(n: usize) -> DocumentId {
    DocumentId {
        name: format!("doc-{n}"),
        namespace: None,
        dialect: Dialect::Native,
    }
}

fn document(n: usize, wish: &Wish) -> Document {
    let place = Place {
        file: FileId(0),
        line: n as u32 + 1,
    };
    let check = HealthCheck {
        probe: Probe::Icmp,
        targets: Vec::new(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        fall: 3,
        rise: 2,
        hold_down: Duration::from_secs(10),
    };
    let gateway = |address: &str| Gateway {
        address: address.parse::<IpAddr>().unwrap(),
        interface: None,
        weight: Weight::ONE,
        on_link: false,
        check: Some(check.clone()),
    };
    let v4_gateways = wish.gateways.iter().map(|g| gateway(GATEWAYS[*g].0));
    let v6_gateways = wish.gateways.iter().map(|g| gateway(GATEWAYS[*g].1));
    let prefixes = (0..wish.destinations).flat_map(|d| {
        let v6 = format!("2001:db8:{:x}::/48", 0x100 + 16 * n + usize::from(d));
        [v4([198, 18 + n as u8, d, 0], 24), v6.parse().unwrap()]
    });
    let prefixes: BTreeSet<Prefix> = prefixes.collect();
    let destinations = prefixes
        .into_iter()
        .map(|prefix| Destination { prefix, place })
        .collect();
    let gateways = Gateways {
        list: v4_gateways.chain(v6_gateways).collect(),
        mode: wish.mode,
        on_all_down: wish.on_all_down,
        resilient: wish.mode == Mode::Ecmp && wish.destinations == 3,
        witness: Vec::new(),
        preempt: true,
    };
    Document::new(id(n), place, destinations, Target::Gateways(gateways))
}

/// Objects for some of the gateways, by bits, and those that drop packets.
fn refused(gateways: u8, blackhole: bool) -> HashSet<NextHopKind> {
    let mut refused = HashSet::new();
    for (place, (v4, v6)) in GATEWAYS.iter().enumerate() {
        for (family, via) in [(Family::V4, v4), (Family::V6, v6)] {
            if gateways >> place & 1 == 1 {
                refused.insert(NextHopKind::Single {
                    family,
                    via: via.parse().ok(),
                    link: IfIndex::new([1, 1, 2, 3][place]),
                    on_link: false,
                });
            }
            if blackhole {
                refused.insert(NextHopKind::Blackhole { family });
            }
        }
    }
    refused
}

/// What must be true of the node once a plan was carried out.
fn all_is_well(world: &World) {
    let node = &world.node;
    for route in &node.routes {
        if let Some(id) = route.route.attrs.nexthop {
            assert!(node.nexthop(id).is_some(), "a route by nothing");
        }
    }
    let held: BTreeSet<NextHopId> = node
        .nexthops
        .iter()
        .filter_map(|object| match &object.kind {
            Some(NextHopKind::Group(group)) => Some(group.members().iter().map(|m| m.id)),
            _ => None,
        })
        .flatten()
        .collect();
    for object in &node.nexthops {
        let refused = object
            .kind
            .as_ref()
            .is_some_and(|kind| world.refused.contains(kind));
        assert!(!refused, "{object:?} is refused");
    }
    let sets = world.sets();
    let wanted = |id: NextHopId| sets.iter().any(|set| set.refers_to(id));
    for ours in world.ours() {
        let leads = |r: &ObservedRoute| r.route.attrs.nexthop == Some(ours);
        let used = wanted(ours) || held.contains(&ours) || node.routes.iter().any(leads);
        assert!(used, "{ours} is of no use to anybody");
    }
    let wanted: Vec<&NextHopObject> = node.nexthops.iter().filter(|o| wanted(o.id)).collect();
    for (index, object) in wanted.iter().enumerate() {
        let twin = wanted[index + 1..].iter().find(|other| {
            !matches!(other.kind, Some(NextHopKind::Group(_))) && other.kind == object.kind
        });
        assert!(twin.is_none(), "{object:?} is there twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_objects_converge_and_those_of_others_stay(
        deeds in proptest::collection::vec(deed(), 1..25)
    ) {
        let mut world = World::new();
        for deed in &deeds {
            world.happen(deed);
            let mut node = world.node.clone();
            world.with_inputs(|inputs| converge(inputs, &mut node));
            world.node = node;
            all_is_well(&world);
        }
    }

    /// A kernel that refuses some objects takes nothing from documents that do without them.
    #[test]
    fn what_is_refused_keeps_nobody_else_from_objects(
        deeds in proptest::collection::vec(deed(), 1..15), bad in 1u8..16, blackhole in any::<bool>(),
        old in any::<bool>()
    ) {
        let mut world = World::new();
        world.refused = refused(bad, blackhole);
        for deed in &deeds {
            world.happen(deed);
            if old {
                world.learn_that_no_group_is_resilient();
            }
            let mut node = world.node.clone();
            world.with_inputs(|inputs| converge(inputs, &mut node));
            world.node = node;
            all_is_well(&world);
            let led = |world: &World| -> BTreeSet<(u32, Family)> {
                let sets = world.sets();
                let of_set = |set: &ObjectSet| {
                    let family = set.family;
                    set.documents.clone().into_iter().map(move |document| (document, family))
                };
                sets.iter().flat_map(of_set).collect()
            };
            let refused = std::mem::take(&mut world.refused);
            let everything = led(&world);
            world.refused = refused;
            let now = led(&world);
            prop_assert!(now.is_subset(&everything));
            let wishes: Vec<&Wish> = world.wishes.iter().flatten().collect();
            for (document, family) in everything.difference(&now) {
                let wish = wishes[*document as usize];
                let is_bad = wish.gateways.iter().any(|gateway| bad >> gateway & 1 == 1);
                let is_dropped = blackhole && wish.on_all_down == OnAllDown::Blackhole;
                let is_resilient = old && (wish.mode == Mode::Failover || wish.destinations == 3);
                prop_assert!(is_bad || is_dropped || is_resilient, "{wish:?} {family:?} {bad:b}");
            }
        }
    }

    /// A switch says of every set that it changes what a plan would have said, so that the pass after
    /// it finds nothing to do with that set, and the routes have not moved.
    #[test]
    fn a_switch_does_what_a_plan_would(
        wishes in proptest::array::uniform3(proptest::option::weighted(0.8, wish())),
        steers in proptest::collection::vec((0..3usize, any::<u8>(), any::<u8>()), 1..8),
    ) {
        let mut world = World::new();
        world.wishes = wishes;
        let mut node = world.node.clone();
        world.with_inputs(|inputs| converge(inputs, &mut node));
        world.node = node;
        for (n, carrying, standby) in steers {
            let sets = world.sets();
            world.steers[n] = (carrying, standby);
            let switches = world.with_inputs(|inputs| objects::switches(&sets, inputs));
            let planned = world.with_inputs(|inputs| plan::plan(inputs, &world.node));
            for switch in switches {
                let set = &sets[switch.set];
                let in_plan = planned.objects.sets.iter().find(|other| {
                    other.family == set.family && other.documents == set.documents
                });
                // Documents that were alike may have become different.
                if let Some(in_plan) = in_plan {
                    prop_assert_eq!(&in_plan.holds, &switch.to);
                    prop_assert_eq!(in_plan.group, switch.group);
                }
                let place = world.node.nexthops.iter().position(|o| o.id == switch.group);
                world.node.nexthops[place.unwrap()].kind = Some(NextHopKind::Group(switch.to));
            }
            let mut node = world.node.clone();
            world.with_inputs(|inputs| converge(inputs, &mut node));
            world.node = node;
            all_is_well(&world);
        }
    }
}
