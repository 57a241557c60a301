//! Packets on a made-up node: `main` with a default route, table 100 for the pods, and rules between them.

use std::sync::Arc;

use super::translate::{Leaving, applies};
use super::*;
use crate::model::egress::rule::RuleSelector;
use crate::model::egress::{
    FibRule, FwMark, IpProto, NatRule, ObservedRule, PortRange, RuleAction, RulePriority,
    Translation,
};
use crate::model::{
    Family, IfIndex, InterfaceName, Metric, NextHop, NoWay, Observed, ObservedRoute, Packet,
    Protocol, Refused, Route, RouteAttrs, RouteKey, RouteType, Scope, TableId, Taken, Way, Weight,
};

const MAIN: u32 = 254;

fn route(table: u32, prefix: &str, metric: u32, attrs: RouteAttrs) -> ObservedRoute {
    let key = RouteKey::new(
        TableId::new(table),
        prefix.parse().unwrap(),
        Metric::new(metric),
    );
    ObservedRoute {
        route: Route {
            key,
            attrs: Arc::new(attrs),
        },
        protocol: Protocol::new(4),
        scope: Scope::UNIVERSE,
    }
}

fn via(gateway: &str) -> RouteAttrs {
    RouteAttrs::unicast(vec![NextHop {
        via: Some(gateway.parse().unwrap()),
        link: Some(IfIndex::new(2)),
        weight: Weight::ONE,
        on_link: false,
    }])
}

fn node() -> Observed {
    Observed {
        routes: vec![
            route(MAIN, "0.0.0.0/0", 100, via("10.0.0.254")),
            route(MAIN, "192.0.2.0/24", 20, via("10.0.0.2")),
            route(MAIN, "192.0.2.0/24", 10, via("10.0.0.1")),
            route(MAIN, "192.0.0.0/16", 0, via("10.0.0.3")),
            route(100, "192.0.2.128/25", 0, via("10.0.0.4")),
            route(
                100,
                "192.0.2.200/32",
                0,
                RouteAttrs::without_hops(RouteType::Throw),
            ),
            route(
                100,
                "192.0.2.201/32",
                0,
                RouteAttrs::without_hops(RouteType::Blackhole),
            ),
            route(MAIN, "::/0", 1024, via("fd00::1")),
        ],
        ..Observed::default()
    }
}

fn rule(priority: u32, selector: RuleSelector, action: RuleAction) -> ObservedRule {
    ObservedRule {
        rule: FibRule {
            family: Family::V4,
            priority: RulePriority(priority),
            selector,
            action,
            suppress_prefix_length: None,
        },
        protocol: Protocol::SRSYNC,
        extra: false,
    }
}

fn lookup(priority: u32, selector: RuleSelector, table: u32) -> ObservedRule {
    rule(priority, selector, RuleAction::Lookup(TableId::new(table)))
}

/// `first`, then the kernel's own.
fn rules(first: Vec<ObservedRule>) -> Vec<ObservedRule> {
    let everything = RuleSelector::default;
    [
        vec![lookup(0, everything(), 255)],
        first,
        vec![lookup(32766, everything(), MAIN)],
    ]
    .concat()
}

fn packet(to: &str, from: &str) -> Packet {
    Packet {
        to: to.parse().unwrap(),
        from: from.parse().ok(),
        mark: 0,
        iif: None,
    }
}

fn pods() -> RuleSelector {
    RuleSelector {
        from: Some("10.42.0.0/16".parse().unwrap()),
        ..RuleSelector::default()
    }
}

/// The prefix, table and metric of the route at the end, or what else there is.
fn end(packet: &Packet, rules: &[ObservedRule]) -> String {
    let node = node();
    match walk(packet, rules, &node).end {
        End::Route(route) => {
            let key = route.route.key;
            format!("{} metric {} table {}", key.prefix, key.metric, key.table)
        }
        End::Rule(rule) => rule.rule.to_string(),
        End::Nowhere => "nowhere".to_owned(),
    }
}

#[test]
fn the_longest_prefix_wins_and_then_the_lowest_metric() {
    let rules = rules(vec![]);
    let to = packet("192.0.2.7", "");
    assert_eq!(end(&to, &rules), "192.0.2.0/24 metric 10 table 254");
    let node = node();
    let walk = walk(&to, &rules, &node);
    let found = walk.steps.last().unwrap().found.as_ref().unwrap();
    let metrics: Vec<u32> = found
        .routes
        .iter()
        .map(|r| r.route.key.metric.get())
        .collect();
    assert_eq!(
        metrics,
        [10, 20, 0, 100],
        "those that it beats, the next best first"
    );
    assert_eq!(
        end(&packet("198.51.100.1", ""), &rules),
        "0.0.0.0/0 metric 100 table 254"
    );
}

