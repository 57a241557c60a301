//! `ConnectivityCheck` of `srsync.dev/v1alpha1`: what has to be reachable from this node, or must not be.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::diagnostic::Problem;
use super::envelope::Head;
use super::fields::{At, Fields, Item, read as read_item};
use super::findings::Findings;
use super::health::{self, Times};
use super::lists::{report_empty, report_twice};
use super::selector;
use super::values::{interface, keyword, unicast, unquoted_ipv6, whole};
use super::yaml::Value;
use crate::model::document::Probe;
use crate::model::egress::{CheckTarget, Expectation};
use crate::model::{ConnectivityCheck, Family, Place};

/// The fields of `spec`.
pub const SPEC_FIELDS: &[&str] = &[
    "targets",
    "source",
    "interface",
    "expect",
    "interval",
    "timeout",
    "attempts",
    "nodeSelector",
];
/// The fields of an entry of `targets`.
pub const TARGET_FIELDS: &[&str] = &["address", "icmp", "tcp", "http"];

/// ARP would only ask whether a neighbour is there, not whether anything can be reached.
const PROBES: [&str; 3] = ["icmp", "tcp", "http"];

const TIMES: Times = Times {
    interval: Duration::from_secs(30),
    // It is a proof for people, not a health check: those are for gateways.
    shortest: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
};

const ATTEMPTS: u32 = 3;

/// Reads `spec`.
pub(super) fn read(
    head: Head,
    spec: &Fields<'_, '_>,
    findings: &mut Findings<'_>,
) -> Option<ConnectivityCheck> {
    let wanted = "a list of what is asked, such as `[192.0.2.10]`";
    let nothing = "an empty list proves nothing: remove the document instead";
    if !spec.has("targets") {
        spec.report_missing("targets", wanted, findings);
    }
    report_empty(spec, "targets", nothing, findings);
    let items = spec.items("targets", findings);
    let targets: Vec<At<CheckTarget>> = items.filter_map(|item| target(&item, findings)).collect();
    report_same(&targets, head.place, findings);
    let source = spec.read("source", findings, unicast);
    let interface = spec.read("interface", findings, interface);
    if let Some(source) = source {
        check_families(source, &targets, findings);
    }
    if !spec.has("interface") {
        check_link_local(source, &targets, findings);
    }
    let words = Expectation::ALL.map(|expect| (expect.name(), expect));
    let expect = spec.read("expect", findings, |item| keyword(item, &words));
    let (interval, timeout) = health::times(spec, &TIMES, findings);
    let attempts = spec.read("attempts", findings, |item| whole(item, 1..=10));
    let selector = selector::read(spec, findings);
    Some(ConnectivityCheck {
        id: head.id,
        place: head.place,
        selector,
        targets: targets.into_iter().map(|at| at.value).collect(),
        source: source.map(|at| at.value),
        interface: interface.map(|at| at.value),
        expect: expect.map_or(Expectation::Reachable, |at| at.value),
        interval,
        timeout,
        attempts: attempts.map_or(ATTEMPTS, |at| at.value),
    })
}

/// A bare address, or a mapping with one.
fn target(item: &Item<'_, '_>, findings: &mut Findings<'_>) -> Option<At<CheckTarget>> {
    let file = findings.file();
    let checked = |At { value, span }, probe| At {
        value: CheckTarget {
            address: value,
            probe,
            place: Place {
                file,
                line: span.line,
            },
        },
        span,
    };
    // An address that YAML takes for a mapping is told as an address.
    let is_mapping = matches!(item.node.value, Value::Map(_));
    if !is_mapping || unquoted_ipv6(item.node).is_some() {
        let address = read_item(item, findings, bare)?;
        return Some(checked(address, Probe::Icmp));
    }
    let fields = Fields::of(item, item.node.span, TARGET_FIELDS, findings)?;
    let address = fields.require("address", "the IP address that is asked", findings, unicast);
    let probe = match PROBES.iter().any(|name| fields.written(name).is_some()) {
        true => health::probe(&fields, &PROBES, findings),
        false => Some(Probe::Icmp),
    };
    Some(checked(address?, probe?))
}

/// An address alone; with a port it is a probe of its own.
fn bare(item: &Item<'_, '_>) -> Result<IpAddr, Problem> {
    let Value::Text(text) = &item.node.value else {
        return unicast(item);
    };
    let Ok(socket) = text.parse::<SocketAddr>() else {
        return unicast(item);
    };
    let message = format!("`{item}` has a port, and does not say what to send");
    let (address, port) = (socket.ip(), socket.port());
    let help = format!("write `{{address: \"{address}\", tcp: {{port: {port}}}}}`");
    Err(Problem::new(message, "an address without a port is pinged").help(help))
}

/// The same question asked twice. Where it is written makes no difference.
fn report_same(targets: &[At<CheckTarget>], anywhere: Place, findings: &mut Findings<'_>) {
    let asked = targets.iter().map(|At { value, span }| At {
        value: CheckTarget {
            place: anywhere,
            ..value.clone()
        },
        span: *span,
    });
    report_twice(&asked.collect::<Vec<_>>(), findings);
}

/// Packets have one family at both ends.
fn check_families(source: At<IpAddr>, targets: &[At<CheckTarget>], findings: &mut Findings<'_>) {
    let family = Family::of(&source.value);
    let is_other = |target: &&At<CheckTarget>| Family::of(&target.value.address) != family;
    let Some(target) = targets.iter().find(is_other) else {
        return;
    };
    let message = format!(
        "the source {} is {family}, but the target {} is not",
        source.value, target.value.address
    );
    let help = match targets.iter().all(|target| is_other(&target)) {
        true => format!("give an {} address", Family::of(&target.value.address)),
        false => "write one document for each family".to_owned(),
    };
    let problem = Problem::new(message, format!("an {family} address"))
        .related(
            findings.spot(target.span),
            format!("not an {family} target"),
        )
        .help(help);
    findings.error(source.span, problem);
}

/// fe80::1 is on every link.
fn check_link_local(
    source: Option<At<IpAddr>>,
    targets: &[At<CheckTarget>],
    findings: &mut Findings<'_>,
) {
    let targets = targets.iter().map(|target| At {
        value: target.value.address,
        span: target.span,
    });
    for At { value, span } in source.into_iter().chain(targets) {
        if matches!(value, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            let message = format!("the link-local address {value} needs an `interface`");
            let help = "it exists on every link: name the one that is meant with `interface`";
            findings.error(span, Problem::new(message, "on which link?").help(help));
        }
    }
}
