//! TCP: connections that come about, and those that do not.

use std::fs;
use std::time::Duration;

use srsync::model::document::Probe;
use srsync::probe::Loss;

use super::probing::{Probing, Server, V4, V6, every, node_and_gateway, target};
use crate::support::Namespace;

fn tcp(gateway: &str) -> srsync::probe::Target {
    target(gateway, Probe::Tcp { port: 7000 })
}

#[test]
fn a_port_is_refused_until_somebody_listens() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        let probing = Probing::start(&node, [tcp(net.gateway)]);
        probing.wait_for_loss(&Loss::Refused);
        let _server = Server::start(&gateway, net.port(7000), None);
        probing.wait_for_answer();
    }
}

#[test]
fn a_gateway_that_is_gone_is_lost() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        let _server = Server::start(&gateway, net.port(7000), None);
        let probing = Probing::start(&node, [tcp(net.gateway)]);
        probing.wait_for_answer();
        gateway.ip(&format!("addr del {} dev node", net.gateway_subnet()));
        probing.wait_for_loss(&Loss::Timeout);
        gateway.ip(&format!("addr add {} dev node nodad", net.gateway_subnet()));
        probing.wait_for_answer();
        node.ip("link set east down");
        probing.wait_for_words("unreachable");
        node.ip("link set east up");
        probing.wait_for_answer();
    }
}

/// Connections of a namespace that are remembered for a minute after their end.
fn remembered(namespace: &Namespace) -> usize {
    const TIME_WAIT: &str = "06";
    let of = |file: &str| {
        let table = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
        let state = |line: &str| line.split_whitespace().nth(3) == Some(TIME_WAIT);
        table.lines().filter(|line| state(line)).count()
    };
    namespace.enter(|| of("tcp") + of("tcp6"))
}

#[test]
fn many_connections_leave_nothing_behind() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        let _server = Server::start(&gateway, net.port(7000), None);
        let probing = Probing::start(&node, [every(20, tcp(net.gateway))]);
        for _ in 0..50 {
            probing.next();
        }
        drop(probing);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!((remembered(&node), remembered(&gateway)), (0, 0));
    }
}
