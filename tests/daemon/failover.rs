//! Real gateways that stop answering, and come back: traffic moves, and nobody has to do anything.

use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::tables::{quiet, wait_for_links, wait_until};
use crate::support::{Namespace, address, in_namespace, ip, ip_if_any};

pub const PREFIX: &str = "198.18.1.0/24";

/// A node with two gateways, each in a namespace and on a link of its own, in both families:
/// 10.0.1.2 and 10.0.2.2, fd00:1::2 and fd00:2::2.
pub fn between_two_gateways(test: impl FnOnce(&Srsync<'_>, &[Namespace; 2]) + Send) {
    in_namespace(|| {
        quiet();
        let gateways = [Namespace::new(), Namespace::new()];
        for (n, gateway) in (1..).zip(&gateways) {
            let pid = gateway.pid();
            ip(&format!(
                "link add name gw{n} type veth peer name node netns {pid}"
            ));
            ip(&format!("link set gw{n} up"));
            gateway.ip("link set node up");
            for subnet in [format!("10.0.{n}."), format!("fd00:{n}::")] {
                let length = if subnet.contains(':') { 64 } else { 24 };
                address(&format!("{subnet}1/{length}"), &format!("gw{n}"));
                gateway.enter(|| address(&format!("{subnet}2/{length}"), "node"));
            }
        }
        wait_for_links();
        test(&Srsync::here(), &gateways);
    });
}

pub fn document(srsync: &Srsync<'_>, more: &str) {
    srsync.document(
        "a",
        &format!(
            "destinations: [{PREFIX}], gateways: [{{address: 10.0.1.2}}, {{address: 10.0.2.2}}], \
             healthCheck: {{icmp: {{}}, interval: 50ms, fall: 3, rise: 2, holdDown: 1s}} {more}"
        ),
    );
}

/// A gateway that stops answering while its link stays up.
pub fn silence(gateway: &Namespace, silent: bool) {
    gateway.sysctl("ipv4/icmp_echo_ignore_all", if silent { "1" } else { "0" });
}

/// Whether packets go that way; what stands by is listed with the route, too, and gets none.
pub fn leads_to(gateway: &str) -> bool {
    let way = ip_if_any("route get 198.18.1.7");
    way.contains(&format!("via {gateway} "))
}

/// Whether a route of ours has this gateway among others.
pub fn leads_also_to(gateway: &str) -> bool {
    let shown = ip(&format!("route show proto 83 {PREFIX}"));
    shown.contains(&format!("via {gateway} "))
}

pub fn kinds(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status();
    let recent = status["daemon"]["recent"].as_array().unwrap().iter();
    recent
        .map(|happening| happening["kind"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_gateway_that_falls_silent_is_left_and_returned_to_after_its_hold_down() {
    between_two_gateways(|srsync, [first, _]| {
        document(srsync, "");
        let daemon = Daemon::start(srsync, "");
        assert!(leads_to("10.0.1.2"), "the first pass installs at once");
        silence(first, true);
        wait_until("the second carries", || leads_to("10.0.2.2"));
        let said = daemon.wait_for_state(PREFIX, "Installed");
        assert_eq!(said, "Installed");
        let is_told = |kind: &str| kinds(&daemon).contains(&kind.to_owned());
        wait_until("it is told why", || {
            is_told("gatewayDown") && is_told("failover")
        });
        silence(first, false);
        wait_until("the first carries again", || leads_to("10.0.1.2"));
        wait_until("that is told", || is_told("gatewayUp"));
    });
}

#[test]
fn when_all_are_silent_on_all_down_decides() {
    for (says, expected) in [
        ("keep", "via 10.0."),
        ("withdraw", ""),
        ("blackhole", "blackhole"),
    ] {
        between_two_gateways(|srsync, gateways| {
            document(srsync, &format!(", onAllDown: {says}"));
            let daemon = Daemon::start(srsync, "");
            gateways.iter().for_each(|gateway| silence(gateway, true));
            wait_until("both are down", || {
                kinds(&daemon)
                    .iter()
                    .filter(|kind| *kind == "gatewayDown")
                    .count()
                    == 2
            });
            wait_until(says, || {
                let shown = ip(&format!("route show proto 83 {PREFIX}"));
                if expected.is_empty() {
                    shown.is_empty()
                } else {
                    shown.contains(expected)
                }
            });
            gateways.iter().for_each(|gateway| silence(gateway, false));
            wait_until("a gateway carries again", || {
                leads_to("10.0.1.2") || leads_to("10.0.2.2")
            });
            daemon.wait_for_state(PREFIX, "Installed");
        });
    }
}

/// In the middle of an outage the daemon is killed: the next one goes on with what carries, and does
/// not try the dead gateway on live traffic.
#[test]
fn a_restart_in_an_outage_does_not_switch_back_and_forth() {
    between_two_gateways(|srsync, [first, _]| {
        document(srsync, "");
        let mut daemon = Daemon::start(srsync, "");
        silence(first, true);
        wait_until("the second carries", || leads_to("10.0.2.2"));
        daemon.kill();
        let changes = crate::support::watch::Changes::watch();
        let daemon = Daemon::start(srsync, "");
        wait_until("it knows of the outage", || {
            kinds(&daemon).contains(&"gatewayDown".to_owned())
        });
        assert!(leads_to("10.0.2.2"));
        assert_eq!(changes.count(), 0, "a route was changed");
    });
}

#[test]
fn with_ecmp_a_silent_gateway_is_taken_out_and_put_back() {
    between_two_gateways(|srsync, [first, _]| {
        document(srsync, ", mode: ecmp");
        let _daemon = Daemon::start(srsync, "");
        let both = || leads_also_to("10.0.1.2") && leads_also_to("10.0.2.2");
        assert!(both());
        silence(first, true);
        wait_until("one is left", || {
            leads_also_to("10.0.2.2") && !leads_also_to("10.0.1.2")
        });
        silence(first, false);
        wait_until("both again", both);
    });
}

/// Neither gateway nor witness answers: it is this node that is cut off, and nothing is switched.
#[test]
fn an_isolated_node_does_not_switch() {
    between_two_gateways(|srsync, [first, second]| {
        second.ip("addr add 10.0.2.9/24 dev node");
        document(srsync, ", witness: [10.0.2.9]");
        let daemon = Daemon::start(srsync, "");
        silence(first, true);
        silence(second, true);
        wait_until("isolation is told", || {
            kinds(&daemon).contains(&"isolation".to_owned())
        });
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(leads_to("10.0.1.2"));
        // The witness answers again, the gateway does not: it is dead indeed.
        silence(second, false);
        wait_until("the second carries", || leads_to("10.0.2.2"));
    });
}

/// A daemon that may send no ICMP does not take that for the death of its gateways.
#[test]
fn what_this_node_may_not_ask_is_no_evidence() {
    between_two_gateways(|srsync, _| {
        document(srsync, ", onAllDown: withdraw");
        // Datagram sockets for ICMP are for nobody in a new namespace (ping_group_range).
        let daemon = Daemon::start_without_raw_sockets(srsync);
        wait_until("it is said", || daemon.log().contains("cannot be probed"));
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(leads_to("10.0.1.2"));
        assert!(!kinds(&daemon).contains(&"gatewayDown".to_owned()));
    });
}

/// Both gateways are dead when the daemon is killed: the next one does not try them on live traffic, and
/// leads to the first that answers again.
#[test]
fn a_restart_while_all_are_down_leaves_it_at_that() {
    for says in ["withdraw", "blackhole"] {
        between_two_gateways(|srsync, gateways| {
            document(srsync, &format!(", onAllDown: {says}"));
            let mut daemon = Daemon::start(srsync, "");
            gateways.iter().for_each(|gateway| silence(gateway, true));
            wait_until(says, || {
                let shown = ip(&format!("route show proto 83 {PREFIX}"));
                !shown.contains("via")
            });
            let before = ip("route show proto 83");
            daemon.kill();
            let changes = crate::support::watch::Changes::watch();
            daemon.launch_again(srsync, "");
            daemon.wait_ready();
            std::thread::sleep(std::time::Duration::from_millis(500));
            assert_eq!(changes.count(), 0, "{says}: a route was changed");
            assert_eq!(ip("route show proto 83"), before);
            silence(&gateways[1], false);
            wait_until("the second carries", || leads_to("10.0.2.2"));
        });
    }
}
