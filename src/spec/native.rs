//! `srsync.dev/v1alpha1`: srsync's own documents.

use std::net::IpAddr;

use super::Reader;
use super::destinations::{self, Destinations};
use super::diagnostic::Problem;
use super::envelope::Head;
use super::fields::{At, Fields, Item};
use super::findings::Findings;
use super::selector;
use super::target;
use super::values::{unicast, whole};
use super::words::{did_you_mean, nearest, quoted};
use super::yaml::Value;
use crate::model::{AdvMss, Document, Family, Metric, Mtu, Names, TableId};

/// The fields of `spec`.
pub const SPEC_FIELDS: &[&str] = &[
    "destinations",
    "destinationsFrom",
    "except",
    "gateway",
    "gateways",
    "gatewayLookup",
    "mode",
    "healthCheck",
    "onAllDown",
    "witness",
    "preempt",
    "resilient",
    "interface",
    "type",
    "table",
    "metric",
    "source",
    "mtu",
    "advmss",
    "nodeSelector",
];

/// The largest segment that fits into an IPv4 packet; the kernel cuts larger values down to it
/// (`ip_metrics_convert`, net/ipv4/metrics.c).
const LARGEST_ADVMSS: u32 = 65_535 - 40;

/// The largest MTU that the kernel stores; it cuts larger ones down without a word, so that they
/// would never read back as wanted (`ip_metrics_convert`, net/ipv4/metrics.c).
const LARGEST_MTU: u32 = 65_535 - 15;

/// The smallest MTU of IPv4 (RFC 791) and of IPv6 (RFC 8200).
const SMALLEST_MTU: [u32; 2] = [68, 1280];

/// Reads `spec`.
pub(super) fn read(
    head: Head,
    spec: &Fields<'_, '_>,
    reader: &mut Reader<'_, '_>,
) -> Option<Document> {
    let (destinations, notes) = destinations::read(spec, reader);
    let names = reader.names;
    let findings = &mut reader.findings;
    let target = target::read(spec, &destinations, findings);
    let table = spec.read("table", findings, |item| table(item, names));
    let metric = spec.read("metric", findings, |item| whole(item, 0..=u32::MAX));
    let source = source(spec, &destinations, findings);
    let mtu = mtu(spec, &destinations, findings);
    let advmss = spec.read("advmss", findings, |item| whole(item, 1..=LARGEST_ADVMSS));
    let selector = selector::read(spec, findings);
    Some(Document {
        id: head.id,
        place: head.place,
        destinations: destinations.list,
        target: target?,
        table: table.map(|table| table.value),
        metric: metric.map(|metric| Metric::new(metric.value)),
        source,
        mtu,
        advmss: advmss.map(|advmss| AdvMss::new(advmss.value)),
        selector,
        notes,
    })
}

/// A table by number or by its name in `rt_tables`.
pub(super) fn any_table(item: &Item<'_, '_>, names: &Names) -> Result<TableId, Problem> {
    match &item.node.value {
        Value::Text(name) => named_table(item, name, names),
        Value::Number(_) => whole(item, 1..=u32::MAX).map(TableId::new),
        _ => Err(item.must_be("the number or name of a table")),
    }
}

/// A table that routes can be put into.
pub(super) fn table(item: &Item<'_, '_>, names: &Names) -> Result<TableId, Problem> {
    let table = any_table(item, names)?;
    if table == TableId::LOCAL {
        let message = "the table `local` (255) belongs to the kernel";
        let help = "the kernel keeps the node's own addresses there, and a wrong route cuts it off; \
                    use another table";
        return Err(Problem::new(message, "not a table for routes").help(help));
    }
    Ok(table)
}

fn named_table(item: &Item<'_, '_>, name: &str, names: &Names) -> Result<TableId, Problem> {
    names.table_named(name).ok_or_else(|| {
        let message = format!("`{item}` names no known table: {}", quoted(name));
        let help = match name.parse::<u32>() {
            Ok(number) => format!("remove the quotes: {number}"),
            Err(_) => match nearest(name, names.table_names()) {
                Some(meant) => did_you_mean(meant),
                None => "use its number, or name it in /etc/iproute2/rt_tables".to_owned(),
            },
        };
        Problem::new(message, "not in rt_tables").help(help)
    })
}

/// The preferred source address, which has one family and fits only destinations of that.
fn source(
    spec: &Fields<'_, '_>,
    destinations: &Destinations,
    findings: &mut Findings<'_>,
) -> Option<IpAddr> {
    let At { value, span } = spec.read("source", findings, unicast)?;
    let family = Family::of(&value);
    let other = Family::BOTH.into_iter().find(|other| *other != family);
    if let Some((prefix, spot)) = other.and_then(|other| destinations.first(other)) {
        let message =
            format!("the source {value} is {family}, but the destination {prefix} is not");
        let problem = Problem::new(message, format!("an {family} address"))
            .related(spot.clone(), format!("not an {family} destination"))
            .help(match destinations.first(family) {
                Some(_) => "write one document for each family".to_owned(),
                None => format!("give an {} address", prefix.family()),
            });
        findings.error(span, problem);
    }
    Some(value)
}

fn mtu(
    spec: &Fields<'_, '_>,
    destinations: &Destinations,
    findings: &mut Findings<'_>,
) -> Option<Mtu> {
    let At { value, span } = spec.read("mtu", findings, |item| {
        whole(item, SMALLEST_MTU[0]..=LARGEST_MTU)
    })?;
    if let Some((prefix, _)) = destinations
        .first(Family::V6)
        .filter(|_| value < SMALLEST_MTU[1])
    {
        let message =
            format!("an MTU of {value} is too small for {prefix}: IPv6 needs at least 1280");
        findings.error(span, Problem::new(message, "at least 1280 for IPv6"));
    }
    Some(Mtu::new(value))
}
