//! ICMP: who answers, who does not, and who is said to be out of reach.

use srsync::probe::{Loss, Outcome};

use super::probing::{Probing, V4, V6, every, host, icmp, interface, node_and_gateway};

#[test]
fn a_gateway_answers_until_it_does_not() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        let probing = Probing::start(&node, [icmp(net.gateway)]);
        probing.wait_for_answer();
        gateway.sysctl(net.ignore_echo, "1");
        probing.wait_for_loss(&Loss::Timeout);
        gateway.sysctl(net.ignore_echo, "0");
        probing.wait_for_answer();
    }
}

#[test]
fn a_gateway_that_has_lost_its_address_is_lost() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        let probing = Probing::start(&node, [icmp(net.gateway)]);
        probing.wait_for_answer();
        gateway.ip(&format!("addr del {} dev node", net.gateway_subnet()));
        probing.wait_for_loss(&Loss::Timeout);
        gateway.ip(&format!("addr add {} dev node nodad", net.gateway_subnet()));
        probing.wait_for_answer();
    }
}

#[test]
fn a_link_that_is_down_loses_probes_until_it_is_up() {
    let (node, gateway) = node_and_gateway();
    for net in [V4, V6] {
        let probing = Probing::start(&node, [icmp(net.gateway)]);
        probing.wait_for_answer();
        node.ip("link set east down");
        probing.wait_for_words("unreachable");
        node.ip("link set east up");
        probing.wait_for_answer();
        gateway.ip("link set node down");
        probing.wait_for("a loss", |outcome| matches!(outcome, Outcome::Lost { .. }));
        gateway.ip("link set node up");
        probing.wait_for_answer();
    }
}

#[test]
fn what_a_router_says_to_be_unreachable_is_not_waited_for() {
    let (node, gateway) = node_and_gateway();
    gateway.sysctl("ipv4/ip_forward", "1");
    gateway.sysctl("ipv6/conf/all/forwarding", "1");
    for net in [V4, V6] {
        let (family, prefix) = (net.family, net.far_prefix);
        node.ip(&format!("{family} route add {prefix} via {}", net.gateway));
        gateway.ip(&format!("{family} route add unreachable {prefix}"));
        let mut target = every(30_000, icmp(net.gateway));
        target.check.targets = vec![net.far.parse().unwrap()];
        let probing = Probing::start(&node, [target]);
        // Before it could time out.
        let Outcome::Lost { address, why, .. } = probing.next().outcome else {
            panic!("answered");
        };
        assert_eq!(address.to_string(), net.far);
        assert!(matches!(why, Loss::Unreachable(_)), "{why:?}");
    }
}

#[test]
fn an_error_about_an_earlier_probe_is_not_taken_for_one_about_the_next() {
    let (node, gateway) = node_and_gateway();
    gateway.sysctl("ipv4/ip_forward", "1");
    gateway.sysctl("ipv6/conf/all/forwarding", "1");
    let far = host();
    gateway.join(
        ("far", "10.0.9.1/24 fd00:9::1/64"),
        &far,
        ("gateway", "10.0.9.2/24 fd00:9::2/64"),
    );
    for (net, behind, back) in [(V4, "10.0.9.2", "10.0.9.1"), (V6, "fd00:9::2", "fd00:9::1")] {
        let (family, prefix) = (net.family, net.far_prefix);
        node.ip(&format!("{family} route add {prefix} via {}", net.gateway));
        far.ip(&format!("{family} route add default via {back}"));
        far.ip(&format!("{family} addr add {} dev lo", net.far));
        gateway.ip(&format!("{family} route add unreachable {prefix}"));
        let mut target = icmp(net.gateway);
        target.check.targets = vec![net.far.parse().unwrap()];
        let probing = Probing::start(&node, [target]);
        probing.wait_for_words("unreachable");
        let replace = format!("{family} route add {prefix} via {behind}");
        gateway.ip(&format!("{family} route del unreachable {prefix}"));
        gateway.ip(&replace);
        probing.wait_for_answer();
    }
}

#[test]
fn all_targets_have_to_answer() {
    let (node, _gateway) = node_and_gateway();
    for (net, silent) in [(V4, "10.0.1.77"), (V6, "fd00:1::77")] {
        let mut target = icmp("192.0.2.1");
        target.check.targets = vec![net.gateway.parse().unwrap(), net.node.parse().unwrap()];
        // The node's own address is reached by `lo` only.
        target.interface = None;
        let probing = Probing::start(&node, [target.clone()]);
        probing.wait_for_answer();
        target.check.targets.push(silent.parse().unwrap());
        probing.set([target]);
        let lost = |outcome: &Outcome| matches!(outcome, Outcome::Lost { .. });
        let Outcome::Lost { address, .. } = probing.wait_for("a loss", lost) else {
            unreachable!()
        };
        assert_eq!(address.to_string(), silent);
    }
}

#[test]
fn a_link_local_gateway_is_asked_on_its_link() {
    let (node, gateway) = node_and_gateway();
    gateway.ip("addr add fe80::2/64 dev node nodad");
    let mut target = icmp("fe80::2");
    let probing = Probing::start(&node, [target.clone()]);
    probing.wait_for_answer();
    target.interface = None;
    probing.set([target.clone()]);
    probing.wait_for_words("needs an `interface`");
    target.interface = interface("east");
    target.source = Some("fe80::1".parse().unwrap());
    probing.set([target]);
    probing.wait_for_words("this node does not have the address fe80::1");
    node.ip("addr add fe80::1/64 dev east nodad");
    probing.wait_for_answer();
}

/// Everybody answers to `ff02::1`, but nobody has it.
#[test]
fn a_reply_from_another_address_does_not_count() {
    let (node, _gateway) = node_and_gateway();
    // By a raw socket and by a datagram socket.
    for allow_datagrams in [false, true] {
        if allow_datagrams {
            node.sysctl("ipv4/ping_group_range", "0 0");
        }
        let probing = Probing::start(&node, [icmp("ff02::1")]);
        for _ in 0..5 {
            let outcome = probing.next().outcome;
            assert!(matches!(outcome, Outcome::Lost { .. }), "{outcome:?}");
        }
    }
}
