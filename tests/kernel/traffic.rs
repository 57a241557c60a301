//! No gap: what a stream of packets sees of a change.

use std::ops::Range;
use std::sync::Arc;

use srsync::kernel::Change::{
    self, Add, AddNextHop, Remove, RemoveNextHop, Replace, ReplaceNextHop,
};
use srsync::model::{
    Family, Metric, NextHopGroup, NextHopId, NextHopKind, NextHopMember, Route, RouteAttrs,
    RouteKey, TableId, Weight,
};

use super::build::{apply_all, link, unicast, via};
use crate::support::crossroads::{Crossroads, PHASE, assert_way};
use crate::support::program::Srsync;
use crate::support::stream::Stream;
use crate::support::{ip, ip_succeeds};

/// Writes and applies the document while packets pass; returns the numbers of those that were sent
/// before it ended.
fn change(stream: &Stream, srsync: &Srsync<'_>, spec: &str) -> Range<u32> {
    let start = stream.now();
    srsync.document("far", spec);
    srsync.converge();
    start..stream.now()
}

#[test]
fn a_stream_without_any_change_loses_nothing() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        srsync.document("far", &net.via(net.a));
        srsync.converge();
        let stream = crossroads.stream(net);
        let steady = stream.carry(5 * PHASE);
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        assert_way(&arrivals, &steady, &["far_a"]);
    });
}

#[test]
fn a_change_of_gateway_loses_no_packet() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        srsync.document("far", &net.via(net.a));
        srsync.converge();
        let stream = crossroads.stream(net);
        let control = stream.carry(2 * PHASE);
        let mut phases = vec![(control, "far_a")];
        for _ in 0..3 {
            change(&stream, srsync, &net.via(net.b));
            phases.push((stream.carry(PHASE), "far_b"));
            change(&stream, srsync, &net.via(net.a));
            phases.push((stream.carry(PHASE), "far_a"));
        }
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        for (numbers, way) in phases {
            assert_way(&arrivals, &numbers, &[way]);
        }
    });
}

/// Every route by a group moves with it. From gateways of its own to the group and back, too.
#[test]
fn fifty_switches_of_a_group_of_nexthop_objects_lose_no_packet() {
    Crossroads::in_both_families(|crossroads, _, net| {
        let node = |changes: &[Change<'_>]| crossroads.node.enter(|| apply_all(changes));
        let id = NextHopId::new;
        let only = |member| {
            let member = NextHopMember {
                id: id(member),
                weight: Weight::ONE,
            };
            NextHopKind::Group(NextHopGroup::new(vec![member], None))
        };
        let hops = crossroads.node.enter(|| {
            [(net.a, "link_a"), (net.b, "link_b")].map(|(gateway, out)| via(gateway, link(out)))
        });
        let [a, b] = hops.map(|hop| NextHopKind::Single {
            family: Family::of(&hop.via.unwrap()),
            via: hop.via,
            link: hop.link.unwrap(),
            on_link: false,
        });
        let (to_a, to_b) = (only(1), only(2));
        let route = |attrs| Route {
            key: RouteKey::new(TableId::MAIN, net.prefix.parse().unwrap(), Metric::new(50)),
            attrs: Arc::new(attrs),
        };
        let (plain, by_group) = (
            route(unicast(&hops[..1])),
            route(RouteAttrs::by_nexthop(id(3))),
        );
        node(&[
            AddNextHop(id(1), &a),
            AddNextHop(id(2), &b),
            AddNextHop(id(3), &to_a),
            Add(&plain),
        ]);
        let stream = crossroads.stream(net);
        stream.carry(PHASE);
        node(&[Replace(&by_group)]);
        let mut phases = vec![(stream.carry(PHASE), "far_a")];
        for _ in 0..25 {
            for (group, way) in [(&to_b, "far_b"), (&to_a, "far_a")] {
                node(&[ReplaceNextHop(id(3), group)]);
                phases.push((stream.carry(40), way));
            }
        }
        node(&[Replace(&plain)]);
        phases.push((stream.carry(PHASE), "far_a"));
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        for (numbers, way) in phases {
            assert_way(&arrivals, &numbers, &[way]);
        }
        node(&[
            Remove(&plain),
            RemoveNextHop(id(3)),
            RemoveNextHop(id(2)),
            RemoveNextHop(id(1)),
        ]);
    });
}

/// Both gateways on one segment: nothing but the address of the next hop changes.
#[test]
fn a_change_of_gateway_on_one_link_loses_no_packet() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        // A bridge takes both links; the second family finds it made.
        let node = &crossroads.node;
        node.enter(|| {
            if ip_succeeds("link show segment") {
                return;
            }
            ip("link add segment type bridge");
            for link in ["link_a", "link_b"] {
                ip(&format!("addr flush dev {link}"));
                ip(&format!("link set {link} master segment"));
            }
            ip("link set segment up");
            for address in ["10.0.1.1/24", "10.0.2.1/24"] {
                ip(&format!("addr add {address} dev segment"));
            }
            for address in ["fd00:1::1/64", "fd00:2::1/64"] {
                ip(&format!("addr add {address} dev segment nodad"));
            }
        });
        srsync.document("far", &net.via(net.a));
        srsync.converge();
        let stream = crossroads.stream(net);
        stream.carry(PHASE);
        change(&stream, srsync, &net.via(net.b));
        let after = stream.carry(PHASE);
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        assert_way(&arrivals, &after, &["far_b"]);
    });
}

