//! The node that the daemons of these tests work on, and what they are to do there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::program::Srsync;
use crate::support::tables::{foreign, quiet, routes, wait_for_links};
use crate::support::{east_and_west, in_namespace, ip};

/// What belongs to others, partly in the tables and beside the prefixes that are wanted.
const OTHERS: &str = "\
route add default via 10.0.1.254 proto dhcp metric 100
route add 198.18.0.0/15 via 10.0.2.9 proto bgp
route add 198.18.1.0/24 via 10.0.2.9 proto bird metric 900
route add blackhole 198.19.0.0/24 proto static table 100
-6 route add default via fd00:1::fe proto ra metric 100
-6 route add 2001:db8:1::/64 via fd00:2::9 proto bird metric 900
rule add from 10.9.0.0/16 lookup 100 priority 1000 protocol static
";

/// A node between two subnets (10.0.1.0/24 and fd00:1::/64 on `east`, 10.0.2.0/24 and fd00:2::/64 on
/// `west`) with foreign routes. What is not ours must be the same afterwards.
pub fn on_a_node(test: impl FnOnce(&Srsync<'_>) + Send) {
    on_a_changing_node(|srsync| {
        let before = foreign();
        test(srsync);
        assert_eq!(foreign(), before, "what is not ours has changed");
    });
}

/// The same for a test that changes links or foreign routes itself.
pub fn on_a_changing_node(test: impl FnOnce(&Srsync<'_>) + Send) {
    in_namespace(|| {
        quiet();
        east_and_west();
        OTHERS.lines().for_each(|line| drop(ip(line)));
        wait_for_links();
        test(&Srsync::here());
    });
}

/// The inside of a document: number `n` of both families, through gateway `gateway` on `east`.
pub fn spec(n: u16, gateway: u8) -> String {
    format!(
        "destinations: [198.18.{n}.0/24, '2001:db8:{n}::/64'], \
         gateways: [{{address: 10.0.1.{gateway}}}, {{address: 'fd00:1::{gateway}'}}]"
    )
}

/// A whole document that does the same.
pub fn document(name: &str, n: u16, gateway: u8) -> String {
    format!(
        "apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\nmetadata: {{name: {name}}}\n\
         spec: {{{}}}\n",
        spec(n, gateway)
    )
}

/// Not a document, and where it stops being one.
pub const BROKEN: &str = "spec: {destinations: [198.18.1.0/24\n";

/// The routes of documents: prefixes by number, each with its gateway.
pub type Routes = BTreeMap<String, String>;

/// The routes that documents of these numbers and gateways ask for; see [`spec`].
pub fn routes_of(documents: impl IntoIterator<Item = (u16, u8)>) -> Routes {
    let both = |(n, gateway)| {
        [
            (format!("198.18.{n}.0/24"), format!("10.0.1.{gateway}")),
            (format!("2001:db8:{n}::/64"), format!("fd00:1::{gateway}")),
        ]
    };
    documents.into_iter().flat_map(both).collect()
}

/// Our routes in all tables, with their gateways.
pub fn ours() -> Routes {
    let text = |route: &Value, name| route[name].as_str().unwrap_or("none").to_owned();
    let routes = ["-4", "-6"].map(|family| routes(family, "proto 83"));
    let routes = routes.iter().flatten();
    routes
        .map(|route| (text(route, "dst"), text(route, "gateway")))
        .collect()
}

/// Waits until our routes are just those of these documents.
#[track_caller]
pub fn wait_for(documents: &[(u16, u8)]) {
    let wanted = routes_of(documents.iter().copied());
    let start = Instant::now();
    let mut there = ours();
    while there != wanted && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
        there = ours();
    }
    assert_eq!(there, wanted);
}

/// Fails unless our routes are just those of these documents.
#[track_caller]
pub fn assert_ours(documents: &[(u16, u8)]) {
    assert_eq!(ours(), routes_of(documents.iter().copied()));
}
