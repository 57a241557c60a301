//! ARP and neighbour discovery.

use srsync::model::document::Probe;
use srsync::probe::{Outcome, Target};

use super::probing::{Probing, V4, V6, host, interface, node_and_gateway, target};

fn arp(gateway: &str) -> Target {
    target(gateway, Probe::Arp)
}

fn is_lost(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Lost { .. })
}

#[test]
fn a_neighbour_answers_until_it_does_not() {
    let (node, gateway) = node_and_gateway();
    // It need not answer to anything else.
    gateway.sysctl(V4.ignore_echo, "1");
    gateway.sysctl(V6.ignore_echo, "1");
    for net in [V4, V6] {
        let probing = Probing::start(&node, [arp(net.gateway)]);
        probing.wait_for_answer();
        gateway.ip(&format!("addr del {} dev node", net.gateway_subnet()));
        // Although the kernel would believe in it for half a minute.
        let shown = node.ip(&format!("neigh show {} dev east", net.gateway));
        assert!(shown.contains("lladdr"), "{shown}");
        probing.wait_for("a loss", is_lost);
        probing.wait_for_words("no answer to");
        gateway.ip(&format!("addr add {} dev node nodad", net.gateway_subnet()));
        probing.wait_for_answer();
    }
}

#[test]
fn a_neighbour_that_moved_to_another_card_is_found_again() {
    let (node, gateway) = node_and_gateway();
    for (net, card) in [(V4, "02:00:00:00:00:04"), (V6, "02:00:00:00:00:06")] {
        let probing = Probing::start(&node, [arp(net.gateway)]);
        probing.wait_for_answer();
        // Nobody is told about the new one.
        gateway.ip(&format!("link set node address {card}"));
        probing.wait_for("a loss", is_lost);
        probing.wait_for_answer();
        let shown = node.ip(&format!("neigh show {} dev east", net.gateway));
        assert!(shown.contains(card), "{shown}");
    }
}

#[test]
fn a_link_that_is_down_loses_probes_until_it_is_up() {
    let (node, _gateway) = node_and_gateway();
    for net in [V4, V6] {
        let probing = Probing::start(&node, [arp(net.gateway)]);
        probing.wait_for_answer();
        node.ip("link set east down");
        probing.wait_for("a loss", is_lost);
        node.ip("link set east up");
        probing.wait_for_answer();
    }
}

#[test]
fn an_entry_that_a_person_made_is_believed() {
    let (node, _gateway) = node_and_gateway();
    for gateway in ["10.0.1.9", "fd00:1::9"] {
        let probing = Probing::start(&node, [arp(gateway)]);
        probing.wait_for("a loss", is_lost);
        node.ip(&format!(
            "neigh replace {gateway} lladdr 02:00:00:00:00:09 dev east nud permanent"
        ));
        probing.wait_for_answer();
    }
}

#[test]
fn without_an_interface_the_route_tells_the_link() {
    let (node, _gateway) = node_and_gateway();
    for net in [V4, V6] {
        let mut target = arp(net.gateway);
        target.interface = None;
        let probing = Probing::start(&node, [target.clone()]);
        probing.wait_for_answer();
        target.gateway = net.far.parse().unwrap();
        probing.set([target]);
        probing.wait_for_words("it is not on any link");
    }
}

/// Both links lead to the same address, one to nobody.
#[test]
fn each_link_has_neighbours_of_its_own() {
    let (node, _gateway) = node_and_gateway();
    let other = host();
    node.join(
        ("west", "10.0.1.3/24 fd00:1::3/64"),
        &other,
        ("node", "10.0.1.4/24 fd00:1::4/64"),
    );
    for net in [V4, V6] {
        let mut target = arp(net.gateway);
        let probing = Probing::start(&node, [target.clone()]);
        probing.wait_for_answer();
        target.interface = interface("west");
        probing.set([target]);
        probing.wait_for("a loss", is_lost);
        let five = (0..5).map(|_| probing.next().outcome);
        assert!(five.into_iter().all(|outcome| is_lost(&outcome)));
    }
}
