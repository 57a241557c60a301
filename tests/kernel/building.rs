//! Routes that build on each other: a gateway behind a route of our own, which comes or goes in
//! the same run.

use crate::support::program::Srsync;
use crate::support::tables::{quiet, routes, wait_for_links};
use crate::support::{in_namespace, ip, veth};

const FAR: [&str; 2] = ["198.51.100.0/24", "2001:db8:f::/64"];

/// The document of a subnet that only an interface route connects.
const SUBNET: &str = "destinations: [10.7.7.0/24, 'fd07::/64'], interface: west";
/// A document by way of a gateway in it.
const BEHIND: &str = "destinations: [198.51.100.0/24, '2001:db8:f::/64'], metric: 50, \
                      gateways: [{address: 10.7.7.7}, {address: 'fd07::7'}]";

fn on_a_node(test: impl FnOnce(&Srsync<'_>) + Send) {
    in_namespace(|| {
        quiet();
        for (link, n) in [("east", 1), ("west", 2)] {
            veth(link, &format!("{link}-peer"));
            ip(&format!("addr add 10.0.{n}.1/24 dev {link}"));
            ip(&format!("addr add fd00:{n}::1/64 dev {link} nodad"));
        }
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
