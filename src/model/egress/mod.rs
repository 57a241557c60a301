//! What a node does for others besides having routes: forwarding their packets, translating their
//! source addresses, and choosing tables for them.
//!
//! An [`Egress`] document is like a route's: it has a name, a place, a selector, and comes to *things* in the kernel
//! ([`Thing`]), each of which has one state and a reason.

pub mod check;
pub mod nat;
pub mod rule;
pub mod sysctl;

use std::fmt;

use super::document::{DocumentId, Place};
use super::numbers::InterfaceName;
use super::prefix::Family;
use super::selector::NodeSelector;

pub use check::{Answer, CheckTarget, CheckVerdict, ConnectivityCheck, Expectation};
pub use nat::{Counters, Masquerade, NatObserved, NatRule, NatTable, Translation};
pub use rule::{
    FibRule, FwMark, IpProto, ObservedRule, PortRange, RoutingRule, RuleAction, RulePriority,
};
pub use sysctl::{Remembered, RpFilter, SysctlKey, SysctlValue, Sysctls};

/// The kinds of documents besides routes, in the order in which they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EgressKind {
    /// `kind: Forwarding`.
    Forwarding,
    /// `kind: Masquerade`.
    Masquerade,
    /// `kind: RoutingRule`.
    RoutingRule,
}

impl EgressKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Forwarding, Self::Masquerade, Self::RoutingRule];

    /// As documents write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forwarding => "Forwarding",
            Self::Masquerade => "Masquerade",
            Self::RoutingRule => "RoutingRule",
        }
    }
}

impl fmt::Display for EgressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A document of a kind other than routes, valid by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// Its name, which is its own among documents of its kind.
    pub id: DocumentId,
    /// Where it begins.
    pub place: Place,
    /// Which nodes it is for.
    pub selector: NodeSelector,
    /// What it asks for.
    pub spec: EgressSpec,
    /// What parsing changed and a person should know.
    pub notes: Vec<String>,
}

/// What such a document asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressSpec {
    /// That this node forwards packets.
    Forwarding(Forwarding),
    /// That packets leave with another source address.
    Masquerade(Masquerade),
    /// That some packets take another table.
    RoutingRule(RoutingRule),
}

impl Egress {
    /// The interfaces that it names.
    pub fn interfaces(&self) -> Vec<&InterfaceName> {
        match &self.spec {
            EgressSpec::Forwarding(forwarding) => {
                forwarding.interfaces.iter().map(|one| &one.name).collect()
            }
            EgressSpec::Masquerade(masquerade) => masquerade.out_interfaces.iter().collect(),
            EgressSpec::RoutingRule(rule) => {
                let named = [&rule.selector.iif, &rule.selector.oif];
                named.into_iter().flatten().collect()
            }
        }
    }

    /// Its kind.
    pub fn kind(&self) -> EgressKind {
        match self.spec {
            EgressSpec::Forwarding(_) => EgressKind::Forwarding,
            EgressSpec::Masquerade(_) => EgressKind::Masquerade,
            EgressSpec::RoutingRule(_) => EgressKind::RoutingRule,
        }
    }
}

/// `kind: Forwarding`. What is `None` is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// Whether the node forwards IPv4 (`net.ipv4.ip_forward`), by all interfaces.
    pub ipv4: Option<bool>,
    /// Whether it forwards IPv6 (`net.ipv6.conf.all.forwarding`).
    pub ipv6: Option<bool>,
    /// What differs by interface; each name once.
    pub interfaces: Vec<InterfaceForwarding>,
}

/// What an interface does about forwarding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceForwarding {
    /// The interface.
    pub name: InterfaceName,
    /// Whether packets that arrive here are forwarded, in IPv4.
    pub ipv4: Option<bool>,
    /// The same in IPv6.
    pub ipv6: Option<bool>,
    /// How source addresses are checked here (IPv4 only).
    pub rp_filter: Option<RpFilter>,
}

impl Forwarding {
    /// The global setting of a family.
    pub fn global(&self, family: Family) -> Option<bool> {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }
}

/// What a node has of all that, complete or not there at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedEgress {
    /// Rules of all owners and both families, in the order in which they are asked.
    pub rules: Vec<ObservedRule>,
    /// Our nftables table.
    pub nat: NatObserved,
    /// The settings that matter.
    pub sysctls: Sysctls,
}

impl Default for ObservedEgress {
    /// Nobody looked.
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            nat: NatObserved::Unknown,
            sysctls: Sysctls::default(),
        }
    }
}

/// One thing of ours in the kernel besides a route. Equal things are the same thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// A value below `/proc/sys/net`.
    Sysctl(SysctlKey, SysctlValue),
    /// A rule of our nftables table.
    Nat(NatRule),
    /// A policy routing rule.
    Rule(FibRule),
}

impl Thing {
    /// The kind of document that asks for such a thing.
    pub fn kind(&self) -> EgressKind {
        match self {
            Self::Sysctl(..) => EgressKind::Forwarding,
            Self::Nat(_) => EgressKind::Masquerade,
            Self::Rule(_) => EgressKind::RoutingRule,
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl(key, value) => write!(f, "sysctl {key} = {value}"),
            Self::Nat(rule) => rule.fmt(f),
            Self::Rule(rule) => write!(f, "rule {rule}"),
        }
    }
}
