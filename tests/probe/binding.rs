//! Every probe leaves by the link of its target, and from its source.

use srsync::model::document::Probe;
use srsync::probe::{Outcome, Probed};

use super::probing::{
    Probing, Server, V4, V6, every, host, icmp, interface, node_and_gateway, target,
};
use crate::support::tables::wait_until;

/// Waits until both are as they should be at the same time: whether `east` and `west` answer.
#[track_caller]
fn wait_for(probing: &Probing, expected: [bool; 2]) {
    let mut seen = [None; 2];
    wait_until(&format!("east and west are {expected:?}"), || {
        let Probed {
            target, outcome, ..
        } = probing.next();
        let which = usize::from(target.interface == interface("west"));
        seen[which] = Some(matches!(outcome, Outcome::Answered { .. }));
        seen == expected.map(Some)
    });
}

#[test]
fn gateways_of_one_address_answer_each_on_its_own_link() {
    let (node, east) = node_and_gateway();
    let west = host();
    node.join(
        ("west", "10.0.1.3/24 fd00:1::3/64"),
        &west,
        ("node", "10.0.1.2/24 fd00:1::2/64"),
    );
    for net in [V4, V6] {
        let on = |link: &str, probe: &Probe| {
            let mut target = target(net.gateway, probe.clone());
            target.interface = interface(link);
            target
        };
        let both = |probe: Probe| ["east", "west"].map(|link| on(link, &probe));
        let probing = Probing::start(&node, both(Probe::Icmp));
        wait_for(&probing, [true, true]);
        east.sysctl(net.ignore_echo, "1");
        wait_for(&probing, [false, true]);
        east.sysctl(net.ignore_echo, "0");
        west.sysctl(net.ignore_echo, "1");
        wait_for(&probing, [true, false]);

        let _server = Server::start(&east, net.port(7000), None);
        probing.set(both(Probe::Tcp { port: 7000 }));
        wait_for(&probing, [true, false]);
    }
}

#[test]
fn a_source_is_where_packets_come_from() {
    let (node, gateway) = node_and_gateway();
    for (net, source, length) in [(V4, "10.0.1.7", 32), (V6, "fd00:1::7", 128)] {
        let mut target = icmp(net.gateway);
        let probing = Probing::start(&node, [target.clone()]);
        probing.wait_for_answer();
        // From now on the gateway has no way back to the address that the kernel would choose.
        gateway.ip(&format!(
            "{} route add blackhole {}/{length}",
            net.family, net.node
        ));
        probing.wait_for("a loss", |outcome| matches!(outcome, Outcome::Lost { .. }));

        target.source = Some(source.parse().unwrap());
        probing.set([target.clone()]);
        probing.wait_for_words("this node does not have the address");
        // Without a route of its own it is not chosen by the kernel.
        node.ip(&format!("addr add {source}/{length} dev east nodad"));
        probing.wait_for_answer();

        let server = Server::start(
            &gateway,
            net.port(80),
            Some("HTTP/1.0 204 No Content\r\n\r\n"),
        );
        target.check.probe = Probe::Http {
            port: 80,
            path: "/".to_owned(),
            host: None,
            expect_status: (204, 204),
        };
        probing.set([target]);
        probing.wait_for_answer();
        let (from, asked) = server.last();
        assert_eq!(from.to_string(), source);
        let host = asked.lines().find(|line| line.starts_with("host: "));
        assert!(!host.unwrap().ends_with(":80"), "{asked}");
    }
}

#[test]
fn a_source_of_the_other_family_is_for_other_packets() {
    let (node, _gateway) = node_and_gateway();
    for (net, other) in [(V4, V6.node), (V6, V4.node)] {
        let mut target = icmp(net.gateway);
        target.source = Some(other.parse().unwrap());
        Probing::start(&node, [target]).wait_for_answer();
    }
}

#[test]
fn an_interface_may_come_and_go_and_be_another_one() {
    let node = host();
    let gateway = || {
        let gateway = host();
        node.join(
            ("east", "10.0.1.1/24 fd00:1::1/64"),
            &gateway,
            ("node", "10.0.1.2/24 fd00:1::2/64"),
        );
        for net in [V4, V6] {
            let _server = Server::start(&gateway, net.port(7000), None);
        }
        gateway
    };
    for net in [V4, V6] {
        for kind in [Probe::Icmp, Probe::Arp, Probe::Tcp { port: 7000 }] {
            let probing = Probing::start(&node, [every(50, target(net.gateway, kind))]);
            probing.wait_for_words("there is no interface east");
            let first = gateway();
            probing.wait_for_answer();
            // It goes on under another name, and is not meant any more.
            node.ip("link set east down");
            node.ip("link set east name old");
            node.ip("link set old up");
            probing.wait_for_words("there is no interface east");
            let _second = gateway();
            first.ip("link set node down");
            probing.wait_for_answer();
            node.ip("link del old");
            node.ip("link del east");
        }
    }
}
