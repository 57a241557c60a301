//! Adding, replacing and removing, checked from outside with `ip`.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use srsync::kernel::Change::{Add, Remove, Replace};
use srsync::model::{
    AdvMss, Metric, Mtu, NextHop, NextHopId, Prefix, Route, RouteAttrs, RouteKey, RouteType,
    TableId,
};

use super::build::*;
use crate::support::{address, in_namespace, ip, veth};

/// Both families' names for the same set-up: `a` with two neighbours.
struct Net {
    one: &'static str,
    two: &'static str,
    three: &'static str,
    far: &'static str,
}

const V4: Net = Net {
    one: "10.0.0.2",
    two: "10.0.0.3",
    three: "10.9.0.4",
    far: "198.51.100.0/24",
};
const V6: Net = Net {
    one: "fd00::2",
    two: "fd00::3",
    three: "fd09::4",
    far: "2001:db8::/64",
};

fn with_links(test: impl Fn(&Net) + Send + Sync) {
    for net in [V4, V6] {
        in_namespace(|| {
            veth("east", "east-peer");
            veth("west", "west-peer");
            address("10.0.0.1/24", "east");
            address("fd00::1/64", "east");
            let family = family_flag(&net);
            ip(&format!("nexthop add id 7 via {} dev east", net.one));
            ip(&format!("nexthop add id 8 via {} dev east", net.two));
            ip("nexthop add id 9 group 7,5/8");
            ip(&format!("{family} nexthop add id 10 blackhole"));
            test(&net);
        });
    }
}

/// Every way in which a route can be.
fn every_kind(net: &Net) -> Vec<RouteAttrs> {
    let (a, b) = (link("east"), link("west"));
    let on_link = NextHop {
        on_link: true,
        ..via(net.three, b)
    };
    let (one, two) = (via(net.one, a), via(net.two, a));
    let mut tuned = unicast(&[one]);
    tuned.mtu = Some(Mtu::new(1400));
    tuned.advmss = Some(AdvMss::new(1300));
    let mut sourced = unicast(&[one]);
    sourced.source = Some(
        if net.one.contains(':') {
            "fd00::1"
        } else {
            "10.0.0.1"
        }
        .parse()
        .unwrap(),
    );
    let mut kinds = vec![
        unicast(&[one]),
        unicast(&[two]),
        unicast(&[dev(a)]),
        unicast(&[dev(b)]),
        unicast(&[on_link]),
        unicast(&[one, two]),
        unicast(&[weighing(one, 256), two, weighing(on_link, 7)]),
        unicast(&[weighing(one, 2), weighing(two, 3)]),
        nowhere(RouteType::Blackhole),
        nowhere(RouteType::Unreachable),
        nowhere(RouteType::Prohibit),
        nowhere(RouteType::Throw),
        tuned,
        sourced,
        RouteAttrs::by_nexthop(NextHopId::new(7)),
        RouteAttrs::by_nexthop(NextHopId::new(9)),
        RouteAttrs::by_nexthop(NextHopId::new(10)),
    ];
    // "Device only routes can not be added for IPv6 using the multipath API."
    if net.one.contains('.') {
        kinds.push(unicast(&[one, two, dev(b)]));
        kinds.push(unicast(&[dev(a), dev(b)]));
    }
    kinds
}

#[test]
fn every_kind_can_be_added_is_read_back_equal_and_can_be_removed() {
    with_links(|net| {
        for attrs in every_kind(net) {
            let route = route(net.far, attrs);
            apply_all(&[Add(&route)]);
            let seen = observed_routes();
            assert_eq!(seen.len(), 1, "{route:?}");
            assert_eq!(seen[0].route, route, "{}", ip("-d route show table 100"));
            apply_all(&[Remove(&route)]);
            assert_eq!(observed_routes(), [], "{route:?}");
        }
    });
}

#[test]
fn every_kind_can_be_replaced_by_every_other() {
    with_links(|net| {
        for from in every_kind(net) {
            for to in every_kind(net) {
                let (from, to) = (route(net.far, from.clone()), route(net.far, to));
                apply_all(&[Add(&from)]);
                apply_all(&[Replace(&to)]);
                let seen = observed_routes();
                assert!(
                    seen.len() == 1 && seen[0].route == to,
                    "from {from:?}\nto {to:?}\nseen {seen:?}"
                );
                apply_all(&[Remove(&to)]);
                assert_eq!(observed_routes(), []);
            }
        }
    });
}

fn family_flag(net: &Net) -> &'static str {
    if net.far.contains(':') { "-6" } else { "-4" }
}

/// All routes of the family, as `ip` shows them, but for those the kernel makes by itself, some of
/// them a moment after an address or a link.
fn shown(net: &Net) -> Vec<String> {
    let text = ip(&format!("{} -d route show table all", family_flag(net)));
    let lines = text.lines().filter(|line| !line.contains("proto kernel"));
    lines.map(str::to_owned).collect()
}

fn add_with_ip(net: &Net, rest: &str) {
    ip(&format!(
        "{} route add {} {rest}",
        family_flag(net),
        net.far
    ));
}

