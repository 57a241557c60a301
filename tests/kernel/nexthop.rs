//! Nexthop objects: made, changed and removed, and the routes that go with them.

use std::net::Ipv4Addr;
use std::sync::Arc;

use nix::libc;
use srsync::kernel::Change::{
    self, Add, AddNextHop, Remove, RemoveNextHop, Replace, ReplaceNextHop,
};
use srsync::kernel::{Events, Failure, Kernel, KernelEvent};
use srsync::model::{
    Centiseconds, Family, IfIndex, Metric, NextHopGroup, NextHopId, NextHopKind, NextHopMember,
    NextHopObject, Protocol, Resilient, Route, RouteAttrs, RouteKey, TableId, Weight,
};

use super::build::*;
use crate::support::tables::{quiet, wait_until};
use crate::support::watch::Changes;
use crate::support::{address, in_namespace, ip, ip_succeeds, sysctl, veth};

/// What the same things are called in each family.
struct Net {
    family: Family,
    flag: &'static str,
    one: &'static str,
    two: &'static str,
    far: &'static str,
}

const V4: Net = Net {
    family: Family::V4,
    flag: "-4",
    one: "10.0.0.2",
    two: "10.0.0.3",
    far: "198.51.100.0/24",
};
const V6: Net = Net {
    family: Family::V6,
    flag: "-6",
    one: "fd00::2",
    two: "fd00::3",
    far: "2001:db8::/64",
};

fn on_a_node(test: impl Fn() + Send + Sync) {
    in_namespace(|| {
        quiet();
        veth("east", "east-peer");
        address("10.0.0.1/24", "east");
        address("fd00::1/64", "east");
        test();
    });
}

fn in_both_families(test: impl Fn(&Net) + Send + Sync) {
    for net in [V4, V6] {
        on_a_node(|| test(&net));
    }
}

const fn id(number: u32) -> NextHopId {
    NextHopId::new(number)
}

fn single(gateway: &str, link: IfIndex) -> NextHopKind {
    let via = gateway.parse().unwrap();
    NextHopKind::Single {
        family: Family::of(&via),
        via: Some(via),
        link,
        on_link: false,
    }
}

fn out_of(family: Family, link: IfIndex) -> NextHopKind {
    NextHopKind::Single {
        family,
        via: None,
        link,
        on_link: false,
    }
}

fn members(members: &[(u32, u16)]) -> Vec<NextHopMember> {
    let member = |(number, weight): &(u32, u16)| NextHopMember {
        id: id(*number),
        weight: Weight::new(*weight).unwrap(),
    };
    members.iter().map(member).collect()
}

fn group(of: &[(u32, u16)]) -> NextHopKind {
    NextHopKind::Group(NextHopGroup::new(members(of), None))
}

/// One group for all routes: 1 leads to the first gateway, 2 to the second, 3 to the first.
fn two_and_a_group(net: &Net) {
    let east = link("east");
    apply_all(&[
        AddNextHop(id(1), &single(net.one, east)),
        AddNextHop(id(2), &single(net.two, east)),
        AddNextHop(id(3), &group(&[(1, 1)])),
    ]);
}

fn by(number: u32) -> RouteAttrs {
    RouteAttrs::by_nexthop(id(number))
}

fn objects() -> Vec<NextHopObject> {
    let seen = observe();
    assert!(seen.nexthop_objects);
    assert!(seen.nexthops.is_sorted_by_key(|object| object.id));
    seen.nexthops
}

fn kind_of(number: u32) -> Option<NextHopKind> {
    let object = objects().into_iter().find(|object| object.id == id(number));
    object.and_then(|object| object.kind)
}

/// The one change fails; why.
fn refused(change: Change<'_>) -> Failure {
    let mut failures = apply(&[change]);
    assert_eq!(failures.len(), 1, "{change:?}");
    failures.remove(0)
}

/// `ip route get`, which says the gateway of a packet.
fn way(net: &Net) -> String {
    let to = net.far.replace("0/24", "9").replace("::/64", "::9");
    ip(&format!("{} route get {to}", net.flag))
}

