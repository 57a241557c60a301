//! Routes that build on each other: a gateway behind a route of our own, which comes or goes in
//! the same run.

use crate::support::program::Srsync;
use crate::support::tables::{quiet, routes, wait_for_links};
use crate::support::{east_and_west, in_namespace, ip};

const FAR: [&str; 2] = ["198.51.100.0/24", "2001:db8:f::/64"];

/// The document of a subnet that only an interface route connects.
const SUBNET: &str = "destinations: [10.7.7.0/24, 'fd07::/64'], interface: west";
/// A document by way of a gateway in it.
const BEHIND: &str = "destinations: [198.51.100.0/24, '2001:db8:f::/64'], metric: 50, \
                      gateways: [{address: 10.7.7.7}, {address: 'fd07::7'}]";

fn on_a_node(test: impl FnOnce(&Srsync<'_>) + Send) {
    in_namespace(|| {
        quiet();
        east_and_west();
        wait_for_links();
        test(&Srsync::here());
    });
}

#[test]
fn a_gateway_behind_a_new_route_of_ours_is_reached_in_the_same_run() {
    on_a_node(|srsync| {
        // By name before the document that it needs.
        srsync.document("behind", BEHIND);
        srsync.document("subnet", SUBNET);
        assert_eq!(srsync.converge().count("Installed"), 4);
    });
}

/// Was reported as installed, and as pending by the next run.
#[test]
fn regression_a_gateway_behind_a_route_that_goes_in_the_same_run_is_not_reached() {
    on_a_node(|srsync| {
        srsync.document("behind", BEHIND);
        srsync.document("subnet", SUBNET);
        srsync.converge();
        srsync.without("subnet");
        let run = srsync.apply().exits(4);
        for prefix in FAR {
            assert!(
                run.state(prefix).starts_with("Pending: gateway"),
                "{}",
                run.state(prefix)
            );
            assert_eq!(srsync.plan().exits(0).state(prefix), run.state(prefix));
        }
        // One that was not there before must not be installed on the way out of the other.
        srsync.run("flush --yes").exits(0);
        srsync.document("subnet", SUBNET);
        srsync.without("behind");
        srsync.converge();
        srsync.without("subnet");
        srsync.document("behind", BEHIND);
        assert_eq!(srsync.apply().exits(4).count("Pending"), 2);
        assert_eq!(
            routes("-4", "proto 83").len() + routes("-6", "proto 83").len(),
            0
        );
    });
}

/// Was reported with the next hops of the first round.
#[test]
fn regression_a_route_changed_twice_in_a_run_is_reported_as_it_is_in_the_end() {
    on_a_node(|srsync| {
        srsync.document("subnet", SUBNET);
        srsync.document(
            "behind",
            "destinations: [198.51.100.0/24, '2001:db8:f::/64'], mode: ecmp, gateways: \
             [{address: 10.7.7.7}, {address: 'fd07::7'}, {address: 10.0.2.2}, \
             {address: 'fd00:2::2'}]",
        );
        let run = srsync.converge();
        for (prefix, family) in FAR.into_iter().zip(["-4", "-6"]) {
            assert_eq!(run.row(prefix)["action"], "add");
            assert_eq!(run.row(prefix)["nextHops"].as_array().unwrap().len(), 2);
            let shown = routes(family, &format!("proto 83 exact {prefix}"));
            assert_eq!(shown[0]["nexthops"].as_array().unwrap().len(), 2);
        }
    });
}

/// Was reported as pending, for want of a gateway that was there by then.
#[test]
fn regression_a_slot_in_the_way_is_reported_once_the_gateway_is_there() {
    on_a_node(|srsync| {
        ip("route add 198.51.100.0/24 via 10.0.1.2 metric 50 proto bgp");
        ip("-6 route add 2001:db8:f::/64 via fd00:1::2 metric 50 proto bgp");
        srsync.document("behind", BEHIND);
        srsync.document("subnet", SUBNET);
        let run = srsync.apply().exits(4);
        for prefix in FAR {
            let state = run.state(prefix);
            assert!(
                state.starts_with("Foreign: ") && state.contains("bgp (186)"),
                "{state}"
            );
            assert_eq!(srsync.plan().exits(0).state(prefix), state);
        }
    });
}
