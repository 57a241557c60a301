//! Documents × a node × a policy, from universes so small that they collide: whatever they are,
//! planning and carrying out converges, keeps to the guards and changes nothing of others.

#![no_main]

#[path = "plan/egress.rs"]
mod egress;
#[path = "../../tests/support/simulation.rs"]
mod simulation;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use srsync::model::document::{Gateways, Mode, OnAllDown};
use srsync::model::*;
use srsync::plan::{self, Inputs};

/// The loopback interface, two links that are up, one that changes, one that is not there.
const LINKS: [(u32, &str); 5] = [
    (1, "lo"),
    (2, "eth1"),
    (3, "eth2"),
    (4, "eth3"),
    (9, "gone"),
];

const PREFIXES: [&str; 24] = [
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "10.0.0.0/16",
    "10.0.1.0/24",
    "10.0.1.7/32",
    "10.9.0.0/22",
    "10.9.0.0/23",
    "10.9.0.0/24",
    "10.9.1.0/24",
    "10.9.2.0/23",
    "10.9.3.0/24",
    "::/0",
    "::/1",
    "8000::/1",
    "2001:db8::/32",
    "2001:db8:1::/64",
    "2001:db8:1::7/128",
    "2001:db9::/46",
    "2001:db9::/47",
    "2001:db9::/48",
    "2001:db9:1::/48",
    "2001:db9:2::/47",
    "2001:db9:3::/48",
];

/// On the connected subnets, behind routes of our own, this node's own, and out of reach.
const GATEWAYS: [&str; 12] = [
    "10.0.1.7",
    "10.0.2.7",
    "10.0.1.1",
    "10.9.0.1",
    "10.9.2.1",
    "192.168.7.7",
    "2001:db8:1::7",
    "2001:db8:2::7",
    "2001:db8:1::1",
    "2001:db9::1",
    "2001:db9:2::1",
    "fe80::1",
];

/// Addresses of this node, one on the loopback interface's subnet, one of somebody else.
const SOURCES: [&str; 5] = [
    "10.0.1.1",
    "192.0.2.9",
    "10.0.9.9",
    "2001:db8:1::1",
    "2001:db8:9::9",
];

/// Everything a plan is made from.
#[derive(Debug)]
struct Case {
    documents: Vec<Document>,
    egress: Vec<Egress>,
    policy: Policy,
    node: Observed,
    incomplete: bool,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let policy = policy(u)?;
        let node = node(u)?;
        let mut documents = Vec::new();
        while documents.len() < 8 && !u.is_empty() && u.ratio(5, 6)? {
            documents.push(document(u, documents.len())?);
        }
        Ok(Self {
            documents,
            egress: egress::documents(u)?,
            policy,
            node,
            incomplete: u.ratio(1, 8)?,
        })
    }
}

fuzz_target!(|case: Case| {
    let file = FileName {
        path: "routes.yaml".into(),
        label: "routes.yaml".into(),
    };
    let inputs = Inputs {
        egress: &case.egress,
        documents: &case.documents,
        policy: &case.policy,
        labels: &Labels::from([("role".to_owned(), "egress".to_owned())]),
        unknown_labels: None,
        names: &Names::default(),
        files: &[file],
        steering: srsync::model::Steering::NONE,
        objects: None,
        incomplete: case.incomplete.then_some("a file cannot be read"),
    };
    let plan = plan::plan(&inputs, &case.node);
    assert_eq!(plan.documents.len(), case.documents.len());
    assert_eq!(plan.egress.documents.len(), case.egress.len());
    let mut turned = case.node.clone();
    // Within a slot the order has a meaning, across slots none.
    turned
        .routes
        .sort_by_key(|route| std::cmp::Reverse(route.route.key));
    turned
        .routes
        .sort_by_key(|route| route.route.key.prefix.length());
    assert_eq!(plan, plan::plan(&inputs, &turned));
    simulation::converge(&inputs, &mut case.node.clone());
});