#[test]
fn every_kind_is_made_changed_read_back_equal_and_removed() {
    on_a_node(|| {
        let east = link("east");
        let on_link = |gateway: &str| match single(gateway, east) {
            NextHopKind::Single {
                family, via, link, ..
            } => NextHopKind::Single {
                family,
                via,
                link,
                on_link: true,
            },
            other => other,
        };
        let alone = [
            single("10.0.0.2", east),
            single("fd00::2", east),
            single("fe80::2", east),
            on_link("10.9.0.2"),
            on_link("fd09::2"),
            out_of(Family::V4, east),
            out_of(Family::V6, east),
            NextHopKind::Blackhole { family: Family::V4 },
            NextHopKind::Blackhole { family: Family::V6 },
        ];
        // A lone object may become any other.
        apply_all(&[AddNextHop(id(7), &alone[0])]);
        for from in &alone {
            for to in &alone {
                apply_all(&[ReplaceNextHop(id(7), from), ReplaceNextHop(id(7), to)]);
                assert_eq!(kind_of(7).as_ref(), Some(to), "{}", ip("nexthop"));
            }
        }
        apply_all(&[
            RemoveNextHop(id(7)),
            AddNextHop(id(1), &alone[0]),
            AddNextHop(id(2), &alone[1]),
            AddNextHop(id(3), &alone[7]),
        ]);
        // Both ends of the weights; both families; a blackhole, which has to be alone.
        let groups = [
            group(&[(1, 1)]),
            group(&[(1, 256), (2, 1)]),
            group(&[(3, 1)]),
            group(&[(1, 255), (2, 256)]),
        ];
        for kind in &groups {
            apply_all(&[ReplaceNextHop(id(4), kind)]);
            assert_eq!(kind_of(4).as_ref(), Some(kind), "{}", ip("nexthop"));
        }
        assert!(objects().iter().all(|object| object.protocol == OURS));
        let all = [4, 3, 2, 1].map(|number| RemoveNextHop(id(number)));
        apply_all(&all);
        assert_eq!(objects(), []);
        // What is gone already is done.
        apply_all(&all);
    });
}

#[test]
fn a_resilient_group_is_read_back_equal_and_changes_its_members() {
    on_a_node(|| {
        two_and_a_group(&V4);
        let resilient = |of: &[(u32, u16)], unbalanced| {
            let timers = Resilient {
                buckets: 32,
                idle_timer: Centiseconds::new(12_300),
                unbalanced_timer: Centiseconds::new(unbalanced),
            };
            NextHopKind::Group(NextHopGroup::new(members(of), Some(timers)))
        };
        if !ip_succeeds("nexthop add id 5 group 1 type resilient buckets 8") {
            // A kernel without them (before 5.13) says so.
            refused(AddNextHop(id(4), &resilient(&[(1, 3), (2, 1)], 0)));
            return;
        }
        apply_all(&[AddNextHop(id(4), &resilient(&[(1, 3), (2, 1)], 0))]);
        assert_eq!(kind_of(4), Some(resilient(&[(1, 3), (2, 1)], 0)));
        for to in [
            resilient(&[(2, 1)], 0),
            resilient(&[(1, 1), (2, 256)], 6_000),
        ] {
            apply_all(&[ReplaceNextHop(id(4), &to)]);
            assert_eq!(kind_of(4), Some(to));
        }
        let other_type = refused(ReplaceNextHop(id(4), &group(&[(1, 1)])));
        let text = other_type.error.to_string();
        assert!(
            text.starts_with("Can not replace a nexthop group with one of a different type"),
            "{text}"
        );
    });
}

#[test]
fn a_taken_number_is_refused_and_its_object_stays() {
    in_both_families(|net| {
        ip(&format!(
            "nexthop add id 7 via {} dev east proto 99",
            net.one
        ));
        let before = objects();
        let failure = refused(AddNextHop(id(7), &single(net.two, link("east"))));
        assert_eq!(failure.error.errno(), Some(libc::EEXIST));
        assert_eq!(objects(), before);
    });
}

