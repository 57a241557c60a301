//! Routes by nexthop objects: a switch is one message, a lost link is left by the kernel itself, and
//! nothing is forgotten, left over, or taken from others.

use super::failover::{PREFIX, between_two_gateways, document, leads_to, silence};
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::tables::wait_until;
use crate::support::watch::Changes;
use crate::support::{Namespace, ip, ip_if_any, sysctl};

/// The objects of ours, as `ip nexthop` shows them.
fn objects() -> Vec<String> {
    let shown = ip("nexthop show");
    let ours = shown.lines().filter(|line| line.contains("proto 83"));
    ours.map(|line| line.trim().to_owned()).collect()
}

fn groups() -> Vec<String> {
    let groups = objects().into_iter();
    groups.filter(|object| object.contains(" group ")).collect()
}

/// How many routes of ours go by an object.
fn led() -> usize {
    let routes = ip("route show proto 83");
    routes.matches(" nhid ").count()
}

/// The second gateway is known to work, so it stands by.
fn both_are_proven() {
    wait_until("the second stands by", || {
        groups().iter().any(|group| group.contains('/'))
    });
}

fn many(srsync: &Srsync<'_>, count: usize, gateways: &str) {
    let list: Vec<String> = (0..count)
        .map(|n| format!("198.{}.{}.0/24", 18 + n / 256, n % 256))
        .collect();
    srsync.document(
        "a",
        &format!(
            "destinations: [{}], gateways: [{gateways}], \
             healthCheck: {{icmp: {{}}, interval: 50ms, fall: 3, rise: 2, holdDown: 1s}}",
            list.join(", ")
        ),
    );
}

const BOTH: &str = "{address: 10.0.1.2}, {address: 10.0.2.2}";

