//! Policy rules, settings and our nftables table in a snapshot.
//!
//! Rules have the fields of documents. What a document cannot say about one is not written down, but that there is such
//! a thing is (`extra`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Reader, Snapshot, SnapshotError, Writer, is_false, unknown, yes};
use crate::model::egress::rule::RuleSelector;
use crate::model::egress::{
    Counters, FibRule, FwMark, IpProto, NatObserved, NatRule, ObservedEgress, ObservedRule,
    PortRange, Remembered, RuleAction, RulePriority, SysctlKey, SysctlValue, Sysctls, Translation,
};
use crate::model::{Family, InterfaceName, Prefix};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RuleEntry {
    priority: u32,
    /// That of `from` and `to`, else IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<FamilyWord>,
    #[serde(default, skip_serializing_if = "is_false")]
    not: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fwmark: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iif: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oif: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_proto: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sport: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dport: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action: Option<ActionWord>,
    /// Where it looks, unless it has another action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suppress_prefix_length: Option<u8>,
    protocol: String,
    /// There is more to it than a document can say.
    #[serde(default, skip_serializing_if = "is_false")]
    extra: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FamilyWord {
    Ipv4,
    Ipv6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActionWord {
    Blackhole,
    Unreachable,
    Prohibit,
}

/// What a setting was before srsync, and what it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BeforeEntry {
    before: i32,
    set: i32,
}

/// Our table of nftables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NatEntry {
    /// Why there can be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unavailable: Option<String>,
    /// Whether these rules are all there is in it.
    #[serde(default = "yes")]
    intact: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<NatRuleEntry>,
}

/// All of one family, that of `sources`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NatRuleEntry {
    document: String,
    sources: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    destinations: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    except_destinations: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    out_interfaces: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snat_to: Option<IpAddr>,
    #[serde(default)]
    packets: u64,
    #[serde(default)]
    bytes: u64,
}

impl Writer<'_> {
    pub(super) fn rule(&self, observed: &ObservedRule) -> RuleEntry {
        let FibRule {
            family,
            priority,
            selector,
            action,
            suppress_prefix_length,
        } = &observed.rule;
        let without_prefix = selector.from.is_none() && selector.to.is_none();
        let name = |name: &Option<InterfaceName>| name.as_ref().map(ToString::to_string);
        let (action, table) = match action {
            RuleAction::Lookup(table) => (None, Some(self.names.table(*table))),
            RuleAction::Blackhole => (Some(ActionWord::Blackhole), None),
            RuleAction::Unreachable => (Some(ActionWord::Unreachable), None),
            RuleAction::Prohibit => (Some(ActionWord::Prohibit), None),
        };
        RuleEntry {
            priority: priority.0,
            family: (without_prefix && *family == Family::V6).then_some(FamilyWord::Ipv6),
            not: selector.not,
            from: selector.from.map(|prefix| prefix.to_string()),
            to: selector.to.map(|prefix| prefix.to_string()),
            fwmark: selector.fwmark.map(mark),
            iif: name(&selector.iif),
            oif: name(&selector.oif),
            ip_proto: selector.ip_proto.map(proto),
            sport: selector.sport.map(ports),
            dport: selector.dport.map(ports),
            action,
            table,
            suppress_prefix_length: *suppress_prefix_length,
            protocol: self.protocol(observed.protocol),
            extra: observed.extra,
        }
    }

    pub(super) fn settings(&self) -> BTreeMap<String, i32> {
        let values = self.observed.egress.sysctls.values.iter();
        values
            .map(|(key, value)| (key.to_string(), value.get()))
            .collect()
    }

    pub(super) fn settings_before(&self) -> BTreeMap<String, BeforeEntry> {
        let remembered = self.observed.egress.sysctls.remembered.iter();
        let entry = |(key, value): (&SysctlKey, &Remembered)| {
            let entry = BeforeEntry {
                before: value.before.get(),
                set: value.set.get(),
            };
            (key.to_string(), entry)
        };
        remembered.map(entry).collect()
    }

    pub(super) fn nat(&self) -> Option<NatEntry> {
        let (unavailable, intact, rules) = match &self.observed.egress.nat {
            NatObserved::Unknown | NatObserved::Absent => return None,
            NatObserved::Unavailable(why) => (Some(why.clone()), true, Vec::new()),
            NatObserved::Present { rules, intact } => {
                (None, *intact, rules.iter().map(nat_rule).collect())
            }
        };
        Some(NatEntry {
            unavailable,
            intact,
            rules,
        })
    }
}