#[test]
fn what_the_kernel_refuses_has_its_words_and_stops_nothing() {
    on_a_node(|| {
        let east = link("east");
        let (single, lone) = (single("10.0.0.2", east), group(&[(1, 1)]));
        let blackhole = NextHopKind::Blackhole { family: Family::V4 };
        let failures = apply(&[
            AddNextHop(id(1), &single),
            AddNextHop(id(2), &lone),
            ReplaceNextHop(id(1), &lone),
            ReplaceNextHop(id(2), &single),
            AddNextHop(id(3), &group(&[(99, 1)])),
            AddNextHop(id(4), &group(&[(2, 1)])),
            AddNextHop(id(5), &out_of(Family::V4, IfIndex::new(4711))),
            AddNextHop(id(6), &blackhole),
            AddNextHop(id(7), &group(&[(1, 1), (6, 1)])),
        ]);
        let said: Vec<(usize, String)> = failures
            .iter()
            .map(|failure| (failure.index, failure.error.to_string()))
            .collect();
        // The words of older kernels differ a little.
        let expected = [
            (2, "Can not replace a nexthop with a nexthop group"),
            (3, "Can not replace a nexthop group with a nexthop"),
            (4, "Invalid nexthop id"),
            (5, "group can not be a nexthop within a group"),
            (6, "device"),
            (
                8,
                "Blackhole nexthop can not be used in a group with more than 1 path",
            ),
        ];
        for ((index, text), (expected, words)) in said.iter().zip(expected) {
            assert!(*index == expected && text.contains(words), "{said:#?}");
        }
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        assert_eq!(objects().len(), 3);
    });
}

#[test]
fn foreign_objects_are_seen_with_their_owner() {
    on_a_node(|| {
        ip("nexthop add id 40 via 10.0.0.2 dev east proto static");
        ip("nexthop add id 30 group 40 proto 99");
        ip("nexthop add id 50 via 10.9.9.9 fdb proto 99");
        let seen = objects();
        let object = |number, protocol, kind| NextHopObject {
            id: id(number),
            protocol: Protocol::new(protocol),
            kind,
        };
        let expected = [
            object(30, 99, Some(group(&[(40, 1)]))),
            object(40, 4, Some(single("10.0.0.2", link("east")))),
            object(50, 99, None),
        ];
        assert_eq!(seen, expected);
    });
}

#[test]
fn a_number_that_is_free_is_filled_by_a_replacement() {
    in_both_families(|net| {
        let kind = single(net.one, link("east"));
        apply_all(&[ReplaceNextHop(id(7), &kind)]);
        assert_eq!(kind_of(7), Some(kind));
    });
}

#[test]
fn routes_by_an_object_are_read_back_equal_and_ip_shows_where_they_lead() {
    in_both_families(|net| {
        two_and_a_group(net);
        apply_all(&[ReplaceNextHop(id(3), &group(&[(1, 2), (2, 3)]))]);
        for number in [1, 3] {
            let route = route(net.far, by(number));
            apply_all(&[Add(&route)]);
            let seen = observed_routes();
            assert_eq!(seen.len(), 1);
            assert_eq!(seen[0].route, route);
            assert_eq!(seen[0].protocol, OURS);
            let shown = ip(&format!("{} route show table 100", net.flag));
            assert!(shown.contains(&format!("nhid {number} ")), "{shown}");
            assert!(
                shown.contains(&format!("via {} dev east", net.one)),
                "{shown}"
            );
            // Only with its own number it goes.
            apply_all(&[Remove(&self::route(net.far, by(2)))]);
            assert_eq!(observed_routes(), seen);
            apply_all(&[Remove(&seen[0].route)]);
            assert_eq!(observed_routes(), []);
        }
    });
}

/// A network that forbids it keeps `ip route` short and routing daemons quiet: the kernel then says
/// nothing but the reference (`net.ipv4.nexthop_compat_mode`, nexthop.rst).
#[test]
fn routes_are_equal_however_much_the_kernel_tells_of_them() {
    in_both_families(|net| {
        two_and_a_group(net);
        let ours = route(net.far, by(3));
        apply_all(&[Add(&ours)]);
        sysctl("ipv4/nexthop_compat_mode", "0");
        let seen = observed_routes();
        assert_eq!(seen[0].route, ours);
        assert_eq!(seen[0].route.attrs.hops(), []);
        apply_all(&[Remove(&seen[0].route)]);
        assert_eq!(observed_routes(), []);
    });
}

