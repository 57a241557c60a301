//! Why a route is in no document.

use std::fmt;
use std::sync::Arc;

use crate::model::{Family, Metric, Names, NextHopId, RouteKey, RouteType, Scope, TableId, Tos};
use crate::plan::Reason;

/// A route that is in no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its slot.
    pub key: RouteKey,
    /// Why.
    pub why: Why,
}

/// Why a route is in no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Several routes hold its slot.
    SharedSlot,
    /// It is only for packets of this type of service.
    Tos(Tos),
    /// Multicast, local and such, by the kernel.
    Type(RouteType),
    /// A nexthop object of somebody else says where it leads.
    ByNextHop(NextHopId),
    /// It has a scope that srsync would not give it.
    Scope(Scope),
    /// Attributes that srsync never sets.
    Extra,
    /// A way out that is not known, or has no link with a usable name.
    NoLink,
    /// Several ways out, one of them without a gateway.
    SeveralLinks,
    /// Its gateway is of the other family.
    OtherFamily,
    /// What `spec` says about such a destination or document.
    NoDocument(String),
    /// What `plan` says about it on this node.
    Blocked(Arc<Reason>),
    /// What a document makes of it would not be equal.
    Different,
}

impl Why {
    /// Whether both are of one kind, whatever the details.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Blocked(one), Self::Blocked(other)) => one.code == other.code,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedSlot => f.write_str(
                "another route has the same prefix, metric and table, and srsync keeps one in such a \
                 slot; give one of them another metric",
            ),
            Self::Tos(tos) => write!(f, "it is for TOS {tos:#04x} alone, which no document can say", tos = tos.get()),
            Self::Type(kind) => write!(f, "no document makes routes of type {}", kind.name()),
            Self::ByNextHop(id) => write!(
                f,
                "it leads by nexthop object {id}, which its owner may change; a document names gateways"
            ),
            Self::Scope(scope) => write!(f, "it has a scope of its own ({}), which no document can say",
                scope_name(*scope)),
            Self::Extra => f.write_str(
                "it has something that no document can say (encapsulation, a metric other than mtu and \
                 advmss, a preference, an expiry); `ip -d route show` shows what",
            ),
            Self::NoLink => f.write_str("it has no way out that can be named"),
            Self::SeveralLinks => f.write_str(
                "one of its several ways out has no gateway, and a document names one interface or \
                 several gateways",
            ),
            Self::OtherFamily => f.write_str(
                "its gateway is of the other address family, and a document has gateways of the same",
            ),
            Self::NoDocument(message) => f.write_str(message),
            Self::Blocked(reason) => reason.fmt(f),
            Self::Different => f.write_str(
                "a document would make a different route of it, or somebody else holds its place; \
                 `ip -d route show` shows it",
            ),
        }
    }
}

/// As `ip route` says it.
fn scope_name(scope: Scope) -> String {
    match scope {
        Scope::UNIVERSE => "global".to_owned(),
        Scope::LINK => "link".to_owned(),
        Scope::HOST => "host".to_owned(),
        other => other.to_string(),
    }
}

/// So many routes of a kind are named, the others counted.
const NAMED: usize = 3;

/// A line for each route that is left out; of many of one kind some, and how many more.
pub(super) fn lines(all: &[LeftOut], names: &Names) -> Vec<String> {
    let mut kinds: Vec<Vec<&LeftOut>> = Vec::new();
    for one in all {
        let alike = |kind: &&mut Vec<&LeftOut>| {
            kind.first()
                .is_some_and(|first| first.why.is_like(&one.why))
        };
        match kinds.iter_mut().find(alike) {
            Some(kind) => kind.push(one),
            None => kinds.push(vec![one]),
        }
    }
    let mut lines = Vec::new();
    for kind in kinds {
        // One more costs no more than saying that there is one more.
        let named = if kind.len() == NAMED + 1 {
            kind.len()
        } else {
            NAMED
        };
        let shown = kind.iter().take(named);
        lines.extend(
            shown.map(|one| format!("not written: {}: {}", slot(&one.key, names), one.why)),
        );
        if let more @ 1.. = kind.len().saturating_sub(named) {
            lines.push(format!("not written: {more} more for the same reason"));
        }
    }
    lines
}

/// A slot as `ip route` shows it: without what goes without saying.
fn slot(key: &RouteKey, names: &Names) -> String {
    let usual = match key.prefix.family() {
        Family::V4 => Metric::ZERO,
        Family::V6 => Metric::IPV6_DEFAULT,
    };
    let mut text = key.prefix.to_string();
    if key.metric != usual {
        text += &format!(" metric {}", key.metric);
    }
    if key.table != TableId::MAIN {
        text += &format!(" table {}", names.table(key.table));
    }
    text
}