#[test]
fn a_rule_is_about_the_source_that_is_known() {
    let rules = rules(vec![lookup(100, pods(), 100)]);
    let pod = |to| end(&packet(to, "10.42.1.5"), &rules);
    assert_eq!(pod("192.0.2.130"), "192.0.2.128/25 metric 0 table 100");
    assert_eq!(
        pod("192.0.2.7"),
        "192.0.2.0/24 metric 10 table 254",
        "table 100 has none"
    );
    assert_eq!(
        pod("192.0.2.200"),
        "192.0.2.0/24 metric 10 table 254",
        "throw"
    );
    assert_eq!(
        pod("192.0.2.201"),
        "192.0.2.201/32 metric 0 table 100",
        "blackhole"
    );
    assert_eq!(
        end(&packet("192.0.2.130", ""), &rules),
        "192.0.2.0/24 metric 10 table 254"
    );
    let node = node();
    let walk = walk(&packet("192.0.2.130", "10.0.0.9"), &rules, &node);
    assert_eq!(
        walk.steps[1].fit,
        Fit::No("it comes from 10.0.0.9".to_owned())
    );
}

#[test]
fn not_turns_a_rule_around_and_what_drops_ends_the_way() {
    let others = RuleSelector {
        not: true,
        ..pods()
    };
    let rules = rules(vec![rule(100, others, RuleAction::Prohibit)]);
    let said = "100: not from 10.42.0.0/16 prohibit";
    assert_eq!(end(&packet("192.0.2.7", "10.0.0.9"), &rules), said);
    assert_eq!(
        end(&packet("192.0.2.7", ""), &rules),
        said,
        "no source is none of the pods'"
    );
    assert_eq!(
        end(&packet("192.0.2.7", "10.42.0.1"), &rules),
        "192.0.2.0/24 metric 10 table 254"
    );
}

#[test]
fn a_rule_passes_over_short_prefixes() {
    let mut specific = lookup(100, RuleSelector::default(), MAIN);
    specific.rule.suppress_prefix_length = Some(0);
    let rules = rules(vec![specific, lookup(101, RuleSelector::default(), 100)]);
    let node = node();
    let walk = walk(&packet("198.51.100.1", ""), &rules, &node);
    let found = walk.steps[1].found.as_ref().unwrap();
    assert_eq!(found.outcome, Outcome::Suppressed(0));
    assert_eq!(
        end(&packet("192.0.2.130", ""), &rules),
        "192.0.2.0/24 metric 10 table 254"
    );
}

#[test]
fn marks_and_interfaces_are_told() {
    let mark = RuleSelector {
        fwmark: Some(FwMark {
            value: 0x10,
            mask: 0xf0,
        }),
        ..RuleSelector::default()
    };
    let iif = RuleSelector {
        iif: InterfaceName::new("cni0"),
        ..RuleSelector::default()
    };
    let itself = RuleSelector {
        iif: InterfaceName::new("lo"),
        ..RuleSelector::default()
    };
    let oif = RuleSelector {
        oif: InterfaceName::new("wan"),
        ..RuleSelector::default()
    };
    for (selector, yes, no) in [
        (mark, ("", 0x1f), ("", 0x2f)),
        (iif, ("cni0", 0), ("", 0)),
        (itself, ("", 0), ("cni0", 0)),
    ] {
        let rules = rules(vec![rule(7, selector, RuleAction::Blackhole)]);
        for ((iif, mark), dropped) in [(yes, true), (no, false)] {
            let mut packet = packet("192.0.2.7", "");
            (packet.iif, packet.mark) = (InterfaceName::new(iif), mark);
            assert_eq!(end(&packet, &rules).starts_with("7: "), dropped, "{packet}");
        }
    }
    let rules = rules(vec![rule(7, oif, RuleAction::Blackhole)]);
    assert!(!end(&packet("192.0.2.7", ""), &rules).starts_with("7: "));
}

