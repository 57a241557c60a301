//! What holds of every plan, whatever the documents and whatever the kernel has; and, in
//! `properties/`, of every choice among gateways, of every import, and of what a node does besides having routes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "properties/egress.rs"]
mod egress;
#[path = "properties/gateways.rs"]
mod gateways;
#[path = "properties/imports.rs"]
mod imports;
#[path = "support/gateways.rs"]
mod life;
#[path = "properties/objects.rs"]
mod objects;
#[path = "support/simulation.rs"]
mod simulation;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::prelude::*;
use srsync::model::document::{Gateways, Mode, OnAllDown};
use srsync::model::*;
use srsync::plan::{self, Inputs, Verdict};

/// A node with two connected subnets in each family, one link that is down, and a random past.
fn node() -> impl Strategy<Value = Observed> {
    proptest::collection::vec(past_route(), 0..12).prop_map(|past| {
        let link = |index: u32, name: &str, up| Link {
            index: IfIndex::new(index),
            name: name.to_owned(),
            up,
            carrier: up,
            loopback: false,
        };
        let mut routes: Vec<ObservedRoute> = Vec::new();
        for (prefix, dev) in [
            ("10.0.1.0/24", 1),
            ("10.0.2.0/24", 2),
            ("2001:db8:1::/64", 1),
            ("2001:db8:2::/64", 2),
        ] {
            let attrs = RouteAttrs::unicast(vec![hop(None, dev)]);
            let key = RouteKey::new(TableId::MAIN, prefix.parse().unwrap(), Metric::ZERO);
            routes.push(observed(key, attrs, Protocol::KERNEL));
        }
        for route in past {
            // IPv4 and plain `ip route add` keep one route in a slot: so does this node, except
            // for two of ours, which IPv6 allows.
            let in_slot = |other: &&ObservedRoute| other.route.key == route.route.key;
            let fits = match routes.iter().find(in_slot) {
                None => true,
                Some(other) => {
                    other.protocol == Protocol::SRSYNC
                        && route.protocol == Protocol::SRSYNC
                        && other.route != route.route
                        && route.route.key.prefix.family() == Family::V6
                }
            };
            if fits {
                routes.push(route);
            }
        }
        Observed {
            links: vec![
                link(1, "eth1", true),
                link(2, "eth2", true),
                link(3, "eth3", false),
            ],
            routes,
            ..Observed::default()
        }
    })
}

fn observed(key: RouteKey, attrs: RouteAttrs, protocol: Protocol) -> ObservedRoute {
    ObservedRoute {
        scope: attrs.scope(key.prefix.family()),
        route: Route {
            key,
            attrs: Arc::new(attrs),
        },
        protocol,
    }
}

fn hop(via: Option<IpAddr>, link: u32) -> NextHop {
    NextHop {
        via,
        link: Some(IfIndex::new(link)),
        weight: Weight::ONE,
        on_link: false,
    }
}

/// Prefixes of a tiny space, so that documents and past meet often; two of them make a default
/// route together, some cover gateways.
fn prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        4 => (0u8..4, 22u8..=24).prop_map(|(net, length)| v4([10, 9, net, 0], length)),
        1 => Just(v4([0, 0, 0, 0], 1)),
        1 => Just(v4([128, 0, 0, 0], 1)),
        1 => Just(v4([10, 0, 0, 0], 16)),
        1 => Just(v4([10, 0, 1, 7], 32)),
        3 => (0u16..4, 46u8..=48).prop_map(|(net, length)| {
            Prefix::containing(Ipv6Addr::new(0x2001, 0xdb9, net, 0, 0, 0, 0, 0).into(), length).unwrap()
        }),
    ]
}

fn v4(address: [u8; 4], length: u8) -> Prefix {
    Prefix::containing(Ipv4Addr::from(address).into(), length).unwrap()
}

fn table() -> impl Strategy<Value = TableId> {
    prop_oneof![Just(TableId::MAIN), Just(TableId::new(1000))]
}