fn policy(u: &mut Unstructured<'_>) -> Result<Policy> {
    Ok(Policy {
        protocol: Protocol::new(*u.choose(&[83, 83, 83, 4, 99])?),
        table: table(u)?.unwrap_or(TableId::MAIN),
        protected_subnets: match u.int_in_range(0..=3)? {
            0 => vec![prefix(u)?],
            1 => vec![prefix(u)?, prefix(u)?],
            _ => Vec::new(),
        },
        allow_default_route: u.arbitrary()?,
        allow_catch_all_rules: u.arbitrary()?,
        allow_empty: u.arbitrary()?,
        max_removals: match u.int_in_range(0..=5)? {
            0 => Some(MaxRemovals::Count(u.int_in_range(0..=3)?)),
            1 => Some(MaxRemovals::Percent(u.int_in_range(0..=100)?)),
            _ => None,
        },
        foreign_routes: match u.arbitrary()? {
            true => ForeignRoutes::Adopt,
            false => ForeignRoutes::Refuse,
        },
        gateway_lookup: address(u, &GATEWAYS)?,
    })
}

fn node(u: &mut Unstructured<'_>) -> Result<Observed> {
    let mut node = Observed::default();
    for (index, name) in LINKS {
        let (there, up) = match name {
            "eth3" => *u.choose(&[(true, true), (true, false), (false, false)])?,
            "gone" => (false, false),
            _ => (true, true),
        };
        if there {
            node.links.push(Link {
                index: IfIndex::new(index),
                name: name.to_owned(),
                up,
                carrier: up,
                loopback: name == "lo",
            });
        }
    }
    for (local, length, link) in [
        ("192.0.2.1", 24, 1),
        ("10.0.1.1", 24, 2),
        ("10.0.2.1", 24, 3),
        ("2001:db8:1::1", 64, 2),
        ("2001:db8:2::1", 64, 3),
    ] {
        if u.ratio(4, 5)? {
            let local: IpAddr = parsed(local);
            node.addresses.push(Address {
                link: IfIndex::new(link),
                local,
                length,
                peer: None,
            });
            if let (Some(prefix), true) = (Prefix::containing(local, length), link > 1) {
                let attrs = RouteAttrs::unicast(vec![hop(None, link)]);
                node.routes.push(ObservedRoute {
                    scope: attrs.scope(prefix.family()),
                    route: Route {
                        key: RouteKey::new(TableId::MAIN, prefix, Metric::new(0)),
                        attrs: Arc::new(attrs),
                    },
                    protocol: Protocol::KERNEL,
                });
            }
        }
    }
    // Input that has run out gives the same route for ever.
    while node.routes.len() < 24 && !u.is_empty() && u.ratio(7, 8)? {
        let route = past_route(u)?;
        if fits(&node.routes, &route) {
            node.routes.push(route);
        }
    }
    if u.ratio(1, 2)? {
        let lookup = Lookup {
            via: u
                .arbitrary::<bool>()?
                .then(|| address(u, &GATEWAYS))
                .transpose()?,
            link: IfIndex::new(u.choose(&LINKS)?.0),
            protocol: Protocol::new(*u.choose(&[83, 4, 2])?),
        };
        node.lookups.insert(address(u, &GATEWAYS)?, lookup);
    }
    node.egress = egress::observed(u, &node.links)?;
    Ok(node)
}

/// Whether the kernel would take `route` beside those that are in its slot (`ip route append`).
/// IPv4 wants some difference, the owner's number is enough. IPv6 makes all routes with a gateway
/// one group, and takes only one without a gateway on each link (`rt6_duplicate_nexthop`,
/// include/net/ip6_route.h), the loopback interface for those that go nowhere.
fn fits(routes: &[ObservedRoute], route: &ObservedRoute) -> bool {
    let device = |route: &ObservedRoute| match route.route.attrs.hops() {
        [] => Some(Some(IfIndex::new(1))),
        hops if hops.iter().any(|hop| hop.via.is_some()) => None,
        hops => hops.first().map(|hop| hop.link),
    };
    let mut slot = routes
        .iter()
        .filter(|other| other.route.key == route.route.key);
    match route.route.key.prefix.family() {
        Family::V4 => !slot.any(|other| other == route),
        Family::V6 => !slot.any(|other| device(other) == device(route)),
    }
}

