//! Policy routing rules: which packets take which table (`ip rule`, fib_rules(7)).

use std::fmt;

use crate::model::numbers::{InterfaceName, Protocol, TableId};
use crate::model::prefix::{Family, Prefix};

/// Where in the order of rules one is (`FRA_PRIORITY`): lower ones are asked first. 0 is the kernel's own rule for the
/// table local, 32766 that for main.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RulePriority(pub u32);

/// Bits of a packet's mark that a rule looks at (`FRA_FWMARK`, `FRA_FWMASK`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FwMark {
    /// What they have to be; no bit beyond the mask.
    pub value: u32,
    /// Which ones; all unless it is said.
    pub mask: u32,
}

/// An IP protocol by number (`FRA_IP_PROTO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProto(pub u8);

impl IpProto {
    /// Those that documents can call by name (IANA protocol numbers).
    pub const NAMED: [(&'static str, Self); 6] = [
        ("icmp", Self(1)),
        ("tcp", Self(6)),
        ("udp", Self(17)),
        ("ipv6-icmp", Self(58)),
        ("dccp", Self(33)),
        ("sctp", Self(132)),
    ];
}

/// Ports, both ends included (`FRA_SPORT_RANGE`, `FRA_DPORT_RANGE`); never from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last; at least the first.
    pub last: u16,
}

/// What becomes of a packet that a rule is about (`FR_ACT_*`, linux/fib_rules.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleAction {
    /// It takes this table; where that has no route for it, the next rule is asked.
    Lookup(TableId),
    /// It is dropped.
    Blackhole,
    /// It is answered with "network unreachable".
    Unreachable,
    /// It is answered with "administratively prohibited".
    Prohibit,
}

/// `kind: RoutingRule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingRule {
    /// The family, where only one is meant; `None` is both. Never contradicts `from` and `to`.
    pub family: Option<Family>,
    /// Its order.
    pub priority: RulePriority,
    /// Which packets.
    pub selector: RuleSelector,
    /// What becomes of them; `None` as the table is the configured one.
    pub action: RuleTarget,
    /// Routes of the table that are no longer than this are passed over (`FRA_SUPPRESS_PREFIXLEN`).
    pub suppress_prefix_length: Option<u8>,
}

impl RoutingRule {
    /// The table that it looks into, where `usual` is the configured one.
    pub fn table(&self, usual: TableId) -> Option<TableId> {
        match self.action {
            RuleTarget::Lookup(table) => Some(table.unwrap_or(usual)),
            RuleTarget::Drop(_) => None,
        }
    }
}

/// What a document says about the action; the configured table is not known to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleTarget {
    /// Lookup in this table, or in the configured one.
    Lookup(Option<TableId>),
    /// One of the other actions.
    Drop(RuleAction),
}

/// Which packets a rule is about: those of which all of this is true, or not, if inverted.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleSelector {
    /// Source (`FRA_SRC`).
    pub from: Option<Prefix>,
    /// Destination (`FRA_DST`).
    pub to: Option<Prefix>,
    /// Mark.
    pub fwmark: Option<FwMark>,
    /// The interface that it came by (`FRA_IIFNAME`); `lo` is this node itself.
    pub iif: Option<InterfaceName>,
    /// The interface that its socket is bound to (`FRA_OIFNAME`).
    pub oif: Option<InterfaceName>,
    /// Protocol.
    pub ip_proto: Option<IpProto>,
    /// Source port.
    pub sport: Option<PortRange>,
    /// Destination port.
    pub dport: Option<PortRange>,
    /// Whether those are meant of which not all of this is true (`FIB_RULE_INVERT`).
    pub not: bool,
}

impl RuleSelector {
    /// Whether every packet of a family is meant. An empty prefix (`0.0.0.0/0`) is no condition.
    pub fn is_everything(&self) -> bool {
        let open = |prefix: &Option<Prefix>| prefix.is_none_or(|prefix| prefix.length() == 0);
        let unmarked = self.fwmark.is_none_or(|mark| mark.mask == 0);
        open(&self.from)
            && open(&self.to)
            && unmarked
            && self.iif.is_none()
            && self.oif.is_none()
            && self.ip_proto.is_none()
            && self.sport.is_none()
            && self.dport.is_none()
            && !self.not
    }
}

