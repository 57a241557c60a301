//! Reading, of what `ip` set up.

use std::collections::BTreeSet;

use srsync::kernel::{Interest, Kernel, NextHops, Tables};
use srsync::model::{
    AdvMss, IfIndex, Lookup, Mtu, NextHop, NextHopId, ObservedRoute, Protocol, RouteAttrs,
    RouteType, Scope, TableId, Tos,
};

use super::build::*;
use crate::support::{address, in_namespace, ip, ip_batch, ip_succeeds, veth};

fn with_links(test: impl FnOnce() + Send) {
    in_namespace(|| {
        veth("east", "east-peer");
        address("10.0.0.1/24", "east");
        address("fd00::1/64", "east");
        test();
    });
}

/// What one `ip route add` to table 100 looks like when it is read, in a namespace of its own.
fn read_back(arguments: &str) -> ObservedRoute {
    // IPv4 by way of an IPv6 gateway has a colon, but not first.
    let family = if arguments.starts_with("198.") || !arguments.contains(':') {
        "-4"
    } else {
        "-6"
    };
    let mut seen = Vec::new();
    with_links(|| {
        ip("nexthop add id 7 via 10.0.0.2 dev east");
        ip("nexthop add id 8 via fd00::2 dev east");
        ip(&format!("{family} route add table 100 {arguments}"));
        seen = observed_routes();
    });
    assert_eq!(seen.len(), 1, "{arguments}");
    seen.remove(0)
}

fn attrs(arguments: &str) -> RouteAttrs {
    RouteAttrs::clone(&read_back(arguments).route.attrs)
}

#[test]
fn every_attribute_of_the_slot_is_read() {
    with_links(|| {
        let seen = read_back("198.51.100.0/24 via 10.0.0.2 metric 7 tos 0x10 proto 99");
        assert_eq!(seen.protocol, Protocol::new(99));
        assert_eq!(seen.scope, Scope::UNIVERSE);
        let key = seen.route.key;
        assert_eq!(key.prefix.to_string(), "198.51.100.0/24");
        assert_eq!(key.metric.get(), 7);
        assert_eq!(key.tos, Tos::new(0x10));
        assert_eq!(key.table, TableId::new(100));
        assert_eq!(read_back("198.51.100.0/24 dev east").scope, Scope::LINK);
        // `default`: a destination that is not even sent.
        let seen = read_back("default via 10.0.0.2");
        assert_eq!(seen.route.key.prefix.to_string(), "0.0.0.0/0");
        let seen = read_back("::/0 via fd00::2 src fd00::1 proto 99 dev east from 2001:db8::/48");
        assert!(seen.route.attrs.extra);
        assert_eq!(seen.route.key.prefix.to_string(), "::/0");
        assert_eq!(seen.route.key.metric.get(), 1024);
    });
}

#[test]
fn every_attribute_of_the_way_is_read() {
    with_links(|| {
        let east = link("east");
        let via4 = unicast(&[via("10.0.0.2", east)]);
        let via6 = unicast(&[via("fd00::2", east)]);
        assert_eq!(attrs("198.51.100.0/24 via 10.0.0.2"), via4);
        assert_eq!(attrs("2001:db8::/64 via fd00::2"), via6);
        let tuned = |attrs: &RouteAttrs, source: &str| {
            let mut attrs = attrs.clone();
            attrs.mtu = Some(Mtu::new(1400));
            attrs.advmss = Some(AdvMss::new(1300));
            attrs.source = Some(source.parse().unwrap());
            attrs
        };
        assert_eq!(
            attrs("198.51.100.0/24 via 10.0.0.2 mtu 1400 advmss 1300 src 10.0.0.1"),
            tuned(&via4, "10.0.0.1")
        );
        assert_eq!(
            attrs("2001:db8::/64 via fd00::2 mtu 1400 advmss 1300 src fd00::1"),
            tuned(&via6, "fd00::1")
        );
        let on_link = |gateway| NextHop {
            on_link: true,
            ..via(gateway, east)
        };
        assert_eq!(
            attrs("198.51.100.0/24 via 10.9.0.2 dev east onlink"),
            unicast(&[on_link("10.9.0.2")])
        );
        assert_eq!(
            attrs("2001:db8::/64 via fd09::2 dev east onlink"),
            unicast(&[on_link("fd09::2")])
        );
        assert_eq!(attrs("198.51.100.0/24 via inet6 fd00::2 dev east"), via6);
    });
}

#[test]
fn several_ways_are_read_in_one_order_with_their_weights() {
    with_links(|| {
        let east = link("east");
        for (far, one, two) in [
            ("198.51.100.0/24", "10.0.0.2", "10.0.0.3"),
            ("2001:db8::/64", "fd00::2", "fd00::3"),
        ] {
            let hops = [weighing(via(one, east), 256), via(two, east)];
            for order in [[0, 1], [1, 0]] {
                let words = order.map(|n: usize| {
                    let gateway = [one, two][n];
                    format!("nexthop via {gateway} dev east weight {}", hops[n].weight)
                });
                assert_eq!(attrs(&format!("{far} {}", words.join(" "))), unicast(&hops));
            }
            let lone = attrs(&format!("{far} nexthop via {one} dev east weight 5"));
            assert_eq!(lone, unicast(&[via(one, east)]));
        }
    });
}