fn nat_rule((rule, counters): &(NatRule, Counters)) -> NatRuleEntry {
    let words =
        |prefixes: &[Prefix]| -> Vec<String> { prefixes.iter().map(ToString::to_string).collect() };
    let interfaces = rule.out_interfaces.iter();
    NatRuleEntry {
        document: rule.name.clone(),
        sources: words(&rule.sources),
        destinations: words(&rule.destinations),
        except_destinations: words(&rule.except),
        out_interfaces: interfaces.map(ToString::to_string).collect(),
        snat_to: match rule.translation {
            Translation::Masquerade => None,
            Translation::To(address) => Some(address),
        },
        packets: counters.packets,
        bytes: counters.bytes,
    }
}

fn mark(mark: FwMark) -> String {
    format!("{:#x}/{:#x}", mark.value, mark.mask)
}

fn proto(proto: IpProto) -> String {
    match IpProto::NAMED.iter().find(|(_, known)| *known == proto) {
        Some((name, _)) => (*name).to_owned(),
        None => proto.0.to_string(),
    }
}

fn ports(PortRange { first, last }: PortRange) -> String {
    match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    }
}

impl Reader<'_> {
    pub(super) fn egress(&self, snapshot: &Snapshot) -> Result<ObservedEgress, SnapshotError> {
        let rules = snapshot.rules.iter().map(|entry| self.rule(entry));
        Ok(ObservedEgress {
            rules: rules.collect::<Result<_, _>>()?,
            nat: match &snapshot.nat {
                None => NatObserved::Absent,
                Some(entry) => read_nat(entry)?,
            },
            sysctls: self.sysctls(snapshot)?,
        })
    }

    fn rule(&self, entry: &RuleEntry) -> Result<ObservedRule, SnapshotError> {
        let prefix = |word: &Option<String>| {
            let prefix = word.as_deref().map(str::parse::<Prefix>);
            Ok::<_, SnapshotError>(prefix.transpose()?.filter(|prefix| prefix.length() > 0))
        };
        let (from, to) = (prefix(&entry.from)?, prefix(&entry.to)?);
        let family = match (entry.family, from.or(to)) {
            (Some(FamilyWord::Ipv4), _) => Family::V4,
            (Some(FamilyWord::Ipv6), _) => Family::V6,
            (None, Some(prefix)) => prefix.family(),
            (None, None) => Family::V4,
        };
        let action = match (entry.action, &entry.table) {
            (Some(ActionWord::Blackhole), _) => RuleAction::Blackhole,
            (Some(ActionWord::Unreachable), _) => RuleAction::Unreachable,
            (Some(ActionWord::Prohibit), _) => RuleAction::Prohibit,
            (None, Some(word)) => RuleAction::Lookup(self.table(word)?),
            (None, None) => {
                return Err(unknown("rule with `table` or `action`", &rule_name(entry)));
            }
        };
        Ok(ObservedRule {
            rule: FibRule {
                family,
                priority: RulePriority(entry.priority),
                selector: RuleSelector {
                    from,
                    to,
                    fwmark: entry.fwmark.as_deref().map(read_mark).transpose()?,
                    iif: entry.iif.as_deref().map(interface).transpose()?,
                    oif: entry.oif.as_deref().map(interface).transpose()?,
                    ip_proto: entry.ip_proto.as_deref().map(read_proto).transpose()?,
                    sport: entry.sport.as_deref().map(read_ports).transpose()?,
                    dport: entry.dport.as_deref().map(read_ports).transpose()?,
                    not: entry.not,
                },
                action,
                suppress_prefix_length: entry.suppress_prefix_length,
            },
            protocol: self.protocol(&entry.protocol)?,
            extra: entry.extra,
        })
    }

    fn sysctls(&self, snapshot: &Snapshot) -> Result<Sysctls, SnapshotError> {
        let key = |word: &str| SysctlKey::named(word).ok_or_else(|| unknown("setting", word));
        let value = |(word, value): (&String, &i32)| -> Result<_, SnapshotError> {
            Ok((key(word)?, SysctlValue::new(*value)))
        };
        let before = |(word, entry): (&String, &BeforeEntry)| -> Result<_, SnapshotError> {
            let remembered = Remembered {
                before: SysctlValue::new(entry.before),
                set: SysctlValue::new(entry.set),
            };
            Ok((key(word)?, remembered))
        };
        Ok(Sysctls {
            values: match &snapshot.settings {
                Some(settings) => settings.iter().map(value).collect::<Result<_, _>>()?,
                None => self.settings_at_boot(),
            },
            remembered: snapshot
                .settings_before
                .iter()
                .map(before)
                .collect::<Result<_, _>>()?,
            read_only: snapshot.settings_read_only.clone(),
        })
    }

    /// As the kernel has them for these links until somebody writes one.
    fn settings_at_boot(&self) -> BTreeMap<SysctlKey, SysctlValue> {
        let (off, on) = (SysctlValue::switch(false), SysctlValue::switch(true));
        let mut values = BTreeMap::from([
            (SysctlKey::AcceptRedirectsAll, on),
            (SysctlKey::RpFilterAll, off),
        ]);
        for family in Family::BOTH {
            values.insert(SysctlKey::ForwardAll(family), off);
            values.insert(SysctlKey::ForwardDefault(family), off);
        }
        let names = self.links.iter();
        for name in names.filter_map(|link| InterfaceName::new(&link.name)) {
            for family in Family::BOTH {
                values.insert(SysctlKey::Forward(family, name.clone()), off);
            }
            values.insert(SysctlKey::RpFilter(name.clone()), off);
            values.insert(SysctlKey::AcceptRa(name), on);
        }
        values
    }
}

