//! Documents in a form that a person can check against the input.

use std::fmt::Write as _;
use std::time::Duration;

use srsync::model::document::{Gateways, HealthCheck, Mode, OnAllDown, Probe};
use srsync::model::egress::rule::RuleTarget;
use srsync::model::egress::{FibRule, Forwarding, NatRule};
use srsync::model::{
    ConnectivityCheck, Document, Egress, EgressSpec, Family, Gateway, GatewayOverride, Place,
    TableId, Target,
};
use srsync::source::Loaded;

/// All documents and what was noted about them.
pub(crate) fn documents(loaded: &Loaded) -> String {
    let mut out = String::new();
    for document in &loaded.documents {
        write(&mut out, document, loaded).unwrap();
    }
    for one in &loaded.overrides {
        gateway_override(&mut out, one, loaded).unwrap();
    }
    for one in &loaded.egress {
        egress(&mut out, one, loaded).unwrap();
    }
    for check in &loaded.checks {
        connectivity_check(&mut out, check, loaded).unwrap();
    }
    out
}

fn write(out: &mut String, document: &Document, loaded: &Loaded) -> std::fmt::Result {
    writeln!(out, "- document: {}", document.id)?;
    writeln!(out, "  dialect: {}", document.id.dialect.api_version())?;
    writeln!(out, "  place: {}", place(document.place, loaded))?;
    writeln!(out, "  destinations:")?;
    for destination in &document.destinations {
        let place = place(destination.place, loaded);
        writeln!(out, "  - {} # {place}", destination.prefix)?;
    }
    target(out, &document.target)?;
    if let Some(table) = document.table {
        writeln!(out, "  table: {table}")?;
    }
    if let Some(metric) = document.metric {
        writeln!(out, "  metric: {metric}")?;
    }
    if let Some(source) = document.source {
        writeln!(out, "  source: {source}")?;
    }
    if let Some(mtu) = document.mtu {
        writeln!(out, "  mtu: {mtu}")?;
    }
    if let Some(advmss) = document.advmss {
        writeln!(out, "  advmss: {advmss}")?;
    }
    for requirement in &document.selector.requirements {
        writeln!(out, "  requires: {requirement}")?;
    }
    for note in &document.notes {
        writeln!(out, "  note: {note}")?;
    }
    Ok(())
}

fn gateway_override(out: &mut String, one: &GatewayOverride, loaded: &Loaded) -> std::fmt::Result {
    writeln!(out, "- gateway override: {}", one.id)?;
    writeln!(out, "  place: {}", place(one.place, loaded))?;
    writeln!(out, "  gateway: {}", one.gateway)?;
    writeln!(out, "  state: {}", one.state.name())?;
    match one.until {
        Some(until) => writeln!(out, "  until: {until}"),
        None => Ok(()),
    }
}

fn egress(out: &mut String, one: &Egress, loaded: &Loaded) -> std::fmt::Result {
    writeln!(out, "- {}: {}", one.kind(), one.id)?;
    writeln!(out, "  place: {}", place(one.place, loaded))?;
    match &one.spec {
        EgressSpec::Forwarding(asked) => forwarding(out, asked)?,
        EgressSpec::Masquerade(asked) => {
            for rule in NatRule::of(&one.id, asked) {
                writeln!(out, "  {}: {rule}", rule.family)?;
            }
        }
        EgressSpec::RoutingRule(asked) => {
            if asked.action == RuleTarget::Lookup(None) {
                writeln!(out, "  the configured table is main here")?;
            }
            for rule in FibRule::of(asked, TableId::MAIN) {
                writeln!(out, "  {}: {rule}", rule.family)?;
            }
        }
    }
    for requirement in &one.selector.requirements {
        writeln!(out, "  requires: {requirement}")?;
    }
    for note in &one.notes {
        writeln!(out, "  note: {note}")?;
    }
    Ok(())
}

