//! What holds of every import: it reads back, and takes over just what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use srsync::import::{Imported, Node, Selection, import};
use srsync::model::*;
use srsync::plan::{self, Inputs, Verdict};
use srsync::spec::{self, Context, Problem};

use super::observed;

const SOURCES: [&str; 2] = ["10.0.1.1", "2001:db8:1::1"];

/// Two links with two subnets each, a part of one of which is on the other; one that is down.
fn node(routes: Vec<(ObservedRoute, bool)>) -> Observed {
    let link = |index: u32, name: &str, up| Link {
        index: IfIndex::new(index),
        name: name.to_owned(),
        up,
        carrier: up,
        loopback: false,
    };
    let address = |local: &str, length| Address {
        link: IfIndex::new(1),
        local: local.parse().unwrap(),
        length,
        peer: None,
    };
    let connected = [
        ("10.0.1.0/24", 1),
        ("10.0.1.128/25", 2),
        ("10.0.2.0/24", 2),
        ("2001:db8:1::/64", 1),
        ("2001:db8:2::/64", 2),
        ("fe80::/64", 1),
        ("fe80::/64", 2),
    ];
    let connected = connected.map(|(prefix, dev)| {
        let attrs = RouteAttrs::unicast(vec![hop((None, dev, 1, false))]);
        let key = RouteKey::new(TableId::MAIN, prefix.parse().unwrap(), Metric::new(256));
        observed(key, attrs, Protocol::KERNEL)
    });
    let routes = routes.into_iter().map(|(route, _)| route);
    Observed {
        links: vec![
            link(1, "Eth0.1", true),
            link(2, "on", true),
            link(3, "#", false),
        ],
        addresses: vec![address(SOURCES[0], 24), address(SOURCES[1], 64)],
        routes: connected.into_iter().chain(routes).collect(),
        ..Observed::default()
    }
}

/// A gateway, a link, a weight, and whether it is on-link.
type HopOf = (Option<&'static str>, u32, u16, bool);

fn hop((via, link, weight, on_link): HopOf) -> NextHop {
    NextHop {
        via: via.map(|via| via.parse().unwrap()),
        link: Some(IfIndex::new(link)),
        weight: Weight::new(weight).unwrap(),
        on_link,
    }
}

/// Hops of a family that a document can say and this node takes.
fn plain_hops(family: Family) -> impl Strategy<Value = Vec<HopOf>> {
    let gateways: &[(&str, u32)] = match family {
        Family::V4 => &[
            ("10.0.1.7", 1),
            ("10.0.1.200", 2),
            ("10.0.1.201", 1),
            ("10.0.2.7", 2),
        ],
        Family::V6 => &[
            ("2001:db8:1::7", 1),
            ("2001:db8:1::", 1),
            ("2001:db8:2::7", 2),
            ("fe80::7", 1),
            ("fe80::7", 2),
        ],
    };
    let far = match family {
        Family::V4 => "172.16.0.1",
        Family::V6 => "fd99::1",
    };
    let near = gateways
        .iter()
        .map(|(via, link)| (Some(*via), *link, false));
    let all: Vec<_> = near
        .chain([(Some(far), 1, true), (Some(far), 2, true)])
        .collect();
    let count = 1..=3usize;
    let several = proptest::sample::subsequence(all, count).prop_flat_map(|list| {
        let weights = prop_oneof![3 => Just(1u16), 1 => 1u16..=256];
        let weights = proptest::collection::vec(weights, list.len());
        (Just(list), weights).prop_map(|(list, weights)| {
            let weighted = list.into_iter().zip(weights);
            weighted
                .map(|((via, link, on_link), weight)| (via, link, weight, on_link))
                .collect()
        })
    });
    prop_oneof![3 => several, 1 => (1u32..=2).prop_map(|link| vec![(None, link, 1, false)])]
}

/// Anything else, much of which no kernel has.
fn odd_hops() -> impl Strategy<Value = Vec<HopOf>> {
    let gateways = [
        None,
        Some("10.0.1.7"),
        Some("10.0.1.1"),
        Some("192.0.2.1"),
        Some("127.0.0.1"),
        Some("224.0.0.1"),
        Some("2001:db8:1::7"),
        Some("fe80::7"),
        Some("::"),
    ];
    let one = (
        proptest::sample::select(gateways.to_vec()),
        0u32..6,
        1u16..3,
        any::<bool>(),
    );
    proptest::collection::vec(one, 0..4)
}

fn destination() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        6 => (0u8..8, 20u8..=24).prop_map(|(net, length)| super::v4([10, 9, net, 0], length)),
        1 => (0u8..4).prop_map(|host| super::v4([10, 9, 0, host], 32)),
        1 => Just(super::v4([0, 0, 0, 0], 0)),
        1 => (0u8..2).prop_map(|half| super::v4([half << 7, 0, 0, 0], 1)),
        6 => (0u16..8, 44u8..=48, any::<bool>()).prop_map(|(net, length, host)| {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb9, net, 0, 0, 0, 0, 0);
            Prefix::containing(address.into(), if host { 128 } else { length }).unwrap()
        }),
        1 => Just("::/0".parse().unwrap()),
    ]
}