fn read_nat(entry: &NatEntry) -> Result<NatObserved, SnapshotError> {
    if let Some(why) = &entry.unavailable {
        return Ok(NatObserved::Unavailable(why.clone()));
    }
    let rules = entry.rules.iter().map(read_nat_rule);
    Ok(NatObserved::Present {
        rules: rules.collect::<Result<_, _>>()?,
        intact: entry.intact,
    })
}

fn read_nat_rule(entry: &NatRuleEntry) -> Result<(NatRule, Counters), SnapshotError> {
    let prefixes = |words: &[String]| -> Result<Vec<Prefix>, SnapshotError> {
        let prefixes = words.iter().map(|word| Ok(word.parse::<Prefix>()?));
        prefixes.collect()
    };
    let sources = prefixes(&entry.sources)?;
    let no_source = || unknown("rule with `sources`", &entry.document);
    let family = sources.first().ok_or_else(no_source)?.family();
    let interfaces = entry.out_interfaces.iter().map(|name| interface(name));
    let rule = NatRule {
        name: entry.document.clone(),
        family,
        sources,
        destinations: prefixes(&entry.destinations)?,
        except: prefixes(&entry.except_destinations)?,
        out_interfaces: interfaces.collect::<Result<_, _>>()?,
        translation: entry
            .snat_to
            .map_or(Translation::Masquerade, Translation::To),
    };
    let counters = Counters {
        packets: entry.packets,
        bytes: entry.bytes,
    };
    Ok((rule, counters))
}

fn rule_name(entry: &RuleEntry) -> String {
    format!("rule of priority {}", entry.priority)
}

fn interface(word: &str) -> Result<InterfaceName, SnapshotError> {
    InterfaceName::new(word).ok_or_else(|| unknown("name of an interface", word))
}

/// `0x10/0xff`, or `0x10`, in which every bit counts.
fn read_mark(word: &str) -> Result<FwMark, SnapshotError> {
    let (value, mask) = word.split_once('/').unwrap_or((word, "0xffffffff"));
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match (number(value), number(mask)) {
        (Ok(value), Ok(mask)) => Ok(FwMark { value, mask }),
        _ => Err(unknown("mark such as 0x10/0xff", word)),
    }
}

