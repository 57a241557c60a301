//! Policy rules: each selector there and back, as `ip rule` sees it, and nobody else's touched.

use std::slice::from_ref;

use srsync::kernel::Change::{AddRule, RemoveRule};
use srsync::kernel::{Change, Kernel};
use srsync::model::egress::rule::RuleSelector;
use srsync::model::egress::{
    FibRule, FwMark, IpProto, ObservedRule, PortRange, RuleAction, RulePriority,
};
use srsync::model::{Family, InterfaceName, Protocol, TableId};

use super::build::{OURS, apply, apply_all};
use crate::support::tables::foreign;
use crate::support::{in_namespace, ip};

/// A rule of priority 500 that looks up table 100.
fn rule(family: Family, selector: RuleSelector) -> FibRule {
    FibRule {
        family,
        priority: RulePriority(500),
        selector,
        action: RuleAction::Lookup(TableId::new(100)),
        suppress_prefix_length: None,
    }
}

fn all() -> Vec<ObservedRule> {
    Kernel::open().unwrap().rules().unwrap()
}

fn ours() -> Vec<FibRule> {
    let ours = all().into_iter().filter(|rule| rule.protocol == OURS);
    ours.map(|rule| {
        assert!(!rule.extra, "{rule:?}");
        rule.rule
    })
    .collect()
}

/// The rules of priority 500 of a family, as `ip rule` writes them.
fn shown(family: Family) -> Vec<String> {
    let flag = match family {
        Family::V4 => "-4",
        Family::V6 => "-6",
    };
    let text = ip(&format!("-d {flag} rule show priority 500"));
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.join(" ")
    });
    lines.collect()
}

fn name(name: &str) -> Option<InterfaceName> {
    Some(InterfaceName::new(name).unwrap())
}

fn prefixes(family: Family) -> [&'static str; 2] {
    match family {
        Family::V4 => ["10.42.0.0/16", "192.0.2.7/32"],
        Family::V6 => ["fd42::/64", "2001:db8::7/128"],
    }
}

/// Every selector alone, then all of them together; and how `ip rule` writes each.
fn selectors(family: Family) -> Vec<(RuleSelector, String)> {
    let [from, to] = prefixes(family);
    let none = RuleSelector::default;
    let ports = |first, last| Some(PortRange { first, last });
    let mark = |value, mask| Some(FwMark { value, mask });
    let host = to.split('/').next().unwrap();
    let mut list = vec![
        (none(), "from all".to_owned()),
        (
            RuleSelector {
                from: Some(from.parse().unwrap()),
                ..none()
            },
            format!("from {from}"),
        ),
        (
            RuleSelector {
                to: Some(to.parse().unwrap()),
                ..none()
            },
            format!("from all to {host}"),
        ),
        (
            RuleSelector {
                fwmark: mark(7, u32::MAX),
                ..none()
            },
            "from all fwmark 0x7".to_owned(),
        ),
        (
            RuleSelector {
                fwmark: mark(0x100, 0xff00),
                ..none()
            },
            "from all fwmark 0x100/0xff00".to_owned(),
        ),
        (
            RuleSelector {
                fwmark: mark(0, 0xf),
                ..none()
            },
            "from all fwmark 0/0xf".to_owned(),
        ),
        (
            RuleSelector {
                iif: name("lo"),
                ..none()
            },
            "from all iif lo".to_owned(),
        ),
        (
            RuleSelector {
                iif: name("eth0.100"),
                ..none()
            },
            "from all iif eth0.100 [detached]".to_owned(),
        ),
        (
            RuleSelector {
                oif: name("wan"),
                ..none()
            },
            "from all oif wan [detached]".to_owned(),
        ),
        (
            RuleSelector {
                ip_proto: Some(IpProto(6)),
                ..none()
            },
            "from all ipproto tcp".to_owned(),
        ),
        (
            RuleSelector {
                ip_proto: Some(IpProto(250)),
                ..none()
            },
            "from all ipproto ipproto-250".to_owned(),
        ),
        (
            RuleSelector {
                sport: ports(53, 53),
                ..none()
            },
            "from all sport 53".to_owned(),
        ),
        (
            RuleSelector {
                dport: ports(8000, 8999),
                ..none()
            },
            "from all dport 8000-8999".to_owned(),
        ),
        (
            RuleSelector {
                from: Some(from.parse().unwrap()),
                not: true,
                ..none()
            },
            format!("not from {from}"),
        ),
    ];
    list.push((
        RuleSelector {
            from: Some(from.parse().unwrap()),
            to: Some(to.parse().unwrap()),
            fwmark: mark(1, 3),
            iif: name("lo"),
            oif: name("lo"),
            ip_proto: Some(IpProto(17)),
            sport: ports(1, 65534),
            dport: ports(443, 443),
            not: true,
        },
        format!(
            "not from {from} to {host} fwmark 0x1/0x3 iif lo oif lo ipproto udp sport 1-65534 dport 443"
        ),
    ));
    list
}

