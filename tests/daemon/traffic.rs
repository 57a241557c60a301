//! What a stream of packets sees of a daemon's decisions: real forwarding, over one of two gateways.

use std::ops::Range;

use crate::support::Namespace;
use crate::support::crossroads::{Crossroads, Net, PHASE, assert_way};
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::stream::{Arrivals, Stream};
use crate::support::tables::wait_until;

const CHECK: &str =
    "healthCheck: {icmp: {}, interval: 100ms, timeout: 100ms, fall: 5, rise: 2, holdDown: 500ms}";

fn document(srsync: &Srsync<'_>, net: &Net, gateways: [&str; 2], more: &str) {
    let [first, second] = gateways;
    let prefix = net.prefix;
    srsync.document(
        "far",
        &format!(
            "destinations: ['{prefix}'], gateways: [{{address: '{first}'}}, {{address: '{second}'}}], {CHECK}{more}"
        ),
    );
}

/// Waits until the node sends what is for the far host to this gateway, and lets packets pass.
fn carried_by(gateway: &str, crossroads: &Crossroads, stream: &Stream, net: &Net) -> Range<u32> {
    let far = net.prefix.split('/').next().unwrap();
    wait_until("traffic moved", || {
        let way = crossroads.node.ip(&format!("route get {far}"));
        way.contains(&format!("via {gateway} "))
    });
    stream.carry(PHASE)
}

/// Waits until the daemon has heard of both gateways.
fn both_are_known(daemon: &Daemon) {
    daemon.eventually("both gateways are up", |status| {
        let gateways = status["daemon"]["gateways"].as_array();
        gateways.is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["health"] == "Up"))
    });
}

/// The ways in which a gateway leaves its traffic alone.
#[derive(Clone, Copy)]
enum Death {
    /// Its link stays up; it answers and forwards nothing.
    Silent,
    /// Its end of the link goes down.
    Unplugged,
}

fn kill(gateway: &Namespace, death: Death, dead: bool) {
    let (off, on) = if dead { ("1", "0") } else { ("0", "1") };
    match death {
        Death::Silent => {
            gateway.sysctl("ipv4/icmp_echo_ignore_all", off);
            gateway.sysctl("ipv6/icmp/echo_ignore_all", off);
            gateway.sysctl("ipv4/ip_forward", on);
            gateway.sysctl("ipv6/conf/all/forwarding", on);
        }
        Death::Unplugged if dead => drop(gateway.ip("link set node down")),
        Death::Unplugged => {
            gateway.ip("link set node up");
            // A link that goes down forgets its IPv6 addresses.
            gateway.ip("address replace fd00:1::2/64 dev node nodad");
        }
    }
}

/// All packets arrived but some in a row, after `from`.
#[track_caller]
fn assert_one_gap(arrivals: &Arrivals, from: u32) {
    let lost = arrivals.lost(0..arrivals.sent);
    let (Some(first), Some(last)) = (lost.first(), lost.last()) else {
        return;
    };
    assert!(*first >= from, "{first} was lost before {from}");
    let length = last - first + 1;
    assert_eq!(length as usize, lost.len(), "more than one gap: {lost:?}");
}

#[test]
fn drain_undrain_an_edit_and_restarts_lose_no_packet() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        document(srsync, net, [net.a, net.b], "");
        let mut daemon = Daemon::start(srsync, "");
        both_are_known(&daemon);
        let gateway = |daemon: &Daemon, what: &str| {
            let socket = daemon.socket();
            let run = srsync.run(&format!("gateway {what} --socket {}", socket.display()));
            run.exits(0);
        };
        let stream = crossroads.stream(net);
        let pass = |gateway: &str| carried_by(gateway, crossroads, &stream, net);
        let mut phases = vec![(pass(net.a), "far_a")];
        gateway(&daemon, &format!("drain {}", net.a));
        phases.push((pass(net.b), "far_b"));
        gateway(&daemon, &format!("undrain {}", net.a));
        phases.push((pass(net.a), "far_a"));
        document(srsync, net, [net.b, net.a], "");
        phases.push((pass(net.b), "far_b"));
        daemon.kill();
        phases.push((pass(net.b), "far_b"));
        daemon.launch_again(srsync, "");
        daemon.wait_ready();
        phases.push((pass(net.b), "far_b"));
        daemon.stop();
        phases.push((pass(net.b), "far_b"));
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        for (numbers, way) in phases {
            assert_way(&arrivals, &numbers, &[way]);
        }
    });
}

/// Between its death and the switch packets are lost, and none before or after, nor on its return.
#[test]
fn traffic_leaves_a_dead_gateway_and_returns_without_loss() {
    for death in [Death::Silent, Death::Unplugged] {
        Crossroads::in_both_families(|crossroads, srsync, net| {
            document(srsync, net, [net.a, net.b], "");
            let daemon = Daemon::start(srsync, "");
            both_are_known(&daemon);
            let stream = crossroads.stream(net);
            let pass = |gateway: &str| carried_by(gateway, crossroads, &stream, net);
            let mut phases = vec![(pass(net.a), "far_a")];
            let died = stream.now();
            kill(&crossroads.gateways[0], death, true);
            phases.push((pass(net.b), "far_b"));
            kill(&crossroads.gateways[0], death, false);
            phases.push((pass(net.a), "far_a"));
            let arrivals = stream.finish();
            assert_one_gap(&arrivals, died);
            for (numbers, way) in phases {
                assert_way(&arrivals, &numbers, &[way]);
            }
        });
    }
}

#[test]
fn in_ecmp_the_flows_of_a_dead_gateway_go_by_the_other() {
    for resilient in ["", ", resilient: true"] {
        Crossroads::in_both_families(|crossroads, srsync, net| {
            document(
                srsync,
                net,
                [net.a, net.b],
                &format!(", mode: ecmp{resilient}"),
            );
            let daemon = Daemon::start(srsync, "");
            both_are_known(&daemon);
            let stream = crossroads.stream(net);
            let both = stream.carry(PHASE);
            kill(&crossroads.gateways[1], Death::Silent, true);
            wait_until("its flows moved", || {
                let shown = crossroads.node.ip(&format!("{} route show", net.family));
                !shown.contains(&format!("via {} ", net.b))
            });
            let left = stream.carry(PHASE);
            kill(&crossroads.gateways[1], Death::Silent, false);
            let arrivals = stream.finish();
            assert_way(&arrivals, &both, &["far_a", "far_b"]);
            assert_way(&arrivals, &left, &["far_a"]);
        });
    }
}
