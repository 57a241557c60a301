//! Documents of other kinds than routes, and what a node has of such things.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use srsync::model::egress::rule::{RuleSelector, RuleTarget};
use srsync::model::egress::sysctl::Remembered;
use srsync::model::egress::{
    Counters, FibRule, Forwarding, FwMark, InterfaceForwarding, Masquerade, NatObserved, NatRule,
    ObservedEgress, ObservedRule, RoutingRule, RpFilter, RuleAction, RulePriority, SysctlKey,
    SysctlValue, Sysctls,
};
use srsync::model::*;

use super::{LINKS, interface, prefix, selector, table};

/// By kind and name, each name once in its kind.
pub(super) fn documents(u: &mut Unstructured<'_>) -> Result<Vec<Egress>> {
    let mut documents: Vec<Egress> = Vec::new();
    while documents.len() < 6 && !u.is_empty() && u.ratio(3, 4)? {
        let number = documents.len() as u32;
        documents.push(Egress {
            id: DocumentId {
                name: format!("egress-{number}"),
                namespace: None,
                dialect: Dialect::Native,
            },
            place: Place {
                file: FileId(0),
                line: number + 1,
            },
            selector: selector(u)?,
            spec: match u.int_in_range(0..=2)? {
                0 => EgressSpec::Forwarding(forwarding(u)?),
                1 => EgressSpec::Masquerade(masquerade(u)?),
                _ => EgressSpec::RoutingRule(routing_rule(u)?),
            },
            notes: Vec::new(),
        });
    }
    documents.sort_by(|a, b| (a.kind(), &a.id).cmp(&(b.kind(), &b.id)));
    Ok(documents)
}

fn forwarding(u: &mut Unstructured<'_>) -> Result<Forwarding> {
    let mut forwarding = Forwarding {
        ipv4: u.arbitrary()?,
        ipv6: u.arbitrary()?,
        interfaces: Vec::new(),
    };
    for _ in 0..u.int_in_range(0..=2)? {
        let name = interface(u)?;
        if !forwarding.interfaces.iter().any(|other| other.name == name) {
            forwarding.interfaces.push(InterfaceForwarding {
                name,
                ipv4: u.arbitrary()?,
                ipv6: u.arbitrary()?,
                rp_filter: *u.choose(&[None, Some(RpFilter::Strict), Some(RpFilter::Loose)])?,
            });
        }
    }
    Ok(forwarding)
}

fn prefixes(u: &mut Unstructured<'_>, least: usize) -> Result<Vec<Prefix>> {
    let mut prefixes = BTreeSet::new();
    for _ in 0..u.int_in_range(least..=3)? {
        prefixes.insert(prefix(u)?);
    }
    Ok(super::simulation::disjoint(prefixes).collect())
}

fn masquerade(u: &mut Unstructured<'_>) -> Result<Masquerade> {
    Ok(Masquerade {
        sources: prefixes(u, 1)?,
        destinations: prefixes(u, 0)?,
        except: prefixes(u, 0)?,
        out_interfaces: match u.ratio(1, 4)? {
            true => vec![interface(u)?],
            false => Vec::new(),
        },
        snat_to: None,
    })
}

fn routing_rule(u: &mut Unstructured<'_>) -> Result<RoutingRule> {
    let from = u.ratio(2, 3)?.then(|| prefix(u)).transpose()?;
    let to = u.ratio(1, 4)?.then(|| prefix(u)).transpose()?;
    let family = from.map(|from| from.family());
    Ok(RoutingRule {
        family: *u.choose(&[None, None, Some(Family::V4), Some(Family::V6)])?,
        priority: RulePriority(*u.choose(&[100, 101, 32767])?),
        selector: RuleSelector {
            from,
            // Documents with two families in one rule are not read.
            to: to.filter(|to| family.is_none_or(|family| family == to.family())),
            fwmark: u.ratio(1, 4)?.then_some(FwMark { value: 1, mask: 3 }),
            iif: u.ratio(1, 8)?.then(|| interface(u)).transpose()?,
            not: u.ratio(1, 8)?,
            ..RuleSelector::default()
        },
        action: match u.int_in_range(0..=2)? {
            0 => RuleTarget::Drop(RuleAction::Prohibit),
            _ => RuleTarget::Lookup(table(u)?),
        },
        suppress_prefix_length: *u.choose(&[None, None, Some(0)])?,
    })
}

/// What somebody or an earlier srsync left.
pub(super) fn observed(u: &mut Unstructured<'_>, links: &[Link]) -> Result<ObservedEgress> {
    let mut rules = Vec::new();
    // Input that has run out gives the same rule for ever.
    while rules.len() < 4 && !u.is_empty() && u.ratio(1, 2)? {
        let protocol = Protocol::new(*u.choose(&[83, 83, 4, 99])?);
        let extra = u.ratio(1, 4)?;
        for rule in FibRule::of(&routing_rule(u)?, TableId::MAIN) {
            // The kernel keeps a rule of one owner once (`rule_exists`, net/core/fib_rules.c).
            let same = |other: &ObservedRule| other.protocol == protocol && other.rule == rule;
            if !rules.iter().any(same) {
                rules.push(ObservedRule {
                    rule,
                    protocol,
                    extra,
                });
            }
        }
    }
    Ok(ObservedEgress {
        rules,
        nat: nat(u)?,
        sysctls: sysctls(u, links)?,
    })
}

fn nat(u: &mut Unstructured<'_>) -> Result<NatObserved> {
    Ok(match u.int_in_range(0..=3)? {
        0 => NatObserved::Absent,
        1 => NatObserved::Unavailable("no".to_owned()),
        _ => {
            let mut rules = Vec::new();
            for number in 0..u.int_in_range(0..=3)? {
                let id = DocumentId {
                    name: format!("egress-{number}"),
                    namespace: None,
                    dialect: Dialect::Native,
                };
                let wanted = masquerade(u)?;
                let of = NatRule::of(&id, &wanted);
                rules.extend(of.map(|rule| (rule, Counters::default())));
            }
            NatObserved::Present {
                rules,
                intact: u.ratio(3, 4)?,
            }
        }
    })
}

fn sysctls(u: &mut Unstructured<'_>, links: &[Link]) -> Result<Sysctls> {
    let mut keys = vec![SysctlKey::AcceptRedirectsAll, SysctlKey::RpFilterAll];
    for family in Family::BOTH {
        keys.push(SysctlKey::ForwardAll(family));
        keys.push(SysctlKey::ForwardDefault(family));
    }
    for name in links.iter().filter_map(|l| InterfaceName::new(&l.name)) {
        keys.extend(Family::BOTH.map(|family| SysctlKey::Forward(family, name.clone())));
        keys.push(SysctlKey::RpFilter(name.clone()));
        keys.push(SysctlKey::AcceptRa(name));
    }
    let mut sysctls = Sysctls::default();
    for key in keys {
        sysctls
            .values
            .insert(key.clone(), SysctlValue::switch(u.arbitrary()?));
        let is_ours = !matches!(key, SysctlKey::RpFilterAll | SysctlKey::AcceptRa(_));
        if is_ours && u.ratio(1, 4)? {
            let remembered = Remembered {
                before: SysctlValue::switch(u.arbitrary()?),
                set: SysctlValue::switch(u.arbitrary()?),
            };
            sysctls.remembered.insert(key, remembered);
        }
    }
    if LINKS.len() > links.len() && u.ratio(1, 16)? {
        sysctls.values.clear();
        sysctls.read_only = Some("nothing can be read".to_owned());
    }
    Ok(sysctls)
}