#[test]
fn every_selector_is_there_and_back_in_both_families() {
    in_namespace(|| {
        let before = foreign();
        for family in Family::BOTH {
            for (selector, words) in selectors(family) {
                let rule = rule(family, selector);
                apply_all(&[AddRule(&rule)]);
                assert_eq!(ours(), from_ref(&rule), "{words}");
                assert_eq!(shown(family), [format!("500: {words} lookup 100 proto 83")]);
                apply_all(&[RemoveRule(&rule)]);
                assert_eq!(foreign(), before, "{words}");
                assert_eq!(ours(), []);
            }
        }
    });
}

#[test]
fn every_action_table_and_suppression_is_there_and_back() {
    use RuleAction::{Blackhole, Lookup, Prohibit, Unreachable};
    in_namespace(|| {
        for family in Family::BOTH {
            let cases = [
                (
                    Lookup(TableId::MAIN),
                    Some(0),
                    "lookup main suppress_prefixlength 0",
                ),
                (
                    Lookup(TableId::MAIN),
                    Some(24),
                    "lookup main suppress_prefixlength 24",
                ),
                (
                    Lookup(TableId::new(4_294_967_294)),
                    None,
                    "lookup 4294967294",
                ),
                (Blackhole, None, "blackhole"),
                (Unreachable, None, "unreachable"),
                (Prohibit, None, "prohibit"),
            ];
            for (action, suppress_prefix_length, words) in cases {
                let rule = FibRule {
                    action,
                    suppress_prefix_length,
                    ..rule(family, RuleSelector::default())
                };
                apply_all(&[AddRule(&rule)]);
                assert_eq!(ours(), from_ref(&rule));
                let shown = shown(family).join("\n");
                assert!(
                    shown.starts_with("500: from all ") && shown.contains(words),
                    "{shown}"
                );
                apply_all(&[RemoveRule(&rule)]);
                assert_eq!(ours(), []);
            }
        }
    });
}

/// Those of every owner are read, with what no document can say.
#[test]
fn foreign_rules_are_read_with_what_they_have_beyond_ours() {
    in_namespace(|| {
        let plain = [
            "from all fwmark 7",
            "not from all iif lo",
            "from all sport 53",
        ];
        let extra = [
            "uidrange 0-0",
            "tos 0x10",
            "suppress_ifgroup 3",
            "tun_id 5",
            "l3mdev",
            "goto 600",
            "nop",
        ];
        for family in ["-4", "-6"] {
            for (number, selector) in plain.iter().chain(&extra).enumerate() {
                let action = match *selector {
                    "goto 600" | "nop" | "l3mdev" => "",
                    _ => "lookup 100",
                };
                ip(&format!(
                    "{family} rule add {selector} {action} priority {} protocol 17",
                    400 + number
                ));
            }
        }
        let seen = all();
        let is = |family, priority, extra| {
            let mut of = seen.iter().filter(|seen| {
                seen.rule.family == family && seen.rule.priority == RulePriority(priority)
            });
            let found = of.next().unwrap();
            assert_eq!(
                (found.extra, found.protocol),
                (extra, Protocol::new(17)),
                "{found:?}"
            );
        };
        for family in Family::BOTH {
            (400..403).for_each(|priority| is(family, priority, false));
            (403..410).for_each(|priority| is(family, priority, true));
        }
        let defaults: Vec<String> = seen
            .iter()
            .filter(|seen| seen.rule.family == Family::V4)
            .map(|seen| seen.rule.to_string())
            .filter(|text| !text.starts_with('4'))
            .collect();
        assert_eq!(
            defaults,
            [
                "0: from all lookup local",
                "32766: from all lookup main",
                "32767: from all lookup 253"
            ]
        );
    });
}

