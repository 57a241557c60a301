//! Whether a rule is about a packet.

use std::net::IpAddr;

use crate::model::egress::rule::RuleSelector;
use crate::model::egress::{FwMark, ObservedRule, PortRange};
use crate::model::{InterfaceName, Packet, Prefix};

/// Whether a rule is about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It is.
    Yes,
    /// It is not, and this is why.
    No(String),
    /// That depends on this, which is not known.
    Perhaps(String),
}

/// The interface that packets of this node itself come in by, to rules (`LOOPBACK_IFINDEX`, include/net/flow.h).
const ITSELF: &str = "lo";

/// Whether `rule` is about `packet`.
pub(super) fn fit(rule: &ObservedRule, packet: &Packet) -> Fit {
    let selector = &rule.rule.selector;
    let mut all = conditions(selector, packet);
    if rule.extra {
        let what = "on what srsync does not read of it (such as a uid range, TOS, goto or a VRF; see `ip rule`)";
        all.push(Fit::Perhaps(what.to_owned()));
    }
    // One that is not met decides, whatever is not known.
    all.sort_by_key(|fit| match fit {
        Fit::No(_) => 0,
        Fit::Perhaps(_) => 1,
        Fit::Yes => 2,
    });
    let fit = all.into_iter().next().unwrap_or(Fit::Yes);
    match (fit, selector.not) {
        (Fit::No(_), true) => Fit::Yes,
        (Fit::Yes, true) => Fit::No("all of that is so, and it is about other packets".to_owned()),
        (fit, _) => fit,
    }
}

fn conditions(selector: &RuleSelector, packet: &Packet) -> Vec<Fit> {
    let mut fits = Vec::new();
    fits.extend(selector.from.map(|prefix| from(prefix, packet.from)));
    fits.extend(selector.to.map(|prefix| {
        let why = || format!("it goes to {}", packet.to);
        is(prefix.contains(packet.to), why)
    }));
    fits.extend(selector.fwmark.map(|FwMark { value, mask }| {
        let why = || format!("its mark is {:#x}", packet.mark);
        is((packet.mark ^ value) & mask == 0, why)
    }));
    fits.extend(selector.iif.as_ref().map(|iif| came_by(iif, packet)));
    fits.extend(selector.oif.as_ref().map(|oif| {
        Fit::No(format!(
            "it is about packets of sockets that are bound to {oif}, and this one is not"
        ))
    }));
    if selector.ip_proto.is_some() {
        fits.push(Fit::Perhaps("on its protocol".to_owned()));
    }
    let ports = [("source", selector.sport), ("destination", selector.dport)];
    for (which, range) in ports {
        let unknown = |_: PortRange| Fit::Perhaps(format!("on its {which} port"));
        fits.extend(range.map(unknown));
    }
    fits
}

fn is(so: bool, why_not: impl FnOnce() -> String) -> Fit {
    match so {
        true => Fit::Yes,
        false => Fit::No(why_not()),
    }
}

fn from(prefix: Prefix, source: Option<IpAddr>) -> Fit {
    match source {
        Some(source) => is(prefix.contains(source), || {
            format!("it comes from {source}")
        }),
        // `fib4_rule_match` takes it for 0.0.0.0, `fib6_rule_match` passes the rule over.
        None => Fit::No("no source is chosen yet".to_owned()),
    }
}

fn came_by(iif: &InterfaceName, packet: &Packet) -> Fit {
    match &packet.iif {
        Some(came) => is(came == iif, || format!("it comes in by {came}")),
        None => is(iif.as_str() == ITSELF, || {
            "it is of this node itself".to_owned()
        }),
    }
}