#[test]
fn from_one_gateway_to_both_and_back_loses_no_packet() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        srsync.document("far", &net.via(net.a));
        srsync.converge();
        let stream = crossroads.stream(net);
        let mut phases = vec![(stream.carry(PHASE), vec!["far_a"])];
        for (last, way) in [(net.b, "far_b"), (net.a, "far_a")] {
            change(&stream, srsync, &net.via_both());
            phases.push((stream.carry(PHASE), vec!["far_a", "far_b"]));
            change(&stream, srsync, &net.via(last));
            phases.push((stream.carry(PHASE), vec![way]));
        }
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        for (numbers, ways) in phases {
            assert_way(&arrivals, &numbers, &ways);
        }
    });
}

#[test]
fn a_blackhole_drops_everything_until_the_gateway_comes_back() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        srsync.document("far", &net.via(net.a));
        srsync.converge();
        let stream = crossroads.stream(net);
        let before = stream.carry(PHASE);
        let closing = change(&stream, srsync, &net.blackhole());
        let closed = stream.send(PHASE);
        let opening = change(&stream, srsync, &net.via(net.b));
        let after = stream.carry(PHASE);
        let arrivals = stream.finish();
        assert_eq!(arrivals.lost(before), [0; 0]);
        assert_way(&arrivals, &closed, &[]);
        assert_way(&arrivals, &after, &["far_b"]);
        // Only what was sent while it was closed, or while that changed.
        let lost = arrivals.lost(closing.start..opening.end);
        arrivals.assert_all_but(&lost);
    });
}

/// The metric is part of the slot: the new route is there before the old one goes.
#[test]
fn a_change_of_metric_loses_no_packet() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        srsync.document("far", &(net.via(net.a) + ", metric: 100"));
        srsync.converge();
        let stream = crossroads.stream(net);
        stream.carry(PHASE);
        let mut phases = Vec::new();
        // Better, worse, and worse with another gateway, which takes over once the old one goes.
        for (gateway, metric, way) in [
            (net.a, 50, "far_a"),
            (net.a, 200, "far_a"),
            (net.b, 300, "far_b"),
            (net.a, 20, "far_a"),
        ] {
            let spec = format!("{}, metric: {metric}", net.via(gateway));
            change(&stream, srsync, &spec);
            phases.push((stream.carry(PHASE), way));
        }
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        for (numbers, way) in phases {
            assert_way(&arrivals, &numbers, &[way]);
        }
    });
}

#[test]
fn without_its_document_a_route_goes_and_packets_stop() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        srsync.document("far", &net.via(net.a));
        srsync.converge();
        let stream = crossroads.stream(net);
        let before = stream.carry(PHASE);
        let start = stream.now();
        srsync.without("far");
        srsync.converge();
        let stopped = stream.send(PHASE);
        let back = change(&stream, srsync, &net.via(net.a));
        stream.carry(PHASE);
        let arrivals = stream.finish();
        assert_eq!(arrivals.lost(before), [0; 0]);
        assert_way(&arrivals, &stopped, &[]);
        let lost = arrivals.lost(start..back.end);
        arrivals.assert_all_but(&lost);
    });
}

#[test]
fn without_its_document_packets_take_the_other_route_and_none_is_lost() {
    Crossroads::in_both_families(|crossroads, srsync, net| {
        let fallback = format!("{} via {} metric 4000 proto static", net.prefix, net.b);
        crossroads
            .node
            .ip(&format!("{} route add {fallback}", net.family));
        srsync.document("far", &net.via(net.a));
        srsync.converge();
        let stream = crossroads.stream(net);
        let before = stream.carry(PHASE);
        srsync.without("far");
        srsync.converge();
        let after = stream.carry(PHASE);
        let arrivals = stream.finish();
        arrivals.assert_all_but(&[]);
        assert_way(&arrivals, &before, &["far_a"]);
        assert_way(&arrivals, &after, &["far_b"]);
    });
}