/// The kernel compares the protocol when it looks for duplicates and when it removes: the same rule of somebody else is
/// neither an obstacle nor taken for ours.
#[test]
fn the_same_rule_of_somebody_else_stays_beside_ours() {
    in_namespace(|| {
        for (flag, family) in [("-4", Family::V4), ("-6", Family::V6)] {
            let [from, _] = prefixes(family);
            let selector = RuleSelector {
                from: Some(from.parse().unwrap()),
                ..RuleSelector::default()
            };
            let rule = rule(family, selector);
            for protocol in ["static", "17"] {
                ip(&format!(
                    "{flag} rule add from {from} lookup 100 priority 500 protocol {protocol}"
                ));
            }
            let before = foreign();
            apply_all(&[RemoveRule(&rule)]);
            assert_eq!(foreign(), before, "nothing of ours was there");
            apply_all(&[AddRule(&rule)]);
            assert_eq!((shown(family).len(), ours()), (3, vec![rule.clone()]));
            apply_all(&[RemoveRule(&rule)]);
            assert_eq!(foreign(), before);
            ip(&format!("{flag} rule flush protocol static"));
            ip(&format!("{flag} rule flush protocol 17"));
        }
    });
}

#[test]
fn a_rule_that_is_there_is_refused_in_words() {
    in_namespace(|| {
        for family in Family::BOTH {
            let rule = rule(family, RuleSelector::default());
            apply_all(&[AddRule(&rule)]);
            let failures = apply(&[AddRule(&rule)]);
            assert_eq!(
                failures[0].error.to_string(),
                "this rule is there already, with the protocol number of srsync (EEXIST: File exists)"
            );
            apply_all(&[RemoveRule(&rule)]);
        }
    });
}

#[test]
fn a_rule_that_somebody_removed_is_gone_without_a_word() {
    in_namespace(|| {
        for (flag, family) in [("-4", Family::V4), ("-6", Family::V6)] {
            let rule = rule(family, RuleSelector::default());
            apply_all(&[AddRule(&rule)]);
            ip(&format!("{flag} rule del priority 500"));
            apply_all(&[RemoveRule(&rule)]);
        }
    });
}

/// To the kernel what is not said fits everything, and `not` is no difference: `ip rule add lookup 100 priority 500` fails
/// where `from 10.42.0.0/16 lookup 100` is at that priority, and `ip rule del lookup 100 priority 500` removes that.
#[test]
fn rules_that_the_kernel_confuses_come_and_go_one_by_one() {
    in_namespace(|| {
        for family in Family::BOTH {
            for (selector, words) in selectors(family) {
                let one = rule(family, selector);
                let less = rule(family, RuleSelector::default());
                let mut opposite = one.clone();
                opposite.selector.not = !one.selector.not;
                for other in [&less, &opposite]
                    .into_iter()
                    .filter(|other| **other != one)
                {
                    for (first, second) in [(&one, other), (other, &one)] {
                        for (gone, stays) in [(&one, other), (other, &one)] {
                            apply_all(&[AddRule(first), AddRule(second)]);
                            assert_eq!(ours(), [first.clone(), second.clone()], "{words}");
                            apply_all(&[RemoveRule(gone)]);
                            assert_eq!(ours(), from_ref(stays), "{words}");
                            apply_all(&[RemoveRule(gone), RemoveRule(stays)]);
                            assert_eq!(ours(), []);
                        }
                    }
                }
            }
        }
    });
}

/// In the order in which a change of a document comes: the new rule, then the old one.
#[test]
fn a_rule_becomes_its_opposite_in_one_batch() {
    in_namespace(|| {
        for family in Family::BOTH {
            let [from, _] = prefixes(family);
            let mut old = rule(family, RuleSelector::default());
            old.selector.from = Some(from.parse().unwrap());
            let mut new = old.clone();
            new.selector.not = true;
            apply_all(&[AddRule(&old)]);
            apply_all(&[AddRule(&new), RemoveRule(&old)]);
            assert_eq!(ours(), from_ref(&new));
            apply_all(&[RemoveRule(&new)]);
        }
    });
}

/// Documents for rules and routes go in one batch; one bad thing does not block the rest.
#[test]
fn a_refused_rule_keeps_no_other_from_being_made() {
    in_namespace(|| {
        let rules: Vec<FibRule> = (0..300)
            .map(|priority| FibRule {
                priority: RulePriority(1000 + priority),
                ..rule(Family::V4, RuleSelector::default())
            })
            .collect();
        apply_all(&[AddRule(&rules[7])]);
        let additions: Vec<Change<'_>> = rules.iter().map(AddRule).collect();
        let failures = apply(&additions);
        let failed: Vec<usize> = failures.iter().map(|failure| failure.index).collect();
        assert_eq!(failed, [7]);
        assert_eq!(ours(), rules);
        let removals: Vec<Change<'_>> = rules.iter().map(RemoveRule).collect();
        apply_all(&removals);
        assert_eq!(ours(), []);
    });
}