/// A rule of the kernel: of one family, in full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FibRule {
    /// Its family.
    pub family: Family,
    /// Its order.
    pub priority: RulePriority,
    /// Which packets. Prefixes of length 0 and masks of no bit are `None`, as the kernel has it.
    pub selector: RuleSelector,
    /// What becomes of them.
    pub action: RuleAction,
    /// See [`RoutingRule::suppress_prefix_length`].
    pub suppress_prefix_length: Option<u8>,
}

impl FibRule {
    /// The rules of a document: one for each family that it is about. `usual` is the configured table.
    pub fn of(rule: &RoutingRule, usual: TableId) -> impl Iterator<Item = Self> + '_ {
        let said = [rule.selector.from, rule.selector.to]
            .into_iter()
            .flatten()
            .next();
        let only = rule.family.or(said.map(|prefix| prefix.family()));
        let families = Family::BOTH
            .into_iter()
            .filter(move |family| only.is_none_or(|only| only == *family));
        families.map(move |family| Self {
            family,
            priority: rule.priority,
            selector: RuleSelector {
                from: rule.selector.from.filter(|prefix| prefix.length() > 0),
                to: rule.selector.to.filter(|prefix| prefix.length() > 0),
                fwmark: rule.selector.fwmark.filter(|mark| mark.mask != 0),
                ..rule.selector.clone()
            },
            action: match rule.action {
                RuleTarget::Lookup(table) => RuleAction::Lookup(table.unwrap_or(usual)),
                RuleTarget::Drop(action) => action,
            },
            suppress_prefix_length: rule.suppress_prefix_length,
        })
    }
}

impl fmt::Display for FibRule {
    /// As `ip rule` writes it: `100: from 10.42.0.0/16 lookup 100`; an IPv6 rule without any prefix says so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = &self.selector;
        write!(f, "{}:", self.priority.0)?;
        if self.family == Family::V6 && selector.from.is_none() && selector.to.is_none() {
            f.write_str(" ipv6")?;
        }
        if selector.not {
            f.write_str(" not")?;
        }
        match selector.from {
            Some(from) => write!(f, " from {from}")?,
            None => f.write_str(" from all")?,
        }
        if let Some(to) = selector.to {
            write!(f, " to {to}")?;
        }
        if let Some(FwMark { value, mask }) = selector.fwmark {
            write!(f, " fwmark {value:#x}")?;
            if mask != u32::MAX {
                write!(f, "/{mask:#x}")?;
            }
        }
        for (word, name) in [("iif", &selector.iif), ("oif", &selector.oif)] {
            if let Some(name) = name {
                write!(f, " {word} {name}")?;
            }
        }
        if let Some(proto) = selector.ip_proto {
            match IpProto::NAMED.iter().find(|(_, known)| *known == proto) {
                Some((name, _)) => write!(f, " ipproto {name}")?,
                None => write!(f, " ipproto {}", proto.0)?,
            }
        }
        for (word, ports) in [("sport", selector.sport), ("dport", selector.dport)] {
            match ports {
                Some(PortRange { first, last }) if first == last => write!(f, " {word} {first}")?,
                Some(PortRange { first, last }) => write!(f, " {word} {first}-{last}")?,
                None => {}
            }
        }
        match self.action {
            RuleAction::Lookup(TableId::MAIN) => f.write_str(" lookup main")?,
            RuleAction::Lookup(TableId::LOCAL) => f.write_str(" lookup local")?,
            RuleAction::Lookup(table) => write!(f, " lookup {table}")?,
            RuleAction::Blackhole => f.write_str(" blackhole")?,
            RuleAction::Unreachable => f.write_str(" unreachable")?,
            RuleAction::Prohibit => f.write_str(" prohibit")?,
        }
        match self.suppress_prefix_length {
            Some(length) => write!(f, " suppress_prefixlength {length}"),
            None => Ok(()),
        }
    }
}

/// A rule as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRule {
    /// The rule, as far as it can be said.
    pub rule: FibRule,
    /// Who made it (`FRA_PROTOCOL`).
    pub protocol: Protocol,
    /// It has something that no document can say (a VRF, a uid range, a goto, a realm, TOS, `suppress_ifgroup`, …), so that
    /// it equals none of ours.
    pub extra: bool,
}

impl ObservedRule {
    /// Whether it does just what this rule does.
    pub fn is_just(&self, rule: &FibRule) -> bool {
        !self.extra && self.rule == *rule
    }
}