#[test]
fn ipv4_routes_take_objects_with_ipv6_gateways() {
    on_a_node(|| {
        two_and_a_group(&V6);
        let ours = route(V4.far, by(3));
        apply_all(&[Add(&ours)]);
        assert_eq!(observed_routes()[0].route, ours);
        let hops = observed_routes()[0].route.attrs.hops().to_vec();
        assert_eq!(hops, [via(V6.one, link("east"))]);
        apply_all(&[Remove(&ours)]);
        assert_eq!(observed_routes(), []);
        // Not the other way round.
        two_for_ipv4();
        let failure = refused(Add(&route(V6.far, by(11))));
        let text = failure.error.to_string();
        assert!(
            text.starts_with("IPv6 routes can not use an IPv4 nexthop"),
            "{text}"
        );
    });
}

fn two_for_ipv4() {
    apply_all(&[AddNextHop(id(11), &single(V4.one, link("east")))]);
}

/// A route's object may become a blackhole; the kernel then shows the route as one.
#[test]
fn a_route_whose_object_becomes_a_blackhole_is_the_same_route() {
    in_both_families(|net| {
        two_and_a_group(net);
        let nowhere = NextHopKind::Blackhole { family: net.family };
        let ours = route(net.far, by(3));
        apply_all(&[
            AddNextHop(id(4), &nowhere),
            Add(&ours),
            ReplaceNextHop(id(3), &group(&[(4, 1)])),
        ]);
        let shown = ip(&format!("{} route show table 100", net.flag));
        assert!(shown.starts_with("blackhole "), "{shown}");
        let seen = observed_routes();
        assert_eq!(seen[0].route, ours);
        assert_eq!(seen[0].route.attrs.hops(), []);
        apply_all(&[Remove(&seen[0].route)]);
        assert_eq!(observed_routes(), []);
        // And back.
        apply_all(&[Add(&ours), ReplaceNextHop(id(3), &group(&[(2, 1)]))]);
        let shown = ip(&format!("{} route show table 100", net.flag));
        assert!(shown.contains(net.two), "{shown}");
        assert_eq!(observed_routes()[0].route, ours);
    });
}

#[test]
fn changing_a_group_or_a_member_in_place_moves_the_routes() {
    in_both_families(|net| {
        two_and_a_group(net);
        let key = RouteKey::new(TableId::MAIN, net.far.parse().unwrap(), Metric::new(50));
        let ours = Route {
            key,
            attrs: Arc::new(by(3)),
        };
        apply_all(&[Add(&ours)]);
        assert!(way(net).contains(net.one), "{}", way(net));
        apply_all(&[ReplaceNextHop(id(3), &group(&[(2, 1)]))]);
        assert!(way(net).contains(net.two), "{}", way(net));
        apply_all(&[ReplaceNextHop(id(2), &single(net.one, link("east")))]);
        assert!(way(net).contains(net.one), "{}", way(net));
    });
}

#[test]
fn removing_an_object_takes_its_routes_and_its_groups() {
    in_both_families(|net| {
        two_and_a_group(net);
        let foreign = format!("{} table 100 metric 60 nhid 3 proto 99", net.far);
        ip(&format!("{} route add {foreign}", net.flag));
        apply_all(&[Add(&route(net.far, by(3)))]);
        assert_eq!(observed_routes().len(), 2);
        // A group with another member left goes on.
        apply_all(&[
            ReplaceNextHop(id(3), &group(&[(1, 1), (2, 1)])),
            RemoveNextHop(id(1)),
        ]);
        assert_eq!(kind_of(3), Some(group(&[(2, 1)])));
        assert_eq!(observed_routes().len(), 2);
        apply_all(&[RemoveNextHop(id(2))]);
        assert_eq!(objects(), []);
        assert_eq!(observed_routes(), []);
    });
}

/// Nothing tells but the event of the link.
#[test]
fn a_link_that_goes_down_takes_its_objects_their_groups_and_routes() {
    in_both_families(|net| {
        two_and_a_group(net);
        apply_all(&[Add(&route(net.far, by(3)))]);
        let mut events = Events::open(&Kernel::open().unwrap()).unwrap();
        ip("link set east down");
        assert_eq!(objects(), []);
        assert_eq!(observed_routes(), []);
        let heard = events.wait().unwrap();
        assert!(heard.contains(&KernelEvent::Node), "{heard:?}");
        let of_object = |event: &KernelEvent| matches!(event, KernelEvent::NextHop(_));
        assert!(!heard.iter().any(of_object), "{heard:?}");
    });
}