fn forwarding(out: &mut String, asked: &Forwarding) -> std::fmt::Result {
    for family in Family::BOTH {
        if let Some(on) = asked.global(family) {
            writeln!(out, "  {family}: {on}")?;
        }
    }
    for entry in &asked.interfaces {
        write!(out, "  {}:", entry.name)?;
        for (family, on) in [("IPv4", entry.ipv4), ("IPv6", entry.ipv6)] {
            if let Some(on) = on {
                write!(out, " {family} {on}")?;
            }
        }
        if let Some(filter) = entry.rp_filter {
            write!(out, " rp_filter {}", filter.name())?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn connectivity_check(
    out: &mut String,
    check: &ConnectivityCheck,
    loaded: &Loaded,
) -> std::fmt::Result {
    writeln!(out, "- connectivity check: {}", check.id)?;
    writeln!(out, "  place: {}", place(check.place, loaded))?;
    writeln!(out, "  {}:", check.expect.name())?;
    for target in &check.targets {
        let place = place(target.place, loaded);
        writeln!(out, "  - {target} # {place}")?;
        if let Probe::Http { .. } = &target.probe {
            writeln!(out, "    {}", probe_line(&target.probe))?;
        }
    }
    if let Some(source) = check.source {
        writeln!(out, "  from: {source}")?;
    }
    if let Some(interface) = &check.interface {
        writeln!(out, "  interface: {interface}")?;
    }
    let [interval, timeout] = [check.interval, check.timeout];
    let attempts = check.attempts;
    writeln!(
        out,
        "  every {interval:?}, timeout {timeout:?}, attempts {attempts}"
    )?;
    for requirement in &check.selector.requirements {
        writeln!(out, "  requires: {requirement}")?;
    }
    Ok(())
}

fn place(place: Place, loaded: &Loaded) -> String {
    let label = loaded.name(place.file).map_or("?", |name| &name.label);
    format!("{label}:{}", place.line)
}

fn target(out: &mut String, target: &Target) -> std::fmt::Result {
    match target {
        Target::Gateways(list) => gateways(out, list),
        Target::Lookup(address) => writeln!(out, "  lookup: {address}"),
        Target::ConfiguredLookup => writeln!(out, "  lookup: configured"),
        Target::Interface(name) => writeln!(out, "  interface: {name}"),
        Target::Nowhere(kind) => writeln!(out, "  type: {}", kind.name()),
    }
}

fn gateways(out: &mut String, gateways: &Gateways) -> std::fmt::Result {
    writeln!(out, "  gateways:")?;
    for gateway in &gateways.list {
        writeln!(out, "  - {}", gateway_line(gateway))?;
        if let Some(check) = &gateway.check {
            writeln!(out, "    check: {}", check_line(check))?;
        }
    }
    let mode = match gateways.mode {
        Mode::Failover => "failover",
        Mode::Ecmp => "ecmp",
    };
    let down = match gateways.on_all_down {
        OnAllDown::Keep => "keep",
        OnAllDown::Withdraw => "withdraw",
        OnAllDown::Blackhole => "blackhole",
    };
    writeln!(
        out,
        "  mode: {mode}, all down: {down}, preempt: {}",
        gateways.preempt
    )?;
    if gateways.resilient {
        writeln!(out, "  resilient")?;
    }
    match gateways.witness.as_slice() {
        [] => Ok(()),
        witness => writeln!(out, "  witness: {witness:?}"),
    }
}

fn gateway_line(gateway: &Gateway) -> String {
    let mut line = gateway.address.to_string();
    if let Some(interface) = &gateway.interface {
        let _ = write!(line, " dev {interface}");
    }
    if gateway.weight.get() != 1 {
        let _ = write!(line, " weight {}", gateway.weight);
    }
    if gateway.on_link {
        line.push_str(" onlink");
    }
    line
}

fn probe_line(probe: &Probe) -> String {
    match probe {
        Probe::Icmp => "icmp".to_owned(),
        Probe::Arp => "arp".to_owned(),
        Probe::Tcp { port } => format!("tcp {port}"),
        Probe::Http {
            port,
            path,
            host,
            expect_status: (first, last),
        } => {
            let host = host.as_deref().unwrap_or("-");
            format!("http {port} {path} host {host} status {first}-{last}")
        }
    }
}

fn check_line(check: &HealthCheck) -> String {
    let probe = probe_line(&check.probe);
    let times =
        [check.interval, check.timeout, check.hold_down].map(|time: Duration| format!("{time:?}"));
    let [interval, timeout, hold_down] = times;
    format!(
        "{probe}, targets {:?}, every {interval}, timeout {timeout}, fall {}, rise {}, hold down {hold_down}",
        check.targets, check.fall, check.rise
    )
}
