//! The kernel's answer about one packet, in both families.

use srsync::kernel::Kernel;
use srsync::model::{InterfaceName, NoWay, Packet, Protocol, Refused, RouteType, TableId, Way};

use super::build::link;
use crate::support::tables::{quiet, wait_for_links};
use crate::support::{east_and_west, in_namespace, ip, sysctl};

fn packet(to: &str, from: &str, mark: u32) -> Packet {
    Packet {
        to: to.parse().unwrap(),
        from: from.parse().ok(),
        mark,
        iif: None,
    }
}

fn way(packet: &Packet) -> Way {
    let iif = packet.iif.as_ref().map(|name| link(name.as_str()));
    Kernel::open().unwrap().way(packet, iif).unwrap()
}

fn on_a_node(test: impl FnOnce() + Send) {
    in_namespace(|| {
        quiet();
        east_and_west();
        wait_for_links();
        test();
    });
}

#[test]
fn the_route_that_matches_and_what_comes_of_it_are_told() {
    on_a_node(|| {
        for (flag, to, prefix, via, source, from) in [
            (
                "-4",
                "192.0.2.9",
                "192.0.2.0/24",
                "10.0.1.2",
                "10.0.1.1",
                "10.0.2.1",
            ),
            (
                "-6",
                "2001:db8::9",
                "2001:db8::/32",
                "fd00:1::2",
                "fd00:1::1",
                "fd00:2::1",
            ),
        ] {
            ip(&format!(
                "{flag} route add {prefix} via {via} proto 17 metric 7"
            ));
            ip(&format!(
                "{flag} route add {prefix} dev west proto 18 table 100"
            ));
            ip(&format!("{flag} rule add fwmark 9 lookup 100"));
            ip(&format!("{flag} rule add from {from} lookup 100"));
            let plain = way(&packet(to, "", 0));
            let matched = plain.matched.unwrap().unwrap();
            let key = matched.route.key;
            assert_eq!(
                (key.prefix, key.table),
                (prefix.parse().unwrap(), TableId::MAIN)
            );
            assert_eq!((key.metric.get(), matched.protocol), (7, Protocol::new(17)));
            let taken = plain.taken.unwrap();
            assert_eq!(
                (taken.via, taken.link),
                (via.parse().ok(), Some(link("east")))
            );
            assert_eq!(
                (taken.source, taken.table),
                (source.parse().ok(), TableId::MAIN)
            );
            for other in [packet(to, "", 9), packet(to, from, 0)] {
                let way = way(&other);
                let matched = way.matched.unwrap().unwrap();
                assert_eq!(
                    (matched.route.key.table, matched.protocol),
                    (TableId::new(100), Protocol::new(18))
                );
                let taken = way.taken.unwrap();
                assert_eq!(
                    (taken.via, taken.link),
                    (None, Some(link("west"))),
                    "{other}"
                );
            }
            assert_eq!(
                way(&packet(source, "", 0)).taken.unwrap().kind,
                RouteType::Other(2)
            );
        }
    });
}

#[test]
fn a_packet_that_goes_nowhere_is_an_answer() {
    on_a_node(|| {
        let cases = [
            ("blackhole", NoWay::Dropped),
            ("prohibit", NoWay::Prohibited),
            ("unreachable", NoWay::Unreachable),
        ];
        for (kind, why) in cases {
            for prefix in ["192.0.2.9/32", "2001:db8::9/128"] {
                ip(&format!("route add {kind} {prefix} metric 5"));
                let to = prefix.split('/').next().unwrap();
                let way = way(&packet(to, "", 0));
                assert_eq!(way.taken.unwrap_err().why, why, "{kind} {to}");
                assert!(way.matched.is_err());
                ip(&format!("route del {kind} {prefix} metric 5"));
            }
        }
        for to in ["192.0.2.9", "2001:db8::9"] {
            let refused = way(&packet(to, "", 0)).taken.unwrap_err();
            assert_eq!(refused.why, NoWay::NoRoute, "{to}: {refused:?}");
        }
    });
}

#[test]
fn a_packet_that_comes_in_is_refused_by_rp_filter_and_without_forwarding() {
    on_a_node(|| {
        let why = |refused: Refused| refused.why;
        let forwarded = |from: &str| {
            let mut packet = packet("10.0.2.9", from, 0);
            packet.iif = InterfaceName::new("east");
            way(&packet).taken
        };
        assert_eq!(forwarded("10.0.1.9").map_err(why), Err(NoWay::Unreachable));
        sysctl("ipv4/ip_forward", "1");
        assert_eq!(forwarded("10.0.1.9").unwrap().link, Some(link("west")));
        ip("route add 198.51.100.0/24 via 10.0.2.7");
        sysctl("ipv4/conf/east/rp_filter", "1");
        // EXDEV (`fib_validate_source`), which newer kernels such as 6.18 turn into EINVAL.
        let refused = forwarded("198.51.100.9").map_err(why).unwrap_err();
        assert!(
            [NoWay::WrongInterface, NoWay::Dropped].contains(&refused),
            "{refused:?}"
        );
        let mut six = packet("fd00:2::9", "fd00:1::9", 0);
        six.iif = InterfaceName::new("east");
        assert_eq!(way(&six).taken.unwrap().link, Some(link("west")));
    });
}
