//! Adding, replacing and removing, checked from outside with `ip`.

use srsync::kernel::Change::{Add, Remove, Replace};
use srsync::model::{NextHop, RouteAttrs, RouteType};

use super::build::*;
use crate::support::{in_namespace, ip, veth};

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
            ip("addr add 10.0.0.1/24 dev east");
            ip("addr add fd00::1/64 dev east nodad");
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
    tuned.mtu = Some(srsync::model::Mtu::new(1400));
    tuned.advmss = Some(srsync::model::AdvMss::new(1300));
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
    vec![
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
    ]
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
