//! More at once than can be heard or told one by one.

use std::fmt::Write;

use super::node::{on_a_changing_node, on_a_node};
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::tables::{count, wait_until};
use crate::support::{ip, ip_batch, ip_succeeds};

/// Half of them of each family.
const ROUTES: usize = 20_000;

fn want_many(srsync: &Srsync<'_>, table: &str) {
    let mut ranges = String::new();
    for n in 0..ROUTES / 2 {
        writeln!(ranges, "20.{}.{}.0/24", n / 256, n % 256).unwrap();
        writeln!(ranges, "2001:db8:0:{n:x}::/64").unwrap();
    }
    srsync.file("ranges.txt", &ranges);
    srsync.document(
        "many",
        &format!(
            "destinationsFrom: [{{file: ranges.txt}}], table: {table}, \
             gateways: [{{address: 10.0.1.2}}, {{address: 'fd00:1::2'}}]"
        ),
    );
}

fn all_are_there() -> bool {
    count("proto 83") == ROUTES
}

#[test]
fn twenty_thousand_routes_that_are_flushed_are_back() {
    on_a_node(|srsync| {
        want_many(srsync, "main");
        let daemon = Daemon::start(srsync, "");
        assert!(all_are_there());
        for family in ["-4", "-6"] {
            // It reads and deletes until nothing is left, and gives up after ten times.
            ip_succeeds(&format!("{family} route flush proto 83"));
        }
        wait_until("all are back", all_are_there);
        let status = daemon.eventually("it is in sync", |status| status["inSync"] == true);
        assert_eq!(status["summary"]["states"]["Installed"], ROUTES);
        assert!(daemon.metric("srsync_drift_repaired_total") >= ROUTES as u64);
        // So many are told in numbers, not one by one.
        assert!(daemon.log().lines().count() < 500, "{}", daemon.log());
    });
}

/// Nobody listens for a while, as when the machine is busy, and meanwhile more happens than the
/// kernel keeps for us.
#[test]
fn what_could_not_be_heard_is_found_by_comparing_everything() {
    on_a_changing_node(|srsync| {
        want_many(srsync, "100");
        let daemon = Daemon::start(srsync, "");
        assert!(all_are_there());
        let mut others = String::new();
        for n in 0..100_000 {
            let (a, b, c) = (n >> 16, (n >> 8) & 255, n & 255);
            writeln!(
                others,
                "route add blackhole 30.{a}.{b}.{c} proto bird table 100"
            )
            .unwrap();
        }
        daemon.while_it_sleeps(|| {
            ip_batch(&others);
            ip("-4 route flush proto 83 table 100");
            ip("-6 route del 2001:db8:0:7::/64 table 100 proto 83");
            ip("route add 20.0.7.0/24 via 10.0.1.9 proto static table 100");
        });
        wait_until("all but the one that is taken are there", || {
            count("proto 83") == ROUTES - 1
        });
        daemon.wait_for_state("20.0.7.0/24", "Foreign");
        assert!(daemon.metric("srsync_kernel_event_overflows_total") >= 1);
        assert!(daemon.passes("overflow") >= 1);
        assert_eq!(count("proto bird table 100"), 100_000);
        // All is as usual again.
        ip("route del 20.0.7.0/24 table 100 proto static");
        wait_until("all are there", all_are_there);
    });
}
