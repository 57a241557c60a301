//! Only what is ours: whatever srsync does, the rest of the node stays byte for byte.

use crate::support::program::Srsync;
use crate::support::tables::{foreign, foreign_to, quiet, routes, wait_for_links};
use crate::support::{east_and_west, in_namespace, ip};

/// A node with routes of everybody in every way that could be mistaken for ours.
fn on_a_shared_node(test: impl FnOnce(&Srsync<'_>) + Send) {
    in_namespace(|| {
        quiet();
        east_and_west();
        for line in OTHERS.lines() {
            ip(line);
        }
        wait_for_links();
        test(&Srsync::here());
    });
}

/// 198.51.100.0/24 and 2001:db8:1::/64 are the prefixes that srsync will want too.
const OTHERS: &str = "\
route add default via 10.0.1.254 proto dhcp metric 100
route add 198.51.100.0/24 via 10.0.1.7 proto static metric 20
route add 198.51.100.0/24 via 10.0.1.8 proto bgp metric 200
route add 198.51.100.0/24 via 10.0.1.9 proto bird metric 300 table 100
route add 203.0.113.0/24 via 10.0.2.9 proto bgp
route add 203.0.113.0/24 via 10.0.2.9 proto bird table 100
route add blackhole 192.0.2.0/25 proto static table 100
route add 192.0.2.128/25 proto bird nexthop via 10.0.1.7 weight 3 nexthop via 10.0.2.7 weight 5
route add unreachable default metric 4278198272 proto bird table 100
route add 198.18.0.0/15 dev west proto static mtu 1400 table 100000
nexthop add id 7 via 10.0.1.7 dev east proto bgp
route add 198.18.0.0/16 nhid 7 proto bgp
rule add from 10.9.0.0/16 lookup 100 priority 1000 protocol static
rule add fwmark 7 lookup 100000 priority 1001
-6 route add default via fd00:1::fe proto ra metric 100
-6 route add 2001:db8:1::/64 via fd00:1::7 proto static metric 20
-6 route add 2001:db8:1::/64 via fd00:1::8 proto bgp metric 200
-6 route add 2001:db8:1::/64 via fd00:1::9 proto bird metric 300 table 100
-6 route add 2001:db8:2::/64 via fd00:2::9 proto bgp
-6 route add 2001:db8:2::/64 via fd00:2::9 proto bird table 100
-6 route add 2001:db8:3::/64 proto bird nexthop via fd00:1::7 weight 3 nexthop via fd00:2::7
-6 route add 2001:db8:4::/64 via fd00:1::7 proto ra expires 1000
-6 route add blackhole 2001:db8:5::/64 proto static table 100
-6 rule add from 2001:db8:9::/64 lookup 100 priority 1000 protocol static
";

/// Documents for the same prefixes in the same tables, in slots that are free.
fn documents(srsync: &Srsync<'_>, gateway: u8, metric: u32) {
    for (name, table) in [
        ("in-main", "main"),
        ("in-100", "100"),
        ("in-100000", "100000"),
    ] {
        let spec = format!(
            "destinations: [198.51.100.0/24, 203.0.113.0/24, 192.0.2.0/25, '2001:db8:1::/64', \
             '2001:db8:2::/64', '2001:db8:5::/64'], gateways: [{{address: 10.0.1.{gateway}}}, \
             {{address: 'fd00:1::{gateway}'}}], table: {table}, metric: {metric}"
        );
        srsync.document(name, &spec);
    }
}

#[test]
fn applying_changing_and_removing_leaves_the_rest_byte_for_byte() {
    on_a_shared_node(|srsync| {
        let before = foreign();
        // Between, below and above the metrics of the others, by other gateways and the same one.
        for (gateway, metric) in [(2, 50), (3, 50), (7, 50), (7, 10), (2, 5000)] {
            documents(srsync, gateway, metric);
            srsync.converge();
            assert_eq!(foreign(), before, "metric {metric} via {gateway}");
            assert_eq!(srsync.apply().exits(0).count("keep"), 18);
            assert_eq!(foreign(), before);
        }
        srsync.without("in-100");
        assert_eq!(srsync.converge().count("remove"), 6);
        assert_eq!(foreign(), before);
        srsync.document(
            "in-main",
            "destinations: [192.0.2.0/24], type: throw, metric: 7",
        );
        srsync.converge();
        assert_eq!(foreign(), before);
        srsync.run("flush --yes").exits(0);
        assert_eq!(foreign(), before);
        assert_eq!(foreign_to(&[]), before, "nothing of ours is left");
    });
}

/// A slot that somebody holds is not ours to take, whatever is in it: the same route, another
/// one, or one of another type.
#[test]
fn an_occupied_slot_is_reported_with_its_owner_and_left_alone() {
    on_a_shared_node(|srsync| {
        let before = foreign();
        srsync.document(
            "wanted",
            "destinations: [198.51.100.0/24, '2001:db8:1::/64', 192.0.2.0/24], metric: 200, \
             gateways: [{address: 10.0.1.8}, {address: 'fd00:1::2'}]",
        );
        srsync.document(
            "wanted-too",
            "destinations: [192.0.2.0/25, '2001:db8:5::/64'], type: unreachable, table: 100",
        );
        for _ in 0..2 {
            let run = srsync.apply().exits(4);
            let v4 = run.state("198.51.100.0/24");
            let v6 = run.state("2001:db8:1::/64");
            let owner = "Foreign: the slot belongs to protocol bgp (186); ";
            assert!(v4.starts_with(owner) && v4.contains("adopt"), "{v4}");
            assert!(v6.starts_with(owner) && v6.contains("metric"), "{v6}");
            let v4 = run.state("192.0.2.0/25");
            assert!(
                v4.starts_with("Foreign: the slot belongs to protocol static (4)"),
                "{v4}"
            );
            // The metric of an IPv6 route without one, on both sides.
            let v6 = run.state("2001:db8:5::/64");
            assert!(
                v6.starts_with("Foreign: the slot belongs to protocol static (4)"),
                "{v6}"
            );
            // One of them does not keep the rest of the document back.
            assert_eq!(run.state("192.0.2.0/24"), "Installed");
            assert_eq!(foreign(), before);
            // There is nothing that another apply could do about it.
            srsync.plan().exits(0);
        }
        let text = srsync.on_directory("apply").exits(4).stdout;
        assert!(text.contains("bgp (186)"), "{text}");
        srsync.run("flush --yes").exits(0);
        assert_eq!(foreign(), before);
    });
}

/// As routing daemons install them. They are shown as `ip route` shows them, and are not the plain
/// route that a document wants, though they lead the same way: neither adopted nor taken for ours.
#[test]
fn routes_by_nexthop_objects_are_told_from_plain_ones() {
    in_namespace(|| {
        quiet();
        east_and_west();
        wait_for_links();
        ip("nexthop add id 7 via 10.0.1.7 dev east proto zebra");
        ip("nexthop add id 8 via fd00:1::7 dev east proto zebra");
        ip("route add 198.51.100.0/24 nhid 7 proto zebra metric 50");
        ip("-6 route add 2001:db8:1::/64 nhid 8 proto zebra metric 50");
        ip("route add 203.0.113.0/24 nhid 7 proto 83 metric 50");
        ip("-6 route add 2001:db8:2::/64 nhid 8 proto 83 metric 50");
        let theirs = || [routes("-4", "proto zebra"), routes("-6", "proto zebra")];
        let before = theirs();
        let srsync = Srsync::here().with("--foreign-routes adopt");
        srsync.document(
            "wanted",
            "destinations: [198.51.100.0/24, 203.0.113.0/24, '2001:db8:1::/64', \
             '2001:db8:2::/64'], metric: 50, \
             gateways: [{address: 10.0.1.7}, {address: 'fd00:1::7'}]",
        );
        let text = srsync.on_directory("plan").exits(0).stdout;
        for way in [
            "nhid 7 via 10.0.1.7 dev east",
            "nhid 8 via fd00:1::7 dev east",
        ] {
            assert_eq!(text.matches(way).count(), 2, "{text}");
        }
        let run = srsync.apply().exits(4);
        for (foreign, ours, id) in [
            ("198.51.100.0/24", "203.0.113.0/24", 7),
            ("2001:db8:1::/64", "2001:db8:2::/64", 8),
        ] {
            assert!(
                run.state(foreign).starts_with("Foreign: "),
                "{}",
                run.state(foreign)
            );
            assert_eq!(run.row(foreign)["occupant"]["nextHopId"], id);
            assert_eq!(run.row(ours)["action"], "replace");
            assert_eq!(run.row(ours)["previous"]["nextHopId"], id);
            assert_eq!(run.row(ours).get("nextHopId"), None);
        }
        assert_eq!(theirs(), before);
        srsync.plan().exits(0);
    });
}

#[test]
fn a_slot_that_becomes_free_is_ours_at_the_next_apply_and_one_taken_from_us_is_lost() {
    on_a_shared_node(|srsync| {
        srsync.document(
            "wanted",
            "destinations: [198.51.100.0/24, '2001:db8:1::/64'], metric: 200, \
             gateways: [{address: 10.0.1.2}, {address: 'fd00:1::2'}]",
        );
        srsync.apply().exits(4);
        ip("route del 198.51.100.0/24 metric 200");
        ip("-6 route del 2001:db8:1::/64 metric 200");
        srsync.converge();
        let before = foreign();
        // `ip route replace` takes over whatever it finds.
        ip("route replace 198.51.100.0/24 via 10.0.1.8 proto bgp metric 200");
        ip("-6 route replace 2001:db8:1::/64 via fd00:1::8 proto bgp metric 200");
        let taken = foreign();
        assert_ne!(taken, before);
        let run = srsync.apply().exits(4);
        assert!(run.state("198.51.100.0/24").contains("bgp (186)"));
        assert!(run.state("2001:db8:1::/64").contains("bgp (186)"));
        assert_eq!(foreign(), taken);
    });
}

/// Two of us with numbers of their own are strangers to each other.
#[test]
fn ours_of_another_number_are_foreign() {
    on_a_shared_node(|srsync| {
        let other = Srsync::here().with("--protocol 84");
        let rest = foreign_to(&[83, 84]);
        documents(srsync, 2, 50);
        documents(&other, 3, 60);
        srsync.converge();
        other.converge();
        let (without_83, without_84) = (foreign_to(&[83]), foreign_to(&[84]));
        // Each wants the other's slots, and changes nothing there.
        documents(&other, 3, 50);
        let run = other.apply().exits(4);
        assert_eq!((run.count("Foreign"), run.count("remove")), (18, 18));
        assert!(run.state("203.0.113.0/24").contains("srsync (83)"));
        assert_eq!(foreign_to(&[84]), without_84);
        documents(&other, 3, 60);
        other.converge();
        documents(srsync, 2, 60);
        let run = srsync.apply().exits(4);
        assert_eq!((run.count("Foreign"), run.count("remove")), (18, 18));
        assert!(run.state("203.0.113.0/24").contains("protocol 84"));
        assert_eq!(foreign_to(&[83]), without_83);
        srsync.run("flush --yes").exits(0);
        assert_eq!(foreign_to(&[83]), without_83);
        other.run("flush --yes").exits(0);
        assert_eq!(foreign_to(&[]), rest);
    });
}

/// `adopt` changes the owner of a route that is what the document wants, and of no other.
#[test]
fn adopting_takes_over_just_the_identical_route() {
    on_a_shared_node(|srsync| {
        // The first of each family is what bgp has; the others differ in gateway or in type.
        srsync.document(
            "same",
            "destinations: [203.0.113.0/24, '2001:db8:2::/64'], \
             gateways: [{address: 10.0.2.9}, {address: 'fd00:2::9'}]",
        );
        srsync.document(
            "different-gateway",
            "destinations: [198.51.100.0/24, '2001:db8:1::/64'], metric: 200, \
             gateways: [{address: 10.0.1.7}, {address: 'fd00:1::7'}]",
        );
        srsync.document(
            "different-type",
            "destinations: [192.0.2.0/25, '2001:db8:5::/64'], type: prohibit, table: 100",
        );
        assert_eq!(srsync.apply().exits(4).count("Foreign"), 6);
        let adopted = |line: &&str| {
            (line.contains("unicast 203.0.113.0/24 ") || line.contains("unicast 2001:db8:2::/64 "))
                && line.contains("proto bgp")
        };
        let before = foreign();
        assert_eq!(before.lines().filter(adopted).count(), 2, "{before}");
        let expected: Vec<&str> = before.lines().filter(|line| !adopted(line)).collect();

        let run = srsync
            .on_directory("-o json --foreign-routes adopt apply")
            .exits(4);
        assert_eq!((run.count("adopt"), run.count("Foreign")), (2, 4));
        assert_eq!(foreign().lines().collect::<Vec<_>>(), expected);
        for (family, prefix) in [("-4", "203.0.113.0/24"), ("-6", "2001:db8:2::/64")] {
            let ours = routes(family, "proto 83");
            assert_eq!(ours.len(), 1, "{ours:?}");
            assert_eq!(ours[0]["dst"], prefix);
        }
        // Ours now: it goes when nobody asks for it any more.
        srsync.without("same");
        srsync.apply().exits(4);
        assert_eq!(foreign_to(&[]).lines().collect::<Vec<_>>(), expected);
    });
}