#[test]
fn a_switch_of_many_routes_is_one_message() {
    between_two_gateways(|srsync, [first, _]| {
        many(srsync, 500, BOTH);
        let _daemon = Daemon::start(srsync, "");
        both_are_proven();
        assert_eq!(led(), 500);
        // Otherwise the kernel tells of each route that it goes another way.
        sysctl("ipv4/nexthop_compat_mode", "0");
        let (objects, routes) = (Changes::of_nexthops(), Changes::watch());
        silence(first, true);
        wait_until("the second carries", || leads_to("10.0.2.2"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!((objects.count(), routes.count()), (1, 0));
        assert_eq!(led(), 500);
    });
}

/// Nobody is there who could decide anything: the kernel has what it takes.
#[test]
fn a_lost_carrier_is_left_by_the_kernel_alone() {
    between_two_gateways(|srsync, [first, _]| {
        many(srsync, 50, BOTH);
        let mut daemon = Daemon::start(srsync, "");
        both_are_proven();
        daemon.kill();
        first.ip("link set node down");
        wait_until("the second carries", || leads_to("10.0.2.2"));
        assert_eq!(led(), 50);
        // The link is back, and so is somebody who knows what to do with it.
        first.ip("link set node up");
        daemon.launch_again(srsync, "");
        wait_until("the first carries again", || leads_to("10.0.1.2"));
        assert_eq!(led(), 50);
    });
}

/// With its only link the kernel takes the group and all its routes; a plain route outlives that.
#[test]
fn a_gateway_whose_only_link_has_no_carrier_keeps_plain_routes() {
    between_two_gateways(|srsync, [first, _]| {
        many(srsync, 20, "{address: 10.0.1.2}");
        let daemon = Daemon::start(srsync, "");
        assert_eq!(led(), 20);
        first.ip("link set node down");
        wait_until("plain routes are there", || {
            ip("route show proto 83").lines().count() == 20 && led() == 0
        });
        daemon.eventually("the gateway is down", |status| {
            status["daemon"]["gateways"][0]["cause"]
                .as_str()
                .is_some_and(|cause| cause.contains("has no carrier"))
        });
        first.ip("link set node up");
        wait_until("they go by objects again", || led() == 20);
        assert!(leads_to("10.0.1.2"));
    });
}

#[test]
fn a_restart_finds_its_objects_again_and_changes_nothing() {
    between_two_gateways(|srsync, _| {
        many(srsync, 20, BOTH);
        let mut daemon = Daemon::start(srsync, "");
        both_are_proven();
        for _ in 0..3 {
            let before = objects();
            let (nexthops, routes) = (Changes::of_nexthops(), Changes::watch());
            daemon.kill();
            daemon.launch_again(srsync, "");
            daemon.wait_ready();
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert_eq!(objects(), before);
            assert_eq!((nexthops.count(), routes.count()), (0, 0));
        }
    });
}

#[test]
fn objects_that_somebody_deletes_are_back_with_their_routes() {
    between_two_gateways(|srsync, _| {
        many(srsync, 20, BOTH);
        let _daemon = Daemon::start(srsync, "");
        both_are_proven();
        let whole = || {
            let groups = groups();
            led() == 20 && objects().len() == 3 && groups.len() == 1 && groups[0].contains('/')
        };
        assert!(whole(), "{:?}", objects());
        for _ in 0..3 {
            for object in objects() {
                let id = object.split_whitespace().nth(1).unwrap().to_owned();
                // It may have gone with another one.
                let _ = ip_if_any(&format!("nexthop del id {id}"));
                wait_until("all are back", whole);
                assert!(leads_to("10.0.1.2"));
            }
        }
    });
}

#[test]
fn an_edit_of_the_gateways_is_a_switch_too() {
    between_two_gateways(|srsync, gateways| {
        gateways[1].ip("addr add 10.0.2.3/24 dev node");
        many(srsync, 50, BOTH);
        let _daemon = Daemon::start(srsync, "");
        both_are_proven();
        sysctl("ipv4/nexthop_compat_mode", "0");
        let routes = Changes::watch();
        // Another order, another gateway, fewer, and more.
        for (edit, way) in [
            ("{address: 10.0.2.2}, {address: 10.0.1.2}", "10.0.2.2"),
            ("{address: 10.0.2.3}, {address: 10.0.1.2}", "10.0.2.3"),
            ("{address: 10.0.1.2}", "10.0.1.2"),
            (BOTH, "10.0.1.2"),
        ] {
            many(srsync, 50, edit);
            wait_until(edit, || leads_to(way));
        }
        both_are_proven();
        assert_eq!(routes.count(), 0, "a route was changed");
        assert_eq!(objects().len(), 3, "{:?}", objects());
        assert_eq!(led(), 50);
    });
}

#[test]
fn what_is_of_no_use_any_more_goes() {
    between_two_gateways(|srsync, _| {
        document(srsync, "");
        let daemon = Daemon::start(srsync, "--allow-empty");
        assert_eq!(objects().len(), 3);
        let plain = format!("destinations: [{PREFIX}], gateway: 10.0.2.2");
        srsync.document("a", &plain);
        wait_until("a plain route", || objects().is_empty());
        assert!(leads_to("10.0.2.2"));
        document(srsync, "");
        wait_until("objects again", || objects().len() == 3);
        std::fs::remove_file(srsync.directory().join("a.yaml")).unwrap();
        wait_until("nothing is left", || objects().is_empty());
        assert_eq!(ip("route show proto 83"), "");
        drop(daemon);
    });
}

#[test]
fn flush_takes_the_objects_along() {
    between_two_gateways(|srsync, _| {
        document(srsync, "");
        let mut daemon = Daemon::start(srsync, "");
        daemon.stop();
        assert_eq!(objects().len(), 3, "the routes stay, and what they go by");
        srsync.run("flush --yes").exits(0);
        assert!(objects().is_empty(), "{:?}", objects());
        assert_eq!(ip("route show proto 83"), "");
    });
}

/// Who leads his own route by a group of ours does not lose it with our document.
#[test]
fn an_object_that_somebody_else_uses_stays() {
    between_two_gateways(|srsync, _| {
        document(srsync, "");
        let _daemon = Daemon::start(srsync, "--allow-empty");
        let group = groups()[0].split_whitespace().nth(1).unwrap().to_owned();
        ip(&format!(
            "route add 203.0.113.0/24 nhid {group} table 77 proto static"
        ));
        std::fs::remove_file(srsync.directory().join("a.yaml")).unwrap();
        wait_until("ours is gone", || ip("route show proto 83").is_empty());
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(ip("route show table 77").contains(&format!("nhid {group}")));
        ip("route del 203.0.113.0/24 table 77");
        // Without a message about one of ours only the periodic comparison finds it; a document does, too.
        srsync.document("b", "destinations: [192.0.2.0/24], gateway: 10.0.2.2");
        wait_until("nobody uses it", || objects().is_empty());
    });
}

/// Documents with the same gateways share a group; one that leaves takes nobody along.
#[test]
fn documents_with_the_same_gateways_share_a_group() {
    between_two_gateways(|srsync, _| {
        let wants = |name: &str, n: u8, gateways: &str| {
            let spec = format!(
                "destinations: [198.18.{n}.0/24], gateways: [{gateways}], \
                 healthCheck: {{icmp: {{}}, interval: 50ms, rise: 1, holdDown: 200ms}}"
            );
            srsync.document(name, &spec);
        };
        let leads = |n: u8, gateway: &str| {
            let way = ip_if_any(&format!("route get 198.18.{n}.7"));
            way.contains(&format!("via {gateway} "))
        };
        wants("a", 1, BOTH);
        wants("b", 2, BOTH);
        let daemon = Daemon::start(srsync, "");
        both_are_proven();
        assert_eq!(groups().len(), 1, "{:?}", objects());
        wants("a", 1, "{address: 10.0.2.2}, {address: 10.0.1.2}");
        wait_until("a goes its own way", || leads(1, "10.0.2.2"));
        assert!(leads(2, "10.0.1.2"), "and takes nobody along");
        assert_eq!(groups().len(), 2, "{:?}", objects());
        wants("a", 1, BOTH);
        wait_until("one group is enough", || groups().len() == 1);
        assert!(leads(1, "10.0.1.2") && leads(2, "10.0.1.2"));
        drop(daemon);
    });
}

#[test]
fn ipv6_gateways_are_switched_alike() {
    between_two_gateways(|srsync, gateways: &[Namespace; 2]| {
        srsync.document(
            "a",
            "destinations: [2001:db8:1::/48, 2001:db8:2::/48], \
             gateways: [{address: 'fd00:1::2'}, {address: 'fd00:2::2'}], \
             healthCheck: {icmp: {}, interval: 50ms, holdDown: 1s}",
        );
        let leads_to = |gateway: &str| {
            ip_if_any("-6 route get 2001:db8:1::7").contains(&format!("via {gateway} "))
        };
        let mut daemon = Daemon::start(srsync, "");
        both_are_proven();
        assert!(leads_to("fd00:1::2"));
        gateways[0].sysctl("ipv6/icmp/echo_ignore_all", "1");
        wait_until("the second carries", || leads_to("fd00:2::2"));
        gateways[0].sysctl("ipv6/icmp/echo_ignore_all", "0");
        wait_until("the first carries again", || leads_to("fd00:1::2"));
        both_are_proven();
        daemon.kill();
        gateways[0].ip("link set node down");
        wait_until("the kernel goes on", || leads_to("fd00:2::2"));
    });
}

/// Which flow goes where is kept by buckets; those of a dead gateway go over at once.
#[test]
fn resilient_ecmp_keeps_its_buckets() {
    between_two_gateways(|srsync, [first, _]| {
        document(srsync, ", mode: ecmp, resilient: true");
        let _daemon = Daemon::start(srsync, "");
        let buckets = |gateway: &str| {
            let objects = objects();
            let mut objects = objects
                .iter()
                .filter(|o| o.contains(&format!("via {gateway} ")));
            let id = objects.next()?.split_whitespace().nth(1)?.to_owned();
            let shown = ip(&format!("nexthop bucket show nhid {id}"));
            Some(shown.matches(" index ").count())
        };
        assert!(groups()[0].contains("type resilient buckets 128"));
        assert_eq!(buckets("10.0.1.2"), Some(64));
        assert_eq!(buckets("10.0.2.2"), Some(64));
        silence(first, true);
        wait_until("the second has them all", || {
            buckets("10.0.2.2") == Some(128)
        });
        assert_eq!(groups().len(), 1, "the group is the same");
    });
}

#[test]
fn what_a_switch_of_many_routes_costs_is_said_once() {
    for (mode, is_said) in [("1", 1), ("0", 0)] {
        between_two_gateways(|srsync, _| {
            sysctl("ipv4/nexthop_compat_mode", mode);
            many(srsync, 10_000, BOTH);
            let daemon = Daemon::start(srsync, "");
            both_are_proven();
            let said = daemon.log().matches("nexthop_compat_mode").count();
            assert_eq!(said, is_said);
        });
    }
}

/// `apply` stays for nobody: its routes are plain, and what they went by before is tidied up.
#[test]
fn apply_after_a_daemon_makes_plain_routes_of_its_own() {
    between_two_gateways(|srsync, _| {
        many(srsync, 20, BOTH);
        let mut daemon = Daemon::start(srsync, "");
        both_are_proven();
        daemon.stop();
        srsync.apply().exits(0);
        assert_eq!((led(), objects()), (0, Vec::new()));
        assert_eq!(ip("route show proto 83").lines().count(), 20);
        // And back.
        daemon.launch_again(srsync, "");
        daemon.wait_ready();
        assert_eq!(led(), 20);
    });
}

/// In IPv6 a route by an object is of another kind than one with gateways of its own, and several of
/// these are siblings: whichever is replaced by whichever, one route is left.
#[test]
fn ipv6_routes_become_plain_and_go_by_objects_again() {
    between_two_gateways(|srsync, _| {
        let wants = |more: &str| {
            let spec = format!(
                "destinations: [2001:db8:1::/48], \
                 gateways: [{{address: 'fd00:1::2'}}, {{address: 'fd00:2::2'}}]{more}"
            );
            srsync.document("a", &spec);
        };
        let shown = || ip("-6 route show proto 83");
        let check = "healthCheck: {icmp: {}, interval: 50ms}";
        wants(", mode: ecmp");
        let _daemon = Daemon::start(srsync, "");
        for _ in 0..2 {
            wait_until("plain siblings", || {
                !shown().contains("nhid") && shown().matches("via fd00:").count() == 2
            });
            wants(&format!(", mode: ecmp, {check}"));
            wait_until("by a group", || {
                shown().matches("2001:db8:1::/48 nhid").count() == 1
            });
            assert_eq!(shown().matches("2001:db8:1::/48").count(), 1, "{}", shown());
            wants("");
            wait_until("one gateway", || {
                !shown().contains("nhid") && shown().matches("via fd00:").count() == 1
            });
            wants(&format!(", {check}"));
            wait_until("by a group", || {
                shown().matches("2001:db8:1::/48 nhid").count() == 1
            });
            assert_eq!(shown().matches("2001:db8:1::/48").count(), 1, "{}", shown());
            wants(", mode: ecmp");
        }
    });
}

/// A group that is replaced stays ours, and is put back; a lone object becomes his who replaces it, and
/// ours is another one from then on.
#[test]
fn objects_that_somebody_replaces_are_put_back_or_left_to_him() {
    between_two_gateways(|srsync, _| {
        many(srsync, 20, BOTH);
        let _daemon = Daemon::start(srsync, "");
        both_are_proven();
        let id = |object: &str| object.split_whitespace().nth(1).unwrap().to_owned();
        let single = |gateway: &str| {
            let all = objects().into_iter();
            let mut to = all.filter(|object| object.contains(&format!("via {gateway} ")));
            to.next().map(|object| id(&object))
        };
        let group = id(&groups()[0]);
        let second = single("10.0.2.2").unwrap();
        ip(&format!(
            "nexthop replace id {group} group {second} type resilient"
        ));
        wait_until("the group is put back", || {
            leads_to("10.0.1.2") && groups()[0].contains('/')
        });
        let first = single("10.0.1.2").unwrap();
        ip(&format!(
            "nexthop replace id {first} via 10.0.1.2 dev gw1 protocol static"
        ));
        wait_until("another one is ours", || {
            single("10.0.1.2").is_some_and(|ours| ours != first && groups()[0].contains(&ours))
        });
        assert!(leads_to("10.0.1.2"));
        assert_eq!((led(), groups().len()), (20, 1));
        assert!(ip("nexthop show").contains(&format!("id {first} via 10.0.1.2 ")));
    });
}

/// Who keeps deleting our group is no more fought with than who keeps deleting routes.
#[test]
fn a_group_that_somebody_keeps_deleting_is_contested() {
    between_two_gateways(|srsync, _| {
        many(srsync, 5, BOTH);
        let daemon = Daemon::start(srsync, "");
        both_are_proven();
        let contested = || daemon.status()["daemon"]["contestedRoutes"] == 5;
        for _ in 0..20 {
            wait_until("they are back", || led() == 5);
            if contested() {
                break;
            }
            let group = groups()[0].split_whitespace().nth(1).unwrap().to_owned();
            ip(&format!("nexthop del id {group}"));
        }
        let status = daemon.eventually("it is contested", |status| {
            status["daemon"]["contestedRoutes"] == 5
        });
        // Named as `ip` for as long as that lives, which is not long.
        let by = status["daemon"]["contested"][0]["by"].as_str().unwrap();
        assert!(by.contains("(ip)") || by.contains("netlink port"), "{by}");
        wait_until("they are back in the end", || led() == 5);
    });
}

/// One gateway is none at all, a broadcast address; that is nobody's fault but its own document's.
#[test]
fn an_object_that_the_kernel_refuses_takes_none_from_other_documents() {
    between_two_gateways(|srsync, [first, _]| {
        many(srsync, 20, BOTH);
        srsync.document(
            "b",
            "destinations: [198.51.100.0/24], gateways: [{address: 10.0.1.255}, {address: 10.0.2.2}], \
             healthCheck: {icmp: {}, interval: 50ms, fall: 3, rise: 2, holdDown: 1s}",
        );
        let daemon = Daemon::start(srsync, "");
        both_are_proven();
        assert_eq!(led(), 20);
        // Its own route goes by the gateway that is one, as soon as the other is known not to answer.
        daemon.wait_for_state("198.51.100.0/24", "Installed");
        silence(first, true);
        wait_until("the others are switched", || leads_to("10.0.2.2"));
        wait_until("all go by objects", || led() == 21);
        let refused = "refuses nexthop objects";
        let told = |log: &str| log.lines().filter(|line| line.contains(refused)).count();
        let log = daemon.log();
        assert_eq!(told(&log), 1, "{log}");
        let line = log.lines().find(|line| line.contains(refused)).unwrap();
        for word in ["via 10.0.1.255 dev gw1", "invalid gateway"] {
            assert!(line.contains(word), "{line}");
        }
        // Asked again when the node changes, and not told again.
        ip("address add 10.9.9.9/32 dev gw2");
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(led(), 21);
        assert_eq!(told(&daemon.log()), 1);
    });
}
