//! What others do to our routes in the kernel, and what we do about it.

use super::node::{assert_ours, on_a_changing_node, on_a_node, ours, spec, wait_for};
use crate::support::culprit::Culprit;
use crate::support::daemon::Daemon;
use crate::support::tables::{count, foreign, wait_until};
use crate::support::{ip, ip_batch};

#[test]
fn a_route_that_somebody_deletes_is_back_and_he_is_named() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        let mut culprit = Culprit::new();
        for (restored, prefix) in [
            (1, "198.18.1.0/24"),
            (2, "2001:db8:1::/64"),
            (3, "198.18.1.0/24"),
        ] {
            culprit.run(&format!("route del {prefix} proto 83"));
            daemon.eventually("it is told", |_| {
                daemon.events("routeRestored").len() == restored
            });
            assert_ours(&[(1, 2)]);
            let told = daemon.events("routeRestored").pop().unwrap();
            let message = told["message"].as_str().unwrap();
            let by = format!("it had been deleted by {}", culprit.name());
            assert!(message.contains(&by), "{message}");
            assert_eq!(told["prefix"], prefix);
            assert_eq!(told["document"], "a");
            assert_eq!(told["level"], "warn");
            assert_eq!(told["old"], told["new"]);
        }
        assert_eq!(daemon.metric("srsync_drift_repaired_total"), 3);
    });
}

/// Whatever is done to it under our number: another gateway, other attributes, a second one beside
/// it, another type.
#[test]
fn a_route_that_somebody_changes_is_as_it_was() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        let before = (ip("route show proto 83"), ip("-6 route show proto 83"));
        let mut culprit = Culprit::new();
        let changes = [
            "route change 198.18.1.0/24 via 10.0.1.9 proto 83",
            "route replace 198.18.1.0/24 via 10.0.2.9 proto 83",
            "route change 198.18.1.0/24 via 10.0.1.2 proto 83 mtu 1300",
            "route replace 2001:db8:1::/64 via fd00:1::9 proto 83",
            "route change 2001:db8:1::/64 via fd00:2::9 proto 83",
            "route replace 2001:db8:1::/64 via fd00:1::2 proto 83 mtu 1300",
        ];
        for (index, change) in changes.iter().enumerate() {
            culprit.run(change);
            daemon.eventually(change, |_| {
                daemon.events("routeRestored").len() == index + 1
            });
            let now = (ip("route show proto 83"), ip("-6 route show proto 83"));
            assert_eq!(now, before, "after {change}");
            let message = daemon.messages("routeRestored").pop().unwrap();
            let by = format!("it had been changed by {} (was ", culprit.name());
            assert!(message.contains(&by), "{message}");
        }
    });
}

#[test]
fn what_somebody_adds_under_our_number_goes() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let _daemon = Daemon::start(srsync, "");
        let before = (ip("route show proto 83"), ip("-6 route show proto 83"));
        for line in [
            "route add 198.18.2.0/24 via 10.0.1.2 proto 83",
            "route add blackhole 198.18.2.0/24 proto 83 metric 5",
            "route append 198.18.1.0/24 via 10.0.1.9 proto 83",
            "route prepend 198.18.1.0/24 via 10.0.1.9 proto 83",
            "-6 route add 2001:db8:2::/64 via fd00:1::2 proto 83",
            "-6 route append 2001:db8:1::/64 via fd00:1::9 proto 83",
            "route add 198.18.3.0/24 via 10.0.1.2 proto 83 table 100",
        ] {
            ip(line);
            wait_until(line, || {
                count("proto 83") == 2
                    && before == (ip("route show proto 83"), ip("-6 route show proto 83"))
            });
        }
    });
}

/// `ip route replace` of somebody who does not ask takes our slot. It is his then.
#[test]
fn a_slot_that_somebody_takes_over_is_left_to_him_until_he_goes() {
    on_a_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        let taken = [
            (
                "198.18.1.0/24",
                "route replace 198.18.1.0/24 via 10.0.1.9 proto bird",
                "route del 198.18.1.0/24 proto bird",
            ),
            (
                "2001:db8:1::/64",
                "-6 route replace 2001:db8:1::/64 via fd00:1::9 proto bird metric 1024",
                "-6 route del 2001:db8:1::/64 proto bird metric 1024",
            ),
        ];
        for (prefix, take, leave) in taken {
            ip(take);
            let with_theirs = foreign();
            let said = daemon.wait_for_state(prefix, "Foreign");
            assert!(said.contains("protocol bird (12)"), "{said}");
            // Other work goes on, and does not touch it.
            srsync.document("b", &spec(2, 2));
            daemon.wait_for_state("198.18.2.0/24", "Installed");
            srsync.without("b");
            daemon.eventually("the other is gone", |status| {
                status["documents"].as_array().unwrap().len() == 1
            });
            assert_eq!(foreign(), with_theirs);
            assert!(!ours().contains_key(prefix));
            ip(leave);
            daemon.wait_for_state(prefix, "Installed");
            assert_ours(&[(1, 2)]);
        }
        assert_eq!(daemon.metric("srsync_routes{state=\"Foreign\"}"), 0);
    });
}

/// A slot that is taken when the daemon starts, and one that others hold in a table that is not there
/// yet.
#[test]
fn a_slot_that_becomes_free_is_taken_at_once() {
    on_a_changing_node(|srsync| {
        ip("route add 198.18.1.0/24 via 10.0.1.9 proto static");
        ip("route add 198.18.1.0/24 via 10.0.1.9 proto static table 300");
        srsync.document("a", &spec(1, 2));
        srsync.document("b", &(spec(1, 2) + ", table: 300"));
        let daemon = Daemon::start(srsync, "");
        assert_eq!(daemon.status()["summary"]["states"]["Foreign"], 2);
        ip("route del 198.18.1.0/24 proto static");
        wait_until("ours is there in main", || {
            ip("route show proto 83").contains("198.18.1.0/24")
        });
        ip("route flush table 300 proto static");
        wait_until("ours is there in the other table", || {
            ip("route show table 300 proto 83").contains("198.18.1.0/24")
        });
        daemon.eventually("all is in place", |status| status["inSync"] == true);
    });
}

/// On a node where a routing daemon moves thousands of routes of its own, comparing everything for
/// each of them would be all that is done.
#[test]
fn routes_of_others_cause_no_pass() {
    on_a_changing_node(|srsync| {
        srsync.document("a", &spec(1, 2));
        let daemon = Daemon::start(srsync, "");
        let passes = daemon.passes("kernel");
        let mut lines = String::new();
        for n in 0..1000 {
            let (high, low) = (n / 256, n % 256);
            lines += &format!("route add 100.64.{high}.{low} via 10.0.1.9 proto bird\n");
            lines += &format!("route add 100.64.{high}.{low} via 10.0.1.9 proto bird table 200\n");
        }
        ip_batch(&lines);
        ip_batch(&lines.replace("route add", "route del"));
        // Events are heard in their order: with this one all others have been.
        ip("route del 198.18.1.0/24 proto 83");
        wait_for(&[(1, 2)]);
        wait_until("the pass is counted", || {
            daemon.passes("kernel") == passes + 1
        });
    });
}