fn past_route(u: &mut Unstructured<'_>) -> Result<ObservedRoute> {
    let prefix = prefix(u)?;
    let family = prefix.family();
    let mut key = RouteKey::new(table(u)?.unwrap_or(TableId::MAIN), prefix, metric(u)?);
    if family == Family::V4 && u.ratio(1, 8)? {
        key.tos = Tos::new(16);
    }
    let mut attrs = match u.int_in_range(0..=9)? {
        0 => RouteAttrs::without_hops(RouteType::Blackhole),
        1 => RouteAttrs::without_hops(*u.choose(&[
            RouteType::Unreachable,
            RouteType::Prohibit,
            RouteType::Throw,
            RouteType::Other(2),
        ])?),
        2..=4 => RouteAttrs::unicast(vec![hop(None, u.choose(&LINKS)?.0)]),
        _ => RouteAttrs::unicast(past_hops(u, family)?),
    };
    if u.ratio(1, 4)? {
        attrs.source = source(u)?.filter(|source| Family::of(source) == family);
        attrs.mtu = mtu(u)?;
        attrs.advmss = u.ratio(1, 4)?.then_some(AdvMss::new(1360));
        attrs.extra = u.ratio(1, 4)?;
    }
    let protocol = Protocol::new(*u.choose(&[83, 83, 83, 4, 186, 99])?);
    let scope = match family {
        Family::V4 if u.ratio(1, 8)? => *u.choose(&[Scope::UNIVERSE, Scope::LINK, Scope::HOST])?,
        _ => attrs.scope(family),
    };
    Ok(ObservedRoute {
        route: Route {
            key,
            attrs: Arc::new(attrs),
        },
        protocol,
        scope,
    })
}

/// One to three different gateways, of the family (IPv4 also by way of IPv6, RFC 5549).
fn past_hops(u: &mut Unstructured<'_>, family: Family) -> Result<Vec<NextHop>> {
    let mut hops: Vec<NextHop> = Vec::new();
    for _ in 0..u.int_in_range(1..=3)? {
        let via = address(u, &GATEWAYS)?;
        let usable = family == Family::V4 || Family::of(&via) == family;
        let mut hop = hop(Some(via), u.int_in_range(2..=3)?);
        hop.weight = weight(u)?;
        hop.on_link = u.ratio(1, 8)?;
        if usable
            && !hops
                .iter()
                .any(|other| (other.via, other.link) == (hop.via, hop.link))
        {
            hops.push(hop);
        }
    }
    if hops.is_empty() {
        let via = if family == Family::V4 {
            "10.0.1.7"
        } else {
            "2001:db8:1::7"
        };
        hops.push(hop(Some(parsed(via)), 2));
    }
    Ok(hops)
}

fn document(u: &mut Unstructured<'_>, index: usize) -> Result<Document> {
    let place = Place {
        file: FileId(0),
        line: index as u32 + 1,
    };
    let mut prefixes = BTreeSet::new();
    for _ in 0..u.int_in_range(1..=4)? {
        prefixes.insert(prefix(u)?);
    }
    Ok(Document {
        id: DocumentId {
            name: format!("doc-{index}"),
            namespace: None,
            dialect: Dialect::Native,
        },
        place,
        destinations: simulation::disjoint(prefixes)
            .map(|prefix| Destination { prefix, place })
            .collect(),
        target: target(u)?,
        table: table(u)?,
        metric: u.arbitrary::<bool>()?.then(|| metric(u)).transpose()?,
        source: if u.ratio(1, 4)? { source(u)? } else { None },
        mtu: mtu(u)?,
        advmss: u.ratio(1, 8)?.then_some(AdvMss::new(1360)),
        selector: selector(u)?,
        notes: Vec::new(),
    })
}

