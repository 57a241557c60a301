//! Sockets: which kind, how many, for how long.

use std::collections::BTreeSet;
use std::fs;

use caps::CapSet;
use nix::sched::{CloneFlags, unshare};
use srsync::model::document::Probe;
use srsync::probe::Target;

use super::probing::{Net, Probing, Server, V4, V6, every, icmp, node_and_gateway, target};
use crate::support::Namespace;
use crate::support::tables::wait_until;

/// The inodes of the sockets in a table such as `/proc/net/raw`.
fn sockets(node: &Namespace, table: &str) -> BTreeSet<String> {
    let path = format!("/proc/thread-self/net/{table}");
    let table = node.enter(|| fs::read_to_string(path).unwrap());
    let inode = |line: &str| line.split_whitespace().nth(9).unwrap().to_owned();
    table.lines().skip(1).map(inode).collect()
}

/// How many raw and datagram sockets for ICMP there are.
pub fn raw_and_datagram(node: &Namespace, net: &Net) -> (usize, usize) {
    let (raw, datagram) = match net.family {
        "-4" => ("raw", "icmp"),
        _ => ("raw6", "icmp6"),
    };
    (sockets(node, raw).len(), sockets(node, datagram).len())
}

fn give_up_capabilities() {
    caps::clear(None, CapSet::Effective).unwrap();
}

#[test]
fn a_datagram_socket_needs_no_privilege_where_the_node_allows_it() {
    let (node, _gateway) = node_and_gateway();
    node.sysctl("ipv4/ping_group_range", "0 0");
    for net in [V4, V6] {
        let probing = Probing::start_after(&node, give_up_capabilities, [icmp(net.gateway)]);
        probing.wait_for_answer();
        assert_eq!(raw_and_datagram(&node, &net), (0, 1));
    }
}

#[test]
fn a_raw_socket_is_used_where_it_does_not() {
    // As a new namespace is.
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        let probing = Probing::start(&node, [icmp(net.gateway)]);
        probing.wait_for_answer();
        assert_eq!(raw_and_datagram(&node, &net), (1, 0));
        // Somebody else's packets of the same kind, from the same address.
        let other = Probing::start(&node, [every(20, icmp(net.gateway))]);
        let asking = Probing::start(&gateway, {
            let mut target = every(20, icmp(net.node));
            target.interface = None;
            [target]
        });
        for _ in 0..20 {
            other.wait_for_answer();
            asking.wait_for_answer();
        }
        probing.wait_for_answer();
        drop(other);
        gateway.sysctl(net.ignore_echo, "1");
        probing.wait_for_words("timed out");
    }
}

#[test]
fn without_either_it_says_what_is_missing() {
    let (node, _gateway) = node_and_gateway();
    for net in [V4, V6] {
        let probing = Probing::start_after(&node, give_up_capabilities, [icmp(net.gateway)]);
        probing.wait_for_words("CAP_NET_RAW, or this process's group");
    }
}

#[test]
fn a_target_keeps_its_socket_while_others_come_and_go() {
    let (node, _gateway) = node_and_gateway();
    node.sysctl("ipv4/ping_group_range", "0 0");
    for (net, other, table) in [(V4, "10.0.1.9", "icmp"), (V6, "fd00:1::9", "icmp6")] {
        let steady = every(50, icmp(net.gateway));
        let probing = Probing::start(&node, [steady.clone()]);
        probing.wait_for_answer();
        let before = sockets(&node, table);
        assert_eq!(before.len(), 1);
        probing.set([steady.clone(), every(50, icmp(other))]);
        wait_until("there are two sockets", || sockets(&node, table).len() == 2);
        probing.set([steady]);
        wait_until("there is one socket", || sockets(&node, table).len() == 1);
        probing.wait_for_answer();
        assert_eq!(sockets(&node, table), before);
    }
}

/// The descriptors of this thread.
fn descriptors() -> usize {
    fs::read_dir("/proc/thread-self/fd").unwrap().count()
}

#[test]
fn a_thousand_probes_leave_no_descriptor() {
    // Descriptors of our own, which tests beside this one do not touch.
    unshare(CloneFlags::CLONE_FILES).unwrap();
    let (node, gateway) = node_and_gateway();
    let mut targets: Vec<Target> = Vec::new();
    let mut servers = Vec::new();
    for net in [V4, V6] {
        let http = |port| Probe::Http {
            port,
            path: "/".to_owned(),
            host: None,
            expect_status: (200, 200),
        };
        let answer = "HTTP/1.1 200 OK\r\n\r\n";
        servers.push(Server::start(&gateway, net.port(81), Some(answer)));
        servers.push(Server::start(&gateway, net.port(82), Some("garbage")));
        let kinds = [
            Probe::Icmp,
            Probe::Arp,
            Probe::Tcp { port: 7000 },
            Probe::Tcp { port: 81 },
            http(81),
            http(82),
            http(83),
        ];
        for kind in kinds {
            targets.push(every(20, target(net.gateway, kind)));
        }
        // Nobody there, and no such interface.
        let mut silent = every(20, icmp(net.gateway));
        silent.interface = super::probing::interface("west");
        targets.push(silent);
        targets.push(every(
            20,
            icmp(if net.family == "-4" {
                "10.0.1.99"
            } else {
                "fd00:1::99"
            }),
        ));
    }
    // The first runtime of a process opens two for signals, for good.
    drop(Probing::start(&node, []));
    let before = descriptors();
    let probing = Probing::start(&node, targets);
    let mut most = 0;
    for count in 0..1200 {
        probing.next();
        if count == 200 {
            most = descriptors();
        }
    }
    // A few connections more may be open at this moment.
    let after = descriptors();
    assert!(after <= most + 8, "{before}, then {most}, then {after}");
    drop(probing);
    wait_until("all are closed", || descriptors() <= before);
}
