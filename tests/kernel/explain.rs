//! `srsync explain` on a node in a namespace: the way, its document, and where the kernel says something else.

use crate::support::program::Srsync;
use crate::support::tables::{quiet, wait_for_links};
use crate::support::{east_and_west, in_namespace, ip, ip_if_any, sysctl};

/// A node with a default route of DHCP, routes of srsync in two tables, and a rule between them.
fn on_a_node(test: impl FnOnce(&Srsync<'_>) + Send) {
    in_namespace(|| {
        quiet();
        east_and_west();
        for line in NODE.lines() {
            ip(line);
        }
        wait_for_links();
        let srsync = Srsync::here().with("--socket /nonexistent/srsync.sock");
        srsync.document(
            "partners",
            "destinations: [192.0.2.0/24, '2001:db8::/32'], gateways: [{address: 10.0.1.2}, {address: 'fd00:1::2'}], metric: 50",
        );
        srsync.document(
            "uplink",
            "destinations: [192.0.2.0/25, '2001:db8::/48'], gateways: [{address: 10.0.2.2}, {address: 'fd00:2::2'}], table: 100",
        );
        srsync.file("rules.yaml", RULES);
        srsync.converge();
        test(&srsync);
    });
}

const NODE: &str = "\
route add default via 10.0.1.254 proto dhcp metric 100
-6 route add default via fd00:1::fe proto ra metric 100";

const RULES: &str = "\
apiVersion: srsync.dev/v1alpha1
kind: RoutingRule
metadata: {name: pods}
spec: {from: 10.42.0.0/16, table: 100, priority: 100}
---
apiVersion: srsync.dev/v1alpha1
kind: RoutingRule
metadata: {name: pods-6}
spec: {from: 'fd42::/64', table: 100, priority: 100}
";

fn explain(srsync: &Srsync<'_>, arguments: &str) -> String {
    let run = srsync
        .on_directory(&format!("explain {arguments}"))
        .exits(0);
    run.stdout
}

#[test]
fn the_way_is_told_with_what_it_beats_and_the_document_behind_it() {
    on_a_node(|srsync| {
        let told = explain(srsync, "192.0.2.7");
        let expected = "\
192.0.2.7

0: from all lookup local (kernel (2))
    table local has no route for it
100: from 10.42.0.0/16 lookup 100 (pods at rules.yaml:1)
    no: no source is chosen yet
32766: from all lookup main (kernel (2))
    192.0.2.0/24 via 10.0.1.2 dev east metric 50 (partners at partners.yaml:4)
      rather than 0.0.0.0/0 via 10.0.1.254 dev east metric 100 (dhcp (16))
(1 more rule is not asked)

result: sent: 192.0.2.0/24 via 10.0.1.2 dev east metric 50 (partners at partners.yaml:4)
  -> gateway 10.0.1.2 dev east, neighbour unknown: it did not answer, or was never asked
kernel: says the same: via 10.0.1.2 dev east table main src 10.0.1.1
note: the kernel would choose the source 10.0.1.1 and look up the way once more with it: ask with --from 10.0.1.1
";
        assert_eq!(told, expected);
        let told = explain(srsync, "2001:db8:1::7 --from fd00:1::1");
        assert!(
            told.contains("\n    no: it comes from fd00:1::1\n"),
            "{told}"
        );
        assert!(
            told.contains("\nresult: sent: 2001:db8::/32 via fd00:1::2 dev east metric 50 (partners at partners.yaml:4)\n"),
            "{told}"
        );
        assert!(
            told.contains("\nkernel: says the same: via fd00:1::2 dev east"),
            "{told}"
        );
    });
}

#[test]
fn a_rule_leads_to_another_table_and_the_neighbour_is_known() {
    on_a_node(|srsync| {
        sysctl("ipv4/ip_forward", "1");
        sysctl("ipv6/conf/all/forwarding", "1");
        for (to, from, gateway) in [
            ("192.0.2.7", "10.42.0.5", "10.0.2.2"),
            ("2001:db8::7", "fd42::5", "fd00:2::2"),
        ] {
            ip(&format!(
                "neigh replace {gateway} dev west lladdr 02:00:00:00:00:01 nud reachable"
            ));
            let arguments = format!("{to} --from {from} --iif east");
            let run = srsync
                .on_directory(&format!("-o json explain {arguments}"))
                .exits(0);
            let told = run.report();
            assert_eq!(told["kind"], "Explanation");
            assert_eq!(told["kernel"]["agrees"], true, "{told:#}");
            let decides = &told["rules"][1];
            assert_eq!(
                (&decides["matches"], &decides["ours"]),
                (&"yes".into(), &true.into())
            );
            assert_eq!(decides["lookup"]["table"], "100");
            assert_eq!(told["result"]["route"]["document"], "uplink");
            assert_eq!(told["result"]["route"]["line"], 4);
            let hop = &told["nextHops"][0];
            assert_eq!(
                (&hop["address"], &hop["interface"]),
                (&gateway.into(), &"west".into())
            );
            assert_eq!(hop["neighbour"], "neighbour reachable");
            assert_eq!(told["remarks"].as_array().unwrap().len(), 0, "{told:#}");
        }
    });
}

#[test]
fn a_packet_that_goes_nowhere_and_one_that_is_delivered_are_told() {
    on_a_node(|srsync| {
        for (flag, to, local) in [
            ("-4", "203.0.113.7", "10.0.1.1"),
            ("-6", "2001:db8:f::7", "fd00:1::1"),
        ] {
            assert!(
                explain(srsync, local).contains("\nresult: delivered: "),
                "{local}"
            );
            for (kind, words) in [
                ("blackhole", "EINVAL"),
                ("prohibit", "EACCES"),
                ("unreachable", "E"),
            ] {
                ip(&format!("{flag} rule add to {to} {kind} priority 50"));
                let told = explain(srsync, to);
                assert!(
                    told.contains(&format!("result: dropped by rule 50: from all to {to}")),
                    "{told}"
                );
                assert!(
                    told.contains("kernel: says the same: ") && told.contains(words),
                    "{told}"
                );
                ip(&format!("{flag} rule del priority 50"));
            }
        }
        ip("route del default");
        ip("-6 route del default");
        for to in ["203.0.113.7", "3fff::7"] {
            let told = explain(srsync, to);
            assert!(
                told.contains("result: no table has a route for it\nkernel: says the same"),
                "{told}"
            );
        }
    });
}

#[test]
fn what_the_kernel_refuses_of_forwarded_packets_is_said_in_words() {
    on_a_node(|srsync| {
        let arguments = "192.0.2.7 --from 10.42.0.5 --iif east";
        let told = explain(srsync, arguments);
        assert!(
            told.contains("kernel: DIFFERS") && told.contains("net.ipv4.conf.east.forwarding"),
            "{told}"
        );
        sysctl("ipv4/ip_forward", "1");
        ip("route add 10.42.0.0/16 via 10.0.2.9");
        sysctl("ipv4/conf/east/rp_filter", "1");
        let told = explain(srsync, arguments);
        assert!(
            told.contains(
                "rp_filter refuses it, because the way back to 10.42.0.5 does not lead out of east"
            ),
            "{told}"
        );
    });
}

/// What a document asks for and does not have, and a route of ours that no document asks for.
#[test]
fn where_documents_and_the_node_differ_that_is_said() {
    on_a_node(|srsync| {
        srsync.document("missing", "destinations: [192.0.2.7, '2001:db8::7'], gateways: [{address: 10.0.1.9}, {address: 'fd00:1::9'}]");
        srsync.document(
            "unreachable",
            "destinations: [192.0.2.6/31], gateway: 10.99.0.1",
        );
        srsync.without("partners");
        let told = explain(srsync, "192.0.2.7");
        assert!(
            told.contains("metric 50 (srsync (83), of no document that was read)"),
            "{told}"
        );
        assert!(
            told.contains("asked for, not there yet: 192.0.2.7/32 via 10.0.1.9 dev east metric 0 table main (missing at missing.yaml:4)"),
            "{told}"
        );
        assert!(told.contains("asked for, Pending: 192.0.2.6/31 metric 0 table main (unreachable at unreachable.yaml:4): "), "{told}");
        // A mistake in a document is told, and no obstacle.
        srsync.file("broken.yaml", "kind: StaticRoute\n");
        let run = srsync.on_directory("explain 2001:db8::7").exits(0);
        assert!(run.stderr.contains("broken.yaml:1"), "{}", run.stderr);
        assert!(
            run.stdout.contains("missing at missing.yaml:4"),
            "{}",
            run.stdout
        );
        assert_eq!(ip_if_any("route show 192.0.2.7"), "", "nothing was changed");
    });
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    on_a_node(|srsync| {
        let cases = [
            (
                "explain 192.0.2.7 --from fd00::1",
                "--from: it must be of the family of ADDRESS",
            ),
            ("explain 192.0.2.7 --iif east", "--from"),
            (
                "explain 192.0.2.7 --from 10.0.1.9 --iif nowhere",
                "this node has no interface nowhere",
            ),
            ("explain 192.0.2.7 --mark seven", "it must be a number"),
            ("explain partners", "invalid IP address"),
        ];
        for (arguments, words) in cases {
            let run = srsync.run(arguments).exits(2);
            assert!(run.stderr.contains(words), "{arguments}: {}", run.stderr);
        }
        // Without documents, and with a mask that does not matter.
        srsync.run("explain 192.0.2.7 --mark 0x10/0xff").exits(0);
    });
}