#[test]
fn an_occupied_slot_is_refused_and_stays_byte_for_byte() {
    with_links(|net| {
        add_with_ip(
            net,
            &format!("via {} dev east table 100 metric 50 proto 99", net.two),
        );
        let before = shown(net);
        let ours = route(net.far, unicast(&[via(net.one, link("east"))]));
        let failures = apply(&[Add(&ours)]);
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].error.errno(), Some(libc::EEXIST));
        assert_eq!(shown(net), before);
    });
}

#[test]
fn replace_fills_a_slot_that_became_free() {
    with_links(|net| {
        let ours = route(net.far, unicast(&[via(net.one, link("east"))]));
        apply_all(&[Replace(&ours)]);
        assert_eq!(observed_routes()[0].route, ours);
    });
}

#[test]
fn removing_what_is_gone_is_done() {
    with_links(|net| {
        for attrs in every_kind(net) {
            apply_all(&[Remove(&route(net.far, attrs))]);
        }
    });
}

#[test]
fn a_removal_takes_nothing_that_differs_in_owner_metric_or_table() {
    with_links(|net| {
        let way = format!("via {} dev east", net.one);
        add_with_ip(net, &format!("{way} table 100 metric 50 proto 99"));
        add_with_ip(net, &format!("{way} table 100 metric 51 proto 83"));
        add_with_ip(net, &format!("{way} table 101 metric 50 proto 83"));
        let before = shown(net);
        for attrs in every_kind(net) {
            apply_all(&[Remove(&route(net.far, attrs))]);
            assert_eq!(shown(net), before);
        }
    });
}

#[test]
fn a_removal_takes_ours_whatever_its_scope_and_extras() {
    in_namespace(|| {
        veth("east", "east-peer");
        address("10.0.0.1/24", "east");
        ip("route add 198.51.100.0/24 dev east scope host table 100 metric 50 proto 83");
        ip("nexthop add id 7 via 10.0.0.2 dev east");
        ip("route add 198.51.101.0/24 nhid 7 table 100 metric 50 proto 83");
        ip("route add 198.51.102.0/24 via 10.0.0.2 mtu lock 1400 table 100 metric 50 proto 83");
        // In another order than the canonical one.
        ip("route add 198.51.103.0/24 table 100 metric 50 proto 83 \
            nexthop via 10.0.0.3 dev east nexthop via 10.0.0.2 dev east");
        let seen = observed_routes();
        assert_eq!(seen.len(), 4);
        let odd: Vec<bool> = seen.iter().map(|route| route.route.attrs.extra).collect();
        assert_eq!(odd, [true, false, true, false], "{seen:?}");
        for route in &seen {
            apply_all(&[Remove(&route.route)]);
        }
        assert_eq!(observed_routes(), []);
    });
}

/// IPv6 next hops are siblings with an owner each; the dump shows the first one's.
#[test]
fn a_foreign_sibling_survives_the_removal_of_ours() {
    in_namespace(|| {
        veth("east", "east-peer");
        address("fd00::1/64", "east");
        let east = link("east");
        let ours = route(
            "2001:db8::/64",
            unicast(&[via("fd00::2", east), via("fd00::3", east)]),
        );
        apply_all(&[Add(&ours)]);
        ip("-6 route append 2001:db8::/64 via fd00::4 dev east table 100 metric 50 proto 99");
        let seen = observed_routes();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].route.attrs.hops().len(), 3);
        apply_all(&[Remove(&seen[0].route)]);
        let left = observed_routes();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].protocol.get(), 99);
        assert_eq!(*left[0].route.attrs, unicast(&[via("fd00::4", east)]));
    });
}

#[test]
fn a_refusal_in_the_middle_has_the_kernels_words_and_stops_nothing() {
    with_links(|net| {
        let east = link("east");
        let prefix = |n: u32| match net.far.contains(':') {
            true => format!("2001:db8:0:{n:x}::/64"),
            false => format!("198.18.{n}.0/24"),
        };
        let good = unicast(&[via(net.one, east)]);
        let bad = unicast(&[via(net.three, east)]);
        let wanted: Vec<_> = (0..100)
            .map(|n| route(&prefix(n), if n == 57 { bad.clone() } else { good.clone() }))
            .collect();
        let changes: Vec<_> = wanted.iter().map(Add).collect();
        let failures = apply(&changes);
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].index, 57);
        let text = failures[0].error.to_string();
        assert!(
            text.starts_with("Nexthop has invalid gateway") || net.far.contains(':'),
            "{text}"
        );
        assert!(
            text.contains("unreach") || text.contains("No route to host"),
            "{text}"
        );
        assert_eq!(observed_routes().len(), 99);
    });
}