#[test]
fn what_is_not_known_of_a_packet_is_perhaps_and_passed_over() {
    let https = RuleSelector {
        ip_proto: Some(IpProto(6)),
        dport: Some(PortRange {
            first: 443,
            last: 443,
        }),
        ..pods()
    };
    let mut odd = rule(99, RuleSelector::default(), RuleAction::Blackhole);
    odd.extra = true;
    let rules = rules(vec![odd, rule(100, https, RuleAction::Blackhole)]);
    let node = node();
    let of_pod = packet("192.0.2.7", "10.42.0.1");
    let walked = walk(&of_pod, &rules, &node);
    let perhaps: Vec<u32> = walked
        .perhaps()
        .map(|step| step.rule.rule.priority.0)
        .collect();
    assert_eq!(perhaps, [99, 100]);
    assert!(matches!(walked.end, End::Route(_)));
    let of_node = packet("192.0.2.7", "10.0.0.1");
    let walked = walk(&of_node, &rules, &node);
    assert!(
        matches!(walked.steps[2].fit, Fit::No(_)),
        "its source decides already"
    );
}

#[test]
fn without_a_route_and_in_the_other_family_it_ends_nowhere() {
    let rules = rules(vec![]);
    assert_eq!(
        end(&packet("2001:db8::1", ""), &rules),
        "nowhere",
        "there are no rules of IPv6"
    );
    let only = [lookup(5, RuleSelector::default(), 100)];
    assert_eq!(end(&packet("192.0.2.7", ""), &only), "nowhere");
}

fn refused(why: NoWay) -> Way {
    let refused = Refused {
        why,
        words: "E".to_owned(),
    };
    Way {
        matched: Err(refused.clone()),
        taken: Err(refused),
    }
}

#[test]
fn where_the_kernel_differs_that_is_said_and_why() {
    let rules = rules(vec![rule(
        100,
        RuleSelector {
            not: true,
            ..pods()
        },
        RuleAction::Unreachable,
    )]);
    let node = node();
    let difference =
        |packet: &Packet, way: &Way| compare::difference(&walk(packet, &rules, &node), way, packet);
    let of_node = packet("192.0.2.7", "10.0.0.1");
    assert_eq!(difference(&of_node, &refused(NoWay::NoRoute)), None);
    let mut pod = packet("192.0.2.7", "10.42.0.1");
    let same = Way {
        matched: Ok(Some(route(MAIN, "192.0.2.0/24", 10, via("10.0.0.1")))),
        taken: Ok(Taken {
            kind: RouteType::Unicast,
            table: TableId::MAIN,
            via: None,
            link: None,
            source: None,
        }),
    };
    assert_eq!(difference(&pod, &same), None);
    let says = |packet: &Packet, way: &Way, words: &str| {
        let said = difference(packet, way).unwrap();
        assert!(said.contains(words), "{said}");
    };
    says(&of_node, &same, "takes another way");
    says(&pod, &refused(NoWay::Prohibited), "goes nowhere (E)");
    pod.iif = InterfaceName::new("cni0");
    says(
        &pod,
        &refused(NoWay::WrongInterface),
        "the way back to 10.42.0.1 does not lead out of cni0",
    );
    says(&pod, &refused(NoWay::Dropped), "rp_filter");
    says(
        &pod,
        &refused(NoWay::Unreachable),
        "net.ipv4.conf.cni0.forwarding is probably 0",
    );
}

#[test]
fn translation_is_for_these_sources_destinations_and_interfaces() {
    let prefixes = |text: &str| vec![text.parse().unwrap()];
    let rule = NatRule {
        name: "pods".to_owned(),
        family: Family::V4,
        sources: prefixes("10.42.0.0/16"),
        destinations: prefixes("192.0.0.0/8"),
        except: prefixes("192.0.2.0/24"),
        out_interfaces: vec![InterfaceName::new("eth0").unwrap()],
        translation: Translation::Masquerade,
    };
    let leaving = |from: &str, to: &str, out| {
        let packet = Leaving {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            out,
        };
        applies(&rule, packet)
    };
    assert!(leaving("10.42.0.1", "192.0.3.1", "eth0"));
    assert!(!leaving("10.43.0.1", "192.0.3.1", "eth0"));
    assert!(!leaving("10.42.0.1", "193.0.3.1", "eth0"));
    assert!(!leaving("10.42.0.1", "192.0.2.1", "eth0"));
    assert!(!leaving("10.42.0.1", "192.0.3.1", "eth1"));
}