fn selector(u: &mut Unstructured<'_>) -> Result<NodeSelector> {
    let mut selector = NodeSelector::default();
    if u.ratio(1, 8)? {
        let key = u.choose(&["role", "absent"])?.to_string();
        let values = vec!["egress".to_owned()];
        let operator = match u.int_in_range(0..=3)? {
            0 => selector::Operator::In(values),
            1 => selector::Operator::NotIn(values),
            2 => selector::Operator::Exists,
            _ => selector::Operator::DoesNotExist,
        };
        selector
            .requirements
            .push(selector::Requirement { key, operator });
    }
    Ok(selector)
}

fn target(u: &mut Unstructured<'_>) -> Result<Target> {
    Ok(match u.int_in_range(0..=9)? {
        0 => Target::Nowhere(*u.choose(&[
            RouteType::Blackhole,
            RouteType::Unreachable,
            RouteType::Prohibit,
            RouteType::Throw,
        ])?),
        1..=2 => Target::Interface(interface(u)?),
        3 => Target::Lookup(address(u, &GATEWAYS)?),
        4 => Target::ConfiguredLookup,
        _ => Target::Gateways(gateways(u)?),
    })
}

fn gateways(u: &mut Unstructured<'_>) -> Result<Gateways> {
    let mut list: Vec<Gateway> = Vec::new();
    for _ in 0..u.int_in_range(1..=4)? {
        let interface = if u.ratio(1, 3)? {
            Some(interface(u)?)
        } else {
            None
        };
        let gateway = Gateway {
            address: address(u, &GATEWAYS)?,
            on_link: interface.is_some() && u.ratio(1, 2)?,
            interface,
            weight: weight(u)?,
            check: None,
        };
        // The same gateway twice is a mistake that documents are not read with.
        if !list.iter().any(|other| other.address == gateway.address) {
            list.push(gateway);
        }
    }
    Ok(Gateways {
        list,
        mode: if u.arbitrary()? {
            Mode::Ecmp
        } else {
            Mode::Failover
        },
        on_all_down: *u.choose(&[OnAllDown::Keep, OnAllDown::Withdraw, OnAllDown::Blackhole])?,
        resilient: false,
        witness: Vec::new(),
        preempt: u.arbitrary()?,
    })
}

fn interface(u: &mut Unstructured<'_>) -> Result<InterfaceName> {
    let name = InterfaceName::new(u.choose(&LINKS)?.1);
    name.ok_or(arbitrary::Error::IncorrectFormat)
}

fn prefix(u: &mut Unstructured<'_>) -> Result<Prefix> {
    Ok(parsed(u.choose(&PREFIXES)?))
}

fn address(u: &mut Unstructured<'_>, of: &[&str]) -> Result<IpAddr> {
    Ok(parsed(u.choose(of)?))
}

fn source(u: &mut Unstructured<'_>) -> Result<Option<IpAddr>> {
    Ok(Some(address(u, &SOURCES)?))
}

fn table(u: &mut Unstructured<'_>) -> Result<Option<TableId>> {
    Ok(*u.choose(&[None, None, Some(TableId::MAIN), Some(TableId::new(1000))])?)
}

fn metric(u: &mut Unstructured<'_>) -> Result<Metric> {
    Ok(Metric::new(*u.choose(&[0, 0, 7, 1024])?))
}

fn mtu(u: &mut Unstructured<'_>) -> Result<Option<Mtu>> {
    Ok(*u.choose(&[None, None, None, Some(Mtu::new(1400)), Some(Mtu::new(9000))])?)
}

fn weight(u: &mut Unstructured<'_>) -> Result<Weight> {
    let weight = Weight::new(*u.choose(&[1, 1, 2, 256])?);
    weight.ok_or(arbitrary::Error::IncorrectFormat)
}

fn hop(via: Option<IpAddr>, link: u32) -> NextHop {
    NextHop {
        via,
        link: Some(IfIndex::new(link)),
        weight: Weight::ONE,
        on_link: false,
    }
}

/// A text of this file.
fn parsed<T: std::str::FromStr>(text: &str) -> T {
    let Ok(value) = text.parse() else {
        unreachable!("`{text}` is a constant of this file")
    };
    value
}
