//! What is told of gateways, in words.

use std::net::IpAddr;

use super::{Watched, Witnessed};
use crate::daemon::journal::News;
use crate::gateway::{Carry, Decision, Member, Turn};
use crate::model::Document;
use crate::model::document::{HealthCheck, Probe};
use crate::report::{HappeningKind, Level};

/// What is sent, in words that can follow a number.
pub(super) fn probes(check: &HealthCheck, gateway: IpAddr) -> String {
    let to = match check.targets.as_slice() {
        [] => gateway.to_string(),
        targets => {
            let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
            format!("{} (for gateway {gateway})", targets.join(" and "))
        }
    };
    match &check.probe {
        Probe::Icmp => format!("ICMP probes to {to}"),
        Probe::Tcp { port } => format!("TCP probes of port {port} of {to}"),
        Probe::Http { port, path, .. } => format!("HTTP probes of {path} at port {port} of {to}"),
        Probe::Arp => format!("neighbour probes of {to}"),
    }
}

pub(super) fn turned(watched: &Watched, turn: &Turn) -> News {
    let gateway = watched.address;
    match turn {
        Turn::Fell(cause) => News::new(
            HappeningKind::GatewayDown,
            Level::Warn,
            format!("gateway {gateway} is down: {cause}"),
        ),
        Turn::Rose(cause) => News::new(
            HappeningKind::GatewayUp,
            Level::Info,
            format!("gateway {gateway} is back: {cause}"),
        ),
        Turn::Proven(cause) => News::new(
            HappeningKind::GatewayUp,
            Level::Info,
            format!("gateway {gateway} works: {cause}"),
        ),
    }
}

/// Where the traffic of a document goes from now on, and why.
pub(super) fn switched(
    document: &Document,
    decision: &Decision,
    members: &[Member],
) -> Option<News> {
    let why = decision.why.as_ref()?;
    let named = decision.carry.gateways().iter();
    let named = named.filter_map(|index| Some(members.get(*index)?.via.to_string()));
    let named = named.collect::<Vec<_>>().join(" and ");
    let now = match &decision.carry {
        Carry::Gateways(_) => format!("now via {named}"),
        Carry::Keep(_) => format!("stays via {named} (onAllDown: keep)"),
        Carry::Withdraw => "routes are withdrawn (onAllDown: withdraw)".to_owned(),
        Carry::Blackhole => "packets are dropped (onAllDown: blackhole)".to_owned(),
    };
    let troubled = members.iter().any(|m| m.standing.obstacle().is_some());
    let level = if troubled { Level::Warn } else { Level::Info };
    let message = format!("{}: {now}: {why}", document.id);
    Some(News::new(HappeningKind::Failover, level, message))
}

pub(super) fn isolation(isolated: bool, witnessed: &Witnessed) -> News {
    let witnesses: Vec<String> = witnessed
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    let witnesses = witnesses.join(", ");
    match isolated {
        true => News::new(
            HappeningKind::Isolation,
            Level::Error,
            format!(
                "this node is isolated: no witness answers ({witnesses}); no gateway is switched"
            ),
        ),
        false => News::new(
            HappeningKind::Isolation,
            Level::Info,
            format!("this node is no longer isolated: a witness answers ({witnesses})"),
        ),
    }
}