#[test]
fn thousands_of_failures_are_all_reported() {
    with_links(|net| {
        let prefix = |n: u32| match net.far.contains(':') {
            true => format!("2001:db8:0:{n:x}::/64"),
            false => format!("198.{}.{}.0/24", n / 256, n % 256),
        };
        // An address that this node does not have, which the kernel explains at length.
        let mut attrs = unicast(&[via(net.one, link("east"))]);
        attrs.source = Some(net.three.parse().unwrap());
        let wanted: Vec<_> = (0..8000)
            .map(|n| route(&prefix(n), attrs.clone()))
            .collect();
        let changes: Vec<_> = wanted.iter().map(Replace).collect();
        let failures = apply(&changes);
        assert_eq!(failures.len(), 8000);
        for (index, failure) in failures.iter().enumerate() {
            assert_eq!(failure.index, index);
            assert_eq!(
                failure.error.errno(),
                Some(libc::EINVAL),
                "{}",
                failure.error
            );
        }
        assert_eq!(observed_routes(), []);
    });
}

/// Whatever a unicast route is replaced by, at no moment is there none. Told by packets: during a
/// change an IPv6 `ip route get` may say "unreachable" while packets still find their way
/// (`inet6_rtm_getroute`, net/ipv6/route.c, when `rt->from` is gone).
#[test]
fn a_replacement_leaves_no_gap() {
    with_links(|net| {
        let far = net.far.split('/').next().unwrap();
        for neighbour in [net.one, net.two, far] {
            ip(&format!(
                "neigh add {neighbour} lladdr 02:00:00:00:00:01 dev east"
            ));
        }
        let east = link("east");
        let (one, two) = (via(net.one, east), via(net.two, east));
        let kinds = [
            &[one][..],
            &[one, two],
            &[dev(east)],
            &[two],
            &[dev(east)],
            &[weighing(one, 3), two],
            &[one, two],
        ]
        .map(unicast);
        let by = |id| RouteAttrs::by_nexthop(NextHopId::new(id));
        let [a, b, c, d, e, f, g] = kinds;
        let kinds = [a, by(7), b, by(9), c, by(9), by(7), d, e, f, g].map(|attrs| Route {
            key: RouteKey::new(TableId::MAIN, net.far.parse().unwrap(), Metric::new(50)),
            attrs: Arc::new(attrs),
        });
        apply_all(&[Add(&kinds[0])]);
        let any = if far.contains(':') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let socket = UdpSocket::bind(any).unwrap();
        let to = SocketAddr::new(far.parse().unwrap(), 9);
        let done = AtomicBool::new(false);
        let (sent, lost) = std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let (mut sent, mut lost) = (0, Vec::new());
                while !done.load(Ordering::Relaxed) {
                    sent += 1;
                    lost.extend(socket.send_to(b"x", to).err());
                }
                (sent, lost)
            });
            for _ in 0..300 {
                apply_all(&kinds.each_ref().map(Replace));
            }
            done.store(true, Ordering::Relaxed);
            sender.join().unwrap()
        });
        assert!(sent > 100, "{sent}");
        // Were there a gap, one in ten would find no route. On a machine that is busy with more than it
        // has processors for, the kernel itself loses one now and then: see `Change::Replace`.
        assert!(lost.len() * 1000 <= sent, "of {sent} packets: {lost:?}");
    });
}

#[test]
fn failures_say_which_change_whatever_the_order_of_sending() {
    in_namespace(|| {
        veth("east", "east-peer");
        address("10.0.0.1/24", "east");
        let east = link("east");
        let fine = unicast(&[via("10.0.0.2", east)]);
        let routes: Vec<_> = ["198.18.0.0/24", "198.18.1.0/24", "198.18.2.0/24"]
            .map(|prefix| route(prefix, fine.clone()))
            .into();
        apply_all(&[Add(&routes[0]), Add(&routes[2])]);
        let bad = route("198.19.0.0/16", unicast(&[via("203.0.113.1", east)]));
        let failures = apply(&[
            Remove(&routes[0]),
            Remove(&routes[1]),
            Remove(&routes[2]),
            Add(&bad),
            Add(&routes[1]),
            Add(&routes[1]),
        ]);
        let indices: Vec<_> = failures.iter().map(|failure| failure.index).collect();
        assert_eq!(indices, [3, 5]);
        assert_eq!(observed_routes().len(), 1);
    });
}

#[test]
fn a_hundred_thousand_routes_come_and_go() {
    in_namespace(|| {
        veth("east", "east-peer");
        address("10.0.0.1/24", "east");
        let attrs = Arc::new(unicast(&[via("10.0.0.2", link("east"))]));
        let routes: Vec<Route> = (0..100_000u32)
            .map(|n| {
                let address = std::net::Ipv4Addr::from(0x1400_0000 + (n << 8));
                let prefix = Prefix::containing(address.into(), 24).unwrap();
                Route {
                    key: RouteKey::new(TableId::new(100_000), prefix, Metric::ZERO),
                    attrs: Arc::clone(&attrs),
                }
            })
            .collect();
        apply_all(&routes.iter().map(Add).collect::<Vec<_>>());
        let mut seen: Vec<Route> = observed_routes()
            .into_iter()
            .map(|seen| seen.route)
            .collect();
        seen.sort();
        assert!(seen == routes);
        assert!(
            seen.iter()
                .all(|route| Arc::ptr_eq(&route.attrs, &seen[0].attrs))
        );
        apply_all(&routes.iter().map(Remove).collect::<Vec<_>>());
        assert_eq!(observed_routes(), []);
    });
}
