//! `RoutingRule` of `srsync.dev/v1alpha1`: which packets take which table.

use super::diagnostic::Problem;
use super::egress::Notes;
use super::fields::{At, Fields, Item};
use super::findings::Findings;
use super::native::any_table;
use super::packets::{ip_proto, mark, ports};
use super::values::{boolean, interface, keyword, prefix, whole};
use super::yaml::Value;
use crate::model::egress::rule::{RuleSelector, RuleTarget};
use crate::model::egress::{IpProto, PortRange, RoutingRule, RuleAction, RulePriority};
use crate::model::{Family, Names};

/// The fields of `spec`.
pub const SPEC_FIELDS: &[&str] = &[
    "priority",
    "from",
    "to",
    "family",
    "fwmark",
    "iif",
    "oif",
    "ipProto",
    "sport",
    "dport",
    "not",
    "action",
    "table",
    "suppressPrefixLength",
    "nodeSelector",
];

/// The fields that say which packets are meant.
const CONDITIONS: [&str; 8] = [
    "from", "to", "fwmark", "iif", "oif", "ipProto", "sport", "dport",
];

/// Where the kernel has its rule for the table main.
const MAIN_PRIORITY: u32 = 32_766;

/// Reads `spec`.
pub(super) fn read(
    spec: &Fields<'_, '_>,
    names: &Names,
    notes: &mut Notes,
    findings: &mut Findings<'_>,
) -> Option<RoutingRule> {
    let wanted = "its place among the rules, 1 to 32765 to be asked before the table main";
    let priority = spec.require("priority", wanted, findings, priority);
    if let Some(priority) = priority.filter(|at| at.value.0 >= MAIN_PRIORITY) {
        note_late(priority, notes, findings);
    }
    let family = family(spec, findings);
    let selector = selector(spec, family, findings);
    let action = action(spec, names, findings);
    let suppress_prefix_length = suppressed(spec, family, findings);
    Some(RoutingRule {
        family: family.map(|at| at.value),
        priority: priority?.value,
        selector,
        action: action?,
        suppress_prefix_length,
    })
}

fn priority(item: &Item<'_, '_>) -> Result<RulePriority, Problem> {
    if matches!(&item.node.value, Value::Number(number) if &**number == "0") {
        let message = "the priority 0 is that of the kernel's own rule for the table local";
        let help = "give a priority from 1 to 32765; lower ones are asked first";
        return Err(Problem::new(message, "must be at least 1").help(help));
    }
    whole(item, 1..=u32::MAX).map(RulePriority)
}

fn note_late(priority: At<RulePriority>, notes: &mut Notes, findings: &mut Findings<'_>) {
    let message = format!(
        "a rule of priority {} is asked after the table main: it decides only where main has no route",
        priority.value.0
    );
    let problem = Problem::new(message, "behind the rule 32766 for main")
        .help("give a priority below 32766 to be asked first");
    notes.add(priority.span, problem, findings);
}

/// The one family that is meant: as it is said, or as the prefixes are. `None` is both.
fn family(spec: &Fields<'_, '_>, findings: &mut Findings<'_>) -> Option<At<Family>> {
    let words = [("ipv4", Family::V4), ("ipv6", Family::V6)];
    let said = spec.read("family", findings, |item| keyword(item, &words));
    let mut known = said;
    // Each prefix is read, and reported, with the other conditions.
    for name in ["from", "to"] {
        let Some(entry) = spec.entry(name) else {
            continue;
        };
        let Ok(prefix) = prefix(&Item::named(name, &entry.node)) else {
            continue;
        };
        let at = At {
            value: prefix.family(),
            span: entry.node.span,
        };
        let Some(first) = known.filter(|first| first.value != at.value) else {
            known = known.or(Some(at));
            continue;
        };
        let message = format!(
            "`{name}` is {}, but the rule is about {}: no packet is both",
            at.value, first.value
        );
        let problem = Problem::new(message, format!("an {} prefix", at.value))
            .related(findings.spot(first.span), format!("{} here", first.value))
            .help("write one document for each family");
        findings.error(at.span, problem);
    }
    known
}

/// Which packets are meant.
fn selector(
    spec: &Fields<'_, '_>,
    family: Option<At<Family>>,
    findings: &mut Findings<'_>,
) -> RuleSelector {
    let [from, to] = ["from", "to"].map(|name| {
        let read = spec.read(name, findings, prefix);
        read.map(|at| at.value)
    });
    let fwmark = spec.read("fwmark", findings, mark).map(|at| at.value);
    let [iif, oif] = ["iif", "oif"].map(|name| {
        let read = spec.read(name, findings, interface);
        read.map(|at| at.value)
    });
    let proto = spec.read("ipProto", findings, ip_proto);
    if let Some(proto) = proto {
        check_family_of_proto(proto, family, findings);
    }
    let [sport, dport] = ["sport", "dport"].map(|name| {
        let read = spec.read(name, findings, ports);
        check_ports(spec, (name, read), proto, findings);
        read.map(|at| at.value)
    });
    let not = spec.read("not", findings, boolean);
    if let Some(not) = not.filter(|at| at.value && !CONDITIONS.iter().any(|name| spec.has(name))) {
        let message = "`not` has no condition to turn round, so that no packet is meant";
        let help =
            "say of which packets it must not be true, such as `from: 10.0.0.0/8`, or remove `not`";
        findings.error(not.span, Problem::new(message, "not what?").help(help));
    }
    RuleSelector {
        from,
        to,
        fwmark,
        iif,
        oif,
        ip_proto: proto.map(|at| at.value),
        sport,
        dport,
        not: not.is_some_and(|at| at.value),
    }
}

