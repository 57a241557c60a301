//! `static-route.ibm.com/v1`: the `StaticRoute` of IBM's operator.

use super::Reader;
use super::destinations::Destinations;
use super::diagnostic::Problem;
use super::envelope::Head;
use super::fields::{Fields, Item};
use super::selector::expressions;
use super::target;
use super::values::{destination, destination_in, unicast, whole};
use super::yaml::Value;
use crate::model::{Document, NodeSelector, Prefix, PrefixError, TableId, Target};

/// The fields of `spec`.
pub const SPEC_FIELDS: &[&str] = &["subnet", "gateway", "table", "selectors"];

/// Reads `spec`.
pub(super) fn read(
    head: Head,
    spec: &Fields<'_, '_>,
    reader: &mut Reader<'_, '_>,
) -> Option<Document> {
    let findings = &mut reader.findings;
    let mut masked = None;
    let subnet = spec.require(
        "subnet",
        "the destination, such as 192.0.2.0/24",
        findings,
        |item| subnet(item, &mut masked),
    );
    let notes: Vec<String> = masked.into_iter().collect();
    if let (Some(subnet), Some(note)) = (&subnet, notes.first()) {
        let spot = findings.spot(subnet.span);
        findings.note_at(spot, Problem::new(note, "host bits are ignored here"));
    }
    let destinations = Destinations::one(subnet, findings);
    let target = if spec.has("gateway") {
        let gateway = spec.read("gateway", findings, unicast);
        target::single(gateway, &destinations, findings)
    } else {
        Some(Target::ConfiguredLookup)
    };
    // 255 is the kernel's table, which the operator refuses too; 0 stands for the default.
    let table = spec.read("table", findings, |item| whole(item, 0..=254));
    let table = table.map(|table| table.value).filter(|table| *table != 0);
    let requirements = expressions(spec, "selectors", findings);
    Some(Document {
        table: table.map(TableId::new),
        selector: NodeSelector { requirements },
        notes,
        ..Document::new(head.id, head.place, destinations.list, target?)
    })
}

/// A subnet as the operator reads it: Go's `net.ParseCIDR` ignores host bits, and objects with
/// them are in use, so they are masked here too, and said so.
fn subnet(item: &Item<'_, '_>, masked: &mut Option<String>) -> Result<Prefix, Problem> {
    if let Value::Text(text) = &item.node.value
        && let Err(PrefixError::HostBits { text, suggestion }) = text.parse::<Prefix>()
    {
        *masked = Some(format!(
            "{text} is read as {suggestion}, as the operator reads it"
        ));
        return destination_in(&suggestion.to_string());
    }
    destination(item)
}