#[test]
fn ways_that_go_nowhere_have_no_hops_in_either_family() {
    with_links(|| {
        for (word, kind) in [
            ("blackhole", RouteType::Blackhole),
            ("unreachable", RouteType::Unreachable),
            ("prohibit", RouteType::Prohibit),
            ("throw", RouteType::Throw),
        ] {
            for far in ["198.51.100.0/24", "2001:db8::/64"] {
                assert_eq!(attrs(&format!("{word} {far}")), nowhere(kind));
            }
        }
    });
}

#[test]
fn what_srsync_never_sets_makes_a_route_unequal() {
    with_links(|| {
        for odd in [
            "198.51.100.0/24 via 10.0.0.2 mtu lock 1400",
            "198.51.100.0/24 via 10.0.0.2 window 1000",
            "198.51.100.0/24 via 10.0.0.2 initcwnd 10",
            "198.51.100.0/24 dev east scope host",
            "2001:db8::/64 via fd00::2 expires 1000",
            "2001:db8::/64 via fd00::2 pref high",
            "2001:db8::/64 via fd00::2 hoplimit 3",
            "2001:db8::/64 via fd00::2 from 2001:db8:1::/64",
        ] {
            assert!(attrs(odd).extra, "{odd}");
        }
    });
}

/// As a routing daemon installs its routes: they are no plain routes, and lead somewhere.
#[test]
fn the_reference_to_a_nexthop_object_is_read_and_so_is_where_it_leads() {
    with_links(|| {
        let east = link("east");
        for (prefix, id, gateway) in [
            ("198.51.100.0/24", 7, "10.0.0.2"),
            ("198.51.100.0/24", 8, "fd00::2"),
            ("2001:db8::/64", 8, "fd00::2"),
        ] {
            let seen = attrs(&format!("{prefix} nhid {id}"));
            assert_eq!(seen, RouteAttrs::by_nexthop(NextHopId::new(id)), "{prefix}");
            assert!(!seen.extra, "{prefix}");
            assert_eq!(seen.hops(), [via(gateway, east)], "{prefix}");
            assert_ne!(seen, unicast(&[via(gateway, east)]), "{prefix}");
        }
    });
}

#[test]
fn the_state_of_the_link_is_no_part_of_a_route() {
    with_links(|| {
        let east = link("east");
        ip("route add 198.51.100.0/24 via 10.0.0.2 table 100");
        ip("-6 route add 2001:db8::/64 via fd00::2 table 100");
        let before = observed_routes();
        ip("link set east-peer down");
        // The kernel notices at its leisure (`linkwatch`, at most a second).
        let noticed = || ip("route show table 100").contains("linkdown");
        while !noticed() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(observed_routes(), before);
        let link = observe().link(east).cloned().unwrap();
        assert!(link.up && !link.carrier);
    });
}

#[test]
fn links_and_addresses_are_read() {
    with_links(|| {
        ip("addr add 10.5.0.1 peer 10.5.0.2/32 dev east");
        ip("addr add fd05::1 peer fd05::2/128 dev east");
        ip("link add name spare type veth peer name spare-peer");
        let seen = observe();
        let numbers: Vec<IfIndex> = seen.links.iter().map(|link| link.index).collect();
        assert!(numbers.is_sorted());
        let lo = seen.link_named("lo").unwrap();
        assert!(lo.loopback && lo.up);
        let east = seen.link_named("east").unwrap();
        assert!(!east.loopback && east.up && east.carrier);
        let spare = seen.link_named("spare").unwrap();
        assert!(!spare.up && !spare.carrier);
        let on_east = |local: &str| {
            let local: std::net::IpAddr = local.parse().unwrap();
            let found = seen.addresses.iter().find(|address| address.local == local);
            let found = found.unwrap();
            assert_eq!(found.link, east.index);
            (found.length, found.peer.map(|peer| peer.to_string()))
        };
        assert_eq!(on_east("10.0.0.1"), (24, None));
        assert_eq!(on_east("fd00::1"), (64, None));
        assert_eq!(on_east("10.5.0.1"), (32, Some("10.5.0.2".to_owned())));
        assert_eq!(on_east("fd05::1"), (128, Some("fd05::2".to_owned())));
    });
}

#[test]
fn only_what_is_of_interest_is_kept() {
    with_links(|| {
        let add = |prefix: &str, table: u32, protocol: u8| {
            ip(&format!(
                "route add {prefix} via 10.0.0.2 table {table} proto {protocol}"
            ));
        };
        add("198.51.100.0/24", 100, 99);
        add("198.51.101.0/24", 100_000, 99);
        add("198.51.102.0/24", 101, 99);
        add("198.51.103.0/24", 101, 83);
        add("198.51.104.0/24", 254, 83);
        let seen: BTreeSet<String> = observed_routes()
            .iter()
            .map(|route| route.route.key.prefix.to_string())
            .collect();
        let expected = [100, 101, 103, 104].map(|n| format!("198.51.{n}.0/24"));
        assert_eq!(seen, BTreeSet::from(expected));
    });
}

