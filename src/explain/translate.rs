//! Which translation of addresses applies to a packet that leaves.

use std::net::IpAddr;

use crate::model::egress::NatRule;
use crate::model::{Family, Prefix};

/// A packet on its way out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving<'a> {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    /// The interface that it leaves by.
    pub(super) out: &'a str,
}

/// Whether a rule translates it.
pub(super) fn applies(rule: &NatRule, packet: Leaving<'_>) -> bool {
    let within = |prefixes: &[Prefix], address| prefixes.iter().any(|p| p.contains(address));
    let out = &rule.out_interfaces;
    rule.family == Family::of(&packet.to)
        && within(&rule.sources, packet.from)
        && (rule.destinations.is_empty() || within(&rule.destinations, packet.to))
        && !within(&rule.except, packet.to)
        && (out.is_empty() || out.iter().any(|name| name.as_str() == packet.out))
}