/// Destinations that no document takes, or that cover a gateway.
fn odd_destination() -> impl Strategy<Value = Prefix> {
    let texts = [
        "224.0.0.0/8",
        "ff00::/8",
        "0.0.0.0",
        "::",
        "10.0.1.7",
        "2001:db8:1::7",
        "10.0.0.0/8",
    ];
    let texts = texts.map(|text| text.parse::<Prefix>().unwrap());
    prop_oneof![destination(), proptest::sample::select(texts.to_vec())]
}

fn table() -> impl Strategy<Value = TableId> {
    let tables = [254, 254, 254, 100, 255].map(TableId::new);
    proptest::sample::select(tables.to_vec())
}

fn owner() -> impl Strategy<Value = Protocol> {
    let owners = [3, 3, 4, 186, 83].map(Protocol::new);
    proptest::sample::select(owners.to_vec())
}

/// How a route is tuned: metric, source, MTU, MSS.
fn tuning() -> impl Strategy<Value = (u32, bool, Option<u32>, Option<u32>)> {
    let metric = prop_oneof![4 => Just(0u32), 1 => Just(7), 1 => Just(1024)];
    let mtu = proptest::option::weighted(0.2, 1280u32..9000);
    let advmss = proptest::option::weighted(0.1, 500u32..1400);
    (metric, proptest::bool::weighted(0.2), mtu, advmss)
}

/// A route, and whether nothing speaks against its import.
fn plain_route() -> impl Strategy<Value = (ObservedRoute, bool)> {
    let made = (destination(), table(), owner(), tuning(), 0u8..8);
    made.prop_flat_map(|made| (plain_hops(made.0.family()), Just(made)))
        .prop_map(
            |(hops, (prefix, table, owner, (metric, source, mtu, advmss), kind))| {
                let mut attrs = match kind {
                    0 => RouteAttrs::without_hops(RouteType::Blackhole),
                    1 => RouteAttrs::without_hops(RouteType::Throw),
                    _ => RouteAttrs::unicast(hops.into_iter().map(hop).collect()),
                };
                attrs.source = source.then(|| SOURCES[prefix.family() as usize].parse().unwrap());
                attrs.mtu = mtu.map(Mtu::new);
                attrs.advmss = advmss.map(AdvMss::new);
                (
                    observed(
                        RouteKey::new(table, prefix, Metric::new(metric)),
                        attrs,
                        owner,
                    ),
                    true,
                )
            },
        )
}