#[test]
fn the_routes_of_the_kernel_itself_are_read_as_they_are() {
    with_links(|| {
        let interest = Interest {
            nexthops: NextHops::Ignored,
            protocol: OURS,
            tables: Tables::Only(BTreeSet::from([TableId::MAIN, TableId::LOCAL])),
            lookups: BTreeSet::new(),
        };
        let seen = Kernel::open().unwrap().observe(&interest).unwrap().routes;
        let of = |prefix: &str, table: TableId| {
            let prefix: srsync::model::Prefix = prefix.parse().unwrap();
            let key = |route: &&ObservedRoute| {
                (route.route.key.prefix, route.route.key.table) == (prefix, table)
            };
            seen.iter().find(key).unwrap_or_else(|| panic!("{prefix}"))
        };
        let connected = of("10.0.0.0/24", TableId::MAIN);
        assert_eq!(connected.scope, Scope::LINK);
        assert_eq!(connected.protocol, Protocol::KERNEL);
        assert!(!connected.route.attrs.extra);
        assert_eq!(connected.route.attrs.hops(), [dev(link("east"))]);
        assert!(!of("fd00::/64", TableId::MAIN).route.attrs.extra);
        let local = of("::1/128", TableId::LOCAL);
        assert_eq!(local.route.attrs.kind, RouteType::Other(2));
        assert_eq!(local.route.key.metric.get(), 0);
    });
}

#[test]
fn lookups_name_the_way_and_its_owner() {
    with_links(|| {
        let east = link("east");
        ip("route add 198.51.100.0/24 via 10.0.0.2 proto 99");
        ip("-6 route add 2001:db8::/64 via fd00::2 proto 99");
        ip("route add 198.51.101.0/24 proto 99 nexthop via 10.0.0.3 nexthop via 10.0.0.2");
        ip("nexthop add id 7 via 10.0.0.2 dev east");
        ip("nexthop add id 8 via fd00::2 dev east");
        ip("route add 198.51.105.0/24 nhid 7 proto 99");
        ip("-6 route add 2001:db8:105::/64 nhid 8 proto 99");
        for (word, n) in [("blackhole", 102), ("unreachable", 103), ("prohibit", 104)] {
            ip(&format!("route add {word} 198.51.{n}.0/24"));
            ip(&format!("-6 route add {word} 2001:db8:{n}::/64"));
        }
        let found = |address: &str| {
            let address = address.parse().unwrap();
            let mut interest = interest();
            interest.lookups.insert(address);
            let seen = Kernel::open().unwrap().observe(&interest).unwrap();
            seen.lookups.get(&address).cloned()
        };
        let lookup = |via: Option<&str>, protocol| {
            Some(Lookup {
                via: via.map(|via| via.parse().unwrap()),
                link: east,
                protocol: Protocol::new(protocol),
            })
        };
        assert_eq!(found("198.51.100.9"), lookup(Some("10.0.0.2"), 99));
        assert_eq!(found("2001:db8::9"), lookup(Some("fd00::2"), 99));
        assert_eq!(found("198.51.101.9"), lookup(Some("10.0.0.2"), 99));
        assert_eq!(found("198.51.105.9"), lookup(Some("10.0.0.2"), 99));
        assert_eq!(found("2001:db8:105::9"), lookup(Some("fd00::2"), 99));
        assert_eq!(found("10.0.0.9"), lookup(None, 2));
        assert_eq!(found("fd00::9"), lookup(None, 2));
        for unreachable in ["192.0.2.1", "2001:db8:9::1"] {
            assert_eq!(found(unreachable), None);
        }
        for n in [102, 103, 104] {
            assert_eq!(found(&format!("198.51.{n}.1")), None);
            assert_eq!(found(&format!("2001:db8:{n}::1")), None);
        }
    });
}

#[test]
fn a_hundred_thousand_foreign_routes_are_read_and_share_their_attributes() {
    with_links(|| {
        let lines: Vec<String> = (0..100_000u32)
            .map(|n| {
                let address = std::net::Ipv4Addr::from(0x1400_0000 + (n << 8));
                format!("route add {address}/24 via 10.0.0.{} table 100", 2 + n % 2)
            })
            .collect();
        ip_batch(&lines.join("\n"));
        let seen = observed_routes();
        assert_eq!(seen.len(), 100_000);
        let distinct: BTreeSet<_> = seen
            .iter()
            .map(|r| std::sync::Arc::as_ptr(&r.route.attrs))
            .collect();
        assert_eq!(distinct.len(), 2);
    });
}

#[test]
fn a_node_without_ipv6_routes_is_read() {
    in_namespace(|| {
        crate::support::sysctl("ipv6/conf/all/disable_ipv6", "1");
        veth("east", "east-peer");
        address("10.0.0.1/24", "east");
        assert!(ip_succeeds(
            "route add 198.51.100.0/24 via 10.0.0.2 table 100"
        ));
        assert_eq!(observed_routes().len(), 1);
    });
}