fn metric() -> impl Strategy<Value = Metric> {
    prop_oneof![3 => Just(0), 1 => Just(1024), 1 => Just(7)].prop_map(Metric::new)
}

fn past_route() -> impl Strategy<Value = ObservedRoute> {
    let protocol = prop_oneof![Just(83u8), Just(4), Just(186)].prop_map(Protocol::new);
    (table(), prefix(), metric(), protocol, 0u8..4).prop_map(
        |(table, prefix, metric, protocol, way)| {
            let gateway = |v4: &str, v6: &str| match prefix.family() {
                Family::V4 => v4.parse().ok(),
                Family::V6 => v6.parse().ok(),
            };
            let attrs = match way {
                0 => RouteAttrs::without_hops(RouteType::Blackhole),
                1 => RouteAttrs::unicast(vec![hop(gateway("10.0.1.7", "2001:db8:1::7"), 1)]),
                2 => RouteAttrs::unicast(vec![hop(gateway("10.0.2.7", "2001:db8:2::7"), 2)]),
                _ => RouteAttrs::unicast(vec![hop(None, 2)]),
            };
            observed(RouteKey::new(table, prefix, metric), attrs, protocol)
        },
    )
}

fn target() -> impl Strategy<Value = Target> {
    let gateway = |address: &str| Gateway {
        address: address.parse().unwrap(),
        interface: None,
        weight: Weight::ONE,
        on_link: false,
        check: None,
    };
    let gateways = move |(addresses, mode, on_all_down): (&[&str], Mode, OnAllDown)| {
        Target::Gateways(Gateways {
            list: addresses.iter().map(|a| gateway(a)).collect(),
            mode,
            on_all_down,
            resilient: false,
            witness: Vec::new(),
            preempt: true,
        })
    };
    let one: &[&str] = &["10.0.1.7", "2001:db8:1::7"];
    let two: &[&str] = &["10.0.1.7", "10.0.2.7", "2001:db8:1::7", "2001:db8:2::7"];
    // Behind a route of our own, if a document makes one.
    let behind_ours: &[&str] = &["10.9.0.1", "2001:db9::1"];
    // On a link that is down.
    let down: &[&str] = &["10.0.3.7", "2001:db8:3::7"];
    let lists = prop_oneof![Just(one), Just(two), Just(behind_ours), Just(down)];
    let modes = prop_oneof![Just(Mode::Failover), Just(Mode::Ecmp)];
    let all_down = prop_oneof![
        Just(OnAllDown::Keep),
        Just(OnAllDown::Withdraw),
        Just(OnAllDown::Blackhole),
    ];
    prop_oneof![
        1 => Just(Target::Nowhere(RouteType::Blackhole)),
        1 => Just(Target::Interface(InterfaceName::new("eth2").unwrap())),
        1 => Just(Target::Interface(InterfaceName::new("eth3").unwrap())),
        1 => Just(Target::Interface(InterfaceName::new("absent").unwrap())),
        1 => Just(Target::Lookup("10.0.1.9".parse().unwrap())),
        4 => (lists, modes, all_down).prop_map(gateways),
    ]
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    let document = (
        proptest::collection::btree_set(prefix(), 1..5),
        target(),
        table(),
        metric(),
        proptest::bool::weighted(0.8),
    );
    proptest::collection::vec(document, 0..6).prop_map(|list| {
        let made = list.into_iter().enumerate();
        made.map(|(index, (prefixes, target, table, metric, selected))| {
            let place = Place {
                file: FileId(0),
                line: index as u32 + 1,
            };
            let mut selector = NodeSelector::default();
            if !selected {
                selector.requirements.push(selector::Requirement {
                    key: "absent".to_owned(),
                    operator: selector::Operator::Exists,
                });
            }
            let id = DocumentId {
                name: format!("doc-{index}"),
                namespace: None,
                dialect: Dialect::Native,
            };
            let destinations = simulation::disjoint(prefixes)
                .map(|prefix| Destination { prefix, place })
                .collect();
            Document {
                table: Some(table),
                metric: Some(metric),
                selector,
                ..Document::new(id, place, destinations, target)
            }
        })
        .collect()
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let limit = prop_oneof![
        3 => Just(None),
        1 => Just(Some(MaxRemovals::Count(1))),
        1 => Just(Some(MaxRemovals::Percent(50))),
    ];
    (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        limit,
    )
        .prop_map(|(adopt, default, empty, protect, max_removals)| Policy {
            foreign_routes: match adopt {
                true => ForeignRoutes::Adopt,
                false => ForeignRoutes::Refuse,
            },
            allow_default_route: default,
            allow_empty: empty,
            protected_subnets: match protect {
                true => vec![v4([10, 9, 3, 0], 24)],
                false => Vec::new(),
            },
            max_removals,
            ..Policy::default()
        })
}

fn with_inputs<T>(documents: &[Document], policy: &Policy, run: impl Fn(&Inputs<'_>) -> T) -> T {
    let file = FileName {
        path: "routes.yaml".into(),
        label: "routes.yaml".into(),
    };
    run(&Inputs {
        egress: &[],
        documents,
        policy,
        labels: &Labels::new(),
        unknown_labels: None,
        names: &Names::default(),
        files: &[file],
        steering: srsync::model::Steering::NONE,
        objects: None,
        incomplete: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn apply_converges_and_foreign_routes_never_change(
        documents in documents(), node in node(), policy in policy()
    ) {
        with_inputs(&documents, &policy, |inputs| {
            simulation::converge(inputs, &mut node.clone());
        });
    }

    #[test]
    fn the_order_in_which_the_kernel_lists_its_routes_does_not_matter(
        documents in documents(), node in node(), policy in policy()
    ) {
        with_inputs(&documents, &policy, |inputs| {
            let plan = plan::plan(inputs, &node);
            let mut turned = node.clone();
            // Within a slot the order has a meaning (REPLACE hits the first), across slots none.
            turned.routes.sort_by_key(|route| std::cmp::Reverse(route.route.key));
            assert_eq!(plan, plan::plan(inputs, &turned));
        });
    }

    #[test]
    fn nothing_that_a_document_claims_is_removed(
        documents in documents(), node in node(), policy in policy()
    ) {
        with_inputs(&documents, &policy, |inputs| {
            let plan = plan::plan(inputs, &node);
            for removed in plan.rows.iter().filter(|r| matches!(r.verdict, Verdict::Remove(_))) {
                // Only the surplus of a slot that keeps a route of ours, or whose document itself
                // withdraws it.
                let claimed = plan.rows.iter().find(|r| r.key == removed.key && r.claim.is_some());
                let is_surplus = claimed.is_none_or(|row| {
                    matches!(
                        row.verdict,
                        Verdict::Keep(_) | Verdict::Replace { .. } | Verdict::Withdraw { .. }
                    )
                });
                assert!(is_surplus, "{removed:?} against {claimed:?}");
            }
        });
    }

    #[test]
    fn no_default_route_and_nothing_protected_unless_allowed(
        documents in documents(), node in node(), policy in policy()
    ) {
        with_inputs(&documents, &policy, |inputs| {
            let plan = plan::plan(inputs, &node);
            let installs = |row: &&plan::Row| row.claim.is_some()
                && !matches!(row.verdict, Verdict::Blocked(_));
            let installed: Vec<&plan::Row> = plan.rows.iter().filter(installs).collect();
            for row in &installed {
                let protected = &policy.protected_subnets;
                assert!(!protected.iter().any(|p| p.covers(&row.key.prefix) || row.key.prefix.covers(p)));
            }
            let in_main = installed.iter().filter(|row| row.key.table == TableId::MAIN);
            let space: PrefixSet = in_main.map(|row| &row.key.prefix).collect();
            assert!(policy.allow_default_route || !space.covers_all(Family::V4));
        });
    }
}
