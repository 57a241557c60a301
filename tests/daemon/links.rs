//! Links and addresses that come and go: routes wait for them, and are there when they are.

use std::time::Duration;

use super::node::{on_a_changing_node, ours, spec, wait_for};
use crate::support::daemon::Daemon;
use crate::support::tables::wait_until;
use crate::support::{address, ip, sysctl, veth};

const BOTH: [&str; 2] = ["198.18.1.0/24", "2001:db8:1::/64"];

#[test]
fn a_link_that_flaps_gets_its_routes_back() {
    on_a_changing_node(|srsync| {
        // Otherwise whoever gave the link its addresses would have to do it again.
        sysctl("ipv6/conf/east/keep_addr_on_down", "1");
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        for _ in 0..5 {
            ip("link set east down");
            for prefix in BOTH {
                let said = daemon.wait_for_state(prefix, "Pending");
                assert!(said.starts_with("Pending: link east is down"), "{said}");
            }
            wait_until("the kernel has none", || ours().is_empty());
            ip("link set east up");
            wait_for(&[(1, 2)]);
            for prefix in BOTH {
                daemon.wait_for_state(prefix, "Installed");
            }
        }
        // Nobody undid anything: the kernel did what a link that is down means.
        let status = daemon.status();
        assert_eq!(status["daemon"]["contested"].as_array().unwrap().len(), 0);
    });
}

/// With `failover` the next gateway takes over when the link of the first is down, and gives back.
#[test]
fn while_a_link_is_down_the_gateway_on_another_one_is_used() {
    on_a_changing_node(|srsync| {
        srsync.document(
            "a",
            "destinations: [198.18.1.0/24], gateways: [{address: 10.0.1.2}, {address: 10.0.2.2}]",
        );
        let _daemon = Daemon::start(srsync, "");
        let via = |gateway: &str| {
            let gateway = gateway.to_owned();
            wait_until(&gateway, || ours().get("198.18.1.0/24") == Some(&gateway));
        };
        via("10.0.1.2");
        ip("link set east down");
        via("10.0.2.2");
        ip("link set east up");
        via("10.0.1.2");
    });
}

/// Fail closed: packets must not leave by the default route while the gateway's link is down.
#[test]
fn with_blackhole_packets_are_dropped_while_no_gateway_can_be_used() {
    on_a_changing_node(|srsync| {
        srsync.document("a", &format!("{}, onAllDown: blackhole", spec(1, 2)));
        let daemon = Daemon::start(srsync, "");
        wait_for(&[(1, 2)]);
        ip("link set east down");
        for (family, prefix) in [("-4", BOTH[0]), ("-6", BOTH[1])] {
            wait_until("packets are dropped", || {
                ip(&format!("{family} route show proto 83 {prefix}")).starts_with("blackhole")
            });
            daemon.wait_for_state(prefix, "Installed");
        }
        ip("link set east up");
        address("fd00:1::1/64", "east");
        wait_for(&[(1, 2)]);
    });
}

/// Fail open: the route goes, so that the next one that matches is used; also one that the kernel
/// would have left.
#[test]
fn with_withdraw_the_route_goes_while_no_gateway_can_be_used() {
    on_a_changing_node(|srsync| {
        srsync.document(
            "a",
            "destinations: [198.18.1.0/24], gateways: [{address: 10.0.1.2}], onAllDown: withdraw",
        );
        let daemon = Daemon::start(srsync, "");
        wait_until("it is there", || !ours().is_empty());
        // The subnet goes, the link stays: the kernel would keep the route.
        ip("addr add 10.9.9.1/24 dev east");
        ip("addr del 10.0.1.1/24 dev east");
        let said = daemon.wait_for_state("198.18.1.0/24", "Withdrawn");
        assert!(said.contains("onAllDown: withdraw"), "{said}");
        wait_until("it is gone", || ours().is_empty());
        address("10.0.1.1/24", "east");
        wait_until("it is back", || !ours().is_empty());
        daemon.wait_for_state("198.18.1.0/24", "Installed");
    });
}

#[test]
fn an_address_that_is_removed_takes_its_gateways_and_brings_them_back() {
    on_a_changing_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        for _ in 0..3 {
            ip("addr del 10.0.1.1/24 dev east");
            ip("addr del fd00:1::1/64 dev east");
            for prefix in BOTH {
                let said = daemon.wait_for_state(prefix, "Pending");
                assert!(said.contains("not on a connected subnet"), "{said}");
            }
            address("10.0.1.1/24", "east");
            address("fd00:1::1/64", "east");
            wait_for(&[(1, 2)]);
            for prefix in BOTH {
                daemon.wait_for_state(prefix, "Installed");
            }
        }
    });
}