fn read_proto(word: &str) -> Result<IpProto, SnapshotError> {
    match IpProto::NAMED.iter().find(|(name, _)| *name == word) {
        Some((_, proto)) => Ok(*proto),
        None => word
            .parse()
            .map(IpProto)
            .map_err(|_| unknown("IP protocol", word)),
    }
}

fn read_ports(word: &str) -> Result<PortRange, SnapshotError> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => Ok(PortRange { first, last }),
        _ => Err(unknown("port, nor a range such as 1000-2000", word)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Names;

    const NODE: &str = "
links:
- {name: eth1, index: 2, addresses: [10.116.0.3/24]}
rules:
- {priority: 0, table: local, protocol: kernel}
- {priority: 0, family: ipv6, table: local, protocol: kernel}
- {priority: 100, not: true, from: 10.42.0.0/16, to: 192.0.2.0/24, fwmark: 0x10/0xff, iif: eth1, oif: lo, table: '100', protocol: srsync}
- {priority: 101, from: 'fd00:42::/56', ipProto: tcp, sport: 1000-2000, dport: '443', action: prohibit, protocol: '84'}
- {priority: 102, ipProto: '47', fwmark: 0x10/0xffffffff, table: main, suppressPrefixLength: 0, protocol: static}
- {priority: 103, table: '0', protocol: boot, extra: true}
settings: {net.ipv4.ip_forward: 1, net.ipv4.conf.all.accept_redirects: 0, net.ipv6.conf.eth1/7.accept_ra: 2}
settingsBefore: {net.ipv4.ip_forward: {before: 0, set: 1}}
settingsReadOnly: it is
nat:
  intact: false
  rules:
  - {document: pods, sources: [10.42.0.0/16], destinations: [192.0.2.0/24], exceptDestinations: [192.0.2.7/32], outInterfaces: [eth1], packets: 7, bytes: 420}
  - {document: pods, sources: ['fd00:42::/56'], snatTo: 'fd00::1'}
";

    #[test]
    fn what_a_node_does_besides_routes_comes_back() {
        let names = Names::default();
        let observed = Snapshot::parse(NODE).unwrap().to_observed(&names).unwrap();
        assert_eq!(observed.egress.rules.len(), 6);
        let said = observed.egress.rules[2].rule.to_string();
        assert_eq!(
            said,
            "100: not from 10.42.0.0/16 to 192.0.2.0/24 fwmark 0x10/0xff iif eth1 oif lo lookup 100"
        );
        let text = serde_yaml::to_string(&Snapshot::of(&observed, "gw-1", &names)).unwrap();
        let read = Snapshot::parse(&text).unwrap().to_observed(&names).unwrap();
        assert_eq!(read, observed, "{text}");
    }

    #[test]
    fn a_node_of_which_nothing_is_said_is_as_after_boot() {
        let text = "links: [{name: eth1, index: 2}]";
        let observed = Snapshot::parse(text).unwrap();
        let egress = observed.to_observed(&Names::default()).unwrap().egress;
        assert_eq!(egress.nat, NatObserved::Absent);
        assert_eq!(egress.rules, []);
        let values = egress.sysctls.values.iter();
        let on = values.filter(|(_, value)| value.get() == 1);
        let on: Vec<String> = on.map(|(key, _)| key.to_string()).collect();
        assert_eq!(
            on,
            [
                "net.ipv4.conf.all.accept_redirects",
                "net.ipv6.conf.eth1.accept_ra"
            ]
        );
        assert_eq!(egress.sysctls.values.len(), 10);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let error = |text: &str| {
            let snapshot = Snapshot::parse(text).unwrap();
            let error = snapshot.to_observed(&Names::default()).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            error("settings: {net.ipv4.ip_forwarding: 1}"),
            "`net.ipv4.ip_forwarding` is not a setting"
        );
        assert_eq!(
            error("rules: [{priority: 7, protocol: boot}]"),
            "`rule of priority 7` is not a rule with `table` or `action`"
        );
        assert_eq!(
            error("rules: [{priority: 7, table: main, fwmark: 0x, protocol: boot}]"),
            "`0x` is not a mark such as 0x10/0xff"
        );
    }
}