fn odd_route() -> impl Strategy<Value = (ObservedRoute, bool)> {
    let attrs = (
        odd_hops(),
        tuning(),
        0u8..8,
        any::<bool>(),
        proptest::option::weighted(0.1, 7u32..9),
    );
    let slot = (odd_destination(), table(), owner(), 0u8..3, 0u8..3);
    (slot, attrs).prop_map(
        |((prefix, table, owner, tos, scope), (hops, tuned, kind, extra, nexthop))| {
            let (metric, source, mtu, advmss) = tuned;
            let mut attrs = RouteAttrs::unicast(hops.into_iter().map(hop).collect());
            attrs.kind = match kind {
                0 => RouteType::Other(5),
                1 => RouteType::Prohibit,
                _ => RouteType::Unicast,
            };
            attrs.source = source.then(|| "10.7.7.7".parse().unwrap());
            attrs.mtu = mtu.map(|mtu| Mtu::new(mtu - 1280));
            attrs.advmss = advmss.map(AdvMss::new);
            attrs.extra = extra;
            attrs.nexthop = nexthop.map(NextHopId::new);
            let mut key = RouteKey::new(table, prefix, Metric::new(metric));
            key.tos = Tos::new(if tos == 0 { 16 } else { 0 });
            let mut route = observed(key, attrs, owner);
            if scope == 0 {
                route.scope = Scope::new(200);
            }
            (route, false)
        },
    )
}

fn routes() -> impl Strategy<Value = Vec<(ObservedRoute, bool)>> {
    let route = prop_oneof![4 => plain_route(), 1 => odd_route()];
    proptest::collection::vec(route, 0..24)
}

fn selection() -> impl Strategy<Value = Selection> {
    let every = [3, 4, 186, 83].map(Protocol::new);
    prop_oneof![
        2 => Just(Selection::default()),
        1 => Just(Selection { protocols: every.into(), tables: None }),
        1 => Just(Selection { protocols: every.into(), tables: Some([100, 255].map(TableId::new).into()) }),
    ]
}

/// Whether it leads to its own gateway: that is in a connected subnet of its own table (where the kernel looks first)
/// which is no narrower than the route.
fn leads_to_its_gateway(route: &Route, node: &Observed) -> bool {
    let prefix = route.key.prefix;
    let routes = node.routes.iter().map(|observed| &observed.route);
    let subnets: Vec<Prefix> = routes
        .filter(|other| other.key.table == route.key.table)
        .filter(|other| other.attrs.hops().iter().any(|hop| hop.via.is_none()))
        .map(|other| other.key.prefix)
        .collect();
    let mut gateways = route.attrs.hops().iter().filter_map(|hop| hop.via);
    gateways.any(|via| {
        let around = subnets.iter().filter(|subnet| subnet.contains(via));
        let narrowest = around.map(Prefix::length).max();
        prefix.contains(via) && narrowest.is_some_and(|length| length <= prefix.length())
    })
}

fn imported(observed: &Observed, selection: &Selection, policy: &Policy) -> Imported {
    let names = Names::default();
    let node = Node {
        name: "n\nx: y",
        names: &names,
        policy,
    };
    import(observed, selection, &node)
}

/// The documents of a text that has no mistakes and no repeated names.
fn read(text: &str) -> Vec<Document> {
    let mut include = |_: &str| Err(Problem::new("none", "none"));
    let context = Context {
        names: &Names::default(),
        include: &mut include,
    };
    let parsed = spec::parse(FileId(0), text, context);
    assert!(
        parsed.diagnostics.is_empty(),
        "{text}\n{:?}",
        parsed.diagnostics
    );
    let mut valid = parsed.documents;
    assert!(spec::take_ambiguous(&mut valid).is_empty(), "{text}");
    valid.into_iter().map(|valid| valid.document).collect()
}