/// Where plain routes differ: they stay, and can be made.
#[test]
fn a_lost_carrier_takes_objects_and_their_routes_but_no_plain_ones() {
    in_both_families(|net| {
        two_and_a_group(net);
        let plain = route(net.far, unicast(&[via(net.one, link("east"))]));
        let mut by_object = route(net.far, by(3));
        by_object.key.metric = Metric::new(60);
        apply_all(&[Add(&plain), Add(&by_object)]);
        ip("link set east-peer down");
        // The kernel notices at its leisure (`linkwatch`, at most a second).
        wait_until("the carrier is gone", || {
            let seen = observe();
            seen.link_named("east").is_some_and(|east| !east.carrier) && seen.nexthops.is_empty()
        });
        let seen = observed_routes();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].route, plain);
        apply_all(&[Replace(&plain)]);
        let failure = refused(AddNextHop(id(1), &single(net.one, link("east"))));
        assert_eq!(failure.error.errno(), Some(libc::ENETDOWN));
    });
}

/// In one run: what a route needs before it, what it no longer needs after it.
#[test]
fn objects_and_routes_change_in_the_order_given() {
    in_both_families(|net| {
        let east = link("east");
        let (one, two) = (single(net.one, east), single(net.two, east));
        let (first, second) = (route(net.far, by(1)), route(net.far, by(2)));
        apply_all(&[
            AddNextHop(id(1), &one),
            Add(&first),
            AddNextHop(id(2), &two),
            Replace(&second),
            RemoveNextHop(id(1)),
        ]);
        assert_eq!(observed_routes()[0].route, second);
        assert_eq!(objects().len(), 1);
        apply_all(&[Remove(&second), RemoveNextHop(id(2))]);
        assert_eq!((observed_routes(), objects()), (vec![], vec![]));
        // The route went with its object; and each failure is told by its place among all.
        let failures = apply(&[Remove(&second), Add(&first), AddNextHop(id(1), &one)]);
        let indices: Vec<usize> = failures.iter().map(|failure| failure.index).collect();
        assert_eq!(indices, [1], "{failures:?}");
    });
}

fn many(net: &Net, count: u32, attrs: RouteAttrs) -> Vec<Route> {
    let attrs = Arc::new(attrs);
    let route = |n: u32| {
        let prefix = match net.family {
            Family::V4 => format!("{}/24", Ipv4Addr::from(0x1400_0000 + (n << 8))),
            Family::V6 => format!("2001:db8:{:x}:{:x}::/64", n >> 16, n & 0xffff),
        };
        Route {
            key: RouteKey::new(TableId::MAIN, prefix.parse().unwrap(), Metric::ZERO),
            attrs: Arc::clone(&attrs),
        }
    };
    (0..count).map(route).collect()
}

/// One message moves them all. The kernel tells others of each, unless it is told not to.
#[test]
fn twenty_thousand_routes_switch_by_one_message() {
    for (compat, count, told) in [("0", 20_000, 0), ("1", 100, 100)] {
        in_both_families(|net| {
            sysctl("ipv4/nexthop_compat_mode", compat);
            two_and_a_group(net);
            let routes = many(net, count, by(3));
            apply_all(&routes.iter().map(Add).collect::<Vec<_>>());
            let changes = Changes::watch();
            apply_all(&[ReplaceNextHop(id(3), &group(&[(2, 1)]))]);
            // The kernel may add some of its own on a new link, a moment late.
            let heard = changes.count();
            assert!((told..told + 10).contains(&heard), "{heard}");
            for route in [routes.first(), routes.last()] {
                let prefix = route.unwrap().key.prefix.address();
                let way = ip(&format!("route get {prefix}"));
                assert!(way.contains(&format!("via {} dev east", net.two)), "{way}");
            }
            let mut seen = observed_routes();
            seen.sort_by_key(|seen| seen.route.key);
            assert!(seen.iter().map(|seen| &seen.route).eq(&routes));
        });
    }
}