/// ICMP is of IPv4, and ICMPv6 of IPv6.
fn check_family_of_proto(
    proto: At<IpProto>,
    family: Option<At<Family>>,
    findings: &mut Findings<'_>,
) {
    let (own, name, other) = match proto.value {
        IpProto(1) => (Family::V4, "icmp", "ipv6-icmp"),
        IpProto(58) => (Family::V6, "ipv6-icmp", "icmp"),
        _ => return,
    };
    let Some(family) = family.filter(|family| family.value != own) else {
        return;
    };
    let message = format!("`{name}` is never in {} packets", family.value);
    let problem = Problem::new(message, format!("of {own} only"))
        .related(findings.spot(family.span), format!("{} here", family.value))
        .help(format!("write `{other}`"));
    findings.error(proto.span, problem);
}

/// The kernel takes ports with any protocol and with none. But then it compares what lies in their place, such as
/// type and code of ICMP (`flowi_uli`, include/net/flow.h), which nobody means.
fn check_ports(
    spec: &Fields<'_, '_>,
    (name, read): (&str, Option<At<PortRange>>),
    proto: Option<At<IpProto>>,
    findings: &mut Findings<'_>,
) {
    let Some(ports) = read else { return };
    match proto {
        None if !spec.has("ipProto") => {
            let message = format!("`{name}` needs an `ipProto`: not every packet has ports");
            let help = "add `ipProto: tcp`, `udp`, `sctp` or `dccp`; for several write a document for each";
            let problem = Problem::new(message, "ports of which protocol?");
            findings.error(ports.span, problem.help(help));
        }
        Some(proto) if !has_ports(proto.value) => {
            let message = format!("`{name}` has no meaning with this `ipProto`");
            let problem = Problem::new(message, "no packet has such a port")
                .related(findings.spot(proto.span), "a protocol without ports")
                .help("only `tcp`, `udp`, `sctp` and `dccp` have ports");
            findings.error(ports.span, problem);
        }
        _ => {}
    }
}

/// TCP, UDP, DCCP, SCTP.
fn has_ports(proto: IpProto) -> bool {
    matches!(proto.0, 6 | 17 | 33 | 132)
}

/// What becomes of the packets.
fn action(spec: &Fields<'_, '_>, names: &Names, findings: &mut Findings<'_>) -> Option<RuleTarget> {
    let table = spec.read("table", findings, |item| any_table(item, names));
    let words = [
        ("lookup", None),
        ("blackhole", Some(RuleAction::Blackhole)),
        ("unreachable", Some(RuleAction::Unreachable)),
        ("prohibit", Some(RuleAction::Prohibit)),
    ];
    let action = spec.read("action", findings, |item| keyword(item, &words));
    if spec.has("action") && action.is_none() {
        return None;
    }
    let Some((drop, span)) = action.and_then(|at| at.value.map(|drop| (drop, at.span))) else {
        return Some(RuleTarget::Lookup(table.map(|at| at.value)));
    };
    for name in ["table", "suppressPrefixLength"] {
        if let Some(entry) = spec.entry(name) {
            let message = format!("`{name}` has no meaning where no table is asked");
            let problem = Problem::new(message, "never looked at")
                .related(findings.spot(span), "because of this action")
                .help(format!("remove `{name}`, or `action`"));
            findings.error(entry.key_span, problem);
        }
    }
    Some(RuleTarget::Drop(drop))
}

/// Up to which length routes are passed over. Of both families only what is a length in both.
fn suppressed(
    spec: &Fields<'_, '_>,
    family: Option<At<Family>>,
    findings: &mut Findings<'_>,
) -> Option<u8> {
    let At { value, span } = spec.read("suppressPrefixLength", findings, |item| {
        whole(item, 0..=u32::from(Family::V6.bits()))
    })?;
    let longest = family.map_or(Family::V4, |family| family.value).bits();
    if value > u32::from(longest) {
        let message = format!("no IPv4 prefix is of length {value}");
        let problem = Problem::new(message, format!("at most {longest}"));
        let both = family.is_none();
        let help = both.then_some("for IPv6 alone add `family: ipv6`".to_owned());
        findings.error(span, problem.maybe_help(help));
    }
    u8::try_from(value).ok()
}