fn said(documents: &[Document]) -> Vec<String> {
    let without_place = |document: &Document| {
        let prefixes: Vec<Prefix> = document.destinations.iter().map(|d| d.prefix).collect();
        let Document {
            id,
            target,
            table,
            metric,
            source,
            mtu,
            advmss,
            ..
        } = document;
        format!("{id} {prefixes:?} {target:?} {table:?} {metric:?} {source:?} {mtu:?} {advmss:?}")
    };
    documents.iter().map(without_place).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn an_import_reads_back_and_takes_over_just_what_is_there(
        routes in routes(), selection in selection(), usual in table(), restrictive in any::<bool>()
    ) {
        let plain: BTreeMap<RouteKey, bool> = routes.iter().map(|(r, plain)| (r.route.key, *plain)).collect();
        let node = node(routes);
        let mut slots: BTreeMap<RouteKey, Vec<&ObservedRoute>> = BTreeMap::new();
        for route in &node.routes {
            slots.entry(route.route.key).or_default().push(route);
        }
        let usual = if usual == TableId::LOCAL { TableId::MAIN } else { usual };
        let mut policy = Policy { table: usual, ..Policy::default() };
        if restrictive {
            policy.protected_subnets = vec![super::v4([10, 9, 3, 0], 24)];
        }
        let imported = imported(&node, &selection, &policy);
        let text = imported.text();
        let documents = read(&text);

        // JSON says the same.
        let json = serde_json::to_string(&serde_json::json!({
            "apiVersion": "v1", "kind": "List", "items": imported.documents,
        })).unwrap();
        prop_assert_eq!(said(&read(&json)), said(&documents));

        // Every route of a document is taken over, or is ours; nothing else happens to anything.
        let is_default = imported.documents.iter().any(|document| document.is_default());
        let planned = |policy: &Policy| {
            super::with_inputs(&documents, policy, |inputs: &Inputs<'_>| plan::plan(inputs, &node))
        };
        let adopting = Policy {
            foreign_routes: ForeignRoutes::Adopt,
            allow_default_route: is_default,
            ..policy.clone()
        };
        let mut claimed = BTreeSet::new();
        for row in planned(&adopting).rows.iter().filter(|row| row.claim.is_some()) {
            let is_taken_over = matches!(row.verdict, Verdict::Keep(_) | Verdict::Adopt { .. });
            prop_assert!(is_taken_over, "{:?}\n{}", row, text);
            claimed.insert(row.key);
        }
        prop_assert_eq!(claimed.len(), imported.routes());

        // Every selected route is in a document or complained about, and no other is.
        let left_out: BTreeSet<RouteKey> = imported.left_out.iter().map(|one| one.key).collect();
        let chosen: BTreeSet<RouteKey> = slots
            .iter()
            .filter(|(key, routes)| {
                key.table != TableId::LOCAL
                    && selection.tables.as_ref().is_none_or(|tables| tables.contains(&key.table))
                    && routes.iter().any(|route| selection.protocols.contains(&route.protocol))
            })
            .map(|(key, _)| *key)
            .collect();
        prop_assert!(claimed.is_disjoint(&left_out));
        prop_assert_eq!(&claimed | &left_out, chosen.clone());
        prop_assert!(left_out.is_empty() || !imported.complaints(&Names::default()).is_empty());

        // Nothing is left out that nothing speaks against.
        if !restrictive && !slots.values().flatten().any(|route| plain.get(&route.route.key) == Some(&false)) {
            for key in left_out {
                let alone = <[_; 1]>::try_from(slots[&key].as_slice()).ok();
                let is_spoken_against = alone.is_none_or(|[one]| leads_to_its_gateway(&one.route, &node));
                prop_assert!(is_spoken_against, "{:?}\n{:?}", key, imported.left_out);
            }
        }

        // The order in which the kernel lists its slots does not matter; that within one says which it prefers.
        let mut turned = node.clone();
        turned.routes.sort_by_key(|route| std::cmp::Reverse(route.route.key));
        prop_assert_eq!(text, self::imported(&turned, &selection, &policy).text());
    }
}

/// A route that shares its attributes with others is found by them: sharing must not matter.
#[test]
fn a_hundred_thousand_routes_are_one_document() {
    let attrs = Arc::new(RouteAttrs::unicast(vec![hop((
        Some("10.0.1.7"),
        1,
        1,
        false,
    ))]));
    let route = |n: u32| {
        let address = std::net::Ipv4Addr::from(0x0b00_0000 + (n << 8));
        let prefix = Prefix::containing(address.into(), 24).unwrap();
        let route = ObservedRoute {
            route: Route {
                key: RouteKey::new(TableId::MAIN, prefix, Metric::ZERO),
                attrs: attrs.clone(),
            },
            protocol: Protocol::new(3),
            scope: Scope::UNIVERSE,
        };
        (route, true)
    };
    let node = node((0..100_000).map(route).collect());
    let imported = imported(&node, &Selection::default(), &Policy::default());
    assert_eq!((imported.documents.len(), imported.routes()), (1, 100_000));
}