/// The kernel takes routes away with the address that they have as source, and tells only of the
/// address.
#[test]
fn an_address_that_is_the_source_of_a_route_is_waited_for() {
    on_a_changing_node(|srsync| {
        address("10.0.9.1/32", "lo");
        srsync.document(
            "a",
            "destinations: [198.18.1.0/24], gateway: 10.0.1.2, source: 10.0.9.1",
        );
        let daemon = Daemon::start(srsync, "");
        for _ in 0..5 {
            ip("addr del 10.0.9.1/32 dev lo");
            let said = daemon.wait_for_state("198.18.1.0/24", "Pending");
            assert!(said.contains("10.0.9.1"), "{said}");
            address("10.0.9.1/32", "lo");
            daemon.wait_for_state("198.18.1.0/24", "Installed");
            let there = ip("route show proto 83");
            assert!(there.contains("src 10.0.9.1"), "{there}");
        }
    });
}

/// What the kernel does not tell is found by looking from time to time.
#[test]
fn the_kernel_is_compared_from_time_to_time_without_being_asked() {
    on_a_changing_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "--resync-interval 1s");
        wait_until("three comparisons", || daemon.passes("resync") >= 3);
        assert_eq!(daemon.passes("kernel"), 0);
        assert_eq!(daemon.status()["daemon"]["lastPass"]["changes"], 0);
    });
}

#[test]
fn an_interface_that_comes_later_gets_its_routes_and_loses_them_with_its_name() {
    on_a_changing_node(|srsync| {
        srsync.document("a", "destinations: [198.18.1.0/24], interface: uplink");
        srsync.document(
            "b",
            "destinations: [198.18.2.0/24], gateways: [{address: 10.0.3.2, interface: uplink}]",
        );
        let daemon = Daemon::start(srsync, "");
        let wait = |state: &str| {
            daemon.wait_for_state("198.18.1.0/24", state);
            daemon.wait_for_state("198.18.2.0/24", state)
        };
        let said = wait("Pending");
        assert!(said.contains("uplink"), "{said}");
        veth("uplink", "uplink-peer");
        ip("addr add 10.0.3.1/24 dev uplink");
        wait("Installed");
        for (from, to) in [("uplink", "other"), ("other", "uplink")] {
            ip(&format!("link set {from} down"));
            ip(&format!("link set {from} name {to}"));
            ip(&format!("link set {to} up"));
            match to {
                "uplink" => wait("Installed"),
                _ => {
                    wait("Pending");
                    // The name is what a document means, not the link that once had it.
                    std::thread::sleep(Duration::from_millis(100));
                    wait("Pending")
                }
            };
        }
        ip("link del uplink");
        let said = wait("Pending");
        assert!(said.contains("uplink"), "{said}");
        assert!(ours().is_empty());
        veth("uplink", "uplink-peer");
        ip("addr add 10.0.3.1/24 dev uplink");
        wait("Installed");
    });
}

/// `gatewayLookup`: the gateway is whatever the node uses today to reach an address.
#[test]
fn a_gateway_that_is_looked_up_follows_the_routes_of_others() {
    on_a_changing_node(|srsync| {
        ip("route add 10.9.0.0/16 via 10.0.1.7 proto bgp");
        srsync.document(
            "a",
            "destinations: [198.18.1.0/24], gatewayLookup: 10.9.0.1",
        );
        let daemon = Daemon::start(srsync, "");
        let via = |gateway: &str| {
            wait_until(&format!("it leads to {gateway}"), || {
                ours().get("198.18.1.0/24").map(String::as_str) == Some(gateway)
            });
        };
        via("10.0.1.7");
        ip("route replace 10.9.0.0/16 via 10.0.2.7 proto bgp");
        via("10.0.2.7");
        // More specific, in another place of the table.
        ip("route add 10.9.0.0/24 via 10.0.1.8 proto bgp");
        via("10.0.1.8");
        ip("route del 10.9.0.0/24");
        via("10.0.2.7");
        // What is left leads there, too.
        ip("route del 10.9.0.0/16");
        via("10.0.1.254");
        ip("route del default");
        daemon.wait_for_state("198.18.1.0/24", "Pending");
        ip("route add 10.9.0.0/16 via 10.0.1.7 proto bgp");
        via("10.0.1.7");
    });
}
